"""One subscription on the consuming connection: the group's queue with credits, and a queue of its own for unicast.

It comes back by itself: after a lost connection, a closed channel, or a queue that was deleted. Credits are the
prefetch of the consumer; they cannot be lowered on a live one, so pausing cancels it and resuming consumes anew (D21).
"""

import asyncio
import logging

from aiormq.abc import AbstractConnection, DeliveredMessage
from pamqp.commands import Basic

from resonate_mq.protocol.errors import InvalidRequestError
from resonate_mq.protocol.messages import Message, decode_message
from resonate_mq.transports.amqp.acks import AckBook
from resonate_mq.transports.amqp.link import Link
from resonate_mq.transports.amqp.names import UNICAST_EXCHANGE, queue_of
from resonate_mq.transports.amqp.options import AmqpOptions
from resonate_mq.transports.amqp.publisher import AmqpPublisher
from resonate_mq.transports.amqp.session import ConsumingSession
from resonate_mq.transports.amqp.topology import REDECLARE_S
from resonate_mq.transports.backoff import Backoff
from resonate_mq.transports.gate import CreditGate
from resonate_mq.transports.port import Subscription, TransportError

logger = logging.getLogger(__name__)

FIRST_RETRY_S = 0.05
BURY_RETRY_S = 1.0


class AmqpConsumer:
    """Runs one subscription.

    Attributes:
        trouble: why nothing can be delivered now; empty when it can.
    """

    def __init__(self, link: Link, publisher: AmqpPublisher, options: AmqpOptions, subscription: Subscription) -> None:
        self.trouble = "not connected yet"
        self.subscription = subscription
        self.queue = queue_of(subscription.group)
        self._link = link
        self._publisher = publisher
        self._options = options
        self._gate: CreditGate[_AnycastDelivery] = CreditGate(subscription.credits, subscription.on_delivery)
        self._session: ConsumingSession | None = None
        self._applying = asyncio.Lock()
        self._burials: set[asyncio.Task[None]] = set()  # the loop alone would forget a running task

    async def pause(self) -> None:
        """Cancel the consumer; what arrives meanwhile goes back to the queue."""
        await self._set_credits(0)

    async def resume(self, credits: int) -> None:
        """Consume with this many credits."""
        await self._set_credits(credits)

    async def _set_credits(self, credits: int) -> None:
        self._gate.credits = credits
        if credits == 0:
            for delivery in self._gate.take_waiting():
                delivery.return_unseen()
        self._gate.flush()
        async with self._applying:
            session = self._session
            if session is not None and not session.ended.done():
                try:
                    await session.apply(self._gate.credits)
                except TransportError as error:
                    session.end(str(error))  # the next session starts with the credits wanted now

    async def run(self) -> None:
        """Consume until cancelled."""
        backoff = Backoff(FIRST_RETRY_S, self._options.retry_cap_s)
        while True:
            connection = await self._connected()
            session = ConsumingSession(
                connection, self.subscription, self._options, self._received, self._received_unicast
            )
            self._link.on_down.add(session.link_down)
            try:
                async with self._applying:
                    await session.start()
                    await session.apply(self._gate.credits)
                    self._session = session
                backoff.reset()
                self._now("")
                self._now(await session.run())
            except TransportError as error:
                self._now(str(error))
            except Exception as error:  # boundary: a bug must not end this loop in silence
                logger.exception("consumer failed", extra={"group": self.subscription.group})
                self._now(f"queue '{self.queue}': {type(error).__name__}: {error}")
            finally:
                self._session = None
                self._gate.take_waiting()  # the broker delivers them again
                await session.close()
                self._link.on_down.discard(session.link_down)
            await asyncio.sleep(REDECLARE_S if session.was_cancelled else backoff.next_s())

    async def _connected(self) -> AbstractConnection:
        if self._link.trouble and not self._link.is_new:
            self._now(self._link.trouble)
        self._link.on_down.add(self._now)
        try:
            return await self._link.connected()
        finally:
            self._link.on_down.discard(self._now)

    def _now(self, trouble: str) -> None:
        if trouble and trouble != self.trouble:
            logger.info("consumer interrupted", extra={"group": self.subscription.group, "reason": trouble})
        self.trouble = trouble
        self.subscription.on_state(not trouble, trouble)

    async def _received(self, book: AckBook, message: DeliveredMessage) -> None:
        """Take an anycast message: deliver it, let it wait for a credit, send it back or to the dead letters."""
        assert isinstance(message.delivery, Basic.Deliver)
        tag = message.delivery.delivery_tag
        assert tag is not None
        if book.closed:
            return
        book.opened(tag)
        if self._gate.credits == 0:
            book.give_back(tag)
            return
        try:
            content = decode_message(message.body)
        except InvalidRequestError as error:
            self.bury(book, tag, message, error.message)
            return
        self._gate.offer(_AnycastDelivery(self, book, tag, message, content))

    async def _received_unicast(self, message: DeliveredMessage) -> None:
        """Take a message to this process: nobody else could take it, so it is off the books already."""
        try:
            content = decode_message(message.body)
        except InvalidRequestError as error:
            self.bury(None, 0, message, error.message)
            return
        self.subscription.on_delivery(_UnicastDelivery(self, message, content))

    def ended(self) -> None:
        """One anycast delivery was ended by its receiver."""
        self._gate.ended()

    def bury(self, book: AckBook | None, tag: int, message: DeliveredMessage, reason: str) -> None:
        """Send a message to the dead letters; only when it is there, take it off the books. Tried until that works."""
        logger.warning("message rejected", extra={"queue": self.queue, "reason": reason})
        origin = self.queue if book is not None else f"{UNICAST_EXCHANGE} {self.subscription.group}"
        message_id = f"dead-{message.header.properties.message_id or ''}"[:200]
        loop = asyncio.get_running_loop()

        def done(buried: bool) -> None:
            if book is not None and buried:
                book.ack(tag)
            elif book is not None and not book.closed:
                loop.call_later(BURY_RETRY_S, start)

        def start() -> None:
            task = loop.create_task(self._publisher.bury(origin, message.body, reason, message_id, done))
            self._burials.add(task)
            task.add_done_callback(self._burials.discard)

        start()


class _AnycastDelivery:
    __slots__ = ("_book", "_consumer", "_ended", "_raw", "_tag", "message")

    def __init__(
        self, consumer: AmqpConsumer, book: AckBook, tag: int, raw: DeliveredMessage, message: Message
    ) -> None:
        self.message = message
        self._consumer = consumer
        self._book = book
        self._tag = tag
        self._raw = raw
        self._ended = False

    def ack(self) -> None:
        if self._end():
            self._book.ack(self._tag)

    def give_back(self) -> None:
        if self._end():
            self._book.give_back(self._tag)

    def reject(self, reason: str) -> None:
        if self._end():
            self._consumer.bury(self._book, self._tag, self._raw, reason)

    def return_unseen(self) -> None:
        """Give back a delivery that never left the gate."""
        self._ended = True
        self._book.give_back(self._tag)

    def _end(self) -> bool:
        if self._ended:
            return False
        self._ended = True
        self._consumer.ended()
        return True


class _UnicastDelivery:
    """Giving it back forgets it: the server's retry brings it again."""

    __slots__ = ("_consumer", "_raw", "message")

    def __init__(self, consumer: AmqpConsumer, raw: DeliveredMessage, message: Message) -> None:
        self.message = message
        self._consumer = consumer
        self._raw = raw

    def ack(self) -> None:
        pass

    def give_back(self) -> None:
        pass

    def reject(self, reason: str) -> None:
        self._consumer.bury(None, 0, self._raw, reason)
