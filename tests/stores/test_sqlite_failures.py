"""What SQLite refuses or cannot do becomes the port's errors, leaves no trace, and ends without a restart."""

import resource
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from resonate_mq.machine.state import Footprint
from resonate_mq.protocol.records import EMPTY, Value
from resonate_mq.protocol.requests import PromiseCreate, PromiseSettle
from resonate_mq.stores.port import OutcomeUnknownError, RefusedDataError, StoreUnavailableError
from resonate_mq.stores.sqlite import SqliteStore
from tests.stores.bench import NEVER, TARGET, Bench, answer, new_promise

LARGE = Value(None, "x" * 200_000)


def database_of(bench: Bench) -> SqliteStore:
    assert isinstance(bench.store, SqliteStore)
    return bench.store


async def assert_it_works(bench: Bench, name: str) -> None:
    assert (await bench.run(new_promise(name, target=TARGET)))[0].status == 200
    assert await bench.promise(name) is not None


async def test_a_full_disk_fails_the_unit_and_only_that(sqlite: Bench) -> None:
    await sqlite.run(new_promise("a"))
    database = database_of(sqlite).database
    pages = database.read("PRAGMA page_count")[0][0]
    database.read(f"PRAGMA max_page_count = {pages}")
    for _ in range(3):
        with pytest.raises(StoreUnavailableError, match="SQLITE_FULL"):
            await sqlite.run(new_promise("b", param=LARGE), PromiseSettle("a", "resolved", EMPTY))
    assert await sqlite.promise("b") is None
    a = await sqlite.promise("a")
    assert a is not None
    assert a.state == "pending"
    database.read("PRAGMA max_page_count = 1000000")
    await assert_it_works(sqlite, "b")


@contextmanager
def file_size_limit(size: int) -> Iterator[None]:
    """Let no file of this process grow beyond `size` bytes: writes beyond fail with EFBIG."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


async def test_a_log_that_cannot_be_written_leaves_the_outcome_open_and_heals(sqlite: Bench, tmp_path: Path) -> None:
    await sqlite.run(new_promise("a"))
    log = tmp_path / "store.db-wal"
    with file_size_limit(log.stat().st_size + 8_000), pytest.raises(OutcomeUnknownError):
        await sqlite.run(new_promise("b", param=LARGE), PromiseSettle("a", "resolved", EMPTY))
    a, b = await sqlite.promise("a"), await sqlite.promise("b")
    assert a is not None
    assert (a.state == "pending") == (b is None)  # all of it or nothing, whichever it was
    await assert_it_works(sqlite, "c")
    await assert_it_works(sqlite, "d")


async def test_a_locked_database_is_unavailable_until_the_lock_is_gone(sqlite: Bench, tmp_path: Path) -> None:
    await sqlite.run(new_promise("a"))
    with closing(sqlite3.connect(tmp_path / "store.db", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreUnavailableError, match="locked"):
            await sqlite.run(PromiseSettle("a", "resolved", EMPTY))
        a = await sqlite.promise("a")
        assert a is not None
        assert a.state == "pending"
        other.execute("ROLLBACK")
    assert (await sqlite.run(PromiseSettle("a", "resolved", EMPTY)))[0].data["promise"]["state"] == "resolved"


async def test_a_read_only_database_is_unavailable_until_it_can_be_written(sqlite: Bench) -> None:
    await sqlite.run(new_promise("a"))
    database = database_of(sqlite).database
    database.write("PRAGMA query_only = 1")
    with pytest.raises(StoreUnavailableError, match="READONLY"):
        await sqlite.run(new_promise("b"))
    # the connection was opened again, which is what lifts it here
    await assert_it_works(sqlite, "b")


async def test_a_lost_connection_is_opened_again(sqlite: Bench) -> None:
    await sqlite.run(new_promise("a"))
    database_of(sqlite).database.close()
    await assert_it_works(sqlite, "b")
    assert await sqlite.ids() == ["a", "b"]
    database_of(sqlite).database.close()
    assert len((await sqlite.store.due(NEVER, 10)).deadlines) == 2


async def test_a_transaction_lost_within_a_unit_is_not_taken_up_halfway(sqlite: Bench) -> None:
    async with sqlite.unit() as unit:
        await answer(unit, new_promise("a"))
        await unit.snapshot()
        database_of(sqlite).database.rollback()
        await answer(unit, new_promise("b"))
        with pytest.raises(StoreUnavailableError, match="transaction was lost"):
            await unit.commit()
    assert await sqlite.ids() == []


@pytest.mark.parametrize(
    "promise",
    [
        new_promise("lone \ud800 surrogate"),
        new_promise("a", tags={"k": "\udfff"}),
        new_promise("a", param=Value(None, "\udc00")),
        new_promise("a", param=Value({"h": "\udc00"}, None)),
        new_promise("a", timeout_at=2**63),
    ],
    ids=["id", "tag", "data", "header", "integer"],
)
async def test_data_that_cannot_be_stored_is_refused(sqlite: Bench, promise: PromiseCreate) -> None:
    await sqlite.run(new_promise("kept"))
    with pytest.raises(RefusedDataError):
        await sqlite.run(new_promise("neighbour"), promise)
    assert await sqlite.ids() == ["kept"]
    await assert_it_works(sqlite, "neighbour")


async def test_a_unit_while_another_runs_is_a_programming_error(sqlite: Bench) -> None:
    async with sqlite.unit():
        with pytest.raises(RuntimeError, match="one lane"):
            await sqlite.promise("a")
    assert await sqlite.promise("a") is None


async def test_a_unit_that_cannot_begin_does_not_block_the_next(sqlite: Bench) -> None:
    with pytest.raises(RefusedDataError):
        async with sqlite.store.unit(Footprint(("\ud800", "b"))):
            pass
    await assert_it_works(sqlite, "a")


async def test_numbers_of_a_failed_unit_are_given_again(sqlite: Bench, tmp_path: Path) -> None:
    with pytest.raises(RefusedDataError):
        await sqlite.run(new_promise("a", timeout_at=5), new_promise("b", tags={"k": "\udfff"}))
    await sqlite.run(new_promise("a", timeout_at=5), new_promise("b"))
    with closing(sqlite3.connect(tmp_path / "store.db")) as raw:
        rows = raw.execute("SELECT key, id, settle_seq FROM promises ORDER BY key").fetchall()
    assert rows == [(1, "a", 1), (2, "b", None)]
