"""Cases: consumers that go away, transports that close and open again."""

import asyncio
import signal
import sys
from contextlib import AsyncExitStack

from resonate_mq.testing.transports.case import case
from resonate_mq.testing.transports.desk import Desk
from resonate_mq.testing.transports.harness import Fault, Harness
from resonate_mq.testing.transports.inbox import Inbox, inbox
from resonate_mq.transports.port import Outgoing


@case()
async def what_a_leaving_consumer_held_goes_to_another(harness: Harness) -> None:
    async with Desk(harness, harness.publisher()).open() as desk, AsyncExitStack() as scope:
        async with inbox(harness, "g", "p1", credits=5, hold=True) as leaving:
            desk.send(desk.hints("g", 5))
            await leaving.until(lambda: len(leaving.held) == 5)
            leaving.ack(2)
            staying = await scope.enter_async_context(inbox(harness, "g", "p2"))
        await staying.until(lambda: len(staying.tasks) >= 3, within_s=10)
        assert set(staying.tasks) == set(leaving.tasks[2:]), "exactly what was not ended goes on"


@case(Fault.PROCESS)
async def what_a_killed_process_held_goes_to_another(harness: Harness) -> None:
    async with Desk(harness, harness.publisher()).open() as desk:
        command = [sys.executable, "-m", "resonate_mq.testing.transports.process"]
        command += [harness.group("g"), "victim", "5"]
        victim = await asyncio.create_subprocess_exec(
            *command, *harness.consumer_command(), stdout=asyncio.subprocess.PIPE
        )
        try:
            messages = desk.hints("g", 5)
            desk.send(messages)
            held = await _lines(victim, 5)
            assert len(held) == 5
            victim.send_signal(signal.SIGKILL)
            assert await victim.wait() == -signal.SIGKILL
            async with inbox(harness, "g", "p2") as heir:
                await heir.until(lambda: set(heir.tasks) == held, within_s=20)
            assert "victim" in await desk.gone(desk.unblock("g", "victim", "x"))
        finally:
            if victim.returncode is None:
                victim.kill()
                await victim.wait()


async def _lines(process: asyncio.subprocess.Process, count: int) -> set[str]:
    assert process.stdout is not None
    lines: set[str] = set()
    try:
        async with asyncio.timeout(20):
            while len(lines) < count:
                lines.add((await process.stdout.readline()).decode().strip())
    except TimeoutError:
        raise AssertionError(f"the process printed only {lines}") from None
    return lines


@case()
async def a_delivery_that_outlives_its_consumer_may_still_be_ended(harness: Harness) -> None:
    async with Desk(harness, harness.publisher()).open() as desk:
        async with inbox(harness, "g", "p1", credits=3, hold=True) as leaving:
            desk.send(desk.hints("g", 3))
            await leaving.until(lambda: len(leaving.held) == 3)
        first, second, third = leaving.held
        first.ack()
        second.give_back()
        third.reject("too late")
        first.ack()
        async with inbox(harness, "g", "p2") as heir:
            await heir.until(lambda: len(set(heir.tasks)) == 3, within_s=10)


@case()
async def a_transport_can_be_opened_again(harness: Harness) -> None:
    publisher, transport = harness.publisher(), harness.consumer()
    for life in range(3):
        worker = Inbox(harness, "g", "p1", credits=10, hold=False)
        async with Desk(harness, publisher).open() as desk, transport.open(), worker.listen(transport):
            assert transport.healthy() == (True, ""), transport.healthy()
            desk.send([desk.hint("g", f"life-{life}")])
            await worker.until(lambda worker=worker: worker.tasks)  # type: ignore[misc]
            assert worker.tasks == [f"life-{life}"]
            await desk.until(lambda: publisher.healthy()[0])
        assert not publisher.healthy()[0]
        assert not transport.healthy()[0]
        assert "not open" in publisher.healthy()[1]


@case()
async def closing_while_publishing_reports_every_message_once(harness: Harness) -> None:
    publisher = harness.publisher()
    reports: list[Outgoing] = []
    batches: list[list[Outgoing]] = []
    async with inbox(harness, "g", "p1", credits=50):
        async with Desk(harness, publisher).open() as desk:
            await desk.once([desk.hint("g")])

            async def publish() -> None:
                for _ in range(20):
                    batch = desk.hints("g", 25)
                    batches.append(batch)
                    await publisher.publish(batch, lambda outgoing, _outcome, _reason: reports.append(outgoing))

            publishing = asyncio.create_task(publish())
            await desk.once([desk.hint("g")])
        await asyncio.wait({publishing}, timeout=20)
        assert publishing.done(), "publish hangs after the transport was closed"
        assert publishing.exception() is None
    sent = [id(outgoing) for batch in batches for outgoing in batch]
    assert sorted(map(id, reports)) == sorted(sent), f"{len(reports)} reports of {len(sent)} messages"


@case()
async def consumers_may_come_and_go_all_at_once(harness: Harness) -> None:
    async with Desk(harness, harness.publisher()).open() as desk, inbox(harness, "g", "steady", credits=20) as steady:

        async def visit(pid: str) -> None:
            async with inbox(harness, "g", pid, credits=3, hold=True) as visitor:
                await visitor.until(lambda: visitor.tasks or steady.tasks, within_s=20)

        desk.send(desk.hints("g", 10))
        async with asyncio.timeout(40):
            await asyncio.gather(*(visit(f"visitor-{number}") for number in range(8)))
        desk.send([desk.hint("g", "last")])
        await steady.until(lambda: "last" in steady.tasks, within_s=20)
