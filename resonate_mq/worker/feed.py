"""One subscription and its flow: how many messages may come, applied in order. Knows no slot and no hint."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from resonate_mq.transports.port import Consumer, ConsumingTransport, Delivery, Subscription, TransportError
from resonate_mq.worker.background import running
from resonate_mq.worker.options import WorkerOptions

logger = logging.getLogger(__name__)


class Feed:
    """What comes in from one transport.

    Attributes:
        address: unicast address of this process there.
        trouble: why nothing flows, "" while it does.
    """

    def __init__(self, transport: ConsumingTransport, options: WorkerOptions, look_ahead: int) -> None:
        self._transport = transport
        self._options = options
        self._full = options.concurrency + look_ahead
        self._counts_held = transport.guarantees.counts_held
        self._wanted = self._applied = self._full
        self._returning: list[Delivery] = []
        self._changed = asyncio.Event()
        self._connected_before = False
        self.address = transport.unicast(options.group, options.pid)
        self.trouble = f"transport '{transport.name}': not connected yet"

    @asynccontextmanager
    async def open(
        self, on_delivery: Callable[[Feed, Delivery], None], reconnected: Callable[[], None]
    ) -> AsyncIterator[Feed]:
        """Subscribe while the scope lasts."""

        def on_state(flows: bool, reason: str) -> None:
            before, self.trouble = self.trouble, "" if flows else reason
            if not flows:
                if reason != before:
                    logger.warning("deliveries stopped: %s", reason)
                return
            if before and self._connected_before:  # a newer stream that takes over from an older one is no news
                logger.info("deliveries flow again", extra={"transport": self._transport.name})
                reconnected()
            self._connected_before = True

        subscription = Subscription(
            group=self._options.group,
            pid=self._options.pid,
            credits=self._full,
            on_delivery=lambda delivery: on_delivery(self, delivery),
            on_state=on_state,
        )
        async with (
            self._transport.subscribe(subscription) as consumer,
            running(self._apply(consumer), f"flow of {self._transport.name}"),
        ):
            yield self

    def want(self, credits: int) -> None:
        """Let this many messages be under way; 0 stops anycast deliveries."""
        if credits != self._wanted:
            self._wanted = credits
            self._changed.set()

    def flow(self, free: int, look_ahead: int) -> None:
        """Let `free` slots be filled and `look_ahead` hints wait, where changing the flow is worth the trouble.

        Resuming from a standstill is; raising is when it doubles what may come, or when half the slots are free.
        """
        size = self._options.concurrency
        credits = min(self._full, (size if self._counts_held else free) + look_ahead)
        if self._wanted == 0 or credits >= 2 * self._wanted or (credits > self._wanted and 2 * free >= size):
            self.want(credits)

    def give_back(self, delivery: Delivery) -> None:
        """Return a message to the broker, once what was asked of the flow is done: it must not come straight back."""
        if self._wanted == self._applied:
            delivery.give_back()
        else:
            self._returning.append(delivery)

    async def _apply(self, consumer: Consumer) -> None:
        while True:
            await self._changed.wait()
            self._changed.clear()
            while self._applied != (wanted := self._wanted):
                try:
                    await (consumer.resume(wanted) if wanted else consumer.pause())
                except TransportError as error:
                    # a connection that is gone delivers nothing, and comes back with what was asked for last
                    logger.debug("flow not changed: %s", error)
                self._applied = wanted
            returning, self._returning = self._returning, []
            for delivery in returning:
                delivery.give_back()
