"""Generators and async bodies mean the same: every case here runs as both (D32)."""

from collections.abc import Callable
from typing import Any, NamedTuple

import pytest

from resonate_mq.functions.context import Context
from resonate_mq.functions.errors import ResonateTimedoutError
from resonate_mq.functions.retry import Constant, Never
from tests.support.machine_session import World, turns


class Case(NamedTuple):
    """The same body written twice, and what it gives."""

    name: str
    generator: Callable[..., Any]
    coroutine: Callable[..., Any]
    expected: Any
    ids: list[str]


def add(_: Context, a: int, b: int = 1) -> int:
    return a + b


async def add_async(_: Context, a: int, b: int = 1) -> int:
    await turns(1)
    return a + b


def boom(_: Context) -> None:
    raise ValueError("boom")


def sequence_gen(ctx: Context) -> Any:
    total = 0
    for _ in range(5):
        total = yield ctx.run(add, total)
    return total


async def sequence_async(ctx: Context) -> int:
    total = 0
    for _ in range(5):
        total = await ctx.run(add, total)
    return total


def fan_gen(ctx: Context) -> Any:
    promises = []
    for n in range(3):
        promises.append((yield ctx.begin_run(add, n)))
    found = []
    for promise in promises:
        found.append((yield promise))
    return found


async def fan_async(ctx: Context) -> Any:
    promises = [await ctx.begin_run(add, n) for n in range(3)]
    return [await promise for promise in promises]


def child_gen(ctx: Context, n: int) -> Any:
    one = yield ctx.run(add, n)
    two = yield ctx.run(add_async, one)
    return two


async def child_async(ctx: Context, n: int) -> int:
    one = await ctx.run(add, n)
    return await ctx.run(add_async, one)


def nested_gen(ctx: Context) -> Any:
    a = yield ctx.run(child_gen, 1)
    b = yield ctx.run(child_async, a)
    return b


async def nested_async(ctx: Context) -> int:
    a = await ctx.run(child_gen, 1)
    b: int = await ctx.run(child_async, a)
    return b


def catch_gen(ctx: Context) -> Any:
    try:
        yield ctx.run(boom).options(retry_policy=Never())
    except ValueError as error:
        return f"caught {error}"


async def catch_async(ctx: Context) -> Any:
    try:
        await ctx.run(boom).options(retry_policy=Never())
    except ValueError as error:
        return f"caught {error}"


def remote_gen(ctx: Context) -> Any:
    p = yield ctx.begin_rpc("add", 1)
    q = yield ctx.begin_rpc("add", 2, b=5)
    r = yield ctx.rpc("add", 3)
    return [(yield p), (yield q), r, (yield p)]


async def remote_async(ctx: Context) -> Any:
    p = await ctx.begin_rpc("add", 1)
    q = await ctx.begin_rpc("add", 2, b=5)
    r = await ctx.rpc("add", 3)
    return [await p, await q, r, await p]


def unawaited_gen(ctx: Context) -> Any:
    yield ctx.begin_run(boom).options(retry_policy=Never())
    yield ctx.begin_rpc("add", 1)
    yield ctx.detached("add", 2)
    return "own value"


async def unawaited_async(ctx: Context) -> Any:
    await ctx.begin_run(boom).options(retry_policy=Never())
    await ctx.begin_rpc("add", 1)
    await ctx.detached("add", 2)
    return "own value"


def local_recursion_gen(ctx: Context, n: int = 60) -> Any:
    if n == 0:
        return 0
    below = yield ctx.run(local_recursion_gen, n - 1)
    return below + 1


async def local_recursion_async(ctx: Context, n: int = 60) -> int:
    if n == 0:
        return 0
    return 1 + await ctx.run(local_recursion_async, n - 1)


def timeout_gen(ctx: Context) -> Any:
    promise = yield ctx.promise(timeout=5)
    try:
        yield promise
    except ResonateTimedoutError as error:
        return error.promise_id


async def timeout_async(ctx: Context) -> Any:
    promise = await ctx.promise(timeout=5)
    try:
        await promise
    except ResonateTimedoutError as error:
        return error.promise_id


def random_gen(ctx: Context) -> Any:
    value = yield ctx.random.randint(7, 7)
    now = yield ctx.time.time()
    yield ctx.sleep(10)
    later = yield ctx.time.time()
    return [value, later >= now]


async def random_async(ctx: Context) -> Any:
    value = await ctx.random.randint(7, 7)
    now = await ctx.time.time()
    await ctx.sleep(10)
    later = await ctx.time.time()
    return [value, later >= now]


def ephemeral_gen(ctx: Context) -> Any:
    a = yield ctx.run(add, 1).options(durable=False)
    b = yield ctx.run(add, a)
    return b


async def ephemeral_async(ctx: Context) -> Any:
    a = await ctx.run(add, 1).options(durable=False)
    return await ctx.run(add, a)


def explicit_gen(ctx: Context) -> Any:
    a = yield ctx.run(add, 1).options(id="mine")
    b = yield ctx.run(add, 5).options(id="mine")
    return [a, b]


async def explicit_async(ctx: Context) -> Any:
    return [await ctx.run(add, 1).options(id="mine"), await ctx.run(add, 5).options(id="mine")]


CASES = [
    Case("sequence", sequence_gen, sequence_async, 5, ["x", "x.1", "x.2", "x.3", "x.4", "x.5"]),
    Case("fan", fan_gen, fan_async, [1, 2, 3], ["x", "x.1", "x.2", "x.3"]),
    Case("nested", nested_gen, nested_async, 5, ["x", "x.1", "x.1.1", "x.1.2", "x.2", "x.2.1", "x.2.2"]),
    Case("catch", catch_gen, catch_async, "caught boom", ["x", "x.1"]),
    Case("remote", remote_gen, remote_async, [2, 7, 4, 2], ["x", "x.1", "x.2", "x.3"]),
    Case("unawaited", unawaited_gen, unawaited_async, "own value", ["x", "x.1", "x.2", "x.d9"]),
    Case("recursion", local_recursion_gen, local_recursion_async, 60, []),
    Case("timeout", timeout_gen, timeout_async, "x.1", ["x", "x.1"]),
    Case("random", random_gen, random_async, [7, True], ["x", "x.1", "x.2", "x.3", "x.4"]),
    Case("ephemeral", ephemeral_gen, ephemeral_async, 3, ["x", "x.2"]),
    Case("explicit", explicit_gen, explicit_async, [2, 2], ["mine", "x"]),
]


def both() -> pytest.MarkDecorator:
    return pytest.mark.parametrize(
        ("func", "case"),
        [
            pytest.param(func, case, id=f"{case.name}-{kind}")
            for case in CASES
            for kind, func in (("generator", case.generator), ("async", case.coroutine))
        ],
    )


def check(world: World, case: Case) -> None:
    assert world.result("x") == case.expected
    if case.ids:
        ids = [one if not one.startswith("x.d") else "x.d9" for one in world.ids()]
        assert ids == case.ids


@both()
@pytest.mark.parametrize("resident", [True, False])
async def test_a_body_gives_its_value_and_leaves_its_promises(func: Any, case: Case, resident: bool) -> None:
    world = World(resident=resident)
    world.registry.add(add)
    world.begin("x", func)
    await world.work()
    check(world, case)


@both()
async def test_it_runs_without_any_extension(func: Any, case: Case) -> None:
    world = World(extensions=frozenset())
    world.registry.add(add)
    world.begin("x", func)
    await world.work()
    check(world, case)


@both()
async def test_it_survives_a_kill_at_every_round_trip(func: Any, case: Case) -> None:
    """Die at the first round trip, then at the second, and so on, replaying from what was recorded."""
    world = World()
    world.registry.add(add)
    world.begin("x", func)
    await world.crash_everywhere("x")
    check(world, case)


def retrying_gen(ctx: Context, counts: dict[str, int]) -> Any:
    yield ctx.run(count, counts)
    counts["body"] = counts.get("body", 0) + 1
    if counts["body"] < 3:
        raise OSError("again")
    return counts["body"]


def count(_: Context, counts: dict[str, int]) -> int:
    counts["leaf"] = counts.get("leaf", 0) + 1
    return counts["leaf"]


async def retrying_async(ctx: Context, counts: dict[str, int]) -> Any:
    await ctx.run(count, counts)
    counts["body"] = counts.get("body", 0) + 1
    if counts["body"] < 3:
        raise OSError("again")
    return counts["body"]


@pytest.mark.parametrize("child", [retrying_gen, retrying_async])
async def test_a_retried_body_keeps_its_ids_and_runs_no_step_twice(child: Any) -> None:
    counts: dict[str, int] = {}

    def parent(ctx: Context) -> Any:
        return (yield ctx.run(child, counts).options(retry_policy=Constant(0.01)))

    world = World()
    assert await world.run("x", parent) == 3
    assert counts == {"leaf": 1, "body": 3}
    assert world.ids() == ["x", "x.1", "x.1.1"]


@pytest.mark.parametrize("kind", ["generator", "async"])
async def test_a_promise_rejected_from_outside_raises_what_it_says(kind: str) -> None:
    def gen(ctx: Context) -> Any:
        found = []
        for n in range(3):
            try:
                yield (yield ctx.promise(id=f"p{n}"))
            except Exception as error:  # noqa: BLE001 - its type is what is asserted
                found.append([type(error).__name__, str(error)])
        return found

    async def coroutine(ctx: Context) -> Any:
        found = []
        for n in range(3):
            try:
                await (await ctx.promise(id=f"p{n}"))
            except Exception as error:  # noqa: BLE001 - its type is what is asserted
                found.append([type(error).__name__, str(error)])
        return found

    world = World()
    world.begin("x", gen if kind == "generator" else coroutine)
    await world.work(jump=False)
    for n, (state, data) in enumerate([("rejected", "no"), ("rejected", None), ("rejected_canceled", None)]):
        world.settle(f"p{n}", state, data)
        await world.work(jump=False)
    assert world.result("x") == [
        ["RemoteError", "no"],
        ["RemoteError", "rejected without saying why"],
        ["ResonateCanceledError", "[200.00000] Promise p2 canceled"],
    ]
