"""Which hint gets a slot, what waits, what goes back (D21, D41), over the in-process transport."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, cast

from resonate_mq.protocol.addresses import parse_address
from resonate_mq.protocol.messages import Execute, Hint, Unblock, encode_message
from resonate_mq.transports.inprocess import InProcessTransport
from resonate_mq.transports.port import Outgoing
from resonate_mq.worker.intake import Arrival, Intake
from resonate_mq.worker.metrics import Counters
from resonate_mq.worker.options import WorkerOptions
from resonate_mq.worker.served import Served
from resonate_mq.worker.slots import Slots
from tests.support.eventually import eventually


class Acquirer:
    """Stands for the worker: records what was started and ends it when told."""

    def __init__(self, concurrency: int, refuse: str | None = None) -> None:
        self.options = WorkerOptions(group="g", pid="p", concurrency=concurrency)
        self.slots = Slots(concurrency, lambda: self.intake.slot_freed())
        self.counters = Counters()
        self.refuse = refuse
        self.becomes_known = False
        self.started: list[tuple[str, int]] = []
        self.arrivals: dict[str, Arrival] = {}
        self.unblocked: list[Unblock] = []
        self.duplicates: set[tuple[str, int]] = set()
        self.served = cast(Served, self)
        self.intake = Intake(
            self.options,
            self.slots,
            self.counters,
            route=lambda store_id: self.served if self.refuse is None else None,
            identify=self._identify,
            start=self._start,
            unblocked=self.unblocked.append,
            reconnected=lambda: None,
        )

    async def _identify(self, store_id: str | None) -> str:
        reason = str(self.refuse)
        if self.becomes_known:
            self.refuse = None
        return reason

    def is_duplicate(self, task_id: str, version: int) -> bool:
        return (task_id, version) in self.duplicates

    def _start(self, served: Served, hint: Hint, arrival: Arrival) -> None:
        self.duplicates.add((hint.task_id, hint.version))
        self.started.append((hint.task_id, hint.version))
        self.arrivals[hint.task_id] = arrival

    @property
    def ids(self) -> list[str]:
        return [task_id for task_id, _ in self.started]


@asynccontextmanager
async def group(*acquirers: Acquirer) -> AsyncIterator[InProcessTransport]:
    transport = InProcessTransport("local")
    async with transport.open():
        if len(acquirers) == 1:
            async with acquirers[0].intake.open([transport]):
                yield transport
        else:
            first, second = acquirers
            async with first.intake.open([transport]), second.intake.open([transport]):
                yield transport


async def send(transport: InProcessTransport, *ids: str, store_id: str = "s", version: int = 0) -> None:
    message = Execute(store_id, None, tuple(Hint(task_id, version) for task_id in ids))
    address = parse_address("local://any@g", frozenset({"local"}))
    outgoing = Outgoing(address, encode_message(message), ids[0], len(ids))
    await transport.publish([outgoing], lambda *report: None)


async def test_a_hint_starts_at_once_when_a_slot_is_free() -> None:
    acquirer = Acquirer(2)
    async with group(acquirer) as transport:
        await send(transport, "a")
        await eventually(lambda: acquirer.ids == ["a"])
        acquirer.arrivals["a"].answered()


async def test_no_more_starts_than_there_are_slots_and_the_next_when_one_is_free() -> None:
    acquirer = Acquirer(2)
    async with group(acquirer) as transport:
        for task_id in "abc":
            await send(transport, task_id)
        await eventually(lambda: acquirer.intake.waiting == 1)
        assert acquirer.ids == ["a", "b"]
        acquirer.slots.give()
        assert acquirer.ids == ["a", "b", "c"]
        for arrival in acquirer.arrivals.values():
            arrival.answered()


async def test_a_hint_without_a_slot_for_a_second_goes_to_somebody_who_has_one() -> None:
    full, idle = Acquirer(1), Acquirer(1)
    async with group(full) as transport:
        await send(transport, "a")
        await eventually(lambda: full.ids == ["a"])
        full.arrivals["a"].answered()
        await send(transport, "b")
        await eventually(lambda: full.intake.waiting == 1)
        idle.options = WorkerOptions(group="g", pid="other", concurrency=1)
        idle.intake._options = idle.options
        async with idle.intake.open([transport]):
            await eventually(lambda: idle.ids == ["b"], within_s=5)
            assert full.ids == ["a"]
            assert full.intake.waiting == 0


async def test_a_full_worker_takes_hints_again_when_a_slot_is_free() -> None:
    acquirer = Acquirer(1)
    async with group(acquirer) as transport:
        await send(transport, "a")
        await eventually(lambda: acquirer.ids == ["a"])
        acquirer.arrivals["a"].answered()
        await send(transport, "b")
        await eventually(lambda: acquirer.counters.value("given_back") == 1, within_s=5)
        assert acquirer.ids == ["a"]
        acquirer.slots.give()
        await eventually(lambda: acquirer.ids == ["a", "b"])
        acquirer.arrivals["b"].answered()


async def test_the_hints_of_a_pack_without_slots_go_back_within_a_moment() -> None:
    acquirer = Acquirer(2)
    async with group(acquirer) as transport:
        await send(transport, "a", "b", "c", "d")
        await eventually(lambda: acquirer.counters.value("given_back") >= 1, within_s=0.6)
        assert acquirer.ids == ["a", "b"]
        acquirer.slots.give()
        acquirer.slots.give()
        await eventually(lambda: acquirer.ids == ["a", "b", "c", "d"])


async def test_the_hints_of_a_pack_stay_while_slots_turn_over() -> None:
    acquirer = Acquirer(2)
    async with group(acquirer) as transport:
        ids = [f"t{number}" for number in range(10)]
        await send(transport, *ids)
        for number in range(3, 11):
            due = asyncio.get_running_loop().time() + 0.03
            await eventually(lambda due=due: asyncio.get_running_loop().time() >= due)  # type: ignore[misc]
            acquirer.slots.give()
            assert acquirer.ids == ids[:number]
        assert acquirer.counters.value("given_back") == 0
        acquirer.slots.give()
        for arrival in acquirer.arrivals.values():
            arrival.answered()


async def test_a_duplicate_starts_nothing_and_is_acknowledged() -> None:
    acquirer = Acquirer(4)
    acquirer.duplicates.add(("a", 0))
    async with group(acquirer) as transport:
        await send(transport, "a")
        await eventually(lambda: acquirer.counters.value("duplicates") == 1)
        await send(transport, "b")
        await eventually(lambda: acquirer.ids == ["b"])
        acquirer.arrivals["b"].answered()


async def test_a_hint_of_a_server_that_is_not_ours_is_refused_with_a_reason() -> None:
    acquirer = Acquirer(4, refuse="it comes from store 'x', which is none of those this worker is configured for")
    async with group(acquirer) as transport:
        await send(transport, "a", store_id="x")
        await eventually(lambda: len(transport.dead_letters) == 1)
        assert "none of those" in transport.dead_letters[0].reason
        assert acquirer.ids == []


async def test_a_server_of_ours_that_came_back_with_another_store_is_recognised() -> None:
    acquirer = Acquirer(4, refuse="not yet known")
    acquirer.becomes_known = True
    async with group(acquirer) as transport:
        await send(transport, "a", store_id="new")
        await eventually(lambda: acquirer.ids == ["a"])
        acquirer.arrivals["a"].answered()
        assert not transport.dead_letters


async def test_while_the_server_is_away_nothing_is_consumed_and_then_everything() -> None:
    acquirer = Acquirer(4)
    async with group(acquirer) as transport:
        acquirer.intake.server_state(acquirer.served, reachable=False)
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        await send(transport, "a")
        await asyncio.sleep(0)
        assert acquirer.ids == []
        acquirer.intake.server_state(acquirer.served, reachable=True)
        await eventually(lambda: acquirer.ids == ["a"])
        acquirer.arrivals["a"].answered()


async def test_after_closing_what_waited_is_left_for_others() -> None:
    leaving, staying = Acquirer(1), Acquirer(1)
    staying.options = staying.intake._options = WorkerOptions(group="g", pid="q", concurrency=1)
    async with group(leaving) as transport:
        await send(transport, "a")
        await send(transport, "b")
        await eventually(lambda: leaving.intake.waiting == 1)
        leaving.arrivals["a"].answered()
        leaving.intake.close()
        async with staying.intake.open([transport]):
            await eventually(lambda: staying.ids == ["b"])


async def test_an_unanswered_acquire_gives_its_hint_back() -> None:
    acquirer = Acquirer(2)
    async with group(acquirer) as transport:
        await send(transport, "a")
        await eventually(lambda: acquirer.ids == ["a"])
        acquirer.duplicates.clear()
        acquirer.arrivals["a"].unanswered()
        await eventually(lambda: acquirer.ids == ["a", "a"])


async def test_settled_promises_reach_whoever_listens_even_when_no_slot_is_free() -> None:
    acquirer = Acquirer(1)
    async with group(acquirer) as transport:
        await send(transport, "a")
        await send(transport, "b")
        await eventually(lambda: acquirer.intake.waiting == 1)
        record: dict[str, Any] = {"id": "x", "state": "resolved"}
        address = parse_address(transport.unicast("g", "p"), frozenset({"local"}))
        payload = encode_message(Unblock("s", (record,)))
        await transport.publish([Outgoing(address, payload, "x", 0)], lambda *report: None)
        await eventually(lambda: [one.promises for one in acquirer.unblocked] == [(record,)])
