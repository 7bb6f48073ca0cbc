"""The worked exchanges of protocol section 9, over HTTP against both stores, message by message."""

import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import orjson
import pytest

from resonate_mq.stores.memory import MemoryStore
from resonate_mq.stores.port import Store
from resonate_mq.stores.sqlite import SqliteStore
from resonate_mq.transports.poll.hub import PollHub
from tests.server.harness import HttpCaller, serving

TARGET = {"resonate:target": "poll://any@g1", "resonate:scope": "global"}
BRANCH = {f"resonate:{name}": "root1" for name in ("origin", "prefix", "branch", "parent")}


@pytest.fixture(params=["memory", "sqlite"])
async def call(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[HttpCaller]:
    store: Store = MemoryStore() if request.param == "memory" else SqliteStore(tmp_path / "store.db")
    async with serving(store, PollHub()) as caller:
        yield caller


class Worker:
    """An official worker as far as the wire can see: one stream, no extension."""

    def __init__(self, call: HttpCaller, response: aiohttp.ClientResponse) -> None:
        self.call = call
        self._response = response

    async def message(self) -> dict[str, Any]:
        """Return the next message of the stream."""
        while True:
            block = await self._response.content.readuntil(b"\n\n")
            if not block.startswith(b":"):
                decoded: dict[str, Any] = orjson.loads(block.removeprefix(b"data: "))
                return decoded

    async def hint(self) -> tuple[str, int]:
        """Return the next message, which must be a hint."""
        message = await self.message()
        assert message["kind"] == "execute", message
        return message["data"]["task"]["id"], message["data"]["task"]["version"]

    async def fence(self, version: int, kind: str, **data: Any) -> dict[str, Any]:
        """Do something under the lease of root1; return the record."""
        action = {"kind": kind, "head": {"corrId": "x", "version": "2026-04-01"}, "data": data}
        status, answer = await self.call("task.fence", id="root1", version=version, action=action)
        assert status == 200, answer
        assert answer["action"]["kind"] == kind
        assert answer["action"]["head"] == {"corrId": "c1", "status": 200, "version": "2026-04-01"}
        record: dict[str, Any] = answer["action"]["data"]["promise"]
        return record

    async def suspend(self, version: int, awaited: str) -> tuple[int, Any]:
        """Suspend root1 on one promise."""
        data = {"awaited": awaited, "awaiter": "root1"}
        action = {"kind": "promise.register_callback", "head": {}, "data": data}
        return await self.call("task.suspend", id="root1", version=version, actions=[action])

    async def fulfill(self, task_id: str, version: int, data: str) -> tuple[int, Any]:
        """Resolve a task's promise."""
        settle = {"id": task_id, "state": "resolved", "value": {"data": data}}
        action = {"kind": "promise.settle", "head": {}, "data": settle}
        return await self.call("task.fulfill", id=task_id, version=version, action=action)


@pytest.fixture
async def worker(call: HttpCaller) -> AsyncIterator[Worker]:
    async with call.session.get(call.url + "/poll/g1/p1") as response:
        await response.content.readuntil(b"\n\n")
        yield Worker(call, response)


async def test_a_top_level_run_from_create_to_unblock(call: HttpCaller, worker: Worker) -> None:
    deadline = int(time.time() * 1000) + 60_000
    create = {"id": "root1", "timeoutAt": deadline, "param": {"data": "e30="}, "tags": {**TARGET, **BRANCH}}
    action = {"kind": "promise.create", "head": {}, "data": create}
    status, born = await call("task.create", pid="p1", ttl=60_000, action=action)
    assert status == 200
    assert born["task"] == {
        "id": "root1",
        "state": "acquired",
        "version": 1,
        "resumes": 0,
        "ttl": 60_000,
        "pid": "p1",
    }
    assert (born["promise"]["state"], born["preload"]) == ("pending", [])

    listening = await call("promise.register_listener", awaited="root1", address="poll://uni@g1/p1")
    assert listening[1]["promise"]["state"] == "pending"
    assert await call("task.heartbeat", pid="p1", tasks=[{"id": "root1", "version": 1}]) == (200, {})

    local = {**BRANCH, "resonate:scope": "local"}
    step = await worker.fence(1, "promise.create", id="root1.1", timeoutAt=deadline, param={}, tags=local)
    assert (step["id"], step["state"]) == ("root1.1", "pending")
    done = await worker.fence(1, "promise.settle", id="root1.1", state="resolved", value={"data": "Mg=="})
    assert (done["state"], done["value"]) == ("resolved", {"data": "Mg=="})
    remote = {**BRANCH, **TARGET, "resonate:branch": "root1.4"}
    await worker.fence(1, "promise.create", id="root1.4", timeoutAt=deadline, param={"data": "e30="}, tags=remote)
    assert await worker.hint() == ("root1.4", 0)
    assert await worker.suspend(1, "root1.4") == (200, {})

    status, child = await call("task.acquire", id="root1.4", version=0, pid="p1", ttl=60_000)
    assert (status, child["task"]["version"]) == (200, 1)
    status, fulfilled = await worker.fulfill("root1.4", 1, "NjA=")
    assert (status, list(fulfilled)) == (200, ["promise"])

    assert await worker.hint() == ("root1", 1)
    _, again = await call("task.acquire", id="root1", version=1, pid="p1", ttl=60_000)
    assert (again["task"]["version"], [one["id"] for one in again["preload"]]) == (2, ["root1.1"])
    replayed = await worker.fence(2, "promise.create", id="root1.4", timeoutAt=deadline + 5, param={}, tags=remote)
    assert replayed["value"] == {"data": "NjA="}

    nap = int(time.time() * 1000) + 50
    timer = {**BRANCH, "resonate:scope": "global", "resonate:timer": "true"}
    await worker.fence(2, "promise.create", id="root1.5", timeoutAt=nap, param={}, tags=timer)
    assert await worker.suspend(2, "root1.5") == (200, {})
    assert await worker.hint() == ("root1", 2)
    _, last = await call("task.acquire", id="root1", version=2, pid="p1", ttl=60_000)
    assert last["task"]["version"] == 3
    assert (await worker.fulfill("root1", 3, "NjI="))[0] == 200

    unblock = await worker.message()
    assert unblock["kind"] == "unblock"
    assert "serverUrl" not in unblock["head"]
    record = unblock["data"]["promise"]
    assert (record["id"], record["state"], record["value"]) == ("root1", "resolved", {"data": "NjI="})


async def test_suspending_on_a_settled_promise_is_a_real_300(call: HttpCaller, worker: Worker) -> None:
    await _acquired_root(call)
    await call("promise.create", id="other", timeoutAt=2**52, tags={})
    await call("promise.settle", id="other", state="resolved", value={})
    status, answer = await worker.suspend(1, "other")
    assert (status, answer) == (300, {"preload": []})
    assert (await call("task.get", id="root1"))[1]["task"]["state"] == "acquired"
    assert (await worker.suspend(1, "missing"))[0] == 422


async def test_a_second_acquire_and_a_stale_fence_are_refused(call: HttpCaller, worker: Worker) -> None:
    await _acquired_root(call)
    assert (await call("task.acquire", id="root1", version=0, pid="p2", ttl=1_000))[0] == 409
    action = {"kind": "promise.settle", "head": {}, "data": {"id": "x", "state": "resolved"}}
    assert (await call("task.fence", id="root1", version=0, action=action))[0] == 409
    assert (await call("task.release", id="root1", version=1)) == (200, {})
    assert await worker.hint() == ("root1", 1)
    assert (await worker.fulfill("root1", 1, ""))[0] == 409


async def test_a_late_settle_is_a_200_with_the_verdict_of_the_deadline(call: HttpCaller) -> None:
    await call("promise.create", id="p", timeoutAt=1, tags={})
    status, answer = await call("promise.settle", id="p", state="resolved", value={"data": "late"})
    assert (status, answer["promise"]["state"], answer["promise"]["value"]) == (200, "rejected_timedout", {})


async def test_halt_settle_continue(call: HttpCaller, worker: Worker) -> None:
    await _acquired_root(call)
    await call("promise.create", id="awaited", timeoutAt=2**52, tags={})
    assert (await worker.suspend(1, "awaited"))[0] == 200
    assert await call("task.halt", id="root1") == (200, {})
    await call("promise.settle", id="awaited", state="resolved", value={})
    assert await call("task.continue", id="root1") == (200, {})
    assert (await call("task.get", id="root1"))[1]["task"]["resumes"] == 1
    assert await worker.hint() == ("root1", 1)


async def test_a_listener_that_comes_after_the_settlement_learns_it_from_the_answer(
    call: HttpCaller, worker: Worker
) -> None:
    await call("promise.create", id="p", timeoutAt=2**52, tags={})
    await call("promise.settle", id="p", state="rejected", value={"data": "no"})
    _, answer = await call("promise.register_listener", awaited="p", address="poll://uni@g1/p1")
    assert (answer["promise"]["state"], answer["promise"]["value"]) == ("rejected", {"data": "no"})


async def _acquired_root(call: HttpCaller) -> None:
    create = {"id": "root1", "timeoutAt": 2**52, "param": {}, "tags": {**TARGET, **BRANCH}}
    action = {"kind": "promise.create", "head": {}, "data": create}
    assert (await call("task.create", pid="p1", ttl=60_000, action=action))[0] == 200
