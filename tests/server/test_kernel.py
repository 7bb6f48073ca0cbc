"""Group commit, atomicity, and what callers get when the store fails (design section 5, D15)."""

import asyncio
from typing import Any

import pytest

from resonate_mq.machine import dispatch
from resonate_mq.machine.state import Footprint, NotLoaded, State
from resonate_mq.protocol.envelope import Reply
from resonate_mq.protocol.records import EMPTY
from resonate_mq.protocol.requests import PromiseCreate, PromiseGet, PromiseSearch
from resonate_mq.server.kernel import Kernel
from resonate_mq.stores.memory import MemoryStore
from resonate_mq.stores.port import OutcomeUnknownError, RefusedDataError, StoreUnavailableError
from tests.server.harness import FOREVER, FaultyStore, running
from tests.support.eventually import eventually


async def create_all(call: Any, ids: list[str]) -> list[tuple[int, Any]]:
    """Create promises concurrently; return their answers."""
    requests = [call("promise.create", id=one, timeoutAt=FOREVER, tags={}) for one in ids]
    return list(await asyncio.gather(*requests))


async def test_requests_that_wait_together_share_one_commit() -> None:
    store = FaultyStore()
    async with running(store) as call:
        await create_all(call, [f"p{n}" for n in range(200)])
        assert store.commits <= 3


async def test_requests_that_come_during_a_commit_share_the_next_one() -> None:
    store = FaultyStore()
    async with running(store) as call:
        store.gate.clear()
        first = asyncio.ensure_future(call.create("first"))
        await eventually(lambda: store.waiting_commits == 1)
        rest = asyncio.ensure_future(create_all(call, [f"p{n}" for n in range(50)]))
        await eventually(lambda: len(call.server.kernel._queue) == 50)
        store.gate.set()
        await first
        await rest
        assert store.commits == 2


async def test_no_answer_leaves_before_the_commit() -> None:
    store = FaultyStore()
    async with running(store) as call:
        store.gate.clear()
        answer = asyncio.ensure_future(call.create("p"))
        await eventually(lambda: store.waiting_commits == 1)
        read = asyncio.ensure_future(call.state("p"))
        done, _ = await asyncio.wait((answer, read), timeout=0.1)
        assert not done
        store.gate.set()
        assert (await answer)["promise"]["id"] == "p"
        assert await read == "pending"


async def test_a_handler_that_raises_leaves_no_trace_and_harms_no_neighbour(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    original = dispatch.apply

    def explode(item: Any, state: State, now_ms: int) -> Reply:
        reply = original(item, state, now_ms)
        if getattr(item, "id", "") == "bad":
            raise RuntimeError("a bug")
        return reply

    monkeypatch.setattr("resonate_mq.server.unit.apply", explode)
    store = FaultyStore()
    async with running(store) as call:
        answers = await create_all(call, ["a", "bad", "b"])
        assert [status for status, _ in answers] == [200, 500, 200]
        assert "RuntimeError: a bug" in caplog.text
        monkeypatch.undo()
        assert (await call("promise.get", id="bad"))[0] == 404
        assert await call.state("a") == await call.state("b") == "pending"
        assert call.server.metrics.failures == {"machine": 1}


async def test_a_request_that_needs_more_is_undone_and_applied_again(monkeypatch: pytest.MonkeyPatch) -> None:
    original = dispatch.apply
    missed: list[str] = []

    def forgetful(item: Any, state: State, now_ms: int) -> Reply:
        reply = original(item, state, now_ms)
        if getattr(item, "id", "") == "p" and not missed:
            missed.append("once")
            raise NotLoaded(Footprint(ids=("other",)))
        return reply

    monkeypatch.setattr("resonate_mq.server.unit.apply", forgetful)
    async with running() as call:
        await call.create("other")
        assert (await call.create("p"))["promise"]["state"] == "pending"
        assert missed == ["once"]


async def test_data_the_store_refuses_is_found_and_answered_400_alone() -> None:
    store = FaultyStore()
    store.refuses, store.refusal = {"bad"}, RefusedDataError("no such thing can be stored")
    async with running(store) as call:
        answers = await create_all(call, ["a", "b", "bad", "c", "d"])
        assert [status for status, _ in answers] == [200, 200, 400, 200, 200]
        assert "refuses" in answers[2][1]
        store.refusal = None
        assert (await call("promise.get", id="bad"))[0] == 404
        assert await call.state("d") == "pending"


async def test_refused_data_within_a_sequence_ends_the_sequence_there() -> None:
    store = FaultyStore()
    store.refuses, store.refusal = {"bad"}, RefusedDataError("no")
    async with store.open():
        kernel = Kernel(store)
        loop = asyncio.ensure_future(kernel.run())
        ids = ["a", "bad", "c"]
        replies = await kernel.submit_sequence([PromiseCreate(one, FOREVER, EMPTY, {}) for one in ids])
        assert [reply.status for reply in replies] == [200, 400]
        store.refusal = None
        found = [(await kernel.submit(PromiseGet(one))).status for one in ids]
        assert found == [200, 404, 404]
        loop.cancel()


async def test_an_unavailable_store_answers_503_fails_readiness_and_recovers_without_restart() -> None:
    store = FaultyStore()
    async with running(store) as call:
        store.failure = StoreUnavailableError("disk full")
        status, sentence = await call("promise.create", id="p", timeoutAt=FOREVER, tags={})
        assert status == 503
        assert "disk full" in sentence
        assert any("disk full" in trouble.reason for trouble in call.server.health.troubles())
        store.failure = None
        # nobody has to send a request: the server looks for itself
        await eventually(lambda: not call.server.health.troubles())
        assert (await call("promise.get", id="p"))[0] == 404
        assert (await call.create("p"))["promise"]["state"] == "pending"


async def test_an_unknown_outcome_is_said_and_never_run_again() -> None:
    store = FaultyStore()
    async with running(store) as call:
        store.failure = OutcomeUnknownError("the connection broke in COMMIT")
        status, sentence = await call("promise.create", id="p", timeoutAt=FOREVER, tags={})
        assert (status, sentence.startswith("outcome unknown, retry")) == (503, True)


async def test_a_full_queue_answers_429() -> None:
    store = FaultyStore()
    async with running(store, max_queue=10) as call:
        store.gate.clear()
        first = asyncio.ensure_future(call.create("first"))
        await eventually(lambda: store.waiting_commits == 1)
        many = asyncio.ensure_future(create_all(call, [f"p{n}" for n in range(15)]))
        await eventually(lambda: len(call.server.kernel._queue) == 10)
        store.gate.set()
        await first
        statuses = [status for status, _ in await many]
        assert statuses.count(429) == 5
        assert statuses.count(200) == 10


async def test_a_sequence_runs_in_order_and_stops_after_its_first_refusal() -> None:
    store = MemoryStore()
    async with store.open():
        kernel = Kernel(store)
        loop = asyncio.ensure_future(kernel.run())
        create = PromiseCreate("a", FOREVER, EMPTY, {})
        replies = await kernel.submit_sequence([create, PromiseGet("a"), PromiseGet("b"), create])
        assert [reply.status for reply in replies] == [200, 200, 404]
        loop.cancel()


async def test_what_waits_when_the_server_stops_is_answered_503() -> None:
    store = FaultyStore()
    async with store.open():
        kernel = Kernel(store)
        loop = asyncio.ensure_future(kernel.run())
        store.gate.clear()
        running_one = kernel.submit(PromiseCreate("a", FOREVER, EMPTY, {}))
        await eventually(lambda: store.waiting_commits == 1)
        waiting = kernel.submit(PromiseGet("a"))
        loop.cancel()
        assert (await running_one).status == 503
        assert (await waiting).status == 503


async def test_searches_see_what_came_before_them_in_the_same_group() -> None:
    store = MemoryStore()
    async with store.open():
        kernel = Kernel(store)
        loop = asyncio.ensure_future(kernel.run())
        for one in ("b", "a"):
            kernel.submit(PromiseCreate(one, FOREVER, EMPTY, {}))
        page = await kernel.submit(PromiseSearch("pending"))
        assert [one["id"] for one in page.data["promises"]] == ["a", "b"]
        loop.cancel()
