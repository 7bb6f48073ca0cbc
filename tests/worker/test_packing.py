"""Packed hints over a real broker: fast where work is short, fair where it is long (D41)."""

from __future__ import annotations

import asyncio
import secrets
import threading
from contextlib import AsyncExitStack
from typing import Any

import pytest

from resonate_mq.functions.context import Context
from resonate_mq.protocol.parse import EXTENSIONS
from resonate_mq.transports.amqp.transport import AmqpTransport
from tests.support.eventually import eventually
from tests.worker.harness import Site, invocation, serving, working

WORKERS, SLOTS = 5, 4

pytestmark = pytest.mark.broker


async def begin(site: Site, count: int, name: str, group: str) -> list[str]:
    """Create calls at the same moment, so that one commit makes their hints ready together."""
    ids = [f"{name}-{number}" for number in range(count)]
    creates = [invocation(one, name, target=f"amqp://any@{group}") for one in ids]
    replies = await asyncio.gather(*(site.requester.call(create) for create in creates))
    assert all(reply.ok for reply in replies)
    return ids


async def test_twenty_long_tasks_do_not_go_to_one_worker_while_others_idle(amqp_url: str) -> None:
    group = f"fair-{secrets.token_hex(4)}"
    started: list[str] = []
    release = threading.Event()

    def make(pid: str) -> Any:
        def long(ctx: Context) -> str:
            started.append(pid)
            release.wait(60)
            return pid

        return long

    broker = AmqpTransport("amqp", amqp_url)
    async with serving(EXTENSIONS, broker=broker) as server, AsyncExitStack() as stack:
        sites = [
            await stack.enter_async_context(
                working(
                    str(server.url),
                    make(f"p{number}"),
                    pid=f"p{number}",
                    group=group,
                    transport=AmqpTransport("amqp", amqp_url),
                    concurrency=SLOTS,
                    threads=SLOTS,
                )
            )
            for number in range(WORKERS)
        ]
        await eventually(lambda: all(site.worker.ready()[0] for site in sites), within_s=20)
        await begin(sites[0], WORKERS * SLOTS, "long", group)
        try:
            await eventually(lambda: len(started) == WORKERS * SLOTS, within_s=20)
            assert {pid: started.count(pid) for pid in started} == {f"p{n}": SLOTS for n in range(WORKERS)}
        finally:
            release.set()


async def test_a_few_slots_get_through_hundreds_of_short_tasks_without_giving_much_back(amqp_url: str) -> None:
    group = f"short-{secrets.token_hex(4)}"
    ran = 0

    async def short(ctx: Context) -> None:
        nonlocal ran
        ran += 1

    broker = AmqpTransport("amqp", amqp_url)
    async with (
        serving(EXTENSIONS, broker=broker) as server,
        working(str(server.url), short, group=group, transport=AmqpTransport("amqp", amqp_url), concurrency=8) as site,
    ):
        await eventually(lambda: site.worker.ready()[0], within_s=20)
        ids = await begin(site, 400, "short", group)
        await asyncio.gather(*(site.result(one) for one in ids))
        assert ran == 400
        assert site.worker.counters.value("given_back") <= 40
