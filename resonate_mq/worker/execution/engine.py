"""The shared state of one execution: its steps, its bodies, what it wants sent. Does no I/O and awaits nothing.

`execution.Execution` sends what is in the outbox and brings the answers back; bodies ask for steps here.
"""

import asyncio
import inspect
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any

from resonate_mq.functions.codec import Codec
from resonate_mq.functions.commands import DETACHED, PROMISE, Command, Promise
from resonate_mq.functions.context import Surroundings
from resonate_mq.functions.errors import EncodeError, RemoteError, ResonateError, ResonateStoreError
from resonate_mq.functions.registry import kind_of
from resonate_mq.protocol import tags
from resonate_mq.protocol.envelope import Reply
from resonate_mq.protocol.records import PENDING, REJECTED, RESOLVED, Value
from resonate_mq.protocol.requests import PromiseCreate, PromiseRecord, PromiseSettle, TaskFence
from resonate_mq.worker.execution.body import Body, Work
from resonate_mq.worker.execution.divergence import divergence, mismatch, shown
from resonate_mq.worker.execution.drafts import Lineage, annotation_of, codec_of, draft_local, draft_remote, entry_of
from resonate_mq.worker.execution.drivers import GeneratorDriver
from resonate_mq.worker.execution.environment import Environment
from resonate_mq.worker.execution.outbox import Operation, Outbox
from resonate_mq.worker.execution.port import Stopped
from resonate_mq.worker.execution.session import Session
from resonate_mq.worker.execution.step import Known, Step

Record = dict[str, Any]


class ExecutionEngine:
    """See `port.Engine` for what bodies use; the rest is for `Execution`.

    Attributes:
        steps: by promise id; settled ones stay, a retried generator meets them again.
        cache: records of the preload no step has claimed yet.
        truncated: the preload may lack records: a step that is not found is asked for before it is run.
        leased: False from the moment a suspend is sent until the task is held again.
        verdict: an error that ends the whole execution whatever its bodies want (divergence, deadlock).
        result: outcome of the root function once it ended.
        poke: set by `Execution` to hear that something happened.
    """

    def __init__(self, session: Session, environment: Environment) -> None:
        self.session = session
        self.environment = environment
        self.lineage = Lineage(session.promise)
        self.surroundings = Surroundings(
            session.id, self.lineage.prefix, environment.registry, environment.dependencies, environment.log_level
        )
        self.steps: dict[str, Step] = {}
        self.cache: dict[str, Record] = {}
        self.bodies: set[Body] = set()
        self.outbox = Outbox()
        self.active = 0
        self.leased = True
        self.lost: str | None = None
        self.verdict: Exception | None = None
        self.result: tuple[Any, BaseException | None] | None = None
        self.restless = 0
        self.poke: Callable[[], None] = _nothing
        self._ready: deque[tuple[Callable[..., None], tuple[Any, ...]]] = deque()
        self._draining = False
        self._parked: list[Callable[[], None]] = []
        self._long_waits = 0
        self.truncated = session.truncated
        self._records = "promise.record" in session.capabilities
        self._preload = "preload" in session.capabilities
        self._early: set[Step] = set()
        self._local: dict[str, tuple[Body, Command[Any]]] = {}

    # -- turns

    @property
    def stopped(self) -> bool:
        """Tell whether no body may go on."""
        return self.broken or self.result is not None

    @property
    def broken(self) -> bool:
        """Tell whether the bodies are of no use any more."""
        return self.lost is not None or self.verdict is not None

    @property
    def busy(self) -> bool:
        """Tell whether something is scheduled in this turn."""
        return bool(self._ready)

    def schedule(self, callback: Callable[..., None], *args: Any) -> None:
        """Call back in this turn; a body is never driven from inside another one's call, however deep they nest."""
        self._ready.append((callback, args))

    def drain(self) -> None:
        """Do what was scheduled, then tell the execution."""
        if self._draining:
            return
        self._draining = True
        try:
            while self._ready:
                callback, args = self._ready.popleft()
                callback(*args)
        finally:
            self._draining = False
        self.poke()

    def woke(self) -> None:
        """Note that an async body was woken; `asyncio.gather` and its like pass that on over several turns."""
        self.restless = 5

    def retrying(self, *, parked: bool, by: int) -> None:
        """Count waits for a retry; when only long ones are left, the slot is given to others (D36)."""
        self.active += by
        if parked:
            was = self._long_waits > 0 and self._long_waits == self.active - by
            self._long_waits += by
            now = self._long_waits > 0 and self._long_waits == self.active
            if was != now:
                self.session.park(now)

    def may_start(self, start: Callable[[], None]) -> bool:
        """Tell whether user code may be started now (D5); while suspended it waits for the next lease (D32)."""
        if self.check_lost():
            return False
        if not self.leased:
            self._parked.append(start)
            return False
        return True

    def check_lost(self) -> bool:
        """Tell whether the lease is lost, asking the worker."""
        if self.lost is None and self.session.is_lost():
            self.lost = "the lease could not be renewed in time"
        return self.lost is not None

    def regain(self) -> None:
        """Start what was called for while the task was not held."""
        self.leased = True
        parked, self._parked = self._parked, []
        for start in parked:
            self.schedule(start)

    # -- steps

    def find(self, body: Body, yielded: object) -> tuple[Step, bool]:
        """Start a command or look up a promise; see `port.Engine.find`."""
        if self.stopped or (self.leased and self.check_lost()):
            raise Stopped
        if isinstance(yielded, Command):
            return self._begin(body, yielded), yielded.begins
        if isinstance(yielded, Promise):
            step = self.steps.get(yielded.id)
            if yielded.cid != self.lineage.root_id or step is None:
                raise TypeError(
                    f"promise {yielded.id!r} belongs to execution {yielded.cid!r}, not to {self.lineage.root_id!r}: "
                    "await it there, or by its id with `yield ctx.promise(id=...)`"
                )
            return step, False
        raise TypeError(_not_yieldable(yielded))

    def promise_of(self, step: Step, body: Body) -> Promise[Any]:
        """Return the `Promise` of a step."""
        return Promise(step.id, self.lineage.root_id, body)

    def _begin(self, body: Body, command: Command[Any]) -> Step:
        owner = command.host
        if not isinstance(owner, Body) or owner.engine is not self or owner.context is None:
            raise TypeError(f"{command!r} was made by the context of another execution")
        owner.context.note_start(command)
        step = self.steps.get(command.id)
        if step is None:
            step = self._meet(owner, command)
        elif command.opts.id is None and (step.kind, step.label) != (command.kind, command.label):
            asked = shown(command.kind, command.label)
            self._stop(mismatch(self.lineage.root_id, step.id, shown(step.kind, step.label), asked, self._where(body)))
        if command.kind != DETACHED:
            owner.began(step)
        return step

    def _meet(self, owner: Body, command: Command[Any]) -> Step:
        """Make the step of a command, from its record where there is one."""
        record = self.cache.pop(command.id, None)
        if record is not None and command.opts.id is None:
            self._check(record, command, owner)
        codec = codec_of(command, self.environment)
        if command.local:
            draft = draft_local(command, owner.id, owner.deadline_ms, self.lineage, self.environment)
        elif record is not None:
            draft = PromiseCreate(command.id, record["timeoutAt"], Value(None, None), record["tags"])
        else:
            draft = draft_remote(command, owner.id, owner.deadline_ms, self.lineage, self.environment)
        annotation = annotation_of(command, self.environment)
        step = Step(draft, command.kind, command.label, owner.id, codec, annotation)
        step.remote = not command.local
        step.generated = command.opts.id is None
        self.steps[step.id] = step
        if record is not None and record["state"] != PENDING:
            step.take(record)
        elif command.local:
            self._start_local(owner, step, command, record)
        else:
            self._start_remote(owner, step, known=record is not None)
        return step

    def _check(self, record: Record, command: Command[Any], owner: Body) -> None:
        where = self._where(owner)
        root_id = self.lineage.root_id
        error = divergence(
            record, root_id=root_id, parent=owner.id, kind=command.kind, label=command.label, where=where
        )
        if error is not None:
            self._stop(error)

    def _is_mine(self, step: Step, record: Record, owner: Body | None) -> bool:
        """Check the answer to a creation: under a generated id somebody else's promise may have been found."""
        if not step.generated or record["tags"].get(tags.PARENT) == step.owner:
            return True
        self.verdict = divergence(
            record,
            root_id=self.lineage.root_id,
            parent=step.owner,
            kind=step.kind,
            label=step.label,
            where="an unknown line" if owner is None else self._where(owner),
        )
        self.poke()
        return False

    def _stop(self, error: ResonateError) -> None:
        """End the execution: a body must not be able to go on by catching this."""
        self.verdict = error
        self.poke()
        raise Stopped

    def _where(self, body: Body) -> str:
        return body.driver.where() if body.driver is not None else "an unknown line"

    # -- steps of other executions and of the server

    def _start_remote(self, owner: Body, step: Step, *, known: bool) -> None:
        if known:
            step.known = Known.YES
        else:
            owner.ensure_created()
            self.ask(step, owner)

    def ask(self, step: Step, owner: Body | None = None) -> None:
        """Create the promise of a step; an existing one answers with its state."""
        assert step.draft is not None
        if step.known is Known.NO:
            step.known = Known.QUEUED
        self.outbox.push(
            Operation(
                step.draft,
                lambda record: self._answered(step, record, owner),
                lambda reply: self._refused(step, reply),
                wakes=step.kind == PROMISE or not step.remote,
                hands_out=True,
            )
        )

    def _answered(self, step: Step, record: Record, owner: Body | None) -> None:
        if step.settled or not self._is_mine(step, record, owner):
            return
        step.known = Known.YES
        if record["state"] != PENDING:
            self.settle(step, record)
            return
        waiting = self._local.pop(step.id, None)
        if waiting is not None:
            self._join_or_run(step, record, *waiting)
        elif step.kind == PROMISE or step.created_waiters:
            self._tell(step, step.created_waiters)

    def _refused(self, step: Step, reply: Reply) -> None:
        step.outside = ResonateStoreError(f"promise {step.id!r}: {reply.data}", reply.status * 100)
        self._local.pop(step.id, None)
        step.give(None, step.outside)
        self._settled(step)

    # -- steps of this execution

    def _start_local(self, owner: Body, step: Step, command: Command[Any], record: Record | None) -> None:
        step.durable = command.opts.durable is not False
        if record is not None:
            self._join_or_run(step, record, owner, command)
        elif step.durable and not command.inline and (command.opts.id is not None or self.truncated):
            # somebody else may have made it, and may be running it, or its record was left out: look first (D9, D10)
            self._local[step.id] = (owner, command)
            step.known = Known.QUEUED
            owner.ensure_created()
            self.ask(step, owner)
        else:
            self._run(step, owner, command)

    def _join_or_run(self, step: Step, record: Record, owner: Body, command: Command[Any]) -> None:
        """Run a local call whose promise is pending, or wait for the execution it belongs to."""
        assert step.draft is not None
        step.known = Known.YES
        step.draft.timeout_at = record["timeoutAt"]
        if record["tags"].get(tags.BRANCH) == self.lineage.branch:
            self._run(step, owner, command)
        else:
            step.remote = True

    def _run(self, step: Step, owner: Body, command: Command[Any]) -> None:
        assert command.func is not None
        opts = command.opts
        kind = "plain" if command.inline else kind_of(command.func)
        assert step.draft is not None
        entry = entry_of(command, self.environment)
        work = Work(
            promise_id=step.id,
            func=command.func,
            kind=kind,
            inline=command.inline,
            args=command.args,
            kwargs=command.kwargs,
            deadline_ms=step.timeout_at,
            tags=step.draft.tags,
            version=1 if entry is None else entry.version,
            retry_policy=opts.retry_policy or (None if entry is None else entry.retry_policy),
            non_retryable=opts.non_retryable_exceptions or (() if entry is None else entry.non_retryable_exceptions),
        )
        body = Body(self, self.surroundings, work, step=step, parent=owner)
        step.body = body
        if kind == "generator" or command.inline:
            self.schedule(body.start)
        else:
            self.outbox.when_durable(lambda: self.schedule(self._start_leaf, body))

    def _start_leaf(self, body: Body) -> None:
        body.start()
        step = body.step
        if step is None or not body.attempt or not step.durable or step.known is not Known.NO or step.settled:
            return
        assert step.draft is not None
        step.early = True
        self._early.add(step)
        fence = TaskFence(self.lineage.root_id, self.session.version, step.draft, children=self._preload)
        self.session.show_early(fence, self.environment.slow_leaf_s)

    def _disarm(self, step: Step) -> None:
        """Stop the early creation of a leaf; if it may be on its way, the leaf counts as created."""
        if step.early:
            step.early = False
            self._early.discard(step)
            if self.session.shown(step.id) and step.known is Known.NO:
                step.known = Known.YES

    def show(self, step: Step) -> None:
        """Create the promise of a local step as pending, unless it exists (D9)."""
        self._disarm(step)
        if step.settled or step.known is not Known.NO or not step.durable or self.stopped:
            return
        if step.body is not None and step.body.parent is not None:
            step.body.parent.ensure_created()  # a child is never durable before its parent
        assert step.draft is not None
        step.known = Known.QUEUED
        operation = Operation(
            step.draft, lambda record: self._shown(step, record), lambda reply: self._refused(step, reply), wakes=False
        )
        self.outbox.push(operation)
        self.poke()

    def _shown(self, step: Step, record: Record) -> None:
        if step.settled:
            return
        step.known = Known.YES
        if record["state"] != PENDING:
            self.settle(step, record)  # its deadline came, or somebody settled it: the result will be dropped

    def forget(self, step: Step) -> None:
        """Drop a step that has no promise: the next attempt runs it again."""
        if self.steps.get(step.id) is step:
            del self.steps[step.id]

    def ended(self, body: Body, value: Any, error: BaseException | None) -> None:
        """Take the final outcome of a body: record it, or keep it for the fulfil."""
        step = body.step
        if step is not None:
            self._disarm(step)
        if step is None:
            self.result = (value, error)
            self.poke()
        elif step.settled:
            return  # by its deadline or by somebody else: what was computed is dropped (B9)
        elif not step.durable:
            step.give(value, error if error is None or isinstance(error, Exception) else _plain_error(error))
            self._settled(step)
        else:
            self._record(step, body, value, error)

    def _record(self, step: Step, body: Body, value: Any, error: BaseException | None) -> None:
        state, encoded = settlement(step.codec, value, error, f"result of {step.label}")
        if body.parent is not None:
            body.parent.ensure_created()
        assert step.draft is not None
        settle = PromiseSettle(step.id, state, encoded)
        if step.known is Known.NO and not self._records:
            self.show(step)
        action = PromiseRecord(step.draft, settle) if step.known is Known.NO else settle
        step.known = Known.QUEUED if step.known is Known.NO else step.known

        def answered(record: Record) -> None:
            if not step.settled and self._is_mine(step, record, body.parent):
                step.take(record)
                if state == RESOLVED and record["state"] == RESOLVED:
                    step.remember(value, encoded)
                self._settled(step)

        def refused(reply: Reply) -> None:
            self._not_recorded(step, body, reply, value, error)

        self.outbox.push(Operation(action, answered, refused, wakes=True))
        self.poke()

    def _not_recorded(self, step: Step, body: Body, reply: Reply, value: Any, error: BaseException | None) -> None:
        """Record that the result was refused (too large, for example); if that is refused as well, tell the caller."""
        if step.settled:
            return
        if reply.status == 404:  # its early creation never arrived
            step.known = Known.NO
            self._record(step, body, value, error)
        elif step.outside is None:
            step.outside = ResonateStoreError(f"result of {step.label} [{step.id}]: {reply.data}", reply.status * 100)
            if step.known is Known.QUEUED:
                step.known = Known.NO
            self._record(step, body, None, step.outside)
        else:
            self._refused(step, reply)

    # -- settling

    def settle(self, step: Step, record: Record) -> None:
        """Take a settled record as the outcome of a step."""
        if not step.settled:
            step.take(record)
            self._settled(step)

    def _settled(self, step: Step) -> None:
        self._tell(step, step.created_waiters)
        self._tell(step, step.waiters)
        self._tell(step, step.enders)

    def _tell(self, step: Step, waiters: list[Callable[[Step], None]]) -> None:
        if waiters:
            told = waiters[:]
            waiters.clear()
            for waiter in told:
                waiter(step)

    def refresh(self, records: Iterable[Record]) -> set[str]:
        """Take records of an acquire or a 300; returns their ids. A settled record is never replaced."""
        seen: set[str] = set()
        for record in records:
            promise_id = record["id"]
            seen.add(promise_id)
            step = self.steps.get(promise_id)
            if step is None:
                known = self.cache.get(promise_id)
                if known is None or known["state"] == PENDING:
                    self.cache[promise_id] = record
            elif step.remote and not step.settled and record["state"] != PENDING:
                self.settle(step, record)
        return seen

    # -- waiting

    def awaited(self) -> list[Step]:
        """Return the steps whose settlement lets the execution go on: one of a set that is awaited whole (D10)."""
        found: dict[str, Step] = {}
        for body in self.bodies:
            if body.closing:
                step = next((one for one in body.open if one.remote and not one.settled), None)
                if step is not None:
                    found[step.id] = step
            elif body.driver is not None:
                for step in body.driver.waiting_for():
                    if step.remote and not step.settled:
                        found[step.id] = step
        return list(found.values())

    def evict(self) -> list["asyncio.Task[Any]"]:
        """Drop every body, the innermost first; returns the tasks that still tear down."""
        bodies = sorted(self.bodies, key=_depth, reverse=True)
        for body in bodies:
            body.evict()
        for one in list(self._early):
            self._disarm(one)
        tasks = [getattr(body.driver, "task", None) for body in bodies if not isinstance(body.driver, GeneratorDriver)]
        return [task for task in tasks if task is not None]


def settlement(codec: Codec, value: Any, error: BaseException | None, path: str) -> tuple[str, Value]:
    """Return the state and value a result is settled with; a value that has no JSON form is an error of its own."""
    if error is None:
        try:
            return RESOLVED, codec.encode(value, path)
        except EncodeError as refused:
            error = refused
    return REJECTED, codec.encode_error(error)


def _plain_error(error: BaseException) -> Exception:
    return RemoteError(type(error).__name__, str(error))


def _depth(body: Body) -> int:
    depth = 0
    while body.parent is not None:
        body, depth = body.parent, depth + 1
    return depth


def _not_yieldable(yielded: object) -> str:
    what = f"{type(yielded).__name__} {yielded!r:.80}"
    if inspect.iscoroutine(yielded):
        yielded.close()
        return f"yielded the coroutine {what}: pass the function instead, `yield ctx.run(function, ...)`"
    if hasattr(yielded, "send"):
        return f"yielded the generator {what}: write `yield from` for a helper, `yield ctx.run(f, ...)` for a step"
    return f"yielded {what}: a durable function yields context calls (ctx.run, ctx.rpc, ctx.sleep, ...) and promises"


def _nothing() -> None:
    return
