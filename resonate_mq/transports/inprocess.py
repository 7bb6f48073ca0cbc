"""The in-process transport: bounded queues in memory, for local mode and tests.

It queues honestly: every message is decoded from its bytes, waits for credits, is handed on when its consumer goes
away, and nothing outlives the process. Knows nothing of servers and workers beyond the port.
"""

import asyncio
import itertools
import logging
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager

from resonate_mq.protocol.addresses import Address, destination_of, format_address
from resonate_mq.protocol.errors import InvalidRequestError
from resonate_mq.protocol.messages import Message, decode_message
from resonate_mq.transports.port import (
    Consumer,
    DeadLetter,
    Guarantees,
    Outcome,
    Outgoing,
    Report,
    Subscription,
    TransportError,
)

logger = logging.getLogger(__name__)

MAX_QUEUED = 10_000  # messages waiting in one group's queue; the publisher is told when there is room again
KEPT_DEAD_LETTERS = 100


class InProcessTransport:
    """One queue per group in this process.

    Args:
        name: scheme of its addresses.
        one_group: every anycast and raw destination shares one queue, so that whoever listens here gets it (local mode,
            D35).
        max_queued: messages one queue takes before publishers are told to wait.
    """

    guarantees = Guarantees(keeps_without_consumer=True, survives_broker_restart=False, redelivers=True)

    def __init__(self, name: str = "local", *, one_group: bool = False, max_queued: int = MAX_QUEUED) -> None:
        self.name = name
        self.dead_letters: deque[DeadLetter] = deque(maxlen=KEPT_DEAD_LETTERS)
        self._one_group = one_group
        self._max_queued = max_queued
        self._queues: dict[str, _GroupQueue] = {}
        self._processes: dict[tuple[str, str], _InProcessConsumer] = {}
        self._ready: list[Callable[[str], None]] = []
        self._open_scopes = 0

    @asynccontextmanager
    async def _opened(self) -> AsyncIterator["InProcessTransport"]:
        self._open_scopes += 1
        try:
            yield self
        finally:
            self._open_scopes -= 1
            if not self._open_scopes:
                self._queues.clear()  # a broker in memory keeps nothing when it stops

    def open(self) -> AbstractAsyncContextManager["InProcessTransport"]:
        """Make it usable; server and worker may both open the one object they share."""
        return self._opened()

    def healthy(self) -> tuple[bool, str]:
        """Return (True, "") while open."""
        return (True, "") if self._open_scopes else (False, f"transport '{self.name}' is not open")

    def unicast(self, group: str, pid: str) -> str:
        """Return `<name>://uni@<group>/<pid>`."""
        return format_address(self.name, "uni", group, pid)

    def on_ready(self, callback: Callable[[str], None]) -> None:
        """Register a callback for destinations that are worth a try now."""
        self._ready.append(callback)

    async def publish(self, batch: Sequence[Outgoing], report: Report) -> None:
        """Queue or hand over each message; all are reported before this returns."""
        for outgoing in batch:
            outcome, reason = self._accept(outgoing)
            report(outgoing, outcome, reason)

    def subscribe(self, subscription: Subscription) -> AbstractAsyncContextManager[Consumer]:
        """Take messages of a group, and those to one process, until the scope ends."""
        return self._subscribed(subscription)

    @asynccontextmanager
    async def _subscribed(self, subscription: Subscription) -> AsyncIterator[Consumer]:
        if not self._open_scopes:
            raise TransportError(f"transport '{self.name}' is not open: enter its open() scope before subscribing")
        queue = self._queue(subscription.group)
        consumer = _InProcessConsumer(self, queue, subscription)
        key = (subscription.group, subscription.pid)
        self._processes[key] = consumer  # the newest with an id wins
        queue.consumers.append(consumer)
        subscription.on_state(True, "")
        self.tell_ready(self.unicast(*key))
        queue.pump_soon()
        try:
            yield consumer
        finally:
            if self._processes.get(key) is consumer:
                del self._processes[key]
            queue.consumers.remove(consumer)
            consumer.close()
            queue.pump_soon()

    def _accept(self, outgoing: Outgoing) -> tuple[Outcome, str]:
        if not self._open_scopes:
            return Outcome.FAILED, f"transport '{self.name}' is not open"
        address = outgoing.address
        if address.cast == "uni":
            process = self._processes.get((address.group, address.pid or ""))
            if process is None:
                return Outcome.NO_CONSUMER, f"no process '{address.pid}' of group '{address.group}' listens here"
            asyncio.get_running_loop().call_soon(process.receive, outgoing.payload, str(address))
            return Outcome.CONFIRMED, ""
        queue = self._queue(address.group)
        if len(queue.waiting) >= self._max_queued:
            queue.starved.add(destination_of(str(address)))
            return Outcome.NO_CONSUMER, f"queue of group '{address.group}' is full: {self._max_queued} messages wait"
        queue.waiting.append(outgoing)
        queue.pump_soon()
        return Outcome.CONFIRMED, ""

    def _queue(self, group: str) -> "_GroupQueue":
        key = "" if self._one_group else group
        queue = self._queues.get(key)
        if queue is None:
            queue = self._queues[key] = _GroupQueue(self, key, self._max_queued)
        return queue

    def forget(self, key: str) -> None:
        """Drop a queue that is empty and that nobody listens to: groups come and go."""
        self._queues.pop(key, None)

    def tell_ready(self, destination: str) -> None:
        """Tell every registered publisher that `destination` is worth a try."""
        for callback in self._ready:
            callback(destination)

    def bury(self, destination: str, payload: bytes, reason: str) -> None:
        """Keep a message nobody could use among the last few, with its reason."""
        logger.warning("message rejected", extra={"destination": destination, "reason": reason})
        self.dead_letters.append(DeadLetter(destination, payload, reason))


class _GroupQueue:
    """Messages of one group and who takes them."""

    def __init__(self, transport: InProcessTransport, key: str, max_queued: int) -> None:
        self.waiting: deque[Outgoing] = deque()
        self.consumers: list[_InProcessConsumer] = []
        self.starved: set[str] = set()  # destinations that were told the queue is full
        self._transport = transport
        self._key = key
        self._max_queued = max_queued
        self._turn = itertools.count()
        self._pumping = False

    def pump_soon(self) -> None:
        """Hand out messages on the loop's next turn, once for all that came meanwhile."""
        if not self._pumping:
            self._pumping = True
            asyncio.get_running_loop().call_soon(self._pump)

    def put_back(self, outgoing: Outgoing) -> None:
        """Return a message to the head of the queue."""
        self.waiting.appendleft(outgoing)
        self.pump_soon()

    def _pump(self) -> None:
        self._pumping = False
        while self.waiting:
            taker = self._next_taker(self.waiting[0].address)
            if taker is None:
                break
            taker.take(self.waiting.popleft())
        if self.starved and len(self.waiting) <= self._max_queued // 2:
            starved, self.starved = self.starved, set()
            for destination in starved:
                self._transport.tell_ready(destination)
        if not self.waiting and not self.consumers:
            self._transport.forget(self._key)

    def _next_taker(self, address: Address) -> "_InProcessConsumer | None":
        """The preferred process if it has room, else the one with most free credits; turns break ties."""
        free = [consumer for consumer in self.consumers if consumer.free > 0]
        if not free:
            return None
        for consumer in free:
            if address.pid is not None and consumer.subscription.pid == address.pid:
                return consumer
        turn = next(self._turn)
        return max(
            (free[(turn + offset) % len(free)] for offset in range(len(free))), key=lambda consumer: consumer.free
        )


class _InProcessConsumer:
    def __init__(self, transport: InProcessTransport, queue: _GroupQueue, subscription: Subscription) -> None:
        self.subscription = subscription
        self.unended: dict[int, Outgoing] = {}
        self._transport = transport
        self._queue = queue
        self._credits = subscription.credits
        self._tags = itertools.count()
        self._closed = False

    @property
    def free(self) -> int:
        return self._credits - len(self.unended)

    async def pause(self) -> None:
        """Stop anycast at once."""
        self._credits = 0

    async def resume(self, credits: int) -> None:
        """Let anycast flow with this many credits."""
        self._credits = credits
        self._queue.pump_soon()

    def take(self, outgoing: Outgoing) -> None:
        """Deliver an anycast message; garbage goes to the dead letters and costs no credit."""
        destination = str(outgoing.address)
        message = self._decode(outgoing.payload, destination)
        if message is not None:
            tag = next(self._tags)
            self.unended[tag] = outgoing
            self.subscription.on_delivery(_InProcessDelivery(self, tag, message))

    def receive(self, payload: bytes, destination: str) -> None:
        """Deliver a unicast message."""
        message = None if self._closed else self._decode(payload, destination)
        if message is not None:
            self.subscription.on_delivery(_UnicastDelivery(self._transport, message, payload, destination))

    def end(self, tag: int, *, put_back: bool = False, reason: str | None = None) -> None:
        """End a delivery; one that was ended, or whose consumer is gone, is left alone."""
        outgoing = self.unended.pop(tag, None)
        if outgoing is None:
            return
        if reason is not None:
            self._transport.bury(str(outgoing.address), outgoing.payload, reason)
        if put_back:
            self._queue.put_back(outgoing)
        else:
            self._queue.pump_soon()

    def close(self) -> None:
        """Return what was not ended, oldest first in line again."""
        self._closed = True
        self._credits = 0
        unended, self.unended = self.unended, {}
        for outgoing in reversed(unended.values()):
            self._queue.put_back(outgoing)

    def _decode(self, payload: bytes, destination: str) -> Message | None:
        try:
            return decode_message(payload)
        except InvalidRequestError as error:
            self._transport.bury(destination, payload, error.message)
            return None


class _InProcessDelivery:
    __slots__ = ("_consumer", "_tag", "message")

    def __init__(self, consumer: _InProcessConsumer, tag: int, message: Message) -> None:
        self.message = message
        self._consumer = consumer
        self._tag = tag

    def ack(self) -> None:
        self._consumer.end(self._tag)

    def give_back(self) -> None:
        self._consumer.end(self._tag, put_back=True)

    def reject(self, reason: str) -> None:
        self._consumer.end(self._tag, reason=reason)


class _UnicastDelivery:
    """Nobody else could take it: giving it back forgets it, and the server's retry brings it again."""

    __slots__ = ("_destination", "_payload", "_transport", "message")

    def __init__(self, transport: InProcessTransport, message: Message, payload: bytes, destination: str) -> None:
        self.message = message
        self._transport = transport
        self._payload = payload
        self._destination = destination

    def ack(self) -> None:
        pass

    def give_back(self) -> None:
        pass

    def reject(self, reason: str) -> None:
        self._transport.bury(self._destination, self._payload, reason)
