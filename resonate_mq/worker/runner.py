"""Runs acquired tasks: one execution each, and what its outcome asks of the server.

Owns what happens between a successful acquire and the end of its lease. Bodies are the execution's business, which
hint gets a slot is the intake's.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable
from typing import Any, Protocol, assert_never

from resonate_mq.protocol.records import ACQUIRED, PENDING
from resonate_mq.protocol.requests import TaskGet, TaskHeartbeat, TaskRelease
from resonate_mq.protocol.tags import TIMER
from resonate_mq.transports.port import TransportError
from resonate_mq.worker.execution.outcomes import Fulfilled, Lost, Outcome, Released, Suspended
from resonate_mq.worker.leases import Lease
from resonate_mq.worker.metrics import Counters
from resonate_mq.worker.options import WorkerOptions
from resonate_mq.worker.residents import Residents
from resonate_mq.worker.served import Served
from resonate_mq.worker.session import HeldTask
from resonate_mq.worker.slots import Slots

logger = logging.getLogger(__name__)

LATE = 0.5  # of the lease: an acquire answered later than this is confirmed before its body starts
LONGEST_DELAY_S = 60.0  # between two tries of a task nobody here can run; D14
REMEMBERED_RELEASES = 10_000
PREDECESSOR_S = 1.0  # a run that is being suspended gets this long to end before its successor replays
DRAIN_RELEASE_S = 2.0  # D37


class Body(Protocol):
    """What is asked of an execution (`worker.execution.Execution`)."""

    async def run(self) -> Outcome:
        """Run an acquired task to its next end."""
        ...

    async def resume(self, version: int, records: list[dict[str, Any]]) -> Outcome:
        """Continue without replay."""
        ...

    def drop(self) -> None:
        """Give up the memory of a suspended body."""
        ...

    def abandon(self, reason: str) -> None:
        """End soon, without sending anything more."""
        ...


class Run:
    """One execution and its current lease; kept while it is suspended and resident."""

    __slots__ = ("body", "ended", "lease", "resumes", "served", "session", "version")

    def __init__(self, served: Served, session: HeldTask, body: Body) -> None:
        self.served = served
        self.session = session
        self.body = body
        self._begin(session.lease, resumes=False)

    def resume(self, data: dict[str, Any], lease: Lease) -> None:
        """Begin another stretch under a new lease; the body is still there."""
        self.session.again(data, lease)
        self._begin(lease, resumes=True)

    def _begin(self, lease: Lease, *, resumes: bool) -> None:
        self.resumes = resumes
        self.lease = lease
        self.version = lease.version
        self.ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def abandon(self, reason: str) -> None:
        """Give up the lease; what runs ends at its next step."""
        self.lease.give_up()
        self.body.abandon(reason)

    async def outcome(self) -> Outcome:
        """Run the body to its next end."""
        if self.resumes:
            return await self.body.resume(self.version, list(self.session.records))
        return await self.body.run()

    def drop(self) -> None:
        """Give up the memory of the suspended body."""
        self.body.drop()


class Runner:
    """Runs what was acquired.

    Args:
        body: makes the execution of a session.
        settled: gets the record of each promise settled here, so that nobody here waits for its unblock.
    """

    def __init__(
        self,
        options: WorkerOptions,
        slots: Slots,
        counters: Counters,
        *,
        body: Callable[[HeldTask], Body],
        settled: Callable[[Served, dict[str, Any]], None],
    ) -> None:
        self._options = options
        self._slots = slots
        self._counters = counters
        self._body = body
        self._settled = settled
        self._residents: Residents[Run] = Residents(options.resident_limit)
        self._releases: dict[tuple[str, str], int] = {}
        self.interrupted: list[tuple[Served, TaskRelease]] = []

    @property
    def residents(self) -> int:
        """How many suspended executions are kept in memory."""
        return len(self._residents)

    async def run(self, served: Served, data: dict[str, Any], sent_at: float) -> None:
        """Run a task that was just acquired with a request sent at `sent_at` (monotonic); ends with its lease.

        The slot is the caller's: taken before, given back after.
        """
        task, promise = data["task"], data["promise"]
        if task["state"] != ACQUIRED or promise["state"] != PENDING or promise["tags"].get(TIMER) == "true":
            return  # settled meanwhile, or a timer, which the server settles itself (D6)
        task_id, version = task["id"], task["version"]
        if served.leases.clock() - sent_at > self._options.ttl_s * LATE:
            confirmed_at = await self._confirmed(served, task_id, version)
            if confirmed_at is None:
                return  # it will be offered again when its lease has ended
            sent_at = confirmed_at
        lease = served.leases.hold(task_id, version, sent_at)
        try:
            key = (served.key, task_id)
            if not await self._after_predecessor(served, key, version):
                return
            run = self._resident_or_new(served, data, lease)
            served.running[key] = run
            try:
                await self._finish(run, await self._outcome(run))
            finally:
                run.session.park(False)
                if served.running.get(key) is run:
                    del served.running[key]
                if not run.ended.done():
                    run.ended.set_result(None)
        finally:
            served.leases.drop(lease)

    def forget_bodies(self) -> None:
        """Drop every suspended body."""
        self._residents.clear()

    async def _confirmed(self, served: Served, task_id: str, version: int) -> float | None:
        """Renew a lease whose grant took long to be heard of: a body must not start only to be stopped at once.

        Returns the time from which the lease counts; None when the task is not ours any more or nobody answered. A
        renewal is answered alike for a lost lease, so the task is looked at after it.
        """
        sent_at = served.leases.clock()
        renew = TaskHeartbeat(self._options.pid, ((task_id, version),))
        try:
            replies = await served.requester.sequence((renew, TaskGet(task_id)), deadline_s=self._options.ttl_s / 2)
        except TransportError as error:
            logger.warning("task %r not started, its lease was granted too late: %s", task_id, error)
            return None
        task = replies[-1].data["task"] if len(replies) == 2 and replies[-1].ok else {}
        ours = (task.get("state"), task.get("version"), task.get("pid")) == (ACQUIRED, version, self._options.pid)
        return sent_at if ours else None

    async def _after_predecessor(self, served: Served, key: tuple[str, str], version: int) -> bool:
        """Let an earlier run of the task end first: its suspend may still be on its way back to us."""
        earlier = served.running.get(key)
        if earlier is None:
            return True
        if earlier.version >= version:
            return False
        await asyncio.wait([earlier.ended], timeout=PREDECESSOR_S)
        if not earlier.ended.done():
            earlier.abandon("the task was acquired once more")
        return True

    def _resident_or_new(self, served: Served, data: dict[str, Any], lease: Lease) -> Run:
        kept = self._residents.take((served.key, lease.task_id), lease.version)
        if kept is not None:
            kept.resume(data, lease)
            self._counters.add("resumed")
            return kept
        session = HeldTask(served, self._options.pid, data, lease, self._park)
        self._counters.add("started")
        return Run(served, session, self._body(session))

    def _park(self, parked: bool) -> None:
        if parked:
            self._slots.give()
        else:
            self._slots.take()

    async def _outcome(self, run: Run) -> Outcome:
        try:
            return await run.outcome()
        except TransportError as error:
            return Lost(reason=str(error))
        except asyncio.CancelledError:
            release = TaskRelease(run.lease.task_id, run.version, "draining", None, counted=False)
            self.interrupted.append((run.served, release))
            raise
        except Exception as error:
            # the boundary of one execution: a bug in it must not take the worker with it
            logger.exception("execution failed inside the worker", extra={"task_id": run.lease.task_id})
            return Released(reason=f"the worker failed: {type(error).__name__}: {error}", delay_s=1.0, counted=True)

    async def _finish(self, run: Run, outcome: Outcome) -> None:
        self._counters.add("outcomes", type(outcome).__name__.lower())
        key = (run.served.key, run.lease.task_id)
        match outcome:
            case Fulfilled(record=record):
                self._releases.pop(key, None)
                self._settled(run.served, record)
            case Suspended(resident=resident):
                self._releases.pop(key, None)
                if resident:
                    self._residents.keep(key, run, run.version)
            case Released():
                await self._release(run, outcome, key)
            case Lost(reason=reason):
                run.lease.give_up()
                logger.info("task lost", extra={"task_id": run.lease.task_id, "version": run.version, "reason": reason})
            case _:
                assert_never(outcome)

    async def _release(self, run: Run, outcome: Released, key: tuple[str, str]) -> None:
        """Give the task back with the reason, later each time where nobody is to blame (D14)."""
        delay_s = outcome.delay_s
        if delay_s is not None and not outcome.counted:
            delay_s = self._grown(key, delay_s)
        task_id = run.lease.task_id
        logger.warning(
            "task %r given back: %s", task_id, outcome.reason, extra={"task_id": task_id, "version": run.version}
        )
        if delay_s and "task.release" not in run.session.capabilities:
            await self._hold_back(run, delay_s)
            delay_s = None
        delay_ms = None if delay_s is None else round(delay_s * 1000)
        try:
            await run.session.call(TaskRelease(task_id, run.version, outcome.reason, delay_ms, counted=outcome.counted))
        except TransportError as error:
            logger.warning("task %r not given back, its lease will end by itself: %s", task_id, error)

    def _grown(self, key: tuple[str, str], delay_s: float) -> float:
        times = self._releases.get(key, 0)
        if len(self._releases) >= REMEMBERED_RELEASES and key not in self._releases:
            self._releases.pop(next(iter(self._releases)))
        self._releases[key] = times + 1
        return float(min(delay_s * 2 ** min(times, 10), LONGEST_DELAY_S) * random.uniform(0.9, 1.1))

    async def _hold_back(self, run: Run, delay_s: float) -> None:
        """Wait here, without a slot: a server without the extension would send the hint again at once."""
        run.session.park(True)
        try:
            await asyncio.sleep(delay_s)
        finally:
            run.session.park(False)

    async def release_interrupted(self) -> None:
        """Give back what draining cut short, so that another worker starts at once."""
        interrupted, self.interrupted = self.interrupted, []
        async with asyncio.TaskGroup() as tasks:
            for served, release in interrupted:
                tasks.create_task(_release_quietly(served, release))


async def _release_quietly(served: Served, release: TaskRelease) -> None:
    try:
        await served.requester.call(release, deadline_s=DRAIN_RELEASE_S)
    except TransportError as error:
        logger.warning("task %r not given back, its lease will end by itself: %s", release.id, error)
