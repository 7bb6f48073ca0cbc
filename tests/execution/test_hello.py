"""The first things anybody runs."""

from collections.abc import Generator
from typing import Any

import pytest

from resonate_mq.functions.context import Context
from resonate_mq.functions.retry import Never
from tests.support.machine_session import FULL, World


def bar(_: Context, greetee: str) -> str:
    return f"Hello {greetee} from bar!"


def baz(_: Context, greetee: str) -> str:
    return f"Hello {greetee} from baz!"


def foo(ctx: Context, greetee: str) -> Generator[Any, Any, str]:
    bar_greeting = yield ctx.run(bar, greetee=greetee)
    baz_greeting = yield ctx.run(baz, greetee=greetee)
    return f"Hello {greetee} from foo! {bar_greeting} {baz_greeting}"


async def foo_async(ctx: Context, greetee: str) -> str:
    bar_greeting = await ctx.run(bar, greetee=greetee)
    baz_greeting = await ctx.run(baz, greetee=greetee)
    return f"Hello {greetee} from foo! {bar_greeting} {baz_greeting}"


@pytest.mark.parametrize("func", [foo, foo_async])
async def test_two_steps_make_a_greeting(func: Any) -> None:
    world = World()
    assert await world.run("hello", func, "World") == (
        "Hello World from foo! Hello World from bar! Hello World from baz!"
    )
    assert world.ids() == ["hello", "hello.1", "hello.2"]


async def test_a_plain_function_is_a_whole_call() -> None:
    world = World()
    assert await world.run("plain", bar, "you") == "Hello you from bar!"


def factorial(ctx: Context, n: int) -> Any:
    if n <= 1:
        return 1
    r = yield ctx.rpc("factorial", n - 1).options(target="poll://any@factorial-worker", id=f"factorial-{n - 1}")
    return n * r


async def factorial_async(ctx: Context, n: int) -> int:
    if n <= 1:
        return 1
    below: int = await ctx.rpc("factorial_async", n - 1).options(id=f"factorial-{n - 1}")
    return n * below


@pytest.mark.parametrize("func", [factorial, factorial_async])
async def test_a_function_calls_itself_through_the_server(func: Any) -> None:
    world = World()
    assert await world.run("factorial-5", func, n=5) == 120
    assert world.result("factorial-3") == 6


def sleeper(ctx: Context, wf_id: str, secs: float) -> Any:
    yield ctx.sleep(secs)
    return f"Workflow {wf_id} completed after sleeping for {secs} seconds."


async def test_sleep_suspends_until_its_deadline() -> None:
    world = World(extensions=FULL)
    assert await world.run("s", sleeper, "s", 1000.5) == "Workflow s completed after sleeping for 1000.5 seconds."
    assert world.trips == [["promise.create", "task.suspend"], ["task.fulfill"]]


def human(ctx: Context) -> Any:
    promise = yield ctx.promise()
    sent = yield ctx.lfc(bar, promise.id)
    answer = yield promise
    return [sent, answer]


async def test_a_promise_is_settled_from_outside() -> None:
    world = World()
    world.begin("h", human)
    await world.work(jump=False)
    world.settle("h.1", data={"ok": 1})
    await world.work()
    assert world.result("h") == ["Hello h.1 from bar!", {"ok": 1}]


def transfer(ctx: Context, fail: bool) -> Any:
    def credit(_: Context) -> None:
        if fail:
            raise KeyError("no such account")

    try:
        yield ctx.run(credit).options(retry_policy=Never())
    except KeyError as error:
        yield ctx.run(bar, "x")
        return {"status": "compensated", "error": str(error)}
    return {"status": "committed"}


@pytest.mark.parametrize(("fail", "status"), [(True, "compensated"), (False, "committed")])
async def test_errors_are_raised_at_the_yield(fail: bool, status: str) -> None:
    world = World()
    assert (await world.run("t", transfer, fail))["status"] == status
