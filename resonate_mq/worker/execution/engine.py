"""The shared state of one execution: its steps, its bodies, what it wants sent. Does no I/O and awaits nothing.

`execution.Execution` sends what is in the outbox and brings the answers back; bodies ask for steps here.
"""

import asyncio
from collections.abc import Callable, Iterable
from typing import Any

from resonate_mq.functions.commands import DETACHED, Command, Promise
from resonate_mq.functions.context import Surroundings
from resonate_mq.functions.errors import ContextMisuseError, ResonateError, ResonateStoreError
from resonate_mq.functions.registry import kind_of
from resonate_mq.protocol import tags
from resonate_mq.protocol.envelope import Reply
from resonate_mq.protocol.records import PENDING, Value
from resonate_mq.protocol.requests import PromiseCreate
from resonate_mq.worker.execution.body import Body, Work
from resonate_mq.worker.execution.divergence import divergence, mismatch, not_yieldable, shown
from resonate_mq.worker.execution.drafts import Lineage, annotation_of, codec_of, draft_local, draft_remote, entry_of
from resonate_mq.worker.execution.drivers import GeneratorDriver
from resonate_mq.worker.execution.environment import Environment
from resonate_mq.worker.execution.outbox import Operation, Outbox
from resonate_mq.worker.execution.port import Stopped
from resonate_mq.worker.execution.recording import Recording
from resonate_mq.worker.execution.session import Session
from resonate_mq.worker.execution.step import Known, Step
from resonate_mq.worker.execution.turns import Turns
from resonate_mq.worker.execution.waiting import awaited_by, innermost_first

Record = dict[str, Any]


class ExecutionEngine:
    """See `port.Engine` for what bodies use; the rest is for `Execution`.

    Attributes:
        steps: by promise id; settled ones stay, a retried generator meets them again.
        cache: records of the preload no step has claimed yet.
        truncated: the preload may lack records: a step that is not found is asked for before it is run.
        leased: False from the moment a suspend is sent until the task is held again.
        turns: what is scheduled in this turn.
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
        self.turns = Turns()
        self._parked: list[Callable[[], None]] = []
        self._long_waits = 0
        self.truncated = session.truncated
        self._recording = Recording(self, session, environment)
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

    def schedule(self, callback: Callable[..., None], *args: Any) -> None:
        """Call back in this turn; a body is never driven from inside another one's call."""
        self.turns.add(callback, *args)

    def drain(self) -> None:
        """Do what was scheduled, then tell the execution."""
        self.turns.run()
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
        raise TypeError(not_yieldable(yielded))

    def promise_of(self, step: Step, body: Body) -> Promise[Any]:
        """Return the `Promise` of a step."""
        return Promise(step.id, self.lineage.root_id, body)

    def _begin(self, body: Body, command: Command[Any]) -> Step:
        owner = command.host
        if not isinstance(owner, Body) or owner.engine is not self or owner.context is None:
            raise ContextMisuseError(f"{command!r} was made by the context of another execution")
        if owner is not body:  # replayed, a body that is done is not run, and this call would have another number
            whose = f"the context of {owner.id!r}, but {body.id!r} runs: use its own"
            raise ContextMisuseError(f"{command!r} was made by {whose}")
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
            error = self._divergence(record, command, owner.id, owner)
            if error is not None:
                self._stop(error)
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

    def _divergence(self, record: Record, asked: Step | Command[Any], parent: str, owner: Body | None) -> Any:
        return divergence(
            record,
            root_id=self.lineage.root_id,
            parent=parent,
            kind=asked.kind,
            label=asked.label,
            where=lambda: "an unknown line" if owner is None else self._where(owner),
        )

    def is_mine(self, step: Step, record: Record, owner: Body | None) -> bool:
        """Check the answer to a creation: under a generated id another step, or another's promise, may be found."""
        error = self._divergence(record, step, step.owner, owner) if step.generated else None
        if error is None:
            return True
        self.verdict = error
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
                step,
                step.draft,
                lambda record: self._answered(step, record, owner),
                lambda reply: self.refused(step, reply),
                wakes=not step.remote,
                hands_out=True,
            )
        )

    def _answered(self, step: Step, record: Record, owner: Body | None) -> None:
        if step.settled or not self.is_mine(step, record, owner):
            return
        step.known = Known.YES
        if record["state"] != PENDING:
            self.settle(step, record)
            return
        waiting = self._local.pop(step.id, None)
        if waiting is not None:
            self._join_or_run(step, record, *waiting)
        else:
            self._tell(step, step.created_waiters)

    def refused(self, step: Step, reply: Reply) -> None:
        """Give up on a promise the server does not accept: who awaits it is told why."""
        step.outside = ResonateStoreError(f"promise {step.id!r}: {reply.data}", reply.status * 100)
        self._local.pop(step.id, None)
        step.give(None, step.outside)
        self.told_settled(step)

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
        if body.step is not None and body.attempt:
            self._recording.arm(body.step)

    def forget(self, step: Step) -> None:
        """Drop a step that has no promise: the next attempt runs it again."""
        if self.steps.get(step.id) is step:
            del self.steps[step.id]

    def show(self, step: Step) -> None:
        """Create the promise of a local step as pending, unless it exists (D9)."""
        self._recording.show(step)

    def ended(self, body: Body, value: Any, error: BaseException | None) -> None:
        """Take the final outcome of a body: record it, or keep it for the fulfil."""
        if body.step is None:
            self.result = (value, error)
            self.poke()
        else:
            self._recording.ended(body.step, body.parent, value, error)

    # -- settling

    def settle(self, step: Step, record: Record) -> None:
        """Take a settled record as the outcome of a step."""
        if not step.settled:
            step.take(record)
            self.told_settled(step)

    def told_settled(self, step: Step) -> None:
        """Tell everybody who waits for a step that it is settled."""
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
            elif step.settled:
                continue
            elif record["state"] != PENDING:
                self.settle(step, record)
            elif step.remote:
                step.known = Known.YES
        return seen

    # -- waiting

    def awaited(self) -> list[Step]:
        """Return the steps whose settlement lets the execution go on."""
        return awaited_by(self.bodies)

    def evict(self) -> list["asyncio.Task[Any]"]:
        """Drop every body, the innermost first; returns the tasks that still tear down."""
        bodies = innermost_first(self.bodies)
        for body in bodies:
            body.evict()
        self._recording.stop()
        tasks = [getattr(body.driver, "task", None) for body in bodies if not isinstance(body.driver, GeneratorDriver)]
        return [task for task in tasks if task is not None]


def _nothing() -> None:
    return
