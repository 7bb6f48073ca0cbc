"""With extensions off nothing leaves the SDK that an official server would not understand, and everything works."""

from __future__ import annotations

from typing import Any

import pytest

from resonate_mq import Resonate
from resonate_mq.protocol import requests as r
from resonate_mq.protocol.parse import EXTENSIONS
from resonate_mq.protocol.records import EMPTY
from resonate_mq.transports.api.adapt import ServerFacts
from resonate_mq.transports.api.http import HttpChannel
from resonate_mq.transports.api.requester import Requester
from tests.extensions.everything import KINDS, calls, everything
from tests.extensions.official import HEADS, violations
from tests.extensions.strict_proxy import StrictProxy
from tests.support.extensions import ENABLED, ENV_DISABLED
from tests.worker.harness import invocation, serving

OFF = frozenset[str]()
HEAD = {"corrId": "1", "version": "2026-04-01"}
CREATE: dict[str, Any] = {"kind": "promise.create", "head": {}, "data": {"id": "t.1", "timeoutAt": 4_000_000_000_000}}
SETTLE = {"id": "t.1", "state": "resolved"}
EXTENDED: dict[str, dict[str, Any]] = {
    "batch": {"kind": "batch", "head": HEAD, "data": {"sequences": []}},
    "promise.record": {
        "kind": "task.fence",
        "head": HEAD,
        "data": {
            "id": "t",
            "version": 1,
            "action": {**CREATE, "kind": "promise.record", "data": {**CREATE["data"], **SETTLE}},
        },
    },
    "claim": {
        "kind": "task.acquire",
        "head": HEAD,
        "data": {"id": "t", "version": 0, "pid": "p", "ttl": 1, "claim": "c"},
    },
    "server.info": {"kind": "server.info", "head": HEAD, "data": {}},
    "task.release": {"kind": "task.release", "head": HEAD, "data": {"id": "t", "version": 1, "reason": "because"}},
    "preload": {
        "kind": "task.acquire",
        "head": {**HEAD, "resonate-mq:preload": "children"},
        "data": {"id": "t", "version": 0, "pid": "p", "ttl": 1},
    },
    "worker.hello": {
        "kind": "worker.hello",
        "head": HEAD,
        "data": {"group": "g", "pid": "p", "addresses": [], "concurrency": 1, "free": 1},
    },
}
"""One request that uses each extension."""


async def test_an_official_server_would_understand_everything_that_is_sent() -> None:
    async with serving(OFF) as server, StrictProxy.running_strictly(str(server.url)) as proxy:
        await everything(proxy)
    assert proxy.violations == []
    # `task.get` settles an acquire whose answer was lost (D8); on a slow machine there may be one
    assert proxy.kinds - {"task.get"} == KINDS - {"task.get"}
    assert proxy.heads == {"corrId", "version"}
    # one question for each pair of client and lease thread, and none afterwards
    assert 0 < proxy.probes <= 2 * 7


async def test_where_extensions_are_on_the_same_proxy_sees_them_and_everything_works_all_the_same() -> None:
    async with serving(EXTENSIONS) as server, StrictProxy.running_strictly(str(server.url)) as proxy:
        await calls(proxy)
    assert {
        "unknown kind batch",
        "task.fence: unknown action promise.record",
        "task.fence: head: unknown resonate-mq:preload",
        "unknown kind worker.hello",
    } <= set(proxy.violations)
    assert any("unknown claim" in one for one in proxy.violations)


def test_there_is_a_request_here_for_every_extension() -> None:
    assert EXTENDED.keys() == EXTENSIONS


@pytest.mark.parametrize("extension", sorted(EXTENSIONS))
async def test_a_server_without_an_extension_answers_400_to_it(extension: str) -> None:
    async with serving(EXTENSIONS - {extension}) as server, HttpChannel(str(server.url)).open() as channel:
        answer = await channel.send(EXTENDED[extension])
        assert answer["head"]["status"] == 400, answer
        assert isinstance(answer["data"], str)
    async with serving(EXTENSIONS) as server, HttpChannel(str(server.url)).open() as channel:
        assert (await channel.send(EXTENDED[extension]))["head"]["status"] in (200, 404)


@pytest.mark.parametrize("extension", sorted(EXTENSIONS))
def test_the_proxy_knows_no_extension(extension: str) -> None:
    assert violations(EXTENDED[extension])


async def test_a_server_without_extensions_says_nothing_about_itself() -> None:
    async with serving(OFF) as server, HttpChannel(str(server.url)).open() as channel:
        assert await channel.server_info(None) is None


async def test_a_server_that_says_nothing_gets_no_extension_of_any_request() -> None:
    create = r.PromiseCreate("t.1", 4_000_000_000_000, EMPTY, {})
    async with (
        serving(OFF) as server,
        StrictProxy.running_strictly(str(server.url)) as proxy,
        Requester(HttpChannel(proxy.url), token="secret").open() as requester,
    ):
        assert await requester.facts() == ServerFacts()
        replies = await requester.sequence(
            [
                invocation("t", "f"),
                r.TaskAcquire("t", 0, "p", 60_000, claim="c", children=True),
                r.TaskFence("t", 1, r.PromiseRecord(create, r.PromiseSettle("t.1", "resolved", EMPTY)), children=True),
                r.TaskSuspend("t", 1, ("t.1",), children=True),
                r.TaskRelease("t", 1, "because", 1000, counted=False),
                invocation("u", "f"),
            ]
        )
        assert [reply.status for reply in replies] == [200, 200, 200, 300, 200, 200]
        take = r.TaskCreate("p", 60_000, invocation("v", "f"), claim="c", children=True)
        assert (await requester.call(take)).ok
        for unknown in (r.WorkerSearch(), r.ServerInfo()):
            assert (await requester.call(unknown)).status == 400
    assert proxy.violations == []
    assert proxy.heads <= HEADS


async def test_local_mode_has_the_extensions_of_this_run() -> None:
    async with Resonate.local(log_level="ERROR") as client:
        opened = await client._core.runtime.ready()
        assert (await opened.requester.facts()).capabilities == ENABLED


async def test_local_mode_switches_extensions_off_as_a_server_does(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(ENV_DISABLED, '["batch", "claim"]')
    async with Resonate.local(log_level="ERROR") as client:
        opened = await client._core.runtime.ready()
        assert (await opened.requester.facts()).capabilities == EXTENSIONS - {"batch", "claim"}


@pytest.mark.parametrize("text", ["batch", '["bach"]', "[[1]]", "{}"])
def test_a_wrong_name_of_an_extension_is_refused_by_name(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv(ENV_DISABLED, text)
    with pytest.raises(ValueError, match=f"{ENV_DISABLED} must be a JSON array of names out of batch, claim"):
        Resonate.local()
