"""A kernel over an open store, running for the length of a block."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from resonate_mq.server.kernel import Kernel
from resonate_mq.stores.port import Store


@asynccontextmanager
async def running_kernel(store: Store) -> AsyncIterator[Kernel]:
    """Open `store` and serve it; nothing but what is submitted happens: no timers, no publisher."""
    async with store.open():
        kernel = Kernel(store)
        task = asyncio.create_task(kernel.run())
        try:
            yield kernel
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
