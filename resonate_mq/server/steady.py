"""The local clock that decides when to wake up (D3). Never stored, never compared with another machine's."""

import time

_CLOCK: int | None = getattr(time, "CLOCK_BOOTTIME", None)


def steady_s() -> float:
    """Return seconds of a clock that never goes back and, where the system has one, counts while the machine sleeps."""
    return time.monotonic() if _CLOCK is None else time.clock_gettime(_CLOCK)
