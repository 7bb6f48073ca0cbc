"""Cases: connections that break, brokers that freeze, die and come back."""

from contextlib import AsyncExitStack, suppress

from resonate_mq.testing.transports.case import case
from resonate_mq.testing.transports.desk import Desk
from resonate_mq.testing.transports.harness import Fault, Harness
from resonate_mq.testing.transports.inbox import Inbox, inbox
from resonate_mq.testing.transports.waiting import Changes
from resonate_mq.transports.port import Outcome

BACK_S = 6.0  # promised is < 2 s after the broker is back; the machine that runs the suite may be busy


@case(Fault.CUT)
async def nothing_is_lost_when_every_connection_is_cut(harness: Harness) -> None:
    async with (
        Desk(harness, harness.publisher()).open() as desk,
        inbox(harness, "g", "p1", credits=20) as one,
        inbox(harness, "g", "p2", credits=20) as two,
    ):
        two.changes = one.changes
        for sent in (200, 400, 600):
            desk.send(desk.hints("g", 200))
            await one.until(lambda sent=sent: len({*one.tasks, *two.tasks}) > sent - 150)  # type: ignore[misc]
            await harness.cut()
        await one.until(lambda: len({*one.tasks, *two.tasks}) == 600, within_s=40)
        await desk.until(lambda: len(desk.confirmed) == 600)
        desk.send([desk.unblock("g", "p1", "after"), desk.unblock("g", "p2", "after")])
        await one.until(lambda: one.promises and two.promises)


@case(Fault.CUT)
async def a_delivery_of_a_cut_connection_does_nothing_when_ended(harness: Harness) -> None:
    async with (
        Desk(harness, harness.publisher()).open() as desk,
        inbox(harness, "g", "p1", credits=3, hold=True) as worker,
    ):
        desk.send(desk.hints("g", 3))
        await worker.until(lambda: len(worker.held) == 3)
        first = set(worker.tasks)
        await harness.cut()
        if harness.guarantees.knows_consumers:
            await worker.until(lambda: len([1 for flowing, _ in worker.states if flowing]) >= 2)
        stale = worker.held[:3]
        del worker.held[:3]
        for delivery in stale:
            delivery.ack()
        await worker.until(lambda: len(worker.tasks) >= 6)
        assert set(worker.tasks) == first
        worker.hold = False
        worker.ack()
        desk.send(desk.hints("g", 10))
        await worker.until(lambda: len(set(worker.tasks)) == 13)


@case(Fault.SILENT_CONSUMER)
async def a_consumer_whose_line_went_silent_comes_back_by_itself(harness: Harness) -> None:
    async with Desk(harness, harness.publisher()).open() as desk, inbox(harness, "g", "p1") as worker:
        desk.send([desk.hint("g", "before")])
        await worker.until(lambda: worker.tasks == ["before"])
        await harness.silence("consumer")
        desk.send([desk.hint("g", "after")])
        await worker.until(lambda: "after" in worker.tasks, within_s=harness.silence_s)


@case(Fault.SILENT_PUBLISHER)
async def a_publisher_whose_line_went_silent_reports_and_comes_back(harness: Harness) -> None:
    async with Desk(harness, harness.publisher()).open() as desk, inbox(harness, "g", "p1") as worker:
        desk.send([desk.hint("g", "before")])
        await worker.until(lambda: worker.tasks == ["before"])
        await harness.silence("publisher")
        [(outcome, reason)] = await desk.once([desk.hint("g", "swallowed")])
        if "swallowed" not in worker.tasks:
            assert outcome is Outcome.FAILED, (outcome, reason)
            assert reason
        desk.send(desk.hints("g", 20))
        await desk.until(lambda: len(desk.confirmed) >= 21, within_s=harness.silence_s)


@case(Fault.STALL)
async def a_frozen_broker_is_reported_and_used_again_when_it_runs_on(harness: Harness) -> None:
    async with Desk(harness, harness.publisher()).open() as desk, inbox(harness, "g", "p1", credits=50) as worker:
        desk.send(desk.hints("g", 100))
        await worker.until(lambda: len(set(worker.tasks)) == 100)
        await harness.stall()
        try:
            messages = desk.hints("g", 50)
            desk.send(messages)
            await _outage(harness.outage_s)
            if harness.guarantees.survives_broker_restart:
                assert not desk.confirmed & {message.message_id for message in messages}, "confirmed by a frozen broker"
                assert not desk.transport.healthy()[0], "a broker that answers nothing is called healthy"
        finally:
            await harness.unstall()
        await worker.until(lambda: len(set(worker.tasks)) == 150, within_s=BACK_S)
        await desk.until(lambda: desk.transport.healthy()[0])


@case(Fault.RESTART)
async def what_was_confirmed_survives_a_broker_that_is_killed_under_load(harness: Harness) -> None:
    async with (
        Desk(harness, harness.publisher()).open() as desk,
        inbox(harness, "g", "p1", credits=20) as one,
        inbox(harness, "g", "p2", credits=20) as two,
    ):
        two.changes = one.changes
        desk.send(desk.hints("g", 1_000))
        await one.until(lambda: len({*one.tasks, *two.tasks}) > 200)
        desk.send(desk.hints("g", 500))
        await harness.kill_broker()
        desk.send(desk.hints("g", 100))
        if harness.guarantees.survives_broker_restart:
            await desk.changes.until(lambda: not desk.transport.healthy()[0], 20, str)
        await harness.start_broker()
        before = len(one.tasks) + len(two.tasks)
        await one.until(lambda: len(one.tasks) + len(two.tasks) > before, within_s=BACK_S)
        await one.until(lambda: len({*one.tasks, *two.tasks}) == 1_600, within_s=40)
        await desk.until(lambda: len(desk.confirmed) == 1_600)


@case(Fault.RESTART)
async def what_a_dying_broker_did_not_confirm_is_not_called_confirmed(harness: Harness) -> None:
    async with Desk(harness, harness.publisher()).open() as desk, inbox(harness, "g", "p1") as worker:
        desk.send(desk.hints("g", 10))
        await worker.until(lambda: len(worker.tasks) == 10)
        await harness.stall()
        await desk.transport.publish(swallowed := desk.hints("g", 50), desk.report)
        await harness.kill_broker()
        await harness.start_broker()
        await worker.until(lambda: len(set(worker.tasks)) == 60, within_s=30)
        assert len(swallowed) == 50


@case(Fault.RESTART)
async def a_broker_that_is_down_at_the_start_is_explained_and_its_backlog_drains_by_age(harness: Harness) -> None:
    await harness.kill_broker()
    async with AsyncExitStack() as scope:
        desk = await scope.enter_async_context(Desk(harness, harness.publisher()).open(connected=False))
        messages = desk.hints("backlog", 60)
        for start in range(0, 60, 20):
            outcomes = await desk.once(messages[start : start + 20])
            assert {outcome for outcome, _ in outcomes} <= {Outcome.FAILED, Outcome.NO_CONSUMER}, outcomes
            assert all(reason for _, reason in outcomes)
        worker = Inbox(harness, "backlog", "p1", credits=1, hold=False)
        transport = harness.consumer()
        await scope.enter_async_context(transport.open())
        subscription = worker.listen(transport)
        healthy, reason = desk.transport.healthy()
        if harness.guarantees.keeps_without_consumer:
            assert not healthy
            assert reason
        await harness.start_broker()
        await scope.enter_async_context(subscription)
        if harness.guarantees.knows_consumers:
            await desk.until(lambda: desk.ready and desk.transport.healthy()[0])
        desk.send(messages)
        await worker.until(lambda: len(worker.tasks) >= 60, within_s=30)
        first_seen = list(dict.fromkeys(worker.tasks))
        expected = [message.message_id.removesuffix(":1") for message in messages]
        if harness.guarantees.keeps_without_consumer:
            assert first_seen == expected
        else:
            assert sorted(first_seen) == sorted(expected)


@case(Fault.DELETE)
async def a_deleted_queue_is_made_again_by_whoever_needs_it(harness: Harness) -> None:
    async with Desk(harness, harness.publisher()).open() as desk:
        async with inbox(harness, "g", "p1") as worker:
            desk.send([desk.hint("g", "before")])
            await worker.until(lambda: worker.tasks == ["before"])
            await harness.delete_queue("g")
            desk.send([desk.hint("g", "after")])
            await worker.until(lambda: "after" in worker.tasks, within_s=15)
        await harness.delete_queue("g")
        desk.send([desk.hint("g", "nobody-home")])
        await desk.until(lambda: "nobody-home:1" in desk.confirmed, within_s=15)
        async with inbox(harness, "g", "p2") as heir:
            await heir.until(lambda: "nobody-home" in heir.tasks)


@case(Fault.CREDENTIALS)
async def a_wrong_login_is_explained_without_showing_the_secret(harness: Harness) -> None:
    misfit = harness.misfit()
    changes = Changes()
    async with AsyncExitStack() as scope:
        await scope.enter_async_context(misfit.open())
        worker = Inbox(harness, "g", "p1", credits=1, hold=False)
        if hasattr(misfit, "subscribe"):
            await scope.enter_async_context(misfit.subscribe(worker.subscription))
            changes = worker.changes
        await changes.until(lambda: "refuse" in misfit.healthy()[1], 20, lambda: misfit.healthy()[1])
        healthy, reason = misfit.healthy()
        assert not healthy
        assert "sesame" not in reason, reason


async def _outage(seconds: float) -> None:
    """Return when an outage of this length is over; its length is what the case is about."""
    with suppress(AssertionError):
        await Changes().until(lambda: False, seconds, str)
