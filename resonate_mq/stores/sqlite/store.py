"""The store on one SQLite file: its life, its time, and the questions asked outside units."""

import logging
import os
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from resonate_mq.machine.state import Footprint
from resonate_mq.stores.clock import Clock, RisingClock, system_clock
from resonate_mq.stores.port import Due, StoreError
from resonate_mq.stores.sqlite.cache import DEFAULT_PAYLOAD_BYTES, DEFAULT_RECORDS, RecordCache
from resonate_mq.stores.sqlite.database import Database, Row
from resonate_mq.stores.sqlite.migrations import known_migrations, migrate
from resonate_mq.stores.sqlite.opener import OpenerLock
from resonate_mq.stores.sqlite.sql import READING, WRITING
from resonate_mq.stores.sqlite.unit import SqliteUnit
from resonate_mq.stores.sqlite.writer import Counters

logger = logging.getLogger(__name__)


class SqliteStore:
    """See `stores.port.Store`. A commit is on the disk when it returns (WAL, synchronous=FULL).

    Args:
        path: the database file; made if it is not there, its folder must exist.
        cache_records: promises kept in memory between units (D43).
        cache_payload_bytes: bound on the large payloads among them.
        clock: where the time comes from.
    """

    lanes = 1

    def __init__(
        self,
        path: str | Path,
        *,
        cache_records: int = DEFAULT_RECORDS,
        cache_payload_bytes: int = DEFAULT_PAYLOAD_BYTES,
        clock: Clock = system_clock,
    ) -> None:
        # one file has one lock, whatever path leads to it and wherever the process goes
        self.path = Path(path).resolve()
        self.store_id = ""
        self.last_now_ms = 0
        self.predecessor_pid: int | None = None
        self.database = Database(self.path)
        self.cache = RecordCache(cache_records, cache_payload_bytes)
        self.clock = RisingClock(clock)
        self.counters = Counters(1, 1)
        self._is_opened = False
        self._in_unit = False

    @asynccontextmanager
    async def open(self) -> AsyncIterator["SqliteStore"]:
        lock = OpenerLock(self.path)
        lock.acquire()
        try:
            self._open()
            try:
                yield self
            finally:
                self._close()
        finally:
            self.database.close()
            self.cache.clear()
            lock.release()

    def _open(self) -> None:
        self.database.open()
        migrate(self.database, known_migrations())
        self.database.write(WRITING["first_meta"], (secrets.token_hex(16),))
        meta = self._read_meta()
        self.store_id, self.last_now_ms, _, pid, was_open, _ = meta
        self.predecessor_pid = pid if was_open else None
        self.clock.mark_ms = max(self.clock.mark_ms, self.last_now_ms)
        self.database.write(WRITING["note_opening"], (os.getpid(),))
        self._is_opened = True

    def _close(self) -> None:
        self._is_opened = False
        try:
            if self.database.is_open:
                self.database.rollback()
                self.database.write(WRITING["note_closing"])
        except StoreError as error:
            # the next opener takes this process for one that died, which costs it nothing
            logger.warning("closing could not be noted in the store", extra={"error": str(error)})

    def _read_meta(self) -> Row:
        meta = self.database.read(READING["meta"])[0]
        self.counters = Counters(meta[5], meta[2])
        return meta

    def _connect(self) -> None:
        """Connect again after a failure closed the connection; raises StoreUnavailableError while it lasts."""
        if self._is_opened and not self._in_unit and not self.database.is_open:
            self.cache.clear()
            self.database.open()
            self._read_meta()

    def begin_unit(self) -> None:
        """Take the one lane (for units)."""
        if self._in_unit:
            raise RuntimeError("a unit of work is running already; SQLite has one lane")
        self._connect()
        self._in_unit = True

    def end_unit(self) -> None:
        """Give the lane back (for units)."""
        self._in_unit = False

    def unit(self, footprint: Footprint) -> SqliteUnit:
        return SqliteUnit(self, footprint)

    async def now_ms(self) -> int:
        return self.clock.now_ms()

    async def due(self, until_ms: int, limit: int) -> Due:
        names = ("due_deadlines", "due_leases", "due_hints", "due_schedules")
        return Due(*(self._read(name, (until_ms, limit)) for name in names))

    async def waiting(self, destination: str, now_ms: int, after: int, limit: int) -> list[tuple[int, str]]:
        return self._read("waiting", (destination, now_ms, after, limit))

    async def unconfirmed(self, after: int, limit: int) -> list[tuple[int, str]]:
        return self._read("unconfirmed", (after, limit))

    async def held(self) -> list[tuple[str, str]]:
        self._connect()
        return [(pid, task_id) for pid, task_id in self.database.read(READING["held"])]

    def _read(self, name: str, parameters: tuple[object, ...]) -> list[tuple[int, str]]:
        self._connect()
        return [(number, text) for number, text in self.database.read(READING[name], parameters)]
