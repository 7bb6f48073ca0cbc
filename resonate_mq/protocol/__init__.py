"""Values and wire of the Resonate protocol 2026-04-01: records, requests, envelope, messages, addresses.

Owns every field name of the wire. Knows nothing of stores, transports, servers or workers, reads no clock and
does no I/O.
"""
