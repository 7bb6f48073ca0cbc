"""Fixtures every test may ask for: processes that are ended for sure, and real brokers."""

from __future__ import annotations

import logging
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.brokers import shared_rabbit_url, start_rabbit
from tests.support.extensions import tell_other_processes
from tests.support.processes import Spawner
from transports.rabbitmq.launcher import RabbitNode

tell_other_processes()


def pytest_configure() -> None:
    """Let SIGTERM end the run as ctrl-C does: fixtures still stop the brokers and processes they started."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)


@pytest.fixture(autouse=True)
def own_log_level() -> Iterator[None]:
    """A client's `log_level` is the process's: give the next test the level this one found."""
    logger = logging.getLogger("resonate_mq")
    before = logger.level
    yield
    logger.setLevel(before)


@pytest.fixture
def spawner(tmp_path: Path) -> Iterator[Spawner]:
    """Start real processes; whatever still runs when the test is over is ended."""
    spawner = Spawner(tmp_path)
    try:
        yield spawner
    finally:
        spawner.end_all()


@pytest.fixture(scope="session")
def amqp_url() -> Iterator[str]:
    """A RabbitMQ shared by the whole run: use queue names of your own, never restart or stall it."""
    url = shared_rabbit_url()
    if url is not None:
        yield url
        return
    node = start_rabbit(f"shared-{os.getpid()}")
    try:
        yield node.url
    finally:
        node.stop()


@pytest.fixture(scope="module")
def own_rabbit(request: pytest.FixtureRequest) -> Iterator[RabbitNode]:
    """A RabbitMQ node of the test module's own, to restart, stall or kill; leave it running."""
    module = request.module.__name__.rsplit(".", 1)[-1]
    node = start_rabbit(f"{module}-{os.getpid()}")
    try:
        yield node
    finally:
        node.stop()
