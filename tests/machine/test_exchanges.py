"""The worked exchanges of protocol section 9, and the minimal failure cases it names."""

from resonate_mq.machine.background import FireDeadlines, FireLeases
from tests.machine.bench import TARGET, Bench, create_data


def test_the_worked_exchange_of_a_run_with_a_local_step_an_rpc_and_a_sleep() -> None:
    bench = Bench()
    started = bench.start("root1", branch="root1")
    assert started.status == 200
    assert started.data["task"] == {
        "id": "root1", "state": "acquired", "version": 1, "resumes": 0, "ttl": 5_000, "pid": "p",
    }  # fmt: skip
    assert started.data["preload"] == []
    listener = {"awaited": "root1", "address": "poll://uni@g1/p1"}
    assert bench.ask("promise.register_listener", listener).data["promise"]["state"] == "pending"
    assert bench.ask("task.heartbeat", {"pid": "p", "tasks": [{"id": "root1", "version": 1}]}).data == {}

    created = bench.fence("root1", 1, "promise.create", create_data("root1.1", branch="root1"))
    assert created.data["action"]["head"] == {"corrId": "f", "status": 200, "version": "2026-04-01"}
    assert created.data["action"]["data"]["promise"]["state"] == "pending"
    assert [one["id"] for one in created.data["preload"]] == ["root1.1"]
    settled = bench.fence(
        "root1", 1, "promise.settle", {"id": "root1.1", "state": "resolved", "value": {"data": "Mg=="}}
    )
    assert settled.data["action"]["data"]["promise"]["value"] == {"data": "Mg=="}

    bench.fence("root1", 1, "promise.create", create_data("root1.4", branch="root1.4", target=TARGET))
    assert bench.suspend("root1", 1, "root1.4").status == 200
    assert bench.task("root1") == {"id": "root1", "state": "suspended", "version": 1, "resumes": 0}
    assert bench.acquire("root1.4", 0).data["task"]["version"] == 1
    assert bench.fulfill("root1.4", 1).data["promise"]["state"] == "resolved"
    assert bench.task("root1") == {"id": "root1", "state": "pending", "version": 1, "resumes": 1}

    again = bench.acquire("root1", 1)
    assert (again.data["task"]["version"], again.data["task"]["resumes"]) == (2, 0)
    assert [one["id"] for one in again.data["preload"]] == ["root1.1"]

    bench.fence("root1", 2, "promise.create", create_data("root1.5", timeout_at=2_000, timer="true"))
    assert bench.suspend("root1", 2, "root1.5").status == 200
    bench.now_ms = 2_000
    bench.run(FireDeadlines(("root1.5",)))
    assert bench.promise("root1.5")["state"] == "resolved"
    assert bench.acquire("root1", 2).data["task"]["version"] == 3
    done = bench.fulfill("root1", 3)
    assert (done.status, done.data["promise"]["state"], "task" in done.data) == (200, "resolved", False)


def test_a_late_settle_answers_the_deadline_verdict_with_200() -> None:
    bench = Bench()
    bench.create("a", timeout_at=2_000)
    bench.now_ms = 2_000
    reply = bench.settle("a")
    assert (reply.status, reply.data["promise"]["state"], reply.data["promise"]["value"]) == (
        200,
        "rejected_timedout",
        {},
    )
    assert reply.data["promise"]["settledAt"] == 2_000


def test_fulfill_after_the_own_deadline_is_409_and_the_task_is_fulfilled() -> None:
    bench = Bench()
    bench.start("a", timeout_at=2_000)
    bench.now_ms = 2_500
    assert bench.fulfill("a", 1).status == 409
    assert bench.task("a")["state"] == "fulfilled"


def test_acquiring_twice_with_one_version_is_200_then_409() -> None:
    bench = Bench()
    bench.create("a", target=TARGET)
    assert bench.acquire("a", 0).status == 200
    assert bench.acquire("a", 0).status == 409
    assert bench.acquire("a", 1).status == 409
    assert bench.acquire("unknown", 0).status == 404


def test_acquiring_a_pending_task_at_another_version_is_409() -> None:
    bench = Bench()
    bench.create("a", target=TARGET)
    assert bench.acquire("a", 3).data == "Version mismatch"


def test_suspend_on_a_settled_promise_is_300_and_keeps_lease_and_version() -> None:
    bench = Bench()
    bench.start("a", branch="a")
    bench.create("b")
    bench.settle("b")
    before = bench.task("a")
    reply = bench.suspend("a", 1, "b")
    assert (reply.status, reply.data) == (300, {"preload": []})
    assert bench.task("a") == before


def test_suspend_on_a_missing_promise_is_422_and_registers_nothing() -> None:
    bench = Bench()
    bench.start("a")
    bench.create("b")
    assert bench.suspend("a", 1, "b", "missing").status == 422
    assert bench.images()["b"].awaiters == ()
    assert bench.task("a")["state"] == "acquired"


def test_a_fence_after_the_lease_went_to_another_process_is_409_for_ever() -> None:
    bench = Bench()
    bench.start("a")
    bench.now_ms += 5_000
    bench.run(FireLeases(("a",)))
    assert bench.acquire("a", 1, pid="other").status == 200
    assert bench.fence("a", 1, "promise.create", create_data("a.1")).status == 409
    assert "a.1" not in bench.images()
    assert bench.fulfill("a", 1).status == 409
    assert bench.suspend("a", 1, "b").status == 409
    assert bench.ask("task.release", {"id": "a", "version": 1}).status == 409


def test_task_create_on_a_held_task_is_409_and_on_a_promise_without_task_422() -> None:
    bench = Bench()
    bench.start("a")
    assert bench.start("a").data == "Already exists"
    bench.create("b")
    assert bench.start("b").status == 422


def test_task_create_takes_a_pending_task_and_answers_a_fulfilled_one() -> None:
    bench = Bench()
    bench.create("a", target=TARGET)
    taken = bench.start("a")
    assert (taken.status, taken.data["task"]["state"], taken.data["task"]["version"]) == (200, "acquired", 1)
    bench.fulfill("a", 1)
    done = bench.start("a")
    assert (done.status, done.data["task"]["state"], done.data["preload"]) == (200, "fulfilled", [])


def test_task_create_born_dead_is_fulfilled_at_version_0() -> None:
    bench = Bench()
    reply = bench.start("a", timeout_at=1_000)
    assert reply.data["task"] == {"id": "a", "state": "fulfilled", "version": 0, "resumes": 0}
    assert reply.data["promise"]["createdAt"] == reply.data["promise"]["settledAt"] == 1_000


def test_halt_keeps_settlements_and_continue_offers_the_task_again() -> None:
    bench = Bench()
    bench.start("a")
    bench.create("b")
    bench.suspend("a", 1, "b")
    assert bench.ask("task.halt", {"id": "a"}).status == 200
    assert bench.ask("task.halt", {"id": "a"}).status == 200
    bench.settle("b")
    assert bench.task("a") == {"id": "a", "state": "halted", "version": 1, "resumes": 1}
    assert bench.ask("task.continue", {"id": "a"}).status == 200
    assert bench.ask("task.continue", {"id": "a"}).status == 409
    assert bench.task("a")["state"] == "pending"
    assert bench.acquire("a", 1).data["task"]["resumes"] == 0


def test_halt_and_continue_say_what_is_missing() -> None:
    bench = Bench()
    assert bench.ask("task.halt", {"id": "x"}).status == 404
    assert bench.ask("task.continue", {"id": "x"}).status == 404
    bench.start("a")
    bench.fulfill("a", 1)
    assert bench.ask("task.halt", {"id": "a"}).data == "Task is fulfilled"


def test_a_listener_on_a_settled_promise_stores_nothing() -> None:
    bench = Bench()
    bench.create("a")
    bench.settle("a")
    reply = bench.ask("promise.register_listener", {"awaited": "a", "address": "poll://uni@g/p"})
    assert reply.data["promise"]["state"] == "resolved"
    assert bench.images()["a"].listeners == ()
    assert bench.ask("promise.register_listener", {"awaited": "x", "address": "poll://uni@g/p"}).status == 404


def test_a_listener_is_stored_once_and_outlives_the_settlement_until_it_is_told() -> None:
    bench = Bench()
    bench.create("a")
    for _ in range(2):
        bench.ask("promise.register_listener", {"awaited": "a", "address": "poll://uni@g/p"})
    bench.settle("a")
    assert bench.images()["a"].listeners == ("poll://uni@g/p",)


def test_a_delayed_birth_is_not_offered_before_its_instant_but_can_be_taken() -> None:
    bench = Bench()
    bench.create("a", target=TARGET, delay="9000")
    task = bench.images()["a"].task
    assert task is not None
    assert (task.hint_due_at, task.hint_attempt) == (9_000, -1)
    assert bench.acquire("a", 0).status == 200


def test_a_delay_in_the_past_is_no_delay() -> None:
    bench = Bench()
    bench.create("a", target=TARGET, delay="900")
    task = bench.images()["a"].task
    assert task is not None
    assert (task.hint_due_at, task.hint_attempt) == (3_000, 0)


def test_a_timer_with_a_target_is_never_offered() -> None:
    bench = Bench()
    bench.create("a", target=TARGET, timer="true")
    task = bench.images()["a"].task
    assert task is not None
    assert (task.state, task.hint_due_at) == ("pending", None)


def test_an_awaiter_past_its_own_deadline_is_not_resumed() -> None:
    bench = Bench()
    bench.start("a", timeout_at=2_000)
    bench.create("b", timeout_at=3_000)
    bench.suspend("a", 1, "b")
    bench.now_ms = 3_000
    bench.run(FireDeadlines(("b",)))
    task = bench.images()["a"].task
    assert task is not None
    assert (task.state, task.resumes, task.awaiting) == ("suspended", (), ())
    bench.run(FireDeadlines(("a",)))
    assert bench.task("a")["state"] == "fulfilled"


def test_promises_that_expire_together_do_not_resume_each_other() -> None:
    bench = Bench()
    bench.start("a", timeout_at=2_000)
    bench.create("b", timeout_at=2_000)
    bench.suspend("a", 1, "b")
    bench.now_ms = 2_000
    bench.run(FireDeadlines(("b", "a")))
    assert bench.task("a") == {"id": "a", "state": "fulfilled", "version": 1, "resumes": 0}


def test_the_first_settlement_resumes_and_later_ones_add_to_resumes() -> None:
    bench = Bench()
    bench.start("a")
    bench.create("b")
    bench.create("c")
    bench.suspend("a", 1, "b", "c", "b")
    bench.settle("b")
    bench.settle("c")
    assert bench.task("a")["resumes"] == 2


def test_fulfilling_a_task_ends_what_it_awaits() -> None:
    bench = Bench()
    bench.start("a")
    bench.create("b")
    bench.suspend("a", 1, "b")
    bench.settle("a", "rejected_canceled")
    assert bench.images()["b"].awaiters == ()
    bench.settle("b")
    assert bench.task("a")["state"] == "fulfilled"


def test_register_callback_covers_every_combination() -> None:
    bench = Bench()
    bench.create("plain")
    bench.create("awaited")
    bench.start("a")

    def register(awaited: str, awaiter: str) -> tuple[int, object]:
        reply = bench.ask("promise.register_callback", {"awaited": awaited, "awaiter": awaiter})
        return reply.status, reply.data

    assert register("missing", "a") == (404, "Awaited promise not found")
    assert register("awaited", "missing") == (422, "Awaiter promise not found")
    assert register("awaited", "plain") == (422, "Awaiter promise has no resonate:target tag")
    assert register("awaited", "a")[0] == 200
    assert register("awaited", "a")[0] == 200
    assert bench.images()["awaited"].awaiters == ("a",)
    bench.settle("awaited")
    assert bench.task("a")["resumes"] == 1
    assert register("awaited", "a")[0] == 200
    assert bench.task("a")["resumes"] == 1
    bench.ask("task.halt", {"id": "a"})
    assert register("awaited", "a")[0] == 200
    bench.settle("a")
    assert register("plain", "a")[0] == 200
    assert bench.images()["plain"].awaiters == ()


def test_register_callback_on_a_settled_promise_resumes_a_suspended_task_and_records_it() -> None:
    bench = Bench()
    bench.start("a")
    bench.create("b")
    bench.create("c")
    bench.settle("c")
    bench.suspend("a", 1, "b")
    bench.ask("promise.register_callback", {"awaited": "c", "awaiter": "a"})
    assert bench.task("a") == {"id": "a", "state": "pending", "version": 1, "resumes": 1}


def test_heartbeat_extends_only_what_the_caller_holds() -> None:
    bench = Bench()
    bench.start("mine")
    bench.start("theirs", pid="other")
    bench.start("old")
    bench.create("plain")
    bench.start("dying", timeout_at=1_500)
    bench.now_ms = 2_000
    refs = [("mine", 1), ("theirs", 1), ("old", 0), ("plain", 0), ("missing", 1), ("dying", 1)]
    beat = {"pid": "p", "tasks": [{"id": task, "version": version} for task, version in refs]}
    assert bench.ask("task.heartbeat", beat).data == {}
    leases = {one: image.task.lease_at for one, image in bench.images().items() if image.task}
    assert leases == {"mine": 7_000, "theirs": 6_000, "old": 6_000, "dying": 6_000}
    assert bench.ask("task.heartbeat", {"pid": "p", "tasks": []}).status == 200


def test_create_and_settle_ignore_what_comes_second() -> None:
    bench = Bench()
    first = bench.create("a", note="x").data
    assert bench.create("a", timeout_at=5, target=TARGET).data == first
    settled = bench.settle("a").data
    assert bench.settle("a", "rejected").data == settled
    assert bench.settle("missing").status == 404


def test_an_inner_settle_of_a_missing_promise_is_an_inner_404() -> None:
    bench = Bench()
    bench.start("a")
    reply = bench.fence("a", 1, "promise.settle", {"id": "x", "state": "resolved"})
    assert (reply.status, reply.data["action"]["head"]["status"]) == (200, 404)
    assert reply.data["action"]["data"] == "Promise not found"
    assert bench.fence("x", 1, "promise.settle", {"id": "y", "state": "resolved"}).status == 404
