"""The server as one object: kernel, timers, publisher, API and HTTP over a store and some transports.

Owns the order in which they start and stop. Names no adapter, installs no signal handler, reads no environment.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from importlib.metadata import PackageNotFoundError, version
from types import TracebackType
from typing import Any, Self

from resonate_mq.protocol.addresses import ALWAYS_VALID
from resonate_mq.protocol.limits import PROTOCOL_VERSION
from resonate_mq.protocol.parse import Profile
from resonate_mq.server.api import Api
from resonate_mq.server.authentication import TokenGate
from resonate_mq.server.endpoints import StreamEndpoint, credit_observer
from resonate_mq.server.grace import Grace
from resonate_mq.server.health import Health
from resonate_mq.server.kernel import Kernel
from resonate_mq.server.metrics import Metrics
from resonate_mq.server.options import ServerConfigError, ServerOptions
from resonate_mq.server.presence import Presence
from resonate_mq.server.publisher import Publisher
from resonate_mq.server.timers import Timers
from resonate_mq.stores.port import Store
from resonate_mq.transports.port import PublishingTransport

logger = logging.getLogger(__name__)

FLUSH_S = 2.0  # for writing down what was delivered, before the store closes


class Server:
    """A server, running inside `async with`.

    Args:
        store: constructed, not open; the server opens and closes it.
        transports: constructed, not open; their names are the schemes of addresses.
        options: see `ServerOptions`.

    Attributes:
        api: answers envelopes in process: `await server.api.handle_envelope({...})`.
        metrics: counters.
        health: what `/ready` says.
        kernel: runs typed requests, without the wire.
        publisher: sends hints and unblocks.
    """

    api: Api
    kernel: Kernel
    publisher: Publisher
    store_id: str
    url: str | None

    def __init__(
        self,
        store: Store,
        transports: Sequence[PublishingTransport] = (),
        options: ServerOptions | None = None,
    ) -> None:
        self.options = options or ServerOptions()
        self.store = store
        self.transports = {one.name: one for one in transports}
        if len(self.transports) != len(transports):
            names = ", ".join(one.name for one in transports)
            raise ServerConfigError(f"transports: every name may stand once, got {names}")
        self.metrics = Metrics()
        self.health = Health()
        self.presence = Presence(frozenset(self.transports) | ALWAYS_VALID)
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        """Open everything; the server answers when this returns, whether or not its brokers are there.

        Raises:
            StoreUnavailableError: the store cannot be opened.
            ServerConfigError: the port is taken, or the default transport does not exist.
        """
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(self._running())
            self._stack = stack.pop_all()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool | None:
        """Stop taking requests, finish those in progress, write what was delivered, close."""
        return await self._stack.__aexit__(kind, error, trace)

    @property
    def default_transport(self) -> str | None:
        """What a bare group name stands for (D35)."""
        wanted = self.options.default_transport
        if wanted is not None or not self.transports:
            return wanted
        return "poll" if "poll" in self.transports else next(iter(self.transports))

    @asynccontextmanager
    async def _running(self) -> AsyncIterator[None]:
        if self.default_transport is not None and self.default_transport not in self.transports:
            known = ", ".join(self.transports) or "none"
            raise ServerConfigError(f"default_transport: '{self.default_transport}' is none of: {known}")
        async with self.store.open(), AsyncExitStack() as stack:
            for transport in self.transports.values():
                await stack.enter_async_context(transport.open())
            kernel = Kernel(
                self.store, self.metrics, max_queue=self.options.max_queue, max_batch=self.options.max_batch
            )
            publisher, timers = self._assemble(kernel)
            async with _background(kernel.run(), "kernel", self.health):
                try:
                    async with (
                        _background(publisher.run(), "publisher", self.health),
                        _background(timers.run(), "timers", self.health),
                        self._listening(),  # left first: what its last requests make ready is still published
                    ):
                        yield
                finally:
                    await self._last_notes(publisher)

    def _assemble(self, kernel: Kernel) -> tuple[Publisher, Timers]:
        self.store_id = self.store.store_id
        self.url = self.options.url
        publisher = Publisher(self.store, kernel, self.transports, self.presence, self.metrics, lambda: self.url)
        grace = Grace(self.store, kernel)
        grace.wanted(self.store.last_now_ms)
        if self.store.predecessor_pid is not None:
            grace.predecessor_died(self.store.predecessor_pid)
        timers = Timers(self.store, kernel, publisher.offer, grace, self.metrics)
        for transport in self.transports.values():
            if isinstance(transport, StreamEndpoint):
                kernel.observe(credit_observer(transport))
                transport.on_lost(publisher.lost)
        profile = Profile(frozenset(self.transports) | ALWAYS_VALID, self.options.extensions, self.options.debug)
        gate = TokenGate(self.options.token)
        self.publisher = publisher
        self.kernel = kernel
        self.api = Api(kernel, profile, gate, self.presence, self._info(), self.store.held, self.metrics)
        self.health.watch("store", kernel.check)
        self.health.watch("timers", timers.check)
        for part, check in publisher.checks().items():
            self.health.watch(part, check)
        return publisher, timers

    def _info(self) -> dict[str, Any]:
        try:
            release = version("resonate-mq")
        except PackageNotFoundError:  # run from a checkout that was never installed
            release = "0"
        return {
            "storeId": self.store_id,
            "name": self.options.name,
            "version": release,
            "protocol": PROTOCOL_VERSION,
            "capabilities": sorted(self.options.extensions),
            "transports": sorted(self.transports),
            "defaultTransport": self.default_transport,
        }

    @asynccontextmanager
    async def _listening(self) -> AsyncIterator[None]:
        if self.options.port is None:
            yield
            return
        from resonate_mq.server.http.listener import listening  # uvicorn and starlette only where HTTP is served

        async with listening(self) as url:
            self.url = self.options.url or url
            yield

    async def _last_notes(self, publisher: Publisher) -> None:
        try:
            async with asyncio.timeout(FLUSH_S):
                await publisher.books.flush()
        except TimeoutError:
            logger.warning("what was delivered was not written down in time; some messages will be repeated")


@asynccontextmanager
async def _background(loop: Any, part: str, health: Health) -> AsyncIterator[None]:
    """Run one of the server's loops; if it ends while the server lives, readiness says so (design section 2.9)."""
    task: asyncio.Task[None] = asyncio.create_task(loop, name=part)

    def check() -> str:
        if not task.done():
            return ""
        return f"the {part} loop has ended" + ("" if task.cancelled() else f": {task.exception()!r}")

    health.watch(f"{part} loop", check)
    try:
        yield
    finally:
        task.cancel()
        try:
            await task
        except asyncio.CancelledError:
            pass
        except Exception:  # boundary: the loop had ended before; readiness said so, and stopping must go on
            logger.exception("a loop of the server had ended", extra={"part": part})
