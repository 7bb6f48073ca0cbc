"""Handles are blocking and awaitable, and one waiter never takes the result from another (B4, D31)."""

import asyncio
import threading

import pytest

from resonate_mq.client.handle import Handle


def test_a_pending_handle_times_out_and_stays_usable() -> None:
    handle: Handle[int] = Handle("h")
    assert not handle.done()
    with pytest.raises(TimeoutError):
        handle.result(0.01)
    handle._succeed(7)
    assert handle.done()
    assert (handle.result(), handle.result(), handle.future.result()) == (7, 7, 7)


def test_cancelling_the_future_takes_nothing_from_others() -> None:
    handle: Handle[int] = Handle("h")
    assert not handle.future.cancel()
    handle._succeed(7)
    assert handle.result() == 7


async def test_a_waiter_that_is_cancelled_takes_nothing_from_others() -> None:
    handle: Handle[int] = Handle("h")
    impatient = asyncio.ensure_future(_await(handle))
    patient = asyncio.ensure_future(_await(handle))
    await asyncio.sleep(0)
    impatient.cancel()
    with pytest.raises(asyncio.CancelledError):
        await impatient
    threading.Thread(target=handle._succeed, args=(7,)).start()
    assert await patient == 7
    assert await handle == 7


async def test_a_blocking_result_in_a_running_loop_names_the_awaitable_form() -> None:
    handle: Handle[int] = Handle("h")
    with pytest.raises(RuntimeError, match="await handle"):
        handle.result()
    handle._succeed(7)
    assert handle.result() == 7


async def test_a_refused_creation_fails_both_moments() -> None:
    handle: Handle[int] = Handle("h")
    handle._refuse(ValueError("no"))
    with pytest.raises(ValueError, match="no"):
        await handle.created()
    with pytest.raises(ValueError, match="no"):
        await handle


async def _await(handle: Handle[int]) -> int:
    return await handle
