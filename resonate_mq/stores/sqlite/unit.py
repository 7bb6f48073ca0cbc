"""One unit of work on SQLite: loaded from the cache and in sets, written and committed as a whole."""

import asyncio
from collections.abc import Callable
from types import TracebackType
from typing import Protocol, Self

import orjson

from resonate_mq.machine.state import Footprint, State
from resonate_mq.protocol.records import Promise, Schedule
from resonate_mq.protocol.requests import PromiseSearch, ScheduleSearch, TaskSearch
from resonate_mq.stores.clock import RisingClock
from resonate_mq.stores.matching import has_tags, promise_state_at, task_state_at
from resonate_mq.stores.port import OutcomeUnknownError, RefusedDataError, Snapshot, StoreError, StoreUnavailableError
from resonate_mq.stores.sqlite.cache import RecordCache
from resonate_mq.stores.sqlite.database import Database, Row
from resonate_mq.stores.sqlite.loader import Loader, read_everything, read_records
from resonate_mq.stores.sqlite.rows import read_promise, read_schedule, read_tags
from resonate_mq.stores.sqlite.sql import READING, WRITING
from resonate_mq.stores.sqlite.writer import Counters, Writer

_SCAN_ROWS = 1000  # rows a search looks at before others get the loop
_TABLES = ("promises", "tasks", "callbacks", "listeners", "schedules")


class Home(Protocol):
    """What a unit uses of its store."""

    database: Database
    cache: RecordCache
    clock: RisingClock
    counters: Counters

    def begin_unit(self) -> None:
        """Take the one lane; connect again if need be."""

    def end_unit(self) -> None:
        """Give the lane back."""


class SqliteUnit:
    """See `stores.port.Unit`."""

    def __init__(self, home: Home, footprint: Footprint) -> None:
        self._home = home
        self._footprint = footprint
        self._is_committed = False
        self._has_begun = False
        self._mark_before_reset: int | None = None
        self.now_ms = 0

    async def __aenter__(self) -> Self:
        home = self._home
        home.begin_unit()
        self.now_ms = home.clock.now_ms()
        self._start_over()
        try:
            await self.widen(self._footprint)
        except BaseException:
            self._leave()
            raise
        return self

    def _start_over(self) -> None:
        home = self._home
        self.state = State(home.cache.records)
        self._loader = Loader(home.database, home.cache, self.state)
        self._writer = Writer(self.state, home.counters)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._leave()

    def _leave(self) -> None:
        if not self._is_committed:
            self._roll_back()
        cache = self._home.cache
        for one in self._loader.loaded:
            if cache.records.get(one) is None:
                cache.records.pop(one, None)
        cache.trim()
        self._home.end_unit()

    def _roll_back(self) -> None:
        home = self._home
        home.database.rollback()
        if self._mark_before_reset is not None:
            home.clock.mark_ms = max(home.clock.mark_ms, self._mark_before_reset)
        for promise, image in self.state.changed.values():
            if image is not None:
                promise.restore(image)
            home.cache.forget(promise.id)
        # what was loaded may lack relations that only this unit had ended
        for one in self._loader.loaded:
            home.cache.forget(one)

    async def widen(self, footprint: Footprint) -> None:
        try:
            self._loader.load(footprint)
        except (orjson.JSONEncodeError, UnicodeEncodeError) as error:
            raise RefusedDataError(f"the store cannot hold this: {error}") from error

    # -- writing

    def _flush(self) -> None:
        database, writer = self._home.database, self._writer
        if not database.in_transaction:
            if self._has_begun:
                raise StoreUnavailableError("the transaction was lost; nothing of it was committed")
            database.begin()
            self._has_begun = True
        try:
            writer.flush(database)
        except (orjson.JSONEncodeError, UnicodeEncodeError) as error:
            raise RefusedDataError(f"the store cannot hold this: {error}") from error

    async def commit(self) -> None:
        home, writer = self._home, self._writer
        try:
            self._flush()
            counters = writer.counters
            home.database.write(WRITING["put_meta"], (self.now_ms, counters.next_settle_seq))
            await home.database.commit()
        except OutcomeUnknownError:
            # which state the next recovery finds is open: nothing that was read before may be believed
            self._roll_back()
            home.cache.clear()
            home.database.close()
            raise
        except StoreError:
            self._roll_back()
            raise
        self._is_committed = True
        home.counters = counters
        for promise, _ in self.state.changed.values():
            home.cache.weigh(promise)

    async def reset(self) -> None:
        home = self._home
        self._roll_back()
        home.cache.clear()
        home.database.begin()
        self._has_begun = True
        for table in _TABLES:
            home.database.write(WRITING[f"delete_{table}"])
        self._mark_before_reset = home.clock.mark_ms
        home.clock.mark_ms = 0
        self.now_ms = home.clock.now_ms()
        self._start_over()
        self._writer.counters = Counters(1, 1)

    # -- questions that see what this unit changed

    async def search_promises(self, query: PromiseSearch, now_ms: int) -> tuple[list[Promise], bool]:
        def fits(row: Row) -> bool:
            _, state, timeout_at, column = row
            # tags are only read where they decide
            tags = read_tags(column) if query.tags or (query.state and timeout_at <= now_ms) else {}
            return has_tags(tags, query.tags) and (
                query.state is None or query.state == promise_state_at(state, timeout_at, tags, now_ms)
            )

        ids, has_more = await self._search("promises_after", query.cursor, query.limit, fits)
        return self._records(ids), has_more

    async def search_tasks(self, query: TaskSearch, now_ms: int) -> tuple[list[Promise], bool]:
        def fits(row: Row) -> bool:
            _, state, timeout_at, task_state = row
            if task_state is None:
                return False
            return query.state is None or query.state == task_state_at(task_state, state, timeout_at, now_ms)

        ids, has_more = await self._search("tasks_after", query.cursor, query.limit, fits)
        return self._records(ids), has_more

    async def search_schedules(self, query: ScheduleSearch) -> tuple[list[Schedule], bool]:
        found: dict[str, Schedule] = {}

        def fits(row: Row) -> bool:
            schedule = found[row[0]] = read_schedule(row)
            return has_tags(schedule.promise_tags, query.tags)

        ids, has_more = await self._search("schedules_after", query.cursor, query.limit, fits)
        return [found[one] for one in ids], has_more

    async def _search(
        self, name: str, cursor: str | None, limit: int, fits: Callable[[Row], bool]
    ) -> tuple[list[str], bool]:
        """Return the first `limit` fitting ids after `cursor`, and whether there are more."""
        self._show_changes()
        found: list[str] = []
        after = cursor or ""
        while True:
            rows = self._home.database.read(READING[name], (after, max(limit + 1, _SCAN_ROWS)))
            found.extend(row[0] for row in rows if fits(row))
            if len(found) > limit or len(rows) < _SCAN_ROWS:
                return found[:limit], len(found) > limit
            after = rows[-1][0]
            await asyncio.sleep(0)

    def _records(self, ids: list[str]) -> list[Promise]:
        rows = read_records(self._home.database, ids) if ids else []
        return sorted((read_promise(row) for row in rows), key=lambda promise: promise.id)

    async def snapshot(self) -> Snapshot:
        self._show_changes()
        return read_everything(self._home.database)

    def _show_changes(self) -> None:
        """Write what changed so far into the transaction, so that queries see it."""
        if self._writer.has_work:
            self._flush()
            self._writer.note_written()
