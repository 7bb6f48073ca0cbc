"""HTTP: routes, streams, limits, readiness, metrics, the graceful stop (protocol sections 1.4 and 1.6; D28)."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

import aiohttp
import orjson
import pytest

from resonate_mq.protocol.envelope import request_envelope
from resonate_mq.server import Server, ServerConfigError, ServerOptions
from resonate_mq.stores.memory import MemoryStore
from resonate_mq.stores.port import StoreUnavailableError
from resonate_mq.transports.poll.hub import PollHub
from tests.server.harness import FOREVER, FaultyStore, HttpCaller, Recorder, serving, turns
from tests.support.eventually import eventually

GROUP = "poll://any@g"


@contextlib.asynccontextmanager
async def stream(call: HttpCaller, path: str = "/poll/g/p1", **headers: str) -> AsyncIterator[aiohttp.ClientResponse]:
    """Open a poll stream."""
    async with call.session.get(call.url + path, headers=headers) as response:
        yield response


async def event(response: aiohttp.ClientResponse) -> bytes:
    """Return the next event, comments skipped."""
    while True:
        block = await response.content.readuntil(b"\n\n")
        if not block.startswith(b":"):
            return block


async def connection(call: HttpCaller) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Open a bare TCP connection to the server."""
    host, _, port = call.url.removeprefix("http://").partition(":")
    return await asyncio.open_connection(host, int(port))


async def test_the_status_of_the_answer_is_the_status_of_the_response() -> None:
    async with serving() as call:
        assert (await call("promise.create", id="p", timeoutAt=FOREVER, tags={}))[0] == 200
        assert (await call("promise.get", id="none"))[0] == 404
        async with call.session.post(
            call.url + "/", data=orjson.dumps(request_envelope("promise.get", "c", {"id": "p"}))
        ) as response:
            assert response.headers["content-type"] == "application/json"
            assert "content-encoding" not in response.headers


async def test_a_hint_is_one_event_of_one_line_and_ascii() -> None:
    async with serving(None, PollHub()) as call, stream(call) as response:
        assert response.status == 200
        assert response.headers["content-type"] == "text/event-stream"
        assert response.headers["cache-control"] == "no-cache"
        await eventually(lambda: response.content)
        await call("promise.create", id="é", timeoutAt=FOREVER, tags={"resonate:target": GROUP})
        block = await event(response)
        assert block.startswith(b"data: {")
        assert block.count(b"\n") == 2
        assert block.isascii()
        message = orjson.loads(block[6:])
        assert message["data"] == {"task": {"id": "é", "version": 0}}
        assert message["head"]["serverUrl"] == call.url


async def test_group_and_process_are_percent_decoded() -> None:
    async with serving(None, PollHub()) as call, stream(call, "/poll/a%2Fb/p%201"):
        target = {"resonate:target": "poll://any@a%2Fb"}
        status, _ = await call("promise.create", id="p", timeoutAt=FOREVER, tags=target)
        assert status == 200
        async with stream(call, "/poll/a%2Fb/p2") as second:
            assert second.status == 200


async def test_a_hint_waits_until_its_group_connects() -> None:
    async with serving(None, PollHub()) as call:
        for n in range(5):
            await call("promise.create", id=f"p{n}", timeoutAt=FOREVER, tags={"resonate:target": GROUP})
        async with stream(call) as response:
            got = [orjson.loads((await event(response))[6:])["data"]["task"]["id"] for _ in range(5)]
            assert got == [f"p{n}" for n in range(5)]


async def test_a_worker_is_sent_no_more_than_its_credits_until_it_has_finished() -> None:
    async with serving(None, PollHub()) as call, stream(call, "/poll/g/p1?credits=2") as response:
        for n in range(5):
            await call("promise.create", id=f"p{n}", timeoutAt=FOREVER, tags={"resonate:target": GROUP})
        first, second = [orjson.loads((await event(response))[6:])["data"]["task"]["id"] for _ in range(2)]
        third = asyncio.ensure_future(event(response))
        await call("task.acquire", id=first, version=0, pid="p1", ttl=60_000)
        done, _ = await asyncio.wait((third,), timeout=0.2)
        assert not done, "an acquired task still takes a credit"
        action = {"kind": "promise.settle", "head": {}, "data": {"id": first, "state": "resolved", "value": {}}}
        await call("task.fulfill", id=first, version=1, action=action)
        assert orjson.loads((await third)[6:])["data"]["task"]["id"] not in (first, second)


async def test_hints_that_went_down_with_a_stream_are_sent_to_the_next_worker() -> None:
    async with serving(None, PollHub()) as call:
        async with stream(call, "/poll/g/p1?credits=8") as response:
            await call("promise.create", id="p", timeoutAt=FOREVER, tags={"resonate:target": GROUP})
            await event(response)
        async with stream(call, "/poll/g/p2") as response:
            assert b'"p"' in await event(response)


async def test_the_newest_stream_of_a_process_wins_and_the_older_ends() -> None:
    async with serving(None, PollHub()) as call, stream(call) as older:
        await older.content.readuntil(b"\n\n")
        async with stream(call) as newer:
            await older.content.read()
            assert older.content.at_eof()
            await call("promise.create", id="p", timeoutAt=FOREVER, tags={"resonate:target": GROUP})
            assert b'"p"' in await event(newer)


async def test_streams_at_capacity_and_without_token_are_refused_in_plain_text() -> None:
    async with serving(None, PollHub(max_streams=1), token="t") as call:
        ticket = {"Authorization": "Bearer t"}
        assert await call.get("/poll/g/p1") == (401, "Unauthorized")
        async with stream(call, **ticket) as first:
            await first.content.readuntil(b"\n\n")
            assert await call.get("/poll/g/p2", ticket) == (503, "Poll registration at capacity")


async def test_bad_credits_are_refused() -> None:
    async with serving(None, PollHub()) as call:
        status, text = await call.get("/poll/g/p1?credits=many")
        assert (status, "integer" in text) == (400, True)


@pytest.mark.parametrize("path", ["/promises", "/promises/x/y", "/schedules/s", "/tasks/claim", "/tasks"])
@pytest.mark.parametrize("method", ["GET", "POST", "PATCH", "DELETE"])
async def test_routes_of_yesterday_are_gone(path: str, method: str) -> None:
    async with serving() as call, call.session.request(method, call.url + path) as response:
        assert response.status == 410
        assert "no longer supported" in (await response.json())["error"]


async def test_unknown_routes_and_methods_get_the_framework_s_answers() -> None:
    async with serving(None, PollHub()) as call:
        assert (await call.get("/nowhere"))[0] == 404
        assert (await call.get("/"))[0] == 405
        assert (await call.get("/poll/only-group"))[0] == 404
        async with call.session.post(call.url + "/health") as response:
            assert response.status == 405


async def test_the_token_is_taken_from_the_head_or_the_header() -> None:
    async with serving(None, token="secret") as call:
        assert (await call("promise.get", id="p"))[0] == 401
        assert (await call("promise.get", {"auth": "secret"}, id="p"))[0] == 404
        body = orjson.dumps(request_envelope("promise.get", "c", {"id": "p"}))
        assert (await call.post(body, {"Authorization": "Bearer secret"}))[0] == 404
        assert (await call.post(body, {"Authorization": "Bearer wrong"}))[0] == 401
        assert (await call.get("/capabilities"))[0] == 401
        assert (await call.get("/metrics"))[0] == 401
        assert (await call.get("/health"))[0] == (await call.get("/ready"))[0] == 200


async def test_health_is_empty_and_ready_says_what_is_wrong() -> None:
    store, recorder = FaultyStore(), Recorder()
    async with serving(store, recorder) as call:
        assert await call.get("/health") == (200, "")
        assert await call.get("/ready") == (200, '{"ready":true}')
        recorder.well = (False, "the broker is away")
        store.failure = StoreUnavailableError("disk full")
        await call("promise.create", id="p", timeoutAt=FOREVER, tags={})
        status, text = await call.get("/ready")
        assert status == 503
        reasons = {one["part"]: one["reason"] for one in orjson.loads(text)["reasons"]}
        assert reasons["transport rec"] == "the broker is away"
        assert "disk full" in reasons["store"]
        recorder.well, store.failure = (True, ""), None

        async def ready() -> bool:
            return (await call.get("/ready"))[0] == 200

        await eventually(ready)


async def test_a_loop_that_ended_fails_readiness_by_name() -> None:
    async with serving() as call:
        for task in asyncio.all_tasks():
            if task.get_name() == "timers":
                task.cancel()
        await turns(1)
        status, text = await call.get("/ready")
        assert (status, "timers loop has ended" in text) == (503, True)


async def test_capabilities_is_server_info_over_http() -> None:
    async with serving(None, PollHub()) as call:
        _, text = await call.get("/capabilities")
        shown, (_, info) = orjson.loads(text), await call("server.info")
        assert 0 <= info.pop("now") - shown.pop("now") < 5_000
        assert shown == info
    async with serving(None, extensions=frozenset()) as call:
        assert (await call.get("/capabilities"))[0] == 404


async def test_metrics_count_requests_messages_and_commits() -> None:
    recorder = Recorder()
    async with serving(None, recorder) as call:
        await call("promise.create", id="p", timeoutAt=FOREVER, tags={"resonate:target": "rec://any@g"})
        await call("promise.get", id="none")
        await eventually(lambda: recorder.published)
        _, text = await call.get("/metrics")
        for line in (
            'resonate_mq_requests_total{kind="promise.create",status="200"} 1.0',
            'resonate_mq_requests_total{kind="promise.get",status="404"} 1.0',
            'resonate_mq_published_total{outcome="confirmed",transport="rec"} 1.0',
            "resonate_mq_commit_requests_count 1.0",
            "resonate_mq_ready 1.0",
            "resonate_mq_backlog_age_seconds 0.0",
        ):
            assert line in text, text


async def test_connections_are_kept_alive() -> None:
    async with serving() as call:
        reader, writer = await connection(call)
        body = orjson.dumps(request_envelope("promise.get", "c", {"id": "p"}))
        for _ in range(3):
            writer.write(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))
            head = await reader.readuntil(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 404")
            assert b"connection: close" not in head.lower()
            length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
            await reader.readexactly(length)
        writer.close()


async def test_headers_beyond_their_limit_are_refused() -> None:
    async with serving(None, max_header_bytes=2_000) as call:
        for request in (
            b"GET /health HTTP/1.1\r\nHost: x\r\nX-Big: " + b"a" * 3_000 + b"\r\n\r\n",
            b"GET /" + b"a" * 3_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
            b"GET /health HTTP/1.1\r\n" + b"X-N: a\r\n" * 1_000 + b"\r\n",
        ):
            reader, writer = await connection(call)
            writer.write(request)
            assert (await reader.read()).startswith(b"HTTP/1.1 431")
            writer.close()


async def test_a_client_that_dawdles_is_cut_off() -> None:
    async with serving(None, request_read_s=0.2) as call:
        silent = await connection(call)
        half_a_header = await connection(call)
        half_a_header[1].write(b"POST / HTTP/1.1\r\nHost: x\r\n")
        half_a_body = await connection(call)
        half_a_body[1].write(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{")
        for reader, writer in (silent, half_a_header, half_a_body):
            assert (await reader.read()).startswith(b"HTTP/1.1 408")
            writer.close()
        assert (await call.get("/health"))[0] == 200


async def test_what_is_not_http_is_refused() -> None:
    async with serving() as call:
        reader, writer = await connection(call)
        writer.write(b"\x16\x03\x01\x02\x00\x01hello")
        assert (await reader.read()).startswith(b"HTTP/1.1 400")
        writer.close()


async def test_a_graceful_stop_finishes_requests_and_ends_streams() -> None:
    store = FaultyStore()
    async with contextlib.AsyncExitStack() as stack:
        server = await stack.enter_async_context(contextlib.AsyncExitStack())
        call = await server.enter_async_context(serving(store, PollHub()))
        session = await stack.enter_async_context(aiohttp.ClientSession())
        polling = await session.get(call.url + "/poll/g/p1")
        store.gate.clear()
        body = orjson.dumps(request_envelope("promise.create", "c", {"id": "p", "timeoutAt": FOREVER, "tags": {}}))
        request = asyncio.ensure_future(session.post(call.url + "/", data=body))
        await eventually(lambda: store.waiting_commits == 1)
        stopping = asyncio.ensure_future(server.aclose())
        await turns(1)
        store.gate.set()
        response = await request
        assert response.status == 200
        await stopping
        await polling.content.read()
        with pytest.raises(aiohttp.ClientConnectorError):
            await session.get(call.url + "/health")


async def test_a_port_that_is_taken_is_refused_by_name() -> None:
    async with serving() as call:
        port = int(call.url.rpartition(":")[2])
        with pytest.raises(ServerConfigError, match=f"127.0.0.1:{port}"):
            async with Server(MemoryStore(), (), ServerOptions(port=port)):
                pass


async def test_a_group_with_an_official_worker_is_sent_no_packs() -> None:
    async with serving(None, PollHub()) as call:
        hello = {"group": "g", "pid": "ours", "addresses": [], "concurrency": 80, "free": 80, "functions": []}
        await call("worker.hello", **hello)
        create = [
            [request_envelope("promise.create", "i", {"id": f"p{n}", "timeoutAt": FOREVER, "tags": tags})]
            for n in range(20)
            for tags in [{"resonate:target": GROUP}]
        ]
        async with stream(call, "/poll/g/official") as official:
            await official.content.readuntil(b"\n\n")
            await call("batch", sequences=create)
            for _ in range(20):
                assert "task" in orjson.loads((await event(official))[6:])["data"]


async def test_hints_that_are_ready_together_are_spread_over_idle_workers() -> None:
    async with serving(None, PollHub()) as call, contextlib.AsyncExitStack() as stack:
        streams = []
        for n in range(4):
            hello = {"group": "g", "pid": f"w{n}", "addresses": [], "concurrency": 80, "free": 80, "functions": []}
            await call("worker.hello", **hello)
            response = await stack.enter_async_context(stream(call, f"/poll/g/w{n}?credits=80"))
            await response.content.readuntil(b"\n\n")
            streams.append(response)
        tags = {"resonate:target": GROUP}
        create = [
            [request_envelope("promise.create", "i", {"id": f"p{n}", "timeoutAt": FOREVER, "tags": tags})]
            for n in range(20)
        ]
        await call("batch", sequences=create)
        packs = [orjson.loads((await event(response))[6:])["data"]["tasks"] for response in streams]
        assert [len(pack) for pack in packs] == [5] * 4
