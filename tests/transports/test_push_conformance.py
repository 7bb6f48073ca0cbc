"""HTTP push against the suite: a gateway with functions behind a proxy that breaks lines."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence

import pytest

from resonate_mq.protocol.addresses import Address, parse_address
from resonate_mq.protocol.messages import Hint
from resonate_mq.testing.transports import Case, Fault, cases_for
from resonate_mq.transports.port import ConsumingTransport, DeadLetter, Guarantees, PublishingTransport
from resonate_mq.transports.push import HttpPush
from tests.support.proxy import ChaosProxy
from tests.transports.push_gateway import PushFunction, PushGateway, push_url
from tests.transports.unbreakable import Unbreakable

TRANSPORT = "push"


class PushHarness(Unbreakable):
    name = TRANSPORT
    guarantees: Guarantees = HttpPush.guarantees
    faults = frozenset({Fault.CUT, Fault.SILENT_PUBLISHER, Fault.STALL, Fault.RESTART})
    silence_s = 15.0

    def __init__(self, gateway: PushGateway, proxy: ChaosProxy) -> None:
        self._gateway = gateway
        self._proxy = proxy

    def address(self, cast: str, group: str, pid: str | None) -> Address:
        return parse_address(push_url(self._proxy.port, cast, group, pid))

    def publisher(self) -> PublishingTransport:
        return HttpPush("http", ["127.0.0.1"], request_s=8.0)

    def consumer(self) -> ConsumingTransport:
        return PushFunction(self._gateway)

    def acquired(self, hints: Sequence[Hint], pid: str) -> None:
        pass

    async def dead_letters(self) -> list[DeadLetter]:
        return list(self._gateway.dead_letters)

    async def cut(self) -> None:
        self._proxy.cut()

    async def silence(self, side: str) -> None:
        self._proxy.swallow()

    async def stall(self) -> None:
        self._proxy.freeze()

    async def unstall(self) -> None:
        self._proxy.thaw()

    async def kill_broker(self) -> None:
        self._proxy.refuse()
        self._proxy.thaw()

    async def start_broker(self) -> None:
        self._proxy.accept()


@pytest.fixture
async def harness() -> AsyncIterator[PushHarness]:
    async with PushGateway().running() as gateway, ChaosProxy.running(gateway.port) as proxy:
        yield PushHarness(gateway, proxy)


@pytest.mark.parametrize("case", cases_for(PushHarness.faults), ids=lambda case: case.name)
async def test_push(case: Case, harness: PushHarness) -> None:
    await case.run(harness)
