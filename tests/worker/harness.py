"""A real server over HTTP and workers of our own in front of it, without the client."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from resonate_mq.functions.codec import Codec
from resonate_mq.functions.invocation import encode_invocation
from resonate_mq.functions.registry import Registry
from resonate_mq.protocol import requests as r
from resonate_mq.protocol.addresses import parse_address
from resonate_mq.protocol.parse import EXTENSIONS
from resonate_mq.protocol.records import Value
from resonate_mq.server import Server, ServerOptions
from resonate_mq.stores.memory import MemoryStore
from resonate_mq.transports.api.http import HttpChannel
from resonate_mq.transports.api.requester import Requester
from resonate_mq.transports.poll.client import PollTransport
from resonate_mq.transports.poll.hub import PollHub
from resonate_mq.transports.port import ConsumingTransport, PublishingTransport
from resonate_mq.worker.execution import Environment, LeafThreads
from resonate_mq.worker.listeners import Listeners, ListenersByServer
from resonate_mq.worker.options import ServerLink, WorkerOptions
from resonate_mq.worker.worker import Worker
from tests.support.extensions import ENABLED

TARGET = "poll://any@g"


@asynccontextmanager
async def serving(
    extensions: frozenset[str] = ENABLED, port: int = 0, broker: PublishingTransport | None = None
) -> AsyncIterator[Server]:
    """A server on the memory store, for HTTP poll and perhaps a broker."""
    transports: list[PublishingTransport] = [PollHub("poll")] if broker is None else [PollHub("poll"), broker]
    options = ServerOptions(port=port, extensions=extensions)
    async with Server(store=MemoryStore(), transports=transports, options=options) as server:
        yield server


class Site:
    """A worker and what it talks through."""

    def __init__(self, worker: Worker, requester: Requester, listeners: Listeners) -> None:
        self.worker = worker
        self.requester = requester
        self.listeners = listeners

    async def call(self, promise_id: str, name: str, *args: Any, timeout_s: float = 60, version: int = 1) -> None:
        """Create a durable call for the group."""
        reply = await self.requester.call(invocation(promise_id, name, *args, timeout_s=timeout_s, version=version))
        assert reply.ok, reply

    async def result(self, promise_id: str) -> Any:
        """Wait for a promise and decode its value."""
        record = await self.listeners.settled(promise_id)
        assert record["state"] == "resolved", record
        return Codec().decode(Value(None, record["value"].get("data")).wire())

    async def task(self, task_id: str) -> dict[str, Any]:
        """The task's record."""
        reply = await self.requester.call(r.TaskGet(task_id))
        assert reply.ok, reply
        return dict(reply.data["task"])


def invocation(
    promise_id: str, name: str, *args: Any, timeout_s: float = 60, version: int = 1, target: str = TARGET
) -> r.PromiseCreate:
    """The create of a durable call."""
    tags = {
        "resonate:target": target,
        "resonate:origin": promise_id,
        "resonate:prefix": promise_id,
        "resonate:branch": promise_id,
        "resonate:parent": promise_id,
        "resonate:scope": "global",
    }
    param = encode_invocation(Codec(), name, args, {}, version)
    timeout_at = int((time.time() + timeout_s) * 1000)
    return r.PromiseCreate(promise_id, timeout_at, param, tags, parse_address(target, frozenset({"amqp"})))


@asynccontextmanager
async def working(
    url: str,
    *functions: Callable[..., Any],
    pid: str = "p1",
    group: str = "g",
    allowed: frozenset[str] = EXTENSIONS,
    threads: int = 8,
    resident: bool = True,
    drains: bool = True,
    transport: ConsumingTransport | None = None,
    token: str | None = None,
    **options: Any,
) -> AsyncIterator[Site]:
    """A worker at the server `url`."""
    registry = Registry()
    for function in functions:
        registry.add(function)
    environment = Environment(
        registry=registry,
        threads=LeafThreads(threads),
        now_ms=lambda: int(time.time() * 1000),
        resolve_target=lambda target: TARGET if target is None else f"poll://any@{target}",
        resident=resident,
    )
    options.setdefault("grace_s", 5.0)
    transport = transport or PollTransport("poll", url)
    async with (
        transport.open(),
        Requester(HttpChannel(url, token), token=token, allowed=allowed).open() as requester,
        Listeners(requester, transport.unicast(group, pid)).open() as listeners,
    ):
        worker = Worker(
            WorkerOptions(group=group, pid=pid, **options),
            [ServerLink.over(requester, lambda: HttpChannel(url, token))],
            [transport],
            environment,
            ListenersByServer({requester: listeners}),
        )
        async with worker.open():
            yield Site(worker, requester, listeners)
            if not drains:
                await worker.drain(0)
