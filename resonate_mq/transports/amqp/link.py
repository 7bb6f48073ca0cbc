"""One connection kept alive for ever: connects with back-off, asks the broker whether it still answers, rebuilds.

The driver notices a stopped broker or a half-open line only after half a minute; the probe here takes seconds. Knows
nothing of queues and messages.
"""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import aio_pika
from aiormq.abc import AbstractChannel, AbstractConnection
from pamqp.common import FieldTable

from resonate_mq.transports.amqp.faults import closing_reason, connection_error, translated
from resonate_mq.transports.amqp.options import AmqpAddress, AmqpOptions
from resonate_mq.transports.backoff import Backoff
from resonate_mq.transports.port import TransportConfigError, TransportError

logger = logging.getLogger(__name__)

FIRST_RETRY_S = 0.05
CLOSE_S = 3.0  # for a polite good-bye; a broker that is stopped does not answer it
PROBE_SLICE_S = 1.0


class Link:
    """A connection to the broker that comes back.

    Attributes:
        trouble: why it is not usable now, for people; empty when it is.
        misconfigured: the trouble needs somebody to act.
        is_new: the first attempt to connect has not ended yet.
        on_down: told at once, with the reason, when the connection is of no use any more or cannot be made.
    """

    def __init__(self, address: AmqpAddress, options: AmqpOptions, purpose: str) -> None:
        self.trouble = f"broker {address.shown}: not connected yet"
        self.misconfigured = False
        self.is_new = True
        self._address = address
        self._options = options
        self._purpose = purpose
        self._connection: AbstractConnection | None = None
        self._waiters: set[asyncio.Future[AbstractConnection]] = set()
        self._farewells: set[asyncio.Task[None]] = set()
        self.on_down: set[Callable[[str], None]] = set()

    @asynccontextmanager
    async def open(self) -> AsyncIterator["Link"]:
        """Connect in the background until the scope ends."""
        keeper = asyncio.create_task(self._keep(), name=f"amqp-link {self._purpose}")
        try:
            yield self
        finally:
            keeper.cancel()
            await asyncio.wait({keeper})
            if self._farewells:
                await asyncio.wait(self._farewells, timeout=CLOSE_S + 1.0)

    async def connected(self) -> AbstractConnection:
        """Wait for the connection and return it."""
        if self._connection is not None:
            return self._connection
        waiter: asyncio.Future[AbstractConnection] = asyncio.get_running_loop().create_future()
        self._waiters.add(waiter)
        try:
            return await waiter
        finally:
            self._waiters.discard(waiter)

    async def _keep(self) -> None:
        backoff = Backoff(FIRST_RETRY_S, self._options.retry_cap_s)
        while True:
            try:
                connection = await self._connect()
            except TransportError as error:
                self._failed(error.__cause__ or error)
                await asyncio.sleep(backoff.next_s())
                continue
            backoff.reset()
            try:
                self._down(await self._watch(connection.transport.connection))  # type: ignore[union-attr]
            except Exception as error:  # boundary: a bug must not end this loop in silence
                logger.exception("watching the broker failed", extra={"purpose": self._purpose})
                self._down(f"broker {self._address.shown}: {type(error).__name__}: {error}")
            finally:
                self._connection = None
                self._part(connection)
            await asyncio.sleep(backoff.next_s())

    async def _connect(self) -> aio_pika.Connection:
        url = self._address.url
        options = self._options
        properties: FieldTable = {"connection_name": f"resonate-mq {self._purpose}", "product": "resonate-mq"}
        connection: aio_pika.Connection | None = None
        try:
            with translated("cannot connect"):
                connection = await aio_pika.connect(url, timeout=options.connect_s, client_properties=properties)
        except asyncio.CancelledError:
            if connection is not None:
                self._part(connection)
            raise
        assert connection is not None
        return connection

    def _failed(self, error: BaseException) -> None:
        failure = connection_error(error, self._address.shown)
        is_news = self.trouble != str(failure)
        self.trouble = str(failure)
        self.misconfigured = isinstance(failure, TransportConfigError)
        self.is_new = False
        if is_news:
            logger.warning("broker not reachable", extra={"purpose": self._purpose, "reason": self.trouble})
            self._tell(self.trouble)

    def _up(self, connection: AbstractConnection) -> None:
        logger.info("broker connected", extra={"purpose": self._purpose, "broker": self._address.shown})
        self.trouble, self.misconfigured, self.is_new = "", False, False
        self._connection = connection
        for waiter in self._waiters:
            if not waiter.done():
                waiter.set_result(connection)

    def _down(self, reason: str) -> None:
        logger.warning("broker connection lost", extra={"purpose": self._purpose, "reason": reason})
        self.trouble = reason
        self._connection = None
        self._tell(reason)

    def _tell(self, reason: str) -> None:
        for callback in list(self.on_down):
            callback(reason)

    async def _watch(self, connection: AbstractConnection) -> str:
        """Announce the connection and return the reason when it is of no use any more."""
        shown = self._address.shown
        closing = connection.closing
        try:
            with translated("cannot open a channel"):
                probe = await connection.channel(publisher_confirms=False, timeout=self._options.rpc_s)
        except TransportError as error:
            return f"broker {shown}: {error}"
        self._up(connection)
        while True:
            await asyncio.wait({closing}, timeout=self._options.probe_s)
            if closing.done() or not await self._answers(connection, probe, closing):
                break
        if closing.done():
            return f"broker {shown}: connection lost: {closing_reason(closing)}"
        return f"broker {shown}: no answer for {self._options.silence_s:g} s; connecting anew"

    async def _answers(
        self, connection: AbstractConnection, probe: AbstractChannel, closing: "asyncio.Future[Any]"
    ) -> bool:
        """Ask for an answer. Silence counts in slices: a stall of our own loop must not be taken for the broker's."""
        asking = asyncio.ensure_future(probe.basic_qos(prefetch_count=1))
        slices = max(1, round(self._options.silence_s / PROBE_SLICE_S))
        try:
            while True:
                for _ in range(slices):
                    await asyncio.wait({asking, closing}, timeout=PROBE_SLICE_S)
                    if closing.done():
                        return False
                    if asking.done():
                        self.trouble = ""
                        return not asking.cancelled() and asking.exception() is None
                if not await self._is_blocked(connection):
                    return False
                self.trouble = f"broker {self._address.shown} blocks publishing: its memory or disk alarm is on"
        finally:
            asking.cancel()
            await asyncio.wait({asking})

    async def _is_blocked(self, connection: AbstractConnection) -> bool:
        """Whether the broker said that it reads nothing from publishers for now: silence is no failure then."""
        ready = asyncio.ensure_future(connection.ready())
        await asyncio.wait({ready}, timeout=0.05)
        if ready.done():
            return False
        ready.cancel()
        return True

    def _part(self, connection: aio_pika.Connection) -> None:
        """Say good-bye without waiting: the next attempt must not wait for a broker that is stopped."""
        farewell = asyncio.create_task(_close(connection))
        self._farewells.add(farewell)
        farewell.add_done_callback(self._farewells.discard)


async def _close(connection: aio_pika.Connection) -> None:
    with contextlib.suppress(TransportError), translated("closing"):
        async with asyncio.timeout(CLOSE_S):
            await connection.close()
