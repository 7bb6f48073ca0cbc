"""The API: order of checks, extensions on and off, batch, presence, token (protocol section 1.4; D1, D9, D28)."""

from typing import Any

import orjson
import pytest

from resonate_mq.protocol.envelope import request_envelope
from resonate_mq.protocol.parse import EXTENSIONS
from resonate_mq.server import Server, ServerConfigError, ServerOptions
from resonate_mq.stores.memory import MemoryStore
from tests.server.harness import FOREVER, Caller, Recorder, running

GROUP = "rec://any@g"


def inner(kind: str, corr_id: str = "i", **data: Any) -> dict[str, Any]:
    """Return an envelope to stand in a batch."""
    return request_envelope(kind, corr_id, data)


async def raw(call: Caller, body: object) -> dict[str, Any]:
    """Send any JSON and return the whole answer."""
    _, answer = await call.server.api.handle(orjson.dumps(body))
    decoded: dict[str, Any] = orjson.loads(answer)
    return decoded


async def test_the_frame_is_checked_before_the_token_and_the_token_before_the_kind() -> None:
    async with running(None, token="secret") as call:
        assert (await raw(call, [1]))["head"]["status"] == 400
        head = {"corrId": "c", "version": "2020-01-01"}
        assert "Unsupported protocol version" in (await raw(call, {"kind": "x", "head": head, "data": {}}))["data"]
        assert await call("no.such.kind") == (401, "Unauthorized")
        assert await call("no.such.kind", {"auth": "wrong"}) == (401, "Unauthorized")
        assert await call("no.such.kind", {"auth": "secret"}) == (400, "Unknown operation: no.such.kind")


async def test_kind_and_corr_id_are_recovered_from_a_bad_frame() -> None:
    async with running() as call:
        answer = await raw(call, {"kind": "promise.get", "head": {"corrId": "seven"}, "data": {}})
        assert (answer["kind"], answer["head"]["corrId"], answer["head"]["status"]) == ("promise.get", "seven", 400)
        answer = await raw(call, {"kind": 7, "head": {"corrId": 7, "version": "2026-04-01"}, "data": {}})
        assert (answer["kind"], answer["head"]["corrId"]) == ("unknown", "0")


async def test_server_info_names_the_store_the_capabilities_and_the_transports() -> None:
    async with running(None, Recorder(), name="orders") as call:
        info = await call.ok("server.info")
        assert info["storeId"] == call.server.store_id
        assert info["name"] == "orders"
        assert info["capabilities"] == sorted(EXTENSIONS)
        assert (info["transports"], info["defaultTransport"]) == (["rec"], "rec")


async def test_every_extension_that_is_switched_off_is_a_400() -> None:
    async with running(None, Recorder(), extensions=frozenset()) as call:
        await call.create("t", GROUP)
        uses: list[tuple[str, dict[str, Any] | None, dict[str, Any]]] = [
            ("server.info", None, {}),
            ("batch", None, {"sequences": [[inner("promise.get", id="t")]]}),
            ("worker.hello", None, {"group": "g", "pid": "p", "concurrency": 1, "free": 1}),
            ("worker.search", None, {}),
            ("task.acquire", None, {"id": "t", "version": 0, "pid": "p", "ttl": 1_000, "claim": "c"}),
            (
                "task.acquire",
                {"resonate-mq:preload": "children"},
                {"id": "t", "version": 0, "pid": "p", "ttl": 1_000},
            ),
            ("task.release", None, {"id": "t", "version": 0, "reason": "because"}),
            ("task.fence", None, {"id": "t", "version": 0, "action": _record("t.1")}),
        ]
        for kind, head, data in uses:
            status, sentence = await call(kind, head, **data)
            assert status == 400, (kind, sentence)
        assert (await call.task("t"))["version"] == 0


async def test_a_batch_answers_each_sequence_up_to_its_first_refusal() -> None:
    async with running() as call:
        create = inner("promise.create", "one", id="a", timeoutAt=FOREVER, tags={})
        data = await call.ok(
            "batch",
            sequences=[
                [create, inner("promise.get", "two", id="a"), inner("promise.get", "three", id="no"), create],
                [inner("promise.get", "four", id=""), create],
                [inner("server.info", "five")],
            ],
        )
        shown = [[(one["head"]["corrId"], one["head"]["status"]) for one in row] for row in data["sequences"]]
        assert shown == [[("one", 200), ("two", 200), ("three", 404)], [("four", 400)], [("five", 200)]]


async def test_a_batch_refuses_batches_debug_and_too_much() -> None:
    async with running(None, debug=True) as call:
        data = await call.ok("batch", sequences=[[inner("batch", sequences=[])], [inner("debug.reset")]])
        assert [row[0]["head"]["status"] for row in data["sequences"]] == [400, 400]
        malformed: list[Any] = [None, {}, [{}], [[]]]
        for bad in malformed:
            assert (await call("batch", sequences=bad))[0] == 400
        many = [[inner("promise.get", id="p")] * 1_001]
        status, sentence = await call("batch", sequences=many)
        assert (status, "at most 1000" in sentence) == (400, True)
        assert await call.ok("batch", sequences=[]) == {"sequences": []}


async def test_all_of_a_batch_shares_one_commit() -> None:
    async with running() as call:
        sequences = [[inner("promise.create", id=f"p{n}", timeoutAt=FOREVER, tags={})] for n in range(100)]
        await call.ok("batch", sequences=sequences)
        assert sum(call.server.metrics.commit_sizes.counts) == 1


async def test_worker_search_lists_who_announced_himself_and_who_holds_what() -> None:
    async with running(None, Recorder()) as call:
        hello = {
            "group": "g",
            "pid": "p1",
            "addresses": ["rec://uni@g/p1"],
            "concurrency": 8,
            "free": 7,
            "resident": True,
            "functions": [{"name": "foo", "version": 1}],
        }
        answer = await call.ok("worker.hello", **hello)
        assert answer["storeId"] == call.server.store_id
        for task_id, pid in (("a", "p1"), ("b", "stranger")):
            await call.create(task_id, GROUP)
            await call.acquire(task_id, pid=pid)
        await call.ok("task.heartbeat", pid="stranger", tasks=[{"id": "b", "version": 1}])
        first, second = (await call.ok("worker.search"))["workers"]
        assert first == {**hello, "announced": True, "tasks": ["a"], "lastSeenAt": first["lastSeenAt"]}
        assert (second["pid"], second["announced"], second["tasks"]) == ("stranger", False, ["b"])
        assert second["lastSeenAt"] > 0
        assert [one["pid"] for one in (await call.ok("worker.search", group="g"))["workers"]] == ["p1"]


async def test_nothing_is_shared_between_caller_and_store() -> None:
    async with running() as call:
        created = await call.create("p", tags={"a": "1"})
        created["promise"]["tags"]["a"] = "changed by the caller"
        assert (await call.ok("promise.get", id="p"))["promise"]["tags"] == {"a": "1"}


async def test_a_value_that_is_no_json_is_a_400_in_process_too() -> None:
    async with running() as call:
        envelope = request_envelope("promise.create", "c", {"id": "p", "timeoutAt": 1, "tags": {"x": "\ud800"}})
        answer = await call.server.api.handle_envelope(envelope)
        assert answer["head"]["status"] == 400


async def test_requests_are_counted_by_kind_and_strangers_get_no_counter_of_their_own() -> None:
    async with running() as call:
        await call.create("p")
        await call("made.up")
        assert call.server.metrics.requests == {("promise.create", 200): 1, ("unknown", 400): 1}


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.5", "example.org"])
def test_a_bind_that_others_can_reach_needs_a_token(host: str) -> None:
    with pytest.raises(ServerConfigError, match="token"):
        ServerOptions(host=host)
    ServerOptions(host=host, token="t")


def test_unknown_extensions_and_doubled_transports_are_refused_by_name() -> None:
    with pytest.raises(ServerConfigError, match="telepathy"):
        ServerOptions(extensions=frozenset({"telepathy"}))
    with pytest.raises(ServerConfigError, match="rec, rec"):
        Server(MemoryStore(), [Recorder(), Recorder()])


async def test_a_default_transport_that_is_not_there_is_refused_by_name() -> None:
    server = Server(MemoryStore(), [Recorder()], ServerOptions(port=None, default_transport="amqp"))
    with pytest.raises(ServerConfigError, match="'amqp' is none of: rec"):
        async with server:
            pass


def _record(promise_id: str) -> dict[str, Any]:
    data = {"id": promise_id, "timeoutAt": FOREVER, "tags": {}, "state": "resolved", "value": {}}
    return {"kind": "promise.record", "head": {}, "data": data}
