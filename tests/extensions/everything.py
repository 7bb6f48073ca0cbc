"""One run of everything the SDK does with a server: every kind of call, by a client, two groups of workers and a third.

Knows the API channel only by the proxy it goes through.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Generator
from contextlib import asynccontextmanager
from typing import Any

from resonate_mq import Context, Resonate
from resonate_mq.errors import ResonateStoreError
from resonate_mq.retry_policies import Constant, Never
from tests.extensions.strict_proxy import StrictProxy
from tests.support.eventually import eventually
from tests.worker.harness import working

TTL_S = 1.0

KINDS = frozenset(
    {
        "promise.get",
        "promise.create",
        "promise.settle",
        "promise.register_listener",
        "schedule.get",
        "schedule.create",
        "schedule.delete",
        "task.create",
        "task.acquire",
        "task.release",
        "task.fulfill",
        "task.suspend",
        "task.fence",
        "task.heartbeat",
    }
)
"""What such a run asks of a server."""


def leaf(ctx: Context, n: int) -> int:
    return n + 1


def moody(ctx: Context) -> str:
    attempts: list[int] = ctx.get_dependency("attempts")
    attempts.append(1)
    if len(attempts) < 3:
        raise ConnectionError("not yet")
    return "at last"


def failing(ctx: Context) -> None:
    raise KeyError("gone")


def held(ctx: Context) -> Generator[Any, Any, str]:
    yield ctx.run(waiting)
    return "held"


def waiting(ctx: Context) -> None:
    let_go: threading.Event = ctx.get_dependency("let_go")
    let_go.wait(60)


def whole(ctx: Context) -> Generator[Any, Any, list[Any]]:
    """Make every call a body can make and return what each gave."""
    results: list[Any] = [(yield ctx.run(leaf, 1))]
    results.append((yield ctx.run(moody).options(retry_policy=Constant(delay=0.01))))
    begun = yield ctx.begin_run(leaf, 2)
    remote = yield ctx.begin_rpc("other", 3).options(target="others")
    yield ctx.detached("other", 0).options(target="others")
    yield ctx.sleep(0.1)
    results += [(yield begun), (yield remote), (yield ctx.rpc("other", 4).options(target="others"))]
    gate = yield ctx.promise(id="gate")
    results.append((yield gate))
    yield ctx.random.random()
    yield ctx.time.time()
    try:
        yield ctx.run(failing).options(retry_policy=Never())
    except KeyError as error:
        results.append(str(error))
    return results


async def wide(ctx: Context) -> int:
    """Have more in flight at once, the async way."""
    local = [ctx.run(leaf, n) for n in range(5)]
    remote = [ctx.rpc("other", n).options(target="others") for n in range(5)]
    return sum(await asyncio.gather(*local, *remote))


def other(ctx: Context, n: int) -> int:
    return n * 10


def nobody_has_this(ctx: Context) -> str:
    return "now I do"


async def everything(proxy: StrictProxy) -> None:
    """Run all of it through the proxy; raises when a result is not what it should be."""
    let_go = threading.Event()
    async with _processes(proxy, let_go, TTL_S) as (worker, caller):
        await _calls(worker, caller)
        await _heartbeats(proxy, worker, let_go)
        await _promises_and_schedules(caller)
        await _unknown_function(proxy, caller)
    await _drain(proxy)


async def calls(proxy: StrictProxy) -> None:
    """Only the calls."""
    async with _processes(proxy, threading.Event(), 60.0) as (worker, caller):
        await _calls(worker, caller)


@asynccontextmanager
async def _processes(
    proxy: StrictProxy, let_go: threading.Event, ttl_s: float
) -> AsyncIterator[tuple[Resonate, Resonate]]:
    common: dict[str, Any] = {"url": proxy.url, "ttl": ttl_s, "log_level": "CRITICAL"}
    worker = Resonate.remote(group="ones", prefix="app", **common)
    others = Resonate.remote(group="others", **common)
    for function in (whole, wide, held):
        worker.register(function)
    worker.set_dependency("attempts", [])
    worker.set_dependency("let_go", let_go)
    others.register(other)
    caller = Resonate.remote(worker=False, **common)
    async with worker, others, caller:
        yield worker, caller


async def _calls(worker: Resonate, caller: Resonate) -> None:
    expected = [2, "at last", 3, 30, 40, "opened", "'gone'"]
    whole = await worker.aio.begin_run("whole", "whole")
    await eventually(lambda: _exists(caller, "gate"), within_s=30)
    await caller.aio.promises.resolve("gate", data='"opened"')
    assert await asyncio.wait_for(whole, 60) == expected
    assert await asyncio.wait_for((await caller.aio.get("app:whole")), 60) == expected
    assert await asyncio.wait_for(worker.aio.rpc("wide", "wide"), 60) == 115


async def _exists(caller: Resonate, promise_id: str) -> bool:
    try:
        await caller.aio.promises.get(promise_id)
    except ResonateStoreError as error:
        if error.code != 100.404:
            raise
        return False
    return True


async def _heartbeats(proxy: StrictProxy, worker: Resonate, let_go: threading.Event) -> None:
    """Two executions of different roots are held by one process for longer than their leases."""
    begun = [await worker.aio.begin_run(name, "held") for name in ("held-1", "held-2")]
    until = time.monotonic() + 2 * TTL_S
    await eventually(lambda: time.monotonic() > until, within_s=30)
    let_go.set()
    assert [await asyncio.wait_for(one, 60) for one in begun] == ["held", "held"]


async def _promises_and_schedules(caller: Resonate) -> None:
    promises, schedules = caller.aio.promises, caller.aio.schedules
    far = int((time.time() + 600) * 1000)
    await promises.create("p", far, ikey="k", data="1", tags={"a": "b"})
    await promises.resolve("p", ikey="k", data="2")
    await promises.create("q", far)
    await promises.reject("q", data="3")
    await promises.create("r", far)
    await promises.cancel("r")
    assert (await promises.get("p")).resolved
    await schedules.create("s", "*/5 * * * *", "s.{{.timestamp}}", 60_000, promise_tags={"resonate:target": "others"})
    assert (await schedules.get("s")).id == "s"
    await schedules.delete("s")


async def _unknown_function(proxy: StrictProxy, caller: Resonate) -> None:
    """It goes back and is run by the process that comes and knows it."""
    handle = await caller.options(target="others").aio.begin_rpc("unknown", "nobody_has_this")
    await eventually(lambda: "task.release" in proxy.kinds, within_s=30)
    newer = Resonate.remote(url=proxy.url, ttl=TTL_S, group="others", log_level="CRITICAL")
    newer.register(nobody_has_this)
    async with newer:
        assert await asyncio.wait_for(handle, 60) == "now I do"


async def _drain(proxy: StrictProxy) -> None:
    """What does not finish in time is given back, and another worker finishes it."""
    first, let_go = threading.Event(), threading.Event()

    def stuck(ctx: Context) -> str:
        if not first.is_set():
            first.set()
            let_go.wait(60)
        return "elsewhere"

    async with working(proxy.url, stuck, ttl_s=60.0, grace_s=0.2) as site:
        await site.call("drained", "stuck")
        await eventually(first.is_set, within_s=30)
    async with working(proxy.url, stuck, pid="p2") as site:
        assert await asyncio.wait_for(site.result("drained"), 30) == "elsewhere"
    let_go.set()
