"""A real server process on SQLite, killed with SIGKILL at random moments under load: what was answered is there."""

import asyncio
import random
import sys
from pathlib import Path
from typing import Any

import aiohttp
import orjson
import pytest

from resonate_mq.protocol.envelope import request_envelope
from tests.support.eventually import eventually
from tests.support.server import ServerProcess

ROUNDS = 4
CLIENTS = 20
FOREVER = 2**52


class Load:
    """Clients that create, acquire and fulfil, and remember what they were told."""

    def __init__(self, url: str) -> None:
        self._url = url
        self.answered: dict[str, str] = {}
        self.versions: dict[str, int] = {}
        self.unanswered: set[str] = set()

    async def client(self, session: aiohttp.ClientSession, name: str) -> None:
        """Work until the server is gone."""
        number = 0
        while True:
            number += 1
            one = f"{name}.{number}"
            tags = {"resonate:target": "poll://any@nobody"}
            steps: list[tuple[str, str, dict[str, Any]]] = [
                ("created", "promise.create", {"id": one, "timeoutAt": FOREVER, "tags": tags}),
                ("acquired", "task.acquire", {"id": one, "version": 0, "pid": name, "ttl": 600_000}),
                ("fulfilled", "task.fulfill", {"id": one, "version": 1, "action": _settle(one)}),
            ]
            for said, kind, data in steps:
                self.unanswered.add(one)
                try:
                    status = await self._post(session, kind, data)
                except (aiohttp.ClientError, OSError):
                    return
                assert status == 200, (kind, status)
                self.unanswered.discard(one)
                self.answered[one] = said

    async def _post(self, session: aiohttp.ClientSession, kind: str, data: dict[str, Any]) -> int:
        body = orjson.dumps(request_envelope(kind, "c", data))
        async with session.post(self._url + "/", data=body) as response:
            await response.read()
            return response.status


def _settle(promise_id: str) -> dict[str, Any]:
    data = {"id": promise_id, "state": "resolved", "value": {"data": promise_id}}
    return {"kind": "promise.settle", "head": {}, "data": data}


async def survive(server: ServerProcess, rounds: int) -> int:
    """Load, kill and restart `rounds` times; return how many ids were answered. Fails when one is missing."""
    seed = random.randrange(10**6)
    print(f"seed {seed}")
    chance = random.Random(seed)
    everything: dict[str, str] = {}
    uncertain: set[str] = set()
    try:
        for turn in range(rounds):
            await asyncio.to_thread(server.start)
            load = Load(server.url)
            async with aiohttp.ClientSession() as session, asyncio.TaskGroup() as clients:
                for number in range(CLIENTS):
                    clients.create_task(load.client(session, f"r{turn}c{number}"))
                goal = chance.randrange(50, 600)
                await eventually(lambda goal=goal, load=load: len(load.answered) >= goal, within_s=60)  # type: ignore[misc]
                server.sigkill()
            everything |= load.answered
            uncertain |= load.unanswered
            await asyncio.to_thread(server.start)
            await _verify(server.url, everything, uncertain)
            server.sigkill()
        return len(everything)
    finally:
        server.stop()


@pytest.mark.timeout(240)
async def test_everything_that_was_answered_survives_sigkill(tmp_path: Path) -> None:
    assert await survive(ServerProcess(tmp_path), ROUNDS) >= ROUNDS * 50


@pytest.mark.timeout(240)
async def test_the_proof_goes_red_when_answers_leave_before_the_commit(tmp_path: Path) -> None:
    program = [sys.executable, "-m", "tests.server.programs.early_answers"]
    with pytest.raises(AssertionError, match="answered"):
        await survive(ServerProcess(tmp_path, program=program), ROUNDS)


async def _verify(url: str, answered: dict[str, str], uncertain: set[str]) -> None:
    """Compare the store with what was answered; a request without an answer may or may not have happened."""
    async with aiohttp.ClientSession() as session:
        ids = list(answered)
        for start in range(0, len(ids), 500):
            sequences = [[request_envelope("task.get", "c", {"id": one})] for one in ids[start : start + 500]]
            body = orjson.dumps(request_envelope("batch", "c", {"sequences": sequences}))
            async with session.post(url + "/", data=body) as response:
                rows = (orjson.loads(await response.read()))["data"]["sequences"]
            for one, row in zip(ids[start : start + 500], rows, strict=True):
                _check(one, answered[one], row[0], certain=one not in uncertain)


def _check(one: str, said: str, found: dict[str, Any], *, certain: bool) -> None:
    assert found["head"]["status"] == 200, f"{one} was answered as {said} and is gone: {found}"
    order = ["pending", "acquired", "fulfilled"]
    least = {"created": "pending", "acquired": "acquired", "fulfilled": "fulfilled"}[said]
    state = found["data"]["task"]["state"]
    ahead = order.index(state) - order.index(least)
    allowed = (0,) if certain else (0, 1)
    assert ahead in allowed, f"{one} was answered as {said} and is {state}"
