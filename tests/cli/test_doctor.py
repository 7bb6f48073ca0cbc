"""`resonate-mq doctor`: what works is said, what does not comes with what to do."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import Cli
from tests.cli.support import run_cli
from tests.support.extensions import ENABLED
from tests.support.server import ServerProcess


def findings(ran: Any) -> dict[str, dict[str, Any]]:
    import json

    return {one["subject"]: one for one in json.loads(ran.out)["findings"]}


def test_a_server_in_order_is_found_in_order(cli: Cli, server: ServerProcess) -> None:
    store = f"sqlite:///{server.folder / 'server.db'}"
    ran = cli("doctor", "--store", store, "--address", "poll://any@default", "--address", "default", "--json")
    assert ran.code == 0
    found = findings(ran)
    assert {one["state"] for subject, one in found.items() if subject != "workers"} == {"ok"}
    assert found["readiness"]["found"] == "ready"
    if not ENABLED:
        assert "announces no extensions" in found[f"server {server.url}"]["found"]
        assert not {"clock", "workers"} & found.keys()
        return
    assert found["clock"]["found"].startswith("agrees")
    assert found["workers"]["state"] == "warning"
    assert "resonate-mq worker" in found["workers"]["advice"]


def test_a_task_nobody_can_execute_is_a_failure(cli: Cli) -> None:
    cli("invoke", "waiting", "--func", "f", "--target", "nobody").json()
    ran = cli("doctor", "--json")
    if "worker.hello" not in ENABLED:  # nobody knows which workers there are
        assert (ran.code, "workers" in findings(ran)) == (0, False)
        return
    assert ran.code == 1
    assert "1 tasks wait" in findings(ran)["workers"]["found"]


def test_a_server_that_is_away_a_broker_that_is_away_and_bad_addresses_fail_with_advice(tmp_path: Path) -> None:
    ran = run_cli(
        "doctor",
        *("--server", "http://127.0.0.1:9", "--store", f"sqlite:///{tmp_path}/missing/folder/a.db"),
        *("--address", "nats://any@g", "--address", "poll://any@", "--transport", "kafka=kafka://127.0.0.1:9"),
    )
    assert ran.code == 1
    failed = [line for line in ran.out.splitlines() if line.startswith("FAIL")]
    for subject in ("server", "store", "address nats://any@g", "address poll://any@", "transport kafka"):
        assert any(subject in line for line in failed), subject
    assert "resonate-mq dev" in ran.out
    assert "mkdir -p" in ran.out


def test_a_damaged_store_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.db").write_bytes(b"this is no database" * 100)
    ran = run_cli("doctor", "--server", "http://127.0.0.1:9", "--store", f"sqlite:///{tmp_path}/a.db")
    assert ran.code == 1
    assert "cannot be read" in ran.out


@pytest.mark.broker
def test_a_broker_is_tried_out_and_its_password_stays_secret(cli: Cli, amqp_url: str) -> None:
    subject = "transport amqp=" + amqp_url.replace("guest:guest@", "guest:***@")
    assert findings(cli("doctor", "--transport", f"amqp={amqp_url}", "--json"))[subject]["found"] == "connected"
    wrong = amqp_url.replace("guest:guest@", "guest:geheim@")
    ran = cli("doctor", "--transport", f"amqp={wrong}")
    assert ran.code == 1
    assert "geheim" not in ran.out + ran.err
