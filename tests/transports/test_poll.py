"""What is particular to HTTP poll: framing, credits that count held tasks, streams that replace each other."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from resonate_mq.protocol.addresses import format_address, parse_address
from resonate_mq.protocol.messages import Execute, Hint, Unblock, encode_message
from resonate_mq.transports.poll import hub as hub_module
from resonate_mq.transports.poll.hub import DEFAULT_WINDOW, PollCapacityError, PollHub
from resonate_mq.transports.poll.sse import SseParser
from resonate_mq.transports.poll.stream import LIFETIME_S
from resonate_mq.transports.port import Outcome, Outgoing
from tests.support.eventually import eventually


class Reader:
    """Reads one stream as an HTTP layer does."""

    def __init__(self) -> None:
        self.bytes = b""
        self.ended = False

    async def read(self, stream: AsyncIterator[bytes]) -> None:
        async with aclosing(stream) as chunks:  # type: ignore[type-var]
            async for chunk in chunks:
                self.bytes += chunk
        self.ended = True

    @property
    def tasks(self) -> list[str]:
        return [
            body["data"]["task"]["id"]
            for line in self.bytes.decode("ascii").split("\n\n")
            if line.startswith("data: ") and (body := json.loads(line[6:]))["kind"] == "execute"
        ]


@asynccontextmanager
async def reading(hub: PollHub, group: str, pid: str, credits: int | None = None) -> AsyncIterator[Reader]:
    reader = Reader()
    task = asyncio.ensure_future(reader.read(hub.stream(group, pid, credits)))
    await eventually(lambda: reader.bytes or task.done())
    try:
        yield reader
    finally:
        task.cancel()
        await asyncio.wait({task})


def hint(task_id: str, group: str = "g", pid: str | None = None, cast: str = "any") -> Outgoing:
    hints = (Hint(task_id, 3),)
    address = parse_address(format_address("poll", cast, group, pid))
    return Outgoing(address, encode_message(Execute("store", None, hints)), f"{task_id}:3", 1, hints)


def unblock(pid: str) -> Outgoing:
    record = {"id": "é\u2028", "state": "resolved", "param": {}, "value": {}}
    payload = encode_message(Unblock("store", (record,)))
    return Outgoing(parse_address(f"poll://uni@g/{pid}"), payload, "unblock", 0, ())


async def sent(hub: PollHub, *messages: Outgoing) -> list[Outcome]:
    outcomes: list[Outcome] = []
    await hub.publish(messages, lambda _, outcome, __: outcomes.append(outcome))
    return outcomes


async def test_the_framing_is_exactly_that_of_the_protocol() -> None:
    hub = PollHub(keepalive_s=0.2)
    async with hub.open(), reading(hub, "g", "p") as reader:
        await sent(hub, hint("order-é"), unblock("p"))
        await eventually(lambda: b": keepalive\n\n" in reader.bytes)
        head = '{"resonate-mq:storeId":"store"}'
        execute = f'{{"kind":"execute","head":{head},"data":{{"task":{{"id":"order-\\u00e9","version":3}}}}}}'
        assert reader.bytes.startswith(b": connected\n\ndata: " + execute.encode() + b"\n\ndata: {")
        assert b"\r" not in reader.bytes
        assert reader.bytes.isascii()
        assert LIFETIME_S[1] < 300, "the official Python client goes deaf at 300 s"


async def test_a_stream_without_announced_credits_gets_a_window_for_official_clients() -> None:
    hub = PollHub()
    async with hub.open(), reading(hub, "g", "p"):
        outcomes = await sent(hub, *(hint(f"t{number}") for number in range(DEFAULT_WINDOW + 5)))
        assert outcomes.count(Outcome.CONFIRMED) == DEFAULT_WINDOW
        assert outcomes.count(Outcome.NO_CONSUMER) == 5


async def test_held_tasks_use_credits_until_they_are_released() -> None:
    hub, ready = PollHub(), list[str]()
    hub.on_ready(ready.append)
    async with hub.open(), reading(hub, "g", "p", 2):
        assert await sent(hub, hint("a"), hint("b"), hint("c")) == [Outcome.CONFIRMED] * 2 + [Outcome.NO_CONSUMER]
        await eventually(lambda: ready)
        ready.clear()
        hub.acquired("a", 3, "p")
        assert await sent(hub, hint("c")) == [Outcome.NO_CONSUMER], "an acquired task is held"
        hub.released("a", "p")
        await eventually(lambda: ready == ["poll://any@g"])
        assert await sent(hub, hint("c")) == [Outcome.CONFIRMED]
        assert await sent(hub, hint("d")) == [Outcome.NO_CONSUMER]
        hub.settled("b")
        await eventually(lambda: ready == ["poll://any@g"] * 2)
        assert await sent(hub, hint("d")) == [Outcome.CONFIRMED]


async def test_a_task_acquired_elsewhere_frees_the_credit_of_its_hint() -> None:
    hub = PollHub()
    async with hub.open(), reading(hub, "g", "p", 1):
        assert await sent(hub, hint("a")) == [Outcome.CONFIRMED]
        hub.acquired("a", 3, "somebody on another transport")
        assert await sent(hub, hint("b")) == [Outcome.CONFIRMED]


async def test_tasks_held_before_a_reconnect_still_count() -> None:
    hub = PollHub()
    async with hub.open():
        async with reading(hub, "g", "p", 1):
            await sent(hub, hint("a"))
            hub.acquired("a", 3, "p")
        async with reading(hub, "g", "p", 1):
            assert await sent(hub, hint("b")) == [Outcome.NO_CONSUMER]


async def test_hints_that_went_down_with_a_stream_are_reported_lost_and_acquired_ones_are_not() -> None:
    hub, lost = PollHub(), list[Hint]()
    hub.on_lost(lost.extend)
    async with hub.open():
        async with reading(hub, "g", "p"):
            await sent(hub, hint("a"), hint("b"), hint("c"))
            hub.acquired("b", 3, "p")
        assert lost == [Hint("a", 3), Hint("c", 3)]


async def test_a_repeated_hint_counts_once_where_it_was_sent_last() -> None:
    hub, lost = PollHub(), list[Hint]()
    hub.on_lost(lost.extend)
    async with hub.open(), AsyncExitStack() as scope:
        await scope.enter_async_context(reading(hub, "g", "p1", 1))
        await sent(hub, hint("a", pid="p1"))
        two = await scope.enter_async_context(reading(hub, "g", "p2", 1))
        await sent(hub, hint("a", pid="p2"))
        await eventually(lambda: two.tasks == ["a"])
        assert await sent(hub, hint("b", pid="p1")) == [Outcome.CONFIRMED], "its credit is free again"
    assert sorted(lost) == [Hint("a", 3), Hint("b", 3)]


async def test_the_newest_stream_of_a_process_wins_and_the_older_one_ends() -> None:
    hub = PollHub()
    async with hub.open(), reading(hub, "g", "p") as older, reading(hub, "g", "p") as newer:
        await eventually(lambda: older.ended)
        await sent(hub, hint("a"))
        await eventually(lambda: newer.tasks == ["a"])
        assert len(hub.streams()) == 1


async def test_anycast_prefers_the_named_process_and_falls_back_to_one_with_room() -> None:
    hub = PollHub()
    async with hub.open(), reading(hub, "g", "p1", 3) as one, reading(hub, "g", "p2", 50) as two:
        await sent(hub, *(hint(f"t{number}", pid="p1") for number in range(5)))
        await eventually(lambda: len(one.tasks) + len(two.tasks) == 5)
        assert len(one.tasks) == 3
        assert await sent(hub, hint("x", pid="p9")) == [Outcome.CONFIRMED]


async def test_hints_are_spread_over_idle_workers() -> None:
    hub = PollHub()
    async with hub.open(), AsyncExitStack() as scope:
        readers = [await scope.enter_async_context(reading(hub, "g", f"p{number}", 4)) for number in range(20)]
        await sent(hub, *(hint(f"t{number}") for number in range(20)))
        await eventually(lambda: sum(len(reader.tasks) for reader in readers) == 20)
        assert max(len(reader.tasks) for reader in readers) <= 2


async def test_a_task_given_back_goes_to_the_others_of_its_group_first() -> None:
    hub = PollHub()
    async with hub.open(), AsyncExitStack() as scope:
        readers = [await scope.enter_async_context(reading(hub, "g", f"p{number}")) for number in range(3)]
        for _ in range(9):
            assert await sent(hub, hint("t")) == [Outcome.CONFIRMED]
            hub.settled("t")
        await eventually(lambda: [len(reader.tasks) for reader in readers] == [3, 3, 3])


async def test_an_unblock_is_confirmed_by_a_later_keepalive_and_failed_when_the_stream_ends_first() -> None:
    hub = PollHub(keepalive_s=60)
    reports: list[tuple[Outcome, str]] = []

    def report(_: Outgoing, outcome: Outcome, reason: str) -> None:
        reports.append((outcome, reason))

    async with hub.open():
        async with reading(hub, "g", "p") as reader:
            await hub.publish([unblock("p")], report)
            await eventually(lambda: b"unblock" in reader.bytes)
            assert not reports
            await eventually(lambda: reports == [(Outcome.CONFIRMED, "")])
            assert b": keepalive\n\n" in reader.bytes
            await hub.publish([unblock("p")], report)
        assert reports[1][0] is Outcome.FAILED
        assert "'p'" in reports[1][1]


async def test_a_client_that_reads_nothing_is_dropped_and_its_hints_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub_module, "SWEEP_S", 0.05)
    monkeypatch.setattr(hub_module, "BLOCKED_S", 0.2)
    hub, lost = PollHub(), list[Hint]()
    hub.on_lost(lost.extend)
    async with hub.open():
        stream = hub.stream("g", "deaf", None)
        assert await anext(stream) == b": connected\n\n"
        await sent(hub, hint("a"))
        asyncio.ensure_future(anext(stream))  # noqa: RUF006  (the chunk is taken and never written)
        await eventually(lambda: lost == [Hint("a", 3)])
        assert not hub.streams()


async def test_messages_for_a_client_that_does_not_read_are_bounded() -> None:
    hub, ready = PollHub(), list[str]()
    hub.on_ready(ready.append)
    async with hub.open():
        stream = hub.stream("g", "p", None)
        await anext(stream)
        outcomes = await sent(hub, *(unblock("p") for _ in range(3_000)))
        assert 500 < len(outcomes) < 3_000, "only what found no room is reported so far"
        assert set(outcomes) == {Outcome.NO_CONSUMER}
        await eventually(lambda: ready)
        ready.clear()
        await anext(stream)
        asyncio.ensure_future(anext(stream))  # noqa: RUF006  (asks for more: what waited is written)
        await eventually(lambda: "poll://uni@g/p" in ready)


async def test_too_many_streams_are_refused_but_a_known_process_may_come_back() -> None:
    hub = PollHub(max_streams=1)
    async with hub.open(), reading(hub, "g", "p"):
        with pytest.raises(PollCapacityError, match="Poll registration at capacity"):
            hub.stream("g", "other", None)
        async with reading(hub, "g", "p") as again:
            assert again.bytes


async def test_closing_the_hub_ends_every_stream() -> None:
    hub = PollHub()
    async with AsyncExitStack() as scope:
        async with hub.open():
            readers = [await scope.enter_async_context(reading(hub, "g", f"p{number}")) for number in range(3)]
        await eventually(lambda: all(reader.ended for reader in readers))


events = st.lists(
    st.text(st.characters(blacklist_characters="\r\n", blacklist_categories=["Cs"]), max_size=40), max_size=8
)


@given(events, st.lists(st.integers(1, 9), min_size=1), st.sampled_from(["\n", "\r\n"]), st.booleans())
def test_events_are_read_however_the_bytes_are_cut(
    payloads: list[str], cuts: Sequence[int], end: str, comments: bool
) -> None:
    text = "".join(f"{': hello' + end if comments else ''}data: {payload}{end}{end}" for payload in payloads)
    raw, parser, found = text.encode(), SseParser(10_000), list[bytes]()
    position = turn = 0
    while position < len(raw):
        size = cuts[turn % len(cuts)]
        found += parser.feed(raw[position : position + size])
        position, turn = position + size, turn + 1
    assert [event.decode() for event in found] == payloads
    assert parser.comments == (len(payloads) if comments else 0)


def test_an_event_without_end_does_not_fill_the_memory() -> None:
    parser: Any = SseParser(1_000)
    parser.feed(b"data: " + b"x" * 500)
    with pytest.raises(ValueError, match="1000"):
        parser.feed(b"x" * 600)
