"""The channels of one subscription on one connection, from declaring queues to the reason why it cannot go on.

It looks every two seconds whether the broker still knows its consumer: a forgotten one is deaf and nobody says so.
"""

import asyncio
import contextlib
import itertools
from collections.abc import Awaitable, Callable

from aiormq.abc import AbstractChannel, AbstractConnection, DeliveredMessage

from resonate_mq.transports.amqp.acks import AckBook
from resonate_mq.transports.amqp.faults import closed, closing_reason, translated
from resonate_mq.transports.amqp.names import UNICAST_EXCHANGE, queue_of, unicast_key
from resonate_mq.transports.amqp.options import AmqpOptions
from resonate_mq.transports.amqp.topology import declare_queue, declare_unicast
from resonate_mq.transports.port import Subscription, TransportError

CHECK_S = 2.0
CLOSE_S = 2.0
FRAMES_BUFFERED = 512  # fewer turns between the driver's readers than its 10
MAX_PREFETCH = 65_535

Received = Callable[[AckBook, DeliveredMessage], Awaitable[None]]
ReceivedUnicast = Callable[[DeliveredMessage], Awaitable[None]]


class ConsumingSession:
    """Consumes until it breaks; then a new one is made.

    Attributes:
        ended: set with the reason when it is over.
        was_cancelled: the broker ended the consumer, usually because the queue was deleted.

    Args:
        received: takes an anycast message with the book that ends it.
        received_unicast: takes a message to this process, which is off the broker's books already.
    """

    def __init__(
        self,
        connection: AbstractConnection,
        subscription: Subscription,
        options: AmqpOptions,
        received: Received,
        received_unicast: ReceivedUnicast,
    ) -> None:
        self.ended: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._connection = connection
        self._subscription = subscription
        self._queue = queue_of(subscription.group)
        self._rpc_s = options.rpc_s
        self._queue_type = options.queue_type
        self._received = received
        self._received_unicast = received_unicast
        self._channels: list[AbstractChannel] = []
        self._anycast: AbstractChannel | None = None
        self._checks: AbstractChannel | None = None
        self._book: AckBook | None = None
        self._prefetch = 0
        self._tags = itertools.count(1)
        self._tag = ""
        self.was_cancelled = False
        self._arrivals = 0
        self._is_down = False

    def end(self, reason: str) -> None:
        """Leave `run` with this reason."""
        if not self.ended.done():
            self.ended.set_result(reason)

    def link_down(self, reason: str) -> None:
        """The connection is of no use; nobody would answer a polite close."""
        self._is_down = True
        if self._book is not None:
            self._book.closed = True
        self.end(reason)

    async def start(self) -> None:
        """Open the channels and consume what is sent to this process alone.

        Raises:
            TransportError: the broker refused something or did not answer.
        """
        subscription, rpc_s = self._subscription, self._rpc_s
        with translated(f"group '{subscription.group}' cannot be consumed"):
            unicast = await self._channel()
            await declare_unicast(unicast, rpc_s)
            # a fresh name each time: after a half-open connection the old one stays locked until the broker notices
            inbox = (await unicast.queue_declare("", exclusive=True, auto_delete=True, timeout=rpc_s)).queue
            assert inbox is not None
            key = unicast_key(subscription.group, subscription.pid)
            await unicast.queue_bind(inbox, UNICAST_EXCHANGE, key, timeout=rpc_s)
            await unicast.basic_consume(inbox, self._take_unicast, no_ack=True, timeout=rpc_s)
            self._anycast, self._checks = await self._channel(), await self._channel()
            self._book = AckBook(self._anycast)

    async def apply(self, credits: int) -> None:
        """Consume the group's queue with these credits; 0 cancels.

        Raises:
            TransportError: the broker refused something or did not answer.
        """
        prefetch = min(credits, MAX_PREFETCH)
        channel, rpc_s = self._anycast, self._rpc_s
        if prefetch == self._prefetch or channel is None:
            return
        with translated(f"queue '{self._queue}' cannot be consumed"):
            if self._prefetch:
                self._prefetch = 0
                await channel.basic_cancel(self._tag, timeout=rpc_s)
            if prefetch:
                await declare_queue(self._connection, self._queue, self._queue_type, rpc_s)
                await channel.basic_qos(prefetch_count=prefetch, timeout=rpc_s)
                self._tag = f"resonate-{next(self._tags)}"
                await channel.basic_consume(self._queue, self._take, consumer_tag=self._tag, timeout=rpc_s)
                self._prefetch = prefetch

    async def run(self) -> str:
        """Return why it cannot go on."""
        assert self._book is not None
        helpers = {asyncio.create_task(self._book.run()), asyncio.create_task(self._check())}
        closings = {channel.closing for channel in self._channels} | {self._connection.closing}
        try:
            await asyncio.wait({*closings, *helpers, self.ended}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for helper in helpers:
                helper.cancel()
            await asyncio.wait(helpers)
        if self.ended.done():
            return self.ended.result()
        failures = [str(helper.exception()) for helper in helpers if not helper.cancelled() and helper.exception()]
        failures += [closing_reason(closing) for closing in closings if closing.done()]
        return f"queue '{self._queue}' is not consumed any more: {failures[0] if failures else 'closed'}"

    async def close(self) -> None:
        """Close the channels: what is not ended goes back to the queue."""
        self.end("closed")
        book, anycast = self._book, self._anycast
        is_alive = not self._is_down and not self._connection.is_closed
        if book is not None and anycast is not None:
            if is_alive and not anycast.is_closed:
                with contextlib.suppress(TransportError, TimeoutError):
                    async with asyncio.timeout(CLOSE_S):
                        await book.flush()
            book.closed = True
        if is_alive:
            for channel in self._channels:
                await closed(channel, CLOSE_S)

    async def _take(self, message: DeliveredMessage) -> None:
        assert self._book is not None
        self._arrivals += 1
        await self._received(self._book, message)

    async def _take_unicast(self, message: DeliveredMessage) -> None:
        if not self._is_down:
            await self._received_unicast(message)

    async def _check(self) -> None:
        """End the session when the broker has forgotten our consumer, or leaves it without what waits in the queue."""
        arrivals_before, waited_before = -1, False
        while True:
            await asyncio.sleep(CHECK_S)
            tag, prefetch, checks, book = self._tag, self._prefetch, self._checks, self._book
            if not prefetch or checks is None or book is None:
                waited_before = False
                continue
            with translated(f"queue '{self._queue}' cannot be looked at"):
                found = await checks.queue_declare(self._queue, passive=True, timeout=self._rpc_s)
            if (tag, prefetch) != (self._tag, self._prefetch):
                continue
            waits = bool(found.message_count) and len(book) < prefetch
            deaf = waits and waited_before and arrivals_before == self._arrivals
            if found.consumer_count == 0 or deaf:
                self.end(f"the broker has forgotten the consumer of queue '{self._queue}'; it is started anew")
            arrivals_before, waited_before = self._arrivals, waits

    async def _channel(self) -> AbstractChannel:
        channel = await self._connection.channel(
            publisher_confirms=False, frame_buffer_size=FRAMES_BUFFERED, timeout=self._rpc_s
        )
        self._channels.append(channel)
        channel.on_consumer_cancel_callbacks.add(self._on_cancelled)
        return channel

    def _on_cancelled(self, frame: object) -> None:
        self.was_cancelled = True
        self.end(f"the broker ended the consumer of queue '{self._queue}': it was deleted or moved")
