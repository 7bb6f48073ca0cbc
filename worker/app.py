"""A worker's functions: the file you write. `resonate-mq worker worker.app:resonate` executes them.

Where the server is, which group this is and which broker delivers is not said here: flags or RESONATE_URL,
RESONATE_GROUP, RESONATE_TRANSPORT and RESONATE_TOKEN do.
"""

from collections.abc import Generator
from typing import Any

from resonate_mq import Context, Resonate

resonate = Resonate.remote()


@resonate.register
def greet(ctx: Context, name: str) -> str:
    """A function that is one step."""
    return f"Hello, {name}!"


@resonate.register
def countdown(ctx: Context, count: int, seconds: float) -> Generator[Any, Any, str]:
    """Count down with a durable pause between the numbers: kill the worker on the way, it goes on where it was."""
    for number in range(count, 0, -1):
        yield ctx.run(say, number)
        yield ctx.sleep(seconds)
    return "lift-off"


@resonate.register
def approval(ctx: Context, request: str) -> Generator[Any, Any, str]:
    """Wait for a person, for days if need be: `resonate-mq promises resolve <request>-decision --data '"yes"'`."""
    decision = yield ctx.promise(id=f"{request}-decision")
    return f"{request}: {(yield decision)}"


def say(ctx: Context, number: int) -> int:
    """Write a number into the log."""
    ctx.logger.info("%d", number)
    return number
