"""`resonate-mq worker`: what it refuses, what flags change, how it ends."""

from __future__ import annotations

import json
import os
import re
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import Cli
from tests.cli.support import run_cli
from tests.support.eventually import eventually_sync
from tests.support.extensions import ENABLED
from tests.support.processes import RunningProcess, Spawner, command
from tests.support.server import ServerProcess

APP = """
import time
from resonate_mq import Context, Resonate

resonate = Resonate.remote(group="from-the-file")
local = Resonate.local()
named = Resonate.remote(pid="named")
empty = Resonate.remote()
client = Resonate.remote(worker=False)
number = 5


@resonate.register
def hello(ctx: Context) -> str:
    return "hello"


@named.register
@client.register
@local.register
def other(ctx: Context) -> str:
    return "other"


@resonate.register
def slow(ctx: Context, seconds: float) -> str:
    time.sleep(seconds)
    return "done"
"""
MORE = """
from app import empty

@empty.register(name="late", version=2)
def late(ctx):
    return "late"
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "app.py").write_text(APP)
    (tmp_path / "more.py").write_text(MORE)
    (tmp_path / "broken.py").write_text("import a_module_nobody_has\n")
    return tmp_path


@pytest.mark.parametrize(
    ("app", "said"),
    [
        ("app", "MODULE:NAME"),
        ("nowhere:resonate", "no module 'nowhere'"),
        ("app:nothing", "it has resonate, local"),
        ("app:number", "is a int"),
        ("app:local", "local client"),
        ("app:empty", "--import MODULE"),
        ("app:client", "worker=False"),
    ],
)
def test_what_cannot_work_is_refused_with_what_to_do(folder: Path, app: str, said: str) -> None:
    ran = run_cli("worker", app, cwd=folder)
    assert ran.code in (1, 2)
    assert said in ran.err
    assert "Traceback" not in ran.err


def test_an_import_that_fails_inside_the_users_module_shows_where(folder: Path) -> None:
    ran = run_cli("worker", "broken:resonate", cwd=folder)
    assert ran.code == 1
    assert "broken.py" in ran.err
    assert "a_module_nobody_has" in ran.err


def started(
    spawner: Spawner, folder: Path, app: str, *arguments: str, env: dict[str, str] | None = None
) -> RunningProcess:
    process = spawner([command("resonate-mq"), "worker", app, *arguments], "worker", cwd=folder, env=env)
    process.line_sync(r"working as pid", 60)
    return process


def test_flags_win_over_the_clients_own_arguments(
    spawner: Spawner, folder: Path, server: ServerProcess, cli: Cli
) -> None:
    arguments = ["--url", server.url, "--group", "from-a-flag", "--concurrency", "5"]
    started(spawner, folder, "app:resonate", *arguments, env={"RESONATE_GROUP": "from-the-environment"})
    if "worker.hello" in ENABLED:
        [worker] = eventually_sync(lambda: cli("workers", "--group", "from-a-flag", "--json").json()["workers"], 20)
        assert worker["concurrency"] == 5
    assert cli("invoke", "flag-1", "--func", "hello", "--target", "from-a-flag", "--wait").json() == "hello"


def test_the_environment_says_where_the_server_is(spawner: Spawner, folder: Path, server: ServerProcess) -> None:
    process = started(spawner, folder, "app:resonate", env={"RESONATE_URL": server.url, "RESONATE_GROUP": "ignored"})
    assert "from-the-file" in process.log()
    assert server.url in process.log()


def test_functions_of_imported_modules_are_executed_too(
    spawner: Spawner, folder: Path, server: ServerProcess, cli: Cli
) -> None:
    process = started(
        spawner, folder, "app:empty", "--import", "more", "--url", server.url, "--group", "late", "--json"
    )
    shown = json.loads(next(line for line in process.log().splitlines() if line.startswith("{")))
    assert shown["functions"] == [{"name": "late", "version": 2}]
    assert shown["addresses"] == ["poll://any@late"]
    assert cli("invoke", "late-1", "--func", "late", "--version", "2", "--target", "late", "--wait").json() == "late"


def test_sigterm_lets_what_runs_come_to_its_end(
    spawner: Spawner, folder: Path, server: ServerProcess, cli: Cli
) -> None:
    process = started(spawner, folder, "app:resonate", "--url", server.url, "--group", "drain")
    cli("invoke", "drain-1", "--func", "slow", "--arg", "1.5", "--target", "drain").json()
    eventually_sync(lambda: server.call("task.get", id="drain-1")[1]["task"]["state"] == "acquired", 20)
    process.sigterm()
    assert process.exited_sync(30) == 0
    assert server.state("drain-1") == "resolved"


def test_what_does_not_end_in_time_is_given_back(
    spawner: Spawner, folder: Path, server: ServerProcess, cli: Cli
) -> None:
    process = started(spawner, folder, "app:resonate", "--url", server.url, "--group", "back", "--drain", "0.2")
    cli("invoke", "back-1", "--func", "slow", "--arg", "60", "--target", "back").json()
    eventually_sync(lambda: server.call("task.get", id="back-1")[1]["task"]["state"] == "acquired", 20)
    process.sigterm()
    assert process.exited_sync(30) == 0
    assert server.call("task.get", id="back-1")[1]["task"]["state"] == "pending"


def test_a_second_signal_exits_at_once(spawner: Spawner, folder: Path, server: ServerProcess, cli: Cli) -> None:
    process = started(spawner, folder, "app:resonate", "--url", server.url, "--group", "twice", "--drain", "60")
    cli("invoke", "twice-1", "--func", "slow", "--arg", "60", "--target", "twice").json()
    eventually_sync(lambda: server.call("task.get", id="twice-1")[1]["task"]["state"] == "acquired", 20)
    process.sigterm()
    process.line_sync(r"SIGTERM", 20)
    process.sigterm()
    assert process.exited_sync(10) == 130


def test_the_health_port_tells_whether_work_can_flow(spawner: Spawner, folder: Path, server: ServerProcess) -> None:
    arguments = ["--url", server.url, "--group", "health", "--health", "127.0.0.1:0"]
    process = started(spawner, folder, "app:resonate", *arguments)
    url = process.line_sync(r"^health +(http://\S+)$", 20)[1]

    def ready() -> bool:
        try:
            with urllib.request.urlopen(url + "/ready", timeout=10) as response:
                return bool(response.status == 200)
        except urllib.error.HTTPError:
            return False  # 503 until the stream to the server is there

    eventually_sync(ready, 20)
    with urllib.request.urlopen(url + "/metrics", timeout=10) as response:
        assert b"slots" in response.read()


def test_several_processes_share_the_work_and_end_together(
    spawner: Spawner, folder: Path, server: ServerProcess, cli: Cli
) -> None:
    arguments = ["--url", server.url, "--group", "many", "--processes", "2"]
    process = spawner([command("resonate-mq"), "worker", "app:named", *arguments], "workers", cwd=folder)

    def two() -> list[dict[str, Any]] | None:
        found = cli("workers", "--group", "many", "--json").json()["workers"]
        return found if len(found) == 2 else None

    if "worker.hello" in ENABLED:
        found = eventually_sync(two, 60, every_s=0.2)
        assert [one["pid"] for one in found] == ["named-0", "named-1"]
    else:
        eventually_sync(lambda: len(re.findall("working as pid", process.log())) == 2, 60)
    children = {int(line) for line in _children(process.pid)}
    assert len(children) == 2
    process.sigterm()
    assert process.exited_sync(30) == 0
    assert all(not Path(f"/proc/{pid}").exists() for pid in children)


def _children(pid: int) -> list[str]:
    return Path(f"/proc/{pid}/task/{pid}/children").read_text().split() if os.path.exists(f"/proc/{pid}") else []
