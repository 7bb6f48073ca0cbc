"""The store's time: the process clock, raised to the highest instant ever given (D3)."""

import time
from collections.abc import Callable

Clock = Callable[[], int]
"""Returns the current instant, epoch ms."""


def system_clock() -> int:
    """Return the process clock, epoch ms."""
    return time.time_ns() // 1_000_000


class RisingClock:
    """A clock that never goes back, whatever the one below it does.

    Attributes:
        mark_ms: the highest instant given so far; set it to what is persisted.
    """

    __slots__ = ("_clock", "mark_ms")

    def __init__(self, clock: Clock, mark_ms: int = 0) -> None:
        self._clock = clock
        self.mark_ms = mark_ms

    def now_ms(self) -> int:
        """Return the instant, never lower than any before."""
        now = self._clock()
        if now > self.mark_ms:
            self.mark_ms = now
        return self.mark_ms
