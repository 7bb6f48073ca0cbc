"""Event loops: blocking names refuse, coroutines work from any loop, bodies run where they are told (D31)."""

import asyncio
import threading
from pathlib import Path

import pytest

from resonate_mq import Context, Resonate
from resonate_mq.errors import (
    ResonateStoreError,
)
from resonate_mq.stores.port import StoreUnavailableError
from tests.support.eventually import eventually
from tests.support.serving import Clients


async def test_in_a_running_loop_blocking_names_raise_and_their_coroutines_work(client: Resonate) -> None:
    @client.register
    def double(ctx: Context, n: int) -> int:
        return 2 * n

    with pytest.raises(RuntimeError, match=r"await double\.aio\.run\(\.\.\.\)"):
        double.run("x", 1)
    with pytest.raises(RuntimeError, match=r"await resonate\.aio\.rpc\(\.\.\.\)"):
        client.rpc("x", double, 1)
    with pytest.raises(RuntimeError, match=r"await resonate\.aio\.start\(\)"):
        client.start()
    assert await double.aio.run("a", 1) == 2
    assert await double.aio.rpc("b", 1) == 2
    assert await client.aio.run("c", double, 1) == 2
    assert await client.aio.rpc("d", "double", 1) == 2
    handle = await client.aio.begin_rpc("e", double, 1)
    assert await handle == await handle == 2
    assert await (await client.aio.get("e")) == 2
    with pytest.raises(ResonateStoreError):
        await client.aio.get("nobody")
    await client.aio.stop()


async def test_begin_in_a_running_loop_returns_at_once_and_created_confirms(client: Resonate) -> None:
    @client.register
    def double(ctx: Context, n: int) -> int:
        return 2 * n

    handle = double.begin_run("a", 1)
    await handle.created()
    assert (await client.aio.promises.get("a")).id == "a"
    assert await handle == 2
    taken = double.options(idempotency_key="k").begin_rpc("a", 1)
    with pytest.raises(ResonateStoreError):
        await taken.created()
    with pytest.raises(ResonateStoreError):
        await taken


async def test_async_with_runs_bodies_on_the_current_loop(clients: Clients) -> None:
    client = clients(log_level="WARNING")

    @client.register
    async def loop_of(ctx: Context) -> bool:
        return asyncio.get_running_loop() is here

    @client.register
    def blocking(ctx: Context) -> int:
        return threading.get_ident()

    here = asyncio.get_running_loop()
    async with client:
        assert await loop_of.aio.run("l") is True
        assert await blocking.begin_rpc("b") != threading.get_ident()
        assert await asyncio.to_thread(loop_of.rpc, "from-a-thread") is True
        assert (await client.aio.promises.get("l")).resolved
    with pytest.raises(RuntimeError, match="running already"):
        async with client, client:
            pass
    await eventually(lambda: not client._core.runtime.is_running)


async def test_a_store_that_cannot_be_opened_fails_every_way_of_calling(tmp_path: Path) -> None:
    client = Resonate.local(store=f"sqlite:///{tmp_path}/no/such/folder/app.db", log_level="ERROR")

    @client.register
    def one(ctx: Context) -> int:
        return 1

    for call in (one.aio.run("a"), one.begin_run("b"), client.aio.promises.get("c"), client.aio.start()):
        with pytest.raises(StoreUnavailableError, match=r"app\.db"):
            await call
    for blocking in (lambda: one.run("d"), lambda: one.begin_run("e"), client.start):
        with pytest.raises(StoreUnavailableError, match=r"app\.db"):
            await asyncio.to_thread(blocking)
    with pytest.raises(StoreUnavailableError):
        async with client:
            pass
