"""Kept-alive lines that a firewall or a moved machine has silenced without a word."""

import asyncio

import pytest

from resonate_mq.protocol.requests import PromiseGet
from resonate_mq.transports.api.connection import ConnectionPool
from resonate_mq.transports.api.http import HttpChannel
from resonate_mq.transports.api.requester import Requester
from resonate_mq.transports.port import TransportError
from tests.support.proxy import ChaosProxy
from tests.worker.harness import serving

HEALTH = b"GET /health HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n"


async def test_one_silent_line_is_enough_to_distrust_the_others() -> None:
    async with serving() as server, ChaosProxy.running(int(str(server.url).rsplit(":", 1)[1])) as line:
        pool = ConnectionPool(f"http://127.0.0.1:{line.port}")
        try:
            several = await asyncio.gather(*(pool.request(HEALTH, 20) for _ in range(3)))
            assert [status for status, _ in several] == [200] * 3
            line.swallow()
            with pytest.raises(TimeoutError):
                await pool.request(HEALTH, 0.3)
            assert (await pool.request(HEALTH, 5))[0] == 200
            line.swallow()
            caller = asyncio.ensure_future(pool.request(HEALTH, 20))
            await asyncio.sleep(0)
            caller.cancel()
            await asyncio.wait([caller])
            assert (await pool.request(HEALTH, 5))[0] == 200
        finally:
            pool.close()


async def test_a_request_on_a_silent_line_is_not_called_unsent() -> None:
    async with (
        serving() as server,
        ChaosProxy.running(int(str(server.url).rsplit(":", 1)[1])) as line,
        Requester(HttpChannel(f"http://127.0.0.1:{line.port}")).open() as requester,
    ):
        assert (await requester.call(PromiseGet("p"))).status == 404
        line.freeze()
        with pytest.raises(TransportError, match=r"promise\.get before its deadline; it was sent"):
            await requester.call(PromiseGet("p"), deadline_s=0.3)
        line.thaw()
