"""Five steps with side effects in an outside ledger: the program whose processes are killed."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Generator
from typing import Any

from resonate_mq import Context, Resonate

resonate = Resonate.remote(group="crash")

STEPS = 5


@resonate.register
def step(ctx: Context, workflow: str, number: int, pause_s: float) -> int:
    """Append one line for each attempt: when, whose, which, by whom."""
    line = f"{time.time()} {workflow} {number} {os.getpid()}\n".encode()
    ledger = os.open(os.environ["CRASH_LEDGER"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(ledger, line)
    os.close(ledger)
    threading.Event().wait(pause_s)
    return number * 10


@resonate.register
def five(ctx: Context, pause_s: float) -> Generator[Any, Any, int]:
    """Run five steps, one after the other."""
    total = 0
    for number in range(1, STEPS + 1):
        total += yield ctx.run(step, ctx.id, number, pause_s)
    return total
