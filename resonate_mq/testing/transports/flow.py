"""Cases: credits, pausing, giving back, dead letters."""

import time

from resonate_mq.testing.transports.case import case
from resonate_mq.testing.transports.desk import Desk
from resonate_mq.testing.transports.harness import Harness
from resonate_mq.testing.transports.inbox import Inbox, inbox

GARBAGE = [b"\xff\xfe not json", b'{"kind":"execute","head":{},"data":{}}', b"[]", b'{"kind":"surprise","data":{}}']


async def _barrier(desk: Desk, worker: Inbox, group: str, name: str) -> None:
    """Return when a unicast message sent now has arrived: what was under way before had its chance."""
    desk.send([desk.unblock(group, worker.pid, name)])
    await worker.until(lambda: name in worker.promises)


@case()
async def no_more_than_the_credits_are_ever_held(harness: Harness) -> None:
    async with (
        Desk(harness, harness.publisher()).open() as desk,
        inbox(harness, "g", "p1", credits=5, hold=True) as worker,
    ):
        desk.send(desk.hints("g", 40))
        seen = 0
        while len(set(worker.tasks)) < 40:
            await worker.until(lambda seen=seen: len(worker.tasks) > seen)  # type: ignore[misc]
            await _barrier(desk, worker, "g", f"barrier-{seen}")
            seen = len(worker.tasks)
            worker.ack(2)
        assert worker.most_held <= 5, f"{worker.most_held} held at one time with 5 credits"


@case()
async def a_pack_of_hints_arrives_whole_and_is_ended_as_one(harness: Harness) -> None:
    async with (
        Desk(harness, harness.publisher()).open() as desk,
        inbox(harness, "g", "p1", credits=6, hold=True) as worker,
    ):
        packs = [desk.pack("g", 5) for _ in range(4)]
        desk.send(packs)
        expected = {hint.task_id for pack in packs for hint in pack.hints or ()}
        while len(set(worker.tasks)) < 20:
            await worker.until(lambda: worker.held)
            assert all(len(delivery.message.hints) == 5 for delivery in worker.held)  # type: ignore[union-attr]
            worker.ack()
        assert set(worker.tasks) == expected
        worker.ack()
        await desk.until(lambda: len(desk.confirmed) == 4)


@case()
async def deliveries_may_be_ended_in_any_order(harness: Harness) -> None:
    async with (
        Desk(harness, harness.publisher()).open() as desk,
        inbox(harness, "g", "p1", credits=10, hold=True) as worker,
    ):
        desk.send(desk.hints("g", 30))
        while len(set(worker.tasks)) < 30:
            await worker.until(lambda: len(worker.held) >= 5 or len(set(worker.tasks)) == 30)
            worker.held.reverse()
            worker.held[1:1] = [worker.held.pop()]
            worker.ack(4)
        worker.ack()
        assert len(worker.tasks) == 30, "something that was ended came again"


@case()
async def a_slow_group_does_not_hold_up_another(harness: Harness) -> None:
    async with (
        Desk(harness, harness.publisher()).open() as desk,
        inbox(harness, "slow", "p1", credits=1, hold=True) as slow,
        inbox(harness, "fast", "p2", credits=10) as fast,
    ):
        desk.send(desk.hints("slow", 50))
        await slow.until(lambda: slow.held)
        desk.send(desk.hints("fast", 50))
        await fast.until(lambda: len(fast.tasks) == 50, within_s=10)
        assert len(slow.tasks) == 1


@case()
async def a_paused_consumer_gets_only_what_is_for_it_alone(harness: Harness) -> None:
    async with (
        Desk(harness, harness.publisher()).open() as desk,
        inbox(harness, "g", "p1", credits=4, hold=True) as worker,
    ):
        desk.send(desk.hints("g", 10))
        await worker.until(lambda: len(worker.held) == 4)
        await worker.consumer.pause()
        worker.ack()
        before = list(worker.tasks)
        await _barrier(desk, worker, "g", "while-paused")
        assert worker.tasks == before, "an anycast message came while paused"
        await worker.consumer.resume(3)
        await worker.until(lambda: len(worker.held) == 3)
        await _barrier(desk, worker, "g", "after-resume")
        assert len(worker.held) == 3, "resumed with 3 credits"
        worker.hold = False
        worker.ack()
        await worker.until(lambda: len(set(worker.tasks)) == 10)


@case()
async def without_credits_only_unicast_is_consumed(harness: Harness) -> None:
    async with (
        Desk(harness, harness.publisher()).open() as desk,
        inbox(harness, "g", "p1", credits=0) as worker,
    ):
        desk.send(desk.hints("g", 3))
        await _barrier(desk, worker, "g", "no-credits")
        assert not worker.tasks
        await worker.consumer.resume(3)
        await worker.until(lambda: len(set(worker.tasks)) == 3)


@case()
async def what_is_given_back_goes_to_another(harness: Harness) -> None:
    async with (
        Desk(harness, harness.publisher()).open() as desk,
        inbox(harness, "g", "p1", credits=5, hold=True) as full,
    ):
        desk.send(desk.hints("g", 5))
        await full.until(lambda: len(full.held) == 5)
        async with inbox(harness, "g", "p2", credits=10) as idle:
            await full.consumer.pause()
            full.give_back()
            await idle.until(lambda: len(set(idle.tasks)) == 5, within_s=10)
            assert len(full.tasks) == 5


@case()
async def a_rejected_message_is_set_aside_with_its_reason(harness: Harness) -> None:
    async with (
        Desk(harness, harness.publisher()).open() as desk,
        inbox(harness, "g", "p1", credits=2, hold=True) as worker,
    ):
        desk.send([desk.hint("g", "bad"), desk.hint("g", "good")])
        await worker.until(lambda: len(worker.held) == 2)
        bad = next(delivery for delivery in worker.held if "bad" in str(delivery.message))
        worker.held.remove(bad)
        bad.reject("unknown server of store 'x'")
        worker.ack()
        await _dead(harness, desk, worker, 1)
        [letter] = await harness.dead_letters()
        assert b'"bad"' in letter.payload
        assert "unknown server of store 'x'" in letter.reason
        harness.acquired(list(bad.message.hints), "p1")  # type: ignore[union-attr]
        worker.hold = False
        desk.send(desk.hints("g", 5))
        await worker.until(lambda: len(worker.tasks) == 7)


@case()
async def garbage_is_set_aside_with_a_reason_and_the_consumer_goes_on(harness: Harness) -> None:
    async with (
        Desk(harness, harness.publisher()).open() as desk,
        inbox(harness, "g", "p1", credits=2) as worker,
    ):
        desk.send([desk.garbage("g", payload) for payload in GARBAGE])
        desk.send(desk.hints("g", 10))
        await worker.until(lambda: len(worker.tasks) == 10)
        await _dead(harness, desk, worker, len(GARBAGE))
        letters = await harness.dead_letters()
        assert sorted(letter.payload for letter in letters) == sorted(GARBAGE)
        assert all(letter.reason for letter in letters)
        assert any("not JSON" in letter.reason for letter in letters)


async def _dead(harness: Harness, desk: Desk, worker: Inbox, count: int) -> None:
    """Return when so many messages are set aside; each question to the broker is followed by a barrier."""
    deadline_s = time.monotonic() + 20
    while len(await harness.dead_letters()) < count:
        assert time.monotonic() < deadline_s, f"{len(await harness.dead_letters())} set aside, expected {count}"
        await _barrier(desk, worker, "g", f"dead-{time.monotonic()}")
