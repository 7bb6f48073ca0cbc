"""From deliveries to acquisitions (D21, D41): which hint gets a free slot, what waits, what goes back.

Owns the hints that wait for a slot and the flow of the subscriptions. Acquires nothing itself: `start` does, and
tells the arrival how it ended. Knows no requester and no user code.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import NamedTuple

from resonate_mq.protocol.messages import Execute, Hint, Unblock
from resonate_mq.transports.port import ConsumingTransport, Delivery
from resonate_mq.worker.feed import Feed
from resonate_mq.worker.metrics import Counters
from resonate_mq.worker.options import WorkerOptions
from resonate_mq.worker.served import Served
from resonate_mq.worker.slots import Slots

logger = logging.getLogger(__name__)

SINGLE_WAIT_S = 1.0  # how long an unacknowledged hint may wait for a slot; D21
PACK_WAIT_S = 0.05  # how long the hints of a pack may while no slot frees; D41


class Arrival:
    """One delivery with hints, until all of them are dealt with.

    It is acknowledged right after the last acquire was answered, before user code runs, and given back when a hint
    of it found no slot or no answer. A pack that was partly acquired loses only a 409 when it comes again.
    """

    __slots__ = ("_delivery", "_failed", "_feed", "_open", "returned")

    def __init__(self, feed: Feed, delivery: Delivery, hints: int) -> None:
        self._feed = feed
        self._delivery = delivery
        self._open = hints
        self._failed = False
        self.returned = False

    def answered(self) -> None:
        """One hint is done: acquired, refused by the server, or a duplicate."""
        self._open -= 1
        if self._open == 0 and not self.returned:
            if self._failed:
                self.give_back()
            else:
                self._delivery.ack()

    def unanswered(self) -> None:
        """One hint could not be acquired because the server did not answer."""
        self._failed = True
        self.answered()

    def give_back(self) -> None:
        """Return the message to the broker, whatever still waits of it."""
        if not self.returned:
            self.returned = True
            self._feed.give_back(self._delivery)


class _Waiting(NamedTuple):
    served: Served
    hint: Hint
    arrival: Arrival


Start = Callable[[Served, Hint, Arrival], None]
Route = Callable[[str | None], Served | None]


class Intake:
    """Everything this worker is subscribed to.

    Args:
        route: gives the server of a store id, None when it is none of ours as far as is known.
        identify: asks the servers again who they are; returns why a store is still none of ours.
        start: acquires and runs; called with a slot already taken.
        unblocked: gets the messages with settled promises.
        reconnected: called when a subscription flows again.
    """

    def __init__(
        self,
        options: WorkerOptions,
        slots: Slots,
        counters: Counters,
        *,
        route: Route,
        identify: Callable[[str | None], Awaitable[str]],
        start: Start,
        unblocked: Callable[[Unblock], None],
        reconnected: Callable[[], None],
    ) -> None:
        self._options = options
        self._slots = slots
        self._counters = counters
        self._route = route
        self._identify = identify
        self._strangers: set[asyncio.Task[None]] = set()
        self._start = start
        self._unblocked = unblocked
        self._reconnected = reconnected
        self._waiting: deque[_Waiting] = deque()
        self._feeds: list[Feed] = []
        self._away: set[Served] = set()
        self._closed = False

    @asynccontextmanager
    async def open(self, transports: Sequence[ConsumingTransport]) -> AsyncIterator[Intake]:
        """Subscribe to every transport; on exit what waits goes back to its broker."""
        async with AsyncExitStack() as stack:
            for transport in transports:
                feed = Feed(transport, self._options, self._look_ahead())
                self._feeds.append(feed)
                await stack.enter_async_context(feed.open(self._on_delivery, self._reconnected))
            try:
                yield self
            finally:
                self.close()
                for asking in self._strangers:
                    asking.cancel()

    def close(self) -> None:
        """Take no more hints; give back what waits. Unblocks still come until the scope ends."""
        self._closed = True
        self._stop()

    def slot_freed(self) -> None:
        """Start what waits, then let deliveries flow again."""
        while self._waiting and self._slots.free > 0:
            waiting = self._waiting.popleft()
            if not waiting.arrival.returned and self._slots.try_take():
                self._start(*waiting)
        self._adjust()

    def server_state(self, served: Served, *, reachable: bool) -> None:
        """Stop consuming while no server answers, go on when one does (D21)."""
        if reachable:
            self._away.discard(served)
            self._adjust()
            return
        self._away.add(served)
        self._stop()

    def troubles(self) -> list[str]:
        """Return why subscriptions do not flow, for people."""
        return [feed.trouble for feed in self._feeds if feed.trouble]

    @property
    def addresses(self) -> tuple[str, ...]:
        """Unicast addresses of this process, one for each transport."""
        return tuple(feed.address for feed in self._feeds)

    @property
    def waiting(self) -> int:
        """How many hints wait for a slot."""
        return len(self._waiting)

    def _look_ahead(self) -> int:
        return max(1, self._options.concurrency // 4)

    def _on_delivery(self, feed: Feed, delivery: Delivery) -> None:
        message = delivery.message
        if isinstance(message, Unblock):
            self._unblocked(message)
            delivery.ack()
            return
        if self._closed:
            feed.give_back(delivery)
            return
        self._take(feed, delivery, message)

    def _take(self, feed: Feed, delivery: Delivery, message: Execute) -> None:
        self._counters.add("hints", by=len(message.hints))
        served = self._route(message.store_id)
        if served is None:
            asking = asyncio.get_running_loop().create_task(self._ask_who_it_is(feed, delivery, message))
            self._strangers.add(asking)
            asking.add_done_callback(self._strangers.discard)
            return
        arrival = Arrival(feed, delivery, len(message.hints))
        waits = False
        for hint in message.hints:
            if served.is_duplicate(hint.task_id, hint.version):
                self._counters.add("duplicates")
                arrival.answered()
            elif not self._waiting and self._slots.try_take():
                self._start(served, hint, arrival)
            else:
                self._waiting.append(_Waiting(served, hint, arrival))
                waits = True
        if waits:
            self._be_patient(arrival, asyncio.get_running_loop().time() + SINGLE_WAIT_S, len(message.hints) > 1)

    async def _ask_who_it_is(self, feed: Feed, delivery: Delivery, message: Execute) -> None:
        """A server of ours may have come back with another store; a stranger is refused with the reason (D2)."""
        reason = await self._identify(message.store_id)
        if self._closed:
            feed.give_back(delivery)
        elif self._route(message.store_id) is not None:
            self._take(feed, delivery, message)
        else:
            self._counters.add("refused")
            logger.warning("hint refused: %s", reason, extra={"task_id": message.hints[0].task_id})
            delivery.reject(reason)

    def _be_patient(self, arrival: Arrival, until: float, packed: bool) -> None:
        """Look again when the hints of a single message, or of a pack, have waited long enough."""
        loop = asyncio.get_running_loop()
        look_at = min(until, loop.time() + PACK_WAIT_S) if packed else until
        loop.call_at(look_at, self._out_of_patience, arrival, until, packed, self._slots.freed)

    def _out_of_patience(self, arrival: Arrival, until: float, packed: bool, freed: int) -> None:
        if arrival.returned or not any(waiting.arrival is arrival for waiting in self._waiting):
            return
        if packed and self._slots.freed > freed and asyncio.get_running_loop().time() < until:
            self._be_patient(arrival, until, packed)  # slots turn over: its turn comes soon, giving back costs more
            return
        self._stop()
        if self._slots.free > 0:
            self._adjust()

    def _stop(self) -> None:
        """Let nothing more come, and give back every message of which something waits: others may have a slot."""
        for feed in self._feeds:
            feed.want(0)
        while self._waiting:
            waiting = self._waiting.popleft()
            if not waiting.arrival.returned:
                self._counters.add("given_back")
                waiting.arrival.give_back()

    def _adjust(self) -> None:
        """Let as much flow as there are free slots, and a little more."""
        free = self._slots.free
        if self._closed or free <= 0 or self._away:
            return
        for feed in self._feeds:
            feed.flow(free, max(1, min(free // 4, self._look_ahead())))
