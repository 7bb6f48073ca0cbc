"""HTTP poll against the suite: the hub behind uvicorn, workers through a proxy that breaks their lines."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence

import pytest

from resonate_mq.protocol.messages import Hint
from resonate_mq.testing.transports import Case, Fault, cases_for
from resonate_mq.transports.poll.client import PollTransport
from resonate_mq.transports.poll.hub import PollHub
from resonate_mq.transports.port import ConsumingTransport, DeadLetter, Guarantees, PublishingTransport
from tests.support.proxy import ChaosProxy
from tests.transports.poll_server import TOKEN, serving
from tests.transports.unbreakable import Unbreakable

TRANSPORT = "poll"


class PollHarness(Unbreakable):
    name = TRANSPORT
    scheme = "poll"
    guarantees: Guarantees = PollHub.guarantees
    faults = frozenset({Fault.CUT, Fault.SILENT_CONSUMER, Fault.STALL, Fault.RESTART, Fault.PROCESS, Fault.CREDENTIALS})
    silence_s = 10.0

    def __init__(self, hub: PollHub, proxy: ChaosProxy) -> None:
        self._hub = hub
        self._proxy = proxy
        self._consumers: list[PollTransport] = []
        self._url = f"http://127.0.0.1:{proxy.port}"

    def publisher(self) -> PublishingTransport:
        return self._hub

    def consumer(self) -> ConsumingTransport:
        consumer = PollTransport("poll", self._url, TOKEN, silence_s=5.0)
        self._consumers.append(consumer)
        return consumer

    def misfit(self) -> ConsumingTransport:
        return PollTransport("poll", self._url, "open-sesame")

    def consumer_command(self) -> Sequence[str]:
        return ["resonate_mq.transports.poll.client:PollTransport", "poll", self._url, TOKEN]

    def acquired(self, hints: Sequence[Hint], pid: str) -> None:
        for hint in hints:
            self._hub.acquired(hint.task_id, hint.version, pid)
            self._hub.released(hint.task_id, pid)

    async def dead_letters(self) -> list[DeadLetter]:
        return [letter for consumer in self._consumers for letter in consumer.dead_letters]

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
async def harness() -> AsyncIterator[PollHarness]:
    hub = PollHub("poll", keepalive_s=2.0)
    async with serving(hub) as port, ChaosProxy.running(port) as proxy:
        yield PollHarness(hub, proxy)


@pytest.mark.parametrize("case", cases_for(PollHarness.faults), ids=lambda case: case.name)
async def test_poll(case: Case, harness: PollHarness) -> None:
    await case.run(harness)
