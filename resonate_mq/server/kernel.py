"""The kernel: every request goes through one queue, is applied with its neighbours and committed with them.

Owns the queue and the order: load, apply, commit, answer, tell (design section 5, D15). There is no timer: an idle
kernel starts a request in the same turn of the loop, a busy one takes everything that came during the last commit.
Knows no wire, no transport and no clock but the store's.
"""

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

from resonate_mq.protocol.envelope import Reply
from resonate_mq.protocol.records import Promise
from resonate_mq.protocol.requests import DebugReset, DebugSnap, DebugStart, DebugStop, DebugTick
from resonate_mq.server import debug
from resonate_mq.server.commits import Commit, Observer
from resonate_mq.server.jobs import ALONE, OWN, Item, Job, Look, Probe
from resonate_mq.server.metrics import Metrics
from resonate_mq.server.steady import steady_s
from resonate_mq.server.unit import Drain
from resonate_mq.stores.port import OutcomeUnknownError, RefusedDataError, Store, StoreUnavailableError

logger = logging.getLogger(__name__)

STUCK_S = 10.0  # a commit that takes longer fails readiness
OK = Reply(200, {})


class Kernel:
    """Runs requests against one store. `run()` must be running for anything to be answered.

    Attributes:
        paused: background work is suspended by debug.start.
        trouble: why the store takes no commits at the moment, "" when it does.
        committed_at_ms: the store's time of the last commit that succeeded (epoch ms).
    """

    def __init__(
        self, store: Store, metrics: Metrics | None = None, *, max_queue: int = 20_000, max_batch: int = 1_000
    ) -> None:
        self._store = store
        self._metrics = metrics or Metrics()
        self._max_queue = max_queue
        self._max_batch = max_batch
        self._queue: deque[Job] = deque()
        self._queued = 0
        self._wake: asyncio.Future[None] | None = None
        self._observers: list[Observer] = []
        self._on_reset: list[Callable[[], None]] = []
        self._on_resumed: list[Callable[[], None]] = []
        self._busy_since: float | None = None
        self._last_now_ms = self.committed_at_ms = store.last_now_ms
        self._last_read_at = steady_s()
        self._debug_mark_ms = 0
        self.paused = False
        self.trouble = ""

    # -- for callers

    def submit(self, item: Item, now_ms: int | None = None) -> "asyncio.Future[Reply]":
        """Queue one request; the future gets its reply once everything it changed is durable.

        Args:
            item: a typed request, a background request, or a look.
            now_ms: debug time (epoch ms); None for the store's time.
        """
        future: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()
        self._enqueue(Job((item,), now_ms, future, single=True))
        return future

    def submit_sequence(self, items: Sequence[Item], now_ms: int | None = None) -> "asyncio.Future[list[Reply]]":
        """Queue requests that run in order and stop after the first reply that is not 200 or 300."""
        future: asyncio.Future[list[Reply]] = asyncio.get_running_loop().create_future()
        self._enqueue(Job(items, now_ms, future, single=False))
        return future

    async def look(self, ids: Sequence[str], project: Callable[[list[Promise], int], Any]) -> Any:
        """Return `project(promises that exist, now_ms)`, read in the kernel's order.

        Raises:
            StoreUnavailableError: the store cannot be read.
        """
        reply = await self.submit(Look(tuple(ids), project))
        if reply.status != 200:
            raise StoreUnavailableError(reply.data)
        return reply.data

    def now_ms(self) -> int:
        """Return an estimate of the store's time without asking it; for waking up, never for storing (D3)."""
        return self._last_now_ms + int((steady_s() - self._last_read_at) * 1000)

    async def read_now_ms(self) -> int:
        """Return the store's time; the estimates that follow start from it."""
        self._last_now_ms, self._last_read_at = await self._store.now_ms(), steady_s()
        return self._last_now_ms

    def observe(self, observer: Observer) -> None:
        """Call `observer` after every commit that changed something."""
        self._observers.append(observer)

    def on_reset(self, callback: Callable[[], None]) -> None:
        """Call `callback` after debug.reset has emptied the store."""
        self._on_reset.append(callback)

    def on_resumed(self, callback: Callable[[], None]) -> None:
        """Call `callback` when debug.stop lets background work go on."""
        self._on_resumed.append(callback)

    def check(self) -> str:
        """Return why requests cannot be served now, "" when they can."""
        if self.trouble:
            return self.trouble
        if self._busy_since is not None and time.monotonic() - self._busy_since > STUCK_S:
            return f"a commit has been running for {time.monotonic() - self._busy_since:.0f} s"
        return ""

    # -- the loop

    async def run(self) -> None:
        """Serve the queue until cancelled; what still waits then is answered 503."""
        await self.read_now_ms()
        try:
            while True:
                if not self._queue:
                    self._wake = asyncio.get_running_loop().create_future()
                    await self._wake
                self._busy_since = time.monotonic()
                await self._serve(self._take())
                self._busy_since = None
                if self._queue:
                    await asyncio.sleep(0)  # those who were just answered may add to the next group
        finally:
            self._refuse_all(self._queue, Reply(503, "the server is stopping; try again"))
            self._queue.clear()

    def _enqueue(self, job: Job) -> None:
        if self._queued >= self._max_queue and not isinstance(job.items[0], OWN):
            job.refuse(Reply(429, f"the server has {self._queued} requests waiting; try again later"))
            return
        self._queue.append(job)
        self._queued += len(job.items)
        if self._wake is not None and not self._wake.done():
            self._wake.set_result(None)

    def _take(self) -> list[Job]:
        jobs: list[Job] = []
        size = 0
        while self._queue and size < self._max_batch:
            job = self._queue[0]
            alone = isinstance(job.items[0], ALONE)
            if alone and jobs:
                break
            self._queue.popleft()
            jobs.append(job)
            size += len(job.items)
            if alone:
                break
        self._queued -= size
        return jobs

    async def _serve(self, jobs: list[Job]) -> None:
        try:
            if isinstance(jobs[0].items[0], ALONE):
                await self._serve_alone(jobs[0])
            else:
                await self._commit(jobs)
        except asyncio.CancelledError:
            self._refuse_all(jobs, Reply(503, "the server is stopping; try again"))
            raise
        except RefusedDataError as error:
            await self._bisect(jobs, error)
        except OutcomeUnknownError as error:
            self._unavailable(jobs, f"outcome unknown, retry: {error}")
        except StoreUnavailableError as error:
            self._unavailable(jobs, f"the store is unavailable, retry: {error}")
        except Exception as error:  # boundary: a bug in a store must not end the loop all others need
            logger.exception("a group of requests failed", extra={"requests": len(jobs)})
            self._metrics.failed("kernel")
            self._refuse_all(jobs, Reply(500, f"Internal error: {type(error).__name__}"))

    async def _commit(self, jobs: list[Job]) -> None:
        started = time.perf_counter()
        drain = Drain(self._store, jobs, self._debug_time)
        commit = await drain.run()
        self._last_now_ms, self._last_read_at = drain.store_now_ms, steady_s()
        if drain.committed:
            self.committed_at_ms = drain.store_now_ms
            if self.trouble:
                logger.info("the store takes commits again")
                self.trouble = ""
        for job in jobs:
            job.answer()
        if drain.failures:
            self._metrics.failures["machine"] = self._metrics.failures.get("machine", 0) + drain.failures
        if commit is not None:
            self._metrics.commit_sizes.observe(drain.applied)
            self._metrics.commit_seconds.observe(time.perf_counter() - started)
            self._tell(commit)

    def _tell(self, commit: Commit) -> None:
        for observer in self._observers:
            try:
                observer(commit)
            except Exception:  # boundary: the commit stands and was answered; the next observer must hear of it
                logger.exception("an observer of commits failed")
                self._metrics.failed("observer")

    def _debug_time(self, now_ms: int) -> int:
        self._debug_mark_ms = max(self._debug_mark_ms, now_ms)  # time never goes back among debug times (D3)
        return self._debug_mark_ms

    async def _bisect(self, jobs: list[Job], error: RefusedDataError) -> None:
        """Run the halves apart until what the store refuses is alone and gets its 400 (D15)."""
        if len(jobs) > 1:
            middle = len(jobs) // 2
            await self._serve(jobs[:middle])
            await self._serve(jobs[middle:])
            return
        job = jobs[0]
        if len(job.items) == 1:
            job.refuse(Reply(400, f"Invalid request: the store refuses this data: {error}"))
            return
        replies: list[Reply] = []
        for item in job.items:
            alone: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()
            await self._serve([Job((item,), job.now_ms, alone, single=True)])
            replies.append(alone.result())
            if not replies[-1].ok:
                break
        job.replies = replies
        job.answer()

    def _unavailable(self, jobs: list[Job], sentence: str) -> None:
        if not self.trouble:
            logger.warning("the store takes no commits", extra={"reason": sentence})
        self.trouble = sentence
        self._refuse_all(jobs, Reply(503, sentence))

    def _refuse_all(self, jobs: "Sequence[Job] | deque[Job]", reply: Reply) -> None:
        for job in jobs:
            job.refuse(reply)

    # -- debug.*

    async def _serve_alone(self, job: Job) -> None:
        request = job.items[0]
        if isinstance(request, DebugTick):
            await self._tick(self._debug_time(request.time))
            job.replies = [Reply(200, [])]
        elif isinstance(request, DebugReset):
            await debug.reset(self._store)
            self._debug_mark_ms = 0
            for callback in self._on_reset:
                callback()
            job.replies = [OK]
        elif isinstance(request, DebugSnap):
            now_ms = self.now_ms() if job.now_ms is None and not self._debug_mark_ms else self._debug_mark_ms
            job.replies = [Reply(200, await debug.snap(self._store, max(now_ms, job.now_ms or 0)))]
        job.answer()

    async def _tick(self, time_ms: int) -> None:
        """Run all timer processing as of `time_ms`, in the order of protocol section 4, until nothing is due."""
        while True:
            steps = debug.due_steps(await self._store.due(time_ms, 500))
            if not steps:
                return
            future: asyncio.Future[list[Reply]] = asyncio.get_running_loop().create_future()
            drain = Drain(self._store, [Job(steps, time_ms, future, single=False)], self._debug_time)
            commit = await drain.run()
            if commit is None:
                return  # what is left re-checked its condition and stays
            self._tell(commit)

    def set_paused(self, request: DebugStart | DebugStop) -> Reply:
        """Suspend or resume timers and delivery (debug.start, debug.stop)."""
        self.paused = isinstance(request, DebugStart)
        if not self.paused:
            for callback in self._on_resumed:
                callback()
        return OK

    async def probe(self) -> None:
        """See whether the store takes commits again; `trouble` tells afterwards."""
        await self.submit(Probe())
