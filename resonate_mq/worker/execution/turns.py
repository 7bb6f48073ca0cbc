"""Calls that are to be made in this turn, but not inside each other, however deep bodies nest."""

from collections import deque
from collections.abc import Callable
from typing import Any


class Turns:
    """A queue of calls.

    Attributes:
        fault: what a call raised: a bug of this package, since user code is called behind its own boundary.
    """

    __slots__ = ("_ready", "_running", "fault")

    def __init__(self) -> None:
        self.fault: Exception | None = None
        self._ready: deque[tuple[Callable[..., None], tuple[Any, ...]]] = deque()
        self._running = False

    def __bool__(self) -> bool:
        return bool(self._ready)

    def add(self, callback: Callable[..., None], *args: Any) -> None:
        """Queue a call."""
        self._ready.append((callback, args))

    def run(self) -> None:
        """Make every call, those added meanwhile included; does nothing inside itself."""
        if self._running:
            return
        self._running = True
        try:
            while self._ready:
                callback, args = self._ready.popleft()
                callback(*args)
        except Exception as fault:  # noqa: BLE001 - `Execution` raises it and gives the task back
            self.fault = fault
        finally:
            self._running = False
