"""SIGKILL a worker at every step boundary, triggered by the answer seen on the wire: every workflow finishes, and
what was answered never runs again."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from tests.crash.app import STEPS
from tests.crash.recording_proxy import Answer
from tests.crash.stage import MARGIN_S, TTL_S, Actor, Stage, stage
from tests.support.eventually import eventually
from tests.support.processes import Spawner

Trigger = Callable[[Answer], bool]


def boundary(workflow: str, number: int) -> Trigger:
    """The answer that ends step `number`: 0 is the acquire, the last one is the fulfilment."""

    def matches(answer: Answer) -> bool:
        if answer.status != 200:
            return False
        if number == 0:
            return answer.kind == "task.acquire" and answer.id == workflow
        if number > STEPS:
            return answer.kind == "task.fulfill" and answer.id == workflow
        return answer.id == f"{workflow}.{number}" and answer.state == "resolved"

    return matches


class Killer:
    """SIGKILLs whoever is given the answer it waits for, before the answer arrives there."""

    def __init__(self, trigger: Trigger, actors: list[Actor]) -> None:
        self._trigger = trigger
        self.killed: Actor | None = None
        self.killed_at = 0.0
        for actor in actors:
            actor.proxy.on_answers = partial(self._seen, actor)

    def _seen(self, actor: Actor, answers: list[Answer]) -> None:
        if self.killed is None and any(map(self._trigger, answers)):
            actor.process.sigkill()  # asserts that the exit code of this pid is -9
            self.killed, self.killed_at = actor, time.time()


async def kill_at_every_boundary(one: Stage) -> None:
    """Run a workflow for each boundary; the survivor finishes it, then a fresh worker joins."""
    await one.worker()
    workflows = []
    for number in range(STEPS + 2):
        await one.worker()
        live = [actor for actor in one.actors if not actor.dead]
        workflow = f"w{number}"
        killer = Killer(boundary(workflow, number), live)
        await one.begin(workflow)
        workflows.append(workflow)
        await eventually(partial(getattr, killer, "killed"), within_s=30, message=f"boundary {number} is reached")
        assert killer.killed is not None
        assert killer.killed.process.returncode == -9
        if number <= STEPS:
            await _moves_again(one, workflow, killer)
        await eventually(partial(one.is_finished, workflow), within_s=30, every_s=0.05)
    one.check_ledger(workflows)
    one.check_fence()
    repeats = len(one.attempts()) - STEPS * len(workflows)
    assert repeats == 0, f"{repeats} steps ran twice although every kill came before the answer was delivered"


async def _moves_again(one: Stage, workflow: str, killer: Killer) -> None:
    """Somebody else acquires it within ttl + 2 s of the kill."""

    def taken_over() -> float | None:
        for actor in one.actors:
            if actor is killer.killed:
                continue
            for answer in actor.proxy.answers:
                taken = answer.kind == "task.acquire" and answer.id == workflow and answer.status == 200
                if taken and answer.at > killer.killed_at:
                    return answer.at
        return None

    if await one.is_finished(workflow):
        return  # the answer that was seen also settled it
    at = await eventually(taken_over, within_s=30, message=f"{workflow} moves again")
    assert at is not None
    assert at - killer.killed_at <= TTL_S + MARGIN_S


async def test_over_http_poll_a_worker_may_die_at_any_step(tmp_path: Path, spawner: Spawner) -> None:
    async with stage(tmp_path, spawner) as one:
        await kill_at_every_boundary(one)


@pytest.mark.broker
async def test_over_amqp_a_worker_may_die_at_any_step(tmp_path: Path, spawner: Spawner, amqp_url: str) -> None:
    async with stage(tmp_path, spawner, amqp_url) as one:
        await kill_at_every_boundary(one)


async def late_write_of_a_former_holder(one: Stage) -> None:
    """Hold a worker's write on the wire until another worker has the task; it must be refused."""
    slow = await one.worker()
    slow.proxy.hold = lambda envelope: not slow.proxy.held.is_set() and "w.2" in str(envelope) and _writes(envelope)
    await one.begin("w")
    await eventually(slow.proxy.held.is_set, within_s=30)
    slow.process.sigstop()
    slow.proxy.cut_streams()
    await one.worker()
    await eventually(
        lambda: any(a.kind == "task.acquire" and a.status == 200 for a in one.actors[1].proxy.answers), within_s=30
    )
    slow.proxy.let_go.set()
    await eventually(lambda: one.is_finished("w"), within_s=30, every_s=0.05)
    await eventually(
        lambda: any(a.kind in ("promise.record", "promise.settle", "promise.create") for a in slow.proxy.answers[-2:])
    )
    slow.process.sigcont()
    one.check_fence()
    one.check_ledger(["w"])


def _writes(envelope: dict[str, object]) -> bool:
    return "task.fence" in str(envelope)


async def test_a_write_that_was_under_way_when_the_lease_ended_is_refused(tmp_path: Path, spawner: Spawner) -> None:
    async with stage(tmp_path, spawner) as one:
        await late_write_of_a_former_holder(one)


async def test_without_the_version_fence_these_tests_fail(tmp_path: Path, spawner: Spawner) -> None:
    async with stage(tmp_path, spawner, mutant="no-fence") as one:
        with pytest.raises(AssertionError, match="was accepted although version"):
            await late_write_of_a_former_holder(one)
