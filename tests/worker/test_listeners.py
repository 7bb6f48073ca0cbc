"""Waiting for promises of others, with unblocks that come, come twice, or never come (D23)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from resonate_mq.protocol import requests as r
from resonate_mq.protocol.records import EMPTY, Value
from resonate_mq.transports.api.requester import Requester
from resonate_mq.worker import listeners as module
from resonate_mq.worker.listeners import ListenError, Listeners, ListenersByServer
from tests.api_channel.faulty import FaultyChannel, api, kinds
from tests.support.eventually import eventually
from tests.support.extensions import ENABLED

FAR = 4_000_000_000_000


@asynccontextmanager
async def listening() -> AsyncIterator[tuple[Listeners, Requester, FaultyChannel]]:
    async with api() as handler:
        channel = FaultyChannel(handler)
        async with (
            Requester(channel).open() as requester,
            Listeners(requester, "poll://uni@g/p").open() as listeners,
        ):
            yield listeners, requester, channel


async def create(requester: Requester, promise_id: str) -> None:
    assert (await requester.call(r.PromiseCreate(promise_id, FAR, EMPTY, {}))).ok


async def settle(requester: Requester, promise_id: str) -> dict[str, object]:
    reply = await requester.call(r.PromiseSettle(promise_id, "resolved", Value(None, "v")))
    return dict(reply.data["promise"])


async def test_a_promise_settled_before_is_answered_by_the_registration() -> None:
    async with listening() as (listeners, requester, _):
        await create(requester, "p")
        record = await settle(requester, "p")
        assert await listeners.settled("p") == record
        assert listeners.waiting_for == 0


async def test_an_unblock_ends_the_wait_of_everybody() -> None:
    async with listening() as (listeners, requester, _):
        await create(requester, "p")
        waits = [asyncio.ensure_future(listeners.settled("p")) for _ in range(3)]
        await eventually(lambda: listeners.waiting_for == 1)
        record = await settle(requester, "p")
        listeners.observe(record)
        listeners.observe(record)
        assert [await wait for wait in waits] == [record] * 3


async def test_a_lost_unblock_is_made_up_for_by_registering_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "FIRST_REPEAT_S", 0.3)
    monkeypatch.setattr(module, "TICK_S", 0.2)
    async with listening() as (listeners, requester, _):
        await create(requester, "p")
        wait = asyncio.ensure_future(listeners.settled("p"))
        await eventually(lambda: listeners.waiting_for == 1)
        record = await settle(requester, "p")
        assert await asyncio.wait_for(wait, 10) == record


async def test_repeats_come_less_and_less_often_and_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "FIRST_REPEAT_S", 0.2)
    monkeypatch.setattr(module, "TICK_S", 0.05)
    async with listening() as (listeners, requester, channel):
        for number in range(20):
            await create(requester, f"p{number}")
        waits = [asyncio.ensure_future(listeners.settled(f"p{number}")) for number in range(20)]
        await eventually(lambda: kinds(channel.sent).count("promise.register_listener") >= 60, within_s=20)
        watch = listeners._watches["p0"]
        assert watch.interval_s >= 0.4
        batches = [one for one in channel.sent if "promise.register_listener" in kinds([one])]
        if "batch" in ENABLED:
            assert len(batches) < 40
        else:
            assert {one["kind"] for one in batches} == {"promise.register_listener"}
        for wait in waits:
            wait.cancel()


async def test_after_a_reconnect_everything_is_registered_at_once() -> None:
    async with listening() as (listeners, requester, _):
        await create(requester, "p")
        wait = asyncio.ensure_future(listeners.settled("p"))
        await eventually(lambda: listeners.waiting_for == 1)
        record = await settle(requester, "p")
        listeners.reconnected()
        assert await asyncio.wait_for(wait, 3) == record


async def test_a_promise_that_does_not_exist_is_an_error_that_says_so() -> None:
    async with listening() as (listeners, _, _):
        with pytest.raises(ListenError, match="404") as caught:
            await listeners.settled("nobody")
        assert caught.value.status == 404
        assert listeners.waiting_for == 0


async def test_a_cancelled_wait_leaves_nothing_behind_and_others_waiting() -> None:
    async with listening() as (listeners, requester, _):
        await create(requester, "p")
        gone = asyncio.ensure_future(listeners.settled("p"))
        stays = asyncio.ensure_future(listeners.settled("p"))
        await eventually(lambda: listeners.waiting_for == 1)
        gone.cancel()
        record = await settle(requester, "p")
        listeners.observe(record)
        assert await stays == record
        assert listeners.waiting_for == 0


async def test_registration_travels_with_the_create() -> None:
    async with listening() as (listeners, requester, channel):
        await requester.facts()
        channel.sent.clear()
        wait = asyncio.ensure_future(listeners.watch("p"))
        replies = await requester.sequence([r.PromiseCreate("p", FAR, EMPTY, {}), listeners.registration("p")])
        listeners.observe_reply("p", replies[1])
        record = await settle(requester, "p")
        listeners.observe(record)
        assert await wait == record
        together = ["promise.create", "promise.register_listener"]
        assert kinds(channel.sent)[:-1] == (["batch", *together] if "batch" in ENABLED else together)


async def test_a_repeat_that_overtakes_the_create_fails_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "FIRST_REPEAT_S", 0.2)
    monkeypatch.setattr(module, "TICK_S", 0.05)
    async with listening() as (listeners, requester, channel):
        with listeners.expected("p") as settled:
            await eventually(lambda: kinds(channel.sent).count("promise.register_listener") >= 2)
            assert not settled.done()
            replies = await requester.sequence([r.PromiseCreate("p", FAR, EMPTY, {}), listeners.registration("p")])
            listeners.observe_reply("p", replies[1])
            record = await settle(requester, "p")
            assert await asyncio.wait_for(asyncio.shield(settled), 10) == record


async def test_an_unblock_of_another_store_ends_no_wait_of_ours() -> None:
    async with listening() as (listeners, requester, _):
        facts = await requester.facts()
        await create(requester, "p")
        wait = asyncio.ensure_future(listeners.settled("p"))
        await eventually(lambda: listeners.waiting_for == 1)
        by_server = ListenersByServer({requester: listeners})
        by_server.deliver("another store", ({"id": "p", "state": "resolved"},))
        if facts.store_id is None:  # such a server's messages cannot be told from others'
            assert (await wait)["state"] == "resolved"
            return
        assert not wait.done()
        record = await settle(requester, "p")
        by_server.deliver(facts.store_id, (record,))
        assert await wait == record
