"""The publishing side: one connection, one channel with confirms, queues declared on first use.

Every message is reported exactly once: by the broker's word, when it took too long, or when the channel went away.
"""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from urllib.parse import unquote

from aiormq.abc import AbstractConnection
from pamqp.commands import Basic

from resonate_mq.protocol.addresses import Address, destination_of
from resonate_mq.transports.amqp.confirms import ConfirmWindow, Letter
from resonate_mq.transports.amqp.faults import closed, closing_reason, translated
from resonate_mq.transports.amqp.link import Link
from resonate_mq.transports.amqp.names import DEAD_QUEUE, UNICAST_EXCHANGE, message_id_of, queue_of, unicast_key
from resonate_mq.transports.amqp.options import AmqpOptions
from resonate_mq.transports.amqp.topology import REDECLARE_S, declare_queue, declare_unicast
from resonate_mq.transports.port import Outcome, Outgoing, Report, TransportError

logger = logging.getLogger(__name__)

MAX_MESSAGE_BYTES = 16_000_000  # below the 16 MiB that RabbitMQ 4 takes unless told otherwise
REOPEN_S = 0.05
MAX_REFUSED = 1_000
REFUSAL_S = 5.0  # a queue that could not be declared is not tried again sooner
MAX_REASON_BYTES = 4_000
PERSISTENT, TRANSIENT = 2, 1


class AmqpPublisher:
    """Publishes over one link.

    Args:
        link: the connection used for publishing, opened by the owner.
        ready: told of destinations worth a try, "" for all.
    """

    def __init__(self, link: Link, options: AmqpOptions, ready: Callable[[str], None]) -> None:
        self._link = link
        self._options = options
        self._ready = ready
        self._session: _Session | None = None
        self._ttl = str(round(options.message_ttl_s * 1000))
        self._trouble = ""

    @property
    def trouble(self) -> str:
        """Why nothing can be published now; empty when it can."""
        if self._session is not None:
            return ""
        return self._link.trouble or self._trouble or "the channel for publishing is not open yet"

    @asynccontextmanager
    async def open(self) -> AsyncIterator["AmqpPublisher"]:
        """Keep a channel on the link until the scope ends; then wait for what is not confirmed, and report the rest."""
        keeper = asyncio.create_task(self._keep(), name="amqp-publisher")
        try:
            yield self
        finally:
            session = self._session
            if session is not None:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(self._options.confirm_s):
                        await session.window.drained()
            keeper.cancel()
            await asyncio.wait({keeper})

    async def publish(self, batch: Sequence[Outgoing], report: Report) -> None:
        """See the port."""
        session = self._session
        for outgoing in batch:
            problem = self._problem(outgoing) if session is not None else self.trouble
            if session is None or problem:
                report(outgoing, Outcome.FAILED, problem)
                continue
            try:
                if outgoing.address.cast == "any":
                    await session.declared(queue_of(outgoing.address.group))
                if session.window.is_full:
                    await session.window.flush()
                    await session.window.room()
            except TransportError as error:
                report(outgoing, Outcome.FAILED, str(error))
                continue
            session.window.send(self._letter(outgoing), self._on_report(session, outgoing, report))
        if session is not None:
            with contextlib.suppress(TransportError):  # each message is reported by the window
                await session.window.flush()

    async def bury(self, queue: str, body: bytes, reason: str, message_id: str, done: Callable[[bool], None]) -> None:
        """Publish a useless message to the dead-letter queue with its reason (D22); `done` hears whether it arrived."""
        session = self._session
        if session is None:
            done(False)
            return
        headers = {"resonate-reason": _cut(reason), "resonate-queue": _cut(queue)}
        properties = Basic.Properties(
            content_type="application/json", delivery_mode=PERSISTENT, message_id=message_id, headers=dict(headers)
        )
        try:
            await session.declared(DEAD_QUEUE)
            await session.window.room()
        except TransportError:
            done(False)
            return
        session.window.send(
            Letter("", DEAD_QUEUE, body, properties), lambda confirmed, _why, _returned: done(confirmed)
        )
        with contextlib.suppress(TransportError):
            await session.window.flush()

    def _problem(self, outgoing: Outgoing) -> str:
        if self._link.trouble:
            return self._link.trouble
        if len(outgoing.payload) > MAX_MESSAGE_BYTES:
            return f"message of {len(outgoing.payload)} bytes: at most {MAX_MESSAGE_BYTES} fit"
        return ""

    def _letter(self, outgoing: Outgoing) -> Letter:
        address = outgoing.address
        if address.cast == "uni":
            exchange, key = UNICAST_EXCHANGE, unicast_key(address.group, address.pid or "")
            mode, ttl = TRANSIENT, None
        else:
            exchange, key = "", queue_of(address.group) if address.cast == "any" else unquote(address.group)
            mode, ttl = PERSISTENT, self._ttl
        properties = Basic.Properties(
            content_type="application/json",
            delivery_mode=mode,
            expiration=ttl,
            message_id=message_id_of(outgoing.message_id),
        )
        return Letter(exchange, key, outgoing.payload, properties)

    def _on_report(self, session: "_Session", outgoing: Outgoing, report: Report) -> Callable[[bool, str, bool], None]:
        def reported(confirmed: bool, reason: str, returned: bool) -> None:
            if confirmed:
                report(outgoing, Outcome.CONFIRMED, "")
            elif returned:
                report(outgoing, *self._unroutable(session, outgoing.address))
            else:
                report(outgoing, Outcome.FAILED, reason)

        return reported

    def _unroutable(self, session: "_Session", address: Address) -> tuple[Outcome, str]:
        if address.cast == "uni":
            return Outcome.NO_CONSUMER, f"process '{address.pid}' of group '{address.group}' is not connected"
        if address.cast == "raw":
            return Outcome.NO_CONSUMER, f"queue '{unquote(address.group)}' does not exist; its owner must create it"
        queue = queue_of(address.group)
        reason = f"queue '{queue}' was deleted; it is declared again in a moment"
        session.forget(queue, reason)
        asyncio.get_running_loop().call_later(REDECLARE_S, self._ready, destination_of(str(address)))
        return Outcome.FAILED, reason

    async def _keep(self) -> None:
        while True:
            connection = await self._link.connected()
            try:
                await self._serve(connection)
            except TransportError as error:
                self._trouble = str(error)
                # the link tells when the connection is of use again; a refusal by itself is not asked for in a loop
                await asyncio.sleep(self._options.retry_cap_s)
            except Exception as error:  # boundary: a bug must not end this loop in silence
                logger.exception("publishing failed")
                self._trouble = f"{type(error).__name__}: {error}"
                await asyncio.sleep(self._options.retry_cap_s)

    async def _serve(self, connection: AbstractConnection) -> None:
        rpc_s = self._options.rpc_s
        with translated("cannot open a channel for publishing"):
            channel = await connection.channel(publisher_confirms=True, timeout=rpc_s)
            await declare_unicast(channel, rpc_s)
        window = ConfirmWindow(channel, self._options.window, self._options.confirm_s)
        session = self._session = _Session(connection, window, self._options)
        self._trouble = ""
        self._link.on_down.add(session.link_down)
        try:
            self._ready("")
            await asyncio.wait({channel.closing, connection.closing, session.ended}, return_when="FIRST_COMPLETED")
            if not session.ended.done():
                session.end(f"the channel for publishing was closed: {closing_reason(channel.closing)}")
            await asyncio.sleep(REOPEN_S)
        finally:
            self._session = None
            self._link.on_down.discard(session.link_down)
            session.end("the transport was closed")
            if not session.is_down:
                await closed(channel, rpc_s)


class _Session:
    """What is known on one channel."""

    def __init__(self, connection: AbstractConnection, window: ConfirmWindow, options: AmqpOptions) -> None:
        self.window = window
        self.ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.is_down = False
        self._connection = connection
        self._options = options
        self._declared: set[str] = set()
        self._declaring: dict[str, asyncio.Task[None]] = {}
        self._refused: dict[str, tuple[float, TransportError]] = {}

    def end(self, reason: str) -> None:
        """Nothing more is confirmed here."""
        if not self.ended.done():
            self.ended.set_result(None)
        self.window.close(reason)

    def link_down(self, reason: str) -> None:
        """The connection is of no use; nobody would answer a polite close of the channel."""
        self.is_down = True
        self.end(reason)

    def forget(self, queue: str, reason: str) -> None:
        """The queue is not there any more; it is declared again when its consumers had time to hear of that."""
        if queue in self._declared:
            self._declared.discard(queue)
            self._refused[queue] = (asyncio.get_running_loop().time() + REDECLARE_S, TransportError(reason))

    async def declared(self, queue: str) -> None:
        """Return when the queue exists; callers that ask at the same time share one declaration.

        Raises:
            TransportError: it cannot be declared, now or a moment ago.
        """
        if queue in self._declared:
            return
        now = asyncio.get_running_loop().time()
        until, error = self._refused.get(queue, (0.0, None))
        if error is not None and now < until:
            raise error
        task = self._declaring.get(queue)
        if task is None:
            task = asyncio.create_task(self._declare(queue))
            self._declaring[queue] = task
            task.add_done_callback(lambda _: self._declaring.pop(queue, None))
        await asyncio.shield(task)

    async def _declare(self, queue: str) -> None:
        try:
            await declare_queue(self._connection, queue, self._options.queue_type, self._options.rpc_s)
        except TransportError as error:
            if len(self._refused) >= MAX_REFUSED:
                self._refused.clear()  # they are asked for again, that is all
            self._refused[queue] = (asyncio.get_running_loop().time() + REFUSAL_S, error)
            raise
        self._refused.pop(queue, None)
        self._declared.add(queue)


def _cut(text: str) -> str:
    return text.encode("utf-8", "replace")[:MAX_REASON_BYTES].decode("utf-8", "ignore")
