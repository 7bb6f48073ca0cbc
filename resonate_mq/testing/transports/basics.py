"""Cases: what is published arrives, where it belongs, as often as it should."""

from contextlib import AsyncExitStack

from resonate_mq.testing.transports.case import case
from resonate_mq.testing.transports.desk import Desk
from resonate_mq.testing.transports.harness import Harness
from resonate_mq.testing.transports.inbox import inbox
from resonate_mq.transports.port import Outcome

AWKWARD = [
    "plain", "Plain", "a.b", "a_b", "a-b", "a/b", "a%2Fb", "a b", "a+20b", "#", "*", ">", "%", "a#b", "é", "e\u0301",
    "x" * 300, "x" * 299 + "y", "h", "q.plain",
]  # fmt: skip
MANY = 3_000


@case()
async def a_hint_arrives_with_its_id_and_version(harness: Harness) -> None:
    async with Desk(harness, harness.publisher()).open() as desk, inbox(harness, "g", "p1", hold=True) as worker:
        desk.send([desk.hint("g", "order-7.é")])
        await worker.until(lambda: worker.held)
        message = worker.held[0].message
        assert message.store_id == "store-of-the-suite", message
        assert [tuple(hint) for hint in message.hints] == [("order-7.é", 1)], message  # type: ignore[union-attr]
        worker.ack()
        await desk.until(lambda: len(desk.confirmed) == 1)


@case()
async def an_unblock_arrives_whole_at_the_process_it_is_for(harness: Harness) -> None:
    async with Desk(harness, harness.publisher()).open() as desk, AsyncExitStack() as scope:
        mine = await scope.enter_async_context(inbox(harness, "g", "p1"))
        other = await scope.enter_async_context(inbox(harness, "g", "p2"))
        text = "é\u2028" * 200_000  # more than one frame, and more than one read of a socket
        desk.send([desk.unblock("g", "p1", "big", text), desk.unblock("g", "p2", "other")])
        await mine.until(lambda: mine.promises and other.promises)
        assert mine.records[0]["value"] == {"data": text}
        assert mine.promises == ["big"]
        assert other.promises == ["other"]
        await desk.until(lambda: len(desk.confirmed) == 2)


@case()
async def a_message_to_a_process_that_is_not_there_finds_no_consumer(harness: Harness) -> None:
    async with Desk(harness, harness.publisher()).open() as desk:
        async with inbox(harness, "g", "p1"):
            pass
        assert "p1" in await desk.gone(desk.unblock("g", "p1", "x"))
        assert "p9" in await desk.gone(desk.unblock("nobody", "p9", "x"))


@case()
async def a_message_without_a_consumer_is_kept_or_refused_as_declared(harness: Harness) -> None:
    async with Desk(harness, harness.publisher()).open() as desk:
        message = desk.hint("later", "early-bird")
        [(outcome, reason)] = await desk.once([message])
        if harness.guarantees.keeps_without_consumer:
            assert outcome is Outcome.CONFIRMED, reason
        else:
            refused = Outcome.NO_CONSUMER if harness.guarantees.knows_consumers else Outcome.FAILED
            assert outcome is refused, (outcome, reason)
            assert "later" in reason, reason
        async with inbox(harness, "later", "p1") as worker:
            if not harness.guarantees.keeps_without_consumer:
                if harness.guarantees.knows_consumers:
                    await desk.until(lambda: str(message.address) in desk.ready)
                desk.send([message])
            await worker.until(lambda: worker.tasks == ["early-bird"])


@case()
async def a_repeated_message_is_delivered_again(harness: Harness) -> None:
    async with Desk(harness, harness.publisher()).open() as desk, inbox(harness, "g", "p1") as worker:
        message = desk.hint("g", "twice")
        assert [outcome for outcome, _ in await desk.once([message])] == [Outcome.CONFIRMED]
        await worker.until(lambda: len(worker.tasks) == 1)
        assert [outcome for outcome, _ in await desk.once([message])] == [Outcome.CONFIRMED]
        await worker.until(lambda: worker.tasks == ["twice", "twice"])


@case()
async def groups_with_awkward_names_do_not_mix(harness: Harness) -> None:
    async with Desk(harness, harness.publisher()).open() as desk, AsyncExitStack() as scope:
        workers = {}
        transport = harness.consumer()
        await scope.enter_async_context(transport.open())
        for group in AWKWARD:
            workers[group] = await scope.enter_async_context(inbox(harness, group, f"p/{group[:40]}"))
        for group in AWKWARD:
            desk.send([desk.hint(group, f"any {group[:40]}"), desk.unblock(group, f"p/{group[:40]}", f"uni {group}")])
        for group, worker in workers.items():
            await worker.until(lambda worker=worker: worker.tasks and worker.promises)  # type: ignore[misc]
            assert worker.tasks == [f"any {group[:40]}"], group
            assert worker.promises == [f"uni {group}"], group


@case()
async def thousands_of_messages_are_each_reported_once_and_delivered(harness: Harness) -> None:
    async with (
        Desk(harness, harness.publisher()).open() as desk,
        inbox(harness, "many", "p1", credits=500) as one,
        inbox(harness, "many", "p2", credits=500) as two,
    ):
        messages = desk.hints("many", MANY)
        desk.send(messages)
        expected = {message.message_id for message in messages}
        await desk.until(lambda: desk.confirmed == expected, within_s=60)
        arrived: set[str] = set()

        def all_arrived() -> bool:
            arrived.update(one.tasks, two.tasks)
            return len(arrived) == MANY

        one.changes = two.changes
        await two.until(all_arrived, within_s=60)
        reported = [outgoing.message_id for outgoing, _, _ in desk.reports]
        assert len(reported) == sum(desk.times_sent.values()), "a message was reported twice or never"
        confirmations = [outgoing.message_id for outgoing, outcome, _ in desk.reports if outcome is Outcome.CONFIRMED]
        if harness.guarantees.redelivers:  # where it does not, a hint that went down with its stream is sent again
            assert len(confirmations) == MANY
        assert one.tasks, "everything went to one of two equal workers"
        assert two.tasks, "everything went to one of two equal workers"
