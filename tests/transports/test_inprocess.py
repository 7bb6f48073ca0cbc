"""What is particular to the in-process transport: bounds, sharing, one queue for every group."""

from __future__ import annotations

from resonate_mq.protocol.addresses import parse_address
from resonate_mq.protocol.messages import Execute, Hint, encode_message
from resonate_mq.transports.inprocess import InProcessTransport
from resonate_mq.transports.port import Delivery, Outcome, Outgoing, Subscription
from tests.support.eventually import eventually


def hint(task_id: str, group: str = "g") -> Outgoing:
    hints = (Hint(task_id, 0),)
    address = parse_address(f"local://any@{group}", frozenset({"local"}))
    return Outgoing(address, encode_message(Execute("s", None, hints)), task_id, 1, hints)


async def sent(transport: InProcessTransport, *messages: Outgoing) -> list[Outcome]:
    outcomes: list[Outcome] = []
    await transport.publish(messages, lambda _, outcome, __: outcomes.append(outcome))
    return outcomes


def listener(held: list[Delivery], group: str = "g", credits: int = 1) -> Subscription:
    return Subscription(
        group=group, pid="p", credits=credits, on_delivery=held.append, on_state=lambda _flowing, _reason: None
    )


async def test_a_full_queue_makes_publishers_wait_and_says_when_there_is_room() -> None:
    transport, ready, held = InProcessTransport(max_queued=4), list[str](), list[Delivery]()
    transport.on_ready(ready.append)
    async with transport.open():
        outcomes = await sent(transport, *(hint(f"t{number}") for number in range(6)))
        assert outcomes == [Outcome.CONFIRMED] * 4 + [Outcome.NO_CONSUMER] * 2
        async with transport.subscribe(listener(held, credits=2)):
            await eventually(lambda: len(held) == 2)
            await eventually(lambda: "local://any@g" in ready)


async def test_server_and_worker_may_both_open_the_object_they_share() -> None:
    transport = InProcessTransport()
    async with transport.open():
        async with transport.open():
            await sent(transport, hint("a"))
        held: list[Delivery] = []
        async with transport.subscribe(listener(held)):
            await eventually(lambda: held)
    assert transport.healthy()[0] is False
    assert await sent(transport, hint("b")) == [Outcome.FAILED]


async def test_one_queue_may_serve_every_group() -> None:
    transport, held = InProcessTransport(one_group=True), list[Delivery]()
    async with transport.open(), transport.subscribe(listener(held, "mine", 10)):
        await sent(transport, hint("a", "mine"), hint("b", "somebody-else"))
        await eventually(lambda: len(held) == 2)


async def test_queues_of_groups_that_are_gone_are_forgotten() -> None:
    transport = InProcessTransport()
    async with transport.open():
        for number in range(50):
            held: list[Delivery] = []
            async with transport.subscribe(listener(held, f"g{number}")):
                await sent(transport, hint("a", f"g{number}"))
                await eventually(held.copy)
                held[0].ack()
        await eventually(lambda: not transport._queues)
