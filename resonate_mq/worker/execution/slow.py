"""Notices leaves that run for longer than a moment, so that they are recorded as pending (D9)."""

import asyncio
from collections import deque
from collections.abc import Callable

from resonate_mq.worker.execution.step import Step


class SlowLeaves:
    """One timer for all leaves of an execution: it is armed for the oldest only."""

    __slots__ = ("_after_s", "_show", "_timer", "_watched")

    def __init__(self, after_s: float, show: Callable[[Step], None]) -> None:
        self._after_s = after_s
        self._show = show
        self._watched: deque[tuple[float, Step]] = deque()
        self._timer: asyncio.TimerHandle | None = None

    def watch(self, step: Step) -> None:
        """Show `step` if it is not settled after the moment."""
        due = asyncio.get_running_loop().time() + self._after_s
        self._watched.append((due, step))
        if self._timer is None:
            self._arm(due)

    def stop(self) -> None:
        """Watch nothing any more."""
        self._watched.clear()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _arm(self, due: float) -> None:
        self._timer = asyncio.get_running_loop().call_at(due, self._look)

    def _look(self) -> None:
        self._timer = None
        now = asyncio.get_running_loop().time()
        while self._watched:
            due, step = self._watched[0]
            if not step.settled and due > now:
                self._arm(due)
                return
            self._watched.popleft()
            if not step.settled:
                self._show(step)
