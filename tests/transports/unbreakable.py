"""The part of a harness whose faults do not exist; each harness replaces what its transport can suffer."""

from __future__ import annotations

from collections.abc import Sequence

from resonate_mq.protocol.addresses import Address, format_address, parse_address
from resonate_mq.testing.transports import Fault
from resonate_mq.transports.port import ConsumingTransport, PublishingTransport


class Unbreakable:
    """Nothing can be done to it."""

    faults: frozenset[Fault] = frozenset()
    silence_s = 0.0
    outage_s = 3.0
    scheme = ""

    def group(self, name: str) -> str:
        return name

    def address(self, cast: str, group: str, pid: str | None) -> Address:
        return parse_address(format_address(self.scheme, cast, group, pid), frozenset({self.scheme}))

    def misfit(self) -> PublishingTransport | ConsumingTransport:
        raise NotImplementedError

    def consumer_command(self) -> Sequence[str]:
        raise NotImplementedError

    async def cut(self) -> None:
        raise NotImplementedError

    async def silence(self, side: str) -> None:
        raise NotImplementedError

    async def stall(self) -> None:
        raise NotImplementedError

    async def unstall(self) -> None:
        raise NotImplementedError

    async def kill_broker(self) -> None:
        raise NotImplementedError

    async def start_broker(self) -> None:
        raise NotImplementedError

    async def delete_queue(self, group: str) -> None:
        raise NotImplementedError
