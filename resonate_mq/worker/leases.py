"""Which leases this process holds, and since when each is surely good (D5).

Shared between the worker's loop, which takes and drops leases, and the lease thread, which renews them: every
operation is one step of a dict or an attribute. Knows no thread and no server.
"""

from __future__ import annotations

import time
from collections.abc import Callable

MARGIN = 0.1  # of the ttl: time to notice the loss and stop before the server gives the task away
LARGEST_MARGIN_S = 5.0

Clock = Callable[[], float]


class Lease:
    """One acquired task.

    Args:
        sent_at: monotonic time at which the request that acquired it was sent.
    """

    __slots__ = ("_clock", "_lost", "_renewed_at", "_safe_s", "task_id", "version")

    def __init__(self, task_id: str, version: int, ttl_s: float, sent_at: float, clock: Clock) -> None:
        self.task_id = task_id
        self.version = version
        self._safe_s = ttl_s - min(ttl_s * MARGIN, LARGEST_MARGIN_S)
        self._renewed_at = sent_at
        self._lost = False
        self._clock = clock

    def is_lost(self) -> bool:
        """Tell whether somebody else may hold the task by now; once True, always True."""
        if not self._lost and self._clock() - self._renewed_at > self._safe_s:
            self._lost = True
        return self._lost

    def renewed(self, sent_at: float) -> None:
        """Note that a renewal sent at `sent_at` was answered; comes too late for a lease that was lost."""
        if not self.is_lost():
            self._renewed_at = max(self._renewed_at, sent_at)

    def give_up(self) -> None:
        """Treat it as lost from now on."""
        self._lost = True

    def left_s(self) -> float:
        """Return how long it is good without another renewal."""
        return 0.0 if self.is_lost() else self._safe_s - (self._clock() - self._renewed_at)


class Leases:
    """The leases held at one server."""

    def __init__(self, ttl_s: float, clock: Clock = time.monotonic) -> None:
        self.clock = clock
        self._ttl_s = ttl_s
        self._held: dict[str, Lease] = {}

    def hold(self, task_id: str, version: int, sent_at: float) -> Lease:
        """Begin to renew a task acquired by a request sent at `sent_at` (monotonic)."""
        lease = self._held[task_id] = Lease(task_id, version, self._ttl_s, sent_at, self.clock)
        return lease

    def drop(self, lease: Lease) -> None:
        """Stop renewing it; a later lease of the same task stays."""
        if self._held.get(lease.task_id) is lease:
            del self._held[lease.task_id]

    def held(self) -> list[Lease]:
        """Return the leases worth renewing."""
        return [lease for lease in list(self._held.values()) if not lease.is_lost()]

    def __len__(self) -> int:
        return len(self._held)
