"""AMQP against the suite, on a real RabbitMQ that is frozen, killed and restarted."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from aiormq.abc import DeliveredMessage
from pamqp.commands import Basic

from resonate_mq.testing.transports import Case, cases_for
from resonate_mq.transports.amqp.acks import AckBook
from resonate_mq.transports.amqp.confirms import ConfirmWindow, Letter, Reported
from resonate_mq.transports.amqp.consumer import AmqpConsumer
from resonate_mq.transports.amqp.link import Link
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


# --- the suite itself: it must go red for a transport with one of the classic mistakes


class DeafBook(AckBook):
    """Hears nothing of what its deliveries become."""

    def ack(self, tag: int) -> None:
        pass

    def give_back(self, tag: int) -> None:
        pass


class AcksOnReceipt(AmqpConsumer):
    """Takes messages off the broker's books before anybody has handled them."""

    async def _received(self, book: AckBook, message: DeliveredMessage) -> None:
        assert isinstance(message.delivery, Basic.Deliver)
        assert message.delivery.delivery_tag is not None
        book.opened(message.delivery.delivery_tag)
        book.ack(message.delivery.delivery_tag)
        await super()._received(DeafBook(message.channel), message)


class ConfirmsOff(ConfirmWindow):
    """Calls a message confirmed when it was written."""

    def send(self, letter: Letter, reported: Reported) -> None:
        super().send(letter, lambda _confirmed, _reason, _returned: None)
        reported(True, "", False)


class NoWatchdog(Link):
    """Believes that a line is fine as long as nobody says otherwise."""

    async def _answers(self, *_: object) -> bool:
        return True


MUTANTS = {
    "acks on receipt": (
        "transport.AmqpConsumer", AcksOnReceipt,
        "what_a_leaving_consumer_held_goes_to_another", "did not happen within 10 s",
    ),
    "publishes without confirms": (
        "publisher.ConfirmWindow", ConfirmsOff,
        "a_publisher_whose_line_went_silent_reports_and_comes_back", "CONFIRMED",
    ),
    "has no watchdog": (
        "transport.Link", NoWatchdog,
        "a_consumer_whose_line_went_silent_comes_back_by_itself", "did not happen within 12 s",
    ),
}  # fmt: skip


@pytest.mark.parametrize("mistake", MUTANTS)
async def test_the_suite_goes_red_for_a_transport_that(
    mistake: str, harness: AmqpHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    place, mutant, name, complaint = MUTANTS[mistake]
    monkeypatch.setattr(f"resonate_mq.transports.amqp.{place}", mutant)
    harness.silence_s = 12.0
    [case] = [case for case in cases_for(harness.faults) if case.name == name]
    with pytest.raises(AssertionError, match=complaint):
        await case.run(harness)
