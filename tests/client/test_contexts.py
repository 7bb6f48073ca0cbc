"""Whose context is used: each function has its own, and another one's would give steps numbers that replay cannot."""

from collections.abc import Generator
from typing import Any

import pytest

from resonate_mq import Context, Resonate


def leaf(ctx: Context, value: str) -> str:
    return value


def test_a_step_called_through_the_callers_context_is_refused(client: Resonate) -> None:
    @client.register
    def caller(ctx: Context) -> Generator[Any, Any, list[str]]:
        def child(own: Context) -> Generator[Any, Any, Any]:
            return (yield ctx.run(leaf, "child"))  # wrong: replay does not run the child, and numbers differ

        return [(yield ctx.run(child)), (yield ctx.run(leaf, "caller"))]

    with pytest.raises(TypeError, match=r"ctx.run\(leaf\) \[c1.2\] was made by the context of 'c1', but 'c1.1' runs"):
        caller.begin_run("c1").result(10)


def test_an_async_step_called_through_the_callers_context_is_refused_and_not_retried(client: Resonate) -> None:
    @client.register
    async def caller(ctx: Context) -> str:
        async def child(own: Context) -> str:
            return await ctx.run(leaf, "child")

        return await ctx.run(child)

    with pytest.raises(TypeError, match=r"was made by the context of 'c2', but 'c2.1' runs"):
        caller.begin_run("c2").result(10)


@pytest.mark.parametrize("shape", ["plain", "generator", "async"])
def test_a_context_kept_after_its_function_ended_is_refused(client: Resonate, shape: str) -> None:
    kept: list[Context] = []

    def keeper(ctx: Context) -> Generator[Any, Any, None]:
        kept.append(ctx)
        yield ctx.run(leaf, "x")

    def plain(ctx: Context) -> None:
        kept[0].run(leaf, "late")

    def generator(ctx: Context) -> Generator[Any, Any, Any]:
        return (yield kept[0].run(leaf, "late"))

    async def asynchronous(ctx: Context) -> str:
        return await kept[0].run(leaf, "late")

    client.register(keeper)
    client.register({"plain": plain, "generator": generator}.get(shape, asynchronous), name="late")
    client.begin_run("keeper", "keeper").result(10)
    with pytest.raises(TypeError, match="a context was used after its function had ended"):
        client.begin_run("late", "late").result(10)
