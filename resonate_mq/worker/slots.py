"""How many executions may run at one time (D36). Knows no task."""

from __future__ import annotations

from collections.abc import Callable


class Slots:
    """Counts slots. A parked execution gives its slot back and takes one again without waiting.

    `free` may be negative for a while after parked executions came back; nothing new starts until it is positive.

    `freed` counts how often a slot was given back: that it grows shows that work turns over.

    Args:
        size: executions at one time.
        on_free: called after a slot became free.
    """

    def __init__(self, size: int, on_free: Callable[[], None]) -> None:
        self.size = size
        self.free = size
        self.freed = 0
        self._on_free = on_free

    def try_take(self) -> bool:
        """Take a slot if one is free."""
        if self.free <= 0:
            return False
        self.free -= 1
        return True

    def take(self) -> None:
        """Take a slot whether or not one is free: for what cannot wait, such as a parked execution coming back."""
        self.free -= 1

    def give(self) -> None:
        """Give a slot back."""
        self.free += 1
        self.freed += 1
        if self.free > 0:
            self._on_free()
