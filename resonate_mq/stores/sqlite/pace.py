"""Whether COMMIT is slow enough on this disk to be worth a thread (D42)."""

from collections import deque

SLOW_S = 0.002  # p99 above which a commit leaves the loop; a thread hop alone costs about 85 µs
_WINDOW = 200  # commits remembered
_STRIDE = 25  # commits between two looks


class CommitPace:
    """The recent durations of COMMIT.

    Attributes:
        is_slow: their p99 exceeds `SLOW_S`.
    """

    __slots__ = ("_recent", "_seen", "is_slow")

    def __init__(self) -> None:
        self.is_slow = False
        self._recent: deque[float] = deque(maxlen=_WINDOW)
        self._seen = 0

    def note(self, seconds: float) -> None:
        """Take note of one commit."""
        self._recent.append(seconds)
        self._seen += 1
        if self._seen % _STRIDE == 0:
            ordered = sorted(self._recent)
            self.is_slow = ordered[len(ordered) * 99 // 100 - 1] > SLOW_S
