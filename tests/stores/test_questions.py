"""The questions a store answers outside of requests: what is due, what waits, what is unconfirmed, who holds."""

from resonate_mq.machine.background import ForgetListeners, RearmHints
from resonate_mq.protocol.records import EMPTY
from resonate_mq.protocol.requests import (
    PromiseSettle,
    RegisterListener,
    TaskAcquire,
    TaskHalt,
    TaskRelease,
    TaskSuspend,
)
from tests.stores.bench import NEVER, TARGET, Bench, new_promise


async def test_due_names_the_earliest_timers_of_each_kind(bench: Bench) -> None:
    now = bench.clock.now_ms
    await bench.run(*(new_promise(f"p{n}", timeout_at=now + 10_000 - n) for n in range(5)))
    await bench.run(new_promise("t1", target=TARGET), new_promise("t2", target=TARGET))
    await bench.run(TaskAcquire("t1", 0, "p", 30_000))
    due = await bench.store.due(now + 9_998, 2)
    assert due.deadlines == [(now + 9_996, "p4"), (now + 9_997, "p3")]
    assert due.hints == [(now + 2_000, "t2")]
    assert due.leases == []
    due = await bench.store.due(now + 30_000, 100)
    assert [one for _, one in due.deadlines] == ["p4", "p3", "p2", "p1", "p0"]
    assert due.leases == [(now + 30_000, "t1")]


async def test_asking_what_is_due_changes_nothing(bench: Bench) -> None:
    await bench.run(*(new_promise(f"p{n}", timeout_at=2_000_000 + n) for n in range(5)))
    assert await bench.store.due(NEVER, 3) == await bench.store.due(NEVER, 3)
    assert len((await bench.store.due(NEVER, 10)).deadlines) == 5


async def test_what_is_over_is_not_due(bench: Bench) -> None:
    await bench.run(new_promise("a", target=TARGET), TaskAcquire("a", 0, "p", 30_000))
    await bench.run(PromiseSettle("a", "resolved", EMPTY))
    assert await bench.store.due(NEVER, 10) == ([], [], [], [])


async def test_a_timer_moved_and_moved_back_is_due_once(bench: Bench) -> None:
    now = bench.clock.now_ms
    await bench.run(new_promise("a", target=TARGET))
    for instant in (now + 5_000, now + 2_000, now + 5_000, now + 2_000):
        await bench.run(RearmHints((("a", 0, instant),)))
    assert (await bench.store.due(NEVER, 10)).hints == [(now + 2_000, "a")]


async def test_timers_without_end_do_not_pile_up(bench: Bench) -> None:
    """Thousands of moved and of settled timers leave the answer small and right."""
    now = bench.clock.now_ms
    await bench.run(new_promise("a", target=TARGET))
    for step in range(3_000):
        await bench.run(RearmHints((("a", 0, now + step),)))
    assert (await bench.store.due(NEVER, 10)).hints == [(now + 2_999, "a")]


async def test_waiting_tasks_are_listed_by_destination_oldest_first(bench: Bench) -> None:
    now = bench.clock.now_ms
    await bench.run(
        new_promise("c", target="poll://any@g/p1"),
        new_promise("a", target="poll://any@g"),
        new_promise("other", target="poll://any@h"),
        new_promise("b", target="poll://any@g/p2"),
        new_promise("u", target="poll://uni@g/p1"),
    )
    due_at = now + 2_000
    assert await bench.store.waiting("poll://any@g", due_at - 1, 0, 10) == []
    listed = await bench.store.waiting("poll://any@g", due_at, 0, 10)
    assert [one for _, one in listed] == ["c", "a", "b"]
    first = await bench.store.waiting("poll://any@g", due_at, 0, 2)
    assert [one for _, one in first] == ["c", "a"]
    rest = await bench.store.waiting("poll://any@g", due_at, first[-1][0], 2)
    assert [one for _, one in rest] == ["b"]
    assert [one for _, one in await bench.store.waiting("poll://uni@g/p1", due_at, 0, 10)] == ["u"]
    assert await bench.store.waiting("poll://any@nobody", due_at, 0, 10) == []


async def test_only_pending_tasks_wait(bench: Bench) -> None:
    await bench.run(*(new_promise(name, target=TARGET) for name in "abcde"), new_promise("x"))
    await bench.run(
        TaskAcquire("a", 0, "p", 60_000),
        TaskAcquire("b", 0, "p", 60_000),
        TaskSuspend("b", 1, ("x",)),
        TaskHalt("c"),
        PromiseSettle("d", "rejected", EMPTY),
    )
    assert [one for _, one in await bench.store.waiting(TARGET, NEVER, 0, 10)] == ["e"]
    await bench.run(TaskRelease("a", 1), PromiseSettle("x", "resolved", EMPTY))
    assert [one for _, one in await bench.store.waiting(TARGET, NEVER, 0, 10)] == ["a", "b", "e"]


async def test_a_delayed_task_waits_only_from_its_instant(bench: Bench) -> None:
    now = bench.clock.now_ms
    await bench.run(new_promise("a", target=TARGET), TaskAcquire("a", 0, "p", 60_000), TaskRelease("a", 1, "r", 50_000))
    assert await bench.store.waiting(TARGET, now + 49_999, 0, 10) == []
    assert [one for _, one in await bench.store.waiting(TARGET, now + 50_000, 0, 10)] == ["a"]


async def test_a_timer_promise_is_never_offered(bench: Bench) -> None:
    await bench.run(new_promise("a", target=TARGET, tags={"resonate:timer": "true"}))
    assert await bench.store.waiting(TARGET, NEVER, 0, 10) == []
    assert (await bench.store.due(NEVER, 10)).hints == []


async def test_settled_promises_with_listeners_are_unconfirmed(bench: Bench) -> None:
    await bench.run(*(new_promise(name) for name in "abcd"))
    await bench.run(*(RegisterListener(name, f"poll://uni@g/{n}") for name in "cba" for n in (1, 2)))
    assert await bench.store.unconfirmed(0, 10) == []
    await bench.run(*(PromiseSettle(name, "resolved", EMPTY) for name in "cad"))
    found = await bench.store.unconfirmed(0, 10)
    assert [one for _, one in found] == ["a", "c"]
    assert [one for _, one in await bench.store.unconfirmed(found[0][0], 10)] == ["c"]
    assert [one for _, one in await bench.store.unconfirmed(0, 1)] == ["a"]
    await bench.run(ForgetListeners((("a", "poll://uni@g/1"),)))
    assert [one for _, one in await bench.store.unconfirmed(0, 10)] == ["a", "c"]
    await bench.run(ForgetListeners((("a", "poll://uni@g/2"), ("c", "poll://uni@g/1"), ("c", "poll://uni@g/2"))))
    assert await bench.store.unconfirmed(0, 10) == []


async def test_a_promise_listened_to_and_settled_in_one_unit_is_unconfirmed(bench: Bench) -> None:
    await bench.run(new_promise("a"), RegisterListener("a", TARGET), PromiseSettle("a", "resolved", EMPTY))
    assert [one for _, one in await bench.store.unconfirmed(0, 10)] == ["a"]


async def test_held_names_holder_and_task(bench: Bench) -> None:
    await bench.run(*(new_promise(name, target=TARGET) for name in "abc"))
    await bench.run(TaskAcquire("a", 0, "p1", 60_000), TaskAcquire("b", 0, "p2", 60_000))
    assert sorted(await bench.store.held()) == [("p1", "a"), ("p2", "b")]
    await bench.run(TaskRelease("a", 1), PromiseSettle("b", "resolved", EMPTY))
    assert await bench.store.held() == []
