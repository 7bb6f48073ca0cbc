"""Starts a server and a worker as processes of their own, with one store and one transport, and measures them."""

import contextlib
import os
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

COMMAND = [sys.executable, "-m", "resonate_mq.cli"]
REPOSITORY = Path(__file__).resolve().parent.parent


@dataclass(frozen=True)
class Stack:
    """A running server and worker.

    Attributes:
        url: of the server.
        transport: broker URL, or None for HTTP poll.
        server_pid: OS process id.
        worker_pid: OS process id.
    """

    url: str
    transport: str | None
    server_pid: int
    worker_pid: int


def free_port() -> int:
    """Return a port nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def running_stack(transport: str | None, concurrency: int = 256) -> Iterator[Stack]:
    """Run `serve` on SQLite (synchronous=FULL) and one `worker`, both stopped at the end."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    with tempfile.TemporaryDirectory(prefix="resonate-mq-bench-") as folder:
        serve = [*COMMAND, "serve", "--store", f"sqlite:///{folder}/bench.db", "--listen", f"127.0.0.1:{port}"]
        work = [*COMMAND, "worker", "benchmarks.app:resonate", "--url", url, "--group", "bench"]
        work += ["--concurrency", str(concurrency)]
        if transport is not None:
            serve += ["--transport", f"amqp={transport}"]
            work += ["--transport", f"amqp={transport}"]
        with _process(serve, folder, "server") as server:
            _wait_until_ready(f"{url}/ready", server)
            with _process(work, folder, "worker") as worker:
                yield Stack(url, transport, server.pid, worker.pid)


@contextlib.contextmanager
def _process(command: list[str], folder: str, name: str) -> Iterator["subprocess.Popen[bytes]"]:
    with open(f"{folder}/{name}.log", "wb") as log:
        process = subprocess.Popen(command, cwd=REPOSITORY, stdout=log, stderr=subprocess.STDOUT)
        try:
            yield process
        finally:
            process.terminate()
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _wait_until_ready(url: str, server: "subprocess.Popen[bytes]") -> None:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        if server.poll() is not None:
            raise RuntimeError(f"the server ended with {server.returncode} before it was ready")
        with contextlib.suppress(OSError), urllib.request.urlopen(url, timeout=1) as answer:
            if answer.status == 200:
                return
        time.sleep(0.05)
    raise RuntimeError(f"{url} did not answer 200 within 30 s")


def cpu_seconds(pid: int) -> float:
    """Return the CPU time a process has used, seconds."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def rss_bytes(pid: int) -> int:
    """Return the resident memory of a process, bytes."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
