"""debug.* as conformance harnesses use it (protocol section 3.21, D17)."""

from typing import Any

from tests.server.harness import Caller, Recorder, running, turns
from tests.support.eventually import eventually

GROUP = "rec://any@g"


def at(now_ms: int) -> dict[str, Any]:
    """Return the head of a request at a debug time."""
    return {"resonate:debug_time": now_ms}


async def harness(call: Caller) -> None:
    """Begin as a conformance harness does."""
    await call.ok("debug.start")
    await call.ok("debug.reset")


async def test_debug_is_refused_unless_it_is_switched_on() -> None:
    async with running() as call:
        for kind in ("debug.start", "debug.stop", "debug.reset", "debug.snap", "debug.tick"):
            status, sentence = await call(kind, None, time=1)
            assert (status, "disabled" in sentence) == (403, True)
        # and a debug time is dropped
        created = await call.create("p")
        status, data = await call("promise.get", at(2**52 + 1), id="p")
        assert data == created


async def test_the_snapshot_shows_everything_derived() -> None:
    async with running(None, Recorder(), debug=True) as call:
        await harness(call)
        await call.ok("promise.create", at(1_000), id="p", timeoutAt=50_000, tags={"resonate:target": GROUP})
        await call.ok("promise.create", at(1_000), id="q", timeoutAt=60_000, tags={})
        await call.ok("promise.register_listener", at(1_000), awaited="q", address="rec://uni@g/l")
        await call.ok("promise.register_callback", at(1_000), awaited="q", awaiter="p")
        snapshot = await call.ok("debug.snap", at(1_000))
        assert [one["id"] for one in snapshot["promises"]] == ["p", "q"]
        assert snapshot["promiseTimeouts"] == [{"id": "p", "timeout": 50_000}, {"id": "q", "timeout": 60_000}]
        assert snapshot["callbacks"] == [{"awaiter": "p", "awaited": "q"}]
        assert snapshot["listeners"] == [{"id": "q", "address": "rec://uni@g/l"}]
        assert snapshot["tasks"] == [{"id": "p", "state": "pending", "version": 0, "resumes": 0}]
        assert snapshot["taskTimeouts"] == [{"id": "p", "type": 0, "timeout": 3_000}]
        execute = {"kind": "execute", "head": {}, "data": {"task": {"id": "p", "version": 0}}}
        assert snapshot["messages"] == [{"address": GROUP, "message": execute}]


async def test_a_settled_promise_shows_its_listeners_as_messages() -> None:
    async with running(None, Recorder(), debug=True) as call:
        await harness(call)
        await call.ok("promise.create", at(1_000), id="q", timeoutAt=60_000, tags={})
        await call.ok("promise.register_listener", at(1_000), awaited="q", address="rec://uni@g/l")
        await call.ok("promise.settle", at(2_000), id="q", state="resolved", value={})
        snapshot = await call.ok("debug.snap", at(2_000))
        assert snapshot["listeners"] == []
        assert [(one["address"], one["message"]["kind"]) for one in snapshot["messages"]] == [
            ("rec://uni@g/l", "unblock")
        ]


async def test_a_tick_runs_all_timers_of_its_instant_and_delivers_nothing() -> None:
    recorder = Recorder()
    async with running(None, recorder, debug=True) as call:
        await harness(call)
        await call.ok("promise.create", at(1_000), id="a", timeoutAt=5_000, tags={})
        await call.ok("promise.create", at(1_000), id="t", timeoutAt=90_000, tags={"resonate:target": GROUP})
        await call.ok("task.acquire", at(1_000), id="t", version=0, pid="p", ttl=2_000)
        spec = {"id": "s", "cron": "* * * * * *", "promiseId": "s{{.timestamp}}", "promiseTimeout": 9_000}
        await call.ok("schedule.create", at(1_000), **spec, promiseTags={"resonate:target": GROUP})
        assert await call("debug.tick", at(6_000), time=6_000) == (200, [])
        snapshot = await call.ok("debug.snap", at(6_000))
        states = {one["id"]: one["state"] for one in snapshot["promises"]}
        assert states["a"] == "rejected_timedout"
        assert [one for one in states if one.startswith("s")] == [f"s{n}000" for n in range(2, 7)]
        assert next(one["state"] for one in snapshot["tasks"] if one["id"] == "t") == "pending"
        assert recorder.published == []
        assert (await call("debug.tick", at(7_000), time=8_000))[0] == 400


async def test_delivery_stands_still_between_start_and_stop() -> None:
    recorder = Recorder()
    async with running(None, recorder, debug=True) as call:
        await call.ok("debug.start")
        await call.create("p", GROUP)
        await turns(20)
        assert recorder.published == []
        await call.ok("debug.stop")
        await eventually(lambda: recorder.hinted() == ["p"], within_s=10)


async def test_reset_deletes_everything_and_the_time() -> None:
    async with running(None, Recorder(), debug=True) as call:
        await harness(call)
        await call.ok("promise.create", at(2**51), id="p", timeoutAt=2**52, tags={})
        await call.ok("debug.reset")
        snapshot = await call.ok("debug.snap", at(1_000))
        assert all(not one for one in snapshot.values())
        created = await call.ok("promise.create", at(1_000), id="p", timeoutAt=2_000, tags={})
        assert created["promise"]["createdAt"] == 1_000


async def test_debug_time_never_goes_back() -> None:
    async with running(None, Recorder(), debug=True) as call:
        await harness(call)
        await call.ok("promise.create", at(5_000), id="p", timeoutAt=9_000, tags={})
        later = await call.ok("promise.create", at(4_000), id="q", timeoutAt=9_000, tags={})
        assert later["promise"]["createdAt"] == 5_000


async def test_a_debug_time_of_another_type_is_refused() -> None:
    async with running(None, debug=True) as call:
        status, sentence = await call("promise.get", {"resonate:debug_time": "soon"}, id="p")
        assert (status, "resonate:debug_time" in sentence) == (400, True)
