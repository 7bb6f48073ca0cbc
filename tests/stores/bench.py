"""A workbench for one store: requests applied by the machine in units of the store's, one or many at a time."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from resonate_mq.machine.background import Background
from resonate_mq.machine.dispatch import apply, footprint
from resonate_mq.machine.state import Footprint, NotLoaded
from resonate_mq.protocol.addresses import parse_address
from resonate_mq.protocol.envelope import Reply
from resonate_mq.protocol.parse import Profile, parse_request
from resonate_mq.protocol.records import EMPTY, Promise, Value
from resonate_mq.protocol.requests import PromiseCreate, Request
from resonate_mq.stores.port import Store, Unit

TARGET = "poll://any@g"
NEVER = 9_000_000_000_000
PROFILE = Profile(debug=True)


class ManualClock:
    """A clock that stands where it is put, epoch ms."""

    def __init__(self, now_ms: int = 1_000_000) -> None:
        self.now_ms = now_ms

    def __call__(self) -> int:
        return self.now_ms


class Bench:
    """Works on one open store."""

    def __init__(self, store: Store, clock: ManualClock) -> None:
        self.store = store
        self.clock = clock

    async def ask(self, kind: str, **data: Any) -> Reply:
        """Parse one request and run it in a unit of its own."""
        request = parse_request(kind, data, {"corrId": "c"}, PROFILE)
        return (await self.run(request))[0]

    async def run(self, *requests: Request | Background) -> list[Reply]:
        """Run requests in one unit, committed."""
        async with self.unit() as unit:
            replies = [await answer(unit, request) for request in requests]
            await unit.commit()
        return replies

    @asynccontextmanager
    async def unit(self, *ids: str) -> AsyncIterator[Unit]:
        """Begin a unit with `ids` loaded."""
        async with self.store.unit(Footprint(ids)) as unit:
            yield unit

    async def promise(self, promise_id: str) -> Promise | None:
        """Return the promise as a unit sees it."""
        async with self.unit(promise_id) as unit:
            return unit.state.promise(promise_id)

    async def ids(self) -> list[str]:
        """Return the ids of all promises."""
        async with self.unit() as unit:
            return [one.id for one in (await unit.snapshot()).promises]


async def answer(unit: Unit, request: Request | Background) -> Reply:
    """Apply one request in a unit, loading what it asks for."""
    await unit.widen(footprint(request))
    while True:
        try:
            reply = apply(request, unit.state, unit.now_ms)
        except NotLoaded as missing:
            unit.state.undo()
            await unit.widen(missing.footprint)
        else:
            unit.state.accept()
            return reply


def new_promise(
    promise_id: str,
    *,
    target: str | None = None,
    timeout_at: int = NEVER,
    param: Value = EMPTY,
    tags: dict[str, str] | None = None,
) -> PromiseCreate:
    """Return a create request."""
    all_tags = dict(tags or {})
    if target is not None:
        all_tags["resonate:target"] = target
    address = None if target is None else parse_address(target)
    return PromiseCreate(promise_id, timeout_at, param, all_tags, address)
