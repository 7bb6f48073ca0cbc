"""What is particular to HTTP push: where it may go, what counts as delivered, how much runs at a time."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
import pytest
from aiohttp import web
from aiohttp.abc import ResolveResult

from resonate_mq.protocol.addresses import parse_address
from resonate_mq.transports.port import Outcome, Outgoing, TransportConfigError
from resonate_mq.transports.push import AllowedHosts, HttpPush
from tests.support.eventually import eventually


class Site:
    """An HTTP server that remembers what it was asked and answers as told."""

    def __init__(self) -> None:
        self.requests: list[tuple[str, bytes, dict[str, str]]] = []
        self.status = 200
        self.headers: dict[str, str] = {}
        self.go = asyncio.Event()
        self.go.set()
        self.under_way = self.most_under_way = 0
        self.url = ""

    async def take(self, request: web.Request) -> web.Response:
        self.requests.append((request.path, await request.read(), dict(request.headers)))
        self.under_way += 1
        self.most_under_way = max(self.most_under_way, self.under_way)
        await self.go.wait()
        self.under_way -= 1
        return web.Response(status=self.status, headers=self.headers, text="a word from the site")


@asynccontextmanager
async def serving() -> AsyncIterator[Site]:
    site = Site()
    application = web.Application()
    application.router.add_route("*", "/{rest:.*}", site.take)
    runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    site.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    try:
        yield site
    finally:
        site.go.set()
        await runner.cleanup()


def outgoing(url: str, number: int = 0) -> Outgoing:
    return Outgoing(parse_address(url), b'{"kind":"execute"}', f"order-é\n:{number}", 1)


async def pushed(push: HttpPush, *messages: Outgoing) -> list[tuple[Outcome, str]]:
    reports: list[tuple[Outcome, str]] = []
    await push.publish(messages, lambda _, outcome, reason: reports.append((outcome, reason)))
    await eventually(lambda: len(reports) == len(messages))
    return reports


async def test_nothing_is_pushed_anywhere_unless_hosts_are_listed() -> None:
    async with serving() as site, HttpPush("http").open() as push:
        [(outcome, reason)] = await pushed(push, outgoing(site.url))
        assert outcome is Outcome.FAILED
        assert "not allowed" in reason
        assert "allowed: none" in reason
        assert not site.requests


async def test_a_push_is_a_post_of_the_message_and_any_2xx_a_delivery() -> None:
    async with serving() as site, HttpPush("http", ["127.0.0.1"], token="word").open() as push:
        for site.status in (200, 202, 204):
            assert await pushed(push, outgoing(f"{site.url}/run?x=1")) == [(Outcome.CONFIRMED, "")]
        path, body, headers = site.requests[0]
        assert (path, body) == ("/run", b'{"kind":"execute"}')
        assert headers["Content-Type"] == "application/json"
        assert headers["Authorization"] == "Bearer word"


@pytest.mark.parametrize("status", [302, 307, 400, 404, 500, 503])
async def test_every_other_answer_is_a_failure_and_redirects_are_not_followed(status: int) -> None:
    async with serving() as site, HttpPush("http", ["127.0.0.1"]).open() as push:
        site.status, site.headers = status, {"Location": f"{site.url}/elsewhere"}
        [(outcome, reason)] = await pushed(push, outgoing(f"{site.url}/run"))
        assert outcome is Outcome.FAILED
        assert f"answered {status}" in reason
        assert "a word from the site" in reason
        assert [path for path, _, _ in site.requests] == ["/run"]


async def test_no_more_requests_than_allowed_run_at_one_time_and_room_is_announced() -> None:
    async with serving() as site:
        push = HttpPush("http", ["127.0.0.1"], concurrency_per_host=3)
        ready: list[str] = []
        push.on_ready(ready.append)
        async with push.open():
            site.go.clear()
            reports: list[Outcome] = []
            batch = [outgoing(f"{site.url}/{number}", number) for number in range(10)]
            await push.publish(batch, lambda _, outcome, __: reports.append(outcome))
            assert reports == [Outcome.NO_CONSUMER] * 7
            await eventually(lambda: site.under_way == 3)
            assert not ready
            site.go.set()
            await eventually(lambda: set(ready) == {f"{site.url}/{number}" for number in range(3, 10)})
            assert site.most_under_way == 3


async def test_a_function_that_does_not_answer_in_time_is_a_failure() -> None:
    async with serving() as site, HttpPush("http", ["127.0.0.1"], request_s=0.3).open() as push:
        site.go.clear()
        [(outcome, reason)] = await pushed(push, outgoing(site.url))
        assert outcome is Outcome.FAILED
        assert site.url in reason


@pytest.mark.parametrize(
    "host", ["169.254.169.254", "[fe80::1]", "[::ffff:169.254.169.254]", "0.0.0.0", "224.0.0.1", "[::]"]
)
async def test_link_local_addresses_are_refused_even_when_listed(host: str) -> None:
    async with HttpPush("http", [host]).open() as push:
        [(outcome, reason)] = await pushed(push, outgoing(f"http://{host}/latest/meta-data"))
        assert outcome is Outcome.FAILED
        assert "link-local" in reason


async def test_a_name_that_leads_to_a_link_local_address_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    class Resolver:
        async def resolve(self, host: str, port: int, family: socket.AddressFamily) -> list[ResolveResult]:
            return [ResolveResult(hostname=host, host="169.254.169.254", port=port, family=family, proto=0, flags=0)]

        async def close(self) -> None:
            pass

    monkeypatch.setattr(aiohttp, "ThreadedResolver", Resolver)
    async with HttpPush("http", ["metadata.example"]).open() as push:
        [(outcome, reason)] = await pushed(push, outgoing("http://metadata.example/"))
        assert outcome is Outcome.FAILED
        assert "link-local" in reason


@pytest.mark.parametrize(
    ("hosts", "url", "allowed"),
    [
        (["api.example.org"], "https://api.example.org/x", True),
        (["API.example.org"], "https://api.EXAMPLE.org./x", True),
        (["api.example.org"], "https://api.example.org.evil.net/", False),
        (["api.example.org"], "https://api.example.org@evil.net/", False),
        (["api.example.org:8443"], "https://api.example.org:8443/", True),
        (["api.example.org:8443"], "https://api.example.org/", False),
        (["api.example.org:443"], "https://api.example.org/", True),
        (["*.example.org"], "http://a.b.example.org/", True),
        (["*.example.org"], "http://example.org/", False),
        (["*.example.org"], "http://badexample.org/", False),
        (["[::1]:8080"], "http://[::1]:8080/", True),
    ],
)
def test_hosts_are_matched_whole(hosts: list[str], url: str, allowed: bool) -> None:
    assert (AllowedHosts(hosts).refusal(url) == "") is allowed


@pytest.mark.parametrize("host", ["*", "a.*.org", "http://x", "x/y", "user@x", "", "x:port"])
def test_a_host_entry_that_means_nothing_is_refused_at_the_start(host: str) -> None:
    with pytest.raises(TransportConfigError, match="HTTP push host"):
        AllowedHosts([host])


async def test_secrets_in_a_url_are_not_shown() -> None:
    async with HttpPush("http", ["127.0.0.1"]).open() as push:
        [(outcome, reason)] = await pushed(push, outgoing("http://me:sesame@127.0.0.1:9/x?token=sesame"))
        assert outcome is Outcome.FAILED
        assert "sesame" not in reason
