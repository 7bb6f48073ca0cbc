"""Many steps at the same time: begin them all, then collect."""

import asyncio
from collections.abc import Generator
from typing import Any

from resonate_mq import Context, Resonate

resonate = Resonate.local()


@resonate.register
def total_length(ctx: Context, words: list[str]) -> Generator[Any, Any, int]:
    """Start a step a word, wait for all."""
    begun = []
    for word in words:
        begun.append((yield ctx.begin_run(measure, word)))
    total = 0
    for promise in begun:
        total += yield promise
    return total


@resonate.register
async def total_length_async(ctx: Context, words: list[str]) -> int:
    """Do the same with asyncio."""
    return sum(await asyncio.gather(*(ctx.run(measure, word) for word in words)))


def measure(ctx: Context, word: str) -> int:
    """Measure one word."""
    return len(word)


if __name__ == "__main__":
    words = ["durable", "functions", "for", "python"]
    print(total_length.run("lengths-1", words))
    print(total_length_async.run("lengths-2", words))
