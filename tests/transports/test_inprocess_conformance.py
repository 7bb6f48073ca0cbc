"""The in-process transport against the suite: server and worker share one object, nothing around it can break."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from resonate_mq.protocol.messages import Hint
from resonate_mq.testing.transports import Case, cases_for
from resonate_mq.transports.inprocess import InProcessTransport
from resonate_mq.transports.port import ConsumingTransport, DeadLetter, Guarantees, PublishingTransport
from tests.transports.unbreakable import Unbreakable

TRANSPORT = "in-process"


class InProcessHarness(Unbreakable):
    name = TRANSPORT
    scheme = "local"
    guarantees: Guarantees = InProcessTransport.guarantees

    def __init__(self) -> None:
        self._transport = InProcessTransport(self.scheme)

    def publisher(self) -> PublishingTransport:
        return self._transport

    def consumer(self) -> ConsumingTransport:
        return self._transport

    def acquired(self, hints: Sequence[Hint], pid: str) -> None:
        pass

    async def dead_letters(self) -> list[DeadLetter]:
        return list(self._transport.dead_letters)


@pytest.mark.parametrize("case", cases_for(InProcessHarness.faults), ids=lambda case: case.name)
async def test_in_process(case: Case) -> None:
    await case.run(InProcessHarness())
