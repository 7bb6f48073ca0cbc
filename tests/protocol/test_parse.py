"""Malformed requests are refused with the field, what was found and what was expected; well-formed ones round-trip."""

from typing import Any

import pytest

from resonate_mq.protocol import requests as r
from resonate_mq.protocol.addresses import parse_address
from resonate_mq.protocol.errors import InvalidRequestError
from resonate_mq.protocol.parse import Profile, parse_request
from resonate_mq.protocol.records import EMPTY, Value

HEAD = {"corrId": "c", "version": "2026-04-01"}
TARGET = {"resonate:target": "poll://any@g"}
DEBUG = Profile(debug=True)
TARGETED = r.PromiseCreate("a", 9, EMPTY, TARGET, parse_address("poll://any@g"))
SETTLE = r.PromiseSettle("a", "rejected", Value({"h": "1"}, ""))

REQUESTS: list[r.Request] = [
    r.PromiseGet("a"),
    r.PromiseCreate("ä/b:c d", 2**53 - 1, Value({}, "e30="), {"k": "v"}),
    r.PromiseCreate("a", 9, EMPTY, {**TARGET, "resonate:delay": "5"}, parse_address("poll://any@g"), 5),
    SETTLE,
    r.RegisterCallback("a", "b"),
    r.RegisterListener("a", "https://host/path?q=1"),
    r.PromiseSearch("pending", {"k": "v"}, 5, "a"),
    r.PromiseSearch(),
    r.TaskGet("a"),
    r.TaskCreate("p", 1, TARGETED, "token"),
    r.TaskAcquire("a", 0, "p", 60_000, "token"),
    r.TaskRelease("a", 1, "why", 5, counted=False),
    r.TaskRelease("a", 1),
    r.TaskFulfill("a", 1, SETTLE),
    r.TaskSuspend("a", 1, ("b", "c")),
    r.TaskFence("a", 1, r.PromiseCreate("b", 9, EMPTY, {}), "c"),
    r.TaskFence("a", 1, r.PromiseSettle("b", "resolved", EMPTY), "c"),
    r.TaskFence(
        "a", 1, r.PromiseRecord(r.PromiseCreate("b", 9, EMPTY, {}), r.PromiseSettle("b", "resolved", EMPTY)), "c"
    ),
    r.TaskHeartbeat("p", (("a", 1), ("b", 0))),
    r.TaskHalt("a"),
    r.TaskContinue("a"),
    r.TaskSearch("halted", 3, "x"),
    r.ScheduleGet("s"),
    r.ScheduleCreate("s", "@daily", "p.{{.timestamp}}", 5, Value(None, "e30="), TARGET),
    r.ScheduleDelete("s"),
    r.ScheduleSearch({"k": "v"}),
    r.DebugStart(),
    r.DebugStop(),
    r.DebugReset(),
    r.DebugTick(7),
    r.DebugSnap(),
    r.ServerInfo(),
    r.WorkerHello("g", "p", ("poll://uni@g/p",), 32, 4, True, (("f", 1),)),
    r.WorkerSearch("g"),
    r.WorkerSearch(),
]


@pytest.mark.parametrize("request_", REQUESTS, ids=lambda one: one.kind)
def test_what_a_request_writes_is_what_it_is_read_from(request_: r.Request) -> None:
    assert parse_request(request_.kind, request_.wire(), HEAD, DEBUG) == request_


def refused(kind: str, data: dict[str, Any], profile: Profile = DEBUG, head: dict[str, Any] | None = None) -> str:
    """Return the sentence a bad request is refused with."""
    with pytest.raises(InvalidRequestError) as error:
        parse_request(kind, data, head or HEAD, profile)
    return str(error.value)


GOOD_CREATE = {"id": "a", "timeoutAt": 9, "tags": TARGET}
GOOD_ACTION = {"kind": "promise.create", "head": {}, "data": GOOD_CREATE}
GOOD_SETTLE = {"kind": "promise.settle", "head": {}, "data": {"id": "a", "state": "resolved"}}


@pytest.mark.parametrize(
    ("kind", "data", "says"),
    [
        ("promise.get", {}, "id is required"),
        ("promise.get", {"id": ""}, "must not be empty"),
        ("promise.get", {"id": None}, "got null"),
        ("promise.get", {"id": 5}, "got integer"),
        ("promise.get", {"id": "a\0b"}, "null bytes"),
        ("promise.get", {"id": "x" * 10_000}, "10000 bytes"),
        ("promise.get", {"id": "ä" * 600}, "1200 bytes"),
        ("promise.create", {"id": "a"}, "timeoutAt must be an integer"),
        ("promise.create", {"id": "a", "timeoutAt": 1.0}, "got number"),
        ("promise.create", {"id": "a", "timeoutAt": True}, "got boolean"),
        ("promise.create", {"id": "a", "timeoutAt": -1}, "got -1"),
        ("promise.create", {"id": "a", "timeoutAt": 2**53}, "from 0 to"),
        ("promise.create", {"id": "a", "timeoutAt": 1, "tags": None}, "tags must be an object"),
        ("promise.create", {"id": "a", "timeoutAt": 1, "tags": {"k": 1}}, "tags['k'] must be a string"),
        ("promise.create", {"id": "a", "timeoutAt": 1, "tags": {"k": "\0"}}, "null bytes"),
        ("promise.create", {"id": "a", "timeoutAt": 1, "param": None}, "param must be an object"),
        ("promise.create", {"id": "a", "timeoutAt": 1, "param": {"data": {}}}, "param.data must be a string"),
        ("promise.create", {"id": "a", "timeoutAt": 1, "param": {"headers": {"h": 1}}}, "param.headers['h']"),
        (
            "promise.create",
            {"id": "a", "timeoutAt": 1, "tags": {"resonate:target": "nowhere"}},
            "resonate:target address",
        ),
        ("promise.create", {"id": "a", "timeoutAt": 9, "tags": {**TARGET, "resonate:delay": "1x"}}, "decimal integer"),
        ("promise.create", {"id": "a", "timeoutAt": 9, "tags": {**TARGET, "resonate:delay": "²"}}, "decimal integer"),
        ("promise.create", {"id": "a", "timeoutAt": 9, "tags": {**TARGET, "resonate:delay": "9"}}, "before timeoutAt"),
        ("promise.create", {"id": "a", "timeoutAt": 9, "tags": {"resonate:delay": "5"}}, "needs a resonate:target"),
        ("promise.settle", {"id": "a", "state": "pending"}, "state must be one of"),
        ("promise.settle", {"id": "a", "state": "rejected_timedout"}, "state must be one of"),
        ("promise.settle", {"id": "a", "state": []}, "state must be one of"),
        ("promise.register_callback", {"awaited": "a", "awaiter": "a"}, "must differ"),
        ("promise.register_listener", {"awaited": "a", "address": ""}, "address is required"),
        ("promise.register_listener", {"awaited": "a", "address": "poll://any@"}, "no group"),
        ("promise.search", {"limit": 0}, "from 1 to 1000"),
        ("promise.search", {"limit": 1001}, "from 1 to 1000"),
        ("promise.search", {"state": "unknown"}, "state must be one of"),
        ("promise.search", {"cursor": 5}, "cursor must be a string"),
        ("promise.search", {"tags": []}, "tags must be an object"),
        ("task.create", {"pid": "", "ttl": 1, "action": GOOD_ACTION}, "pid is required"),
        ("task.create", {"pid": "p", "ttl": 0, "action": GOOD_ACTION}, "ttl must be"),
        ("task.create", {"pid": "p", "ttl": 1}, "action must be an object"),
        ("task.create", {"pid": "p", "ttl": 1, "action": {"data": {}}}, "action.kind"),
        ("task.create", {"pid": "p", "ttl": 1, "action": {"kind": "k"}}, "action.data"),
        ("task.create", {"pid": "p", "ttl": 1, "action": {"kind": "k", "data": GOOD_CREATE}}, "action.head"),
        (
            "task.create",
            {"pid": "p", "ttl": 1, "action": {**GOOD_ACTION, "data": {"id": "a", "timeoutAt": 1}}},
            "target tag",
        ),
        ("task.acquire", {"id": "a", "version": -1, "pid": "p", "ttl": 1}, "version must be"),
        ("task.acquire", {"id": "a", "version": 0, "pid": "p\0", "ttl": 1}, "null bytes"),
        ("task.acquire", {"id": "a", "version": 0, "pid": "p", "ttl": 1, "claim": 5}, "claim is required"),
        ("task.release", {"id": "a", "version": 0, "reason": 5}, "reason"),
        ("task.release", {"id": "a", "version": 0, "delay": -1}, "delay"),
        ("task.release", {"id": "a", "version": 0, "counted": 1}, "counted must be a boolean"),
        ("task.fulfill", {"id": "b", "version": 0, "action": GOOD_SETTLE}, "must match the task ID"),
        ("task.suspend", {"id": "a", "version": 0, "actions": []}, "non-empty array"),
        ("task.suspend", {"id": "a", "version": 0, "actions": ["x"]}, "each action"),
        (
            "task.suspend",
            {"id": "a", "version": 0, "actions": [{"data": {"awaited": "b", "awaiter": "c"}}]},
            "awaiter must be",
        ),
        (
            "task.suspend",
            {"id": "a", "version": 0, "actions": [{"data": {"awaited": "a", "awaiter": "a"}}]},
            "await itself",
        ),
        ("task.fence", {"id": "a", "version": 0, "action": GOOD_ACTION}, "must not equal"),
        (
            "task.fence",
            {"id": "b", "version": 0, "action": {"kind": "promise.get", "data": {}}},
            "Invalid fence action kind",
        ),
        ("task.heartbeat", {"pid": "p"}, "tasks must be an array"),
        ("task.heartbeat", {"pid": "p", "tasks": [5]}, "must be an object"),
        ("task.search", {"state": "resolved"}, "state must be one of"),
        ("schedule.create", {"id": "s", "cron": "", "promiseId": "p", "promiseTimeout": 1}, "cron is required"),
        (
            "schedule.create",
            {"id": "s", "cron": "@daily", "promiseId": "p", "promiseTimeout": 1},
            "promiseTags must have",
        ),
        ("debug.tick", {}, "time must be an integer"),
        ("worker.hello", {"group": "g", "pid": "p", "addresses": 5}, "arrays"),
        ("worker.hello", {"group": "g", "pid": "p", "resident": 5}, "resident"),
        ("worker.hello", {"group": "g", "pid": "p", "functions": [5]}, "functions"),
        ("worker.hello", {"group": "g", "pid": "p", "functions": [{"name": "f", "version": 0}]}, "version"),
        ("nothing", {}, "Unknown operation: nothing"),
    ],
)
def test_a_malformed_request_is_refused_by_field(kind: str, data: dict[str, Any], says: str) -> None:
    assert says in refused(kind, data)


def test_a_delay_cannot_be_taken_at_once() -> None:
    create = {**GOOD_CREATE, "tags": {**TARGET, "resonate:delay": "1"}}
    said = refused("task.create", {"pid": "p", "ttl": 1, "action": {**GOOD_ACTION, "data": create}})
    assert "task.create" in said


def test_debug_is_403_when_it_is_off() -> None:
    with pytest.raises(InvalidRequestError) as error:
        parse_request("debug.reset", {}, HEAD, Profile())
    assert error.value.status == 403


def test_debug_tick_must_agree_with_the_debug_time() -> None:
    head = {**HEAD, "resonate:debug_time": 5}
    assert parse_request("debug.tick", {"time": 5}, head, DEBUG) == r.DebugTick(5)
    assert "must equal" in refused("debug.tick", {"time": 6}, head=head)


def test_an_unknown_preload_is_refused() -> None:
    acquire = {"id": "a", "version": 0, "pid": "p", "ttl": 1}
    assert "must be 'children'" in refused("task.acquire", acquire, head={**HEAD, "resonate-mq:preload": "all"})


def test_a_schedule_target_is_checked_against_the_configured_transports() -> None:
    data = {"id": "s", "cron": "@daily", "promiseId": "p", "promiseTimeout": 1}
    tags = {"resonate:target": "amqp://any@g"}
    assert "configured here" in refused("schedule.create", {**data, "promiseTags": tags})
    accepted = Profile(transports=frozenset({"amqp"}))
    assert parse_request("schedule.create", {**data, "promiseTags": tags}, HEAD, accepted)
