"""SIGKILL the server at random moments under load: nothing that was answered is lost, everything moves again."""

from __future__ import annotations

import asyncio
import secrets
import time
from functools import partial
from pathlib import Path
from random import Random

import pytest

from tests.crash.recording_proxy import Answer
from tests.crash.stage import MARGIN_S, TTL_S, Stage, stage
from tests.support.eventually import eventually
from tests.support.processes import Spawner

KILLS = 10
NEW_PER_KILL = 4
PAUSE_S = 0.15
"""How long a step takes: long enough for kills to fall into it."""


async def kill_at_random_moments(one: Stage, seed: int) -> None:
    """Keep workflows running, kill the server ten times, check each time that everything moves again."""
    random = Random(seed)
    await asyncio.gather(one.worker(), one.worker())
    workflows: list[str] = []
    for kill in range(KILLS):
        for number in range(NEW_PER_KILL):
            workflows.append(f"k{kill}-{number}")
            await one.begin(workflows[-1], PAUSE_S)
        await _after_answers(one, random.randrange(1, 25))
        one.server.sigkill()
        await asyncio.to_thread(one.server.start)
        ready_at = time.time()
        await _everything_moves(one, workflows, ready_at)
    for workflow in workflows:
        await eventually(partial(one.is_finished, workflow), within_s=60, every_s=0.05)
    one.check_ledger(workflows)
    one.check_fence()


async def _after_answers(one: Stage, count: int) -> None:
    """Wait for so many more answers to workers: the kill falls right after one."""
    target = sum(len(actor.proxy.answers) for actor in one.actors) + count
    await eventually(
        lambda: sum(len(actor.proxy.answers) for actor in one.actors) >= target, within_s=30, every_s=0.001
    )


async def _everything_moves(one: Stage, workflows: list[str], ready_at: float) -> None:
    """Every workflow that is not finished takes a step within ttl + 2 s of /ready."""
    for workflow in workflows:
        left_s = max(ready_at + TTL_S + MARGIN_S - time.time(), 0.1)
        await eventually(partial(_moved, one, workflow, ready_at), left_s, 0.05, f"{workflow} moves again")


async def _moved(one: Stage, workflow: str, since: float) -> bool:
    if any(attempt.at >= since and attempt.workflow == workflow for attempt in one.attempts()):
        return True
    return await one.is_finished(workflow)


async def test_over_http_poll_the_server_may_die_at_any_moment(tmp_path: Path, spawner: Spawner) -> None:
    seed = secrets.randbelow(10_000)
    print(f"seed {seed}")
    async with stage(tmp_path, spawner) as one:
        await kill_at_random_moments(one, seed)


@pytest.mark.broker
async def test_over_amqp_the_server_may_die_at_any_moment(tmp_path: Path, spawner: Spawner, amqp_url: str) -> None:
    seed = secrets.randbelow(10_000)
    print(f"seed {seed}")
    async with stage(tmp_path, spawner, amqp_url) as one:
        await kill_at_random_moments(one, seed)


async def kill_right_after_an_answer(one: Stage) -> None:
    """SIGKILL the server when a step's record was answered and check that it is still there afterwards."""
    worker = await one.worker()
    killed: list[str] = []

    def kill(answers: list[Answer]) -> None:
        for answer in answers:
            if not killed and answer.id.startswith("w.") and answer.state == "resolved":
                killed.append(answer.id)
                one.server.sigkill()

    worker.proxy.on_answers = kill
    await one.begin("w")
    await eventually(lambda: killed, within_s=30)
    await asyncio.to_thread(one.server.start)
    record = await asyncio.to_thread(one.server.promise, killed[0])
    assert record is not None, f"{killed[0]} was answered and is gone"
    assert record["state"] == "resolved", f"{killed[0]} was answered as resolved and is {record['state']}"
    await eventually(lambda: one.is_finished("w"), within_s=30, every_s=0.05)
    one.check_ledger(["w"])


async def test_what_was_answered_is_there_after_a_kill(tmp_path: Path, spawner: Spawner) -> None:
    async with stage(tmp_path, spawner) as one:
        await kill_right_after_an_answer(one)


async def test_when_answers_leave_before_the_commit_these_tests_fail(tmp_path: Path, spawner: Spawner) -> None:
    async with stage(tmp_path, spawner, mutant="early-answers") as one:
        with pytest.raises(AssertionError, match=r"was answered (as resolved )?and is (gone|pending)"):
            await kill_right_after_an_answer(one)
