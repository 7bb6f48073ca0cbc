"""`serve` and `dev` as processes: start, stop, refusals."""

from __future__ import annotations

import json
import threading
import urllib.error
import urllib.request
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

from tests.cli.support import run_cli
from tests.support.eventually import eventually_sync
from tests.support.processes import RunningProcess, Spawner, command, free_port


def started(spawner: Spawner, *arguments: str, env: dict[str, str] | None = None) -> tuple[RunningProcess, str]:
    process = spawner([command("resonate-mq"), *arguments], "server", env=env)
    found = process.line_sync(r"^ready on (http://\S+)$", 60)
    return process, found[1]


def call(url: str, kind: str, data: dict[str, object], token: str | None = None) -> tuple[int, object]:
    head = {"corrId": "1", "version": "2026-04-01"} | ({} if token is None else {"auth": token})
    body = json.dumps({"kind": kind, "head": head, "data": data}).encode()
    try:
        with urllib.request.urlopen(urllib.request.Request(url + "/", body), timeout=20) as response:
            answer = json.loads(response.read())
    except urllib.error.HTTPError as error:
        answer = json.loads(error.read())
    return answer["head"]["status"], answer["data"]


def test_serve_says_where_it_listens_and_ends_with_0_on_sigterm(spawner: Spawner, tmp_path: Path) -> None:
    store = f"sqlite:///{tmp_path / 'a.db'}"
    process, url = started(spawner, "serve", "--store", store, "--listen", "127.0.0.1:0")
    assert call(url, "promise.get", {"id": "x"})[0] == 404
    process.sigterm()
    assert process.exited_sync(30) == 0
    assert "stopped" in process.log()
    assert "Traceback" not in process.log()


def test_what_is_served_from_sqlite_survives_a_restart_and_dev_forgets(spawner: Spawner, tmp_path: Path) -> None:
    promise = {"id": "kept", "timeoutAt": 9_000_000_000_000, "tags": {}}
    serve = ["serve", "--store", f"sqlite:///{tmp_path / 'a.db'}", "--listen", "127.0.0.1:0"]
    for arguments, expected in ((serve, 200), (["dev", "--listen", "127.0.0.1:0"], 404)):
        process, url = started(spawner, *arguments)
        assert call(url, "promise.create", promise)[0] == 200
        process.sigterm()
        assert process.exited_sync(30) == 0
        process, url = started(spawner, *arguments)
        assert call(url, "promise.get", {"id": "kept"})[0] == expected
        process.sigterm()
        assert process.exited_sync(30) == 0


def test_a_port_in_use_is_a_clear_error_with_exit_code_1(spawner: Spawner) -> None:
    port = free_port()
    started(spawner, "dev", "--listen", f"127.0.0.1:{port}")
    ran = run_cli("dev", "--listen", f"127.0.0.1:{port}")
    assert ran.code == 1
    assert f"127.0.0.1:{port}" in ran.err
    assert "in use" in ran.err
    assert "Traceback" not in ran.err


def test_a_store_that_is_being_served_is_refused_by_name(spawner: Spawner, tmp_path: Path) -> None:
    store = f"sqlite:///{tmp_path / 'a.db'}"
    started(spawner, "serve", "--store", store, "--listen", "127.0.0.1:0")
    ran = run_cli("serve", "--store", store, "--listen", "127.0.0.1:0")
    assert ran.code == 1
    assert "a.db" in ran.err
    assert "Traceback" not in ran.err


def test_other_machines_are_served_only_with_a_token(spawner: Spawner) -> None:
    ran = run_cli("dev", "--listen", "0.0.0.0:0")
    assert ran.code == 1
    assert "--token" in ran.err
    process, _ = started(spawner, "dev", "--listen", "0.0.0.0:0", "--token", "geheim")
    assert "geheim" not in process.log()


def test_a_token_is_asked_for_and_taken_from_flag_or_environment(spawner: Spawner) -> None:
    _, url = started(spawner, "dev", "--listen", "127.0.0.1:0", env={"RESONATE_MQ_SERVER__TOKEN": "geheim"})
    assert call(url, "promise.get", {"id": "x"})[0] == 401
    assert call(url, "promise.get", {"id": "x"}, "geheim")[0] == 404
    ran = run_cli("promises", "get", "x", "--server", url)
    assert ran.code == 1
    assert "--token" in ran.err
    assert "404" in run_cli("promises", "get", "x", "--server", url, "--token", "geheim").err
    assert "404" in run_cli("promises", "get", "x", env={"RESONATE_URL": url, "RESONATE_TOKEN": "geheim"}).err


def test_the_effective_configuration_is_printed_with_secrets_masked(spawner: Spawner, tmp_path: Path) -> None:
    config = tmp_path / "server.toml"
    config.write_text('[server]\nname = "from-file"\n[store]\nurl = "memory://"\n')
    arguments = ["serve", "--config", str(config), "--listen", "127.0.0.1:0", "--json"]
    arguments += ["--transport", "amqp=amqp://user:geheim@127.0.0.1:9/", "--disable-extension", "claim"]
    process, url = started(spawner, *arguments, env={"RESONATE_MQ_SERVER__SHUTDOWN_S": "3"})
    shown = json.loads(next(line for line in process.log().splitlines() if line.startswith("{")))
    assert shown["server"]["name"] == "from-file"
    assert shown["server"]["shutdown_s"] == 3.0
    assert shown["transports"] == {"amqp": "amqp://user:***@127.0.0.1:9/"}
    assert "geheim" not in process.log()
    status, info = call(url, "server.info", {})
    assert status == 200
    assert isinstance(info, dict)
    assert info["name"] == "from-file"
    assert "claim" not in info["capabilities"]


def test_http_push_goes_only_where_it_is_allowed(spawner: Spawner) -> None:
    pushed: list[bytes] = []

    class Receiver(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            pushed.append(self.rfile.read(int(self.headers["content-length"])))
            self.send_response(204)
            self.end_headers()

        def log_message(self, *args: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Receiver) as receiver:
        threading.Thread(target=receiver.serve_forever, daemon=True).start()
        _, url = started(spawner, "dev", "--listen", "127.0.0.1:0", "--push-host", "127.0.0.1")
        for number, host in enumerate(("localhost", "127.0.0.1")):
            target = f"http://{host}:{receiver.server_port}/"
            env = {"RESONATE_URL": url}
            assert run_cli("invoke", f"push-{number}", "--func", "f", "--target", target, env=env).code == 0
        eventually_sync(lambda: pushed, 20)
        receiver.shutdown()
    assert [json.loads(body)["data"]["task"]["id"] for body in pushed] == ["push-1"]


def test_what_cannot_be_configured_is_wrong_usage() -> None:
    for arguments, said in (
        (["serve", "--transport", "amqp"], "NAME=URL"),
        (["serve", "--listen", "8001"], "HOST:PORT"),
        (["serve", "--disable-extension", "bach"], "bach"),
        (["serve", "--store", "mongodb://x"], "mongodb"),
        (
            ["serve", "--store", "memory://", "--transport", "hook=https://u:hidden@h/"],
            "hook=https://u:***@h/: a server",
        ),
    ):
        ran = run_cli(*arguments)
        assert ran.code in (1, 2), arguments
        assert said in ran.err
        assert "Traceback" not in ran.err
