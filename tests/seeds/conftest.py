"""Both modes of the documents: nothing but this process, and a server over HTTP."""

import sys
from collections.abc import Iterator

import pytest

from tests.seeds.stage import Stage, alias
from tests.support.serving import Clients, ServerThread


@pytest.fixture(autouse=True)
def _documents_name(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, module in alias().items():
        monkeypatch.setitem(sys.modules, name, module)


@pytest.fixture(params=["local", "http"])
def stage(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Stage]:
    """Where blocks are played."""
    if request.param == "local":
        clients = Clients()
        try:
            yield Stage(clients)
        finally:
            clients.stop_all()
        return
    with ServerThread() as server:
        clients = Clients(url=server.url)
        monkeypatch.setenv("RESONATE_URL", server.url)  # for blocks that make their client themselves
        try:
            yield Stage(clients)
        finally:
            clients.stop_all()
