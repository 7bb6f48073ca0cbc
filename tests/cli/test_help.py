"""The command line answers at once, and says what it was given when it cannot use it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import typer.main

from tests.cli.support import run_cli

COMMANDS = [
    "dev",
    "serve",
    "worker",
    "invoke",
    "promises",
    "tasks",
    "workers",
    "schedules",
    "tree",
    "doctor",
    "demo",
]  # as the README and the documentation name them


def test_help_lists_every_command() -> None:
    ran = run_cli("--help")
    assert ran.code == 0
    for name in COMMANDS:
        assert f"\n  {name} " in ran.out


def test_help_does_not_load_what_only_commands_need() -> None:
    heavy = {"aiohttp", "pydantic", "uvicorn", "starlette", "orjson", "rich", "uvloop", "aio_pika", "prometheus_client"}
    code = f"import sys, resonate_mq.cli.app; print(sorted({heavy!r} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_every_command_has_a_json_form() -> None:
    from resonate_mq.cli.app import app

    def leaves(command: Any, path: str) -> Iterator[tuple[str, Any]]:
        inner = getattr(command, "commands", None)
        if inner is None:
            yield path, command
        for name, one in (inner or {}).items():
            yield from leaves(one, f"{path} {name}".strip())

    every = dict(leaves(typer.main.get_command(app), ""))
    assert {"promises resolve", "tasks continue", "schedules create", "demo", "serve"} <= every.keys()
    without = [path for path, one in every.items() if not any("--json" in option.opts for option in one.params)]
    assert without == []


def test_wrong_usage_is_exit_code_2_on_stderr() -> None:
    for arguments in (["nonsense"], ["promises", "get"], ["invoke", "x", "--nonsense"], ["serve", "--listen"]):
        ran = run_cli(*arguments)
        assert ran.code == 2, arguments
        assert ran.out == ""
        assert ran.err != ""


def test_the_version_is_printed() -> None:
    ran = run_cli("--version")
    assert ran.code == 0
    assert ran.out.strip()[0].isdigit()


def test_a_server_that_is_not_there_is_named_with_what_to_do() -> None:
    ran = run_cli("promises", "get", "x", "--server", "http://127.0.0.1:9")
    assert ran.code == 1
    assert ran.out == ""
    assert "http://127.0.0.1:9" in ran.err
    assert "resonate-mq dev" in ran.err


def test_a_server_url_that_is_none_is_wrong_usage() -> None:
    ran = run_cli("promises", "get", "x", "--server", "localhost:8001")
    assert ran.code == 2
    assert "http://HOST:PORT" in ran.err
