"""The requester over the real API: batches, sequences, retries, fall-backs."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from resonate_mq.protocol import requests as r
from resonate_mq.protocol.addresses import parse_address
from resonate_mq.protocol.envelope import Reply, reply_envelope
from resonate_mq.protocol.parse import EXTENSIONS
from resonate_mq.protocol.records import EMPTY, Value
from resonate_mq.transports.api.requester import Requester, ServerFacts
from resonate_mq.transports.port import TransportError
from tests.api_channel.faulty import FaultyChannel, api, kinds
from tests.support.eventually import eventually
from tests.support.extensions import ENABLED

TARGET = "poll://any@g"
FAR = 4_000_000_000_000


def create(promise_id: str, *, target: bool = False) -> r.PromiseCreate:
    if target:
        return r.PromiseCreate(promise_id, FAR, EMPTY, {"resonate:target": TARGET}, parse_address(TARGET))
    return r.PromiseCreate(promise_id, FAR, EMPTY, {})


def operations(envelope: dict[str, Any]) -> int:
    """How many operations travel in a message."""
    return len(envelope["data"]["sequences"]) if envelope["kind"] == "batch" else 1


def settle(promise_id: str, data: str = "v") -> r.PromiseSettle:
    return r.PromiseSettle(promise_id, "resolved", Value(None, data))


@asynccontextmanager
async def connected(
    server: frozenset[str] = ENABLED, allowed: frozenset[str] = EXTENSIONS, **options: Any
) -> AsyncIterator[tuple[Requester, FaultyChannel]]:
    async with api(server) as handler:
        channel = FaultyChannel(handler)
        async with Requester(channel, allowed=allowed, **options).open() as requester:
            yield requester, channel


async def test_a_call_gets_the_reply_of_the_server() -> None:
    async with connected() as (requester, _):
        reply = await requester.call(create("p"))
        assert (reply.status, reply.data["promise"]["id"]) == (200, "p")
        missing = await requester.call(r.PromiseGet("nobody"))
        assert missing.status == 404
        assert "not found" in missing.data


async def test_what_is_asked_in_one_turn_travels_in_one_batch() -> None:
    async with connected() as (requester, channel):
        await requester.facts()
        channel.sent.clear()
        replies = await asyncio.gather(*(requester.call(create(f"p{n}")) for n in range(16)))
        assert all(reply.ok for reply in replies)
        expected = ["batch"] if "batch" in ENABLED else ["promise.create"] * 16
        assert [envelope["kind"] for envelope in channel.sent] == expected
        assert [reply.data["promise"]["id"] for reply in replies] == [f"p{n}" for n in range(16)]


async def test_an_idle_requester_sends_a_lone_request_without_a_batch() -> None:
    async with connected() as (requester, channel):
        await requester.facts()
        channel.sent.clear()
        await requester.call(create("p"))
        assert kinds(channel.sent) == ["promise.create"]


async def test_at_most_four_batches_of_a_quarter_of_the_load_are_in_flight() -> None:
    """Without batches so many requests."""
    in_flight = [100] * 4 if "batch" in ENABLED else [1] * 64
    async with connected() as (requester, channel):
        await requester.facts()
        channel.sent.clear()
        channel.gate = asyncio.Event()
        calls = [asyncio.ensure_future(requester.call(create(f"p{n}"))) for n in range(1000)]
        await eventually(lambda: len(channel.sent) == len(in_flight))
        await asyncio.sleep(0)
        assert [operations(envelope) for envelope in channel.sent] == in_flight
        channel.gate.set()
        assert all(reply.ok for reply in await asyncio.gather(*calls))
        assert all(operations(envelope) <= max(in_flight) for envelope in channel.sent)


async def test_a_sequence_stops_after_its_first_refusal() -> None:
    async with connected() as (requester, _):
        replies = await requester.sequence([create("a"), settle("missing"), create("b")])
        assert [reply.status for reply in replies] == [200, 404]
        assert (await requester.call(r.PromiseGet("b"))).status == 404


async def test_a_sequence_longer_than_a_batch_may_be_keeps_its_order() -> None:
    async with connected() as (requester, channel):
        replies = await requester.sequence([create(f"p{n:04}") for n in range(1500)])
        assert [reply.data["promise"]["id"] for reply in replies] == [f"p{n:04}" for n in range(1500)]
        for envelope in channel.sent:
            assert sum(len(sequence) for sequence in envelope["data"].get("sequences", ())) <= 1000


async def test_a_lost_answer_is_asked_for_again() -> None:
    async with connected() as (requester, channel):
        await requester.facts()
        channel.lose_answers = 3
        reply = await requester.call(settle_of_new := create("p"))
        assert reply.ok
        assert settle_of_new.id == reply.data["promise"]["id"]


async def test_a_server_that_is_away_is_retried_until_it_is_back_and_reported_meanwhile() -> None:
    async with connected() as (requester, channel):
        states: list[tuple[bool, str]] = []
        requester.on_state(lambda reachable, reason: states.append((reachable, reason)))
        channel.away = True
        call = asyncio.ensure_future(requester.call(create("p")))
        await eventually(lambda: states == [(False, "connection refused")])
        assert requester.away == "connection refused"
        channel.away = False
        assert (await call).ok
        assert states[-1] == (True, "")
        assert requester.away is None


@pytest.mark.parametrize("allowed", [EXTENSIONS, frozenset[str]()], ids=["extensions", "official"])
async def test_that_the_server_is_back_is_noticed_although_nobody_asks_anything(allowed: frozenset[str]) -> None:
    async with connected(allowed=allowed) as (requester, channel):
        states: list[bool] = []
        requester.on_state(lambda reachable, reason: states.append(reachable))
        channel.away = True
        with pytest.raises(TransportError):
            await requester.call(create("p"), deadline_s=1.5)
        assert states == [False]
        channel.away = False
        await eventually(lambda: states == [False, True])


async def test_a_call_without_an_answer_fails_at_its_deadline_and_says_why() -> None:
    async with connected() as (requester, channel):
        channel.away = True
        started = time.monotonic()
        with pytest.raises(TransportError, match=r"promise\.create before its deadline; connection refused"):
            await requester.call(create("p"), deadline_s=0.3)
        assert 0.2 < time.monotonic() - started < 3


async def test_requests_that_hang_do_not_hold_up_those_that_come_later() -> None:
    async with connected() as (requester, channel):
        await requester.facts()
        states: list[bool] = []
        requester.on_state(lambda reachable, reason: states.append(reachable))
        channel.gate = asyncio.Event()  # never set: a host that vanished without a word
        hanging = [asyncio.ensure_future(requester.call(create(f"h{n}"), deadline_s=1)) for n in range(200)]
        with pytest.raises(TransportError, match="before its deadline"):
            await hanging[0]
        channel.gate = None
        assert (await requester.call(create("p"), deadline_s=5)).ok
        for call in hanging:
            with pytest.raises(TransportError):
                await call
        await eventually(lambda: states in ([], [False, True]))


async def test_a_request_that_hangs_fails_at_its_deadline() -> None:
    async with connected() as (requester, channel):
        await requester.facts()
        channel.gate = asyncio.Event()
        with pytest.raises(TransportError, match="before its deadline"):
            await requester.call(create("p"), deadline_s=0.3)
        channel.gate.set()
        assert (await requester.call(create("q"))).ok


@pytest.mark.parametrize("status", [429, 503])
async def test_a_busy_server_is_asked_again(status: int) -> None:
    async with connected() as (requester, channel):
        await requester.facts()
        refusals = iter(range(3))

        def busy(envelope: dict[str, Any]) -> dict[str, Any] | None:
            if next(refusals, None) is None:
                return None
            head = {**envelope["head"], "status": status}
            return {"kind": envelope["kind"], "head": head, "data": "busy"}

        channel.override = busy
        assert (await requester.call(create("p"))).ok
        channel.override = lambda envelope: {
            "kind": envelope["kind"],
            "head": {**envelope["head"], "status": status},
            "data": "busy",
        }
        assert await requester.call(create("q"), deadline_s=0.3) == (status, "busy")


async def test_a_busy_answer_inside_a_batch_retries_only_the_rest_of_that_sequence() -> None:
    async with connected() as (requester, channel):
        await requester.facts()
        original = channel._handler
        refused: list[object] = []

        async def once_busy(envelope: dict[str, Any]) -> dict[str, Any]:
            if envelope["data"].get("id") == "b" and not refused:
                refused.append(envelope)
                return reply_envelope(envelope["kind"], envelope["head"]["corrId"], Reply(503, "later"))
            answer = await original(envelope)
            if envelope["kind"] == "batch" and not refused:
                refused.append(answer["data"]["sequences"][0])
                kind, head = answer["data"]["sequences"][0][1]["kind"], answer["data"]["sequences"][0][1]["head"]
                answer["data"]["sequences"][0][1] = {"kind": kind, "head": {**head, "status": 503}, "data": "later"}
            return answer

        channel._handler = once_busy
        channel.sent.clear()
        replies = await requester.sequence([create("a"), create("b"), create("c")])
        assert [reply.status for reply in replies] == [200, 200, 200]
        if "batch" in ENABLED:
            assert kinds(channel.sent) == ["batch", *["promise.create"] * 3, "batch", *["promise.create"] * 2]
        else:
            assert [envelope["data"]["id"] for envelope in channel.sent] == ["a", "b", "b", "c"]


async def test_a_lost_acquire_is_repeated_with_its_claim_and_stays_ours() -> None:
    async with connected() as (requester, channel):
        await requester.call(create("t", target=True))
        channel.lose_answers, channel.lose_kind = 1, "task.acquire"
        reply = await requester.call(r.TaskAcquire("t", 0, "me", 60_000, claim="token"))
        assert (reply.status, reply.data["task"]["version"], reply.data["task"]["pid"]) == (200, 1, "me")
        assert ("task.get" in kinds(channel.sent)) == ("claim" not in ENABLED)


@pytest.mark.parametrize("server", [EXTENSIONS - {"claim"}, frozenset()], ids=["no claim", "official"])
async def test_without_claims_a_lost_acquire_is_settled_by_task_get(server: frozenset[str]) -> None:
    async with connected(server) as (requester, channel):
        await requester.call(create("t", target=True))
        channel.lose_answers, channel.lose_kind = 1, "task.acquire"
        reply = await requester.call(r.TaskAcquire("t", 0, "me", 60_000, claim="token"))
        assert (reply.status, reply.data["task"]["version"]) == (200, 1)
        assert reply.data["promise"]["id"] == "t"
        other = await requester.call(r.TaskAcquire("t", 0, "you", 60_000, claim="other"))
        assert other.status == 409


async def test_without_claims_a_lost_task_create_goes_on_with_its_sequence() -> None:
    async with connected(frozenset()) as (requester, channel):
        await requester.call(create("warm"))
        channel.lose_answers, channel.lose_kind = 1, "task.create"
        take = r.TaskCreate("me", 60_000, create("t", target=True), claim="token")
        replies = await requester.sequence([take, r.RegisterListener("t", "poll://uni@g/me")])
        assert [reply.status for reply in replies] == [200, 200]
        assert replies[0].data["task"]["pid"] == "me"


async def test_a_conflict_after_a_lost_answer_is_a_conflict_when_somebody_else_has_it() -> None:
    async with connected(frozenset()) as (requester, channel):
        await requester.call(create("t", target=True))
        assert (await requester.call(r.TaskAcquire("t", 0, "you", 60_000))).ok
        channel.lose_answers, channel.lose_kind = 1, "task.acquire"
        assert (await requester.call(r.TaskAcquire("t", 0, "me", 60_000))).status == 409


async def test_an_official_server_gets_no_extension_but_everything_works() -> None:
    async with connected(frozenset()) as (requester, channel):
        await requester.call(create("t", target=True))
        acquired = await requester.call(r.TaskAcquire("t", 0, "me", 60_000, claim="c", children=True))
        record = r.PromiseRecord(create("t.1"), settle("t.1", "one"))
        replies = await requester.sequence(
            [
                r.TaskFence("t", 1, record, children=True),
                r.TaskFence("t", 1, create("t.2"), children=True),
                r.TaskRelease("t", 1, "a reason", 1000, counted=False),
            ]
        )
        assert acquired.ok
        assert [reply.status for reply in replies] == [200, 200, 200]
        recorded = replies[0].data["action"]["data"]["promise"]
        assert (recorded["id"], recorded["state"], recorded["value"]) == ("t.1", "resolved", {"data": "one"})
        sent = [envelope for envelope in channel.sent if envelope["kind"] != "server.info"]
        assert not {"batch", "promise.record", "worker.hello"} & set(kinds(sent))
        assert kinds(sent) == ["promise.create", "task.acquire", *["task.fence"] * 3, "task.release"]
        for envelope in sent:
            assert set(envelope["head"]) == {"corrId", "version"}
            assert not {"claim", "reason", "delay", "counted"} & set(envelope["data"])


async def test_with_extensions_forbidden_not_even_server_info_is_asked() -> None:
    async with connected(allowed=frozenset()) as (requester, channel):
        assert (await requester.call(create("p"))).ok
        await asyncio.gather(*(requester.call(create(f"p{n}")) for n in range(5)))
        facts = await requester.facts()
        assert (facts.store_id, facts.capabilities, facts.default_transport) == (None, frozenset(), "poll")
        assert set(kinds(channel.sent)) == {"promise.create"}
        refused = await requester.call(r.WorkerSearch())
        assert refused.status == 400


async def test_what_the_server_says_about_itself_is_asked_once_and_again_after_it_was_away() -> None:
    async with connected() as (requester, channel):
        facts = await requester.facts()
        if "server.info" in ENABLED:
            assert facts.store_id
            assert (facts.default_transport, facts.name) == ("amqp", "test")
        else:
            assert facts == ServerFacts()
        await requester.call(create("p"))
        await requester.facts()
        asked = kinds(channel.sent).count("server.info")
        channel.lose_answers = 1
        await requester.call(create("q"))
        assert kinds(channel.sent).count("server.info") == asked + 1


async def test_a_refused_extension_falls_back_and_forgets_what_was_announced() -> None:
    async with connected() as (requester, channel):
        await requester.facts()
        await requester.call(create("t", target=True))
        await requester.call(r.TaskAcquire("t", 0, "me", 60_000))

        def no_record(envelope: dict[str, Any]) -> dict[str, Any] | None:
            if envelope["data"].get("action", {}).get("kind") != "promise.record":
                return None
            return reply_envelope(envelope["kind"], envelope["head"]["corrId"], _refused("unknown action"))

        channel.override = no_record
        channel.sent.clear()
        reply = await requester.call(r.TaskFence("t", 1, r.PromiseRecord(create("t.1"), settle("t.1"))))
        assert reply.data["action"]["data"]["promise"]["state"] == "resolved"
        # a server that never announced it is not asked for it, and refuses nothing
        assert kinds(channel.sent).count("server.info") == ("promise.record" in ENABLED)


async def test_a_server_that_no_longer_knows_batch_gets_requests_one_by_one() -> None:
    async with connected() as (requester, channel):
        await requester.facts()

        def older(envelope: dict[str, Any]) -> dict[str, Any] | None:
            if envelope["kind"] in ("batch", "server.info"):
                refusal = _refused(f"Unknown operation: {envelope['kind']}")
                return reply_envelope(envelope["kind"], envelope["head"]["corrId"], refusal)
            return None

        channel.override = older
        replies = await asyncio.gather(*(requester.sequence([create(f"a{n}"), create(f"b{n}")]) for n in range(5)))
        assert all(reply.ok for sequence in replies for reply in sequence)
        assert all(len(sequence) == 2 for sequence in replies)


async def test_a_value_that_is_not_json_fails_alone() -> None:
    async with connected() as (requester, _):
        await requester.facts()
        bad = requester.call(create("lone surrogate \ud800"))
        replies = await asyncio.gather(*(requester.call(create(f"p{n}")) for n in range(3)), bad)
        assert [reply.status for reply in replies] == [200, 200, 200, 400]
        assert "surrogate" in replies[3].data


async def test_a_batch_that_is_too_large_is_taken_apart() -> None:
    async with connected() as (requester, channel):
        await requester.facts()

        def small_body(envelope: dict[str, Any]) -> dict[str, Any] | None:
            if envelope["kind"] != "batch":
                return None
            head = {**envelope["head"], "status": 413}
            return {"kind": "batch", "head": head, "data": "HTTP 413: too large"}

        channel.override = small_body
        replies = await asyncio.gather(*(requester.sequence([create(f"a{n}"), create(f"b{n}")]) for n in range(3)))
        assert [[reply.status for reply in sequence] for sequence in replies] == [[200, 200]] * 3


async def test_an_answer_to_another_request_is_no_answer() -> None:
    async with connected() as (requester, channel):
        await requester.facts()
        mixed = iter(range(2))

        def mixed_up(envelope: dict[str, Any]) -> dict[str, Any] | None:
            if next(mixed, None) is None:
                return None
            head = {"corrId": "another", "version": "2026-04-01", "status": 200}
            return {"kind": envelope["kind"], "head": head, "data": {"promise": {"id": "evil"}}}

        channel.override = mixed_up
        assert (await requester.call(create("p"))).data["promise"]["id"] == "p"


async def test_debug_requests_and_requests_with_a_head_travel_outside_batches() -> None:
    async with connected() as (requester, channel):
        await requester.facts()
        channel.sent.clear()
        head = {"resonate:debug_time": 1_000}
        replies = await asyncio.gather(
            requester.call(r.PromiseCreate("d", FAR, EMPTY, {}), head=head),
            requester.call(create("p")),
            requester.call(r.DebugSnap()),
        )
        assert replies[0].data["promise"]["createdAt"] == 1_000
        assert all(reply.ok for reply in replies)
        assert "batch" not in kinds(channel.sent)


async def test_closing_fails_what_has_no_answer_yet() -> None:
    async with api() as handler:
        channel = FaultyChannel(handler)
        async with Requester(channel).open() as requester:
            await requester.facts()
            channel.gate = asyncio.Event()
            call = asyncio.ensure_future(requester.call(create("p")))
            await eventually(lambda: len(channel.sent) > 1)
        with pytest.raises(TransportError, match="closed before the answer"):
            await call
        with pytest.raises(TransportError, match="is closed"):
            await requester.call(create("p"))


async def test_a_token_goes_into_every_head() -> None:
    async with api(token="secret") as handler:
        channel = FaultyChannel(handler)
        async with Requester(channel, token="secret").open() as requester:
            replies = await asyncio.gather(*(requester.call(create(f"p{n}")) for n in range(3)))
            assert all(reply.ok for reply in replies)
            assert all(envelope["head"]["auth"] == "secret" for envelope in channel.sent)
        async with Requester(FaultyChannel(handler), token="wrong").open() as requester:
            assert (await requester.call(create("p"))).status == 401


def _refused(text: str) -> Reply:

    return Reply(400, text)
