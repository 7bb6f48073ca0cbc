"""The kernel alone: concurrent promise.create with random ids on SQLite, synchronous=FULL."""

import asyncio
import tempfile
import time
import uuid

from benchmarks.figures import Measured, measured
from resonate_mq.protocol.records import Value
from resonate_mq.protocol.requests import PromiseCreate
from resonate_mq.server.kernel import Kernel
from resonate_mq.stores.sqlite import SqliteStore

YEAR_MS = 365 * 86_400_000


async def creates(seconds: float, concurrency: int) -> Measured:
    """Keep `concurrency` creates in flight for `seconds`."""
    taken: list[float] = []
    with tempfile.TemporaryDirectory(prefix="resonate-mq-bench-") as folder:
        async with SqliteStore(f"{folder}/kernel.db").open() as store, asyncio.TaskGroup() as running:
            kernel = Kernel(store)
            serving = running.create_task(kernel.run())
            start = time.perf_counter()
            timeout_at = int(time.time() * 1000) + YEAR_MS

            async def one_caller() -> None:
                while (began := time.perf_counter()) < start + seconds:
                    request = PromiseCreate(uuid.uuid4().hex, timeout_at, Value(None, "e30="), {})
                    reply = await kernel.submit(request)
                    if reply.status != 200:
                        raise RuntimeError(f"promise.create answered {reply}")
                    taken.append(time.perf_counter() - began)

            async with asyncio.TaskGroup() as group:
                for _ in range(concurrency):
                    group.create_task(one_caller())
            elapsed = time.perf_counter() - start
            serving.cancel()
    return measured(taken, elapsed)
