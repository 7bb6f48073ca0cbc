"""Hints that went to the process which still holds the body of their task, and for how long it alone may take them.

Owns the half second of D24: a resident process that has not acquired its task by then loses the preference.
"""

import asyncio
from collections import deque
from collections.abc import Callable

from resonate_mq.server.publisher.destination import PendingHint, Phase

PATIENCE_S = 0.5


class Preferred:
    """Watches hints that were confirmed by a resident process.

    Args:
        fall_back: called with a hint that nobody has acquired in time.
    """

    def __init__(self, fall_back: Callable[[PendingHint], None]) -> None:
        self._fall_back = fall_back
        self._watched: deque[tuple[float, PendingHint]] = deque()
        self._timer: asyncio.TimerHandle | None = None

    def watch(self, hint: PendingHint) -> None:
        """Give the resident process its time, counted from now."""
        loop = asyncio.get_running_loop()
        self._watched.append((loop.time() + PATIENCE_S, hint))
        if self._timer is None:
            self._timer = loop.call_later(PATIENCE_S, self._expire)

    def clear(self) -> None:
        """Forget everything."""
        self._watched.clear()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _expire(self) -> None:
        loop = asyncio.get_running_loop()
        self._timer = None
        while self._watched and (self._watched[0][0] <= loop.time() or self._watched[0][1].phase is Phase.GONE):
            hint = self._watched.popleft()[1]
            if hint.phase is Phase.SENT and hint.preferred:
                self._fall_back(hint)
        if self._watched:
            self._timer = loop.call_at(self._watched[0][0], self._expire)
