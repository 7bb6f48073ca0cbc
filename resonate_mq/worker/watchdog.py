"""Whether the worker's event loop still turns, seen from another thread, and what blocks it when it does not.

The loop leaves a mark a few times a second; the lease thread looks at it. Knows no lease and no server.
"""

from __future__ import annotations

import asyncio
import logging
import sys
import threading
import time
import traceback

logger = logging.getLogger(__name__)

MARK_S = 0.25
DEEPEST = 12  # frames shown


class LoopWatch:
    """The marks of one loop.

    Args:
        blocked_after_s: a loop that leaves no mark for this long is logged, once, with the stack that blocks it.
    """

    def __init__(self, blocked_after_s: float) -> None:
        self.blocked_after_s = blocked_after_s
        self._marked_at = time.monotonic()
        self._thread_id = 0
        self._handle: asyncio.TimerHandle | None = None
        self._reported = False

    def start(self) -> None:
        """Begin to mark the running loop."""
        self._thread_id = threading.get_ident()
        self._mark()

    def stop(self) -> None:
        """Stop marking."""
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None

    def silent_s(self) -> float:
        """Return for how long the loop has not turned; 0 when it is not watched."""
        return 0.0 if self._handle is None else max(0.0, time.monotonic() - self._marked_at - MARK_S)

    def look(self) -> None:
        """Log the blocking stack if the loop is blocked and that was not said yet. From any other thread."""
        silent_s = self.silent_s()
        if silent_s < self.blocked_after_s:
            self._reported = False
            return
        if self._reported:
            return
        self._reported = True
        frame = sys._current_frames().get(self._thread_id)
        stack = "".join(traceback.format_stack(frame)[-DEEPEST:]) if frame is not None else "(no stack)"
        logger.warning(
            "the event loop has been blocked for %.1f s; leases are still renewed, but nothing else of this worker "
            "moves. Make the function below a plain `def` (it then runs in a thread) or await instead of blocking:\n%s",
            silent_s,
            stack,
        )

    def _mark(self) -> None:
        self._marked_at = time.monotonic()
        self._handle = asyncio.get_running_loop().call_later(MARK_S, self._mark)
