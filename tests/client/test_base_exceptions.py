"""Errors that are no `Exception`: a function that raises one fails, and its client goes on (B20, D33)."""

import asyncio
from collections.abc import Generator
from typing import Any

import pytest

from resonate_mq import Context, Resonate
from resonate_mq.errors import RemoteError
from resonate_mq.retry_policies import Never


class Unusual(BaseException):
    """Such as test frameworks and other async libraries have."""


@pytest.mark.parametrize("error", [SystemExit(3), KeyboardInterrupt(), GeneratorExit(), Unusual("odd")])
@pytest.mark.parametrize("shape", ["plain", "generator", "async", "async leaf", "task of its own"])
def test_a_function_that_raises_it_fails_and_nothing_else_does(error: BaseException, shape: str) -> None:
    client = Resonate.local(log_level="WARNING")

    def plain(ctx: Context) -> None:
        raise error

    def generator(ctx: Context) -> Generator[Any, Any, None]:
        yield ctx.sleep(0)
        raise error

    async def body(ctx: Context) -> None:
        await ctx.sleep(0)
        raise error

    async def leaf(ctx: Context) -> None:
        raise error

    def calls_leaf(ctx: Context) -> Generator[Any, Any, None]:
        yield ctx.run(leaf).options(retry_policy=Never())

    async def makes_task(ctx: Context) -> None:
        async def helper() -> None:
            raise error

        await asyncio.gather(ctx.sleep(0.05), helper())

    def fine(ctx: Context) -> str:
        return "fine"

    shapes = {"plain": plain, "generator": generator, "async": body, "async leaf": calls_leaf}
    client.register(shapes.get(shape, makes_task), name="bad", retry_policy=Never())
    client.register(fine)
    try:
        with pytest.raises(RemoteError) as raised:
            client.begin_run("bad", "bad").result(10)
        assert raised.value.name == type(error).__name__
        assert client.begin_run("fine", "fine").result(10) == "fine"
    finally:
        client.stop()
