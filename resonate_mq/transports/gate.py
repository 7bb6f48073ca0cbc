"""Keeps a consumer within its credits whatever arrives: what is beyond them waits here, unended, in order.

The transports that cannot bound their peer exactly (a server that counts differently, a consumer resumed while older
deliveries are open) put their anycast deliveries through a gate.
"""

from collections import deque
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class CreditGate(Generic[T]):
    """Lets through at most `credits` deliveries that are not ended.

    Attributes:
        credits: how many may be open at one time; 0 lets nothing through.
        open: delivered and not ended.
    """

    def __init__(self, credits: int, deliver: Callable[[T], None]) -> None:
        self.credits = credits
        self.open = 0
        self._deliver = deliver
        self._waiting: deque[T] = deque()

    def offer(self, delivery: T) -> None:
        """Deliver now or when an earlier one has ended."""
        self._waiting.append(delivery)
        self.flush()

    def ended(self) -> None:
        """One delivery was ended."""
        self.open -= 1
        self.flush()

    def flush(self) -> None:
        """Deliver what credits allow."""
        while self._waiting and self.open < self.credits:
            self.open += 1
            self._deliver(self._waiting.popleft())

    def take_waiting(self) -> list[T]:
        """Return and forget what was never delivered, in order."""
        waiting = list(self._waiting)
        self._waiting.clear()
        return waiting
