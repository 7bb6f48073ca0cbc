"""`resonate-mq demo` as people see it: real processes, real kills, over HTTP and over RabbitMQ."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli.support import Ran, run_cli
from tests.support.processes import Spawner, command


def played(*arguments: str, folder: Path) -> Ran:
    ran = run_cli("demo", *arguments, env={"TMPDIR": str(folder)})
    assert ran.code == 0, ran
    return ran


def test_the_demo_survives_its_kills_and_keeps_its_folder_when_told(tmp_path: Path) -> None:
    ran = played("--keep", folder=tmp_path)
    assert "SIGKILL to worker-a" in ran.out
    assert "SIGKILL to server" in ran.out
    assert "100 of 100 steps recorded, 20 of 20 orders finished" in ran.out
    assert "no step is missing, and no step ran again after its result was recorded" in ran.out
    assert "(rpc place_order)" in ran.out
    assert "What to try next" in ran.out
    [kept] = tmp_path.iterdir()
    attempts = len((kept / "ledger.jsonl").read_text().splitlines())
    assert f"100 steps, {attempts} attempts, 2 processes killed with SIGKILL" in ran.out
    assert attempts == 100 + ran.out.count("  ran twice: ")


@pytest.mark.broker
def test_the_demo_survives_the_same_over_rabbitmq_reports_as_json_and_cleans_up(tmp_path: Path, amqp_url: str) -> None:
    report = json.loads(played("--json", "--transport", amqp_url, folder=tmp_path).out)
    assert report["ok"] is True
    assert report["steps"] == 100
    assert [kill["what"] for kill in report["kills"]] == ["worker", "server"]
    assert report["attempts"] == 100 + len(report["repeats"])
    assert list(tmp_path.iterdir()) == []


def test_a_demo_that_is_stopped_leaves_nothing_behind(spawner: Spawner, tmp_path: Path) -> None:
    folder = tmp_path / "temporary"
    folder.mkdir()
    process = spawner([command("resonate-mq"), "demo"], "demo", env={"TMPDIR": str(folder)})
    process.line_sync("placing 20 orders", 60)
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    assert len(children) == 3
    process.sigterm()
    assert process.exited_sync(30) == 130
    assert [pid for pid in children if Path(f"/proc/{pid}").exists()] == []
    assert list(folder.iterdir()) == []


def test_a_transport_the_demo_cannot_use_is_wrong_usage() -> None:
    ran = run_cli("demo", "--transport", "kafka://x")
    assert ran.code == 2
    assert "amqp://" in ran.err
