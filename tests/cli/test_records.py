"""Promises, tasks and schedules from the command line, against a real server."""

from __future__ import annotations

import time

from tests.cli.conftest import Cli
from tests.support.extensions import ENABLED
from tests.support.server import ServerProcess

FAR = ("--timeout", "1h")


def test_a_promise_is_created_shown_and_settled_as_the_documentation_types_it(cli: Cli) -> None:
    created = cli("promises", "create", "p-1", *FAR, "--tag", "tenant=a", "--data", '{"n":1}').json()
    assert created["state"] == "pending"
    assert created["tags"] == {"tenant": "a"}
    assert created["param"] == {"data": '{"n": 1}'}
    assert 3_590_000 < created["timeoutAt"] - time.time() * 1000 < 3_610_000
    resolved = cli("promises", "resolve", "p-1", "--value", '{"headers": {}, "data": "\\"approved\\""}').json()
    assert resolved["state"] == "resolved"
    got = cli("promises", "get", "p-1").json()
    assert got["value"] == {"headers": {}, "data": '"approved"'}
    raw = cli("promises", "get", "p-1", "--raw", "--json").json()
    assert raw["value"]["data"] == "ImFwcHJvdmVkIg=="


def test_reject_and_cancel_settle_and_a_second_settle_says_so(cli: Cli) -> None:
    cli("promises", "create", "p-2", *FAR).json()
    cli("promises", "create", "p-3", *FAR).json()
    assert cli("promises", "reject", "p-2", "--data", "no").json()["state"] == "rejected"
    assert cli("promises", "cancel", "p-3").json()["state"] == "rejected_canceled"
    again = cli("promises", "resolve", "p-3")
    assert again.json()["state"] == "rejected_canceled"
    assert "stays rejected_canceled" in again.err


def test_what_the_server_refuses_goes_to_stderr_with_exit_code_1(cli: Cli) -> None:
    for arguments in (
        ["promises", "get", "nobody"],
        ["tasks", "get", "nobody"],
        ["schedules", "get", "nobody"],
        ["tree", "nobody"],
        ["promises", "create", "x" * 2000],
    ):
        ran = cli(*arguments)
        assert ran.code == 1, arguments
        assert ran.out == ""
        assert ran.err.startswith("error: ")
        assert "Traceback" not in ran.err


def test_promises_are_found_by_state_and_tag_and_paged(cli: Cli, server: ServerProcess) -> None:
    for number in range(5):
        server.call("promise.create", id=f"s-{number}", timeoutAt=2**52, tags={"set": "search"}, param={})
    server.call("promise.settle", id="s-3", state="resolved")
    tagged = ("promises", "search", "--tag", "set=search")
    pending = cli(*tagged, "--state", "pending", "--json").json()
    assert [one["id"] for one in pending["promises"]] == ["s-0", "s-1", "s-2", "s-4"]
    first = cli(*tagged, "--limit", "2", "--json").json()
    second = cli(*tagged, "--limit", "2", "--cursor", first["cursor"], "--json").json()
    assert [one["id"] for one in first["promises"] + second["promises"]] == ["s-0", "s-1", "s-2", "s-3"]
    every = cli(*tagged, "--limit", "2", "--all", "--json").json()
    assert len(every["promises"]) == 5
    assert "cursor" not in every
    table = cli(*tagged).out
    assert [line.split()[0] for line in table.splitlines()] == ["ID", "s-0", "s-1", "s-2", "s-3", "s-4"]
    assert cli("promises", "search", "--state", "done").code == 2


def test_a_task_is_halted_and_continued(cli: Cli) -> None:
    cli("invoke", "t-1", "--func", "nothing", "--target", "nobody").json()
    assert cli("tasks", "get", "t-1").json()["state"] == "pending"
    assert cli("tasks", "halt", "t-1").json()["state"] == "halted"
    halted = cli("tasks", "search", "--state", "halted", "--json").json()["tasks"]
    assert [one["id"] for one in halted] == ["t-1"]
    shown = cli("workers")
    assert ("tasks continue t-1" if "worker.hello" in ENABLED else "Unknown operation: worker.search") in shown.err
    assert cli("tasks", "continue", "t-1").json()["state"] == "pending"


def test_a_task_halted_for_its_failures_is_listed_with_the_reason(cli: Cli, server: ServerProcess) -> None:
    cli("invoke", "t-2", "--func", "nothing", "--target", "nobody").json()
    for version in range(10):
        assert server.call("task.acquire", id="t-2", version=version, pid="p", ttl=60_000)[0] == 200
        status, answer = server.call("task.release", id="t-2", version=version + 1, reason="out of memory")
        if "task.release" not in ENABLED:
            assert (status, answer) == (400, "reason: the task.release extension is switched off on this server")
            return
        assert status == 200
    assert "out of memory" in cli("tasks", "get", "t-2").json()["reason"]
    assert "out of memory" in cli("workers").err
    [halted] = cli("workers", "--json").json()["halted"]
    assert halted["id"] == "t-2"


def test_invoke_stores_the_call_as_every_sdk_reads_it(cli: Cli, server: ServerProcess) -> None:
    arguments = [
        "--arg",
        "1",
        "--arg",
        '{"a":2}',
        "--arg",
        "word",
        "--version",
        "3",
        "--target",
        "poll://any@elsewhere",
    ]
    record = cli("invoke", "i-1", "--func", "f", *arguments, "--timeout", "1h").json()
    assert record["param"]["data"] == '{"func":"f","args":[1,{"a":2},"word"],"version":3}'
    assert record["tags"]["resonate:target"] == "poll://any@elsewhere"
    assert server.state("i-1") == "pending"


def test_a_delayed_call_is_due_later(cli: Cli) -> None:
    before = time.time() * 1000
    record = cli("invoke", "i-2", "--func", "f", "--delay", "30s", "--target", "elsewhere").json()
    assert 29_000 < int(record["tags"]["resonate:delay"]) - before < 40_000


def test_a_schedule_is_created_with_weekdays_people_mean_shown_and_deleted(cli: Cli) -> None:
    ran = cli("schedules", "create", "weekdays", "--cron", "0 9 * * 1-5", "--func", "report", "--arg", "7")
    assert ran.json()["cron"] == "0 9 * * MON-FRI"
    assert ran.json()["promiseParam"]["data"] == '{"func":"report","args":[7],"version":1}'
    assert ran.err.count("09:00:00Z") == 3
    assert cli("schedules", "get", "weekdays", "--json").json()["id"] == "weekdays"
    assert "weekdays" in cli("schedules", "search").out
    found = cli("schedules", "search", "--json").json()["schedules"]
    assert [one["id"] for one in found] == ["weekdays"]
    changed = cli("schedules", "create", "weekdays", "--cron", "0 8 * * *", "--func", "report")
    assert "unchanged" in changed.err
    assert cli("schedules", "delete", "weekdays").json() == {"deleted": "weekdays"}
    assert cli("schedules", "get", "weekdays").code == 1


def test_a_cron_nobody_can_read_is_wrong_usage(cli: Cli) -> None:
    for cron in ("* * *", "0 0 9 * * 1", "61 * * * *"):
        ran = cli("schedules", "create", "bad", "--cron", cron, "--func", "f")
        assert ran.code == 2, cron
        assert "--cron" in ran.err
    assert cli("schedules", "create", "bad", "--cron", "* * * * *").code == 2
