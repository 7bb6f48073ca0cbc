"""A consumer in a process of its own: prints the task ids it is hinted at and ends nothing, until it is killed.

Arguments: group, pid, credits, `module:Class` of the transport, then the arguments of its constructor.
"""

import asyncio
import importlib
import sys

from resonate_mq.protocol.messages import Execute
from resonate_mq.transports.port import ConsumingTransport, Delivery, Subscription


def _print(delivery: Delivery) -> None:
    if isinstance(delivery.message, Execute):
        for hint in delivery.message.hints:
            sys.stdout.write(f"{hint.task_id}\n")
    sys.stdout.flush()


async def _listen(transport: ConsumingTransport, group: str, pid: str, credits: int) -> None:
    subscription = Subscription(
        group=group, pid=pid, credits=credits, on_delivery=_print, on_state=lambda _flowing, _reason: None
    )
    async with transport.open(), transport.subscribe(subscription):
        await asyncio.get_running_loop().create_future()


def main(group: str, pid: str, credits: str, path: str, *arguments: str) -> None:
    """Listen until killed."""
    module, _, name = path.partition(":")
    transport = getattr(importlib.import_module(module), name)(*arguments)
    asyncio.run(_listen(transport, group, pid, int(credits)))


if __name__ == "__main__":
    main(*sys.argv[1:])
