"""One group commit: load what the whole group names, apply in order, commit once.

Owns the meaning of neighbours: a request that raises leaves no trace and harms nobody (D15). Answers are only
written on the jobs here; the kernel gives them away after the commit.
"""

import logging
from collections.abc import Callable, Sequence

from resonate_mq.machine.dispatch import apply, footprint, handles
from resonate_mq.machine.state import Footprint, NotLoaded, State
from resonate_mq.protocol.envelope import Reply
from resonate_mq.protocol.errors import InvalidRequestError
from resonate_mq.protocol.requests import PromiseSearch, ScheduleSearch, TaskSearch
from resonate_mq.server import searches
from resonate_mq.server.commits import Commit
from resonate_mq.server.jobs import Ask, Item, Job, Look, Probe
from resonate_mq.stores.port import Store, StoreError, Unit

logger = logging.getLogger(__name__)

WIDENINGS = 1_000  # a request that names more and more for longer than this is a bug, not a long chain


class Drain:
    """Runs one group of jobs in one unit of a store.

    Attributes:
        store_now_ms: the store's time of the unit.
        applied: requests that were applied.
        committed: the store took a commit.
        failures: requests that raised something unexpected and were answered 500.
    """

    def __init__(self, store: Store, jobs: Sequence[Job], debug_time: Callable[[int], int]) -> None:
        self._store = store
        self._jobs = jobs
        self._debug_time = debug_time
        self.store_now_ms = 0
        self.applied = 0
        self.committed = False
        self.failures = 0

    async def run(self) -> Commit | None:
        """Apply and commit everything; return the news, or None when nothing changed.

        Raises:
            StoreError: nothing may be answered from this unit; what it means is in the port.
        """
        wanted, must_commit = self._footprint()
        async with self._store.unit(wanted) as unit:
            self.store_now_ms = unit.now_ms
            latest_ms = await self._run_jobs(unit)
            state = unit.state
            changed = bool(state.changed or state.changed_schedules)
            if changed or must_commit:
                await unit.commit()
                self.committed = True
            if not changed:
                return None
            return Commit(latest_ms, state.changed, state.changed_schedules)

    def _footprint(self) -> tuple[Footprint, bool]:
        wanted = Footprint()
        must_commit = False
        for job in self._jobs:
            for item in job.items:
                if isinstance(item, Look):
                    wanted.ids.update(item.ids)
                elif isinstance(item, Probe):
                    must_commit = True
                elif type(item) is not Reply:
                    wanted.add(footprint(item))  # type: ignore[arg-type]  # searches and the like want nothing
        return wanted, must_commit

    async def _run_jobs(self, unit: Unit) -> int:
        """Answer all jobs; return the latest instant they happened at. The ordinary case awaits nothing."""
        state = unit.state
        latest_ms = unit.now_ms
        for job in self._jobs:
            now_ms = unit.now_ms
            if job.now_ms is not None:
                now_ms = latest_ms = self._debug_time(job.now_ms)
            replies: list[Reply] = []
            for item in job.items:
                reply = self._apply(item, state, now_ms) or await self._answer(item, unit, now_ms)
                replies.append(reply)
                if reply.status not in (200, 300):
                    break
            job.replies = replies
        return latest_ms

    def _apply(self, item: Item, state: State, now_ms: int) -> Reply | None:
        """Apply a request of the machine; None, and no trace, when it is not that simple."""
        if not handles(type(item)):
            return None
        try:
            reply = apply(item, state, now_ms)  # type: ignore[arg-type]  # `handles` has just said so
        except Exception:  # noqa: BLE001 - boundary: `_answer` meets it again and knows what to do with it
            state.undo()
            return None
        state.accept()
        self.applied += 1
        return reply

    async def _answer(self, item: Item, unit: Unit, now_ms: int) -> Reply:
        state = unit.state
        widened = 0
        while True:
            try:
                if handles(type(item)):
                    reply = apply(item, state, now_ms)  # type: ignore[arg-type]  # `handles` has just said so
                    state.accept()
                    self.applied += 1
                    return reply
                return await self._answer_own(item, unit, now_ms)
            except NotLoaded as missing:
                state.undo()
                widened += 1
                if widened > WIDENINGS:
                    return self._failed(item)
                await unit.widen(missing.footprint)
            except InvalidRequestError as error:
                state.undo()
                return Reply(error.status, error.message)
            except StoreError:
                raise
            except Exception:  # noqa: BLE001 - boundary: one request's bug leaves no trace and harms no neighbour (D15)
                state.undo()
                return self._failed(item)

    async def _answer_own(self, item: Item, unit: Unit, now_ms: int) -> Reply:
        """Answer what is not the machine's: searches, looks, and what was decided before."""
        if isinstance(item, Reply):
            return item
        if isinstance(item, Look):
            found = (unit.state.promise(one) for one in item.ids)
            return Reply(200, item.project([one for one in found if one is not None], now_ms))
        if isinstance(item, Ask):
            return Reply(200, await item.answer())
        if isinstance(item, PromiseSearch):
            return await searches.promises(item, unit, now_ms)
        if isinstance(item, TaskSearch):
            return await searches.tasks(item, unit, now_ms)
        if isinstance(item, ScheduleSearch):
            return await searches.schedules(item, unit)
        if isinstance(item, Probe):
            return Reply(200, {})
        raise TypeError(f"the kernel does not know {type(item).__name__}")

    def _failed(self, item: Item) -> Reply:
        self.failures += 1
        logger.exception("a request failed", extra={"kind": getattr(item, "kind", type(item).__name__)})
        return Reply(500, "Internal error: the request was undone; the server's log has the details")
