"""A server for the commands that talk to one; shared by a module's tests, which use ids of their own."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from tests.cli.support import Ran, run_cli
from tests.support.processes import RunningProcess, Spawner, command
from tests.support.server import ServerProcess

Cli = Callable[..., Ran]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """A server process on SQLite."""
    server = ServerProcess(tmp_path_factory.mktemp("server"))
    server.start()
    try:
        yield server
    finally:
        server.stop()


@pytest.fixture(scope="module")
def cli(server: ServerProcess) -> Cli:
    """Run a command against that server."""

    def run(*arguments: str) -> Ran:
        return run_cli(*arguments, env={"RESONATE_URL": server.url})

    return run


@pytest.fixture(scope="module")
def sample_worker(server: ServerProcess, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningProcess]:
    """A worker with the functions of `worker/app.py`, in the group `default`."""
    spawner = Spawner(tmp_path_factory.mktemp("worker"))
    process = spawner([command("resonate-mq"), "worker", "worker.app:resonate", "--url", server.url], "worker")
    process.line_sync(r"working as pid", 60)
    try:
        yield process
    finally:
        spawner.end_all()
