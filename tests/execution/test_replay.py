"""Replay: what was answered is never run again, whatever the moment of the crash (DU-05, DU-23, D9)."""

import asyncio
from collections import Counter
from typing import Any

import pytest

from resonate_mq.functions.context import Context
from resonate_mq.functions.errors import IdTakenError, NonDeterminismError
from resonate_mq.protocol import requests as r
from resonate_mq.protocol.records import EMPTY
from resonate_mq.worker.execution import Execution, Fulfilled
from tests.support.machine_session import FULL, Killed, MachineSession, World, turns

RUNS: Counter[str] = Counter()


@pytest.fixture(autouse=True)
def _fresh() -> None:
    RUNS.clear()


def leaf(ctx: Context, name: str) -> str:
    RUNS[name] += 1
    return name


def five(ctx: Context) -> Any:
    found = []
    for n in range(5):
        found.append((yield ctx.run(leaf, f"leaf{n}")))
    return found


async def five_async(ctx: Context) -> Any:
    return [await ctx.run(leaf, f"leaf{n}") for n in range(5)]


def inner(ctx: Context) -> Any:
    a = yield ctx.run(leaf, "inner1")
    b = yield ctx.run(leaf, "inner2")
    return a + b


def tree(ctx: Context) -> Any:
    p = yield ctx.begin_run(inner)
    a = yield ctx.run(leaf, "leaf")
    q = yield ctx.begin_rpc("leaf", "remote")
    return [(yield p), a, (yield q)]


@pytest.mark.parametrize("body", [five, five_async, tree])
@pytest.mark.parametrize("extensions", ["all", "none"])
async def test_a_recorded_step_never_runs_again_after_a_crash_at_any_boundary(body: Any, extensions: str) -> None:
    for die_after in range(12):
        RUNS.clear()
        world = World() if extensions == "all" else World(extensions=frozenset())
        world.registry.add(leaf)
        world.begin("x", body)
        recorded: set[str] = set()
        try:
            await world.take("x", die_after=die_after)
        except Killed:
            recorded = {one for one in world.ids() if (world.record(one) or {})["state"] != "pending"}
            world.apply(r.TaskRelease("x", 1))
        before = dict(RUNS)
        await world.work()
        expected = {"five": [f"leaf{n}" for n in range(5)], "tree": ["inner1inner2", "leaf", "remote"]}
        assert world.result("x") == expected[body.__name__.removesuffix("_async")]
        assert all(runs <= 2 for runs in RUNS.values())
        repeated = {name for name, runs in RUNS.items() if runs > 1}
        assert len(repeated) <= len(before) - len(recorded & {"x.1", "x.2", "x.3", "x.4", "x.5"}) + 1


async def test_a_step_whose_record_was_stored_but_not_answered_does_not_run_again() -> None:
    class Mute(MachineSession):
        """Stores what it is sent and dies before the answer."""

        async def sequence(self, requests: Any) -> Any:
            await super().sequence(requests)
            raise Killed

    world = World()
    world.begin("x", five)
    for _ in range(5):
        session = world.acquire("x", Mute)
        with pytest.raises(Killed):
            await Execution(session, world.environment).run()
        world.apply(r.TaskRelease("x", session.version))
    await world.work()
    assert world.result("x") == [f"leaf{n}" for n in range(5)]
    assert all(runs == 1 for runs in RUNS.values())


async def test_replay_of_a_finished_history_sends_only_the_fulfil() -> None:
    world = World()
    world.begin("x", five)
    with pytest.raises(Killed):
        await world.take("x", die_after=5)
    world.apply(r.TaskRelease("x", 1))
    world.trips.clear()
    assert isinstance(await world.take("x"), Fulfilled)
    assert world.trips == [["task.fulfill"]]


def changed(ctx: Context, old: bool) -> Any:
    yield ctx.run(leaf, "a")
    if old:
        yield ctx.run(leaf, "b")
    else:
        yield ctx.sleep(1)
    yield ctx.sleep(1)


async def test_a_changed_step_is_reported_with_both_sides_and_the_line() -> None:
    mode = {"old": True}

    def body(ctx: Context) -> Any:
        yield ctx.run(leaf, "a")
        if mode["old"]:
            yield ctx.run(leaf, "b")
        else:
            try:
                yield ctx.sleep(1)
            except Exception:  # noqa: BLE001 - must not be able to go on
                yield ctx.run(leaf, "compensation")
        yield ctx.sleep(5)

    world = World(resident=False)
    world.begin("x", body)
    await world.work(jump=False)
    mode["old"] = False
    world.settle("x.3")
    await world.work()
    with pytest.raises(NonDeterminismError) as caught:
        world.result("x")
    text = str(caught.value)
    assert "'x.2' is recorded as run of leaf" in text
    assert "asks for sleep at " in text
    assert "test_replay.py:" in text
    assert text.count("(1)") == text.count("(2)") == text.count("(3)") == 1
    assert RUNS["compensation"] == 0


async def test_a_changed_step_is_noticed_by_the_answer_where_no_preload_shows_it() -> None:
    mode = {"old": True}

    def body(ctx: Context) -> Any:
        if mode["old"]:
            yield ctx.rpc("elsewhere")
        else:
            yield ctx.promise()

    world = World(resident=False, extensions=frozenset())
    world.begin("x", body)
    await world.work_only("x")
    mode["old"] = False
    world.settle("x.1")
    await world.work_only("x")
    with pytest.raises(NonDeterminismError, match=r"recorded as rpc of elsewhere.*asks for promise at .*:\d+"):
        world.result("x")


async def test_a_changed_function_name_is_reported_for_async_bodies() -> None:
    mode = {"old": True}

    def other(ctx: Context, name: str) -> str:
        return name

    async def body(ctx: Context) -> Any:
        await ctx.run(leaf if mode["old"] else other, "a")
        await ctx.sleep(5)

    world = World(resident=False)
    world.begin("x", body)
    await world.work(jump=False)
    mode["old"] = False
    world.settle("x.2")
    await world.work()
    with pytest.raises(NonDeterminismError, match=r"recorded as run of leaf.*now asks for run of other at .*:\d+"):
        world.result("x")


async def test_a_generated_id_that_belongs_to_somebody_else_is_taken() -> None:
    world = World()
    world.apply(r.PromiseCreate("x.1", world.now_ms() + 10_000, EMPTY, {"resonate:target": "poll://any@other"}))
    world.apply(r.TaskAcquire("x.1", 0, "w9", 60_000))

    def body(ctx: Context) -> Any:
        return (yield ctx.rpc("leaf", "a"))

    world.begin("x", body)
    await world.work(jump=False)
    world.settle("x.1", data=1)
    await world.work()
    with pytest.raises(IdTakenError, match=r"'x\.1'.*taken.*created outside any execution"):
        world.result("x")


async def test_two_executions_share_an_explicit_id() -> None:
    world = World()

    def body(ctx: Context) -> Any:
        return (yield ctx.run(leaf, ctx.id).options(id="shared"))

    world.begin("a", body)
    world.begin("b", body)
    await world.work()
    assert world.result("a") == world.result("b")
    assert sum(RUNS.values()) == 1


@pytest.mark.parametrize("body", [five, five_async, tree])
async def test_a_truncated_preload_costs_questions_and_no_second_run(
    body: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("resonate_mq.machine.preload.PRELOAD_MAX_BYTES", 800)
    world = World(resident=False)
    world.registry.add(leaf)
    world.begin("x", body)
    for _ in range(12):
        promise = world.promises["x"]
        assert promise is not None
        if promise.state != "pending":
            break
        if promise.task is None or promise.task.state != "pending":
            await world.work_only("x.3")
            continue
        try:
            await world.take("x", die_after=6)
        except Killed:
            world.apply_release("x")
    await world.work()
    assert (world.record("x") or {})["state"] == "resolved"
    assert set(RUNS.values()) == {1}


@pytest.mark.parametrize("remote", [True, False])
async def test_a_child_is_never_durable_before_its_parent(remote: bool) -> None:
    def nested(ctx: Context) -> Any:
        return (yield ctx.rpc("leaf", "a") if remote else ctx.run(leaf, "a"))

    def body(ctx: Context) -> Any:
        return (yield ctx.run(nested))

    world = World(extensions=FULL)
    world.registry.add(leaf)
    world.begin("x", body)
    await world.take("x")
    last = ["promise.create", "task.suspend"] if remote else ["promise.record"]
    assert world.trips[0] == ["promise.create", *last]


async def test_a_long_replay_lets_other_tasks_have_their_turn() -> None:
    rounds = 0
    seen: list[int] = []

    def body(ctx: Context) -> Any:
        for _ in range(2_000):
            yield ctx.step("tick", lambda: 1)
            seen.append(rounds)

    world = World(extensions=FULL)
    world.begin("x", body)
    with pytest.raises(Killed):
        await world.take("x", die_after=1_900)
    world.apply_release("x")

    async def count() -> None:
        nonlocal rounds
        while True:
            await turns(1)
            rounds += 1

    seen.clear()
    counting = asyncio.ensure_future(count())
    await world.take("x")
    counting.cancel()
    assert len(set(seen[:1_900])) >= 5
