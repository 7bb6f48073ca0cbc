"""From images to rows: writes only what changed, each row once, statement by statement (D42)."""

from collections.abc import Iterable
from dataclasses import dataclass

from resonate_mq.machine.state import State
from resonate_mq.protocol.records import PENDING, Promise, PromiseImage, TaskImage
from resonate_mq.stores.sqlite.database import Database, Row
from resonate_mq.stores.sqlite.rows import (
    new_task_row,
    promise_row,
    resumes_column,
    schedule_row,
    settlement_row,
    task_row,
)
from resonate_mq.stores.sqlite.sql import WRITING

# rows that others refer to come first
_ORDER = (
    "insert_promise",
    "settle_promise",
    "insert_task",
    "update_task",
    "renew_lease",
    "rearm_hint",
    "note_progress",
    "delete_callbacks_of",
    "delete_callback",
    "insert_callback",
    "settle_listeners",
    "insert_listener",
    "delete_listener",
    "put_schedule",
    "delete_schedule",
)


@dataclass(slots=True)
class Counters:
    """Numbers the store hands out; taken over when their unit is committed."""

    next_key: int
    next_settle_seq: int


class Writer:
    """The rows of one unit. May be flushed more than once: each time what changed since."""

    def __init__(self, state: State, counters: Counters) -> None:
        self.counters = Counters(counters.next_key, counters.next_settle_seq)
        self._state = state
        self._written: dict[str, PromiseImage] = {}
        self._rows: dict[str, list[Row]] = {}
        self._awaits: list[tuple[Promise, tuple[str, ...]]] = []

    @property
    def has_work(self) -> bool:
        """Whether anything changed."""
        return bool(self._state.changed or self._state.changed_schedules)

    def flush(self, database: Database) -> None:
        """Write into the open transaction.

        Raises:
            StoreUnavailableError, RefusedDataError: the transaction is undone.
        """
        self._rows = {name: [] for name in _ORDER}
        self._awaits.clear()
        written = self._written
        for promise, image in self._state.changed.values():
            self._add_promise(promise, written.get(promise.id, image) if written else image)
        self._add_callbacks()
        for schedule, _ in self._state.changed_schedules.values():
            if schedule.deleted:
                self._rows["delete_schedule"].append((schedule.id,))
            else:
                self._rows["put_schedule"].append(schedule_row(schedule))
        for name, rows in self._rows.items():
            if rows:
                database.write_many(WRITING[name], rows)

    def note_written(self) -> None:
        """Begin to compare with what is written now: the unit goes on after a flush."""
        for promise, _ in self._state.changed.values():
            self._written[promise.id] = promise.image()

    def _add_promise(self, promise: Promise, before: PromiseImage | None) -> None:
        rows = self._rows
        settles = promise.state != PENDING and (before is None or before.state == PENDING)
        settle_seq = 0
        if settles:
            settle_seq = self.counters.next_settle_seq
            self.counters.next_settle_seq += 1
        if before is None:
            promise.key = self.counters.next_key
            self.counters.next_key += 1
            rows["insert_promise"].append(promise_row(promise, settle_seq or None))
        elif settles:
            rows["settle_promise"].append(settlement_row(promise, settle_seq))
        task = promise.task
        if task is not None:
            self._add_task(promise, task.image(), None if before is None else before.task)
        listeners = () if before is None else before.listeners
        if settles and listeners:
            rows["settle_listeners"].append((promise.key,))
        if promise.listeners != listeners:
            self._add_listeners(promise, listeners)

    def _add_task(self, promise: Promise, now: TaskImage, before: TaskImage | None) -> None:
        if now == before:
            return
        rows, key = self._rows, promise.key
        if before is None:
            rows["insert_task"].append(new_task_row(promise, now))
        # the frequent changes of one thing leave the other indexes alone
        elif now[:4] != before[:4] or now.claim != before.claim or now.last_pid != before.last_pid:
            rows["update_task"].append(task_row(key, now))
        elif now[5:] == before[5:]:
            rows["renew_lease"].append((now.lease_at, key))
        elif now[7:] == before[7:] and now.lease_at == before.lease_at:
            rows["rearm_hint"].append((now.hint_due_at, now.hint_attempt, key))
        elif now[4:7] == before[4:7]:
            rows["note_progress"].append((resumes_column(now.resumes), now.progressed, now.stalls, now.reason, key))
        else:
            rows["update_task"].append(task_row(key, now))
        awaited = () if before is None else before.awaiting
        if now.awaiting != awaited:
            self._await(promise, now.awaiting, awaited)

    def _await(self, promise: Promise, now: tuple[str, ...], before: tuple[str, ...]) -> None:
        if before and not now:
            self._rows["delete_callbacks_of"].append((promise.key,))
            return
        gone = set(before).difference(now)
        self._rows["delete_callback"].extend((promise.key, one) for one in gone)
        added = tuple(one for one in now if one not in before)
        if added:
            self._awaits.append((promise, added))

    def _add_callbacks(self) -> None:
        """Add callback rows last: only now every promise of the unit has its key."""
        rows = self._rows["insert_callback"]
        for awaiter, added in self._awaits:
            for one in added:
                awaited = self._state.promises[one]
                if awaited is not None:
                    rows.append((awaited.key, awaiter.key))

    def _add_listeners(self, promise: Promise, before: Iterable[str]) -> None:
        now, known = promise.listeners, set(before)
        is_settled = promise.state != PENDING
        self._rows["insert_listener"].extend((promise.key, one, is_settled) for one in now if one not in known)
        self._rows["delete_listener"].extend((promise.key, one) for one in known.difference(now))
