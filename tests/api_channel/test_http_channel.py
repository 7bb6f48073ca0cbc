"""The HTTP channel against real sockets: answers, refusals, servers that are not what they should be."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import orjson
import pytest
from aiohttp import web

from resonate_mq.protocol import requests as r
from resonate_mq.protocol.envelope import Reply, reply_envelope, request_envelope
from resonate_mq.protocol.parse import EXTENSIONS
from resonate_mq.transports.api.http import HttpChannel
from resonate_mq.transports.api.requester import Requester
from resonate_mq.transports.port import TransportConfigError, TransportError
from tests.crash.recording_proxy import RecordingProxy
from tests.support.extensions import ENABLED
from tests.support.processes import free_port
from tests.worker.harness import invocation, serving

GET = request_envelope("promise.get", "1", {"id": "p"})


@asynccontextmanager
async def http(handler: Callable[[web.Request], Awaitable[web.StreamResponse]]) -> AsyncIterator[str]:
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", handler)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


async def test_it_talks_to_a_real_server() -> None:
    async with serving() as server, HttpChannel(str(server.url)).open() as channel:
        answer = await channel.send(GET)
        assert (answer["head"]["status"], answer["kind"], answer["head"]["corrId"]) == (404, "promise.get", "1")
        info = await channel.server_info(None)
        assert (info and info["storeId"]) == (server.store_id if "server.info" in ENABLED else None)


async def test_status_300_is_an_answer_and_no_redirect() -> None:
    async def suspend(request: web.Request) -> web.Response:
        body = reply_envelope("promise.get", "1", Reply(300, {"preload": []}))
        return web.json_response(body, status=300, headers={"Location": "http://127.0.0.1:1/"})

    async with http(suspend) as url, HttpChannel(url).open() as channel:
        assert (await channel.send(GET))["head"]["status"] == 300


async def test_a_redirect_is_not_followed_with_our_token() -> None:
    async def elsewhere(request: web.Request) -> web.Response:
        return web.Response(status=307, headers={"Location": "http://127.0.0.1:1/"})

    async with http(elsewhere) as url, HttpChannel(url, token="t").open() as channel:
        with pytest.raises(TransportError, match="HTTP 307 without an envelope"):
            await channel.send(GET)


async def test_a_refusal_in_plain_text_becomes_an_answer() -> None:
    async def too_large(request: web.Request) -> web.Response:
        return web.Response(status=413, text="body too large")

    async with http(too_large) as url, HttpChannel(url).open() as channel:
        answer = await channel.send(GET)
        assert (answer["head"]["status"], answer["data"]) == (413, "HTTP 413: body too large")


@pytest.mark.parametrize("status", [200, 502, 503])
async def test_something_that_is_no_resonate_server_is_named(status: int) -> None:
    async def proxy_page(request: web.Request) -> web.Response:
        return web.Response(status=status, text="<html>hello</html>")

    async with http(proxy_page) as url, HttpChannel(url).open() as channel:
        with pytest.raises(TransportError, match="is a Resonate server behind this URL"):
            await channel.send(GET)


async def test_nobody_there_is_an_error_that_names_the_url_without_its_password() -> None:
    port = free_port()
    async with HttpChannel(f"http://user:secret@127.0.0.1:{port}").open() as channel:
        with pytest.raises(TransportError, match=f"http://127.0.0.1:{port}: ") as caught:
            await channel.send(GET)
        assert "secret" not in str(caught.value)
        assert caught.value.retryable


async def test_a_server_that_never_answers_is_left_after_the_timeout() -> None:
    async def never(request: web.Request) -> web.Response:
        await asyncio.Event().wait()
        return web.Response()

    async with http(never) as url, HttpChannel(url, request_timeout_s=0.3).open() as channel:
        with pytest.raises(TransportError, match="no answer in time"):
            await channel.send(GET)


@pytest.mark.parametrize(
    ("options", "expected"),
    [({"token": "abc"}, "Bearer abc"), ({"basic_auth": ("u", "p")}, "Basic dTpw")],
    ids=["bearer", "basic"],
)
async def test_credentials_go_into_the_header(options: dict[str, Any], expected: str) -> None:
    seen: list[str | None] = []

    async def note(request: web.Request) -> web.Response:
        seen.append(request.headers.get("Authorization"))
        return web.json_response(reply_envelope("promise.get", "1", Reply(200, {})))

    async with http(note) as url, HttpChannel(url, **options).open() as channel:
        await channel.send(GET)
    assert seen == [expected]


def test_a_url_that_is_none_is_refused_at_once() -> None:
    with pytest.raises(TransportConfigError, match="expected http://HOST:PORT"):
        HttpChannel("localhost:8001")


@pytest.mark.parametrize("extensions", [EXTENSIONS, frozenset[str]()], ids=["extensions", "official"])
async def test_a_server_without_extensions_sees_no_kind_and_no_head_it_does_not_know(
    extensions: frozenset[str],
) -> None:
    async with serving(extensions) as server, RecordingProxy.running(str(server.url)) as proxy:
        async with Requester(HttpChannel(proxy.url)).open() as requester:
            assert (await requester.call(invocation("t", "f"))).ok
            acquired = await requester.call(r.TaskAcquire("t", 0, "me", 1000, claim="c", children=True))
            assert acquired.ok
            create, settle = invocation("t.1", "f"), r.PromiseSettle("t.1", "resolved", invocation("x", "f").param)
            create.tags, create.target = {}, None
            record = r.PromiseRecord(create, settle)
            recorded = await requester.sequence([r.TaskFence("t", 1, record, children=True)] * 2)
            assert [reply.status for reply in recorded] == [200, 200]
            assert (await requester.call(r.TaskRelease("t", 1, "why", 5, counted=False))).ok
        extended = {"batch", "promise.record", "server.info", "worker.hello"} & proxy.kinds
        official = {"corrId", "version"}
        if extensions:
            assert extended == {"batch", "promise.record"}
        else:
            assert not extended
            assert proxy.heads == official


class RawServer:
    """Writes what it is told, byte by byte if need be; counts its connections."""

    def __init__(self, *answers: bytes, then_close: bool = False) -> None:
        self.answers = list(answers)
        self.connections = 0
        self.then_close = then_close

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        while self.answers and await reader.read(65536):
            for byte in self.answers.pop(0):
                writer.write(bytes([byte]))
                await writer.drain()
            if self.then_close:
                break
        writer.close()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[str]:
        async with await asyncio.start_server(self.serve, "127.0.0.1", 0) as server:
            yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"


def raw(reply: Reply, *headers: str, chunked: bool = False) -> bytes:
    body = orjson.dumps(reply_envelope("promise.get", "1", reply))
    if chunked:
        half = len(body) // 2
        parts = (body[:half], body[half:])
        body = b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in parts) + b"0\r\n\r\n"
        headers = (*headers, "Transfer-Encoding: chunked")
    else:
        headers = (*headers, f"Content-Length: {len(body)}")
    return ("\r\n".join(["HTTP/1.1 200 OK", *headers]) + "\r\n\r\n").encode() + body


async def test_answers_in_pieces_in_chunks_and_after_an_interim_answer_are_read() -> None:
    interim = b"HTTP/1.1 100 Continue\r\n\r\n"
    server = RawServer(raw(Reply(200, 1)), raw(Reply(200, 2), chunked=True), interim + raw(Reply(200, 3)))
    async with server.running() as url, HttpChannel(url).open() as channel:
        assert [(await channel.send(GET))["data"] for _ in range(3)] == [1, 2, 3]
    assert server.connections == 1


async def test_a_connection_the_server_closes_is_not_used_again() -> None:
    server = RawServer(raw(Reply(200, 1), "Connection: close"), raw(Reply(200, 2)))
    async with server.running() as url, HttpChannel(url).open() as channel:
        assert [(await channel.send(GET))["data"] for _ in range(2)] == [1, 2]
    assert server.connections == 2


async def test_half_an_answer_is_no_answer() -> None:
    server = RawServer(raw(Reply(200, 1))[:-5], then_close=True)
    async with server.running() as url, HttpChannel(url).open() as channel:
        with pytest.raises(TransportError, match="closed the connection"):
            await channel.send(GET)


async def test_something_that_does_not_speak_http_is_named() -> None:
    server = RawServer(b"220 mail.example.org ESMTP\r\n")
    async with server.running() as url, HttpChannel(url).open() as channel:
        with pytest.raises(TransportError, match=r"not HTTP/1\.1"):
            await channel.send(GET)


async def test_the_answer_to_a_cancelled_request_is_never_the_answer_to_the_next() -> None:
    async with serving() as server, HttpChannel(str(server.url)).open() as channel:
        await channel.send(GET)
        for number in range(50):
            cancelled = asyncio.ensure_future(channel.send(request_envelope("promise.get", f"c{number}", {"id": "p"})))
            await asyncio.sleep(0)
            cancelled.cancel()
            answer = await channel.send(request_envelope("promise.get", f"n{number}", {"id": "p"}))
            assert answer["head"]["corrId"] == f"n{number}"


async def test_a_token_with_a_line_break_cannot_smuggle_a_header() -> None:
    with pytest.raises(TransportConfigError, match="HTTP header"):
        HttpChannel("http://127.0.0.1:1", token="a\r\nX-Evil: 1")
