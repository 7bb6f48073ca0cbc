"""promise.* transitions (protocol sections 3.1 to 3.5, D6, D7, D9)."""

from resonate_mq.machine import settlement
from resonate_mq.machine.settlement import expire
from resonate_mq.machine.state import State
from resonate_mq.protocol.envelope import Reply
from resonate_mq.protocol.records import ACQUIRED, FULFILLED, PENDING, SUSPENDED, Promise, Task
from resonate_mq.protocol.requests import (
    PromiseCreate,
    PromiseGet,
    PromiseRecord,
    PromiseSettle,
    RegisterCallback,
    RegisterListener,
)

NOT_FOUND = Reply(404, "Promise not found")


def get(request: PromiseGet, state: State, now_ms: int) -> Reply:
    """Answer the record."""
    expire(state, (request.id,), now_ms)
    promise = state.promise(request.id)
    return NOT_FOUND if promise is None else Reply(200, {"promise": promise.wire()})


def create(request: PromiseCreate, state: State, now_ms: int) -> Reply:
    """Create the promise, or answer the stored one: always 200 (section 3.2)."""
    return Reply(200, {"promise": obtain(request, state, now_ms)[0].wire()})


def obtain(request: PromiseCreate, state: State, now_ms: int) -> tuple[Promise, bool]:
    """Return the promise of a create request and whether it was born now."""
    expire(state, (request.id,), now_ms)
    promise = state.promise(request.id)
    if promise is not None:
        return promise, False
    promise = unborn(request, now_ms)
    if request.target is not None and promise.state == PENDING:
        promise.task = Task(PENDING)
        if not promise.is_timer():  # a timer is never dispatched: it has nothing to run (D6)
            settlement.enter_pending(promise.task, now_ms)
            if request.delay_at is not None and request.delay_at > now_ms:
                promise.task.hint_due_at = request.delay_at
                promise.task.hint_attempt = -1
    state.insert(promise)
    return promise, True


def unborn(request: PromiseCreate, now_ms: int) -> Promise:
    """Return the new promise, not yet inserted: pending, or settled at birth when its deadline has come (D7).

    A targeted promise that is dead at birth has its fulfilled task; a living one gets its task from the caller.
    """
    if now_ms < request.timeout_at:
        return Promise(request.id, request.param, request.tags, request.timeout_at, now_ms)
    promise = Promise(request.id, request.param, request.tags, request.timeout_at, request.timeout_at)
    promise.state = settlement.deadline_verdict(request.tags)
    promise.settled_at = request.timeout_at
    if request.target is not None:
        promise.task = Task(FULFILLED)
    return promise


def settle(request: PromiseSettle, state: State, now_ms: int) -> Reply:
    """Settle a pending promise; a settled one answers its record with 200 (section 3.3)."""
    promise = conclude(request, state, now_ms)[0]
    return NOT_FOUND if promise is None else Reply(200, {"promise": promise.wire()})


def conclude(request: PromiseSettle, state: State, now_ms: int) -> tuple[Promise | None, bool]:
    """Return the promise of a settle request, and whether this request settled it."""
    expire(state, (request.id,), now_ms)
    promise = state.promise(request.id)
    if promise is None or promise.state != PENDING:
        return promise, False
    settlement.settle(state, promise, request.state, request.value, now_ms)
    return promise, True


def record(request: PromiseRecord, state: State, now_ms: int) -> Promise:
    """Create and settle at one instant (D9); what is stored already wins, as in the two single steps."""
    promise, _ = obtain(request.create, state, now_ms)
    if promise.state == PENDING:
        settlement.settle(state, promise, request.settle.state, request.settle.value, now_ms)
    return promise


def register_callback(request: RegisterCallback, state: State, now_ms: int) -> Reply:
    """Let the settlement of one promise resume the task of another (section 3.4)."""
    state.require((request.awaited, request.awaiter))
    expire(state, (request.awaited, request.awaiter), now_ms)
    awaited, awaiter = state.promise(request.awaited), state.promise(request.awaiter)
    if awaited is None:
        return Reply(404, "Awaited promise not found")
    if awaiter is None:
        return Reply(422, "Awaiter promise not found")
    task = awaiter.task
    if task is None:
        return Reply(422, "Awaiter promise has no resonate:target tag")
    if awaiter.state == PENDING:
        if awaited.state == PENDING:
            await_promise(state, awaited, awaiter)
        elif task.state in (SUSPENDED, PENDING, ACQUIRED):
            state.edit(awaiter)
            settlement.resume(task, awaited.id, now_ms)
    return Reply(200, {"promise": awaited.wire()})


def await_promise(state: State, awaited: Promise, awaiter: Promise) -> None:
    """Register the task of `awaiter` on the pending promise `awaited`; idempotent."""
    task = awaiter.task
    if task is None or awaited.id in task.awaiting:
        return
    state.edit(awaited)
    state.edit(awaiter)
    awaited.awaiters = (*awaited.awaiters, awaiter.id)
    task.awaiting = (*task.awaiting, awaited.id)


def register_listener(request: RegisterListener, state: State, now_ms: int) -> Reply:
    """Have an address told of the settlement (section 3.5); on a settled promise nothing is stored."""
    expire(state, (request.awaited,), now_ms)
    promise = state.promise(request.awaited)
    if promise is None:
        return Reply(404, "Awaited promise not found")
    if promise.state == PENDING and request.address not in promise.listeners:
        state.edit(promise)
        promise.listeners = (*promise.listeners, request.address)
    return Reply(200, {"promise": promise.wire()})
