"""Clients of both modes: everything about them is the same in local mode and over HTTP."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from resonate_mq import Resonate
from tests.support.serving import Clients, ServerThread


@pytest.fixture(params=["local", "sqlite", "http"])
def clients(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Clients]:
    """Make clients; over HTTP they share one server."""
    if request.param == "http":
        with ServerThread() as server:
            made = Clients(url=server.url)
            try:
                yield made
            finally:
                made.stop_all()
        return
    made = Clients(store=f"sqlite:///{tmp_path}/app.db" if request.param == "sqlite" else None)
    try:
        yield made
    finally:
        made.stop_all()


@pytest.fixture
def client(clients: Clients) -> Resonate:
    """One client of each mode."""
    return clients(log_level="WARNING")
