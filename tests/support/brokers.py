"""Where tests get their brokers from.

Owns the choice between a broker that is already there (``RESONATE_MQ_TEST_AMQP``, set by ``make test``) and
one that is started on demand, and what happens when neither is possible: a failure in CI, a skip with its
reason on a laptop.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import NoReturn

import pytest

from transports.rabbitmq.launcher import FOLDER, BrokerUnavailableError, RabbitNode, new_node
from transports.rabbitmq.native import reap_abandoned

ENV_AMQP = "RESONATE_MQ_TEST_AMQP"


def in_ci() -> bool:
    """CI means a non-empty ``CI``."""
    return bool(os.environ.get("CI"))


def missing(reason: str) -> NoReturn:
    """Something a test needs is not on this machine: fail in CI, skip on a laptop."""
    if in_ci():
        pytest.fail(reason, pytrace=False)
    pytest.skip(reason)


def start_rabbit(name: str, folder: Path | None = None) -> RabbitNode:
    """Start a RabbitMQ that belongs to the caller, who also stops it."""
    reap_abandoned(FOLDER)
    try:
        node = new_node(name, folder)
        node.start()
    except BrokerUnavailableError as error:
        missing(str(error))
    return node


def shared_rabbit_url() -> str | None:
    """The URL of the broker that ``make test`` has started, if any."""
    return os.environ.get(ENV_AMQP) or None
