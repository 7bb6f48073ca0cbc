"""Plays the server: publishes, and sends again what the transport says was not delivered. Waits on events."""

import asyncio
import itertools
from collections import Counter, deque
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager

from resonate_mq.protocol.addresses import Address, destination_of
from resonate_mq.protocol.messages import Execute, Hint, Unblock, encode_message
from resonate_mq.testing.transports.harness import Harness
from resonate_mq.testing.transports.waiting import Changes
from resonate_mq.transports.port import Outcome, Outgoing, PublishingTransport

STORE_ID = "store-of-the-suite"
RETRY_S = 0.3


class Desk:
    """A server's publishing side.

    Attributes:
        transport: what it publishes on.
        reports: every report so far, (message, outcome, reason).
        confirmed: ids of messages the transport took responsibility for.
    """

    def __init__(self, harness: Harness, transport: PublishingTransport) -> None:
        self.transport = transport
        self.reports: list[tuple[Outgoing, Outcome, str]] = []
        self.confirmed: set[str] = set()
        self.ready: list[str] = []
        self.times_sent: Counter[str] = Counter()
        self.changes = Changes()
        self._harness = harness
        self._parked: dict[str, list[Outgoing]] = {}
        self._due: deque[Outgoing] = deque()
        self._by_hint: dict[str, Outgoing] = {}
        self._wake = asyncio.Event()
        self._numbers = itertools.count()
        self._retry: asyncio.TimerHandle | None = None

    def address(self, cast: str, group: str, pid: str | None = None) -> Address:
        """Return an address on this transport, as it comes off the wire."""
        return self._harness.address(cast, self._harness.group(group), pid)

    def hint(self, group: str, task_id: str | None = None, *, pid: str | None = None, cast: str = "any") -> Outgoing:
        """Return a message with one hint."""
        task_id = task_id or f"task-{next(self._numbers)}"
        hints = (Hint(task_id, 1),)
        payload = encode_message(Execute(STORE_ID, None, hints))
        outgoing = Outgoing(self.address(cast, group, pid), payload, f"{task_id}:1", 1, hints)
        self._by_hint[task_id] = outgoing
        return outgoing

    def pack(self, group: str, count: int) -> Outgoing:
        """Return one message with several hints (D41)."""
        hints = tuple(Hint(f"packed-{next(self._numbers)}", 1) for _ in range(count))
        payload = encode_message(Execute(STORE_ID, None, hints))
        outgoing = Outgoing(self.address("any", group), payload, f"{hints[0].task_id}:1", count, hints)
        self._by_hint.update({hint.task_id: outgoing for hint in hints})
        return outgoing

    def hints(self, group: str, count: int) -> list[Outgoing]:
        """Return messages with one hint each."""
        return [self.hint(group) for _ in range(count)]

    def unblock(self, group: str, pid: str, promise_id: str, data: str = "") -> Outgoing:
        """Return an unblock for one process."""
        record = {"id": promise_id, "state": "resolved", "value": {"data": data}}
        payload = encode_message(Unblock(STORE_ID, (record,)))
        return Outgoing(self.address("uni", group, pid), payload, f"unblock-{promise_id}", 0, ())

    def garbage(self, group: str, payload: bytes) -> Outgoing:
        """Return a message that nobody can read."""
        return Outgoing(self.address("any", group), payload, f"garbage-{next(self._numbers)}", 1)

    async def once(self, batch: Sequence[Outgoing], within_s: float = 20.0) -> list[tuple[Outcome, str]]:
        """Publish without any repeat and return what became of each message, in their order."""
        outcomes: dict[int, tuple[Outcome, str]] = {}
        changes = Changes()

        def report(outgoing: Outgoing, outcome: Outcome, reason: str) -> None:
            number = next(i for i, mine in enumerate(batch) if mine is outgoing and i not in outcomes)
            outcomes[number] = (outcome, reason)
            changes.happened()

        await self.transport.publish(batch, report)
        await changes.until(lambda: len(outcomes) == len(batch), within_s, lambda: f"{len(outcomes)} of {len(batch)}")
        return [outcomes[number] for number in range(len(batch))]

    async def gone(self, outgoing: Outgoing) -> str:
        """Publish until the transport has noticed that nobody is there; return the reason."""
        for _ in range(20):
            [(outcome, reason)] = await self.once([outgoing])
            if outcome is Outcome.NO_CONSUMER or not self._harness.guarantees.knows_consumers:
                assert outcome is not Outcome.CONFIRMED, "confirmed, and nobody is there"
                return reason
            assert outcome is Outcome.FAILED, f"a message to nobody is {outcome}"
        raise AssertionError(f"a message to nobody is never called so: {reason}")

    def send(self, batch: Iterable[Outgoing]) -> None:
        """Publish until confirmed, oldest first."""
        self._due.extend(batch)
        self._wake.set()

    async def until(self, condition: Callable[[], object], within_s: float = 20.0) -> None:
        """Wait for a condition that reports or readiness make true."""
        await self.changes.until(condition, within_s, self._seen)

    @asynccontextmanager
    async def open(self, *, connected: bool = True) -> AsyncIterator["Desk"]:
        """Open the transport and work; wait for the broker unless told that it is away."""
        self.transport.on_ready(self._on_ready)
        listen = getattr(self.transport, "on_lost", None)
        if listen is not None:
            listen(self._on_lost)
        async with self.transport.open():
            working = asyncio.create_task(self._work())
            try:
                if connected:
                    await self.until(lambda: self.transport.healthy()[0], within_s=30)
                yield self
            finally:
                if self._retry is not None:
                    self._retry.cancel()
                working.cancel()
                await asyncio.wait({working})

    async def _work(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            batch = list(self._due)
            self._due.clear()
            for outgoing in batch:
                self.times_sent[outgoing.message_id] += 1
            if batch:
                await self.transport.publish(batch, self.report)

    def report(self, outgoing: Outgoing, outcome: Outcome, reason: str) -> None:
        self.reports.append((outgoing, outcome, reason))
        if outcome is Outcome.CONFIRMED:
            self.confirmed.add(outgoing.message_id)
        else:
            self._parked.setdefault(destination_of(str(outgoing.address)), []).append(outgoing)
            if self._retry is None:
                self._retry = asyncio.get_running_loop().call_later(RETRY_S, self._unpark)
        self.changes.happened()

    def _on_ready(self, destination: str) -> None:
        self.ready.append(destination)
        self._unpark(destination)
        self.changes.happened()

    def _unpark(self, destination: str = "") -> None:
        """Send again what found nobody, for one destination or for all."""
        if destination:
            self.send(self._parked.pop(destination, ()))
            return
        self._retry = None
        parked, self._parked = self._parked, {}
        for batch in parked.values():
            self.send(batch)

    def _on_lost(self, hints: Sequence[Hint]) -> None:
        self.send([self._by_hint[hint.task_id] for hint in hints if hint.task_id in self._by_hint])

    def _seen(self) -> str:
        outcomes = Counter(str(outcome) for _, outcome, _ in self.reports)
        reasons = {reason for _, _, reason in self.reports[-5:]}
        return f"{self.transport.healthy()}, reports {dict(outcomes)}, last reasons {reasons}, ready {self.ready[-5:]}"
