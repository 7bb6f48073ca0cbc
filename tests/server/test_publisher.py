"""Hints and unblocks: at once after the commit, kept until confirmed, never a storm (D17, D21, D23, D24, D41)."""

import asyncio
from typing import Any

import pytest

from resonate_mq.protocol.messages import Execute, Unblock
from resonate_mq.server.publisher import publisher as publisher_module
from resonate_mq.server.publisher import routes
from resonate_mq.stores.memory import MemoryStore
from resonate_mq.transports.port import Outcome
from tests.server.harness import Caller, ManualClock, Recorder, running, turns
from tests.support.eventually import eventually

GROUP = "rec://any@g"


async def announce(call: Caller, pid: str, *, concurrency: int = 32, resident: bool = False) -> None:
    """Let a process say hello."""
    await call.ok(
        "worker.hello",
        group="g",
        pid=pid,
        addresses=[f"rec://uni@g/{pid}"],
        concurrency=concurrency,
        free=concurrency,
        resident=resident,
        functions=[],
    )


async def test_a_hint_leaves_right_after_its_commit_and_no_timer_lies_between(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    recorder = Recorder()
    async with running(None, recorder) as call:
        await call.create("warm", GROUP)
        await eventually(lambda: recorder.hinted() == ["warm"])
        loop = asyncio.get_running_loop()

        def refuse(*args: Any, **kwargs: Any) -> Any:
            raise AssertionError("a timer was set between commit and publish")

        with monkeypatch.context() as patch:
            patch.setattr(loop, "call_later", refuse)
            patch.setattr(loop, "call_at", refuse)
            await call.create("p", GROUP)
            for _ in range(5):  # turns of the loop, not time
                if "p" in recorder.hinted():
                    break
                await turns(1)
            assert recorder.hinted() == ["warm", "p"]


async def test_the_message_carries_store_id_url_and_version() -> None:
    recorder = Recorder()
    async with running(None, recorder, url="http://outside:1") as call:
        await call.create("p", GROUP)
        await eventually(lambda: recorder.published)
        _, message = recorder.messages()[0]
        assert isinstance(message, Execute)
        assert (message.store_id, message.server_url) == (call.server.store_id, "http://outside:1")
        assert [(hint.task_id, hint.version) for hint in message.hints] == [("p", 0)]


async def test_a_preferred_process_stays_in_the_address() -> None:
    recorder = Recorder()
    async with running(None, recorder) as call:
        await call.create("p", "rec://any@g/p7")
        await eventually(lambda: recorder.published)
        assert str(recorder.published[0].address) == "rec://any@g/p7"


async def test_delayed_and_timer_promises_are_not_hinted_at_birth() -> None:
    clock = ManualClock()
    recorder = Recorder()
    async with running(MemoryStore(clock), recorder) as call:
        await call.create("later", GROUP, tags={"resonate:delay": str(clock.now_ms + 5_000)})
        await call.create("sleep", GROUP, tags={"resonate:timer": "true"})
        await call.create("now", GROUP)
        await eventually(lambda: recorder.hinted() == ["now"])
        await call.acquire("now")
        clock.now_ms += 4_999
        await call("promise.get", id="now")
        assert recorder.hinted() == ["now"]
        clock.now_ms += 1
        await call("promise.get", id="now")
        await eventually(lambda: recorder.hinted() == ["now", "later"])


async def test_a_confirmed_hint_nobody_takes_is_sent_again_after_ten_seconds_then_twenty() -> None:
    clock = ManualClock()
    recorder = Recorder()
    async with running(MemoryStore(clock), recorder, debug=True) as call:
        await call.create("p", GROUP)
        await eventually(lambda: recorder.hinted() == ["p"])
        await _due(call, "p", clock.now_ms + 10_000)
        clock.now_ms += 10_001
        await call("promise.get", id="p")
        await eventually(lambda: recorder.hinted() == ["p"] * 2)
        await _due(call, "p", clock.now_ms + 20_000)


async def test_an_acquired_task_is_not_written_down_as_sent() -> None:
    clock = ManualClock()
    recorder = Recorder()
    async with running(MemoryStore(clock), recorder, debug=True) as call:
        await call.create("p", GROUP)
        await eventually(lambda: recorder.hinted() == ["p"])
        await call.acquire("p")
        assert not call.server.publisher.books.has_hints


async def test_a_hint_is_never_sent_twice_while_one_is_under_way() -> None:
    clock = ManualClock()
    recorder = Recorder()
    recorder.outcome = lambda address: None
    async with running(MemoryStore(clock), recorder) as call:
        await call.create("p", GROUP)
        await eventually(lambda: recorder.hinted() == ["p"])
        for _ in range(3):
            clock.now_ms += 60_000
            await call("promise.get", id="p")
            await call.create(f"other-{clock.now_ms}", "rec://any@g2")
        await eventually(lambda: len(recorder.hinted()) >= 4)
        assert recorder.hinted().count("p") == 1


async def test_a_failed_publish_is_repeated_with_back_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(routes, "FIRST_RETRY_S", 0.05)
    recorder = Recorder()
    outcomes = iter([Outcome.FAILED, Outcome.FAILED])
    recorder.outcome = lambda address: next(outcomes, Outcome.CONFIRMED)
    async with running(None, recorder) as call:
        await call.create("p", GROUP)
        await eventually(lambda: recorder.hinted() == ["p"] * 3)


async def test_without_a_consumer_sending_stops_until_the_transport_is_ready() -> None:
    recorder = Recorder()
    recorder.outcome = lambda address: Outcome.NO_CONSUMER
    async with running(None, recorder) as call:
        await call.create("first", GROUP)
        await eventually(lambda: recorder.hinted() == ["first"])
        for n in range(20):
            await call.create(f"p{n:02}", GROUP)
        assert recorder.hinted() == ["first"]
        recorder.outcome = lambda address: Outcome.CONFIRMED
        recorder.tell_ready(GROUP)
        await eventually(lambda: len(recorder.hinted()) == 22)
        assert recorder.hinted()[1:] == ["first", *(f"p{n:02}" for n in range(20))]


async def test_a_long_backlog_is_read_from_the_store_in_order_of_age(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("resonate_mq.server.publisher.destination.BLOCKED_LIMIT", 5)
    recorder = Recorder()
    recorder.outcome = lambda address: Outcome.NO_CONSUMER
    ids = [f"p{n:04}" for n in range(700)]
    async with running(None, recorder) as call:
        for one in ids:
            await call.create(one, GROUP)
        recorder.published.clear()
        recorder.outcome = lambda address: Outcome.CONFIRMED
        recorder.tell_ready(GROUP)
        await eventually(lambda: len(set(recorder.hinted())) == 700, within_s=10)
        assert recorder.hinted() == ids


async def test_a_backlog_found_at_start_is_sent() -> None:
    clock = ManualClock()
    store = MemoryStore(clock)
    silent, recorder = Recorder(), Recorder()
    silent.outcome = lambda address: None
    ids = [f"p{n:04}" for n in range(300)]
    async with running(store, silent) as call:
        for one in ids:
            await call.create(one, GROUP)
    clock.now_ms += 3_000
    async with running(store, recorder):
        await eventually(lambda: sorted(set(recorder.hinted())) == ids)


async def test_a_backlog_of_a_broker_that_was_down_at_start_drains_in_order_of_age() -> None:
    clock = ManualClock()
    store = MemoryStore(clock)
    silent, recorder = Recorder(), Recorder()
    silent.outcome = lambda address: None
    ids = [f"p{n:04}" for n in range(700)]
    async with running(store, silent) as call:
        for one in ids:
            await call.create(one, GROUP)
            clock.now_ms += 1
    clock.now_ms += 60_000
    recorder.outcome = lambda address: Outcome.FAILED
    async with running(store, recorder) as call:
        await eventually(lambda: recorder.published)
        await call.create("young", GROUP)
        recorder.published.clear()
        recorder.outcome = lambda address: Outcome.CONFIRMED
        recorder.tell_ready("")
        await eventually(lambda: len(set(recorder.hinted())) == 701, within_s=15)
        assert list(dict.fromkeys(recorder.hinted())) == [*ids, "young"]


async def test_a_destination_without_consumer_does_not_hold_up_another() -> None:
    recorder = Recorder()
    recorder.outcome = lambda address: Outcome.NO_CONSUMER if "dead" in address else Outcome.CONFIRMED
    async with running(None, recorder) as call:
        for n in range(50):
            await call.create(f"dead{n}", "rec://any@dead")
            await call.create(f"live{n}", "rec://any@live")
        await eventually(lambda: sum("live" in one for one in recorder.hinted()) == 50)


async def test_hints_of_one_group_are_packed_by_the_smallest_announced_concurrency() -> None:
    recorder = Recorder()
    async with running(None, recorder) as call:
        await announce(call, "p1", concurrency=32)
        await announce(call, "p2", concurrency=16)
        requests = [[_create(f"t{n}", GROUP)] for n in range(20)]
        await call.ok("batch", sequences=requests)
        await eventually(lambda: len(recorder.hinted()) == 20)
        assert [len(message.hints) for _, message in recorder.messages() if isinstance(message, Execute)] == [4] * 5


async def test_unannounced_groups_and_raw_destinations_get_single_messages() -> None:
    recorder = Recorder()
    async with running(None, recorder) as call:
        await announce(call, "p1")
        requests = [[_create(f"t{n}", t)] for n, t in enumerate(["rec://any@other", "rec://queue"] * 5)]
        await call.ok("batch", sequences=requests)
        await eventually(lambda: len(recorder.published) == 10)
        assert all(one.weight == 1 for one in recorder.published)


async def test_large_unblocks_are_not_packed_with_others() -> None:
    recorder = Recorder()
    recorder.outcome = lambda address: Outcome.NO_CONSUMER
    async with running(None, recorder) as call:
        await announce(call, "p1", concurrency=80)
        for n, size in enumerate([10, 10, 50_000, 50_000, 10, 100_000, 10]):
            await call.create(f"p{n}")
            await call.ok("promise.register_listener", awaited=f"p{n}", address="rec://uni@g/p1")
            await call.ok("promise.settle", id=f"p{n}", state="resolved", value={"data": "x" * size})
        recorder.published.clear()
        recorder.outcome = lambda address: Outcome.CONFIRMED
        recorder.tell_ready("rec://uni@g/p1")
        await eventually(lambda: len(recorder.unblocked()) == 7)
        sizes = [len(message.promises) for _, message in recorder.messages() if isinstance(message, Unblock)]
        assert max(sizes) > 1
        assert all(len(one.payload) < 170_000 for one in recorder.published)


async def test_hints_that_came_back_from_a_pack_travel_singly() -> None:
    recorder = Recorder()
    async with running(None, recorder) as call:
        await announce(call, "p1", concurrency=80)
        await call.ok("batch", sequences=[[_create(f"t{n}", GROUP)] for n in range(5)])
        await eventually(lambda: [one.weight for one in recorder.published] == [5])
        call.server.publisher.lost(recorder.published[0].hints or ())
        await eventually(lambda: [one.weight for one in recorder.published] == [5, 1, 1, 1, 1, 1])


async def test_a_resumed_task_is_offered_to_its_resident_process_first() -> None:
    recorder = Recorder()
    async with running(None, recorder) as call:
        await _suspend(call, "parent", "child", resident=True)
        recorder.published.clear()
        await call.settle("child")
        await eventually(lambda: recorder.published)
        assert str(recorder.published[0].address) == "rec://uni@g/p1"
        # nobody acquires: half a second later the group gets it
        await eventually(lambda: len(recorder.published) == 2)
        assert str(recorder.published[1].address) == GROUP


async def test_a_resident_that_is_gone_loses_its_preference_at_once() -> None:
    recorder = Recorder()
    recorder.outcome = lambda address: Outcome.NO_CONSUMER if "uni" in address else Outcome.CONFIRMED
    async with running(None, recorder) as call:
        await _suspend(call, "parent", "child", resident=True)
        recorder.published.clear()
        await call.settle("child")
        await eventually(lambda: [str(one.address) for one in recorder.published] == ["rec://uni@g/p1", GROUP], 0.4)


async def test_without_residency_a_resumed_task_goes_to_its_group() -> None:
    recorder = Recorder()
    async with running(None, recorder) as call:
        await _suspend(call, "parent", "child", resident=False)
        recorder.published.clear()
        await call.settle("child")
        await eventually(lambda: [str(one.address) for one in recorder.published] == [GROUP])


async def test_an_unblock_goes_to_every_listener_and_is_forgotten_when_confirmed() -> None:
    recorder = Recorder()
    store = MemoryStore()
    async with running(store, recorder) as call:
        await call.create("p")
        for address in ("rec://uni@g/p1", "rec://uni@g/p2"):
            await call.ok("promise.register_listener", awaited="p", address=address)
        await call.settle("p")
        await eventually(lambda: recorder.unblocked() == ["p", "p"])
        message = recorder.messages()[0][1]
        assert isinstance(message, Unblock)
        assert message.promises[0]["state"] == "resolved"

        async def forgotten() -> bool:
            return not await store.unconfirmed(0, 10)

        await eventually(forgotten)


async def test_an_unblock_nobody_takes_is_repeated_until_somebody_does(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(routes, "FIRST_RETRY_S", 0.05)
    recorder = Recorder()
    outcomes = iter([Outcome.NO_CONSUMER] * 3)
    recorder.outcome = lambda address: next(outcomes, Outcome.CONFIRMED)
    store = MemoryStore()
    async with running(store, recorder) as call:
        await _listen_and_settle(call, "p", "rec://uni@g/p1")
        await eventually(lambda: recorder.unblocked() == ["p"] * 4)


async def test_unblocks_wait_for_their_process_and_leave_when_it_is_there() -> None:
    recorder = Recorder()
    recorder.outcome = lambda address: Outcome.NO_CONSUMER
    async with running(None, recorder) as call:
        for n in range(10):
            await _listen_and_settle(call, f"p{n}", "rec://uni@g/p1")
        await eventually(lambda: recorder.unblocked())
        recorder.published.clear()
        recorder.outcome = lambda address: Outcome.CONFIRMED
        recorder.tell_ready("rec://uni@g/p1")
        await eventually(lambda: sorted(recorder.unblocked()) == [f"p{n}" for n in range(10)])


async def test_an_unblock_is_given_up_after_its_time_and_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(routes, "FIRST_RETRY_S", 0.02)
    monkeypatch.setattr(publisher_module, "UNBLOCK_GIVEN_UP_S", 0.05)
    recorder = Recorder()
    recorder.outcome = lambda address: Outcome.NO_CONSUMER
    store = MemoryStore()
    async with running(store, recorder) as call:
        await _listen_and_settle(call, "p", "rec://uni@g/p1")
        await eventually(lambda: call.server.metrics.dropped == {"unblock given up": 1})

        async def forgotten() -> bool:
            return not await store.unconfirmed(0, 10)

        await eventually(forgotten)


async def test_unblocks_a_dead_server_left_behind_are_sent_by_the_next() -> None:
    store = MemoryStore()
    silent, recorder = Recorder(), Recorder()
    silent.outcome = lambda address: None
    async with running(store, silent) as call:
        await _listen_and_settle(call, "p", "rec://uni@g/p1")
    async with running(store, recorder):
        await eventually(lambda: recorder.unblocked() == ["p"])


async def test_a_transport_that_is_unwell_fails_readiness_by_name_and_work_is_accepted() -> None:
    recorder = Recorder()
    recorder.well = (False, "broker at amqp://user:***@host is away")
    async with running(None, recorder) as call:
        assert [(one.part, one.reason) for one in call.server.health.troubles()] == [
            ("transport rec", "broker at amqp://user:***@host is away")
        ]
        await call.create("p", GROUP)


async def test_a_transport_that_raises_is_survived() -> None:
    recorder = Recorder()
    original = recorder.publish
    failures = iter([RuntimeError("a bug")])

    async def publish(batch: Any, report: Any) -> None:
        error = next(failures, None)
        if error is not None:
            raise error
        await original(batch, report)

    recorder.publish = publish  # type: ignore[method-assign]
    async with running(None, recorder) as call:
        await call.create("p", GROUP)
        await eventually(lambda: recorder.hinted() == ["p"])
        assert call.server.metrics.failures == {"publisher": 1}


def _create(promise_id: str, target: str) -> dict[str, Any]:
    data = {"id": promise_id, "timeoutAt": 2**52, "tags": {"resonate:target": target}}
    return {"kind": "promise.create", "head": {"corrId": "c", "version": "2026-04-01"}, "data": data}


async def _due(call: Caller, task_id: str, at_ms: int) -> None:
    """Wait until the stored hint instant lies within a second of `at_ms`."""

    async def written() -> bool:
        snapshot = await call.ok("debug.snap")
        due = [one["timeout"] for one in snapshot["taskTimeouts"] if one["id"] == task_id]
        return bool(due) and abs(due[0] - at_ms) < 1_500

    await eventually(written)


async def _suspend(call: Caller, parent: str, child: str, *, resident: bool) -> None:
    await announce(call, "p1", resident=resident)
    await call.create(parent, GROUP)
    await call.create(child)
    await call.acquire(parent, pid="p1")
    action = {"kind": "promise.register_callback", "head": {}, "data": {"awaited": child, "awaiter": parent}}
    await call.ok("task.suspend", id=parent, version=1, actions=[action])


async def _listen_and_settle(call: Caller, promise_id: str, address: str) -> None:
    await call.create(promise_id)
    await call.ok("promise.register_listener", awaited=promise_id, address=address)
    await call.settle(promise_id)
