"""What a durable function is written with: context, commands, registry, options, retry policies, codec.

Imports the protocol layer only; what runs functions (`resonate_mq.worker`) is given to a context, never imported.
"""
