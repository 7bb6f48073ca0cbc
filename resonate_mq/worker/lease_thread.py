"""The thread that keeps leases alive, whatever the worker's loop is doing (D5).

Owns a loop and connections of its own: renewals, `worker.hello`, creates of long-running leaves, the health port and
the watch over the worker's loop. User code never runs here.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from typing import Protocol

from resonate_mq.protocol.requests import TaskHeartbeat, WorkerHello
from resonate_mq.transports.api.requester import Requester
from resonate_mq.transports.port import TransportError
from resonate_mq.worker.leases import Lease
from resonate_mq.worker.options import HEARTBEATS_PER_LEASE, WorkerOptions
from resonate_mq.worker.served import Served
from resonate_mq.worker.watchdog import LoopWatch

logger = logging.getLogger(__name__)

LONGEST_PERIOD_S = 10.0  # between two heartbeats: hello is refreshed with them, also where leases are long
AFTER_FAILURE = 0.1  # of a period until a failed renewal is tried again
TASKS_PER_HEARTBEAT = 1000
START_S = 10.0
STOP_S = 3.0


class Sidecar(Protocol):
    """Something else that runs on the lease thread's loop, such as the health port."""

    def open(self) -> AbstractAsyncContextManager[object]:
        """Run while the scope lasts; whatever it raises keeps the worker from starting."""
        ...


class LeaseThread:
    """Renews what `serving` holds.

    Args:
        hello: makes the announcement of this worker, None while there is nothing to announce; called on this thread.
        sidecars: what else runs here.
    """

    def __init__(
        self,
        options: WorkerOptions,
        serving: Sequence[Served],
        watch: LoopWatch,
        hello: Callable[[], WorkerHello | None],
        sidecars: Sequence[Sidecar] = (),
    ) -> None:
        self._options = options
        self._serving = serving
        self._watch = watch
        self._hello = hello
        self._sidecars = sidecars
        self._period_s = min(options.ttl_s / HEARTBEATS_PER_LEASE, LONGEST_PERIOD_S)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._main: asyncio.Task[None] | None = None
        self._announce: list[asyncio.Event] = []
        self._failure: BaseException | None = None

    @asynccontextmanager
    async def open(self) -> AsyncIterator[LeaseThread]:
        """Run the thread while the scope lasts.

        Raises:
            Exception: what kept the thread from starting, such as a health port in use.
        """
        started, ended = _Signal(), _Signal()
        thread = threading.Thread(target=self._thread, args=(started, ended), name="resonate-leases", daemon=True)
        thread.start()
        try:
            await started.wait(START_S)
            if self._failure is not None:
                raise self._failure
            yield self
        finally:
            self._stop()
            await ended.wait(STOP_S)

    def announce(self) -> None:
        """Send hello now, from whichever thread."""
        if self._loop is not None and not self._loop.is_closed():
            for event in self._announce:
                self._loop.call_soon_threadsafe(event.set)

    def trouble(self) -> str:
        """Return why leases are not being renewed, "" when they are."""
        if self._failure is not None:
            return f"the lease thread has ended: {self._failure}"
        silent_s = self._watch.silent_s()
        if silent_s > self._options.max_stall_s:
            return f"the event loop has not turned for {silent_s:.0f} s; leases are no longer renewed"
        return ""

    def _thread(self, started: _Signal, ended: _Signal) -> None:
        try:
            asyncio.run(self._run(started))
        except asyncio.CancelledError:
            pass
        except BaseException as error:  # noqa: BLE001 - the end of a thread: `trouble` and `open` report it
            self._failure = _first(error)
            logger.error("the lease thread has ended: %s", self._failure)
        finally:
            started.set()
            ended.set()

    async def _run(self, started: _Signal) -> None:
        self._loop, self._main = asyncio.get_running_loop(), asyncio.current_task()
        async with AsyncExitStack() as stack:
            links = []
            for served in self._serving:
                requester = await stack.enter_async_context(served.link.lease_requester().open())
                links.append((served, requester))
            for sidecar in self._sidecars:
                await stack.enter_async_context(sidecar.open())
            async with asyncio.TaskGroup() as tasks:
                for served, requester in links:
                    self._announce.append(announce := asyncio.Event())
                    tasks.create_task(self._renew(served, requester))
                    tasks.create_task(self._say_hello(requester, announce))
                    tasks.create_task(served.early.run(requester))
                tasks.create_task(self._look())
                started.set()

    def _stop(self) -> None:
        loop, main = self._loop, self._main
        if loop is not None and main is not None and not loop.is_closed():
            try:
                loop.call_soon_threadsafe(main.cancel)
            except RuntimeError:
                return  # it ended by itself between the question and the call

    async def _look(self) -> None:
        while True:
            await asyncio.sleep(min(self._watch.blocked_after_s / 2, 1.0))
            self._watch.look()

    async def _renew(self, served: Served, requester: Requester) -> None:
        period_s = self._options.ttl_s / HEARTBEATS_PER_LEASE
        pause_s = period_s
        while True:
            await asyncio.sleep(pause_s)
            pause_s = period_s
            if self._watch.silent_s() > self._options.max_stall_s:
                continue
            held = served.leases.held()
            if held and not await self._heartbeat(requester, held, served.leases.clock):
                pause_s = period_s * AFTER_FAILURE  # a server that is back must be told before the leases are lost

    async def _heartbeat(self, requester: Requester, held: list[Lease], clock: Callable[[], float]) -> bool:
        official = not requester.known.capabilities
        async with asyncio.TaskGroup() as tasks:
            renewals = [
                tasks.create_task(self._heartbeat_group(requester, group, clock))
                for group in _groups(held, by_origin=official)
            ]
        return all(renewal.result() for renewal in renewals)

    async def _heartbeat_group(self, requester: Requester, group: list[Lease], clock: Callable[[], float]) -> bool:
        refs = tuple((lease.task_id, lease.version) for lease in group)
        request = TaskHeartbeat(self._options.pid, refs)
        sent_at = clock()
        try:
            reply = await requester.call(request, deadline_s=self._options.ttl_s / HEARTBEATS_PER_LEASE)
        except TransportError as error:
            logger.warning("leases not renewed: %s", error, extra={"tasks": len(group)})
            return False
        if not reply.ok:
            logger.warning("leases not renewed: %s %s", reply.status, reply.data, extra={"tasks": len(group)})
            return False
        for lease in group:
            lease.renewed(sent_at)
        return True

    async def _say_hello(self, requester: Requester, announce: asyncio.Event) -> None:
        while True:
            hello = self._hello()
            if hello is not None:
                await self._hello_once(requester, hello)
            try:
                async with asyncio.timeout(self._period_s):
                    await announce.wait()
            except TimeoutError:
                pass
            announce.clear()

    async def _hello_once(self, requester: Requester, hello: WorkerHello) -> None:
        try:
            facts = await requester.facts(deadline_s=self._period_s)
            if "worker.hello" in facts.capabilities:
                await requester.call(hello, deadline_s=self._period_s)
        except TransportError as error:
            logger.debug("worker not announced: %s", error)


def _groups(held: list[Lease], *, by_origin: bool) -> list[list[Lease]]:
    """Official servers refuse a heartbeat over several origins (protocol section 8.1)."""
    if by_origin:
        origins: dict[str, list[Lease]] = {}
        for lease in held:
            # to them an id with a prefix, `app:order`, is an origin of its own
            origins.setdefault(lease.task_id.partition(".")[0], []).append(lease)
        return list(origins.values())
    return [held[start : start + TASKS_PER_HEARTBEAT] for start in range(0, len(held), TASKS_PER_HEARTBEAT)]


def _first(error: BaseException) -> BaseException:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


class _Signal:
    """An event one loop waits for and another thread sets; needs no executor, which an ending interpreter refuses."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._event = asyncio.Event()

    def set(self) -> None:
        """Set it, from whichever thread."""
        with contextlib.suppress(RuntimeError):  # nobody waits any more: that loop is closed
            self._loop.call_soon_threadsafe(self._event.set)

    async def wait(self, limit_s: float) -> None:
        """Wait until it is set, at most `limit_s` seconds."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._event.wait(), limit_s)
