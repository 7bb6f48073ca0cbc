"""The worker's half of HTTP poll: reads `GET /poll/{group}/{pid}` and connects again for ever.

Credits are announced when a stream is opened, so changing them, or giving a hint back, opens a newer stream: the server
ends the older one and sends its unacquired hints to somebody else at once (D21). Knows nothing of acquiring.
"""

import asyncio
import contextlib
import logging
from collections import deque
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from urllib.parse import quote, urlsplit, urlunsplit

import aiohttp
import yarl

from resonate_mq.protocol.addresses import format_address
from resonate_mq.protocol.errors import InvalidRequestError
from resonate_mq.protocol.limits import MAX_BODY_BYTES
from resonate_mq.protocol.messages import Execute, Message, decode_message
from resonate_mq.transports.backoff import Backoff
from resonate_mq.transports.gate import CreditGate
from resonate_mq.transports.poll.sse import SseParser
from resonate_mq.transports.port import (
    Consumer,
    DeadLetter,
    Guarantees,
    Subscription,
    TransportConfigError,
    TransportError,
)

logger = logging.getLogger(__name__)

CONNECT_S = 5.0
ANSWER_S = 15.0  # until the response head, connecting included
SILENCE_S = 30.0  # our server speaks every 10 s; a stream silent for longer is dead
FIRST_RETRY_S = 0.05
LONGEST_RETRY_S = 5.0
RENEWAL_S = 0.1  # a stream lives at least this long, however often hints are given back
MAX_EVENT_BYTES = 2 * MAX_BODY_BYTES
KEPT_DEAD_LETTERS = 100


class PollTransport:
    """Consumes from one server.

    Args:
        name: scheme of its addresses.
        url: `http://host:port` of the server, optionally with a path; user and password in it become Basic
            authentication.
        token: bearer token.
        basic_auth: (user, password), instead of a token.
        silence_s: seconds without a byte after which a stream of a server that sends keep-alives is opened anew.

    Raises:
        TransportConfigError: the URL is not an HTTP URL.
    """

    guarantees = Guarantees(
        keeps_without_consumer=False, survives_broker_restart=False, redelivers=False, counts_held=True
    )

    def __init__(
        self,
        name: str,
        url: str,
        token: str | None = None,
        basic_auth: tuple[str, str] | None = None,
        *,
        silence_s: float = SILENCE_S,
    ) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise TransportConfigError(f"server url {url!r}: expected http://HOST:PORT or https://HOST:PORT")
        if parts.username and basic_auth is None:
            basic_auth = (parts.username, parts.password or "")
        self.name = name
        self.url = urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path.rstrip("/"), "", ""))
        self.silence_s = silence_s
        self.dead_letters: deque[DeadLetter] = deque(maxlen=KEPT_DEAD_LETTERS)
        self._headers = {"Accept": "text/event-stream"}
        if token is not None:
            self._headers["Authorization"] = f"Bearer {token}"
        elif basic_auth is not None:
            self._headers["Authorization"] = aiohttp.BasicAuth(*basic_auth).encode()
        self._session: aiohttp.ClientSession | None = None
        self._consumers: list[_PollConsumer] = []

    @asynccontextmanager
    async def _opened(self) -> AsyncIterator["PollTransport"]:
        if self._session is not None:
            raise TransportError(f"transport '{self.name}' is open already")
        session = aiohttp.ClientSession(
            headers=self._headers,
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_S),
            connector=aiohttp.TCPConnector(limit=0, force_close=True),
            read_bufsize=2**18,
            cookie_jar=aiohttp.DummyCookieJar(),
        )
        self._session = session
        try:
            async with session:
                yield self
        finally:
            self._session = None

    def open(self) -> AbstractAsyncContextManager["PollTransport"]:
        """Prepare to connect; a stream is opened per subscription."""
        return self._opened()

    def healthy(self) -> tuple[bool, str]:
        """Return (True, "") when every subscription has its stream, else why not."""
        if self._session is None:
            return False, f"transport '{self.name}' is not open"
        for consumer in self._consumers:
            if consumer.trouble:
                return False, consumer.trouble
        return True, ""

    def unicast(self, group: str, pid: str) -> str:
        """Return `<name>://uni@<group>/<pid>`."""
        return format_address(self.name, "uni", group, pid)

    def subscribe(self, subscription: Subscription) -> AbstractAsyncContextManager[Consumer]:
        """Keep a stream for (group, pid) until the scope ends."""
        return self._subscribed(subscription)

    @asynccontextmanager
    async def _subscribed(self, subscription: Subscription) -> AsyncIterator[Consumer]:
        if self._session is None:
            raise TransportError(f"transport '{self.name}' is not open: enter its open() scope before subscribing")
        consumer = _PollConsumer(self, self._session, subscription)
        self._consumers.append(consumer)
        running = asyncio.create_task(consumer.run(), name=f"poll {subscription.group}/{subscription.pid}")
        try:
            yield consumer
        finally:
            self._consumers.remove(consumer)
            running.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await running

    def bury(self, destination: str, payload: bytes, reason: str) -> None:
        """Keep a message nobody can use among the last few: HTTP poll has no dead-letter queue (D22)."""
        logger.warning("message rejected", extra={"destination": destination, "reason": reason})
        self.dead_letters.append(DeadLetter(destination, payload, reason))


class _Stream:
    """One response being read."""

    def __init__(self, credits: int, read: Callable[["_Stream"], Coroutine[None, None, None]]) -> None:
        self.credits = credits
        self.connected: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.opened_at_s = asyncio.get_running_loop().time()
        self.task = asyncio.create_task(read(self))

    async def cancel(self) -> None:
        """End it and wait until it has ended."""
        self.task.cancel()
        await asyncio.wait({self.task})


class _PollConsumer:
    def __init__(self, transport: PollTransport, session: aiohttp.ClientSession, subscription: Subscription) -> None:
        self.trouble = f"transport '{transport.name}': connecting to {transport.url}"
        self.subscription = subscription
        self._transport = transport
        self._session = session
        self._gate: CreditGate[_PollDelivery] = CreditGate(subscription.credits, subscription.on_delivery)
        self._announced = subscription.credits
        self._renewal: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._backoff = Backoff(FIRST_RETRY_S, LONGEST_RETRY_S)

    async def pause(self) -> None:
        """Stop anycast: what arrives from now on is dropped here and sent elsewhere when the old stream ends."""
        self._set_credits(0)

    async def resume(self, credits: int) -> None:
        """Let anycast flow again."""
        self._set_credits(credits)

    def _set_credits(self, credits: int) -> None:
        self._gate.credits = credits
        if credits == 0:
            self._gate.take_waiting()
        self._gate.flush()
        if credits != self._announced:
            self._announced = credits
            self.renew()

    def renew(self) -> None:
        """Open a newer stream; the server re-sends what was not acquired of the older one."""
        if not self._renewal.done():
            self._renewal.set_result(None)

    async def run(self) -> None:
        """Keep one stream, replacing it when asked and when it ends."""
        stream = _Stream(self._announced, self._read)
        try:
            while True:
                await asyncio.wait({stream.task, self._renewal}, return_when=asyncio.FIRST_COMPLETED)
                if stream.task.done():
                    if not self.trouble:
                        self._disturbed(f"transport '{self._transport.name}': {self._transport.url} ended the stream")
                    await asyncio.sleep(self._backoff.next_s())
                    stream = self._successor()
                else:
                    await asyncio.sleep(stream.opened_at_s + RENEWAL_S - asyncio.get_running_loop().time())
                    older, stream = stream, self._successor()
                    try:
                        await asyncio.wait({stream.connected})  # so that unicast messages always find a stream
                    finally:
                        await older.cancel()
        finally:
            await stream.cancel()

    def _successor(self) -> _Stream:
        if self._renewal.done():
            self._renewal = asyncio.get_running_loop().create_future()
        return _Stream(self._announced, self._read)

    async def _read(self, stream: _Stream) -> None:
        subscription, url = self.subscription, self._transport.url
        path = f"/poll/{quote(subscription.group, safe='')}/{quote(subscription.pid, safe='')}"
        target = yarl.URL(f"{url}{path}?credits={stream.credits}", encoded=True)
        try:
            async with contextlib.AsyncExitStack() as scope:
                async with asyncio.timeout(ANSWER_S):
                    response = await scope.enter_async_context(self._session.get(target, allow_redirects=False))
                    if response.status != 200:
                        raise TransportError(await _refusal(response))
                await self._read_events(stream, response)
        except (aiohttp.ClientError, OSError, TransportError, TimeoutError, ValueError) as error:
            what = str(error) or type(error).__name__
            self._disturbed(f"transport '{self._transport.name}': {url}: {what}")
        finally:
            if not stream.connected.done():
                stream.connected.set_result(None)

    async def _read_events(self, stream: _Stream, response: aiohttp.ClientResponse) -> None:
        self._backoff.reset()
        self.trouble = ""
        stream.connected.set_result(None)
        self.subscription.on_state(True, "")
        parser = SseParser(MAX_EVENT_BYTES)
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(None) as watchdog:
            async for chunk in response.content.iter_any():
                for payload in parser.feed(chunk):
                    self._receive(payload, stream)
                if parser.comments:  # official servers send no keep-alive: their silence means nothing
                    watchdog.reschedule(loop.time() + self._transport.silence_s)

    def _disturbed(self, reason: str) -> None:
        logger.info("poll stream failed", extra={"group": self.subscription.group, "reason": reason})
        self.trouble = reason
        self.subscription.on_state(False, reason)

    def _receive(self, payload: bytes, stream: _Stream) -> None:
        try:
            message = decode_message(payload)
        except InvalidRequestError as error:
            self.bury(payload, error.message)
            return
        anycast = isinstance(message, Execute) and stream.credits > 0
        delivery = _PollDelivery(self, message, payload, gated=anycast)
        if not anycast:
            self.subscription.on_delivery(delivery)
        elif self._gate.credits > 0:
            self._gate.offer(delivery)

    def end(self, *, gated: bool) -> None:
        """One delivery was ended."""
        if gated:
            self._gate.ended()

    def bury(self, payload: bytes, reason: str) -> None:
        """Set a useless message aside."""
        self._transport.bury(f"{self.subscription.group}/{self.subscription.pid}", payload, reason)


class _PollDelivery:
    """There is nothing to acknowledge: the server counts acquisitions."""

    __slots__ = ("_consumer", "_ended", "_gated", "_payload", "message")

    def __init__(self, consumer: _PollConsumer, message: Message, payload: bytes, *, gated: bool) -> None:
        self.message = message
        self._consumer = consumer
        self._payload = payload
        self._gated = gated
        self._ended = False

    def ack(self) -> None:
        if not self._ended:
            self._ended = True
            self._consumer.end(gated=self._gated)

    def give_back(self) -> None:
        if not self._ended:
            self.ack()
            self._consumer.renew()

    def reject(self, reason: str) -> None:
        if not self._ended:
            self._consumer.bury(self._payload, reason)
            self.ack()


async def _refusal(response: aiohttp.ClientResponse) -> str:
    text = (await response.text(errors="replace"))[:200]
    if response.status in (401, 403):
        return f"the server refuses the stream ({response.status} {text}); set the token or user and password"
    if response.status == 404:
        return "answers 404 to /poll: this is not a Resonate server, or its url needs a path"
    return f"answers {response.status} to /poll: {text}"
