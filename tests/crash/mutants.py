"""Servers with one guarantee removed, to show that the kill tests notice.

`python -m tests.crash.mutants NAME serve ...` runs one.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
from typing import Any

from resonate_mq.cli import main
from resonate_mq.machine import tasks
from resonate_mq.protocol.records import ACQUIRED
from resonate_mq.server.unit import Drain
from resonate_mq.stores.port import Unit
from resonate_mq.stores.sqlite.unit import SqliteUnit

COMMIT_DELAY_S = 0.5


def early_answers() -> None:
    """Answers leave before the commit."""
    run_jobs, commit = Drain._run_jobs, SqliteUnit.commit

    async def answer_at_once(self: Drain, unit: Unit) -> int:
        latest_ms = await run_jobs(self, unit)
        for job in self._jobs:
            job.answer()
        return latest_ms

    async def commit_later(self: SqliteUnit) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(COMMIT_DELAY_S):
                await asyncio.Event().wait()
        await commit(self)

    Drain._run_jobs = answer_at_once  # type: ignore[method-assign]
    SqliteUnit.commit = commit_later  # type: ignore[method-assign]


def no_fence() -> None:
    """The version of a task is not compared."""

    def held_by_anybody(state: Any, task_id: str, version: int) -> Any:
        found = tasks._task(state, task_id)
        if found is None:
            return tasks.NOT_FOUND
        return found if found[1].state == ACQUIRED else tasks.LOST

    tasks._held = held_by_anybody


MUTANTS = {"early-answers": early_answers, "no-fence": no_fence}

if __name__ == "__main__":
    MUTANTS[sys.argv.pop(1)]()
    main()
