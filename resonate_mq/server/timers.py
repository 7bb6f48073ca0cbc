"""Deadlines, leases, hints and schedules that come due (protocol section 4, D18).

The store holds every timer; windows in memory hold the next minute. One loop sleeps until the next instant, hands what
is due to the kernel in bounded passes, and notices when it was not allowed to run (D4). Stored instants never come
from the local clock: it only decides when to wake up.
"""

import asyncio
import logging
from collections.abc import Callable, Sequence

from resonate_mq.machine.background import Background, FireDeadlines, FireLeases, FireSchedules
from resonate_mq.protocol.records import ACQUIRED, PENDING, Promise, PromiseImage
from resonate_mq.server.commits import Commit
from resonate_mq.server.grace import Grace
from resonate_mq.server.kernel import Kernel
from resonate_mq.server.metrics import Metrics
from resonate_mq.server.steady import steady_s
from resonate_mq.server.window import Window
from resonate_mq.stores.port import Store, StoreError

logger = logging.getLogger(__name__)

WINDOW_MS = 60_000
REFILL_BEFORE_MS = 20_000  # a window is refilled when less than this is left of it
URGENT_MS = 2_000  # a window that is still well filled is refilled only now
REFILL_PAUSE_S = 1.0
WINDOW_LIMIT = 20_000  # timers of a kind in memory
PASS_LIMIT = 200  # timers of a kind one background request fires, so that a backlog starves nobody
SCHEDULES_PASS_LIMIT = 20
OCCURRENCES_PASS_LIMIT = 10  # of each schedule: after an outage what was missed comes in many small passes
NAP_S = 0.5  # longest sleep: a longer silence means that the process was paused
PAUSE_NOTICED_S = 1.0  # D4
STUCK_S = 10.0

Kind = str
KINDS: tuple[Kind, ...] = ("deadlines", "leases", "schedules", "hints")


class Timers:
    """Fires what is due.

    Args:
        offer: sends hints whose instant has come (the publisher's `offer`).
        grace: what to do for lease holders after an outage.
    """

    def __init__(
        self,
        store: Store,
        kernel: Kernel,
        offer: Callable[[Sequence[str]], None],
        grace: Grace,
        metrics: Metrics,
    ) -> None:
        self._store = store
        self._kernel = kernel
        self._offer = offer
        self._grace = grace
        self._metrics = metrics
        self._deadlines = Window(WINDOW_LIMIT)
        self._leases = Window(WINDOW_LIMIT)
        self._hints = Window(WINDOW_LIMIT)
        self._schedules = Window(WINDOW_LIMIT)
        self._earlier = asyncio.Event()
        self._sleeping_until_ms = 0
        self._refilled_at = 0.0
        self._turned_at = self._ticked_at = steady_s()
        kernel.observe(self._observe)
        kernel.on_reset(self._forget)
        kernel.on_resumed(self._forget)

    def check(self) -> str:
        """Return why timers do not fire, "" when they do."""
        silent_s = steady_s() - self._turned_at
        return f"the timer loop has not turned for {silent_s:.0f} s" if silent_s > STUCK_S else ""

    async def run(self) -> None:
        """Fire until cancelled."""
        self._ticked_at = self._turned_at = steady_s()
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._tick(), name="notice pauses")
            tasks.create_task(self._turn_forever(), name="fire timers")

    async def _turn_forever(self) -> None:
        while True:
            try:
                await self._turn()
            except StoreError as error:
                logger.debug("timers wait for the store", extra={"reason": str(error)})
                await asyncio.sleep(NAP_S)
            except Exception:  # boundary: a bug in one pass must not stop all timers for good
                logger.exception("a pass of the timers failed")
                self._metrics.failed("timers")
                await asyncio.sleep(NAP_S)

    # -- commits

    def _observe(self, commit: Commit) -> None:
        for promise, before in commit.changed.values():
            self._observe_promise(promise, before)
        for schedule, _ in commit.schedules.values():
            if schedule.deleted:
                self._schedules.disarm(schedule.id)
            else:
                self._arm(self._schedules, schedule.id, schedule.next_run_at)

    def _observe_promise(self, promise: Promise, before: PromiseImage | None) -> None:
        if promise.state != PENDING:
            self._deadlines.disarm(promise.id)
        elif before is None:
            self._arm(self._deadlines, promise.id, promise.timeout_at)
        task = promise.task
        if task is None:
            return
        if task.state == ACQUIRED and task.lease_at is not None:
            self._arm(self._leases, promise.id, task.lease_at)
        else:
            self._leases.disarm(promise.id)
        if task.state == PENDING and task.hint_due_at is not None:
            self._arm(self._hints, promise.id, task.hint_due_at)
        else:
            self._hints.disarm(promise.id)

    def _arm(self, window: Window, one: str, instant_ms: int) -> None:
        window.arm(one, instant_ms)
        if instant_ms < self._sleeping_until_ms:
            self._earlier.set()

    def _forget(self) -> None:
        for window in self._windows():
            window.clear()
        self._refilled_at = 0.0
        self._earlier.set()

    # -- the loop

    async def _turn(self) -> None:
        self._turned_at = steady_s()
        if self._kernel.paused:
            await asyncio.sleep(NAP_S)
            return
        if self._kernel.trouble:
            await self._wait_for_store()
        self._notice_pause()
        await self._grace.give()
        await self._refill()
        fired = await self._fire()
        if not fired:
            await self._sleep()

    async def _tick(self) -> None:
        """Turn up twice a second; when that does not work out, the whole process was stopped or blocked."""
        while True:
            self._notice_pause()
            await asyncio.sleep(NAP_S)

    def _notice_pause(self) -> None:
        now = steady_s()
        late_s = now - self._ticked_at - NAP_S
        self._ticked_at = now
        if late_s > PAUSE_NOTICED_S:
            logger.warning("the server was paused; lease holders get their time back", extra={"paused_s": late_s})
            self._grace.wanted(self._kernel.now_ms() - int((late_s + NAP_S) * 1000))

    async def _wait_for_store(self) -> None:
        """Probe until commits succeed again; the outage must not cost anybody a lease (D4)."""
        self._grace.wanted(self._kernel.committed_at_ms)
        while self._kernel.trouble:
            await self._kernel.probe()
            self._turned_at = steady_s()
            if self._kernel.trouble:
                await asyncio.sleep(NAP_S)
        self._forget()

    async def _fire(self) -> bool:
        """Hand one pass of each kind to the kernel; return whether anything was due."""
        now_ms = self._kernel.now_ms()
        if not any(one <= now_ms for one in self._instants()):
            return False
        now_ms = await self._kernel.read_now_ms()  # never early by the clock that decides (D3)
        steps: list[Background] = []
        deadlines = self._deadlines.pop_due(now_ms, PASS_LIMIT)
        if deadlines:
            steps.append(FireDeadlines(tuple(deadlines)))
        leases = self._leases.pop_due(now_ms, PASS_LIMIT)
        if leases:
            steps.append(FireLeases(tuple(leases)))
        schedules = self._schedules.pop_due(now_ms, SCHEDULES_PASS_LIMIT)
        if schedules:
            steps.append(FireSchedules(tuple(schedules), OCCURRENCES_PASS_LIMIT))
        for reply in await self._kernel.submit_sequence(steps) if steps else ():
            if not reply.ok:
                self._forget()  # they stay due in the store
                raise StoreError(reply.data)
        hints = self._hints.pop_due(now_ms, PASS_LIMIT)
        if hints:
            self._offer(hints)
            await asyncio.sleep(0)
        return bool(steps or hints)

    async def _refill(self) -> None:
        if not self._needs_refill():
            return
        self._refilled_at = steady_s()
        until_ms = self._kernel.now_ms() + WINDOW_MS
        # set before reading: what commits while the store is read must not fall between
        horizons = [window.horizon_ms for window in self._windows()]
        for window in self._windows():
            window.horizon_ms = until_ms
        try:
            due = await self._store.due(until_ms, WINDOW_LIMIT // 2)
        except StoreError:
            for window, horizon_ms in zip(self._windows(), horizons, strict=True):
                window.horizon_ms = horizon_ms
            raise
        for window, found in (
            (self._deadlines, due.deadlines),
            (self._leases, due.leases),
            (self._hints, due.hints),
            (self._schedules, due.schedules),
        ):
            complete = len(found) < WINDOW_LIMIT // 2
            window.refill(found, until_ms if complete else found[-1][0])

    def _needs_refill(self) -> bool:
        now_ms = self._kernel.now_ms()
        if steady_s() - self._refilled_at < REFILL_PAUSE_S and self._refilled_at:
            return False
        for window in self._windows():
            left_ms = window.horizon_ms - now_ms
            if left_ms < URGENT_MS or (left_ms < REFILL_BEFORE_MS and len(window) < WINDOW_LIMIT // 4):
                return True
        return False

    async def _sleep(self) -> None:
        instants = self._instants()
        now_ms = self._kernel.now_ms()
        nap_s = min(NAP_S, max((min(instants) - now_ms) / 1000, 0.001)) if instants else NAP_S
        self._sleeping_until_ms = now_ms + int(nap_s * 1000)
        self._earlier.clear()
        try:
            async with asyncio.timeout(nap_s):
                await self._earlier.wait()
        except TimeoutError:
            pass
        finally:
            self._sleeping_until_ms = 0

    def _instants(self) -> list[int]:
        return [one for window in self._windows() if (one := window.next_ms()) is not None]

    def _windows(self) -> tuple[Window, Window, Window, Window]:
        return self._deadlines, self._leases, self._hints, self._schedules
