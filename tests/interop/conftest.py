"""Servers and workers for the suite of the official SDKs."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.interop.sdk_suite import Sdk, Stage


@pytest.fixture(scope="module")
def stage(sdk: Sdk, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """A server, a worker in group `work` and one in `work-peer`, shared by the scenarios that kill nothing."""
    stage = Stage(sdk, tmp_path_factory.mktemp("interop"))
    try:
        stage.server.start()
        stage.worker("work")
        stage.worker("work-peer")
        yield stage
    finally:
        stage.close()


@pytest.fixture
def own_stage(sdk: Sdk, tmp_path: Path) -> Iterator[Stage]:
    """A server of the test's own, to be killed."""
    stage = Stage(sdk, tmp_path)
    try:
        stage.server.start()
        yield stage
    finally:
        stage.close()
