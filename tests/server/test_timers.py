"""Deadlines, leases, schedules; what lease holders are owed after an outage; the window (D3, D4, D18, D20)."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from resonate_mq.server import local_pid_prefix, timers
from resonate_mq.server.window import TICK_MS, Window
from resonate_mq.stores.memory import MemoryStore
from resonate_mq.stores.port import StoreUnavailableError
from resonate_mq.stores.sqlite import SqliteStore
from tests.server.harness import Caller, FaultyStore, ManualClock, Recorder, running, turns
from tests.support.eventually import eventually, eventually_sync

GROUP = "rec://any@g"


async def stored_state(call: Caller, promise_id: str) -> str:
    """Return what is stored, unlike promise.get, which settles an expired promise by itself."""
    snapshot = await call.ok("debug.snap")
    return str(next(one["state"] for one in snapshot["promises"] if one["id"] == promise_id))


async def stored_task(call: Caller, task_id: str) -> str:
    """Return the stored state of a task."""
    snapshot = await call.ok("debug.snap")
    return str(next(one["state"] for one in snapshot["tasks"] if one["id"] == task_id))


async def is_settled(call: Caller, promise_id: str) -> bool:
    """Tell whether the store has the settlement."""
    return await stored_state(call, promise_id) != "pending"


async def test_a_deadline_settles_its_promise_without_anybody_asking() -> None:
    async with running(None, debug=True) as call:
        await call.create("p", timeoutAt=int(time.time() * 1000) + 60)
        await eventually(lambda: is_settled(call, "p"))
        assert await stored_state(call, "p") == "rejected_timedout"


async def test_a_timer_resolves_at_its_instant_and_not_before() -> None:
    recorder = Recorder()
    async with running(None, recorder) as call:
        due_ms = int(time.time() * 1000) + 150
        await call.create("sleep", timeoutAt=due_ms, tags={"resonate:timer": "true"})
        await call.ok("promise.register_listener", awaited="sleep", address="rec://uni@g/p")
        await eventually(lambda: recorder.unblocked() == ["sleep"])
        late_ms = int(time.time() * 1000) - due_ms
        assert 0 <= late_ms < 1_000


async def test_a_lease_that_ends_makes_the_task_pending_and_hints_it() -> None:
    recorder = Recorder()
    async with running(None, recorder) as call:
        await call.create("p", GROUP)
        await call.acquire("p", ttl=80)
        await eventually(lambda: recorder.hinted() == ["p", "p"])
        assert (await call.task("p"))["state"] == "pending"


async def test_a_heartbeat_moves_the_lease() -> None:
    clock = ManualClock()
    async with running(MemoryStore(clock), Recorder(), debug=True) as call:
        await call.create("p", GROUP)
        await call.acquire("p", ttl=1_000)
        for _ in range(5):
            clock.now_ms += 900
            await call.ok("task.heartbeat", pid="p", tasks=[{"id": "p", "version": 1}])
        assert await stored_task(call, "p") == "acquired"
        clock.now_ms += 1_010
        await call("promise.get", id="nothing")

        async def pending() -> bool:
            return await stored_task(call, "p") == "pending"

        await eventually(pending)


async def test_timers_beyond_the_window_come_in_when_it_moves() -> None:
    clock = ManualClock()
    async with running(MemoryStore(clock), debug=True) as call:
        await call.create("far", timeoutAt=clock.now_ms + 200_000)
        for _ in range(4):
            clock.now_ms += 50_001
            await call("promise.get", id="nothing")
            await turns(1)
        await eventually(lambda: is_settled(call, "far"))


async def test_a_backlog_of_deadlines_is_worked_off_and_starves_nobody() -> None:
    clock = ManualClock()
    store = FaultyStore(clock)
    async with running(store, debug=True) as call:
        deadline = clock.now_ms + 10_000
        await asyncio.gather(*(call.create(f"p{n}", timeoutAt=deadline) for n in range(2_000)))
        clock.now_ms += 10_010
        before = store.commits
        await call("promise.get", id="nothing")
        await eventually(lambda: store.commits > before)
        await call.create("somebody else")

        async def all_settled() -> bool:
            snapshot = await call.ok("debug.snap")
            return all(one["state"] != "pending" for one in snapshot["promises"] if one["id"][0] == "p")

        await eventually(all_settled, within_s=10)
        assert store.commits - before >= 2_000 // timers.PASS_LIMIT


async def test_a_schedule_fires_every_due_occurrence_in_order() -> None:
    clock = ManualClock(1_000_000_000_000)
    recorder = Recorder()
    async with running(MemoryStore(clock), recorder) as call:
        await call.ok(
            "schedule.create",
            id="every-second",
            cron="* * * * * *",
            promiseId="{{.id}}-{{.timestamp}}",
            promiseTimeout=600_000,
            promiseTags={"resonate:target": GROUP},
        )
        clock.now_ms += 3_500
        await call("promise.get", id="nothing")
        wanted = [f"every-second-{1_000_000_000_000 + n * 1000}" for n in (1, 2, 3)]
        await eventually(lambda: recorder.hinted() == wanted)


async def test_a_deleted_schedule_does_not_fire() -> None:
    clock = ManualClock()
    recorder = Recorder()
    async with running(MemoryStore(clock), recorder) as call:
        tags = {"resonate:target": GROUP}
        spec = {"cron": "* * * * * *", "promiseTimeout": 600_000, "promiseTags": tags}
        await call.ok("schedule.create", id="gone", promiseId="gone-{{.timestamp}}", **spec)
        await call.ok("schedule.create", id="kept", promiseId="kept-{{.timestamp}}", **spec)
        await call.ok("schedule.delete", id="gone")
        clock.now_ms += 1_010
        await call("promise.get", id="nothing")
        await eventually(lambda: recorder.hinted())
        assert [one[:4] for one in recorder.hinted()] == ["kept"]


async def test_an_outage_of_the_server_costs_nobody_his_lease() -> None:
    clock = ManualClock()
    store = MemoryStore(clock)
    async with running(store, Recorder()) as call:
        await call.create("p", GROUP)
        await call.acquire("p", ttl=5_000)
    clock.now_ms += 60_000  # down for a minute, twelve leases long
    async with running(store, Recorder(), debug=True) as call:

        async def extended() -> bool:
            snapshot = await call.ok("debug.snap")
            return bool(snapshot["taskTimeouts"] == [{"id": "p", "type": 1, "timeout": clock.now_ms + 5_000}])

        await eventually(extended)
        # a lease that is not renewed after that ends as always
        clock.now_ms += 5_010
        await call("promise.get", id="nothing")

        async def pending() -> bool:
            return await stored_task(call, "p") == "pending"

        await eventually(pending)


async def test_a_lease_that_had_ended_before_the_outage_is_not_revived(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = ManualClock()
    store = MemoryStore(clock)
    async with running(store, Recorder(), debug=True) as call:
        await call.create("p", GROUP)
        await call.acquire("p", ttl=5_000)
        await call.ok("debug.start")  # timers stand still: the lease ends and nobody fires it
        clock.now_ms += 6_000
        await call.create("later")
    async with running(store, Recorder(), debug=True) as call:

        async def pending() -> bool:
            return await stored_task(call, "p") == "pending"

        await eventually(pending)


async def test_an_outage_of_the_store_costs_nobody_his_lease() -> None:
    clock = ManualClock()
    store = FaultyStore(clock)
    async with running(store, Recorder(), debug=True) as call:
        await call.create("p", GROUP)
        await call.acquire("p", ttl=5_000)
        store.failure = StoreUnavailableError("disk full")
        assert (await call("promise.create", id="q", timeoutAt=2**52, tags={}))[0] == 503
        clock.now_ms += 60_000
        store.failure = None

        async def extended() -> bool:
            snapshot = await call.ok("debug.snap")
            leases = [one["timeout"] for one in snapshot["taskTimeouts"] if one["type"] == 1]
            return leases == [clock.now_ms + 5_000]

        await eventually(extended)


async def test_a_pause_of_the_whole_process_costs_nobody_his_lease() -> None:
    async with running(None, Recorder(), debug=True) as call:
        await call.create("p", GROUP)
        await call.acquire("p", ttl=1_200)
        until = time.monotonic() + 2.0
        eventually_sync(lambda: time.monotonic() > until)  # blocks: nothing of the process runs, as under SIGSTOP
        assert await stored_task(call, "p") == "acquired"
        await turns(50)
        assert await stored_task(call, "p") == "acquired"

        async def pending() -> bool:
            return await stored_task(call, "p") == "pending"

        await eventually(pending)


async def test_tasks_of_a_worker_inside_the_dead_predecessor_are_free_at_once(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    store = SqliteStore(path)
    async with running(store, Recorder()) as call:
        for task_id, pid in (("inside", f"{local_pid_prefix(4_000_000)}x"), ("outside", "p")):
            await call.create(task_id, GROUP)
            await call.acquire(task_id, pid=pid, ttl=60_000)
    successor, recorder = SqliteStore(path), Recorder()
    original = successor.open

    @asynccontextmanager
    async def found_dead() -> AsyncIterator[SqliteStore]:
        async with original() as opened:
            opened.predecessor_pid = 4_000_000
            yield opened

    successor.open = found_dead  # type: ignore[method-assign]
    async with running(successor, recorder) as call:
        await eventually(lambda: recorder.hinted() == ["inside"])
        assert (await call.task("outside"))["state"] == "acquired"


def test_the_window_forgets_what_is_disarmed_and_fires_in_order() -> None:
    window = Window(100)
    window.horizon_ms = 10_000
    for one, instant in (("c", 3_000), ("a", 1_000), ("b", 2_000)):
        window.arm(one, instant)
    window.disarm("b")
    window.arm("c", 1_500)
    assert window.pop_due(999, 10) == []
    assert window.pop_due(5_000, 10) == ["a", "c"]
    assert window.next_ms() is None
    assert len(window) == 0


def test_the_window_never_fires_early_and_at_most_a_tick_late() -> None:
    window = Window(100)
    window.horizon_ms = 10_000
    window.arm("a", 1_001)
    assert window.pop_due(1_000, 10) == []
    assert window.pop_due(1_001 + TICK_MS, 10) == ["a"]


def test_a_full_window_gives_the_later_half_back_to_the_store() -> None:
    window = Window(100)
    window.horizon_ms = 1_000_000
    for n in range(101):
        window.arm(f"t{n}", 1_000 + n * 100)
    assert len(window) <= 51
    assert window.horizon_ms < 1_000_000
    window.arm("late", 900_000)
    assert len(window) <= 51
    fired = window.pop_due(2_000_000, 1_000)
    assert fired == [f"t{n}" for n in range(len(fired))]


def test_a_window_holds_nothing_of_what_was_settled() -> None:
    window = Window(10_000)
    window.horizon_ms = 100_000
    for n in range(50_000):
        window.arm(f"t{n}", 50_000 + n % 7)
        window.disarm(f"t{n}")
    assert len(window) == 0
    assert window.next_ms() is None
