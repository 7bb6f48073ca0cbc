"""Every Python block of the documents that these features cover, in local mode and against a server (B19)."""

import json
import time
from textwrap import indent
from typing import Any

import pytest

from resonate_mq import Context
from resonate_mq.errors import ResonateStoreError
from tests.seeds.stage import BLOCKS, Stage
from tests.support.eventually import eventually_sync


def test_hello_world_greets_three_times(stage: Stage) -> None:
    space = stage.play("000_hello_world", resonate=stage.process())
    expected = "Hello World from foo! Hello World from bar! Hello World from baz!"
    assert space["foo"].run("greet", "World") == expected
    assert space["foo"].run("greet-keyword", greetee="World") == expected


def test_greeting_of_the_temporal_page(stage: Stage) -> None:
    assert stage.play("002_greeting", resonate=stage.process())["foo"].run("g", "World") == "Hello World from bar!"


def test_factorial_calls_itself(stage: Stage, capsys: pytest.CaptureFixture[str]) -> None:
    resonate = stage.process("factorial-worker")
    space = stage.play("000_factorial", resonate=resonate)
    space["main"]()
    assert capsys.readouterr().out == "120\n"
    assert resonate.get("factorial-3").result(10) == 6


@pytest.mark.parametrize("block", ["000_zero_dependency", "003_initialize"])
def test_local_mode_needs_nothing(stage: Stage, block: str) -> None:
    resonate = stage.play(block)["resonate"]

    @resonate.register  # type: ignore[untyped-decorator]
    def one(ctx: Context) -> int:
        return 1

    assert one.run("one") == 1


def test_fan_out_starts_both_before_either_is_awaited(stage: Stage) -> None:
    resonate = stage.process()
    started: dict[str, float] = {}
    ended: dict[str, float] = {}

    def work(name: str) -> None:
        started[name] = time.monotonic()
        eventually_sync(lambda: len(started) == 2, within_s=10)
        ended[name] = time.monotonic()

    @resonate.register
    def send_email(ctx: Context, event: str) -> str:
        work("email")
        return f"email {event} {ctx.id}"

    @resonate.register
    def send_sms(ctx: Context, event: str) -> str:
        work("sms")
        return f"sms {event} {ctx.id}"

    block = (BLOCKS / "000_fan_out.txt").read_text()
    source = "@resonate.register\ndef notify(ctx, event):\n" + indent(block, "    ") + "    return [email, sms]\n"
    space = stage.play_source(source, "000_fan_out", resonate=resonate, send_email=send_email, send_sms=send_sms)
    assert space["notify"].run("n", "hi") == ["email hi n.email", "sms hi n.sms"]
    assert max(started.values()) <= min(ended.values())


@pytest.mark.parametrize(
    ("block", "said"),
    [
        ("000_durable_sleep", "Workflow w completed after sleeping for 0.3 seconds."),
        ("002_sleep", "Workflow w slept for 0.3 seconds."),
    ],
)
def test_a_workflow_sleeps_durably(stage: Stage, block: str, said: str) -> None:
    resonate = stage.process()
    space = stage.play(block, resonate=resonate)
    started = time.monotonic()
    assert space["sleeping_workflow"].run("s", "w", 0.3) == said
    assert time.monotonic() - started >= 0.3
    assert resonate.promises.get("s.1").resolved


def test_a_schedule_creates_promises_that_call_the_function(stage: Stage) -> None:
    resonate = stage.process()

    @resonate.register
    def job(ctx: Context, number: int) -> int:
        return number * 6

    resonate.start()
    stage.play("000_schedule", resonate=resonate)
    schedule = resonate.schedules.get("my-schedule")
    assert schedule.next_runtime % 60_000 == 0
    assert 0 < schedule.next_runtime - time.time() * 1000 <= 60_000
    assert schedule.promise_tags["resonate:target"] == "poll://any@default"
    # the same once more, every second instead of every minute
    source = (BLOCKS / "000_schedule.txt").read_text().replace('"* * * * *"', '"* * * * * *"')
    stage.play_source(source.replace("my-schedule", "quick"), "000_schedule", resonate=resonate)
    fired = eventually_sync(lambda: resonate.schedules.get("quick").last_runtime, within_s=10)
    assert resonate.get(f"quick.{fired}").result(10) == 42


def test_a_human_unblocks_a_workflow_and_repeats_itself(stage: Stage) -> None:
    resonate = stage.process()
    sent: list[str] = []

    def send_email(ctx: Context, promise_id: str) -> None:
        sent.append(promise_id)

    foo = stage.play("000_human_worker", resonate=resonate, send_email=send_email)["foo"]
    handle = foo.begin_run("hitl", "w")
    eventually_sync(lambda: bool(sent), within_s=10)
    assert sent == ["hitl.1"]
    assert not handle.done()
    gateway = resonate if stage.is_local else stage.process("gateway")
    for _ in range(2):
        stage.play("000_human_gateway", resonate=gateway, promise_id=sent[0])
    assert handle.result(10) is None


def test_a_human_sends_data_to_a_workflow(stage: Stage) -> None:
    resonate = stage.process()
    received: list[Any] = []
    foo = stage.play("002_human_worker", resonate=resonate, received=received)["foo"]
    handle = foo.begin_run("hitl")
    eventually_sync(lambda: _exists(resonate, "hitl.1"), within_s=10)
    client = resonate if stage.is_local else stage.process("client")
    stage.play("002_human_client", resonate=client, promise_id="hitl.1", data={"ok": [1, 2]})["main"]()
    assert handle.result(10) is None
    assert received == [{"ok": [1, 2]}]


@pytest.mark.parametrize("fails", [False, True])
def test_a_saga_commits_or_compensates(stage: Stage, fails: bool) -> None:
    resonate = stage.process()
    ledger: dict[str, tuple[str, int, str]] = {}

    def apply_entry(ctx: Context, op: str, account: str, amount: int, kind: str) -> None:
        ledger.setdefault(op, (account, amount, kind))

    def credit_target(ctx: Context, op: str, target: str, amount: int, *, fail: bool = False) -> None:
        if fail:
            raise RuntimeError("the bank said no")
        ledger.setdefault(op, (target, amount, "credit"))

    space = stage.play("000_saga", apply_entry=apply_entry, credit_target=credit_target)
    transfer = resonate.register(space["transfer_money"])
    outcome = transfer.run("t", "t1", "alice", "bob", 100, simulate_credit_failure=fails)
    assert ledger["t1-debit"] == ("alice", -100, "debit")
    if fails:
        assert outcome == {"transfer_id": "t1", "status": "compensated", "error": "the bank said no"}
        assert ledger["t1-reversal"] == ("alice", 100, "reversal")
    else:
        assert outcome == {"transfer_id": "t1", "status": "committed"}
        assert ledger["t1-credit"] == ("bob", 100, "credit")
    assert len(ledger) == 2


def test_a_client_group_calls_a_worker_group(stage: Stage) -> None:
    if stage.is_local:
        source = (BLOCKS / "000_workers.txt").read_text().replace("Resonate.remote", "Resonate.local")
        worker = stage.play_source(source, "000_workers", Resonate=__import__("resonate").Resonate)["resonate"]
    else:
        worker = stage.play("000_workers", Resonate=__import__("resonate").Resonate)["resonate"]
    assert worker.settings.group == "workers"

    @worker.register  # type: ignore[untyped-decorator]
    def function_name(ctx: Context, params: dict[str, int]) -> int:
        return sum(params.values())

    worker.start()
    source = (BLOCKS / "000_client.txt").read_text()
    names = {"promise_id": "call", "params": {"a": 1, "b": 2}}
    if stage.is_local:
        source, names["resonate"] = source[source.index("def main") :], worker
    space = stage.play_source(source, "000_client", Resonate=__import__("resonate").Resonate, **names)
    assert space["main"]() == 3


def test_a_function_is_registered(stage: Stage) -> None:
    assert stage.play("003_register", resonate=stage.process())["foo"].run("r", "x") == "x"


def test_run_and_begin_run_with_one_id_give_one_result(stage: Stage) -> None:
    assert stage.play("003_run", resonate=stage.process())["main"]() == ("Hello World!", "Hello World!")


def test_rpc_and_begin_rpc_reach_a_bare_group(stage: Stage) -> None:
    worker = stage.process("process-group-x")
    stage.play("003_rpc_worker", resonate=worker)
    worker.start()
    caller = worker if stage.is_local else stage.process("process-y")
    assert stage.play("003_rpc_client", resonate=caller)["main"]() == ("Hello World!", "Hello World!")
    target = caller.promises.get("invocation_id").tags["resonate:target"]
    assert target == "poll://any@process-group-x"


@pytest.mark.parametrize(("settle", "state"), [("resolve", "RESOLVED"), ("reject", "REJECTED")])
def test_promises_are_created_found_and_settled(stage: Stage, settle: str, state: str) -> None:
    resonate = stage.process()
    stage.play("003_promises_create", resonate=resonate)
    assert resonate.promises.get("promise-id").pending
    stage.play(f"003_promises_{settle}", resonate=resonate)
    assert resonate.promises.get("promise-id").state == state


def test_dependencies_are_set_and_got(stage: Stage) -> None:
    resonate = stage.process()
    stage.play("003_set_dependency", resonate=resonate, db_connection={"x": 7})
    resonate.set_dependency("database-connection", {"x": 7})
    assert stage.play("003_get_dependency", resonate=resonate)["foo"].run("d", "x") == 7


def test_the_context_runs_functions_of_this_process(stage: Stage) -> None:
    assert stage.play("003_context_run", resonate=stage.process())["foo"].run("c", "x") == ["x", "x"]


def test_the_context_calls_functions_of_another_process(stage: Stage) -> None:
    resonate = stage.process()
    other = resonate if stage.is_local else stage.process()
    stage.play("003_context_rpc_y", resonate=other)
    other.start()
    assert stage.play("003_context_rpc_x", resonate=resonate)["foo"].run("c", "x") == "x"


def test_the_context_waits_for_a_promise_by_id(stage: Stage) -> None:
    resonate = stage.process()
    handle = stage.play("003_context_promise", resonate=resonate)["foo"].begin_run("c", "x")
    eventually_sync(lambda: _exists(resonate, "promise-id"), within_s=10)
    assert not handle.done()
    resonate.promises.resolve("promise-id")
    assert handle.result(10) == "x"


def test_the_context_sleeps(stage: Stage) -> None:
    resonate = stage.process()
    source = (BLOCKS / "003_sleep.txt").read_text().replace("5.0", "0.4")
    foo = stage.play_source(source, "003_sleep", resonate=resonate)["foo"]
    started = time.monotonic()
    assert foo.run("c", "x") == "x"
    assert 0.4 <= time.monotonic() - started < 5


@pytest.mark.parametrize("block", ["003_random", "003_time"])
def test_random_and_time_are_the_same_across_a_replay(stage: Stage, block: str) -> None:
    resonate = stage.process()
    foo: Any = stage.play(block, resonate=resonate)["foo"]
    handle = foo.begin_run("c", "gate")
    eventually_sync(lambda: _exists(resonate, "gate"), within_s=10)
    recorded = json.loads(resonate.promises.get("c.1").value.data or "")
    resonate.promises.resolve("gate")
    assert handle.result(10) == recorded
    assert foo.run("other", "gate") != recorded


def _exists(resonate: Any, promise_id: str) -> bool:
    try:
        resonate.promises.get(promise_id)
    except ResonateStoreError:
        return False
    return True
