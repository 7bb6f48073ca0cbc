"""Real processes for tests: started with a log file, watched by line, killed by pid.

Owns the life of child processes. Every process leads a session of its own, so that ending it also ends what
it started and never anything else. Knows nothing of what runs inside.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.support.eventually import eventually, eventually_sync
from transports.rabbitmq.node import free_port as _free_port

ROOT = Path(__file__).resolve().parents[2]
"""The folder of the repository."""


def free_port() -> int:
    """A TCP port of 127.0.0.1 that nobody listens on, below the range of outgoing connections.

    A client that keeps dialling a port inside that range may connect to itself while the server restarts.
    """
    return _free_port()


def command(name: str) -> str:
    """The path of a console script beside the running interpreter, e.g. ``command("resonate-mq")``."""
    return str(Path(sys.executable).with_name(name))


class RunningProcess:
    """One child process and its log (standard output and error together)."""

    def __init__(self, popen: subprocess.Popen[bytes], log_path: Path) -> None:
        self._popen = popen
        self.log_path = log_path

    @property
    def pid(self) -> int:
        return self._popen.pid

    @property
    def returncode(self) -> int | None:
        """None while it runs; negative when a signal ended it."""
        return self._popen.poll()

    def log(self) -> str:
        """Everything it has printed so far."""
        return self.log_path.read_text(errors="replace")

    async def line(self, pattern: str, within_s: float = 20.0) -> re.Match[str]:
        """Wait for a printed line that matches the regular expression ``pattern``.

        Raises AssertionError with the log when the process ends first or time is up.
        """
        await eventually(
            lambda: self._found(pattern) or self.returncode is not None, within_s, 0.02, self._wish(pattern)
        )
        return self._must_find(pattern)

    def line_sync(self, pattern: str, within_s: float = 20.0) -> re.Match[str]:
        """The blocking twin of ``line``."""
        eventually_sync(
            lambda: self._found(pattern) or self.returncode is not None, within_s, 0.02, self._wish(pattern)
        )
        return self._must_find(pattern)

    async def exited(self, within_s: float = 20.0) -> int:
        """Wait for its end and return the exit code."""
        await eventually(lambda: self.returncode is not None, within_s, message=f"pid {self.pid} ends\n{self.log()}")
        return self._popen.wait()

    def exited_sync(self, within_s: float = 20.0) -> int:
        """The blocking twin of ``exited``."""
        try:
            return self._popen.wait(within_s)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"pid {self.pid} did not end within {within_s:g} s\n{self.log()}") from None

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to this pid alone."""
        self._popen.send_signal(number)

    def sigkill(self) -> None:
        """SIGKILL this pid and assert that nothing else ended it."""
        assert self.returncode is None, f"pid {self.pid} had ended by itself: {self.returncode}\n{self.log()}"
        self.signal(signal.SIGKILL)
        code = self._popen.wait(10)
        assert code == -signal.SIGKILL, f"pid {self.pid} ended with {code}, not by our SIGKILL\n{self.log()}"

    def sigstop(self) -> None:
        self.signal(signal.SIGSTOP)

    def sigcont(self) -> None:
        self.signal(signal.SIGCONT)

    def sigterm(self) -> None:
        self.signal(signal.SIGTERM)

    def end(self, grace_s: float = 5.0) -> None:
        """End it whatever state it is in: SIGTERM, then SIGKILL for it and all it started."""
        if self.returncode is None:
            self.sigcont()
            self.sigterm()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._popen.wait(grace_s)
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGKILL)
        self._popen.wait(10)

    def _found(self, pattern: str) -> re.Match[str] | None:
        return re.search(pattern, self.log(), re.MULTILINE)

    def _must_find(self, pattern: str) -> re.Match[str]:
        found = self._found(pattern)
        if found is None:
            raise AssertionError(f"{self._wish(pattern)}, but it ended with {self.returncode}:\n{self.log()}")
        return found

    def _wish(self, pattern: str) -> str:
        return f"pid {self.pid} prints a line like {pattern!r} (log: {self.log_path})"


def spawn(
    argv: Sequence[str | Path],
    log_path: Path,
    env: Mapping[str, str] | None = None,
    cwd: Path = ROOT,
) -> RunningProcess:
    """Start ``argv``, its output appended to ``log_path``; ``env`` is laid over our environment."""
    merged = {**os.environ, "PYTHONUNBUFFERED": "1", **(env or {})}
    with log_path.open("ab") as log:
        popen = subprocess.Popen(
            [str(part) for part in argv],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            env=merged,
            cwd=cwd,
            start_new_session=True,
        )
    return RunningProcess(popen, log_path)


class Spawner:
    """Starts processes below one folder and ends them all; the fixture ``spawner`` hands one to each test."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._processes: list[RunningProcess] = []

    def __call__(
        self,
        argv: Sequence[str | Path],
        name: str = "process",
        env: Mapping[str, str] | None = None,
        cwd: Path = ROOT,
    ) -> RunningProcess:
        """Start ``argv``; the log file is ``<name>-<n>.log`` in this spawner's folder."""
        log_path = self.folder / f"{name}-{len(self._processes)}.log"
        process = spawn(argv, log_path, env, cwd)
        self._processes.append(process)
        return process

    def end_all(self) -> None:
        """End everything started here, youngest first."""
        while self._processes:
            self._processes.pop().end()


async def run_to_end(process: RunningProcess, within_s: float = 60.0) -> str:
    """Wait until ``process`` has ended with code 0 and return what it printed."""
    code = await process.exited(within_s)
    text = await asyncio.to_thread(process.log)
    assert code == 0, f"pid {process.pid} ended with {code}:\n{text}"
    return text
