"""COMMIT leaves the loop only while the disk is slow, and a commit under way is never torn (D42)."""

import asyncio

import pytest

from resonate_mq.protocol.records import Value
from resonate_mq.stores.port import OutcomeUnknownError, StoreUnavailableError
from resonate_mq.stores.sqlite import SqliteStore
from resonate_mq.stores.sqlite.pace import SLOW_S, CommitPace
from tests.stores.bench import NEVER, Bench, answer, new_promise
from tests.stores.test_sqlite_failures import LARGE, file_size_limit


def slowed(bench: Bench) -> SqliteStore:
    """Make the store believe that its disk is slow, until it has measured for itself."""
    assert isinstance(bench.store, SqliteStore)
    bench.store.database.pace.is_slow = True
    return bench.store


def test_the_pace_follows_the_disk() -> None:
    pace = CommitPace()
    for _ in range(200):
        pace.note(SLOW_S / 10)
    assert not pace.is_slow
    pace.note(SLOW_S * 10)  # one stall in many is not a slow disk
    for _ in range(24):
        pace.note(SLOW_S / 10)
    assert not pace.is_slow
    for _ in range(25):
        pace.note(SLOW_S * 2)
    assert pace.is_slow
    for _ in range(300):
        pace.note(SLOW_S / 10)
    assert not pace.is_slow


async def test_a_fast_disk_commits_on_the_loop(sqlite: Bench) -> None:
    """Nothing else gets a turn during the unit."""
    turns = 0

    async def count() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    async with asyncio.TaskGroup() as tasks:
        counting = tasks.create_task(count())
        await sqlite.run(new_promise("a"))
        assert turns == 0
        counting.cancel()


async def test_a_slow_disk_commits_beside_the_loop(sqlite: Bench) -> None:
    store = slowed(sqlite)
    async with sqlite.unit() as unit:
        await answer(unit, new_promise("a"))
        committing = asyncio.create_task(unit.commit())
        await asyncio.sleep(0)
        assert not committing.done()
        # questions go on meanwhile
        assert len((await store.due(NEVER, 10)).deadlines) <= 1
        await committing
    assert await sqlite.ids() == ["a"]


async def test_a_cancelled_caller_does_not_tear_its_commit(sqlite: Bench) -> None:
    slowed(sqlite)
    reached: list[str] = []

    async def commit() -> None:
        async with sqlite.unit() as unit:
            await answer(unit, new_promise("a", param=Value(None, "x" * 1_000_000)))
            await unit.commit()
            reached.append("committed")
        reached.append("left")
        await asyncio.sleep(0)
        reached.append("went on")

    task = asyncio.create_task(commit())
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert reached == ["committed", "left"]
    assert await sqlite.ids() == ["a"]
    await sqlite.run(new_promise("b"))


async def test_a_commit_that_fails_in_its_thread_is_the_same_failure(sqlite: Bench) -> None:
    await sqlite.run(new_promise("a"))
    store = slowed(sqlite)
    log = store.path.with_name(store.path.name + "-wal")
    with (
        file_size_limit(log.stat().st_size + 8_000),
        pytest.raises((OutcomeUnknownError, StoreUnavailableError)),
    ):
        await sqlite.run(new_promise("b", param=LARGE))
    await sqlite.run(new_promise("c"))
    assert "c" in await sqlite.ids()
