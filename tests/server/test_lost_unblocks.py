"""A server whose every unblock is lost: whoever waits still gets his result (D23)."""

import asyncio
from collections.abc import Sequence

from resonate_mq import Context, Resonate
from resonate_mq.protocol.messages import Unblock, decode_message
from resonate_mq.transports.poll.hub import PollHub
from resonate_mq.transports.port import Outcome, Outgoing, Report
from tests.server.harness import serving


class DeafHub(PollHub):
    """Confirms every unblock and sends none."""

    def __init__(self) -> None:
        super().__init__()
        self.lost = 0

    async def publish(self, batch: Sequence[Outgoing], report: Report) -> None:
        kept = []
        for one in batch:
            if isinstance(decode_message(one.payload), Unblock):
                self.lost += 1
                report(one, Outcome.CONFIRMED, "")
            else:
                kept.append(one)
        await super().publish(kept, report)


async def test_every_result_returns_although_every_unblock_is_lost() -> None:
    hub = DeafHub()
    async with serving(None, hub) as call:
        worker = Resonate.remote(url=call.url, group="workers", log_level="WARNING")
        client = Resonate.remote(url=call.url, group="clients", log_level="WARNING")

        @worker.register
        def double(ctx: Context, n: int) -> int:
            return 2 * n

        async with worker, client:
            handles = [await client.options(target="workers").aio.begin_rpc(f"d{n}", "double", n) for n in range(20)]
            async with asyncio.timeout(60):
                assert [await handle for handle in handles] == [2 * n for n in range(20)]
        assert hub.lost > 0
