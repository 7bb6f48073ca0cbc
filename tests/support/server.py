"""Our server as a real process on SQLite, to talk to over HTTP, kill with SIGKILL and start again on the same data.

Owns one server's folder, port and process. Knows the command line and the envelope, nothing inside the
server.
"""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.support.eventually import eventually_sync
from tests.support.processes import RunningProcess, command, free_port, spawn

READY_TIMEOUT_S = 60.0
"""Start-up takes about a second; two busy cores may take many times that."""


class ServerProcess:
    """`resonate-mq serve` with its store in ``folder``; every start uses the same port and store.

    ``program`` stands in for ``resonate-mq``: a server with a fault built in, for tests of the tests.
    """

    def __init__(self, folder: Path, arguments: Sequence[str] = (), program: Sequence[str] | None = None) -> None:
        self.folder = folder
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._arguments = list(arguments)
        self._program = [command("resonate-mq")] if program is None else list(program)
        self._starts = 0
        self.process: RunningProcess | None = None

    def start(self) -> None:
        """Run it and return when ``GET /ready`` answers 200."""
        assert self.process is None or self.process.returncode is not None, "the server already runs"
        self._starts += 1
        argv = [*self._program, "serve", "--store", f"sqlite:///{self.folder / 'server.db'}"]
        argv += ["--listen", f"127.0.0.1:{self.port}", *self._arguments]
        self.process = spawn(argv, self.folder / f"server-{self._starts}.log")
        eventually_sync(self._up, READY_TIMEOUT_S, 0.05, f"{self.url}/ready answers 200")

    def sigkill(self) -> None:
        """SIGKILL it; asserts that this is what ended it."""
        assert self.process is not None
        self.process.sigkill()

    def stop(self) -> None:
        """End it in good order, whatever state it is in."""
        if self.process is not None:
            self.process.end()

    def log(self) -> str:
        """What the latest start has printed."""
        return self.process.log() if self.process is not None else ""

    def call(self, kind: str, /, **data: Any) -> tuple[int, Any]:
        """Send one envelope and return (``head.status``, ``data``)."""
        head = {"corrId": "test", "version": "2026-04-01"}
        body = json.dumps({"kind": kind, "head": head, "data": data}).encode()
        request = urllib.request.Request(self.url + "/", body, {"Content-Type": "application/json"})
        answer = json.loads(_answer(request)[1])
        return answer["head"]["status"], answer["data"]

    def promise(self, promise_id: str) -> dict[str, Any] | None:
        """The record of a promise, or None when there is none of that id."""
        status, data = self.call("promise.get", id=promise_id)
        assert status in {200, 404}, (status, data)
        return dict(data["promise"]) if status == 200 else None

    def state(self, promise_id: str) -> str | None:
        """The state of a promise (lower case, as on the wire), or None when there is none of that id."""
        record = self.promise(promise_id)
        return None if record is None else str(record["state"])

    def get(self, path: str) -> tuple[int, str]:
        """``GET path``: (HTTP status, body)."""
        return _answer(urllib.request.Request(self.url + path))

    def _up(self) -> bool:
        assert self.process is not None
        if self.process.returncode is not None:
            raise RuntimeError(f"the server ended with {self.process.returncode}:\n{self.process.log()}")
        try:
            return self.get("/ready")[0] == 200
        except OSError:
            return False  # not listening yet


def _answer(request: urllib.request.Request) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(request, timeout=20) as response:
            return response.status, response.read().decode()
    except urllib.error.HTTPError as error:  # how urllib spells every status but 2xx
        return error.code, error.read().decode()
