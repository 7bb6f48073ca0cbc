"""task.* transitions (protocol sections 3.7 to 3.16, D8, D10, D14)."""

from typing import Any

from resonate_mq.machine import promises
from resonate_mq.machine.preload import preload, preload_members
from resonate_mq.machine.rules import STALL_LIMIT
from resonate_mq.machine.settlement import enter_pending, expire, leave, settle
from resonate_mq.machine.state import State
from resonate_mq.protocol.envelope import Reply
from resonate_mq.protocol.limits import PROTOCOL_VERSION
from resonate_mq.protocol.records import ACQUIRED, FULFILLED, HALTED, PENDING, SUSPENDED, Promise, Task
from resonate_mq.protocol.requests import (
    PromiseCreate,
    PromiseRecord,
    TaskAcquire,
    TaskContinue,
    TaskCreate,
    TaskFence,
    TaskFulfill,
    TaskGet,
    TaskHalt,
    TaskHeartbeat,
    TaskRelease,
    TaskSuspend,
)

NOT_FOUND = Reply(404, "Task not found")
LOST = Reply(409, "Task version mismatch or invalid state")


def get(request: TaskGet, state: State, now_ms: int) -> Reply:
    """Answer the record, with the reason of its last release or halt where there is one (D14)."""
    expire(state, (request.id,), now_ms)
    found = _task(state, request.id)
    if found is None:
        return NOT_FOUND
    return Reply(200, {"task": described(*found)})


def described(promise: Promise, task: Task) -> dict[str, Any]:
    """Return the TaskRecord plus `reason` and `stalls` where there is something to say (D14)."""
    record = task.wire(promise.id)
    if task.reason is not None:
        record["reason"] = task.reason
    if task.stalls:
        record["stalls"] = task.stalls
    return record


def create(request: TaskCreate, state: State, now_ms: int) -> Reply:
    """Create a promise whose task the caller holds, or take the pending task of an existing one (section 3.8)."""
    wanted = request.create
    expire(state, (wanted.id,), now_ms)
    promise = state.promise(wanted.id)
    if promise is None:
        promise = promises.unborn(wanted, now_ms)
        task = promise.task
        if task is None:
            task = promise.task = Task(PENDING)
            _take(task, request, now_ms)
        state.insert(promise)
    else:
        task = promise.task
        if task is None:
            return Reply(422, "The promise does not have a resonate:target tag")
        if task.state == PENDING:
            state.edit(promise)
            _take(task, request, now_ms)
        elif task.state != FULFILLED and not _is_repeat(task, request):
            return Reply(409, "Already exists")
    records: dict[str, Any] = {"preload": []}
    if task.state == ACQUIRED and not _is_first(request, task):
        records = preload_members(state, promise, now_ms, children=request.children)
    return Reply(200, {"task": task.wire(promise.id), "promise": promise.wire(), **records})


def acquire(request: TaskAcquire, state: State, now_ms: int) -> Reply:
    """Give the caller the lease of a pending task, at version + 1 (section 3.9)."""
    expire(state, (request.id,), now_ms)
    found = _task(state, request.id)
    if found is None:
        return NOT_FOUND
    promise, task = found
    if task.state == PENDING:
        if task.version != request.version:
            return Reply(409, "Version mismatch")
        state.edit(promise)
        _take(task, request, now_ms)
    elif not (_is_repeat(task, request) and task.version == request.version + 1):
        return Reply(409, "Task is not pending")
    records: dict[str, Any] = {"preload": []}
    if not _is_first(request, task):
        records = preload_members(state, promise, now_ms, children=request.children)
    return Reply(200, {"task": task.wire(promise.id), "promise": promise.wire(), **records})


def _take(task: Task, request: TaskAcquire | TaskCreate, now_ms: int) -> None:
    leave(task, ACQUIRED)
    task.version += 1
    task.pid = task.last_pid = request.pid
    task.ttl_ms = request.ttl_ms
    task.lease_at = now_ms + request.ttl_ms
    task.resumes = ()
    task.claim = request.claim
    task.progressed = False
    task.reason = None


def _is_repeat(task: Task, request: TaskAcquire | TaskCreate) -> bool:
    """Tell whether the caller holds the task already by the same claim: its answer was lost (D8)."""
    return (
        task.state == ACQUIRED and request.claim is not None and task.claim == request.claim and task.pid == request.pid
    )


def _is_first(request: TaskAcquire | TaskCreate, task: Task) -> bool:
    # nothing can have been recorded through a task that was never held before: spares a look-up (D10)
    return request.children and task.version == 1


def release(request: TaskRelease, state: State, now_ms: int) -> Reply:
    """Give the lease back; the task is pending again, or halted when it stalled too often (section 3.10, D14)."""
    expire(state, (request.id,), now_ms)
    found = _held(state, request.id, request.version)
    if isinstance(found, Reply):
        return found if found is NOT_FOUND else LOST
    promise, task = found
    state.edit(promise)
    if request.counted and _stalled(task, request.reason or "released"):
        return Reply(200, {})
    enter_pending(task, now_ms)
    task.reason = request.reason
    if request.delay_ms:
        task.hint_due_at = now_ms + request.delay_ms
        task.hint_attempt = -1
    return Reply(200, {})


def _stalled(task: Task, what: str) -> bool:
    """Count an acquisition that ended; halt the task and return True after too many without progress (D14)."""
    task.stalls = 0 if task.progressed else task.stalls + 1
    if task.stalls < STALL_LIMIT:
        return False
    leave(task, HALTED)
    task.reason = f"halted after {task.stalls} acquisitions without progress; last: {what}"
    return True


def lose_lease(state: State, promise: Promise, task: Task, now_ms: int) -> None:
    """End an expired lease: pending again at the same version, or halted when it stalled too often."""
    state.edit(promise)
    holder = task.pid
    if not _stalled(task, f"lease of {holder} expired"):
        enter_pending(task, now_ms)
        task.reason = f"lease of {holder} expired"


def fulfill(request: TaskFulfill, state: State, now_ms: int) -> Reply:
    """Settle the task's own promise under the fence of its version (section 3.11)."""
    expire(state, (request.id,), now_ms)
    found = _held(state, request.id, request.version)
    if isinstance(found, Reply):
        return found if found is NOT_FOUND else LOST
    promise, _ = found
    settle(state, promise, request.settle.state, request.settle.value, now_ms)
    return Reply(200, {"promise": promise.wire()})


def suspend(request: TaskSuspend, state: State, now_ms: int) -> Reply:
    """Wait for any of the awaited promises; 300 when one is settled already (sections 3.12, 3.23)."""
    state.require((request.id, *request.awaited))
    expire(state, (request.id, *request.awaited), now_ms)
    found = _held(state, request.id, request.version)
    if isinstance(found, Reply):
        return found if found is NOT_FOUND else Reply(409, "Task is not acquired or version mismatch")
    promise, task = found
    awaited = [state.promise(one) for one in request.awaited]
    present = [one for one in awaited if one is not None]
    if len(present) != len(awaited):
        return Reply(422, "Awaited promise not found")
    state.edit(promise)
    task.stalls = 0
    task.resumes = ()
    if any(one.state != PENDING for one in present):
        return Reply(300, preload_members(state, promise, now_ms, children=request.children))
    for one in present:
        promises.await_promise(state, one, promise)
    leave(task, SUSPENDED)
    return Reply(200, {})


def fence(request: TaskFence, state: State, now_ms: int) -> Reply:
    """Create, settle or record another promise, only while the caller holds the task (section 3.13)."""
    action = request.action
    state.require((request.id, action.id))
    expire(state, (request.id, action.id), now_ms)
    found = _held(state, request.id, request.version)
    if isinstance(found, Reply):
        return found if found is NOT_FOUND else Reply(409, "Version mismatch")
    promise, task = found
    target: Promise | None
    if isinstance(action, PromiseCreate):
        target, progress = promises.obtain(action, state, now_ms)
    elif isinstance(action, PromiseRecord):
        before = state.promise(action.id)
        progress = before is None or before.state == PENDING
        target = promises.record(action, state, now_ms)
    else:
        target, progress = promises.conclude(action, state, now_ms)
    if progress and not task.progressed:
        state.edit(promise)
        task.progressed = True
    inner = promises.NOT_FOUND if target is None else Reply(200, {"promise": target.wire()})
    head = {"corrId": request.corr_id, "status": inner.status, "version": PROTOCOL_VERSION}
    records = [] if request.children else preload(state, promise, now_ms, children=False)
    return Reply(200, {"action": {"kind": action.kind, "head": head, "data": inner.data}, "preload": records})


def heartbeat(request: TaskHeartbeat, state: State, now_ms: int) -> Reply:
    """Extend the leases the caller holds at the versions it names; anything else is skipped (section 3.14)."""
    state.require(one for one, _ in request.tasks)
    for task_id, version in request.tasks:
        found = _held(state, task_id, version)
        if isinstance(found, Reply):
            continue
        promise, task = found
        if task.pid == request.pid and promise.is_live_at(now_ms) and task.ttl_ms is not None:
            state.edit(promise)
            task.lease_at = now_ms + task.ttl_ms
    return Reply(200, {})


def halt(request: TaskHalt, state: State, now_ms: int) -> Reply:
    """Stop dispatching a task until it is continued (section 3.15)."""
    expire(state, (request.id,), now_ms)
    found = _task(state, request.id)
    if found is None:
        return NOT_FOUND
    promise, task = found
    if task.state == FULFILLED:
        return Reply(409, "Task is fulfilled")
    if task.state != HALTED:
        state.edit(promise)
        leave(task, HALTED)
    return Reply(200, {})


def resume_halted(request: TaskContinue, state: State, now_ms: int) -> Reply:
    """task.continue: make a halted task pending, its count of stalls forgotten (section 3.16, D14)."""
    expire(state, (request.id,), now_ms)
    found = _task(state, request.id)
    if found is None:
        return NOT_FOUND
    promise, task = found
    if task.state != HALTED:
        return Reply(409, "Task is not halted")
    state.edit(promise)
    enter_pending(task, now_ms)
    task.stalls = 0
    task.reason = None
    return Reply(200, {})


def _task(state: State, task_id: str) -> tuple[Promise, Task] | None:
    promise = state.promise(task_id)
    if promise is None or promise.task is None:
        return None
    return promise, promise.task


def _held(state: State, task_id: str, version: int) -> tuple[Promise, Task] | Reply:
    """Return the task if it is acquired at `version`, else NOT_FOUND or LOST."""
    found = _task(state, task_id)
    if found is None:
        return NOT_FOUND
    task = found[1]
    return found if task.state == ACQUIRED and task.version == version else LOST
