"""Runs one acquired task to its next end: sends what its bodies want, brings answers back, suspends, fulfils.

Owns the conversation with the server for this task; the engine owns steps and bodies. One sequence is in flight at
a time, so that what is durable is a prefix of what was called (protocol section 6.1).
"""

import asyncio
import logging
from collections.abc import Sequence

from resonate_mq.functions.codec import CustomCodec
from resonate_mq.functions.errors import DeadlockError, DecodeError
from resonate_mq.functions.invocation import Invocation, bind, decode_invocation
from resonate_mq.functions.options import NONE
from resonate_mq.protocol import tags
from resonate_mq.protocol.envelope import Reply
from resonate_mq.protocol.errors import InvalidRequestError
from resonate_mq.protocol.records import PENDING
from resonate_mq.protocol.requests import PromiseSettle, Request, TaskFence, TaskFulfill, TaskSuspend
from resonate_mq.transports.port import TransportError
from resonate_mq.worker.execution.body import Body, Work
from resonate_mq.worker.execution.engine import ExecutionEngine, Record
from resonate_mq.worker.execution.environment import Environment
from resonate_mq.worker.execution.outbox import Operation
from resonate_mq.worker.execution.outcomes import Fulfilled, Lost, Outcome, Released, Suspended
from resonate_mq.worker.execution.recording import settlement
from resonate_mq.worker.execution.session import Session

log = logging.getLogger(__name__)

TEARDOWN_S = 1.0  # how long dropped async bodies may clean up
UNKNOWN_FUNCTION_DELAY_S = 1.0  # the worker lets it grow; D14


class Execution:
    """One acquired task. `run` once; after `Suspended(resident=True)` `resume` or `drop`.

    Not safe for threads: use it on the loop that called `run`.
    """

    def __init__(self, session: Session, environment: Environment) -> None:
        self._session = session
        self._environment = environment
        self._options = environment.overrides.get(session.id, NONE)
        encoder = self._options.encoder
        self._codec = environment.codec if encoder is None else CustomCodec(encoder)
        self._engine = ExecutionEngine(session, environment)
        self._version = session.version
        self._records: Sequence[Record] = session.records
        self._preload = "preload" in session.capabilities
        self._wakeup: asyncio.Future[None] | None = None
        self._refused_fulfil = False

    @property
    def version(self) -> int:
        """The version it holds, or held when it was suspended."""
        return self._version

    async def run(self) -> Outcome:
        """Run until the task is fulfilled, suspended, to be released, or lost."""
        promise = self._session.promise
        if promise["tags"].get(tags.TIMER) == "true":
            return Lost(reason="a timer promise is settled by its deadline and never run")  # D6
        if promise["state"] != PENDING:
            return Fulfilled(record=promise)
        return await self._guarded(fresh=True)

    async def resume(self, version: int, records: Sequence[Record]) -> Outcome:
        """Go on after an acquire.

        Args:
            version: the version acquire answered. Only the held version + 1 continues the bodies in memory; any other
                discards them and replays (D24).
            records: the preload of that acquire.
        """
        resident = version == self._version + 1 and not self._engine.broken
        self._version = version
        self._records = records
        if not resident:
            await self._evict()
            self._engine = ExecutionEngine(self._session, self._environment)
        return await self._guarded(fresh=not resident)

    def drop(self) -> None:
        """Give up the memory of a suspended execution; its bodies end with `Evicted`."""
        self._engine.lost = self._engine.lost or "dropped from memory"
        self._engine.evict()

    def abandon(self, reason: str) -> None:
        """Make a running `run` or `resume` return `Lost` soon, its bodies evicted (lease lost, worker stopping)."""
        self._engine.lost = self._engine.lost or reason
        self._engine.poke()

    # -- one run

    async def _guarded(self, *, fresh: bool) -> Outcome:
        engine = self._engine
        engine.poke = self._poke
        outcome: Outcome | None = None
        try:
            outcome = self._begin() if fresh else self._continue()
            if outcome is None:
                outcome = await self._loop()
        except TransportError as error:
            reason = f"server unreachable: {error}"
            lost = self._session.is_lost()
            outcome = Lost(reason=reason) if lost else Released(reason=reason, delay_s=None, counted=False)
        except asyncio.CancelledError:
            raise
        except Exception as error:  # the boundary of one task: a fault here must not harm the others
            log.exception("execution failed", extra={"task_id": self._session.id, "version": self._version})
            outcome = Released(reason=f"{type(error).__name__}: {error}", delay_s=None, counted=True)
        finally:
            engine.poke = _nothing
            if not (isinstance(outcome, Suspended) and outcome.resident):
                engine.lost = engine.lost or "over"
                await self._evict()
        return outcome

    def _begin(self) -> Outcome | None:
        engine, session, environment = self._engine, self._session, self._environment
        promise = session.promise
        engine.refresh(self._records)
        try:
            call = decode_invocation(self._codec, promise.get("param"))
        except DecodeError as error:
            engine.result = (None, error)
            return None
        entry = environment.registry.find(call.func, call.version)
        if entry is None:
            return self._unknown(call)
        try:
            args, kwargs = bind(call, entry.signature)
        except (TypeError, DecodeError) as error:
            engine.result = (None, error)
            return None
        work = Work(
            promise_id=session.id,
            func=entry.func,
            kind=entry.kind,
            args=tuple(args),
            kwargs=kwargs,
            deadline_ms=promise["timeoutAt"],
            tags=promise["tags"],
            version=entry.version,
            retry_policy=self._options.retry_policy or entry.retry_policy,
            non_retryable=self._options.non_retryable_exceptions or entry.non_retryable_exceptions,
        )
        root = Body(engine, engine.surroundings, work)
        engine.schedule(root.start)
        return None

    def _unknown(self, call: Invocation) -> Released:
        known = ", ".join(map(str, self._environment.registry.versions(call.func)))
        found = f"it has version {known}" if known else "no function of that name"
        return Released(
            reason=f"function {call.func!r} version {call.version} is not registered in this process: {found}",
            delay_s=UNKNOWN_FUNCTION_DELAY_S,
            counted=False,
        )

    def _continue(self) -> Outcome | None:
        engine = self._engine
        engine.truncated = engine.truncated or self._session.truncated
        engine.regain()
        self._look_again(self._records)
        return None

    def _look_again(self, records: Sequence[Record]) -> None:
        """Take fresh records; ask for what is awaited and was not among them."""
        engine = self._engine
        seen = engine.refresh(records)
        for step in engine.awaited():
            if step.id not in seen:
                engine.ask(step)

    async def _loop(self) -> Outcome:
        engine = self._engine
        while True:
            engine.drain()
            if engine.turns.fault is not None:
                raise engine.turns.fault
            if engine.check_lost():
                return Lost(reason=engine.lost or "")
            if engine.verdict is not None and engine.result is None:
                log.error("%s", engine.verdict, extra={"task_id": self._session.id})
                await self._end_with(engine.verdict)
            idle = engine.active == 0 and not engine.turns
            if engine.outbox or engine.result is not None or (idle and not engine.restless):
                outcome = await self._exchange()
                if outcome is not None:
                    return outcome
            elif idle:
                engine.restless -= 1
                await asyncio.sleep(0)
            else:
                await self._until_poked()

    async def _until_poked(self) -> None:
        self._wakeup = asyncio.get_running_loop().create_future()
        try:
            await self._wakeup
        finally:
            self._wakeup = None

    def _poke(self) -> None:
        if self._wakeup is not None and not self._wakeup.done():
            self._wakeup.set_result(None)

    async def _end_with(self, error: Exception) -> None:
        await self._evict()
        self._engine.outbox.clear()
        self._engine.result = (None, error)

    async def _evict(self) -> None:
        tasks = [task for task in self._engine.evict() if not task.done()]
        if tasks:
            await asyncio.wait(tasks, timeout=TEARDOWN_S)

    # -- the conversation

    async def _exchange(self) -> Outcome | None:
        """Send one sequence: what is queued, and with it the fulfil or suspend that follows from it."""
        engine = self._engine
        operations = engine.outbox.take()
        requests: list[Request] = [
            TaskFence(self._session.id, self._version, operation.action, children=self._preload)
            for operation in operations
        ]
        end: TaskFulfill | TaskSuspend | None = None
        if not engine.outbox:
            end = self._fulfil() if engine.result is not None else self._suspend(operations)
        if end is not None:
            engine.leased = False
            requests.append(end)
        if not requests:
            engine.verdict = DeadlockError(
                f"execution {self._session.id!r}: every part of it waits for another part; "
                "a step must not await a promise that is settled only after the step"
            )
            return None
        replies = await self._session.sequence(requests)
        return self._apply(operations, end, replies)

    def _fulfil(self) -> TaskFulfill:
        engine = self._engine
        assert engine.result is not None
        value, error = engine.result
        state, encoded = settlement(self._codec, value, error, "result")
        return TaskFulfill(self._session.id, self._version, PromiseSettle(self._session.id, state, encoded))

    def _suspend(self, operations: list[Operation]) -> TaskSuspend | None:
        """Return the suspend that is due if every queued promise turns out pending; a 300 tells if not."""
        engine = self._engine
        wakes = any(operation.wakes for operation in operations)
        if engine.active or engine.turns or engine.restless or engine.outbox.holds_leaves or wakes:
            return None
        awaited = engine.awaited()
        if not awaited:
            return None
        return TaskSuspend(self._session.id, self._version, tuple(step.id for step in awaited), children=self._preload)

    def _apply(
        self, operations: list[Operation], end: TaskFulfill | TaskSuspend | None, replies: list[Reply]
    ) -> Outcome | None:
        engine = self._engine
        for index, operation in enumerate(operations):
            reply = replies[index] if index < len(replies) else None
            if reply is None:
                engine.outbox.put_back(operations[index:])
                break
            outcome = self._apply_one(operation, reply)
            if outcome is not None:
                return outcome
            engine.outbox.ended(operation)
        ended = replies[len(operations)] if end is not None and len(replies) > len(operations) else None
        outcome = None
        if end is not None and ended is not None:
            outcome = self._fulfilled(ended) if isinstance(end, TaskFulfill) else self._suspended(end, ended)
        if outcome is None and not engine.leased:
            engine.regain()
        return outcome

    def _apply_one(self, operation: Operation, reply: Reply) -> Outcome | None:
        if reply.status == 200:
            inner = reply.data["action"]
            reply = Reply(inner["head"]["status"], inner["data"])
            if reply.status == 200:
                operation.answered(reply.data["promise"])
                return None
            if reply.status == 404:  # the promise, not the task
                operation.refused(reply)
                return None
        if reply.status in (400, 413):
            operation.refused(reply)
            return None
        return self._broken(operation.action.kind, reply)

    def _fulfilled(self, reply: Reply) -> Outcome | None:
        if reply.status == 200:
            return Fulfilled(record=reply.data["promise"])
        if reply.status in (400, 413) and not self._refused_fulfil:
            self._refused_fulfil = True
            error = InvalidRequestError(f"the result of {self._session.id!r} was refused: {reply.data}", reply.status)
            self._engine.result = (None, error)
            return None
        return self._broken("task.fulfill", reply)

    def _suspended(self, request: TaskSuspend, reply: Reply) -> Outcome | None:
        engine = self._engine
        if reply.status == 300:
            engine.truncated = engine.truncated or bool(reply.data.get("truncated"))
            self._look_again(reply.data["preload"])
            return None
        if reply.status != 200:
            return self._broken("task.suspend", reply)
        return Suspended(resident=self._environment.resident and not engine.broken, awaited=request.awaited)

    def _broken(self, kind: str, reply: Reply) -> Outcome:
        """Return the end that a refusal of this whole task means."""
        sentence = f"{kind}: {reply.status} {reply.data}"
        if reply.status in (404, 409):
            return Lost(reason=sentence)
        counted = reply.status not in (401, 403, 429, 503)
        return Released(reason=sentence, delay_s=None, counted=counted)


def _nothing() -> None:
    return
