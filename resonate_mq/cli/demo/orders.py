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
from resonate_mq.cli.demo.plan import GROUP, LEDGER, WORK_S

resonate = Resonate.remote(group=GROUP)


@resonate.register
def place_order(ctx: Context, order: str) -> Generator[Any, Any, list[str]]:
    """Do the five steps, one after the other; each is recorded when it is done, and never done again after that."""
    receipts = []
    for step in (reserve, charge, pack, ship, notify):
        receipts.append((yield ctx.run(step, order)))
    return receipts


def reserve(ctx: Context, order: str) -> str:
    """Take the goods off the shelf."""
    return touch_the_world(ctx, order, "reserve")


def charge(ctx: Context, order: str) -> str:
    """Take the money."""
    return touch_the_world(ctx, order, "charge")


def pack(ctx: Context, order: str) -> str:
    """Put the goods into a box."""
    return touch_the_world(ctx, order, "pack")


def ship(ctx: Context, order: str) -> str:
    """Hand the box to somebody with a van."""
    return touch_the_world(ctx, order, "ship")


def notify(ctx: Context, order: str) -> str:
    """Tell the customer."""
    return touch_the_world(ctx, order, "notify")


def touch_the_world(ctx: Context, order: str, step: str) -> str:
    """Leave a line in the ledger under the step's idempotency key, which stays the same however often it is tried."""
    ledger.append(Path(os.environ[LEDGER]), ctx.id, order, step)
    time.sleep(WORK_S)  # what takes time in a real step
    return f"{step}:{ctx.id}"
