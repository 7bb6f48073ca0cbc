"""Large executions: many steps, wide fan-out, deep trees (DU-31, DU-33, PA-19)."""

import asyncio
from typing import Any

from resonate_mq.functions.context import Context
from resonate_mq.worker.execution import Suspended
from tests.support.machine_session import FULL, Killed, World


def square(ctx: Context, n: int) -> int:
    return n * n


async def test_ten_thousand_steps_complete_and_replay() -> None:
    runs: list[int] = []

    def tick(n: int) -> int:
        runs.append(n)
        return 1

    def body(ctx: Context) -> Any:
        total = 0
        for n in range(10_000):
            total += yield ctx.step("tick", tick, n)
        return total

    world = World(extensions=FULL)
    world.begin("x", body)
    try:
        await world.take("x", die_after=9_000)
    except Killed:
        world.apply_release("x")
    world.trips.clear()
    await world.work()
    assert world.result("x") == 10_000
    assert len(runs) == 10_001
    assert len(world.trips) == 1_001


async def test_a_thousand_remote_calls_are_created_in_a_few_round_trips() -> None:
    def body(ctx: Context) -> Any:
        promises = []
        for n in range(1_000):
            promises.append((yield ctx.begin_rpc("square", n)))
        total = 0
        for promise in promises:
            total += yield promise
        return total

    world = World(extensions=FULL)
    world.registry.add(square)
    world.begin("x", body)
    await world.take("x")
    assert len(world.trips) == 10
    await world.work()
    assert world.result("x") == sum(n * n for n in range(1_000))


async def test_a_thousand_local_steps_at_once() -> None:
    async def body(ctx: Context) -> Any:
        return sum(await asyncio.gather(*(ctx.run(square, n) for n in range(1_000))))

    world = World(extensions=FULL)
    assert await world.run("x", body) == sum(n * n for n in range(1_000))
    assert len(world.trips) < 1_000


async def test_nesting_is_as_deep_as_the_ids_allow() -> None:
    def deep(ctx: Context, n: int) -> Any:
        if n == 0:
            return 0
        return 1 + (yield ctx.run(deep, n - 1))

    world = World(extensions=FULL)
    assert await world.run("x", deep, 400) == 400
    assert max(len(one) for one in world.ids()) <= 512


async def test_a_tree_of_generators_fans_out_and_in() -> None:
    def tree(ctx: Context, depth: int) -> Any:
        if depth == 0:
            return 1
        promises = []
        for _ in range(3):
            promises.append((yield ctx.begin_run(tree, depth - 1)))
        total = 0
        for promise in promises:
            total += yield promise
        return total

    assert await World(extensions=FULL).run("x", tree, 3) == 27


async def test_a_wide_gather_is_awaited_one_after_another() -> None:
    async def body(ctx: Context) -> Any:
        return sum(await asyncio.gather(*(ctx.rpc("elsewhere") for _ in range(200))))

    world = World(extensions=FULL)
    world.begin("x", body)
    await world.work_only("x")
    for n in range(200):
        world.settle(f"x.{n + 1}", data=n)
    await world.work_only("x")
    assert world.result("x") == sum(range(200))
    suspends = [one for one in world.outcomes if isinstance(one, Suspended)]
    assert [len(one.awaited) for one in suspends] == [1]
