"""Suspending and going on: what is awaited, what stays in memory, what is dropped (D10, D24, D32, D33)."""

import asyncio
import gc
import threading
from typing import Any

import pytest

from resonate_mq.functions.context import Context
from resonate_mq.functions.errors import ResonateCanceledError
from resonate_mq.worker.execution import Execution, LeafThreads, Lost, Suspended
from tests.support.machine_session import FULL, World, turns

LOG: list[str] = []


@pytest.fixture(autouse=True)
def _fresh() -> None:
    LOG.clear()


def note(ctx: Context, text: str) -> str:
    LOG.append(text)
    return text


def three(ctx: Context) -> Any:
    promises = []
    for _ in range(3):
        promises.append((yield ctx.begin_rpc("elsewhere")))
    LOG.append("began")
    found = []
    for promise in promises:
        found.append((yield promise))
    return found


async def test_a_resident_body_goes_on_without_replay() -> None:
    world = World()
    world.begin("x", three)
    await world.work_only("x")
    for one in ("x.1", "x.2", "x.3"):
        world.settle(one, data=one)
        await world.work_only("x")
    assert world.result("x") == ["x.1", "x.2", "x.3"]
    assert LOG == ["began"]


async def test_a_body_that_is_not_resident_is_replayed() -> None:
    world = World(resident=False)
    world.begin("x", three)
    await world.work_only("x")
    world.settle("x.1", data=1)
    await world.work_only("x")
    assert LOG == ["began", "began"]


async def test_waiting_in_order_suspends_on_one_promise() -> None:
    world = World(extensions=FULL)
    world.begin("x", three)
    await world.work_only("x")
    outcome = world.outcomes[-1]
    assert isinstance(outcome, Suspended)
    assert outcome.awaited == ("x.1",)
    assert world.trips == [["promise.create"] * 3 + ["task.suspend"]]


async def test_what_settled_meanwhile_is_known_after_one_resume() -> None:
    world = World(extensions=FULL)
    world.begin("x", three)
    await world.work_only("x")
    for one in ("x.3", "x.2", "x.1"):
        world.settle(one, data=one)
    world.trips.clear()
    await world.work_only("x")
    assert world.result("x") == ["x.1", "x.2", "x.3"]
    assert world.trips == [["task.fulfill"]]


async def test_an_ended_body_waits_for_one_of_what_it_began() -> None:
    def body(ctx: Context) -> Any:
        for _ in range(3):
            yield ctx.begin_rpc("elsewhere")
        return "done"

    world = World()
    world.begin("x", body)
    await world.work_only("x")
    outcome = world.outcomes[-1]
    assert isinstance(outcome, Suspended)
    assert len(outcome.awaited) == 1
    for one in ("x.1", "x.2", "x.3"):
        world.settle(one, "rejected")
    await world.work_only("x")
    assert world.result("x") == "done"


async def gathering(ctx: Context) -> Any:
    return await asyncio.gather(*(ctx.rpc("elsewhere") for _ in range(3)), ctx.run(note, "local"))


async def test_gathered_calls_are_awaited_together() -> None:
    world = World()
    world.begin("x", gathering)
    await world.work_only("x")
    outcome = world.outcomes[-1]
    assert isinstance(outcome, Suspended)
    assert set(outcome.awaited) == {"x.1", "x.2", "x.3"}
    for one in ("x.2", "x.1", "x.3"):
        world.settle(one, data=one)
        await world.work_only("x")
    assert world.result("x") == ["x.1", "x.2", "x.3", "local"]


async def test_the_first_of_several_lets_an_async_body_go_on() -> None:
    async def body(ctx: Context) -> Any:
        tasks = [asyncio.ensure_future(_value(ctx.rpc("elsewhere"))) for _ in range(2)]
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        await ctx.run(note, "first")
        return [task.result() for task in done]

    world = World()
    world.begin("x", body)
    await world.work_only("x")
    world.settle("x.2", data="second")
    await world.work_only("x")
    assert LOG == ["first"]
    world.settle("x.1")
    await world.work_only("x")
    assert world.result("x") == ["second"]


async def _value(command: Any) -> Any:
    return await command


async def test_a_running_step_keeps_the_task() -> None:
    gate = asyncio.Event()

    async def slow(ctx: Context) -> str:
        await gate.wait()
        return "slow"

    def body(ctx: Context) -> Any:
        p = yield ctx.begin_run(slow)
        q = yield ctx.begin_rpc("elsewhere")
        return [(yield q), (yield p)]

    world = World()
    world.begin("x", body)
    run = asyncio.ensure_future(world.take("x"))
    await turns(50)
    assert not run.done()
    gate.set()
    assert isinstance(await run, Suspended)
    assert (world.record("x.1") or {})["state"] == "resolved"


async def test_calls_made_while_suspended_wait_for_the_next_acquire() -> None:
    gate = asyncio.Event()

    async def other(ctx: Context) -> None:
        await gate.wait()
        LOG.append(await ctx.run(note, "ran"))

    async def body(ctx: Context) -> Any:
        background = asyncio.ensure_future(other(ctx))
        value = await ctx.rpc("elsewhere")
        await background
        return value

    world = World()
    world.begin("x", body)
    await world.work_only("x")
    gate.set()
    await turns(20)
    assert LOG == []
    world.settle("x.1", data=5)
    await world.work_only("x")
    assert world.result("x") == 5
    assert LOG == ["ran", "ran"]


async def test_a_local_wait_may_be_given_up() -> None:
    gate = asyncio.Event()

    async def slow(ctx: Context) -> str:
        await gate.wait()
        return "slow"

    async def body(ctx: Context) -> Any:
        promise = await ctx.begin_run(slow)
        try:
            async with asyncio.timeout(0.01):
                await promise
        except TimeoutError:
            gate.set()
        return await promise

    assert await World().run("x", body) == "slow"


async def test_a_promise_is_awaited_in_the_body_it_was_passed_to() -> None:
    async def child(ctx: Context, promise: Any) -> Any:
        return [await promise, await ctx.run(note, "child")]

    def body(ctx: Context) -> Any:
        promise = yield ctx.begin_rpc("elsewhere")
        return (yield ctx.run(child, promise))

    world = World()
    world.begin("x", body)
    await world.work_only("x")
    world.settle("x.1", data=1)
    await world.work_only("x")
    assert world.result("x") == [1, "child"]


async def test_another_version_than_the_next_discards_the_bodies() -> None:
    world = World()
    world.begin("x", three)
    session = world.acquire("x")
    execution = Execution(session, world.environment)
    assert isinstance(await execution.run(), Suspended)
    for one in ("x.1", "x.2", "x.3"):
        world.settle(one, data=one)
    world.acquire("x")
    promise = world.promises["x"]
    assert promise is not None
    assert promise.task is not None
    promise.task.state = "pending"
    late = world.acquire("x")
    session.version = late.version
    await execution.resume(late.version, late.records)
    assert LOG == ["began", "began"]
    assert world.result("x") == ["x.1", "x.2", "x.3"]


def saga(ctx: Context) -> Any:
    try:
        yield ctx.rpc("elsewhere")
    except Exception:  # noqa: BLE001 - what users write
        LOG.append("except")
        yield ctx.run(note, "compensated")
    finally:
        LOG.append("finally")
        yield ctx.run(note, "cleaned")


async def saga_async(ctx: Context) -> Any:
    try:
        await ctx.rpc("elsewhere")
    except Exception:  # noqa: BLE001 - what users write
        LOG.append("except")
        await ctx.run(note, "compensated")
    finally:
        LOG.append("finally")
        await ctx.run(note, "cleaned")


def swallowing(ctx: Context) -> Any:
    while True:
        try:
            yield ctx.rpc("elsewhere")
        except:  # noqa: E722 - the worst users write
            LOG.append("swallowed")


@pytest.mark.parametrize("body", [saga, saga_async])
async def test_eviction_runs_no_compensation(body: Any) -> None:
    world = World(resident=False)
    world.begin("x", body)
    await world.work_only("x")
    assert LOG == ["finally"]
    assert world.ids() == ["x", "x.1"]


async def test_a_resident_body_that_is_dropped_runs_no_compensation() -> None:
    world = World()
    world.begin("x", saga)
    await world.work_only("x")
    assert LOG == []
    world.forget_residents()
    assert LOG == ["finally"]


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
async def test_a_body_that_swallows_everything_is_given_up() -> None:
    world = World(resident=False)
    world.begin("x", swallowing)
    await world.work_only("x")
    world.outcomes.clear()
    gc.collect()  # it complains about the ignored GeneratorExit here, not in the next test
    assert 0 < len(LOG) <= 200


async def test_a_lost_lease_starts_nothing_and_sends_nothing() -> None:
    world = World()

    def first(ctx: Context) -> Any:
        yield ctx.run(lose)
        yield ctx.run(note, "after")

    def lose(ctx: Context) -> None:
        session.lost = True

    world.begin("x", first)
    session = world.acquire("x")
    outcome = await Execution(session, world.environment).run()
    assert isinstance(outcome, Lost)
    assert LOG == []
    assert world.trips == []


async def test_a_stolen_task_is_lost_at_its_next_fence() -> None:
    world = World()

    def steal(ctx: Context) -> None:
        promise = world.promises["x"]
        assert promise is not None
        assert promise.task is not None
        promise.task.version += 1

    def body(ctx: Context) -> Any:
        yield ctx.run(steal)
        yield ctx.run(note, "after")

    world.begin("x", body)
    outcome = await Execution(world.acquire("x"), world.environment).run()
    assert isinstance(outcome, Lost)
    assert "409" in outcome.reason
    assert LOG == []


async def test_an_execution_that_is_abandoned_ends_as_lost() -> None:
    async def body(ctx: Context) -> Any:
        try:
            await asyncio.Event().wait()
        finally:
            LOG.append("finally")

    world = World()
    world.begin("x", body)
    execution = Execution(world.acquire("x"), world.environment)
    run = asyncio.ensure_future(execution.run())
    await turns(10)
    execution.abandon("stopping")
    assert await run == Lost(reason="stopping")
    assert LOG == ["finally"]


async def test_a_long_wait_for_a_retry_gives_the_slot_back() -> None:
    from resonate_mq.functions.retry import Constant

    attempts: list[int] = []

    def leaf(ctx: Context) -> None:
        attempts.append(1)
        if len(attempts) < 2:
            raise OSError

    def body(ctx: Context) -> Any:
        yield ctx.run(leaf).options(retry_policy=Constant(1))

    world = World()
    await world.run("x", body)
    assert world.parked == [True, False]


async def test_a_leaf_starts_only_when_the_promises_before_it_exist() -> None:
    world = World()

    def look(ctx: Context) -> Any:
        return [one for one in ("x.1", "x.2") if world.promises.get(one) is not None]

    def body(ctx: Context) -> Any:
        yield ctx.begin_rpc("elsewhere")
        yield ctx.begin_rpc("elsewhere")
        return (yield ctx.run(look))

    world.begin("x", body)
    await world.work_only("x")
    assert (world.record("x.3") or {})["state"] == "resolved"
    world.settle("x.1")
    world.settle("x.2")
    await world.work_only("x")
    assert world.result("x") == ["x.1", "x.2"]


async def test_a_leaf_that_waits_for_a_thread_does_not_start_after_the_lease_is_lost() -> None:
    world = World()
    world.environment.threads = LeafThreads(1)
    gate = threading.Event()

    def first(ctx: Context) -> None:
        gate.wait(10)
        session.lost = True

    def body(ctx: Context) -> Any:
        yield ctx.begin_run(first)
        yield ctx.begin_run(note, "second")
        gate.set()

    world.begin("x", body)
    session = world.acquire("x")
    assert isinstance(await Execution(session, world.environment).run(), Lost)
    world.environment.threads.stop()
    assert LOG == []


async def test_a_step_begun_after_a_remote_call_runs_before_the_task_suspends() -> None:
    def body(ctx: Context) -> Any:
        p = yield ctx.begin_rpc("elsewhere")
        yield ctx.begin_run(note, "local")
        return (yield p)

    world = World()
    world.begin("x", body)
    await world.work_only("x")
    assert LOG == ["local"]
    assert (world.record("x.2") or {})["state"] == "resolved"


async def test_a_local_body_whose_promise_was_canceled_has_no_say_any_more() -> None:
    def inner(ctx: Context) -> Any:
        yield ctx.run(note, "inner")
        yield ctx.rpc("elsewhere")
        LOG.append("went on")
        return "dropped"

    def body(ctx: Context) -> Any:
        try:
            return (yield ctx.run(inner))
        except ResonateCanceledError as error:
            yield ctx.run(note, "after")
            return error.promise_id

    world = World()
    world.begin("x", body)
    await world.work_only("x")
    world.settle("x.1", "rejected_canceled")
    world.settle("x.1.2")
    await world.work_only("x")
    assert world.result("x") == "x.1"
    assert LOG == ["inner", "went on", "after"]


async def test_a_body_whose_lease_is_lost_stops_at_its_next_step() -> None:
    world = World()

    def body(ctx: Context) -> Any:
        session.lost = True
        yield ctx.begin_rpc("elsewhere")
        LOG.append("went on")

    world.begin("x", body)
    session = world.acquire("x")
    assert isinstance(await Execution(session, world.environment).run(), Lost)
    assert LOG == []
