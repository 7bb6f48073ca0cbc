"""What the server's tests share: a caller over HTTP or in process, a transport that records, stores that misbehave.

The doubles wrap ports; everything between them is the real server.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import aiohttp
import orjson

from resonate_mq.machine.state import Footprint
from resonate_mq.protocol.addresses import destination_of, format_address
from resonate_mq.protocol.envelope import request_envelope
from resonate_mq.protocol.messages import Execute, Message, Unblock, decode_message
from resonate_mq.server import Server, ServerOptions
from resonate_mq.stores.memory import MemoryStore
from resonate_mq.stores.port import Store, StoreError, Unit
from resonate_mq.transports.port import Guarantees, Outcome, Outgoing, PublishingTransport, Report

FOREVER = 2**52
"""A deadline no test lives to see, epoch ms."""


async def turns(count: int = 5) -> None:
    """Let the loop turn: everything that needs no time happens."""
    loop = asyncio.get_running_loop()
    for _ in range(count):
        turned: asyncio.Future[None] = loop.create_future()
        loop.call_soon(turned.set_result, None)
        await turned


class ManualClock:
    """A clock that stands where it is put, epoch ms."""

    def __init__(self, now_ms: int = 1_000_000_000_000) -> None:
        self.now_ms = now_ms

    def __call__(self) -> int:
        return self.now_ms


class Recorder:
    """A transport that remembers what it was given and answers as it is told.

    Attributes:
        outcome: for an address, what becomes of a message to it; None keeps it unreported.
        published: every message in order.
    """

    guarantees = Guarantees(keeps_without_consumer=True, survives_broker_restart=False, redelivers=True)

    def __init__(self, name: str = "rec", packs: bool = True) -> None:
        self.name = name
        self.guarantees = Guarantees(
            keeps_without_consumer=True, survives_broker_restart=False, redelivers=True, packs=packs
        )
        self.outcome: Callable[[str], Outcome | None] = lambda address: Outcome.CONFIRMED
        self.published: list[Outgoing] = []
        self.unreported: list[tuple[Outgoing, Report]] = []
        self.well = (True, "")
        self._ready: list[Callable[[str], None]] = []

    def open(self) -> AbstractAsyncContextManager[Recorder]:
        return self._opened()

    @asynccontextmanager
    async def _opened(self) -> AsyncIterator[Recorder]:
        yield self

    def healthy(self) -> tuple[bool, str]:
        return self.well

    def unicast(self, group: str, pid: str) -> str:
        return format_address(self.name, "uni", group, pid)

    def on_ready(self, callback: Callable[[str], None]) -> None:
        self._ready.append(callback)

    async def publish(self, batch: Sequence[Outgoing], report: Report) -> None:
        for one in batch:
            self.published.append(one)
            outcome = self.outcome(str(one.address))
            if outcome is None:
                self.unreported.append((one, report))
            else:
                report(one, outcome, "" if outcome is Outcome.CONFIRMED else "as the test wants it")

    # -- for tests

    def tell_ready(self, address: str) -> None:
        """A consumer came or has room; "" for the whole transport."""
        for callback in self._ready:
            callback(destination_of(address) if address else "")

    def messages(self) -> list[tuple[str, Message]]:
        """Every message so far, decoded, with its address."""
        return [(str(one.address), decode_message(one.payload)) for one in self.published]

    def hinted(self) -> list[str]:
        """Ids of all hints so far, in order."""
        return [hint.task_id for _, one in self.messages() if isinstance(one, Execute) for hint in one.hints]

    def unblocked(self) -> list[str]:
        """Ids of the promises in all unblocks so far, in order."""
        return [record["id"] for _, one in self.messages() if isinstance(one, Unblock) for record in one.promises]


class Caller:
    """Talks to a server in process, envelope by envelope."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self._numbers = itertools.count(1)

    async def __call__(self, kind: str, head: dict[str, Any] | None = None, /, **data: Any) -> tuple[int, Any]:
        """Send one request; return (status, data)."""
        envelope = request_envelope(kind, f"c{next(self._numbers)}", data, head)
        answer = await self.server.api.handle_envelope(envelope)
        assert answer["kind"] == kind
        assert answer["head"]["corrId"] == envelope["head"]["corrId"]
        return answer["head"]["status"], answer["data"]

    async def ok(self, kind: str, head: dict[str, Any] | None = None, /, **data: Any) -> Any:
        """Send one request that must succeed; return its data."""
        status, answer = await self(kind, head, **data)
        assert status == 200, (kind, status, answer)
        return answer

    async def create(self, promise_id: str, target: str | None = None, /, **data: Any) -> Any:
        """Create a promise; with a target it gets a task."""
        tags = {} if target is None else {"resonate:target": target}
        tags |= data.pop("tags", {})
        return await self.ok("promise.create", id=promise_id, **{"timeoutAt": FOREVER, "tags": tags, **data})

    async def settle(self, promise_id: str, state: str = "resolved") -> Any:
        """Settle a promise."""
        return await self.ok("promise.settle", id=promise_id, state=state, value={})

    async def acquire(self, task_id: str, version: int = 0, pid: str = "p", ttl: int = 60_000) -> Any:
        """Acquire a task."""
        return await self.ok("task.acquire", id=task_id, version=version, pid=pid, ttl=ttl)

    async def state(self, promise_id: str) -> str:
        """Return the state of a promise."""
        return str((await self.ok("promise.get", id=promise_id))["promise"]["state"])

    async def task(self, task_id: str) -> dict[str, Any]:
        """Return a task record."""
        return dict((await self.ok("task.get", id=task_id))["task"])


@asynccontextmanager
async def running(
    store: Store | None = None, *transports: PublishingTransport, **options: Any
) -> AsyncIterator[Caller]:
    """Run a server without HTTP unless a port is given."""
    chosen = ServerOptions(**{"port": None, **options})
    async with Server(store or MemoryStore(), transports, chosen) as server:
        yield Caller(server)


class HttpCaller:
    """Talks to a server over HTTP."""

    def __init__(self, url: str, session: aiohttp.ClientSession) -> None:
        self.url = url
        self.session = session

    async def __call__(self, kind: str, head: dict[str, Any] | None = None, /, **data: Any) -> tuple[int, Any]:
        """Send one request; return (HTTP status, data of the answer)."""
        status, answer = await self.post(orjson.dumps(request_envelope(kind, "c1", data, head)))
        envelope = orjson.loads(answer)
        assert (envelope["kind"], envelope["head"]["corrId"]) == (kind, "c1"), envelope
        assert envelope["head"]["status"] == status
        return status, envelope["data"]

    async def post(self, body: bytes, headers: dict[str, str] | None = None) -> tuple[int, bytes]:
        """POST raw bytes; return (status, body)."""
        async with self.session.post(self.url + "/", data=body, headers=headers, allow_redirects=False) as answer:
            return answer.status, await answer.read()

    async def get(self, path: str, headers: dict[str, str] | None = None) -> tuple[int, str]:
        """GET; return (status, text)."""
        async with self.session.get(self.url + path, headers=headers) as answer:
            return answer.status, await answer.text()


@asynccontextmanager
async def serving(
    store: Store | None = None, *transports: PublishingTransport, **options: Any
) -> AsyncIterator[HttpCaller]:
    """Run a server on a free port of 127.0.0.1."""
    async with (
        running(store, *transports, **{"port": 0, **options}) as caller,
        aiohttp.ClientSession() as session,
    ):
        assert caller.server.url is not None
        yield HttpCaller(caller.server.url, session)


class FaultyStore(MemoryStore):
    """A memory store whose commits wait, fail or refuse as a test tells.

    Attributes:
        gate: commits wait for it.
        failure: what the next commits raise.
        refuses: ids whose change makes a commit raise.
        refusal: what it raises then.
        commits: commits that succeeded and changed something.
    """

    def __init__(self, clock: ManualClock | None = None) -> None:
        if clock is None:
            super().__init__()
        else:
            super().__init__(clock)
        self.gate = asyncio.Event()
        self.gate.set()
        self.failure: StoreError | None = None
        self.refuses: set[str] = set()
        self.refusal: StoreError | None = None
        self.commits = 0
        self.waiting_commits = 0

    def unit(self, footprint: Footprint) -> Any:
        return self._faulty(footprint)

    @asynccontextmanager
    async def _faulty(self, footprint: Footprint) -> AsyncIterator[Unit]:
        async with super().unit(footprint) as unit:
            original = unit.commit

            async def commit() -> None:
                self.waiting_commits += 1
                await self.gate.wait()
                self.waiting_commits -= 1
                if self.failure is not None:
                    raise self.failure
                if self.refusal is not None and self.refuses & set(unit.state.changed):
                    raise self.refusal
                self.commits += bool(unit.state.changed)
                await original()

            unit.commit = commit  # type: ignore[method-assign]
            yield unit
