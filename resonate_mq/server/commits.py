"""What a commit tells the rest of the server. Owns the shape of the news and nothing else.

Observers are called on the loop, once a commit, after the answers were given. They must not await, must not raise
and must not keep the records: the kernel changes them in place with the next unit.
"""

from collections.abc import Callable, Mapping
from typing import NamedTuple

from resonate_mq.protocol.records import Promise, PromiseImage, Schedule, ScheduleImage


class Commit(NamedTuple):
    """One durable group of changes.

    Attributes:
        now_ms: the latest instant its requests happened at, epoch ms.
        changed: promise id -> (the promise as it is now, its image before; None when it was born).
        schedules: likewise.
    """

    now_ms: int
    changed: Mapping[str, tuple[Promise, PromiseImage | None]]
    schedules: Mapping[str, tuple[Schedule, ScheduleImage | None]]


Observer = Callable[[Commit], None]
