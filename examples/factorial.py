"""Recursion: a function calls itself with `rpc`, so each level may run in another process."""

from collections.abc import Generator
from typing import Any

from resonate_mq import Context, Resonate

resonate = Resonate.local()


@resonate.register
def factorial(ctx: Context, n: int) -> Generator[Any, Any, int]:
    """Multiply n with the factorial below it, which has an id of its own and is computed once."""
    if n <= 1:
        return 1
    below = yield ctx.rpc(factorial, n - 1).options(id=f"factorial-{n - 1}")
    return n * int(below)


if __name__ == "__main__":
    print(factorial.run("factorial-10", 10))
    print(resonate.get("factorial-3").result())  # a level in between is a call like any other
