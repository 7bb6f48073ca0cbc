"""The store of local mode and tests: everything in this process's memory, gone with it.

Records are the working set itself: a unit hands out the dict they live in, a commit only updates the look-ups, and
a unit that is left without commit puts its records back from their images. `settle_seq` (D19) is not kept: nothing
that reads it outlives the process.
"""

import copy
import secrets
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import asynccontextmanager
from itertools import islice
from types import TracebackType
from typing import TypeVar

from resonate_mq.machine.state import Footprint, State
from resonate_mq.protocol import tags
from resonate_mq.protocol.addresses import destination_of
from resonate_mq.protocol.limits import PRELOAD_MAX_RECORDS
from resonate_mq.protocol.records import ACQUIRED, PENDING, Promise, Schedule
from resonate_mq.protocol.requests import PromiseSearch, ScheduleSearch, TaskSearch
from resonate_mq.stores.clock import Clock, RisingClock, system_clock
from resonate_mq.stores.matching import has_tags, promise_state_at, task_state_at
from resonate_mq.stores.memory_indexes import KeyQueue, SortedIds, TimerIndex
from resonate_mq.stores.port import Due, Snapshot

T = TypeVar("T")


class _Content:
    """All records with their look-ups; debug.reset begins a new one."""

    def __init__(self) -> None:
        self.promises: dict[str, Promise | None] = {}
        self.schedules: dict[str, Schedule] = {}
        self.next_key = 1
        self.ids = SortedIds()
        self.schedule_ids = SortedIds()
        self.branches: dict[str, list[str]] = {}
        self.children: dict[str, list[str]] = {}
        self.deadlines = TimerIndex()
        self.leases = TimerIndex()
        self.hints = TimerIndex()
        self.runs = TimerIndex()
        self.queues: dict[str, KeyQueue] = {}
        self.unconfirmed = KeyQueue()
        self.held: dict[str, str] = {}

    def put(self, promise: Promise) -> None:
        """Bring the look-ups up to date with a promise that changed."""
        key = promise.key
        if key is None:
            key = promise.key = self.next_key
            self.next_key += 1
            self._add(promise)
        is_pending = promise.state == PENDING
        self.deadlines.set(promise.id, promise.timeout_at if is_pending else None, key)
        if promise.listeners and not is_pending:
            self.unconfirmed.add(key, promise.id)
        else:
            self.unconfirmed.discard(key)
        if promise.task is not None:
            self._put_task(promise, key)

    def _add(self, promise: Promise) -> None:
        self.ids.add(promise.id)
        branch, parent = promise.tags.get(tags.BRANCH), promise.tags.get(tags.PARENT)
        if branch and branch != promise.id:
            self.branches.setdefault(branch, []).append(promise.id)
        if parent and parent != promise.id:
            self.children.setdefault(parent, []).append(promise.id)

    def _put_task(self, promise: Promise, key: int) -> None:
        task = promise.task
        if task is None:
            return
        name = promise.id
        self.leases.set(name, task.lease_at, key)
        self.hints.set(name, task.hint_due_at, key)
        if task.state == ACQUIRED and task.pid is not None:
            self.held[name] = task.pid
        else:
            self.held.pop(name, None)
        destination = destination_of(promise.tags[tags.TARGET])
        queue = self.queues.get(destination)
        if task.hint_due_at is not None:
            if queue is None:
                queue = self.queues[destination] = KeyQueue()
            queue.add(key, name)
        elif queue is not None:
            queue.discard(key)
            if not queue:
                del self.queues[destination]

    def put_schedule(self, schedule: Schedule) -> None:
        """Store or drop a schedule that changed."""
        known = schedule.id in self.schedules
        self.runs.set(schedule.id, None if schedule.deleted else schedule.next_run_at)
        if not schedule.deleted:
            self.schedules[schedule.id] = schedule
            if not known:
                self.schedule_ids.add(schedule.id)
        elif known:
            del self.schedules[schedule.id]
            self.schedule_ids.remove(schedule.id)

    def branch(self, branch: str) -> list[str]:
        """Return the ids whose `resonate:branch` is `branch`."""
        ids = list(self.branches.get(branch, ()))
        own = self.promises.get(branch)
        if own is not None and own.tags.get(tags.BRANCH) == branch:
            ids.append(branch)
        return ids

    def family(self, branch: str) -> list[str]:
        """Return the ids of the branch and of every promise whose `resonate:parent` lies in it (D10)."""
        members = self.branch(branch)
        found = set(members)
        for parent in {branch, *members}:
            found.update(self.children.get(parent, ()))
        return sorted(found)[:PRELOAD_MAX_RECORDS]


class MemoryStore:
    """A store in memory. It may be opened again after it was closed and then has what it had."""

    lanes = 1
    predecessor_pid: int | None = None

    def __init__(self, clock: Clock = system_clock) -> None:
        self.store_id = secrets.token_hex(16)
        self.last_now_ms = 0
        self._clock = RisingClock(clock)
        self._content = _Content()

    @asynccontextmanager
    async def open(self) -> AsyncIterator["MemoryStore"]:
        self.last_now_ms = self._clock.mark_ms
        yield self

    def unit(self, footprint: Footprint) -> "_MemoryUnit":
        return _MemoryUnit(self, footprint)

    async def now_ms(self) -> int:
        return self._clock.now_ms()

    async def due(self, until_ms: int, limit: int) -> Due:
        content = self._content
        indexes = (content.deadlines, content.leases, content.hints, content.runs)
        return Due(*(index.first(until_ms, limit) for index in indexes))

    async def waiting(self, destination: str, now_ms: int, after: int, limit: int) -> list[tuple[int, str]]:
        content = self._content
        queue = content.queues.get(destination)
        if queue is None:
            return []
        return list(islice((one for one in queue.after(after) if self._is_due(one[1], now_ms)), limit))

    def _is_due(self, task_id: str, now_ms: int) -> bool:
        promise = self._content.promises[task_id]
        if promise is None or promise.task is None or promise.task.hint_due_at is None:
            return False
        return promise.task.hint_due_at <= now_ms

    async def unconfirmed(self, after: int, limit: int) -> list[tuple[int, str]]:
        return list(islice(self._content.unconfirmed.after(after), limit))

    async def held(self) -> list[tuple[str, str]]:
        return [(pid, task_id) for task_id, pid in self._content.held.items()]

    # -- for its units

    def content(self) -> _Content:
        """Return what is committed."""
        return self._content

    def replace_content(self, content: _Content) -> None:
        """Commit a reset."""
        self._content = content

    def rising_clock(self) -> RisingClock:
        """Return the clock with its mark."""
        return self._clock


class _MemoryUnit:
    def __init__(self, store: MemoryStore, footprint: Footprint) -> None:
        self._store = store
        self._footprint = footprint
        self._content = store.content()
        self._absent: list[str] = []
        self._mark_before_reset: int | None = None
        self._is_committed = False
        self.state = State(self._content.promises)
        self.now_ms = 0

    async def __aenter__(self) -> "_MemoryUnit":
        self.now_ms = self._store.rising_clock().now_ms()
        self._load(self._footprint)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if not self._is_committed:
            self._roll_back()
        promises = self._content.promises
        for one in self._absent:
            if promises.get(one) is None:
                promises.pop(one, None)

    async def widen(self, footprint: Footprint) -> None:
        self._load(footprint)

    def _load(self, footprint: Footprint) -> None:
        content, state = self._content, self.state
        promises = content.promises
        for one in footprint.ids:
            if one not in promises:
                promises[one] = None
                self._absent.append(one)
        for branch in footprint.branches:
            if branch not in state.branches:
                state.branches[branch] = content.branch(branch)
        for branch in footprint.families:
            if branch not in state.families:
                state.families[branch] = content.family(branch)
                self._load(Footprint(ids=(branch,)))
        for one in footprint.schedules:
            if one not in state.schedules:
                found = content.schedules.get(one)
                # a copy: a schedule deleted and created again in one unit has no image to be restored from
                state.schedules[one] = None if found is None else copy.copy(found)

    async def search_promises(self, query: PromiseSearch, now_ms: int) -> tuple[list[Promise], bool]:
        found = (
            one
            for one in self._promises_after(query.cursor)
            if has_tags(one.tags, query.tags)
            and query.state in (None, promise_state_at(one.state, one.timeout_at, one.tags, now_ms))
        )
        return _page(found, query.limit)

    async def search_tasks(self, query: TaskSearch, now_ms: int) -> tuple[list[Promise], bool]:
        found = (
            one
            for one in self._promises_after(query.cursor)
            if one.task is not None
            and query.state in (None, task_state_at(one.task.state, one.state, one.timeout_at, now_ms))
        )
        return _page(found, query.limit)

    async def search_schedules(self, query: ScheduleSearch) -> tuple[list[Schedule], bool]:
        found = (one for one in self._schedules_after(query.cursor) if has_tags(one.promise_tags, query.tags))
        return _page(found, query.limit)

    def _promises_after(self, cursor: str | None) -> Iterator[Promise]:
        born = [promise.id for promise, image in self.state.changed.values() if image is None]
        for one in _merged(self._content.ids.after(cursor), born, cursor):
            promise = self._content.promises[one]
            if promise is not None:
                yield promise

    def _schedules_after(self, cursor: str | None) -> Iterator[Schedule]:
        changed = {one: schedule for one, (schedule, _) in self.state.changed_schedules.items()}
        for one in _merged(self._content.schedule_ids.after(cursor), changed, cursor):
            schedule = changed.get(one) or self._content.schedules[one]
            if not schedule.deleted:
                yield schedule

    async def reset(self) -> None:
        clock = self._store.rising_clock()
        self._roll_back()
        self._mark_before_reset = clock.mark_ms
        clock.mark_ms = 0
        self.now_ms = clock.now_ms()
        self._content = _Content()
        self._absent = []
        self.state = State(self._content.promises)

    async def snapshot(self) -> Snapshot:
        return Snapshot(list(self._promises_after(None)), list(self._schedules_after(None)))

    async def commit(self) -> None:
        content = self._content
        for promise, _ in self.state.changed.values():
            content.put(promise)
        for schedule, _ in self.state.changed_schedules.values():
            content.put_schedule(schedule)
        self._store.replace_content(content)
        self._is_committed = True

    def _roll_back(self) -> None:
        if self._mark_before_reset is not None:
            clock = self._store.rising_clock()
            clock.mark_ms = max(clock.mark_ms, self._mark_before_reset)
        for promise, image in self.state.changed.values():
            if image is None:
                self._content.promises.pop(promise.id, None)
            else:
                promise.restore(image)
        self.state.accept()
        self.state.changed.clear()
        self.state.changed_schedules.clear()


def _merged(ids: list[str], more: Iterable[str], cursor: str | None) -> list[str]:
    added = [one for one in more if cursor is None or one > cursor]
    return sorted({*ids, *added}) if added else ids


def _page(found: Iterator[T], limit: int) -> tuple[list[T], bool]:
    page = list(islice(found, limit + 1))
    return page[:limit], len(page) > limit
