"""What the demo's workers execute: an order of five steps, each with a side effect in the ledger.

This is what a durable function looks like; `resonate-mq worker resonate_mq.cli.demo.orders:resonate` runs it.
"""

import os
import time
from collections.abc import Generator
from pathlib import Path
from typing import Any

from resonate_mq import Context, Resonate
from resonate_mq.cli.demo import ledger
from resonate_mq.cli.demo.plan import GROUP, LEDGER, STEPS, WORK_S

resonate = Resonate.remote(group=GROUP)


@resonate.register
def place_order(ctx: Context, order: str) -> Generator[Any, Any, list[str]]:
    """Do the five steps, one after the other; each is recorded when it is done, and never done again after that."""
    receipts = []
    for step in STEPS:
        receipts.append((yield ctx.run(do_step, order, step)))
    return receipts


def do_step(ctx: Context, order: str, step: str) -> str:
    """Touch the outside world under the step's idempotency key, which stays the same however often it is tried."""
    ledger.append(Path(os.environ[LEDGER]), ctx.id, order, step)
    time.sleep(WORK_S)  # what takes time in a real step
    return f"{step}:{ctx.id}"
