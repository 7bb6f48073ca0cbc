"""Random programs, killed at random moments, give what they give without kills (DU-05, DU-35).

A program is a tree of instructions, run by a generator and by an async def. While it runs, every leaf looks into the
store: a leaf whose record is settled must never start.
"""

import asyncio
from collections.abc import Callable
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from resonate_mq.functions.context import Context
from resonate_mq.functions.retry import Never
from resonate_mq.protocol.parse import EXTENSIONS
from resonate_mq.protocol.records import PENDING
from tests.support.machine_session import Killed, World, end_worlds

Program = list[Any]

_leaf = st.sampled_from(["leaf", "fail", "tick", "sleep", "rpc", "promise", "free", "named"])
_programs: st.SearchStrategy[Program] = st.recursive(
    st.lists(_leaf, min_size=1, max_size=4),
    lambda inner: st.lists(_leaf | st.tuples(st.sampled_from(["call", "begin", "all"]), inner), max_size=4),
    max_leaves=8,
)


class Machine:
    """Runs programs in one world."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.faults: list[str] = []
        world.registry.add(self.function("remote"))

    def function(self, name: str) -> Callable[..., Any]:
        def leaf(ctx: Context, *args: Any) -> str:
            promise = self.world.promises.get(ctx.id)
            if name != "remote" and name != "free" and promise is not None and promise.state != PENDING:
                self.faults.append(f"{ctx.id} runs although it is recorded")
            if name == "fail":
                raise ValueError(ctx.id)
            return f"{name}:{ctx.id}"

        leaf.__name__ = name
        return leaf

    def command(self, ctx: Context, instruction: Any, body: Any) -> Any:
        if instruction == "fail":
            return ctx.run(self.function("fail")).options(retry_policy=Never())
        if instruction == "tick":
            return ctx.step("tick", lambda: 7)
        if instruction == "sleep":
            return ctx.sleep(3)
        if instruction == "rpc":
            return ctx.rpc("remote")
        if instruction == "free":
            return ctx.run(self.function("free")).options(durable=False)
        if instruction == "named":
            return ctx.run(self.function("named")).options(id="the-named-one")
        if instruction == "leaf":
            return ctx.run(self.function("leaf"))
        return (ctx.run if instruction[0] == "call" else ctx.begin_run)(body, instruction[1])

    def generator(self, ctx: Context, program: Program) -> Any:
        found: list[Any] = []
        begun: list[Any] = []
        for instruction in program:
            if instruction == "promise":
                promise = yield ctx.promise(timeout=5)
                begun.append(promise)
            elif instruction[0] in ("begin", "all"):
                begun.append((yield self.command(ctx, instruction, self.generator)))
            else:
                try:
                    found.append((yield self.command(ctx, instruction, self.generator)))
                except ValueError as error:
                    found.append(str(error))
        for promise in begun[::2]:
            try:
                found.append((yield promise))
            except Exception as error:  # noqa: BLE001 - timeouts are part of the outcome
                found.append(type(error).__name__)
        return found

    async def coroutine(self, ctx: Context, program: Program) -> Any:
        found: list[Any] = []
        begun: list[Any] = []
        for instruction in program:
            if instruction == "promise":
                begun.append(await ctx.promise(timeout=5))
            elif instruction[0] in ("begin", "all"):
                begun.append(await self.command(ctx, instruction, self.coroutine))
            else:
                try:
                    found.append(await self.command(ctx, instruction, self.coroutine))
                except ValueError as error:
                    found.append(str(error))
        awaited = begun[::2]
        outcomes = await asyncio.gather(*awaited, return_exceptions=True)
        return found + [type(one).__name__ if isinstance(one, BaseException) else one for one in outcomes]


async def outcome(
    program: Program, *, kind: str, kills: list[int], resident: bool, extensions: frozenset[str]
) -> tuple[Any, list[str]]:
    world = World(resident=resident, extensions=extensions)
    machine = Machine(world)
    body = machine.generator if kind == "generator" else machine.coroutine

    def root(ctx: Context) -> Any:
        return (yield ctx.run(body, program))

    world.begin("x", root, timeout_s=86_400)
    try:
        for kill in kills:
            promise = world.promises["x"]
            assert promise is not None
            if promise.state != PENDING or promise.task is None or promise.task.state != PENDING:
                await world.work()
                break
            try:
                await world.take("x", die_after=kill)
            except Killed:
                world.apply_release("x")
        await world.work()
        return world.result("x"), machine.faults
    finally:
        end_worlds()


@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    program=_programs,
    kills=st.lists(st.integers(0, 6), max_size=6),
    resident=st.booleans(),
    extended=st.booleans(),
    kind=st.sampled_from(["generator", "async"]),
)
def test_kills_change_nothing_and_recorded_steps_never_run(
    program: Program, kills: list[int], resident: bool, extended: bool, kind: str
) -> None:
    extensions = EXTENSIONS - {"batch"} if extended else frozenset()

    async def both() -> None:
        plain, faults = await outcome(program, kind="generator", kills=[], resident=True, extensions=extensions)
        killed, more = await outcome(program, kind=kind, kills=kills, resident=resident, extensions=extensions)
        assert killed == plain
        assert faults == more == []

    asyncio.run(both())
