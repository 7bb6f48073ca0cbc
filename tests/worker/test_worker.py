"""A worker and a real server over HTTP: delivery, leases, residency, draining, refusals."""

from __future__ import annotations

import asyncio
import threading
import urllib.error
import urllib.request
from collections.abc import Generator
from contextlib import AsyncExitStack
from typing import Any

import pytest

from resonate_mq.functions.context import Context
from resonate_mq.protocol import requests as r
from resonate_mq.protocol.parse import EXTENSIONS
from tests.support.eventually import eventually
from tests.support.extensions import ENABLED
from tests.support.proxy import ChaosProxy
from tests.worker.harness import invocation, serving, working

EXTENSION_SETS = [EXTENSIONS, frozenset[str]()]
BOTH_WAYS = pytest.mark.parametrize("extensions", EXTENSION_SETS, ids=["extensions", "official"])


def add(ctx: Context, a: int, b: int) -> int:
    return a + b


def total(ctx: Context, n: int) -> Generator[Any, Any, int]:
    result = 0
    for number in range(n):
        result += yield ctx.run(add, number, 1)
    return result


def two_remote(ctx: Context) -> Generator[Any, Any, int]:
    first = yield ctx.begin_rpc("add", 1, 2)
    second = yield ctx.begin_rpc("add", 3, 4)
    a, b = (yield first), (yield second)
    return int(a + b)


def waits(ctx: Context) -> Generator[Any, Any, str]:
    promise = yield ctx.promise(id="outside")
    yield promise
    return "done"


@BOTH_WAYS
async def test_a_durable_call_is_delivered_run_and_settled(extensions: frozenset[str]) -> None:
    async with serving(extensions) as server, working(str(server.url), add, total) as site:
        await site.call("c1", "total", 5)
        assert await site.result("c1") == 15
        task = await site.task("c1")
        assert (task["state"], task["version"]) == ("fulfilled", 1)


@BOTH_WAYS
async def test_a_body_suspends_on_remote_calls_and_goes_on(extensions: frozenset[str]) -> None:
    async with serving(extensions) as server, working(str(server.url), add, two_remote) as site:
        await site.call("c2", "two_remote")
        assert await site.result("c2") == 10


async def test_with_our_extensions_forbidden_everything_still_works() -> None:
    async with serving() as server, working(str(server.url), add, two_remote, allowed=frozenset()) as site:
        await site.call("c3", "two_remote")
        assert await site.result("c3") == 10


async def test_a_suspended_body_is_resumed_without_replay() -> None:
    async with serving() as server, working(str(server.url), waits) as site:
        await site.call("r1", "waits")
        await eventually(lambda: site.worker.metrics().count("residents 1") == 1)
        assert (await site.requester.call(r.PromiseSettle("outside", "resolved", invocation("x", "add").param))).ok
        assert await site.result("r1") == "done"
        assert site.worker.counters.value("started") == 1
        assert site.worker.counters.value("resumed") == 1


async def test_hundreds_of_calls_run_within_the_slots() -> None:
    running, most = 0, 0
    lock = threading.Lock()

    def slow(ctx: Context, n: int) -> int:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        threading.Event().wait(0.01)
        with lock:
            running -= 1
        return n

    async with serving() as server, working(str(server.url), slow, concurrency=4, threads=16) as site:
        await asyncio.gather(*(site.call(f"m{n}", "slow", n) for n in range(200)))
        results = await asyncio.gather(*(site.result(f"m{n}") for n in range(200)))
        assert results == list(range(200))
    assert 1 < most <= 4


async def test_a_task_acquired_with_its_creation_runs_here_without_a_hint() -> None:
    async with serving() as server, working(str(server.url), add) as site:
        assert site.worker.accepts
        create = invocation("own", "add", 1, 2)
        replies = await site.requester.sequence([site.worker.take(create), site.listeners.registration("own")])
        site.worker.adopt(replies[0].data)
        assert await site.result("own") == 3
        assert site.worker.counters.value("hints") == 0


async def test_a_lease_is_kept_much_longer_than_its_length() -> None:
    release = threading.Event()
    runs = 0

    def long(ctx: Context) -> str:
        nonlocal runs
        runs += 1
        release.wait(20)
        return "kept"

    async with serving() as server, working(str(server.url), long, ttl_s=1.0) as site:
        await site.call("long", "long")
        await eventually(lambda: runs == 1)
        ended = asyncio.get_running_loop().time() + 3
        await eventually(lambda: asyncio.get_running_loop().time() > ended, within_s=10)
        assert (await site.task("long"))["version"] == 1
        release.set()
        assert await site.result("long") == "kept"
        assert runs == 1


async def test_leases_are_kept_while_user_code_blocks_the_loop(caplog: pytest.LogCaptureFixture) -> None:
    runs = 0

    async def blocks(ctx: Context) -> str:
        nonlocal runs
        runs += 1
        threading.Event().wait(2.5)  # what nobody should do in an async function
        return "kept"

    async with serving() as server, asyncio.TaskGroup():
        url = str(server.url)
        outcome: dict[str, Any] = {}

        def in_a_thread() -> None:
            outcome["result"] = asyncio.run(elsewhere())

        async def elsewhere() -> Any:
            async with working(url, blocks, ttl_s=1.0, blocked_after_s=0.5) as site:
                await site.call("blocks", "blocks")
                return await site.result("blocks"), (await site.task("blocks"))["version"]

        await asyncio.to_thread(in_a_thread)
    assert outcome["result"] == ("kept", 1)
    assert runs == 1
    assert any("blocked for" in record.getMessage() and "blocks" in record.getMessage() for record in caplog.records)


async def test_a_worker_that_does_not_know_a_function_gives_it_back_with_the_reason() -> None:
    def nobody_has_this(ctx: Context) -> str:
        return "now I do"

    async with serving() as server:
        async with working(str(server.url), add) as site:
            await site.call("u1", "nobody_has_this")
            await eventually(lambda: site.worker.counters.value("outcomes", "released") == 2, within_s=10)
            found = await site.requester.call(r.TaskGet("u1"))
            # without the extension the delay is waited for here, before the release
            state = "pending" if "task.release" in ENABLED else "acquired"
            assert (found.data["task"]["state"], found.data["task"]["version"]) == (state, 2)
        async with working(str(server.url), nobody_has_this, pid="p2") as other:
            assert await other.result("u1") == "now I do"


async def test_draining_waits_for_what_runs_and_takes_nothing_new() -> None:
    started, release = threading.Event(), threading.Event()

    def slow(ctx: Context) -> str:
        started.set()
        release.wait(10)
        return "finished"

    async with serving() as server, working(str(server.url), slow, concurrency=2) as site:
        await site.call("d1", "slow")
        await eventually(started.is_set)
        draining = asyncio.ensure_future(site.worker.drain(10))
        await asyncio.sleep(0)
        assert site.worker.ready() == (False, "the worker is draining")
        assert not site.worker.accepts
        await site.call("d2", "slow")
        release.set()
        await draining
        assert await site.result("d1") == "finished"
        assert (await site.task("d2"))["state"] == "pending"


async def test_what_does_not_finish_in_time_is_given_back_and_starts_elsewhere_at_once() -> None:
    release = threading.Event()
    runs: list[str] = []

    def stuck(ctx: Context) -> str:
        first = not runs
        runs.append("run")
        if first:
            release.wait(30)
        return "elsewhere"

    async with serving() as server:
        async with working(str(server.url), stuck, ttl_s=60.0, grace_s=0.2) as site:
            await site.call("s1", "stuck")
            await eventually(lambda: len(runs) == 1)
        async with working(str(server.url), stuck, pid="p2") as other:
            assert await asyncio.wait_for(other.result("s1"), 10) == "elsewhere"
            assert (await other.task("s1"))["version"] == 2
    release.set()
    assert len(runs) == 2


async def test_a_task_that_moved_on_is_abandoned_by_its_former_holder() -> None:
    release = threading.Event()
    steps: list[str] = []

    def step(ctx: Context, name: str) -> str:
        steps.append(name)
        if name == "first" and len(steps) == 1:
            release.wait(20)
        return name

    def flow(ctx: Context) -> Generator[Any, Any, str]:
        yield ctx.run(step, "first")
        return str((yield ctx.run(step, "second")))

    async with serving() as server, working(str(server.url), flow, step) as site:
        await site.call("f1", "flow")
        await eventually(lambda: steps == ["first"])
        assert (await site.requester.call(r.TaskRelease("f1", 1, "by an operator"))).ok
        async with working(str(server.url), flow, step, pid="p2") as other:
            await eventually(lambda: len(steps) >= 2)
            release.set()
            assert await other.result("f1") == "second"
        assert steps.count("second") == 1


async def test_a_timer_promise_is_forgotten() -> None:
    async with serving() as server, working(str(server.url), add) as site:
        create = invocation("timer", "add", 1, 2, timeout_s=30)
        create.tags["resonate:timer"] = "true"
        replies = await site.requester.sequence([site.worker.take(create)])
        assert replies[0].ok
        site.worker.adopt(replies[0].data)
        await eventually(lambda: site.worker.running == 0)
        assert site.worker.counters.value("started") == 0


async def test_workers_announce_themselves() -> None:
    async with serving() as server, working(str(server.url), add, total, concurrency=7) as site:

        async def announced() -> Any:
            reply = await site.requester.call(r.WorkerSearch("g"))
            return reply.data["workers"]

        if "worker.hello" not in ENABLED:
            assert (await site.requester.call(r.WorkerSearch("g"))).status == 400
            return
        workers = await eventually(announced)
        assert [one["pid"] for one in workers] == ["p1"]
        assert workers[0]["concurrency"] == 7
        assert {one["name"] for one in workers[0]["functions"]} == {"add", "total"}
        assert workers[0]["addresses"] == ["poll://uni@g/p1"]


def fetch(address: str, path: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(f"http://{address}{path}", timeout=5) as response:
            return response.status, response.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


async def test_the_health_port_tells_whether_work_can_flow_and_why_not() -> None:
    async with serving() as server, working(str(server.url), add, health="127.0.0.1:0") as site:

        async def get(path: str) -> tuple[int, str]:
            return await asyncio.to_thread(fetch, site.worker.health_address, path)

        async def ready() -> bool:
            return (await get("/ready"))[0] == 200

        await eventually(ready)
        assert (await get("/health"))[0] == 200
        await site.call("h1", "add", 1, 2)
        await site.result("h1")
        status, text = await get("/metrics")
        assert status == 200
        assert 'resonate_mq_worker_outcomes_total{kind="fulfilled"} 1' in text
        assert "resonate_mq_worker_slots 32" in text
        assert (await get("/nothing"))[0] == 404
        await site.worker.drain(1)
        status, text = await get("/ready")
        assert status == 503
        assert "draining" in text


async def test_a_health_port_in_use_stops_the_start_with_its_reason() -> None:
    async with serving() as server, working(str(server.url), add, health="127.0.0.1:0") as site:
        taken = site.worker.health_address
        with pytest.raises(OSError, match="address already in use"):
            async with working(str(server.url), add, health=taken, pid="p2"):
                pytest.fail("it must not start")


async def test_a_worker_survives_its_server_being_away_and_says_so() -> None:
    async with serving() as server:
        url, port = str(server.url), int(str(server.url).rsplit(":", 1)[1])
        stack = working(url, add)
        site = await stack.__aenter__()
        await site.call("w1", "add", 1, 2)
        assert await site.result("w1") == 3
    site_call = asyncio.ensure_future(site.requester.call(r.PromiseGet("w1")))
    await eventually(lambda: "is away" in site.worker.ready()[1], within_s=10)
    async with serving(port=port):
        await eventually(lambda: site.worker.ready()[0], within_s=15)
        await site_call
        await site.call("w2", "add", 3, 4)
        assert await site.result("w2") == 7
        await stack.__aexit__(None, None, None)


async def test_a_worker_cut_off_from_its_server_stops_before_somebody_else_goes_on() -> None:
    release = threading.Event()
    steps: list[str] = []

    def step(ctx: Context, name: str) -> str:
        steps.append(name)
        if steps == ["first"]:
            release.wait(20)
        return name

    def flow(ctx: Context) -> Generator[Any, Any, str]:
        yield ctx.run(step, "first")
        return str((yield ctx.run(step, "second")))

    async with serving() as server, ChaosProxy.running(int(str(server.url).rsplit(":", 1)[1])) as line:
        cut_off = working(f"http://127.0.0.1:{line.port}", flow, step, ttl_s=1.0, grace_s=0.0)
        async with working(str(server.url), add, pid="watcher", group="watchers") as watcher, cut_off as site:
            await watcher.call("f1", "flow")
            await eventually(lambda: steps == ["first"], within_s=20)
            line.refuse()
            await eventually(lambda: site.worker.ready()[0] is False, within_s=10)
            async with working(str(server.url), flow, step, pid="p2") as other:
                assert await other.result("f1") == "second"
                assert (await other.task("f1"))["version"] == 2
            release.set()
            await eventually(lambda: site.worker.running == 0, within_s=10)
            assert steps == ["first", "first", "second"]
            line.accept()


async def test_a_loop_that_stands_still_too_long_gets_no_more_renewals_and_is_not_ready() -> None:
    release = threading.Event()

    async def stuck(ctx: Context) -> str:
        release.wait(20)
        return "too late"

    def other_stuck(ctx: Context) -> str:
        return "in time"

    other_stuck.__name__ = "stuck"
    seen: dict[str, Any] = {}
    async with (
        serving() as server,
        ChaosProxy.running(int(str(server.url).rsplit(":", 1)[1])) as line,
        working(str(server.url), add, pid="watcher", group="watchers") as watcher,
    ):

        async def elsewhere() -> None:
            url = f"http://127.0.0.1:{line.port}"
            async with working(url, stuck, ttl_s=1.0, max_stall_s=0.5, blocked_after_s=0.3, grace_s=0.0) as site:
                seen["site"] = site
                await site.call("s", "stuck")
                await eventually(lambda: site.worker.counters.value("started") == 1)
                await eventually(lambda: site.worker.running == 0, within_s=20)

        thread = asyncio.ensure_future(asyncio.to_thread(lambda: asyncio.run(elsewhere())))
        await eventually(lambda: "site" in seen, within_s=20)
        await eventually(lambda: "no longer renewed" in seen["site"].worker.ready()[1], within_s=10)
        line.refuse()  # or hints would go on waiting in its stream
        async with working(str(server.url), other_stuck, pid="p2") as other:
            assert await other.result("s") == "in time"
        assert (await watcher.task("s"))["version"] == 2
        release.set()
        await thread


async def test_twenty_long_tasks_do_not_go_to_one_worker_while_others_idle() -> None:
    started: list[str] = []
    release = threading.Event()

    def make(pid: str) -> Any:
        def long(ctx: Context) -> str:
            started.append(pid)
            release.wait(30)
            return pid

        return long

    async with serving() as server, AsyncExitStack() as stack:
        sites = [
            await stack.enter_async_context(
                working(str(server.url), make(f"p{n}"), pid=f"p{n}", concurrency=4, threads=4, grace_s=10)
            )
            for n in range(5)
        ]
        await eventually(lambda: all(site.worker.ready()[0] for site in sites))
        await asyncio.gather(*(sites[0].call(f"t{n}", "long") for n in range(20)))
        await eventually(lambda: len(started) == 20, within_s=10)
        assert {pid: started.count(pid) for pid in started} == {f"p{n}": 4 for n in range(5)}
        release.set()


async def test_the_same_ids_in_a_new_store_run_again() -> None:
    """A server restarted on an empty store is another server, whatever its URL (D1)."""
    async with serving() as server:
        url, port = str(server.url), int(str(server.url).rsplit(":", 1)[1])
        stack = working(url, add)
        site = await stack.__aenter__()
        await site.call("same", "add", 1, 2)
        assert await site.result("same") == 3
    async with serving(port=port) as server, working(url, add, pid="caller", group="callers") as caller:
        await caller.call("same", "add", 3, 4)
        assert await asyncio.wait_for(caller.result("same"), 20) == 7
        await stack.__aexit__(None, None, None)


async def test_among_several_workers_a_body_is_resumed_where_it_slept() -> None:
    def sleeper(ctx: Context, name: str) -> Generator[Any, Any, str]:
        promise = yield ctx.promise(id=f"outside-{name}")
        yield promise
        return name

    async with (
        serving(EXTENSIONS) as server,
        working(str(server.url), sleeper) as one,
        working(str(server.url), sleeper, pid="p2") as two,
    ):
        names = [f"n{number}" for number in range(12)]
        await asyncio.gather(*(one.call(name, "sleeper", name) for name in names))
        sites = (one, two)
        await eventually(lambda: sum(site.worker.counters.value("outcomes", "suspended") for site in sites) == 12)
        value = invocation("x", "add").param
        for name in names:
            assert (await one.requester.call(r.PromiseSettle(f"outside-{name}", "resolved", value))).ok
        assert await asyncio.gather(*(one.result(name) for name in names)) == names
        assert sum(site.worker.counters.value("started") for site in sites) == 12
        assert [site.worker.counters.value("resumed") > 0 for site in sites] == [True, True]
