"""Plays a worker process: takes deliveries, holds or ends them, and remembers everything."""

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager

from resonate_mq.protocol.messages import Execute
from resonate_mq.testing.transports.harness import Harness
from resonate_mq.testing.transports.waiting import Changes
from resonate_mq.transports.port import Consumer, ConsumingTransport, Delivery, Subscription


class Inbox:
    """One process of a group.

    Attributes:
        tasks: ids of the tasks hinted at, in order of arrival, repeats included.
        promises: ids of the promises unblocked, in order of arrival.
        held: deliveries that are not ended, oldest first.
        most_held: the largest number of hints held at one time.
        states: what `on_state` said.
    """

    def __init__(self, harness: Harness, group: str, pid: str, *, credits: int, hold: bool) -> None:
        self.tasks: list[str] = []
        self.promises: list[str] = []
        self.records: list[dict[str, object]] = []
        self.held: list[Delivery] = []
        self.most_held = 0
        self.states: list[tuple[bool, str]] = []
        self.changes = Changes()
        self.hold = hold
        self.consumer: Consumer
        self.pid = pid
        self._harness = harness
        self.subscription = Subscription(
            group=harness.group(group), pid=pid, credits=credits, on_delivery=self._take, on_state=self._state
        )

    @asynccontextmanager
    async def listen(self, transport: ConsumingTransport) -> AsyncIterator["Inbox"]:
        """Subscribe on an open transport until the scope ends; returns when deliveries can flow."""
        async with transport.subscribe(self.subscription) as consumer:
            self.consumer = consumer
            await self.until(lambda: self.states and self.states[-1][0])
            yield self

    async def until(self, condition: Callable[[], object], within_s: float = 20.0) -> None:
        """Wait for a condition that deliveries make true."""
        await self.changes.until(condition, within_s, self._seen)

    def ack(self, count: int | None = None) -> None:
        """Acquire and acknowledge the oldest held deliveries."""
        for delivery in self._oldest(count):
            self._acquire(delivery)
            delivery.ack()

    def give_back(self, count: int | None = None) -> None:
        """Give the oldest held deliveries back."""
        for delivery in self._oldest(count):
            delivery.give_back()

    def _oldest(self, count: int | None) -> list[Delivery]:
        count = len(self.held) if count is None else count
        oldest, self.held = self.held[:count], self.held[count:]
        return oldest

    def _take(self, delivery: Delivery) -> None:
        message = delivery.message
        if isinstance(message, Execute):
            self.tasks += [hint.task_id for hint in message.hints]
            if self.hold:
                self.held.append(delivery)
                self.most_held = max(self.most_held, len(self.held))
            else:
                self._acquire(delivery)
                delivery.ack()
        else:
            self.promises += [str(record["id"]) for record in message.promises]
            self.records += message.promises
            delivery.ack()
        self.changes.happened()

    def _acquire(self, delivery: Delivery) -> None:
        if isinstance(delivery.message, Execute):
            self._harness.acquired(delivery.message.hints, self.pid)

    def _state(self, flowing: bool, reason: str) -> None:
        self.states.append((flowing, reason))
        self.changes.happened()

    def _seen(self) -> str:
        return (
            f"{self.pid}: {len(self.tasks)} hints (last {self.tasks[-3:]}), {len(set(self.tasks))} tasks, "
            f"{len(self.promises)} unblocks, {len(self.held)} held, states {self.states[-3:]}"
        )


@asynccontextmanager
async def inbox(
    harness: Harness, group: str, pid: str, *, credits: int = 100, hold: bool = False
) -> AsyncIterator[Inbox]:
    """Open a transport of its own, as a process has it, and listen."""
    mine = Inbox(harness, group, pid, credits=credits, hold=hold)
    async with AsyncExitStack() as scope:
        transport = harness.consumer()
        await scope.enter_async_context(transport.open())
        yield await scope.enter_async_context(mine.listen(transport))
