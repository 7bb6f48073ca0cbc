"""How long to wait before the next attempt to connect."""

import random


class Backoff:
    """Doubling waits with jitter between half and all of the step, so that a fleet does not return in step.

    Args:
        first_s: seconds before the second attempt; the first one waits for nothing.
        cap_s: longest wait in seconds.
    """

    def __init__(self, first_s: float, cap_s: float) -> None:
        self._first_s = first_s
        self._cap_s = cap_s
        self._step_s = first_s

    def reset(self) -> None:
        """An attempt succeeded."""
        self._step_s = self._first_s

    def next_s(self) -> float:
        """Return the seconds to wait now, and double."""
        step_s = self._step_s
        self._step_s = min(self._cap_s, step_s * 2)
        return step_s * random.uniform(0.5, 1.0)
