"""The worker of one process: subscriptions in, acquisitions under leases, executions, and an orderly end.

Owns the order in which its parts start and stop. What opens requesters and transports is its owner's business; what
a function is, the execution's.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import secrets
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

from resonate_mq.protocol.envelope import Reply
from resonate_mq.protocol.messages import Hint, Unblock
from resonate_mq.protocol.requests import PromiseCreate, TaskAcquire, TaskCreate, WorkerHello
from resonate_mq.transports.port import ConsumingTransport, TransportError
from resonate_mq.worker.execution import Environment, Execution
from resonate_mq.worker.health import HealthPort
from resonate_mq.worker.intake import Arrival, Intake
from resonate_mq.worker.lease_thread import LeaseThread
from resonate_mq.worker.listeners import ListenersByServer
from resonate_mq.worker.metrics import Counters
from resonate_mq.worker.options import ServerLink, WorkerOptions
from resonate_mq.worker.runner import Body, Runner
from resonate_mq.worker.served import Served, refusal, route
from resonate_mq.worker.session import HeldTask
from resonate_mq.worker.slots import Slots
from resonate_mq.worker.watchdog import LoopWatch

logger = logging.getLogger(__name__)

REFUSED_S = 5.0  # a worker without the right token asks again so often
ACQUIRE_S = 10.0  # how long a hint is held for an answer to its acquire; then it goes back
IDENTIFY_S = 5.0  # for asking a server who it is
STOP_S = 2.0  # for cancelled bodies to end


class Worker:
    """Runs durable functions of one group.

    Args:
        options: names, sizes, times.
        links: the servers it answers to; their requesters are open on this loop.
        transports: where hints and unblocks come from; open.
        environment: what executions share.
        listeners: whom unblocks concern.
    """

    def __init__(
        self,
        options: WorkerOptions,
        links: Sequence[ServerLink],
        transports: Sequence[ConsumingTransport],
        environment: Environment,
        listeners: ListenersByServer,
    ) -> None:
        if not links:
            raise ValueError("links: a worker needs at least one server to answer to")
        self.options = options
        self.counters = Counters()
        self._transports = tuple(transports)
        self._environment = environment
        self._listeners = listeners
        self._serving = tuple(Served(link, options) for link in links)
        self._slots = Slots(options.concurrency, self._slot_freed)
        self._watch = LoopWatch(options.blocked_after_s)
        self._runner = Runner(options, self._slots, self.counters, body=self._body, settled=self._settled)
        self._intake = Intake(
            options,
            self._slots,
            self.counters,
            route=lambda store_id: route(self._serving, store_id),
            identify=self._identify,
            start=self._start,
            unblocked=self._unblocked,
            reconnected=self._reconnected,
        )
        self._health = None if options.health is None else HealthPort(options.health, self.ready, self.metrics)
        sidecars = () if self._health is None else (self._health,)
        self._lease_thread = LeaseThread(options, self._serving, self._watch, self._hello, sidecars)
        self._claims = (f"{secrets.token_hex(8)}-{number}" for number in itertools.count())
        self._tasks: set[asyncio.Task[None]] = set()
        self._idle = asyncio.Event()
        self._refusals: dict[Served, str] = {}
        self._state = "not started"

    @asynccontextmanager
    async def open(self) -> AsyncIterator[Worker]:
        """Take work while the scope lasts; leaving it drains (with no grace when an exception leaves it)."""
        for served in self._serving:
            served.requester.on_state(self._server_state(served))
        self._watch.start()
        self._environment.threads.start()
        try:
            async with self._lease_thread.open(), self._intake.open(self._transports):
                self._state = "running"
                self._lease_thread.announce()
                for served in self._serving:
                    if served.requester.away is not None:
                        self._intake.server_state(served, reachable=False)
                try:
                    yield self
                except BaseException:
                    await self.drain(0)
                    raise
                await self.drain()
        finally:
            self._state = "stopped"
            self._runner.forget_bodies()
            self._environment.threads.stop()
            self._watch.stop()

    async def drain(self, grace_s: float | None = None) -> None:
        """Take no more work, let what runs end within `grace_s` seconds, give the rest back.

        Leases are kept all the while. Safe to call again: the second call waits for the first one's end only if it
        has no shorter grace of its own.
        """
        if self._state in ("stopped", "not started"):
            return
        self._state = "draining"
        self._intake.close()
        self._lease_thread.announce()
        grace_s = self.options.grace_s if grace_s is None else grace_s
        if self._tasks and grace_s > 0:
            logger.info("draining: up to %.0f s for %d running tasks", grace_s, len(self._tasks))
            await asyncio.wait(set(self._tasks), timeout=grace_s)
        running = set(self._tasks)
        for task in running:
            task.cancel("draining")
        if running:
            await asyncio.wait(running, timeout=STOP_S)
            logger.info("draining: giving back %d tasks", len(self._runner.interrupted))
            await self._runner.release_interrupted()

    @property
    def accepts(self) -> bool:
        """Whether a new task should be acquired for this process now.

        When it should not (no free slot, draining), create the promise alone: a hint brings it to whoever has room.
        """
        return self._state == "running" and self._slots.free > 0

    def take(self, create: PromiseCreate) -> TaskCreate:
        """Return the request that creates a durable function of this very group and acquires it for this process.

        Hand its answer to `adopt`.
        """
        return TaskCreate(self.options.pid, self.options.ttl_ms, create, next(self._claims), children=True)

    def adopt(self, data: dict[str, Any], *, sent_at: float | None = None, link: ServerLink | None = None) -> bool:
        """Run a task that was acquired for this process with `task.create`.

        Returns:
            False when the worker has begun to drain meanwhile: the task must be released then.

        Args:
            data: of the reply: task, promise, preload.
            sent_at: monotonic time before the request was sent; the lease is counted from it.
            link: the server it was acquired from; the first one when None.
        """
        if self._state != "running":
            return False
        served = self._serving[0] if link is None else next(one for one in self._serving if one.link is link)
        if sent_at is None:
            sent_at = served.leases.clock()
        self._slots.take()
        self._spawn(self._run(served, data, sent_at))
        return True

    def ready(self) -> tuple[bool, str]:
        """Return whether work can flow, and why not. From any thread."""
        troubles = [] if self._state == "running" else [f"the worker is {self._state}"]
        if self._lease_thread.trouble():
            troubles.append(self._lease_thread.trouble())
        troubles += [
            f"server {served.requester.channel.name} is away: {served.requester.away}"
            for served in self._serving
            if served.requester.away is not None
        ]
        troubles += list(self._refusals.values())
        troubles += self._intake.troubles()
        return (not troubles, "; ".join(troubles))

    def metrics(self) -> str:
        """Return the counters and gauges as Prometheus text. From any thread."""
        gauges = {
            "slots": self._slots.size,
            "slots_free": self._slots.free,
            "hints_waiting": self._intake.waiting,
            "residents": self._runner.residents,
            "leases": sum(len(served.leases) for served in self._serving),
            "ready": float(self.ready()[0]),
        }
        return self.counters.exposition(gauges)

    @property
    def health_address(self) -> str:
        """`host:port` of the health port; empty when there is none."""
        return "" if self._health is None else self._health.address

    @property
    def running(self) -> int:
        """How many tasks are held, being acquired ones included."""
        return len(self._tasks)

    def _body(self, session: HeldTask) -> Body:
        return Execution(session, self._environment)

    def _start(self, served: Served, hint: Hint, arrival: Arrival) -> None:
        noted = served.acquiring(hint.task_id, hint.version)
        self._spawn(self._acquire(served, hint, arrival, noted))

    def _spawn(self, work: Any) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        self._slots.give()
        if not task.cancelled() and (error := task.exception()) is not None:
            logger.error("a task of the worker failed", exc_info=error)

    async def _acquire(self, served: Served, hint: Hint, arrival: Arrival, noted: tuple[str, str, int]) -> None:
        request = TaskAcquire(
            hint.task_id, hint.version, self.options.pid, self.options.ttl_ms, next(self._claims), children=True
        )
        sent_at = served.leases.clock()
        acquired = False
        try:
            reply = await served.requester.call(request, deadline_s=ACQUIRE_S)
            acquired = reply.ok
        except TransportError as error:
            logger.info("hint given back: %s", error, extra={"task_id": hint.task_id})
            arrival.unanswered()
            return
        except asyncio.CancelledError:
            arrival.unanswered()
            raise
        finally:
            served.acquire_ended(noted, acquired=acquired)
        if reply.status in (401, 403):
            arrival.unanswered()  # somebody with the right token may take it
            self._refused(served, reply)
            return
        if reply.status in (429, 503):
            arrival.unanswered()
            return
        self._refusals.pop(served, None)
        arrival.answered()
        if not acquired:
            self.counters.add("acquire_refused", str(reply.status))
            logger.debug("hint is not for us: %s %s", reply.status, reply.data, extra={"task_id": hint.task_id})
            return
        await self._run(served, reply.data, sent_at)

    def _refused(self, served: Served, reply: Reply) -> None:
        """Take no hints for a while: this process could do nothing with them but keep them from others."""
        if served not in self._refusals:
            self._refusals[served] = (
                f"server {served.requester.channel.name} refuses this worker ({reply.status} {reply.data}); "
                "set the token or user and password"
            )
            logger.error(self._refusals[served])
        self._intake.server_state(served, reachable=False)
        asyncio.get_running_loop().call_later(REFUSED_S, self._try_again, served)

    def _try_again(self, served: Served) -> None:
        if self._state == "running" and served.requester.away is None:
            self._intake.server_state(served, reachable=True)

    async def _run(self, served: Served, data: dict[str, Any], sent_at: float) -> None:
        self.counters.add("acquired")
        await self._runner.run(served, data, sent_at)

    def _reconnected(self) -> None:
        for served in self._serving:
            served.reconnected()
        self._listeners.reconnected()

    async def _identify(self, store_id: str | None) -> str:
        """Ask every server again who it is; return why the store is none of theirs, should that be so."""
        for served in self._serving:
            served.requester.recheck()
            try:
                await served.requester.facts(deadline_s=IDENTIFY_S)
            except TransportError as error:
                logger.debug("server not asked who it is: %s", error)
        return refusal(self._serving, store_id)

    def _slot_freed(self) -> None:
        self._intake.slot_freed()

    def _settled(self, served: Served, record: dict[str, Any]) -> None:
        self._listeners.deliver(served.requester.known.store_id, (record,))

    def _unblocked(self, message: Unblock) -> None:
        self._listeners.deliver(message.store_id, message.promises)

    def _server_state(self, served: Served) -> Callable[[bool, str], None]:
        def changed(reachable: bool, reason: str) -> None:
            if reachable:
                logger.info("server %s answers again", served.requester.channel.name)
                self._listeners.reconnected()
                self._lease_thread.announce()
            else:
                logger.warning("server %s is away: %s", served.requester.channel.name, reason)
            if self._state == "running":
                self._intake.server_state(served, reachable=reachable)

        return changed

    def _hello(self) -> WorkerHello | None:
        if self._state not in ("running", "draining"):
            return None
        functions = tuple(self._environment.registry.functions())
        return WorkerHello(
            group=self.options.group,
            pid=self.options.pid,
            addresses=self._intake.addresses,
            concurrency=self.options.concurrency,
            free=max(0, self._slots.free) if self._state == "running" else 0,
            resident=self._environment.resident and self.options.resident_limit > 0,
            functions=functions,
        )
