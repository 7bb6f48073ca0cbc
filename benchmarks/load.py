"""Calls durable functions from this process and measures how long each takes."""

import asyncio
import time
import uuid

from benchmarks.figures import Measured, measured
from benchmarks.stack import Stack
from resonate_mq import Resonate


async def call_in_turns(stack: Stack, function: str, concurrency: int, seconds: float) -> Measured:
    """Keep `concurrency` calls of `function` in flight for `seconds`; the first fifth of the time is warm-up."""
    target = f"{'poll' if stack.transport is None else 'amqp'}://any@bench"
    transport = None if stack.transport is None else {"amqp": stack.transport}
    resonate = Resonate.remote(url=stack.url, group=f"client-{uuid.uuid4().hex[:6]}", worker=False, transport=transport)
    taken: list[float] = []
    async with resonate:
        caller = resonate.options(target=target)
        start = time.perf_counter()
        counted_from, end = start + seconds / 5, start + seconds

        async def one_caller() -> None:
            while (began := time.perf_counter()) < end:
                answer = await caller.aio.rpc(uuid.uuid4().hex, function, 1)
                if answer not in (1, 11):
                    raise RuntimeError(f"{function}(1) answered {answer!r}")
                if began >= counted_from:
                    taken.append(time.perf_counter() - began)

        async with asyncio.TaskGroup() as group:
            for _ in range(concurrency):
                group.create_task(one_caller())
        elapsed = time.perf_counter() - counted_from
    return measured(taken, elapsed)
