"""What a running client holds: a requester, listeners, and a worker unless it is a pure client.

Owns the order in which they open and close. Local mode puts the real server in front of them, in the same process.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from resonate_mq.functions.options import Options
from resonate_mq.functions.registry import Registry
from resonate_mq.protocol.messages import Execute
from resonate_mq.transports.api.direct import DirectChannel
from resonate_mq.transports.api.port import Channel
from resonate_mq.transports.api.requester import Requester
from resonate_mq.transports.masking import mask_secrets
from resonate_mq.transports.port import ConsumingTransport, Delivery, Subscription
from resonate_mq.wiring.adapters import make_channel, make_transport
from resonate_mq.wiring.local import open_local_server
from resonate_mq.wiring.routing import Routing
from resonate_mq.wiring.settings import MEMORY, Settings
from resonate_mq.worker.execution import Environment, LeafThreads
from resonate_mq.worker.listeners import Listeners, ListenersByServer
from resonate_mq.worker.options import ServerLink, WorkerOptions
from resonate_mq.worker.worker import Worker


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """What is to be opened.

    Attributes:
        pid: of this process, for this start.
        ends: API channel and transport to use instead of those the settings name.
        health: `HOST:PORT` of the worker's health port.
        grace_s: how long a stop waits for running executions.
    """

    settings: Settings
    pid: str
    registry: Registry
    dependencies: Mapping[str, Any]
    ends: tuple[Channel, ConsumingTransport] | None = None
    health: str | None = None
    grace_s: float = 10.0


@dataclass(slots=True, kw_only=True)
class Opened:
    """A running client; everything in it lives on one event loop.

    Attributes:
        worker: None for a pure client.
        addresses: where unblocks may come from and our address there, the preferred one last.
        overrides: options of calls started and executed here, by promise id, while they are waited for.
        description: one line for the log.
    """

    requester: Requester
    listeners: Listeners
    routing: Routing
    pid: str
    description: str
    addresses: Sequence[tuple[ConsumingTransport, str]]
    worker: Worker | None = None
    overrides: dict[str, Options] = field(default_factory=dict)

    async def give_back(self) -> None:
        """Let go of every task at once, so that another worker goes on with it (D37)."""
        if self.worker is not None:
            await self.worker.drain(0)

    async def prepare(self) -> None:
        """Know the server, and be told of settlements by the broker if both ends have it and it is well.

        Raises:
            TransportError: the server does not answer.
        """
        facts = await self.requester.facts()
        for transport, address in reversed(self.addresses):
            if transport is self.addresses[0][0] or (transport.name in facts.transports and transport.healthy()[0]):
                self.listeners.address = address
                return


@asynccontextmanager
async def open_site(site: Site) -> AsyncIterator[Opened]:
    """Open everything of a client on the running loop; leaving the scope drains and closes it.

    Raises:
        ConfigError: an unknown scheme or a missing driver.
        StoreUnavailableError: the local store cannot be opened.
    """
    async with AsyncExitStack() as stack:
        ends = await _ends(site, stack)
        requester = await stack.enter_async_context(Requester(ends.channel(), token=site.settings.token).open())
        for transport in ends.transports:
            await stack.enter_async_context(transport.open())
        settings = site.settings
        consumed = frozenset(transport.name for transport in ends.transports) if settings.worker else frozenset()
        here = ends.transports[0].unicast(settings.group, site.pid).replace("://uni@", "://any@").rpartition("/")[0]
        routing = Routing(requester, settings.group, consumed, here if ends.everything_here else None)
        address = ends.transports[0].unicast(settings.group, site.pid)
        listeners = await stack.enter_async_context(Listeners(requester, address).open())
        opened = Opened(
            requester=requester,
            listeners=listeners,
            routing=routing,
            pid=site.pid,
            description=ends.description,
            addresses=[(one, one.unicast(settings.group, site.pid)) for one in ends.transports],
        )
        by_server = ListenersByServer({requester: listeners})
        if settings.worker:
            opened.worker = await stack.enter_async_context(_worker(site, ends, opened, by_server).open())
        else:
            for transport in ends.transports:
                await stack.enter_async_context(_hear(transport, site, by_server))
        yield opened


@dataclass(frozen=True, slots=True, kw_only=True)
class _Ends:
    """How the server is reached: makers of channels, and transports; the first one is always there for unblocks."""

    channel: Callable[[], Channel]
    lease_channel: Callable[[], Channel]
    transports: Sequence[ConsumingTransport]
    everything_here: bool
    resident: bool
    description: str


async def _ends(site: Site, stack: AsyncExitStack) -> _Ends:
    settings = site.settings
    if site.ends is not None:
        channel, transport = site.ends
        home = asyncio.get_running_loop()
        return _Ends(
            channel=lambda: channel,
            lease_channel=lambda: DirectChannel(channel.send, home, channel.name),
            transports=[transport],
            everything_here=False,
            resident=True,
            description=f"own channel {channel.name}, group {settings.group}, pid {site.pid}",
        )
    if settings.url is None:
        server = await stack.enter_async_context(open_local_server(settings.store, settings.extensions))
        return _Ends(
            channel=server.channel,
            lease_channel=server.channel,
            transports=[server.transport],
            everything_here=True,
            # D11: in memory, every suspension replays, so that non-determinism shows on the laptop
            resident=settings.store != MEMORY,
            description=f"local mode, store {settings.store}, group {settings.group}, pid {site.pid}",
        )
    return _remote_ends(settings, settings.url, site.pid)


def _remote_ends(settings: Settings, url: str, pid: str) -> _Ends:
    poll: Any = make_transport("poll", settings.poll_url or url, token=settings.token, basic_auth=settings.basic_auth)
    brokers: list[Any] = [make_transport(name, broker) for name, broker in settings.transports.items()]

    def channel() -> Channel:
        return make_channel(url, settings.token, settings.basic_auth)

    names = ", ".join(["poll", *settings.transports])
    return _Ends(
        channel=channel,
        lease_channel=channel,
        transports=[poll, *brokers],
        everything_here=False,
        resident=True,
        description=f"server {mask_secrets(url)}, group {settings.group}, pid {pid}, transports {names}",
    )


def _worker(site: Site, ends: _Ends, opened: Opened, by_server: ListenersByServer) -> Worker:
    settings = site.settings
    options = WorkerOptions(
        group=settings.group,
        pid=site.pid,
        concurrency=settings.concurrency,
        ttl_s=settings.ttl_s,
        grace_s=site.grace_s,
        resident_limit=1000 if ends.resident else 0,
        health=site.health,
    )
    environment = Environment(
        registry=site.registry,
        threads=LeafThreads(settings.threads or settings.concurrency),
        now_ms=_now_ms,
        resolve_target=opened.routing.resolve,
        check_callee=_refuse_unregistered(site.registry) if ends.everything_here else None,
        dependencies=site.dependencies,
        resident=ends.resident,
        log_level=settings.log_level,
        overrides=opened.overrides,
    )
    link = ServerLink.over(opened.requester, ends.lease_channel)
    return Worker(options, [link], ends.transports, environment, by_server)


@asynccontextmanager
async def _hear(transport: ConsumingTransport, site: Site, listeners: ListenersByServer) -> AsyncIterator[None]:
    """Take unblocks from a transport, and no work."""
    known = False

    def on_state(flows: bool, reason: str) -> None:
        nonlocal known
        if flows and known:
            listeners.reconnected()
        known = known or flows

    def on_delivery(delivery: Delivery) -> None:
        if isinstance(delivery.message, Execute):
            delivery.give_back()
            return
        listeners.deliver(delivery.message.store_id, delivery.message.promises)
        delivery.ack()

    subscription = Subscription(
        group=site.settings.group, pid=site.pid, credits=0, on_delivery=on_delivery, on_state=on_state
    )
    async with transport.subscribe(subscription):
        yield


def _refuse_unregistered(registry: Registry) -> Callable[[str, int, str], None]:
    """Local mode: nobody else could run it (D35)."""

    def check(name: str, version: int, address: str) -> None:
        registry.get(name, version)

    return check


def _now_ms() -> int:
    return int(time.time() * 1000)
