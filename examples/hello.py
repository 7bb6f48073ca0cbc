"""A durable function: each step is recorded, and a call is named by its id."""

from collections.abc import Generator
from typing import Any

from resonate_mq import Context, Resonate

resonate = Resonate.local()


@resonate.register
def greet(ctx: Context, name: str) -> Generator[Any, Any, str]:
    """Greet in two steps with a durable pause between."""
    greeting = yield ctx.run(compose, name)
    yield ctx.sleep(0.1)
    return f"{greeting} (from {ctx.id})"


def compose(ctx: Context, name: str) -> str:
    """One step: a plain function."""
    return f"Hello, {name}!"


if __name__ == "__main__":
    print(greet.run("hello-1", "Ada"))
    print(greet.run("hello-1", "Bob"))  # the same id: the first result again
