"""What is larger than the server takes: refused alone, at once, and nobody else waits for it."""

from __future__ import annotations

import asyncio

from resonate_mq import Context
from resonate_mq.protocol import requests as r
from resonate_mq.protocol.records import EMPTY, Value
from resonate_mq.server import Server, ServerOptions
from resonate_mq.stores.memory import MemoryStore
from resonate_mq.transports.api.http import HttpChannel
from resonate_mq.transports.api.requester import Requester
from resonate_mq.transports.poll.hub import PollHub
from tests.support.extensions import ENABLED
from tests.worker.harness import working

LIMIT = 20_000
FAR = 4_000_000_000_000


def small_server() -> Server:
    options = ServerOptions(port=0, extensions=ENABLED, max_body_bytes=LIMIT)
    return Server(store=MemoryStore(), transports=[PollHub("poll")], options=options)


def create(promise_id: str, size: int) -> r.PromiseCreate:
    return r.PromiseCreate(promise_id, FAR, Value(None, "x" * size) if size else EMPTY, {})


async def test_a_request_larger_than_the_limit_is_answered_413_and_its_neighbours_200() -> None:
    async with small_server() as server, Requester(HttpChannel(str(server.url))).open() as requester:
        sizes = [0, 2 * LIMIT, LIMIT // 2, LIMIT // 2, LIMIT // 2]
        calls = (requester.call(create(f"p{n}", size), deadline_s=20) for n, size in enumerate(sizes))
        replies = await asyncio.wait_for(asyncio.gather(*calls), 20)
        assert [reply.status for reply in replies] == [200, 413, 200, 200, 200]
        assert "larger than 20000 bytes" in replies[1].data


async def test_a_result_larger_than_the_limit_rejects_its_own_call_and_delays_no_other() -> None:
    def large(ctx: Context) -> str:
        return "x" * 2 * LIMIT

    def small(ctx: Context) -> str:
        return "small"

    async with small_server() as server, working(str(server.url), large, small) as site:
        for n in range(4):
            await site.call(f"large{n}", "large")
            await site.call(f"small{n}", "small")
        assert [await site.result(f"small{n}") for n in range(4)] == ["small"] * 4
        for n in range(4):
            record = await asyncio.wait_for(site.listeners.settled(f"large{n}"), 20)
            assert record["state"] == "rejected"
            assert (await site.task(f"large{n}"))["version"] == 1
