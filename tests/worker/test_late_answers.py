"""Acquisitions whose answer comes when their lease is almost or wholly over: nothing is started for nothing."""

import time

from resonate_mq import Context
from resonate_mq.protocol import requests as r
from tests.support.eventually import eventually
from tests.worker.harness import invocation, serving, working

TTL_S = 30.0


async def test_a_lease_heard_of_too_late_is_renewed_before_the_body_starts() -> None:
    ran: list[str] = []

    def step(ctx: Context) -> str:
        ran.append(ctx.id)
        return "done"

    async with serving() as server, working(str(server.url), step, ttl_s=TTL_S) as site:
        reply = await site.requester.call(site.worker.take(invocation("late", "step")))
        site.worker.adopt(reply.data, sent_at=time.monotonic() - 2 * TTL_S)
        assert await site.result("late") == "done"
        assert ran == ["late"]
        assert (await site.task("late"))["version"] == 1


async def test_nothing_is_started_for_a_lease_that_was_over_when_it_was_heard_of() -> None:
    ran: list[str] = []

    def step(ctx: Context) -> str:
        ran.append(ctx.id)
        return "done"

    async with serving() as server, working(str(server.url), step, ttl_s=TTL_S) as site:
        create = site.worker.take(invocation("over", "step"))
        reply = await site.requester.call(create)
        assert (await site.requester.call(r.TaskHalt("over"))).ok
        site.worker.adopt(reply.data, sent_at=time.monotonic() - 2 * TTL_S)
        await eventually(lambda: site.worker.running == 0, within_s=10)
        assert ran == []
        assert (await site.requester.call(r.TaskContinue("over"))).ok
        assert await site.result("over") == "done"
        assert ran == ["over"]
