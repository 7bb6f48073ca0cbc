"""A subscription's flow: what counts as an interruption and what is only a change of credits."""

import asyncio
import logging

import pytest

from resonate_mq import Context
from tests.support.eventually import eventually
from tests.worker.harness import serving, working

AGAIN = "deliveries flow again"


async def test_full_slots_are_no_interruption_and_register_nothing_again(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, logger="resonate_mq.worker.feed")
    async with serving() as server:
        port = int(str(server.url).rsplit(":", 1)[1])
        changes = 0

        def given_back_again() -> bool:
            return site.worker.counters.value("given_back") > changes

        async def held(ctx: Context) -> None:
            await asyncio.wait_for(go.wait(), 30)

        stack = working(str(server.url), held, concurrency=1)
        site = await stack.__aenter__()
        for round_ in range(3):
            go = asyncio.Event()
            for n in range(4):
                await site.call(f"h{round_}.{n}", "held")
            await eventually(given_back_again, within_s=20)
            changes = int(site.worker.counters.value("given_back"))
            go.set()
            for n in range(4):
                await site.result(f"h{round_}.{n}")
        assert changes >= 3
        assert AGAIN not in caplog.text
    await eventually(lambda: "deliveries stopped" in caplog.text, within_s=20)
    async with serving(port=port):
        await eventually(lambda: AGAIN in caplog.text, within_s=20)
        await stack.__aexit__(None, None, None)
