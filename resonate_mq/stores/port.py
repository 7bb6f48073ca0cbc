"""The store port: one unit of work at a time per lane, loaded in sets, committed as a whole.

A store never decides anything of the protocol: it fills a `State`, writes what changed in it, and answers a few
set-shaped questions (searches, what is due, what waits for a destination). It supplies the time (D3).
"""

from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

from resonate_mq.machine.state import Footprint, State
from resonate_mq.protocol.records import Promise, Schedule
from resonate_mq.protocol.requests import PromiseSearch, ScheduleSearch, TaskSearch


class StoreError(Exception):
    """A store failed. `retryable` tells whether the same request may succeed later."""

    retryable = False


class StoreUnavailableError(StoreError):
    """The store cannot be reached, is full, locked or read-only: nothing of the unit was committed."""

    retryable = True


class OutcomeUnknownError(StoreError):
    """COMMIT failed in a way that leaves open whether it happened; the unit is never re-run (D15)."""

    retryable = True


class RefusedDataError(StoreError):
    """The store refuses data of this unit; the kernel bisects until the offender is alone (D15)."""


class Due(NamedTuple):
    """Timers within a horizon, each list by instant ascending: (instant epoch ms, id). D18."""

    deadlines: list[tuple[int, str]]
    leases: list[tuple[int, str]]
    hints: list[tuple[int, str]]
    schedules: list[tuple[int, str]]


@dataclass(slots=True)
class Snapshot:
    """Everything that is stored, for debug.snap, differential tests and doctor."""

    promises: list[Promise] = field(default_factory=list)
    schedules: list[Schedule] = field(default_factory=list)


class Unit(Protocol):
    """One group commit in the making.

    Attributes:
        state: the working set; the kernel applies requests to it.
        now_ms: the store's time, read once for the unit and never lower than any given before (D3).
    """

    state: State
    now_ms: int

    async def widen(self, footprint: Footprint) -> None:
        """Load more into `state`; what the unit changed stays.

        Call it between requests, or after `state.undo()`: never in the middle of one.

        Raises:
            StoreUnavailableError: it cannot be read now.
            RefusedDataError: an id is nothing the store could hold.
        """
        ...

    async def search_promises(self, query: PromiseSearch, now_ms: int) -> tuple[list[Promise], bool]:
        """Return a page by id ascending (byte order), and whether more follow.

        The state filter applies to the projection at `now_ms`; changes of this unit are seen. The records are for
        reading: they may lack awaiters and listeners.
        """
        ...

    async def search_tasks(self, query: TaskSearch, now_ms: int) -> tuple[list[Promise], bool]:
        """Return a page of promises that have a task, likewise. A task of an expired promise counts as fulfilled."""
        ...

    async def search_schedules(self, query: ScheduleSearch) -> tuple[list[Schedule], bool]:
        """Return a page of schedules, likewise."""
        ...

    async def reset(self) -> None:
        """Delete everything (debug.reset) and forget the high-water mark of time; `state` is a new one afterwards."""
        ...

    async def snapshot(self) -> Snapshot:
        """Return everything, changes of this unit included."""
        ...

    async def commit(self) -> None:
        """Return once everything that changed is durable; `state.changed` stays readable.

        With nothing changed it still writes the high-water mark: that shows whether the store takes commits.
        Settlements get their `settle_seq` in the order of `state.changed` (D19).

        Raises:
            StoreUnavailableError: nothing was committed.
            RefusedDataError: nothing was committed; some value cannot be stored.
            OutcomeUnknownError: it may or may not have been committed.
        """
        ...


class Store(Protocol):
    """Where the truth lives. Constructed closed; `open()` is the open store's life.

    Attributes:
        store_id: random identity, the same for the life of the data (D1).
        last_now_ms: the high-water mark of time found at open: the last instant a unit was committed (D4).
        lanes: how many units may run at the same time; 1 for memory and SQLite.
        predecessor_pid: OS process id of the last opener that did not close, None if it closed (D20).
    """

    store_id: str
    last_now_ms: int
    lanes: int
    predecessor_pid: int | None

    def open(self) -> AbstractAsyncContextManager["Store"]:
        """Open, migrate, lock; on exit close.

        Raises:
            StoreUnavailableError: cannot be opened; says why and what to do (another opener, newer schema, ...).
        """
        ...

    def unit(self, footprint: Footprint) -> AbstractAsyncContextManager[Unit]:
        """Begin a unit of work with `footprint` loaded; leaving without `commit` leaves no trace.

        After a failed or skipped commit the store forgets what it cached of the changed records.
        """
        ...

    async def now_ms(self) -> int:
        """Return the store's time, epoch ms, never lower than any given before."""
        ...

    async def due(self, until_ms: int, limit: int) -> Due:
        """Return the timers with an instant <= `until_ms`, at most `limit` of each kind, earliest first.

        Equal instants come in order of creation, those of schedules by id.

        Deadlines are of pending promises, leases of acquired tasks, hints of pending tasks.
        """
        ...

    async def waiting(self, destination: str, now_ms: int, after: int, limit: int) -> list[tuple[int, str]]:
        """Return pending tasks of one destination whose hint is due (<= `now_ms`), oldest first.

        Args:
            destination: prefix-free routing key, `protocol.addresses.destination_of(target)`.
            after: exclusive lower bound of the key; 0 from the start.

        Returns:
            (key, id) pairs; the last key continues the list.
        """
        ...

    async def unconfirmed(self, after: int, limit: int) -> list[tuple[int, str]]:
        """Return settled promises that still have listeners: (key, id), by key ascending (D23)."""
        ...

    async def held(self) -> list[tuple[str, str]]:
        """Return (pid, task id) of every acquired task."""
        ...
