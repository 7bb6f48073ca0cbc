"""The connection: how it is opened, what its failures mean, and how it comes back. Knows no tables."""

import asyncio
import logging
import sqlite3
import time
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

from resonate_mq.stores.port import OutcomeUnknownError, RefusedDataError, StoreError, StoreUnavailableError
from resonate_mq.stores.sqlite.pace import CommitPace

logger = logging.getLogger(__name__)

Row = tuple[Any, ...]

_BUSY_MS = 50  # somebody else's write, for example a shell's; the loop stands still for as long, so it is short
_CHECKPOINT_PAGES = 1000  # practice.md section 4.6: worst stall 6 ms
_CACHE_KIB = 16 * 1024  # hot rows are cached above (D43); 64 MiB took a busy server past 120 MB
_STATEMENTS = 128  # more than there are

_PASSING = frozenset({sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_FULL, sqlite3.SQLITE_NOMEM})
_REFUSED = (
    sqlite3.DataError,
    sqlite3.IntegrityError,
    sqlite3.InterfaceError,
    OverflowError,
    UnicodeEncodeError,
)
_FAILURES = (sqlite3.Error, OverflowError, UnicodeEncodeError)


class Database:
    """One connection in autocommit mode with explicit transactions; opened again after a failure that spoilt it.

    Attributes:
        path: the database file.
        pace: how long COMMIT takes.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.pace = CommitPace()
        self._connection: sqlite3.Connection | None = None
        self._cursor: sqlite3.Cursor | None = None
        self._is_committing = False
        self._committer: ThreadPoolExecutor | None = None

    @property
    def is_open(self) -> bool:
        """Whether there is a usable connection."""
        return self._cursor is not None

    @property
    def in_transaction(self) -> bool:
        """Whether a transaction is open."""
        return self._connection is not None and self._connection.in_transaction

    def open(self) -> None:
        """Connect.

        Raises:
            StoreUnavailableError: says why.
        """
        connection: sqlite3.Connection | None = None
        try:
            connection = sqlite3.connect(
                self.path,
                isolation_level=None,
                cached_statements=_STATEMENTS,
                check_same_thread=False,
                timeout=_BUSY_MS / 1000,
            )
            cursor = connection.cursor()
            mode = cursor.execute("PRAGMA journal_mode = WAL").fetchone()[0]
            cursor.execute("PRAGMA synchronous = FULL")
            cursor.execute(f"PRAGMA wal_autocheckpoint = {_CHECKPOINT_PAGES}")
            cursor.execute(f"PRAGMA cache_size = -{_CACHE_KIB}")
            cursor.execute("PRAGMA temp_store = MEMORY")
        except sqlite3.Error as error:
            if connection is not None:
                connection.close()
            raise self._unavailable(error) from error
        if mode != "wal":
            connection.close()
            raise StoreUnavailableError(
                f"the store {self.path} cannot use a write-ahead log (journal mode {mode!r}): put it on a local disk"
            )
        self._connection, self._cursor = connection, cursor
        # of its own: others may fill the loop's default threads; its one thread starts with the first slow commit
        self._committer = ThreadPoolExecutor(1, "resonate-mq-commit")

    def close(self) -> None:
        """Disconnect; what is not committed is undone."""
        if self._connection is not None:
            with suppress(sqlite3.Error):  # nothing that was promised depends on it
                self._connection.close()
        if self._committer is not None:
            self._committer.shutdown(wait=False)
        self._connection = self._cursor = self._committer = None

    def read(self, sql: str, parameters: Sequence[object] = ()) -> list[Row]:
        """Return all rows of a query.

        Raises:
            StoreUnavailableError: it cannot be read now.
        """
        try:
            return self._ready().execute(sql, parameters).fetchall()
        except _FAILURES as error:
            raise self._failed(error) from error

    def begin(self) -> None:
        """Begin to write; nobody else can from here on."""
        self.write("BEGIN IMMEDIATE")

    def write(self, sql: str, parameters: Sequence[object] = ()) -> None:
        """Run one statement.

        Raises:
            StoreUnavailableError, RefusedDataError: the transaction is undone.
        """
        try:
            self._ready().execute(sql, parameters)
        except _FAILURES as error:
            raise self._failed(error) from error

    def write_many(self, sql: str, rows: Iterable[Row]) -> None:
        """Run one statement for each row; errors as `write`."""
        try:
            self._ready().executemany(sql, rows)
        except _FAILURES as error:
            raise self._failed(error) from error

    def script(self, sql: str) -> None:
        """Run several statements that begin and end their own transaction; errors as `write`."""
        try:
            self._ready().executescript(sql)
        except _FAILURES as error:
            raise self._failed(error) from error

    async def commit(self) -> None:
        """Make the transaction durable: on the loop, or in a thread while this disk is slow (D42).

        A caller that is cancelled meanwhile is cancelled at its next await, once the outcome is known.

        Raises:
            StoreUnavailableError: nothing was committed.
            OutcomeUnknownError: the log may or may not hold it; a later recovery may find it.
        """
        if self._connection is None:
            raise StoreUnavailableError(f"the store {self.path} is not open")
        connection = self._connection
        try:
            if self.pace.is_slow:
                self._is_committing = True
                await self._commit_elsewhere(connection)
            else:
                self._commit(connection)
        except sqlite3.Error as error:
            self._is_committing = False
            certain = self.in_transaction or _code(error) in _PASSING
            failure = self._failed(error)
            if certain:
                raise failure from error
            # the write or sync of the log itself failed: its frames may be on the disk all the same
            raise OutcomeUnknownError(f"COMMIT to {self.path} failed: {error}") from error
        finally:
            self._is_committing = False

    async def _commit_elsewhere(self, connection: sqlite3.Connection) -> None:
        try:
            committing = asyncio.get_running_loop().run_in_executor(self._committer, self._commit, connection)
        except RuntimeError:  # the interpreter ends, and gives no thread to anybody
            self._commit(connection)
        else:
            await _finished(committing)

    def _commit(self, connection: sqlite3.Connection) -> None:
        started = time.perf_counter()
        connection.execute("COMMIT")  # a cursor of its own: the loop may read meanwhile
        self.pace.note(time.perf_counter() - started)

    def rollback(self) -> None:
        """Undo the transaction, if one is open."""
        if not self.in_transaction or self._cursor is None:
            return
        try:
            self._cursor.execute("ROLLBACK")
        except sqlite3.Error as error:
            logger.warning("rollback failed; the connection is opened again", extra={"error": str(error)})
            self.close()

    def _ready(self) -> sqlite3.Cursor:
        if self._cursor is None:
            raise StoreUnavailableError(f"the store {self.path} is not open")
        return self._cursor

    def _failed(self, error: Exception) -> StoreError:
        """Undo the transaction, drop a spoilt connection, and say what happened in the port's words."""
        if self._is_committing:  # a question failed during a commit, whose own outcome counts
            return self._unavailable(error)
        self.rollback()
        if isinstance(error, _REFUSED):
            return RefusedDataError(f"the store cannot hold this: {error}")
        if isinstance(error, sqlite3.ProgrammingError):
            raise error  # a bug of ours
        if _code(error) not in _PASSING:
            self.close()
        return self._unavailable(error)

    def _unavailable(self, error: Exception) -> StoreUnavailableError:
        name = getattr(error, "sqlite_errorname", type(error).__name__)
        return StoreUnavailableError(f"the store {self.path} is not available: {error} ({name})")


async def _finished(future: "asyncio.Future[None]") -> None:
    """Wait for `future` even when cancelled: a transaction must not be touched while it commits.

    The cancellation arrives at the caller's next await.
    """
    task = asyncio.current_task()
    is_cancelled = False
    while not future.done():
        try:
            await asyncio.wait((future,))
        except asyncio.CancelledError:
            is_cancelled = True
    if is_cancelled and task is not None:
        task.uncancel()
        task.cancel()
    future.result()


def _code(error: Exception) -> int:
    """Return the primary result code."""
    return int(getattr(error, "sqlite_errorcode", 0)) & 0xFF
