"""What every store promises about a unit of work: all of it or nothing, loaded as asked, seen at once."""

import pytest

from resonate_mq.machine.background import Background, ForgetListeners, RearmHints
from resonate_mq.machine.state import Footprint, NotLoaded
from resonate_mq.protocol.parse import parse_request
from resonate_mq.protocol.records import ACQUIRED, FULFILLED, PENDING, RESOLVED, SUSPENDED, Task, Value
from resonate_mq.protocol.requests import (
    PromiseCreate,
    PromiseSettle,
    RegisterListener,
    Request,
    TaskAcquire,
    TaskFulfill,
    TaskHeartbeat,
    TaskRelease,
    TaskSuspend,
)
from tests.stores.bench import NEVER, PROFILE, TARGET, Bench, answer, new_promise

NOTHING = Value(None, None)


async def test_everything_about_a_promise_and_its_task_comes_back(bench: Bench) -> None:
    param = Value({"h": "1", "": ""}, "ünï ✓ \0 data")
    value = Value({}, "")
    create = new_promise("a", target="poll://any@g/p1", param=param, tags={"k": "v", "resonate:branch": "a"})
    await bench.run(create, new_promise("b"), new_promise("c"))
    await bench.run(
        RegisterListener("a", "poll://uni@g/p1"),
        TaskAcquire("a", 0, "p1", 60_000, "token"),
        TaskSuspend("a", 1, ("b", "c")),
    )
    promise = await bench.promise("a")
    assert promise is not None
    assert (promise.state, promise.param, promise.value) == (PENDING, param, NOTHING)
    assert promise.tags == {"k": "v", "resonate:branch": "a", "resonate:target": "poll://any@g/p1"}
    assert (promise.timeout_at, promise.created_at, promise.settled_at) == (NEVER, bench.clock.now_ms, None)
    assert promise.listeners == ("poll://uni@g/p1",)
    task = promise.task
    assert task is not None
    assert (task.state, task.version, task.pid, task.ttl_ms, task.lease_at) == (SUSPENDED, 1, None, None, None)
    assert (set(task.awaiting), task.resumes, task.last_pid, task.claim) == ({"b", "c"}, (), "p1", None)
    awaited = await bench.promise("b")
    assert awaited is not None
    assert awaited.awaiters == ("a",)

    await bench.run(PromiseSettle("b", "resolved", value))
    awaited, promise = await bench.promise("b"), await bench.promise("a")
    assert awaited is not None
    assert (awaited.state, awaited.value, awaited.settled_at) == (RESOLVED, value, bench.clock.now_ms)
    assert awaited.awaiters == ()
    assert promise is not None
    assert promise.task is not None
    assert (promise.task.state, promise.task.resumes, promise.task.awaiting) == (PENDING, ("b",), ("c",))


async def test_every_field_of_a_task_comes_back(bench: Bench) -> None:
    await bench.run(new_promise("a", target=TARGET))
    async with bench.unit("a") as unit:
        promise = unit.state.promise("a")
        assert promise is not None
        unit.state.edit(promise)
        task = promise.task = promise.task or Task(PENDING)
        task.state, task.version, task.pid, task.ttl_ms, task.lease_at = ACQUIRED, 7, "p", 5, 1_000_005
        task.hint_due_at, task.hint_attempt, task.resumes = 12, -1, ("x", 'q"uote')
        task.claim, task.last_pid, task.progressed, task.stalls, task.reason = "c", "p", True, 3, "because"
        expected = task.image()
        unit.state.accept()
        await unit.commit()
    found = await bench.promise("a")
    assert found is not None
    assert found.task is not None
    assert found.task.image() == expected


@pytest.mark.parametrize("at_once", [False, True], ids=["in units of their own", "in one unit"])
async def test_small_changes_of_a_task_come_back(bench: Bench, at_once: bool) -> None:
    steps: list[Request | Background] = [
        TaskAcquire("a", 0, "p1", 60_000),
        TaskHeartbeat("p1", (("a", 1),)),
        TaskRelease("a", 1, "because", 5_000),
        RearmHints((("a", 1, 1_777_777),)),
    ]
    create = new_promise("a", target=TARGET)
    if at_once:
        await bench.run(create, *steps)
    else:
        await bench.run(create)
        for step in steps:
            bench.clock.now_ms += 10
            await bench.run(step)
    promise = await bench.promise("a")
    assert promise is not None
    task = promise.task
    assert task is not None
    assert (task.state, task.version, task.hint_due_at, task.hint_attempt) == (PENDING, 1, 1_777_777, 1)
    assert (task.reason, task.stalls, task.lease_at) == ("because", 1, None)


async def test_a_renewed_lease_comes_back(bench: Bench) -> None:
    await bench.run(new_promise("a", target=TARGET), TaskAcquire("a", 0, "p1", 60_000))
    bench.clock.now_ms += 500
    await bench.run(TaskHeartbeat("p1", (("a", 1),)))
    promise = await bench.promise("a")
    assert promise is not None
    assert promise.task is not None
    assert promise.task.lease_at == bench.clock.now_ms + 60_000


async def test_a_unit_left_without_commit_leaves_no_trace(bench: Bench) -> None:
    await bench.run(new_promise("a", target=TARGET), new_promise("b"), RegisterListener("b", TARGET))
    async with bench.unit("a", "b") as unit:
        await answer(unit, new_promise("c", target=TARGET))
        await answer(unit, TaskAcquire("a", 0, "p1", 60_000))
        await answer(unit, TaskSuspend("a", 1, ("b",)))
        await answer(unit, PromiseSettle("b", "resolved", Value(None, "x")))
    assert await bench.promise("c") is None
    a, b = await bench.promise("a"), await bench.promise("b")
    assert a is not None
    assert a.task is not None
    assert (a.task.state, a.task.version, a.task.awaiting, a.task.last_pid) == (PENDING, 0, (), None)
    assert b is not None
    assert (b.state, b.value, b.listeners, b.settled_at, b.awaiters) == (PENDING, NOTHING, (TARGET,), None, ())
    due = await bench.store.due(NEVER, 10)
    assert [one for _, one in due.deadlines] == ["a", "b"]
    assert (due.leases, [one for _, one in due.hints]) == ([], ["a"])
    assert await bench.store.held() == []
    assert await bench.ids() == ["a", "b"]


async def test_a_unit_that_raises_leaves_no_trace(bench: Bench) -> None:
    async def fail() -> None:
        async with bench.unit("a") as unit:
            await answer(unit, new_promise("a"))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await fail()
    assert await bench.ids() == []
    assert (await bench.run(new_promise("a")))[0].status == 200


async def test_what_a_unit_ended_is_whole_again_when_it_is_left(bench: Bench) -> None:
    """An awaited promise loaded after its awaiter ended in the same unit must not lose the awaiter for good."""
    await bench.run(new_promise("w", target=TARGET), new_promise("x"), new_promise("y"))
    await bench.run(TaskAcquire("w", 0, "p1", 60_000), TaskSuspend("w", 1, ("x", "y")))
    async with bench.unit("w") as unit:
        await answer(unit, PromiseSettle("w", "rejected", NOTHING))
        await unit.widen(Footprint(("x",)))
        x = unit.state.promise("x")
        assert x is not None
        assert x.awaiters == ()
    await bench.run(PromiseSettle("x", "resolved", NOTHING))
    w = await bench.promise("w")
    assert w is not None
    assert w.task is not None
    assert (w.task.state, w.task.resumes) == (PENDING, ("x",))


async def test_widening_keeps_what_the_unit_changed(bench: Bench) -> None:
    await bench.run(new_promise("a"), new_promise("b"))
    async with bench.unit("a") as unit:
        await answer(unit, PromiseSettle("a", "resolved", Value(None, "1")))
        await unit.widen(Footprint(("a", "b", "c")))
        a, b = unit.state.promise("a"), unit.state.promise("b")
        assert a is not None
        assert a.value.data == "1"
        assert b is not None
        assert unit.state.promise("c") is None
        await unit.commit()
    a = await bench.promise("a")
    assert a is not None
    assert a.state == RESOLVED


async def test_what_was_not_asked_for_is_not_taken_for_absent(bench: Bench) -> None:
    async with bench.unit("other") as unit:
        with pytest.raises(NotLoaded):
            unit.state.promise("a")
        with pytest.raises(NotLoaded):
            unit.state.branch("a")
        with pytest.raises(NotLoaded):
            unit.state.schedule("a")


async def test_absence_is_not_remembered_after_the_unit(bench: Bench) -> None:
    assert await bench.promise("a") is None
    async with bench.unit() as unit:
        with pytest.raises(NotLoaded):
            unit.state.promise("a")


async def test_awaiters_are_loaded_with_what_may_settle(bench: Bench) -> None:
    await bench.run(new_promise("w", target=TARGET), new_promise("x"))
    await bench.run(TaskAcquire("w", 0, "p1", 60_000), TaskSuspend("w", 1, ("x",)))
    async with bench.unit("x") as unit:
        w = unit.state.promise("w")
        assert w is not None
        assert w.task is not None
        assert w.task.awaiting == ("x",)


async def test_an_ended_task_awaits_nothing_any_more(bench: Bench) -> None:
    await bench.run(new_promise("w", target=TARGET), new_promise("x"))
    await bench.run(TaskAcquire("w", 0, "p1", 60_000), TaskSuspend("w", 1, ("x",)))
    await bench.run(PromiseSettle("w", "rejected", NOTHING))
    x, w = await bench.promise("x"), await bench.promise("w")
    assert x is not None
    assert x.awaiters == ()
    assert w is not None
    assert w.task is not None
    assert (w.task.state, w.task.awaiting) == (FULFILLED, ())


async def test_branches_and_families_are_found(bench: Bench) -> None:
    def child(name: str, branch: str, parent: str) -> PromiseCreate:
        return new_promise(name, tags={"resonate:branch": branch, "resonate:parent": parent})

    creates = [
        child("r", "r", "r"),
        child("r.1", "r", "r"),
        child("r.1.1", "r", "r.1"),
        child("r.2", "r.2", "r"),
        child("r.1.2", "r.1.2", "r.1"),
        child("r.2.1", "r.2", "r.2"),
        child("r.3", "r.1", "r.1"),
        child("r.4", "r.1", "r.4"),
        new_promise("plain"),
        child("s.1", "s", "s"),
    ]
    await bench.run(*creates)
    await bench.run(TaskFulfill("none", 1, PromiseSettle("none", "resolved", NOTHING)))
    async with bench.store.unit(Footprint(branches=["r", "s", "plain", "none"], families=["r", "s"])) as unit:
        names = {one: [promise.id for promise in unit.state.branch(one)] for one in ("r", "s", "plain", "none")}
        assert names == {"r": ["r", "r.1", "r.1.1"], "s": ["s.1"], "plain": [], "none": []}
        family = [promise.id for promise in unit.state.family("r")]
        assert family == ["r", "r.1", "r.1.1", "r.1.2", "r.2", "r.3"]
        assert [promise.id for promise in unit.state.family("s")] == ["s.1"]
        await answer(unit, child("r.9", "r", "r"))
        assert [promise.id for promise in unit.state.branch("r")] == ["r", "r.1", "r.1.1", "r.9"]
        assert "r.9" in [promise.id for promise in unit.state.family("r")]


async def test_schedules_come_back_and_go(bench: Bench) -> None:
    data = {
        "id": "s",
        "cron": "0 0 * * * *",
        "promiseId": "{{.id}}.{{.timestamp}}",
        "promiseTimeout": 5_000,
        "promiseParam": {"headers": {"a": "b"}, "data": "x"},
        "promiseTags": {"resonate:target": TARGET},
    }
    made = await bench.ask("schedule.create", **data)
    assert made.status == 200
    assert (await bench.ask("schedule.get", id="s")).data == made.data
    due = await bench.store.due(NEVER, 10)
    assert due.schedules == [(made.data["schedule"]["nextRunAt"], "s")]
    async with bench.store.unit(Footprint(schedules=["s"])) as unit:
        schedule = unit.state.schedule("s")
        assert schedule is not None
        unit.state.edit_schedule(schedule)
        schedule.last_run_at, schedule.next_run_at = 5, 6
        await unit.commit()
    assert (await bench.store.due(NEVER, 10)).schedules == [(6, "s")]
    assert (await bench.ask("schedule.get", id="s")).data["schedule"]["lastRunAt"] == 5
    assert (await bench.ask("schedule.delete", id="s")).status == 200
    assert (await bench.ask("schedule.get", id="s")).status == 404
    assert (await bench.store.due(NEVER, 10)).schedules == []


async def test_a_schedule_deleted_and_created_again_in_one_unit_is_the_new_one(bench: Bench) -> None:
    data = {
        "id": "s",
        "cron": "* * * * *",
        "promiseId": "p",
        "promiseTimeout": 1,
        "promiseTags": {"resonate:target": TARGET},
    }
    await bench.ask("schedule.create", **data)
    again = parse_request("schedule.create", {**data, "promiseId": "q"}, {"corrId": "c"}, PROFILE)
    delete = parse_request("schedule.delete", {"id": "s"}, {"corrId": "c"}, PROFILE)
    async with bench.unit() as unit:
        await answer(unit, delete)
        await answer(unit, again)
    assert (await bench.ask("schedule.get", id="s")).data["schedule"]["promiseId"] == "p"
    await bench.run(delete, again)
    assert (await bench.ask("schedule.get", id="s")).data["schedule"]["promiseId"] == "q"


async def test_confirmed_listeners_are_dropped(bench: Bench) -> None:
    await bench.run(new_promise("a"), RegisterListener("a", "poll://uni@g/1"), RegisterListener("a", "poll://uni@g/2"))
    await bench.run(PromiseSettle("a", "resolved", NOTHING))
    await bench.run(ForgetListeners((("a", "poll://uni@g/1"),)))
    a = await bench.promise("a")
    assert a is not None
    assert a.listeners == ("poll://uni@g/2",)


async def test_reset_leaves_nothing_and_forgets_the_time(bench: Bench) -> None:
    await bench.run(new_promise("a", target=TARGET), RegisterListener("a", TARGET), new_promise("b"))
    await bench.ask(
        "schedule.create",
        id="s",
        cron="* * * * *",
        promiseId="p",
        promiseTimeout=1,
        promiseTags={"resonate:target": TARGET},
    )
    bench.clock.now_ms = 500
    async with bench.unit() as unit:
        await unit.reset()
        await answer(unit, new_promise("n"))
        await unit.commit()
    assert await bench.ids() == ["n"]
    n = await bench.promise("n")
    assert n is not None
    assert n.created_at == 500
    assert await bench.store.now_ms() == 500
    assert await bench.store.due(NEVER, 10) == ([(NEVER, "n")], [], [], [])
    assert await bench.store.waiting(TARGET, NEVER, 0, 10) == []
    assert (await bench.run(new_promise("a")))[0].data["promise"]["createdAt"] == 500


async def test_a_reset_that_is_not_committed_did_not_happen(bench: Bench) -> None:
    await bench.run(new_promise("a", target=TARGET))
    at = await bench.store.now_ms()
    bench.clock.now_ms = 500
    async with bench.unit() as unit:
        await unit.reset()
        await answer(unit, new_promise("n"))
    assert await bench.ids() == ["a"]
    assert await bench.store.now_ms() == at
    assert [one for _, one in (await bench.store.due(NEVER, 10)).hints] == ["a"]


async def test_time_never_goes_back(bench: Bench) -> None:
    first = await bench.store.now_ms()
    bench.clock.now_ms -= 5_000
    assert await bench.store.now_ms() == first
    async with bench.unit() as unit:
        assert unit.now_ms == first
    bench.clock.now_ms = first + 1
    assert await bench.store.now_ms() == first + 1


async def test_a_unit_without_changes_commits(bench: Bench) -> None:
    async with bench.unit() as unit:
        await unit.commit()
    assert await bench.ids() == []


async def test_changes_stay_readable_after_the_commit(bench: Bench) -> None:
    async with bench.unit() as unit:
        await answer(unit, new_promise("a"))
        await unit.commit()
        changed = unit.state.changed
    promise, before = changed["a"]
    assert (promise.id, before) == ("a", None)
    assert promise.key is not None


async def test_a_large_value_comes_back(bench: Bench) -> None:
    data = "é" * 3_000_000
    await bench.run(new_promise("a", param=Value(None, data)))
    await bench.run(PromiseSettle("a", "resolved", Value({"h": data}, data)))
    a = await bench.promise("a")
    assert a is not None
    assert a.param.data == data
    assert a.value == Value({"h": data}, data)


async def test_many_records_in_one_unit_come_back(bench: Bench) -> None:
    names = [f"p{number:05}" for number in range(2_500)]
    await bench.run(*(new_promise(name, target=TARGET) for name in names))
    async with bench.unit(*names) as unit:
        assert all(unit.state.promise(name) is not None for name in names)
    assert await bench.ids() == names
