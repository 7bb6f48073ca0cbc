"""Bad input over HTTP: a 4xx in the protocol's shape that names field and expectation, never a 500, never a trace."""

import time
from typing import Any

import orjson
import pytest

from resonate_mq.protocol.envelope import request_envelope
from resonate_mq.transports.poll.hub import PollHub
from tests.server.harness import FOREVER, HttpCaller, serving

FRAME = '{"kind":"promise.create","head":{"corrId":"c","version":"2026-04-01"},"data":%s}'


async def refused(call: HttpCaller, body: bytes, *expected: str, status: int = 400) -> None:
    """Send raw bytes that must be refused in the protocol's shape."""
    found, answer = await call.post(body)
    envelope = orjson.loads(answer)
    assert found == envelope["head"]["status"] == status, answer
    assert isinstance(envelope["data"], str)
    for text in expected:
        assert text in envelope["data"], envelope["data"]


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b"", "not JSON"),
        (b"{", "not JSON"),
        (b"\xff\xfe", "not JSON"),
        (b"null", "must be an object, got null"),
        (b"[]", "must be an object, got array"),
        (b"{}", "'kind' must be a string"),
        (b'{"kind":"promise.get"}', "'head' must be an object"),
        (b'{"kind":"promise.get","head":{}}', "'corrId'"),
        (b'{"kind":"promise.get","head":{"corrId":1,"version":"2026-04-01"},"data":{}}', "got integer"),
        (b'{"kind":"promise.get","head":{"corrId":"c"},"data":{}}', "'version'"),
        (b'{"kind":"promise.get","head":{"corrId":"c","version":"2026-04-01"}}', "'data'"),
        (b'{"kind":"","head":{"corrId":"c","version":"2026-04-01"},"data":{}}', "non-empty string"),
        (b'{"kind":"promise.get","head":{"corrId":"c","version":"2026-04-01"},"data":[]}', "must be an object"),
        (b'{"kind":"promise.get","head":{"corrId":"c","version":"1999"},"data":{}}', "2026-04-01"),
        (b'{"kind":"promise.vanish","head":{"corrId":"c","version":"2026-04-01"},"data":{}}', "promise.vanish"),
        ((FRAME % '{"id":"p","timeoutAt":NaN,"tags":{}}').encode(), "not JSON"),
        ((FRAME % '{"id":"\\ud800","timeoutAt":1,"tags":{}}').encode(), "not JSON"),
        (b'{"kind":"promise.get","head":{"corrId":"c","version":"2026-04-01"},"data":' + b"[" * 10_000, "not JSON"),
        ((FRAME % ('{"id":"p","timeoutAt":1,"tags":' + '{"a":' * 10_000 + "1" + "}" * 10_001)).encode(), "not JSON"),
    ],
)
async def test_a_frame_that_is_wrong_is_a_400(body: bytes, expected: str) -> None:
    async with serving() as call:
        await refused(call, body, expected)


@pytest.mark.parametrize(
    ("kind", "data", "expected"),
    [
        ("promise.get", {}, ["id is required"]),
        ("promise.get", {"id": 7}, ["id", "string", "integer"]),
        ("promise.get", {"id": ""}, ["id", "empty"]),
        ("promise.get", {"id": "x" * 10_000}, ["id", "10000 bytes", "1024"]),
        ("promise.get", {"id": "a\0b"}, ["id", "null bytes"]),
        ("promise.create", {"id": "p"}, ["timeoutAt", "integer"]),
        ("promise.create", {"id": "p", "timeoutAt": "soon"}, ["timeoutAt", "integer", "string"]),
        ("promise.create", {"id": "p", "timeoutAt": 1.5}, ["timeoutAt", "integer"]),
        ("promise.create", {"id": "p", "timeoutAt": -1}, ["timeoutAt", "-1"]),
        ("promise.create", {"id": "p", "timeoutAt": 2**53}, ["timeoutAt", str(2**53 - 1)]),
        ("promise.create", {"id": "p", "timeoutAt": True}, ["timeoutAt", "boolean"]),
        ("promise.create", {"id": "p", "timeoutAt": 1, "tags": None}, ["tags"]),
        ("promise.create", {"id": "p", "timeoutAt": 1, "tags": {"a": 1}}, ["tags['a']", "string"]),
        ("promise.create", {"id": "p", "timeoutAt": 1, "tags": {"a": "\0"}}, ["tags['a']", "null bytes"]),
        ("promise.create", {"id": "p", "timeoutAt": 1, "param": "x"}, ["param", "object"]),
        ("promise.create", {"id": "p", "timeoutAt": 1, "param": {"data": 1}}, ["param.data", "string"]),
        ("promise.create", {"id": "p", "timeoutAt": 1, "param": {"headers": {"a": 1}}}, ["param.headers"]),
        ("promise.create", {"id": "p", "timeoutAt": 1, "tags": {"resonate:target": "g"}}, ["resonate:target"]),
        ("promise.create", {"id": "p", "timeoutAt": 1, "tags": {"resonate:target": "smtp://g"}}, ["smtp"]),
        ("promise.create", {"id": "p", "timeoutAt": 1, "tags": {"resonate:target": "poll://ANY@g"}}, ["cast"]),
        ("promise.settle", {"id": "p", "state": "rejected_timedout"}, ["state", "resolved"]),
        ("promise.register_listener", {"awaited": "p", "address": "nowhere"}, ["listener"]),
        ("promise.search", {"limit": 0}, ["limit"]),
        ("promise.search", {"limit": 1_001}, ["limit", "1000"]),
        ("promise.search", {"state": "broken"}, ["state"]),
        ("task.acquire", {"id": "p", "version": 0, "pid": "", "ttl": 1}, ["pid"]),
        ("task.acquire", {"id": "p", "version": 0, "pid": "p", "ttl": 0}, ["ttl"]),
        ("task.create", {"pid": "p", "ttl": 1, "action": {"kind": "promise.create"}}, ["action.data"]),
        ("task.suspend", {"id": "p", "version": 1, "actions": []}, ["actions"]),
        ("task.heartbeat", {"pid": "p", "tasks": "all"}, ["tasks", "array"]),
        ("schedule.create", {"id": "s", "cron": "not a cron", "promiseId": "x", "promiseTimeout": 1}, ["promiseTags"]),
        (
            "schedule.create",
            {
                "id": "s",
                "cron": "99 * * * *",
                "promiseId": "x",
                "promiseTimeout": 1,
                "promiseTags": {"resonate:target": "poll://any@g"},
            },
            ["cron", "99"],
        ),
        ("batch", {"sequences": 7}, ["sequences", "array"]),
        ("worker.hello", {"group": "g", "pid": "p", "concurrency": 0, "free": 0}, ["concurrency"]),
    ],
)
async def test_a_field_that_is_wrong_is_a_400_that_names_it(
    kind: str, data: dict[str, Any], expected: list[str]
) -> None:
    async with serving(None, PollHub()) as call:
        await refused(call, orjson.dumps(request_envelope(kind, "c", data)), *expected)
        assert (await call("promise.get", id="p"))[0] == 404
        assert (await call("schedule.get", id="s"))[0] == 404
        assert call.url
        _, metrics = await call.get("/metrics")
        assert "resonate_mq_failures_total{" not in metrics


async def test_a_deadline_in_the_past_is_no_error() -> None:
    async with serving() as call:
        status, data = await call("promise.create", id="p", timeoutAt=1, tags={})
        assert (status, data["promise"]["state"]) == (200, "rejected_timedout")


async def test_an_oversized_body_is_a_413_with_a_sentence_and_nothing_is_written() -> None:
    async with serving(None, max_body_bytes=10_000) as call:
        big = {"id": "p", "timeoutAt": FOREVER, "tags": {}, "param": {"data": "x" * 20_000}}
        body = orjson.dumps(request_envelope("promise.create", "c", big))
        await refused(call, body, "10000 bytes", status=413)

        async def chunks() -> Any:  # no content-length: found out while reading
            for start in range(0, len(body), 1_000):
                yield body[start : start + 1_000]

        async with call.session.post(call.url + "/", data=chunks()) as response:
            assert response.status == 413
        assert (await call("promise.get", id="p"))[0] == 404


async def test_a_body_below_the_limit_arrives_whole() -> None:
    async with serving() as call:
        data = "é" * 3_000_000
        status, _ = await call("promise.create", id="p", timeoutAt=FOREVER, tags={}, param={"data": data})
        assert status == 200
        assert (await call("promise.get", id="p"))[1]["promise"]["param"]["data"] == data


async def test_a_type_tag_of_a_stranger_is_only_text() -> None:
    async with serving() as call:
        await call("promise.create", id="p", timeoutAt=int(time.time() * 1000) + 60_000, tags={})
        bomb = {"headers": {"resonate:format-py": "boom"}, "data": '{"__py_pickle":"gASVIQAAAAAA"}'}
        status, data = await call("promise.settle", id="p", state="resolved", value=bomb)
        assert (status, data["promise"]["value"]) == (200, bomb)
