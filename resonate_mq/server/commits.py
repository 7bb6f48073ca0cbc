"""What a commit tells the rest of the server. Owns the shape of the news and nothing else.

Observers are called on the loop, once a commit, after the answers were given. They must not await, must not raise
and must not keep the records: the kernel changes them in place with the next unit.
"""

from collections.abc import Callable, Mapping
from typing import NamedTuple

from resonate_mq.machine.rules import HINT_CLAIM_MS
from resonate_mq.protocol.records import PENDING, Promise, PromiseImage, Schedule, ScheduleImage


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


def is_new_hint(promise: Promise, before: PromiseImage | None, now_ms: int) -> bool:
    """Tell whether a commit made a task pending whose hint this server has to send at once (D17)."""
    task = promise.task
    if task is None or task.hint_due_at is None or task.hint_attempt != 0 or promise.is_timer():
        return False
    if task.hint_due_at > now_ms + HINT_CLAIM_MS:
        return False
    was = None if before is None else before.task
    return was is None or was.state != PENDING or was.version != task.version or was.hint_due_at != task.hint_due_at
