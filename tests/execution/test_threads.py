"""The thread pool of blocking functions."""

import asyncio
import logging
import threading
from collections.abc import AsyncIterator, Callable
from functools import partial
from typing import Any

import pytest

from resonate_mq.worker.execution import LeafThreads
from tests.support.eventually import eventually


@pytest.fixture
async def pool() -> AsyncIterator[LeafThreads]:
    pool = LeafThreads(8)
    yield pool
    pool.stop()


def run(pool: LeafThreads, function: Callable[[], Any]) -> "asyncio.Future[Any]":
    future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()

    def done(value: Any, error: BaseException | None) -> None:
        if error is None:
            future.set_result(value)
        else:
            future.set_exception(error)

    pool.submit(function, done)
    return future


async def test_results_and_errors_come_back_on_the_loop(pool: LeafThreads) -> None:
    here = threading.get_ident()
    assert await run(pool, threading.get_ident) != here
    with pytest.raises(ZeroDivisionError):
        await run(pool, lambda: 1 // 0)
    with pytest.raises(SystemExit):
        await run(pool, lambda: exit(3))


async def test_blocking_calls_run_at_the_same_time_up_to_the_size(pool: LeafThreads) -> None:
    together = threading.Barrier(8)
    assert sorted(await asyncio.gather(*(run(pool, together.wait) for _ in range(8)))) == list(range(8))
    running: list[int] = []
    most: list[int] = []
    gate = threading.Event()

    def block() -> None:
        running.append(1)
        most.append(len(running))
        gate.wait(10)
        running.pop()

    futures = [run(pool, block) for _ in range(20)]
    await eventually(lambda: len(most) == 8)
    gate.set()
    await asyncio.gather(*futures)
    assert max(most) == 8


async def test_a_call_is_not_kept_waiting_by_one_that_blocks(pool: LeafThreads) -> None:
    for _ in range(50):
        gate = threading.Event()
        blocked = run(pool, partial(gate.wait, 10))
        assert await run(pool, lambda: 5) == 5
        gate.set()
        await blocked


async def test_many_short_calls_all_come_back(pool: LeafThreads) -> None:
    found = await asyncio.gather(*(run(pool, partial(abs, n)) for n in range(5_000)))
    assert found == list(range(5_000))


async def test_one_call_after_the_other_needs_few_threads() -> None:
    wide = LeafThreads(64)
    idents = {await run(wide, threading.get_ident) for _ in range(500)}
    wide.stop()
    assert len(idents) <= 8


async def test_stopping_ends_the_threads_and_drops_what_waits() -> None:
    pool = LeafThreads(2)
    before = threading.active_count()
    gate = threading.Event()
    running = [run(pool, lambda: gate.wait(10)) for _ in range(2)]
    waiting = run(pool, lambda: 1)
    pool.stop()
    gate.set()
    await eventually(lambda: threading.active_count() <= before)
    assert not waiting.done()
    assert not any(future.done() for future in running)


async def test_a_taker_that_fails_keeps_no_result_back(pool: LeafThreads, caplog: pytest.LogCaptureFixture) -> None:
    def broken(value: Any, error: BaseException | None) -> None:
        raise RuntimeError("taker")

    with caplog.at_level(logging.ERROR):
        pool.submit(lambda: 1, broken)
        assert await run(pool, lambda: 2) == 2
    assert "was not taken" in caplog.text


def test_a_pool_needs_a_thread() -> None:
    with pytest.raises(ValueError, match="size"):
        LeafThreads(0)
