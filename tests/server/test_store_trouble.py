"""SQLite in trouble under a running server: a retryable answer, /ready says why, recovery without restart."""

import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from resonate_mq.stores.sqlite import SqliteStore
from tests.server.harness import FOREVER, HttpCaller, Recorder, serving
from tests.support.eventually import eventually

GROUP = "rec://any@g"


@pytest.fixture
def recorder() -> Recorder:
    return Recorder()


@pytest.fixture
def store(tmp_path: Path) -> SqliteStore:
    return SqliteStore(tmp_path / "store.db")


@pytest.fixture
async def call(store: SqliteStore, recorder: Recorder) -> AsyncIterator[HttpCaller]:
    async with serving(store, recorder) as caller:
        assert (await caller("promise.create", id="before", timeoutAt=FOREVER, tags={}))[0] == 200
        yield caller


async def fails_with(call: HttpCaller, reason: str) -> None:
    """Send a write that must be refused as retryable, and see readiness explain it."""
    status, sentence = await call("promise.create", id="during", timeoutAt=FOREVER, tags={"big": "x" * 200_000})
    assert (status, reason in sentence) == (503, True), sentence
    status, text = await call.get("/ready")
    assert (status, reason in text) == (503, True), text


async def recovers(call: HttpCaller, recorder: Recorder) -> None:
    """See the server become ready by itself, and work."""

    async def ready() -> bool:
        return (await call.get("/ready"))[0] == 200

    await eventually(ready, within_s=15)
    assert (await call("promise.get", id="during"))[0] == 404
    assert (await call("promise.get", id="before"))[0] == 200
    tags = {"resonate:target": GROUP}
    assert (await call("promise.create", id="after", timeoutAt=FOREVER, tags=tags))[0] == 200
    await eventually(lambda: "after" in recorder.hinted())


async def test_a_full_disk(call: HttpCaller, store: SqliteStore, recorder: Recorder) -> None:
    pages = store.database.read("PRAGMA page_count")[0][0]
    store.database.read(f"PRAGMA max_page_count = {pages}")
    await fails_with(call, "full")
    store.database.read("PRAGMA max_page_count = 1000000")
    await recovers(call, recorder)


async def test_a_locked_database(call: HttpCaller, store: SqliteStore, recorder: Recorder) -> None:
    other = sqlite3.connect(store.path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    await fails_with(call, "locked")
    other.execute("ROLLBACK")
    other.close()
    await recovers(call, recorder)


async def test_a_database_that_became_read_only(call: HttpCaller, store: SqliteStore, recorder: Recorder) -> None:
    store.database.read("PRAGMA query_only = 1")
    status, sentence = await call("promise.create", id="during", timeoutAt=FOREVER, tags={})
    assert (status, "read" in sentence) == (503, True), sentence
    await recovers(call, recorder)  # on a connection of its own making, which may write again
