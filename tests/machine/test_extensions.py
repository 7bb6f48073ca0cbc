"""Extensions of the profile: record, claim, release with a reason, children preload (D8, D9, D10, D14)."""

import pytest

from resonate_mq.machine.background import (
    ExtendLeases,
    FireLeases,
    FireSchedules,
    ForgetListeners,
    FreeTasks,
    RearmHints,
)
from resonate_mq.machine.rules import STALL_LIMIT
from resonate_mq.protocol.parse import EXTENSIONS, Profile
from tests.machine.bench import TARGET, Bench, create_data


def test_record_creates_and_settles_in_one_step() -> None:
    bench = Bench()
    bench.start("a")
    data = {**create_data("a.1"), "state": "resolved", "value": {"data": "MQ=="}}
    reply = bench.fence("a", 1, "promise.record", data)
    record = reply.data["action"]["data"]["promise"]
    assert (record["state"], record["createdAt"], record["settledAt"]) == ("resolved", 1_000, 1_000)
    other = bench.fence("a", 1, "promise.record", {**data, "value": {"data": "Mg=="}})
    assert other.data["action"]["data"]["promise"] == record


def test_record_settles_a_pending_promise_and_loses_to_the_deadline() -> None:
    bench = Bench()
    bench.start("a")
    bench.create("a.1")
    late = {**create_data("a.2", timeout_at=1_000), "state": "resolved"}
    assert bench.fence("a", 1, "promise.record", {**create_data("a.1"), "state": "rejected"}).data["action"]["data"][
        "promise"
    ]["state"] == "rejected"  # fmt: skip
    assert bench.fence("a", 1, "promise.record", late).data["action"]["data"]["promise"]["state"] == "rejected_timedout"


def test_record_is_for_local_steps_inside_a_fence_only() -> None:
    bench = Bench()
    bench.start("a")
    data = {**create_data("a.1", target=TARGET), "state": "resolved"}
    assert bench.fence("a", 1, "promise.record", data).status == 400
    assert bench.ask("promise.record", data).status == 400


def test_a_repeated_claim_gets_the_same_answer_while_the_task_is_held() -> None:
    bench = Bench()
    bench.create("a", target=TARGET)
    first = bench.acquire("a", 0, claim="t1")
    assert bench.acquire("a", 0, claim="t1") == first
    assert bench.acquire("a", 0, claim="t2").status == 409
    assert bench.acquire("a", 0, pid="q", claim="t1").status == 409
    assert bench.acquire("a", 1, claim="t1").status == 409
    bench.ask("task.release", {"id": "a", "version": 1})
    assert bench.acquire("a", 0, claim="t1").status == 409


def test_a_repeated_task_create_with_its_claim_is_no_conflict() -> None:
    bench = Bench()
    action = {"kind": "promise.create", "head": {}, "data": create_data("a", target=TARGET)}
    data = {"pid": "p", "ttl": 1, "action": action, "claim": "t"}
    first = bench.ask("task.create", data)
    assert first.status == 200
    assert bench.ask("task.create", data) == first
    assert bench.ask("task.create", {**data, "claim": "u"}).status == 409


def test_release_with_a_reason_and_delay_is_not_offered_before_the_delay() -> None:
    bench = Bench()
    bench.start("a")
    reply = bench.ask("task.release", {"id": "a", "version": 1, "reason": "no such function", "delay": 60_000})
    assert reply.data == {}
    task = bench.images()["a"].task
    assert task is not None
    assert (task.hint_due_at, task.hint_attempt) == (61_000, -1)
    assert bench.task("a")["reason"] == "no such function"
    bench.acquire("a", 1)
    assert "reason" not in bench.task("a")


def test_a_task_that_stalls_too_often_is_halted_with_its_reason_in_the_same_step() -> None:
    bench = Bench()
    bench.create("a", target=TARGET)
    for version in range(STALL_LIMIT):
        assert bench.task("a")["state"] == "pending"
        bench.acquire("a", version)
        bench.now_ms += 5_000
        bench.run(FireLeases(("a",)))
    task = bench.task("a")
    assert task["state"] == "halted"
    assert "lease of p expired" in task["reason"]
    bench.ask("task.continue", {"id": "a"})
    assert bench.task("a") == {"id": "a", "state": "pending", "version": STALL_LIMIT, "resumes": 0}


def test_counted_releases_halt_as_well() -> None:
    bench = Bench()
    bench.create("a", target=TARGET)
    for version in range(STALL_LIMIT):
        bench.acquire("a", version)
        assert bench.ask("task.release", {"id": "a", "version": version + 1, "reason": "out of memory"}).status == 200
    assert bench.task("a")["state"] == "halted"
    assert "out of memory" in bench.task("a")["reason"]


@pytest.mark.parametrize("step", ["progress", "suspend", "uncounted"])
def test_progress_suspension_and_uncounted_releases_do_not_halt(step: str) -> None:
    bench = Bench()
    bench.create("a", target=TARGET)
    for version in range(STALL_LIMIT * 2):
        bench.acquire("a", version)
        current = version + 1
        if step == "progress":
            bench.fence("a", current, "promise.create", create_data(f"a.{current}"))
        if step == "suspend":
            bench.create("done")
            bench.settle("done")
            assert bench.suspend("a", current, "done").status == 300
        release = {"id": "a", "version": current, "reason": "draining", "counted": step != "uncounted"}
        assert bench.ask("task.release", release).status == 200
        assert bench.task("a")["state"] == "pending"


def test_release_of_what_is_not_held_says_so() -> None:
    bench = Bench()
    assert bench.ask("task.release", {"id": "x", "version": 0}).status == 404
    assert bench.fulfill("x", 0).status == 404
    assert bench.suspend("x", 0, "y").status == 404
    assert bench.ask("task.get", {"id": "x"}).status == 404


def test_a_children_preload_has_the_branch_and_what_hangs_below_it() -> None:
    bench = Bench()
    bench.start("a", branch="a", parent="a")
    bench.fence("a", 1, "promise.create", create_data("a.1", branch="a", parent="a"))
    bench.fence("a", 1, "promise.create", create_data("a.1.1", branch="a", parent="a.1"))
    bench.fence("a", 1, "promise.create", create_data("a.2", branch="a.2", parent="a", target=TARGET))
    bench.fence("a", 1, "promise.create", create_data("a.2.1", branch="a.2", parent="a.2"))
    quiet = bench.fence("a", 1, "promise.create", create_data("a.3", branch="a"), **{"resonate-mq:preload": "children"})
    assert quiet.data["preload"] == []
    bench.settle("a.2")
    reply = bench.suspend("a", 1, "a.2", **{"resonate-mq:preload": "children"})
    assert reply.status == 300
    assert [one["id"] for one in reply.data["preload"]] == ["a.1", "a.1.1", "a.2", "a.3"]


def test_a_children_preload_is_capped_by_count_and_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    bench = Bench()
    bench.start("a", branch="a")
    for number in range(5):
        bench.create(f"a.{number}", branch="a")
    bench.settle("a.0")
    head = {"resonate-mq:preload": "children"}
    assert "truncated" not in bench.suspend("a", 1, "a.0", **head).data
    monkeypatch.setattr("resonate_mq.machine.preload.PRELOAD_MAX_RECORDS", 6)
    assert bench.suspend("a", 1, "a.0", **head).data["truncated"]  # a store gives no more than the cap
    monkeypatch.setattr("resonate_mq.machine.preload.PRELOAD_MAX_RECORDS", 3)
    capped = bench.suspend("a", 1, "a.0", **head).data
    assert (len(capped["preload"]), capped["truncated"]) == (3, True)
    monkeypatch.setattr("resonate_mq.machine.preload.PRELOAD_MAX_BYTES", 600)
    assert len(bench.suspend("a", 1, "a.0", **head).data["preload"]) == 2


def test_the_first_acquisition_of_a_children_client_needs_no_preload() -> None:
    bench = Bench()
    bench.create("a", target=TARGET, branch="a")
    bench.create("a.1", branch="a")
    acquire = {"id": "a", "version": 0, "pid": "p", "ttl": 1}
    reply = bench.ask("task.acquire", acquire, {"resonate-mq:preload": "children"})
    assert reply.data["preload"] == []
    bench.ask("task.release", {"id": "a", "version": 1})
    again = bench.ask("task.acquire", {**acquire, "version": 1}, {"resonate-mq:preload": "children"})
    assert [one["id"] for one in again.data["preload"]] == ["a.1"]


def test_a_preload_is_projected() -> None:
    bench = Bench()
    bench.create("a", target=TARGET, branch="a")
    bench.create("a.1", timeout_at=1_500, branch="a")
    bench.create("a.2", timeout_at=1_500, branch="a", timer="true")
    bench.now_ms = 2_000
    states = [(one["state"], one["settledAt"]) for one in bench.acquire("a", 0).data["preload"]]
    assert states == [("rejected_timedout", 1_500), ("resolved", 1_500)]


def test_extensions_that_are_off_answer_400() -> None:
    bench = Bench()
    bench.profile = Profile(extensions=frozenset())
    bench.start("a")
    assert bench.acquire("a", 1, claim="c").status == 400
    assert bench.fence("a", 1, "promise.record", {**create_data("b"), "state": "resolved"}).status == 400
    assert bench.fence("a", 1, "promise.create", create_data("b"), **{"resonate-mq:preload": "children"}).status == 400
    for extra in ({"reason": "r"}, {"delay": 1}, {"counted": False}):
        assert bench.ask("task.release", {"id": "a", "version": 1, **extra}).status == 400
    for kind in ("server.info", "worker.hello", "worker.search"):
        assert bench.ask(kind, {}) == (400, f"Unknown operation: {kind}")
    assert len(EXTENSIONS) == 7


def test_leases_are_extended_once_after_an_outage_if_they_were_valid_then() -> None:
    bench = Bench()
    bench.start("valid")
    bench.start("lapsed")
    bench.create("plain")
    bench.create("pending", target=TARGET)
    bench.now_ms = 20_000
    bench.run(ExtendLeases(("valid", "plain", "pending", "missing"), valid_at_ms=6_000))
    bench.run(ExtendLeases(("lapsed",), valid_at_ms=6_001))
    leases = {one: image.task.lease_at for one, image in bench.images().items() if image.task}
    assert leases == {"valid": 25_000, "lapsed": 6_000, "pending": None}


def test_tasks_of_a_dead_process_are_freed_at_once_and_not_counted() -> None:
    bench = Bench()
    bench.start("a")
    bench.create("plain")
    bench.run(FreeTasks(("a", "plain", "missing")))
    bench.run(FreeTasks(("a",)))
    assert bench.task("a") == {"id": "a", "state": "pending", "version": 1, "resumes": 0}


def test_a_lease_is_lost_only_when_it_is_over_and_its_promise_lives() -> None:
    bench = Bench()
    bench.start("a")
    bench.start("dead", timeout_at=3_000)
    bench.create("plain")
    bench.run(FireLeases(("a", "plain", "missing")))
    assert bench.task("a")["state"] == "acquired"
    bench.now_ms = 6_000
    bench.run(FireLeases(("a", "dead")))
    assert bench.task("a")["state"] == "pending"
    assert bench.task("dead")["state"] == "fulfilled"


def test_hints_are_rearmed_only_while_they_are_what_was_sent() -> None:
    bench = Bench()
    for one in ("a", "b", "c"):
        bench.create(one, target=TARGET)
    bench.create("timer", target=TARGET, timer="true")
    bench.create("plain")
    bench.acquire("b", 0)
    sent = tuple((one, 0, 50_000) for one in ("a", "b", "timer", "plain", "missing"))
    bench.run(RearmHints((*sent, ("c", 1, 50_000))))
    hints = {
        one: (image.task.hint_due_at, image.task.hint_attempt) for one, image in bench.images().items() if image.task
    }
    assert hints == {"a": (50_000, 1), "b": (None, 0), "c": (3_000, 0), "timer": (None, 0)}


def test_listeners_are_forgotten_only_after_the_settlement() -> None:
    bench = Bench()
    for one in ("a", "b"):
        bench.create(one)
        for pid in ("p", "q"):
            bench.ask("promise.register_listener", {"awaited": one, "address": f"poll://uni@g/{pid}"})
    bench.settle("a")
    told = tuple((one, "poll://uni@g/p") for one in ("a", "b", "missing"))
    bench.run(ForgetListeners((*told, ("a", "poll://uni@g/other"))))
    assert bench.images()["a"].listeners == ("poll://uni@g/q",)
    assert len(bench.images()["b"].listeners) == 2


def test_a_schedule_catches_up_in_order_with_a_cap_and_then_goes_on() -> None:
    bench = Bench()
    schedule = {
        "id": "s", "cron": "*/10 * * * * *", "promiseId": "{{.id}}.{{.timestamp}}", "promiseTimeout": 60_000,
        "promiseParam": {"data": "e30="}, "promiseTags": {"resonate:target": TARGET},
    }  # fmt: skip
    created = bench.ask("schedule.create", schedule).data["schedule"]
    assert (created["nextRunAt"], "lastRunAt" in created) == (10_000, False)
    assert bench.ask("schedule.create", {**schedule, "cron": "@daily"}).data["schedule"] == created
    bench.run(FireSchedules(("s", "missing")))
    bench.create("s.20000")
    bench.now_ms = 45_000
    bench.run(FireSchedules(("s",), limit=3))
    record = bench.ask("schedule.get", {"id": "s"}).data["schedule"]
    assert (record["lastRunAt"], record["nextRunAt"]) == (30_000, 40_000)
    bench.run(FireSchedules(("s",)))
    fired = bench.promise("s.40000")
    assert (fired["createdAt"], fired["timeoutAt"], fired["param"]) == (40_000, 100_000, {"data": "e30="})
    assert fired["tags"] == {
        "resonate:target": TARGET, "resonate:schedule": "s", "resonate:origin": "s.40000",
        "resonate:branch": "s.40000", "resonate:parent": "s.40000", "resonate:prefix": "s.40000",
    }  # fmt: skip
    assert bench.promise("s.20000")["tags"] == {}
    assert bench.task("s.10000")["state"] == "pending"
    assert bench.ask("schedule.delete", {"id": "s"}).status == 200
    assert bench.ask("schedule.delete", {"id": "s"}).status == 404
    assert bench.ask("schedule.get", {"id": "s"}).status == 404


def test_a_scheduled_promise_without_time_left_is_born_settled() -> None:
    bench = Bench()
    bench.ask("schedule.create", {
        "id": "s", "cron": "*/10 * * * * *", "promiseId": "p.{{.timestamp}}", "promiseTimeout": 0,
        "promiseTags": {"resonate:target": TARGET},
    })  # fmt: skip
    bench.now_ms = 10_500
    bench.run(FireSchedules(("s",)))
    assert bench.promise("p.10000")["settledAt"] == 10_000
    assert bench.task("p.10000")["state"] == "fulfilled"


def test_a_bad_cron_is_400_and_names_the_field() -> None:
    data = {"id": "s", "promiseId": "p", "promiseTimeout": 0, "promiseTags": {"resonate:target": TARGET}}
    reply = Bench().ask("schedule.create", {**data, "cron": "61 * * * *"})
    assert reply.status == 400
    assert "minutes" in reply.data
