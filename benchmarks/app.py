"""The worker side of the benchmarks: `resonate-mq worker benchmarks.app:resonate`."""

from collections.abc import Generator
from typing import Any

from resonate_mq import Context, Resonate

resonate = Resonate.remote(group="bench")


@resonate.register
def noop(ctx: Context, value: int) -> int:
    """Answer at once: what is measured is everything around it."""
    return value


def add_one(ctx: Context, value: int) -> int:
    """One short local step."""
    return value + 1


@resonate.register
def ten_steps(ctx: Context, value: int) -> Generator[Any, Any, int]:
    """Ten durable local steps, one after the other."""
    for _ in range(10):
        value = yield ctx.run(add_one, value)
    return value
