"""Reads from the store what the publisher has not in memory: waiting hints of a destination, records of unblocks.

Everything is read in pages, in the kernel's own order, and handed to the publisher as plain values.
"""

import asyncio
import logging
from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

from resonate_mq.protocol.records import PENDING, Promise
from resonate_mq.protocol.tags import TARGET
from resonate_mq.server.kernel import Kernel
from resonate_mq.server.metrics import Metrics
from resonate_mq.server.publisher.destination import Destination
from resonate_mq.stores.port import Store, StoreError

logger = logging.getLogger(__name__)

PAGE = 200
HORIZON_MS = 600_000  # beyond the longest back-off: what was refused once is wanted as soon as somebody is there
SWEEP_PAUSE_S = 60.0
TROUBLE_PAUSE_S = 1.0


class Waiting(NamedTuple):
    """A pending task as the store has it."""

    task_id: str
    version: int
    target: str
    attempt: int
    due_at: int


class Untold(NamedTuple):
    """A listener of a settled promise that has not been told."""

    promise_id: str
    address: str
    record: dict[str, Any]


class Hungry(Protocol):
    """The publisher, as the feeder sees it."""

    def feed_hints(self, found: Sequence[Waiting], now_ms: int) -> None:
        """Take hints that are due."""
        ...

    def feed_backlog(self, destination: Destination, found: Sequence[Waiting], now_ms: int) -> None:
        """Take hints of one destination, oldest first, whether due or only re-armed."""
        ...

    def feed_unblocks(self, found: Sequence[Untold]) -> None:
        """Take unblocks that are not confirmed."""
        ...

    def knows(self, task_id: str) -> bool:
        """Tell whether the hint of a task is looked after already."""
        ...


class Feeder:
    """One loop that serves the wishes of the publisher in turn."""

    def __init__(self, store: Store, kernel: Kernel, metrics: Metrics) -> None:
        self._store = store
        self._kernel = kernel
        self._metrics = metrics
        self._due: dict[str, None] = {}
        self._backlogs: dict[str, Destination] = {}
        self._records: dict[str, None] = {}
        self._sweep_wanted = True
        self._wake = asyncio.Event()
        self._swept_at = 0.0

    def want_hints(self, ids: Sequence[str]) -> None:
        """Read these tasks; their hints are due."""
        self._due.update(dict.fromkeys(ids))
        self._wake.set()

    def want_backlog(self, destination: Destination) -> None:
        """Read what waits for a destination."""
        self._backlogs[destination.key] = destination
        self._wake.set()

    def want_records(self, ids: Sequence[str]) -> None:
        """Read these settled promises again; their unblocks are to be repeated."""
        self._records.update(dict.fromkeys(ids))
        self._wake.set()

    def want_sweep(self) -> None:
        """Look for unconfirmed unblocks in the whole store, though not more than once a minute."""
        self._sweep_wanted = True
        self._wake.set()

    def clear(self) -> None:
        """Forget all wishes (debug.reset)."""
        self._due, self._backlogs, self._records = {}, {}, {}

    async def run(self, hungry: Hungry) -> None:
        """Serve until cancelled; what an earlier server left unconfirmed comes first."""
        self._wake.set()
        while True:
            try:
                async with asyncio.timeout(SWEEP_PAUSE_S if self._sweep_wanted and self._swept_at else None):
                    await self._wake.wait()
            except TimeoutError:
                pass
            self._wake.clear()
            try:
                await self._serve(hungry)
            except StoreError:
                await asyncio.sleep(TROUBLE_PAUSE_S)  # the kernel reports it; wishes are kept
                self._wake.set()
            except Exception:  # boundary: a bug here must not stop the delivery of everything else
                logger.exception("reading what waits for delivery failed")
                self._metrics.failed("feeder")
                await asyncio.sleep(TROUBLE_PAUSE_S)

    async def _serve(self, hungry: Hungry) -> None:
        if self._sweep_wanted and self._may_sweep():
            await self._sweep(hungry)
        while self._due:
            page = list(self._due)[:PAGE]
            found, now_ms = await self._look(page)
            for one in page:
                self._due.pop(one, None)
            hungry.feed_hints(found, now_ms)
        while self._records:
            page = list(self._records)[:PAGE]
            found_untold = await self._untold(page)
            for one in page:
                self._records.pop(one, None)
            hungry.feed_unblocks(found_untold)
        while self._backlogs:
            key = next(iter(self._backlogs))
            destination = self._backlogs.pop(key)
            try:
                await self._read_backlog(hungry, destination)
            except StoreError:
                self.want_backlog(destination)
                raise

    async def _read_backlog(self, hungry: Hungry, destination: Destination) -> None:
        """Read pages until one has something to send; the publisher asks again when that is sent."""
        while not destination.blocked and destination.in_store:
            until_ms = self._kernel.now_ms() + HORIZON_MS
            page = await self._store.waiting(destination.key, until_ms, destination.after, PAGE)
            if page:
                destination.after = page[-1][0]
            if len(page) < PAGE:
                destination.in_store, destination.after = False, 0
            unknown = [task_id for _, task_id in page if not hungry.knows(task_id)]
            if unknown:
                found, now_ms = await self._look(unknown)
                hungry.feed_backlog(destination, found, now_ms)
                return

    async def _look(self, ids: Sequence[str]) -> tuple[list[Waiting], int]:
        def project(promises: list[Promise], now_ms: int) -> tuple[list[Waiting], int]:
            return [one for promise in promises if (one := _waiting(promise, now_ms)) is not None], now_ms

        found: tuple[list[Waiting], int] = await self._kernel.look(ids, project)
        return found

    async def _untold(self, ids: Sequence[str]) -> list[Untold]:
        def project(promises: list[Promise], now_ms: int) -> list[Untold]:
            return [
                Untold(promise.id, address, promise.wire())
                for promise in promises
                if promise.state != PENDING
                for address in promise.listeners
            ]

        found: list[Untold] = await self._kernel.look(ids, project)
        return found

    def _may_sweep(self) -> bool:
        now = asyncio.get_running_loop().time()
        return not self._swept_at or now - self._swept_at >= SWEEP_PAUSE_S

    async def _sweep(self, hungry: Hungry) -> None:
        self._sweep_wanted = False
        self._swept_at = asyncio.get_running_loop().time()
        after = 0
        while True:
            page = await self._store.unconfirmed(after, PAGE)
            hungry.feed_unblocks(await self._untold([promise_id for _, promise_id in page]))
            if len(page) < PAGE:
                return
            after = page[-1][0]


def _waiting(promise: Promise, now_ms: int) -> Waiting | None:
    task = promise.task
    if task is None or task.state != PENDING or task.hint_due_at is None or not promise.is_live_at(now_ms):
        return None
    return Waiting(promise.id, task.version, promise.tags[TARGET], task.hint_attempt, task.hint_due_at)
