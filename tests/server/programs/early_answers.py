"""`resonate-mq` with a fault: answers leave 20 ms before the commit. Proves that tests would see it."""

import asyncio

from resonate_mq.cli import main
from resonate_mq.server.unit import Drain
from resonate_mq.stores.port import Unit

DELAY_S = 0.02
_honest = Drain._run_jobs


async def _hasty(self: Drain, unit: Unit) -> int:
    latest_ms = await _honest(self, unit)
    for job in self._jobs:
        job.answer()
    await asyncio.sleep(DELAY_S)
    return latest_ms


Drain._run_jobs = _hasty  # type: ignore[method-assign]

if __name__ == "__main__":
    main()
