"""AMQP against the suite, on a real RabbitMQ that is frozen, killed and restarted."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from resonate_mq.testing.transports import Case, cases_for
from tests.transports.amqp_harness import AmqpHarness, amqp_harness
from transports.rabbitmq.launcher import RabbitNode

TRANSPORT = "amqp"

pytestmark = pytest.mark.broker


@pytest.fixture
async def harness(own_rabbit: RabbitNode) -> AsyncIterator[AmqpHarness]:
    async with amqp_harness(own_rabbit) as harness:
        yield harness


@pytest.mark.parametrize("case", cases_for(AmqpHarness.faults), ids=lambda case: case.name)
async def test_amqp(case: Case, harness: AmqpHarness) -> None:
    await case.run(harness)
