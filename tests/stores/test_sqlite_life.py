"""The life of a SQLite file: restarts, one opener, migrations, and SIGKILL in the middle of commits."""

import asyncio
import os
import sqlite3
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from pathlib import Path

import pytest

from resonate_mq.protocol.records import PENDING, Value
from resonate_mq.protocol.requests import PromiseSettle, RegisterListener, TaskAcquire, TaskSuspend
from resonate_mq.stores.port import StoreUnavailableError
from resonate_mq.stores.sqlite import SqliteStore
from resonate_mq.stores.sqlite.database import Database
from resonate_mq.stores.sqlite.migrations import known_migrations, migrate
from tests.stores.bench import TARGET, Bench, ManualClock, answer, new_promise
from tests.support.processes import RunningProcess, Spawner

COMMITTER = [sys.executable, "-m", "tests.stores.committer"]


@asynccontextmanager
async def opened(path: Path, clock: ManualClock) -> AsyncIterator[Bench]:
    store = SqliteStore(path, clock=clock)
    async with store.open():
        yield Bench(store, clock)


async def test_everything_is_there_after_a_restart(tmp_path: Path, clock: ManualClock) -> None:
    path = tmp_path / "s.db"
    async with opened(path, clock) as bench:
        store_id = bench.store.store_id
        await bench.run(new_promise("w", target=TARGET), new_promise("x"), new_promise("y"))
        await bench.run(RegisterListener("x", TARGET), TaskAcquire("w", 0, "p1", 60_000))
        await bench.run(TaskSuspend("w", 1, ("x", "y")))
        async with bench.unit() as unit:
            before = {one.id: one.image() for one in (await unit.snapshot()).promises}
    async with opened(path, clock) as bench:
        assert bench.store.store_id == store_id
        async with bench.unit() as unit:
            assert {one.id: one.image() for one in (await unit.snapshot()).promises} == before
        await bench.run(PromiseSettle("x", "resolved", Value(None, "1")))
    async with opened(path, clock) as bench:
        w = await bench.promise("w")
        assert w is not None
        assert w.task is not None
        assert (w.task.state, w.task.resumes, w.task.awaiting) == (PENDING, ("x",), ("y",))
        assert [one for _, one in await bench.store.unconfirmed(0, 10)] == ["x"]


async def test_two_stores_have_two_identities(tmp_path: Path, clock: ManualClock) -> None:
    async with opened(tmp_path / "a.db", clock) as a, opened(tmp_path / "b.db", clock) as b:
        assert len(a.store.store_id) == 32
        assert a.store.store_id != b.store.store_id


async def test_time_never_goes_back_across_restarts(tmp_path: Path, clock: ManualClock) -> None:
    path = tmp_path / "s.db"
    async with opened(path, clock) as bench:
        assert bench.store.last_now_ms == 0
        await bench.run(new_promise("a"))
        mark = bench.clock.now_ms
    clock.now_ms = mark - 100_000
    async with opened(path, clock) as bench:
        assert bench.store.last_now_ms == mark
        assert await bench.store.now_ms() == mark


async def test_settlements_are_numbered_in_the_order_they_happened(tmp_path: Path, clock: ManualClock) -> None:
    path = tmp_path / "s.db"
    async with opened(path, clock) as bench:
        await bench.run(*(new_promise(name) for name in "abcdef"))
        await bench.run(*(PromiseSettle(name, "resolved", Value(None, None)) for name in "dbf"))
        await bench.run(new_promise("born", timeout_at=5), PromiseSettle("a", "resolved", Value(None, None)))
    async with opened(path, clock) as bench:
        await bench.run(PromiseSettle("c", "resolved", Value(None, None)))
    with closing(sqlite3.connect(path)) as raw:
        rows = raw.execute("SELECT id, settle_seq FROM promises ORDER BY settle_seq, id").fetchall()
    assert rows == [("e", None), ("d", 1), ("b", 2), ("f", 3), ("born", 4), ("a", 5), ("c", 6)]


async def test_a_settlement_seen_by_a_search_keeps_its_number(tmp_path: Path, clock: ManualClock) -> None:
    path = tmp_path / "s.db"
    async with opened(path, clock) as bench:
        await bench.run(new_promise("a"), new_promise("b"))
        async with bench.unit() as unit:
            await answer(unit, PromiseSettle("b", "resolved", Value(None, None)))
            await unit.snapshot()
            await answer(unit, PromiseSettle("a", "resolved", Value(None, None)))
            await unit.commit()
    with closing(sqlite3.connect(path)) as raw:
        assert raw.execute("SELECT id, settle_seq FROM promises ORDER BY id").fetchall() == [("a", 2), ("b", 1)]


async def test_ordinary_roots_cost_no_rows_in_the_branch_indexes(tmp_path: Path, clock: ManualClock) -> None:
    path = tmp_path / "s.db"
    async with opened(path, clock) as bench:
        root = {"resonate:branch": "r", "resonate:parent": "r", "resonate:origin": "r"}
        await bench.run(new_promise("r", tags=root), new_promise("r.1", tags=root))
    with closing(sqlite3.connect(path)) as raw:
        rows = raw.execute("SELECT id, branch, parent FROM promises ORDER BY id").fetchall()
    assert rows == [("r", None, None), ("r.1", "r", None)]


# -- one opener


async def test_a_second_opener_is_refused_by_pid(tmp_path: Path, clock: ManualClock) -> None:
    async with opened(tmp_path / "s.db", clock):
        with pytest.raises(StoreUnavailableError, match=rf"already open in process {os.getpid()}\b.*use another file"):
            async with opened(tmp_path / "s.db", clock):
                pass
    async with opened(tmp_path / "s.db", clock) as bench:
        assert bench.store.predecessor_pid is None


async def test_a_second_opener_is_refused_by_whatever_path(tmp_path: Path, clock: ManualClock) -> None:
    (tmp_path / "link.db").symlink_to(tmp_path / "s.db")
    async with opened(tmp_path / "s.db", clock):
        with pytest.raises(StoreUnavailableError, match="already open"):
            async with opened(tmp_path / "link.db", clock):
                pass


async def test_an_opener_in_another_process_is_refused_until_that_process_ends(
    tmp_path: Path, clock: ManualClock, spawner: Spawner
) -> None:
    path = tmp_path / "s.db"
    process = spawner([*COMMITTER, str(path)])
    await process.line(r"^committed c0$")
    with pytest.raises(StoreUnavailableError, match=rf"already open in process {process.pid}\b"):
        async with opened(path, clock):
            pass
    process.sigkill()
    async with opened(path, clock) as bench:
        assert bench.store.predecessor_pid == process.pid


async def test_a_forked_child_does_not_keep_the_store(tmp_path: Path, clock: ManualClock) -> None:
    path = tmp_path / "s.db"
    read_end, write_end = os.pipe()
    async with opened(path, clock):
        child = os.fork()
        if child == 0:  # pragma: no cover - in the child, until the parent closes its end
            os.close(write_end)
            os.read(read_end, 1)
            os._exit(0)
        with pytest.raises(StoreUnavailableError, match="already open"):
            async with opened(path, clock):
                pass
    try:
        async with opened(path, clock) as bench:
            assert bench.store.predecessor_pid is None
    finally:
        os.close(write_end)
        os.close(read_end)
        await asyncio.to_thread(os.waitpid, child, 0)


# -- SIGKILL


def answered(process: RunningProcess) -> list[str]:
    """Return the ids whose commit the process has answered."""
    return [line.split()[1] for line in process.log().splitlines() if line.startswith("committed ")]


@pytest.mark.parametrize("commits", [1, 40, 400])
async def test_every_answered_commit_survives_a_kill(
    tmp_path: Path, clock: ManualClock, spawner: Spawner, commits: int
) -> None:
    path = tmp_path / "s.db"
    process = spawner([*COMMITTER, str(path)])
    await process.line(rf"^committed c{commits}$", within_s=60)
    process.sigkill()
    names = answered(process)
    assert len(names) > commits
    async with opened(path, clock) as bench:
        async with bench.unit(*names) as unit:
            for name in names:
                promise = unit.state.promise(name)
                assert promise is not None
                assert promise.task is not None
                # the unit was whole or absent: the promise and the settlement of its neighbour
                assert promise.param.data == name * 50
        assert bench.store.predecessor_pid == process.pid


# -- migrations


async def test_a_newer_schema_is_refused_by_name(tmp_path: Path, clock: ManualClock) -> None:
    path = tmp_path / "s.db"
    async with opened(path, clock):
        pass
    newest = max(known_migrations())
    with closing(sqlite3.connect(path)) as raw:
        raw.execute(f"PRAGMA user_version = {newest + 1}")
    with pytest.raises(StoreUnavailableError, match=rf"has schema {newest + 1}, this program knows up to {newest}"):
        async with opened(path, clock):
            pass


async def test_another_programs_database_is_refused_and_left_alone(tmp_path: Path, clock: ManualClock) -> None:
    path = tmp_path / "s.db"
    with closing(sqlite3.connect(path)) as raw:
        raw.execute("CREATE TABLE theirs (x)")
    with pytest.raises(StoreUnavailableError, match="database of another program"):
        async with opened(path, clock):
            pass
    with closing(sqlite3.connect(path)) as raw:
        assert raw.execute("SELECT name FROM sqlite_master").fetchall() == [("theirs",)]


async def test_a_file_that_is_no_database_is_refused(tmp_path: Path, clock: ManualClock) -> None:
    path = tmp_path / "s.db"
    path.write_text("this is no database at all, but a text that somebody keeps here" * 20)
    with pytest.raises(StoreUnavailableError, match="not a database"):
        async with opened(path, clock):
            pass


async def test_a_missing_folder_is_named(tmp_path: Path, clock: ManualClock) -> None:
    with pytest.raises(StoreUnavailableError, match=r"nowhere.*folder must exist"):
        async with opened(tmp_path / "nowhere" / "s.db", clock):
            pass


def test_migrations_are_numbered_without_gaps() -> None:
    assert list(known_migrations()) == list(range(1, len(known_migrations()) + 1))


def test_only_missing_migrations_are_applied(tmp_path: Path) -> None:
    database = Database(tmp_path / "s.db")
    database.open()
    try:
        migrate(database, {1: "CREATE TABLE a (x);"})
        migrate(database, {1: "CREATE TABLE a (x);"})
        migrate(database, {1: "CREATE TABLE a (x);", 2: "CREATE TABLE b (x);", 3: "CREATE TABLE c (x);"})
        names = [name for (name,) in database.read("SELECT name FROM sqlite_master ORDER BY name")]
        assert names == ["a", "b", "c"]
        assert database.read("PRAGMA user_version") == [(3,)]
    finally:
        database.close()


def test_a_failing_migration_leaves_the_schema_as_it_was(tmp_path: Path) -> None:
    database = Database(tmp_path / "s.db")
    database.open()
    try:
        migrate(database, {1: "CREATE TABLE a (x);"})
        with pytest.raises(StoreUnavailableError):
            migrate(database, {1: "", 2: "CREATE TABLE b (x);", 3: "CREATE TABLE a (x);"})
        database.close()
        database.open()
        assert [name for (name,) in database.read("SELECT name FROM sqlite_master")] == ["a"]
        assert database.read("PRAGMA user_version") == [(1,)]
    finally:
        database.close()
