"""Whatever a transport does, every hint and every unblock is delivered in the end, and never two of one at a time."""

import asyncio
import random
from collections import Counter

import pytest

from resonate_mq.protocol.messages import Execute, Unblock, decode_message
from resonate_mq.server.publisher import destination, routes
from resonate_mq.stores.memory import MemoryStore
from resonate_mq.transports.port import Outcome, Outgoing, Report
from tests.server.harness import Caller, ManualClock, Recorder, running, turns
from tests.support.eventually import eventually

TASKS = 150
GROUPS = ("rec://any@a", "rec://any@b", "rec://any@b/p1", "rec://queue")


class Moody(Recorder):
    """Confirms, refuses, fails, reports late and cries wolf, by chance; calm when told."""

    def __init__(self, chance: random.Random) -> None:
        super().__init__()
        self.calm = False
        self.confirmed: Counter[str] = Counter()
        self.told: Counter[str] = Counter()
        self.doubled: list[str] = []
        self._chance = chance
        self._flying: set[str] = set()
        self.outcome = lambda address: None  # everything is reported by `report_some`

    async def publish(self, batch: object, report: Report) -> None:
        before = len(self.published)
        await super().publish(batch, report)  # type: ignore[arg-type]
        for one in self.published[before:]:
            for hint in _hints(one):
                if hint in self._flying:
                    self.doubled.append(hint)
                self._flying.add(hint)
        if self._chance.random() < 0.5:
            self.report_some()

    def report_some(self) -> None:
        """Report some of what is under way, in any order."""
        self._chance.shuffle(self.unreported)
        keep = 0 if self.calm else self._chance.randrange(len(self.unreported) + 1)
        while len(self.unreported) > keep:
            one, report = self.unreported.pop()
            outcome = Outcome.CONFIRMED if self.calm else self._chance.choice(list(Outcome))
            for hint in _hints(one):
                self._flying.discard(hint)
                self.confirmed[hint] += outcome is Outcome.CONFIRMED
            message = decode_message(one.payload)
            if isinstance(message, Unblock) and outcome is Outcome.CONFIRMED:
                self.told.update(record["id"] for record in message.promises)
            report(one, outcome, "by chance")


def _hints(one: Outgoing) -> list[str]:
    message = decode_message(one.payload)
    return [f"{hint.task_id}:{hint.version}" for hint in message.hints] if isinstance(message, Execute) else []


@pytest.mark.parametrize("seed", range(12))
async def test_nothing_is_lost_and_nothing_is_doubled(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    chance = random.Random(seed)
    monkeypatch.setattr(routes, "FIRST_RETRY_S", 0.01)
    monkeypatch.setattr(routes, "LAST_RETRY_S", 0.05)
    monkeypatch.setattr(destination, "BLOCKED_LIMIT", 4)
    monkeypatch.setattr(destination, "WAITING_LIMIT", 12)
    clock = ManualClock()
    moody = Moody(chance)
    async with running(MemoryStore(clock), moody, debug=True) as call:
        await call.ok("worker.hello", group="a", pid="p", addresses=[], concurrency=chance.choice([1, 16, 80]), free=1)
        acquired = await _make_work(call, moody, chance, clock)
        moody.calm = True
        pending = {f"t{n}:0" for n in range(TASKS)} - acquired

        async def delivered() -> bool:
            moody.report_some()
            clock.now_ms += 20  # what memory had no room for is due again by itself
            return pending <= set(moody.confirmed) and len(moody.told) == TASKS // 5

        await eventually(delivered, within_s=20)
        assert moody.doubled == []


async def _make_work(call: Caller, moody: Moody, chance: random.Random, clock: ManualClock) -> set[str]:
    acquired = set()
    for n in range(TASKS):
        await call.create(f"t{n}", chance.choice(GROUPS))
        if n % 5 == 0:
            await call.create(f"u{n}")
            await call.ok("promise.register_listener", awaited=f"u{n}", address=f"rec://uni@c/p{n % 3}")
            await call.settle(f"u{n}")
        if chance.random() < 0.2:
            victim = f"t{chance.randrange(n + 1)}"
            if (await call("task.acquire", id=victim, version=0, pid="p", ttl=10**9))[0] == 200:
                acquired.add(f"{victim}:0")
        if chance.random() < 0.3:
            moody.report_some()
        if chance.random() < 0.1:
            moody.tell_ready(chance.choice(["", *GROUPS]))
        if chance.random() < 0.1:
            clock.now_ms += chance.choice([500, 3_000])
        await turns(chance.randrange(4))
    await asyncio.gather(*(call.state(f"t{n}") for n in range(TASKS)))
    return acquired
