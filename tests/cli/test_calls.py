"""Calls from the command line with a real worker: results, the tree, the list of workers, a person's decision."""

from __future__ import annotations

import pytest

from tests.cli.conftest import Cli
from tests.support.eventually import eventually_sync
from tests.support.extensions import ENABLED
from tests.support.processes import RunningProcess, Spawner, command
from tests.support.server import ServerProcess

pytestmark = pytest.mark.usefixtures("sample_worker")


def test_invoke_waits_for_the_result_and_prints_it_as_json(cli: Cli) -> None:
    ran = cli("invoke", "hello-1", "--func", "greet", "--arg", "Ada", "--wait")
    assert ran.json() == "Hello, Ada!"
    again = cli("invoke", "hello-1", "--func", "greet", "--arg", "Bob", "--wait")
    assert again.json() == "Hello, Ada!"
    assert "nothing new was started" in again.err


def test_a_call_that_fails_is_exit_code_1_with_the_error(cli: Cli) -> None:
    ran = cli("invoke", "hello-2", "--func", "countdown", "--arg", "oops", "--arg", "0", "--wait")
    assert ran.code == 1
    assert ran.out == ""
    assert "hello-2 was rejected" in ran.err


def test_a_decision_from_the_command_line_lets_a_workflow_go_on(
    cli: Cli, spawner: Spawner, server: ServerProcess
) -> None:
    waiting = spawner(
        [command("resonate-mq"), "invoke", "leave-1", "--func", "approval", "--arg", "leave", "--wait"],
        env={"RESONATE_URL": server.url},
    )
    eventually_sync(lambda: server.state("leave-decision") == "pending", 30)
    cli("promises", "resolve", "leave-decision", "--value", '{"headers": {}, "data": "\\"approved\\""}').json()
    assert waiting.exited_sync(30) == 0
    assert '"leave: approved"' in waiting.log()


def test_the_tree_shows_the_calls_below_a_call(cli: Cli) -> None:
    assert cli("invoke", "count-1", "--func", "countdown", "--arg", "2", "--arg", "0.05", "--wait").json() == "lift-off"
    node = cli("tree", "count-1", "--json").json()
    assert (node["id"], node["state"], node["kind"], node["func"]) == ("count-1", "resolved", "rpc", "countdown")
    kinds = [(child["id"], child["kind"], child["func"]) for child in node["children"]]
    assert kinds == [
        ("count-1.1", "run", "say"),
        ("count-1.2", "sleep", None),
        ("count-1.3", "run", "say"),
        ("count-1.4", "sleep", None),
    ]
    lines = cli("tree", "count-1").out.splitlines()
    assert len(lines) == 5
    assert lines[0].startswith("count-1 🟢 (rpc countdown)")
    assert lines[1].startswith("├─ count-1.1 🟢 (run say)")
    assert lines[4].startswith("└─ count-1.4 🟢 (sleep)")
    assert "2 more" in cli("tree", "count-1", "--limit", "3").out


def test_the_tree_of_a_call_that_waits_says_what_its_task_does(cli: Cli, server: ServerProcess) -> None:
    cli("invoke", "leave-2", "--func", "approval", "--arg", "later").json()
    eventually_sync(lambda: server.state("later-decision") == "pending", 30)
    eventually_sync(lambda: cli("tree", "leave-2", "--json").json()["task"] == "suspended", 30, every_s=0.2)
    lines = cli("tree", "leave-2").out.splitlines()
    assert lines[0] == "leave-2 🟡 (rpc approval) suspended"
    assert lines[1] == "└─ later-decision 🟡 (promise) pending"


def test_workers_are_listed_with_what_they_execute(cli: Cli) -> None:
    if "worker.hello" not in ENABLED:
        refused = cli("workers", "--json")
        assert refused.code == 1
        assert "does not announce 'worker.hello'" in refused.err
        return
    [worker] = cli("workers", "--json").json()["workers"]
    assert worker["group"] == "default"
    assert worker["concurrency"] == 32
    assert {"name": "greet", "version": 1} in worker["functions"]
    assert worker["lastSeenAt"] > 0
    table = cli("workers").out.splitlines()
    assert table[0].split() == ["GROUP", "PID", "SLOTS", "FREE", "SEEN", "HOLDS", "FUNCTIONS"]
    assert worker["pid"] in table[1]
    assert cli("workers", "--group", "others", "--json").json()["workers"] == []


def test_the_worker_says_what_it_executes_and_where_it_listens(sample_worker: RunningProcess) -> None:
    log = sample_worker.log()
    assert "function   greet v1" in log
    assert "poll://any@default" in log
