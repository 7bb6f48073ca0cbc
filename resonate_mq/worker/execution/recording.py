"""How local steps become durable: one record when they are done, or shown as pending first (D9).

Knows what to tell the server about a step and when; who runs it and who waits for it is the engine's.
"""

from collections.abc import Callable
from typing import Any, Protocol

from resonate_mq.functions.codec import Codec
from resonate_mq.functions.errors import EncodeError, RemoteError, ResonateStoreError
from resonate_mq.protocol.envelope import Reply
from resonate_mq.protocol.records import PENDING, REJECTED, RESOLVED, Value
from resonate_mq.protocol.requests import PromiseRecord, PromiseSettle, TaskFence
from resonate_mq.worker.execution.body import Body
from resonate_mq.worker.execution.environment import Environment
from resonate_mq.worker.execution.outbox import Operation, Outbox
from resonate_mq.worker.execution.session import Session
from resonate_mq.worker.execution.step import Known, Step

Record = dict[str, Any]


class Keeper(Protocol):
    """What recording needs of the engine."""

    outbox: Outbox
    poke: Callable[[], None]

    @property
    def stopped(self) -> bool:
        """Tell whether nothing more is to be recorded."""
        ...

    def is_mine(self, step: Step, record: Record, owner: Body | None) -> bool:
        """Check that a record under a generated id is this execution's."""
        ...

    def refused(self, step: Step, reply: Reply) -> None:
        """Give up on a promise the server does not accept."""
        ...

    def settle(self, step: Step, record: Record) -> None:
        """Take a settled record as the outcome."""
        ...

    def told_settled(self, step: Step) -> None:
        """Tell who waits that the step is settled."""
        ...


class Recording:
    """Records the local steps of one execution."""

    def __init__(self, keeper: Keeper, session: Session, environment: Environment) -> None:
        self._keeper = keeper
        self._session = session
        self._after_s = environment.slow_leaf_s
        self._records = "promise.record" in session.capabilities
        self._preload = "preload" in session.capabilities
        self._early: set[Step] = set()

    def arm(self, step: Step) -> None:
        """Have a leaf that just started shown as pending if it runs for longer than a moment."""
        if not step.durable or step.known is not Known.NO or step.settled:
            return
        assert step.draft is not None
        step.early = True
        self._early.add(step)
        fence = TaskFence(self._session.id, self._session.version, step.draft, children=self._preload)
        self._session.show_early(fence, self._after_s)

    def stop(self) -> None:
        """Show nothing more."""
        for step in list(self._early):
            self._disarm(step)

    def _disarm(self, step: Step) -> None:
        """Stop the early creation of a leaf; if it may be on its way, the leaf counts as created."""
        if step.early:
            step.early = False
            self._early.discard(step)
            if self._session.shown(step.id) and step.known is Known.NO:
                step.known = Known.YES

    def show(self, step: Step) -> None:
        """Create the promise of a local step as pending, unless it exists."""
        self._disarm(step)
        if step.settled or step.known is not Known.NO or not step.durable or self._keeper.stopped:
            return
        if step.body is not None and step.body.parent is not None:
            step.body.parent.ensure_created()  # a child is never durable before its parent
        assert step.draft is not None
        step.known = Known.QUEUED

        def answered(record: Record) -> None:
            if not step.settled:
                step.known = Known.YES
                if record["state"] != PENDING:  # its deadline came, or somebody settled it: the result is dropped
                    self._keeper.settle(step, record)

        def refused(reply: Reply) -> None:
            if not step.settled:
                self._keeper.refused(step, reply)

        self._keeper.outbox.push(Operation(step, step.draft, answered, refused))
        self._keeper.poke()

    def ended(self, step: Step, parent: Body | None, value: Any, error: BaseException | None) -> None:
        """Take the final outcome of a step that was run."""
        self._disarm(step)
        if step.settled:
            return  # by its deadline or by somebody else: what was computed is dropped (B9)
        if not step.durable:
            step.give(value, error if error is None or isinstance(error, Exception) else _as_exception(error))
            self._keeper.told_settled(step)
        else:
            self._record(step, parent, value, error)

    def _record(self, step: Step, parent: Body | None, value: Any, error: BaseException | None) -> None:
        state, encoded = settlement(step.codec, value, error, f"result of {step.label}")
        if parent is not None:
            parent.ensure_created()
        if step.known is Known.NO and not self._records:
            self.show(step)
        assert step.draft is not None
        settle = PromiseSettle(step.id, state, encoded)
        action: PromiseRecord | PromiseSettle = settle
        if step.known is Known.NO:
            action = PromiseRecord(step.draft, settle)
            step.known = Known.QUEUED

        def answered(record: Record) -> None:
            if not step.settled and self._keeper.is_mine(step, record, parent):
                step.take(record)
                if state == RESOLVED and record["state"] == RESOLVED:
                    step.remember(value, encoded)
                self._keeper.told_settled(step)

        def refused(reply: Reply) -> None:
            if not step.settled:
                self._not_recorded(step, parent, reply, (value, error))

        self._keeper.outbox.push(Operation(step, action, answered, refused, wakes=True))
        self._keeper.poke()

    def _not_recorded(
        self, step: Step, parent: Body | None, reply: Reply, outcome: tuple[Any, BaseException | None]
    ) -> None:
        """Record that the result was refused (too large, for example); if that is refused as well, tell the caller."""
        if reply.status == 404:  # its early creation never arrived
            step.known = Known.NO
            self._record(step, parent, *outcome)
        elif step.outside is None:
            step.outside = ResonateStoreError(f"result of {step.label} [{step.id}]: {reply.data}", reply.status * 100)
            if step.known is Known.QUEUED:
                step.known = Known.NO
            self._record(step, parent, None, step.outside)
        else:
            self._keeper.refused(step, reply)


def settlement(codec: Codec, value: Any, error: BaseException | None, path: str) -> tuple[str, Value]:
    """Return the state and value a result is settled with; a value that has no JSON form is an error of its own."""
    if error is None:
        try:
            return RESOLVED, codec.encode(value, path)
        except EncodeError as refused:
            error = refused
    return REJECTED, codec.encode_error(error)


def _as_exception(error: BaseException) -> Exception:
    return RemoteError(type(error).__name__, str(error))
