"""The stores the suite runs over, each behind the same workbench."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from resonate_mq.stores.memory import MemoryStore
from resonate_mq.stores.port import Store
from resonate_mq.stores.sqlite import SqliteStore
from tests.stores.bench import Bench, ManualClock


def build_store(kind: str, folder: Path, clock: ManualClock) -> Store:
    """Return a closed store of one kind."""
    if kind == "memory":
        return MemoryStore(clock)
    if kind == "sqlite":
        return SqliteStore(folder / "store.db", clock=clock)
    # nothing stays in memory between units: every record is read back from its rows
    return SqliteStore(folder / "store.db", clock=clock, cache_records=0, cache_payload_bytes=0)


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture(params=["memory", "sqlite", "sqlite-uncached"])
async def bench(request: pytest.FixtureRequest, tmp_path: Path, clock: ManualClock) -> AsyncIterator[Bench]:
    """An open store of each kind in turn."""
    store = build_store(request.param, tmp_path, clock)
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(store.open())
        yield Bench(store, clock)


@pytest.fixture
async def sqlite(tmp_path: Path, clock: ManualClock) -> AsyncIterator[Bench]:
    """An open SQLite store."""
    store = SqliteStore(tmp_path / "store.db", clock=clock)
    async with store.open():
        yield Bench(store, clock)
