"""The AMQP transport: two connections (a blocked publisher must not hold up acknowledgements), publisher, consumers."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager

from resonate_mq.protocol.addresses import format_address
from resonate_mq.transports.amqp.consumer import AmqpConsumer
from resonate_mq.transports.amqp.link import Link
from resonate_mq.transports.amqp.options import AmqpOptions, parse_amqp_url
from resonate_mq.transports.amqp.publisher import MAX_MESSAGE_BYTES, AmqpPublisher
from resonate_mq.transports.port import Consumer, Guarantees, Outcome, Outgoing, Report, Subscription, TransportError


class AmqpTransport:
    """RabbitMQ, or another AMQP 0-9-1 broker.

    Args:
        name: scheme of its addresses.
        url: `amqp://USER:PASSWORD@HOST:PORT/VHOST` or `amqps://…`, parts percent-encoded; see `parse_amqp_url`.
        options: settings; the URL's query goes first.

    Raises:
        TransportConfigError: the URL or an option cannot be used.
    """

    guarantees = Guarantees(
        keeps_without_consumer=True, survives_broker_restart=True, redelivers=True, max_message_bytes=MAX_MESSAGE_BYTES
    )

    def __init__(self, name: str, url: str, options: AmqpOptions | None = None) -> None:
        self.name = name
        self._address, self._options = parse_amqp_url(url, options or AmqpOptions())
        self.shown_url = self._address.shown
        self._on_ready: list[Callable[[str], None]] = []
        self._life: _Life | None = None

    def open(self) -> AbstractAsyncContextManager["AmqpTransport"]:
        """Connect in the background; on exit wait for confirms, at most `confirm_s`, then close."""
        return self._opened()

    @asynccontextmanager
    async def _opened(self) -> AsyncIterator["AmqpTransport"]:
        if self._life is not None:
            raise TransportError(f"transport '{self.name}' is open already")
        publishing = Link(self._address, self._options, f"{self.name} publish")
        consuming = Link(self._address, self._options, f"{self.name} consume")
        publisher = AmqpPublisher(publishing, self._options, self._tell_ready)
        async with AsyncExitStack() as scope:
            self._life = _Life(publishing, consuming, publisher, scope)
            try:
                await scope.enter_async_context(publishing.open())
                await scope.enter_async_context(publisher.open())
                yield self
            finally:
                self._life = None

    def healthy(self) -> tuple[bool, str]:
        """Return (True, "") when connected and every subscription consumes, else why not."""
        life = self._life
        if life is None:
            return False, f"transport '{self.name}' is not open"
        troubles = [life.publishing.trouble, life.publisher.trouble]
        if life.consumers:
            troubles.append(life.consuming.trouble)
            troubles += [consumer.trouble for consumer in life.consumers]
        for trouble in troubles:
            if trouble:
                return False, f"transport '{self.name}': {trouble}"
        return True, ""

    def unicast(self, group: str, pid: str) -> str:
        """Return `<name>://uni@<group>/<pid>`."""
        return format_address(self.name, "uni", group, pid)

    def on_ready(self, callback: Callable[[str], None]) -> None:
        """Register a callback for destinations that are worth a try now."""
        self._on_ready.append(callback)

    async def publish(self, batch: Sequence[Outgoing], report: Report) -> None:
        """Publish with confirms; returns when all are in the window."""
        life = self._life
        if life is None:
            for outgoing in batch:
                report(outgoing, Outcome.FAILED, f"transport '{self.name}' is not open")
            return
        await life.publisher.publish(batch, report)

    def subscribe(self, subscription: Subscription) -> AbstractAsyncContextManager[Consumer]:
        """Consume until the scope ends."""
        return self._subscribed(subscription)

    @asynccontextmanager
    async def _subscribed(self, subscription: Subscription) -> AsyncIterator[Consumer]:
        life = self._life
        if life is None:
            raise TransportError(f"transport '{self.name}' is not open: enter its open() scope before subscribing")
        if not life.consuming_is_open:
            life.consuming_is_open = True
            await life.scope.enter_async_context(life.consuming.open())
        consumer = AmqpConsumer(life.consuming, life.publisher, self._options, subscription)
        life.consumers.append(consumer)
        running = asyncio.create_task(consumer.run(), name=f"amqp-consumer {subscription.group}/{subscription.pid}")
        try:
            yield consumer
        finally:
            life.consumers.remove(consumer)
            running.cancel()
            await asyncio.wait({running})

    def _tell_ready(self, destination: str) -> None:
        for callback in self._on_ready:
            callback(destination)


class _Life:
    """What exists between open and close."""

    def __init__(self, publishing: Link, consuming: Link, publisher: AmqpPublisher, scope: AsyncExitStack) -> None:
        self.publishing = publishing
        self.consuming = consuming
        self.publisher = publisher
        self.scope = scope
        self.consumers: list[AmqpConsumer] = []
        self.consuming_is_open = False
