"""The processes of the demo: one server and two workers, started, killed and ended by their own pids."""

import asyncio
import contextlib
import os
import random
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from resonate_mq.cli.output import CliError

STOP_S = 10.0


class Process:
    """One child, its output in `<name>.log` of the folder; may be started again after it was killed."""

    def __init__(self, name: str, arguments: list[str], folder: Path, environment: dict[str, str]) -> None:
        self.name = name
        self.log = folder / f"{name}.log"
        self._argv = [sys.executable, "-m", "resonate_mq.cli", *arguments]
        self._environment = {**os.environ, "PYTHONUNBUFFERED": "1", **environment}
        self._popen: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """Of the latest start."""
        assert self._popen is not None
        return self._popen.pid

    def start(self) -> None:
        """Start it; its group is its own, so that a terminal's ctrl-C reaches us alone."""
        with self.log.open("ab") as log:
            self._popen = subprocess.Popen(
                self._argv,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=self._environment,
                start_new_session=True,
            )

    def check_alive(self) -> None:
        """Raise with the end of its log when it has ended by itself."""
        if self._popen is not None and self._popen.poll() is not None:
            tail = "\n".join(self.log.read_text(errors="replace").splitlines()[-15:])
            raise CliError(f"the demo's {self.name} ended with {self._popen.returncode}:\n{tail}")

    async def sigkill(self) -> None:
        """Kill it as a power cut would, and make sure that this is what ended it."""
        assert self._popen is not None
        self._popen.send_signal(signal.SIGKILL)
        code = await asyncio.to_thread(self._popen.wait)
        if code != -signal.SIGKILL:
            raise CliError(f"the demo's {self.name} ended with {code} before it could be killed; log: {self.log}")

    def end(self) -> None:
        """End it in good order, or by force when that takes too long."""
        if self._popen is None or self._popen.poll() is not None:
            return
        self._popen.terminate()
        try:
            self._popen.wait(STOP_S)
        except subprocess.TimeoutExpired:
            self._popen.kill()
            self._popen.wait()


@contextmanager
def ending(processes: list[Process]) -> Iterator[None]:
    """End what runs when the scope ends, workers (started last) first."""
    try:
        yield
    finally:
        for process in reversed(processes):
            with contextlib.suppress(ProcessLookupError):
                process.end()


def free_port() -> int:
    """Return a port nobody listens on, below those of outgoing connections: a restart must find it free again."""
    while True:
        port = random.randint(18_000, 31_999)
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
