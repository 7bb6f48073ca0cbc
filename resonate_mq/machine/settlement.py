"""How a promise leaves pending, and what follows in the same step (protocol sections 3.0 and 3.23)."""

from collections.abc import Iterable

from resonate_mq.machine.rules import HINT_CLAIM_MS
from resonate_mq.machine.state import State
from resonate_mq.protocol.records import (
    EMPTY,
    FULFILLED,
    PENDING,
    RESOLVED,
    SUSPENDED,
    TIMEDOUT,
    Promise,
    Task,
    Value,
)


def expire(state: State, ids: Iterable[str], now_ms: int) -> None:
    """Settle those of `ids` that are pending past their deadline.

    All are settled before anyone is resumed, so that an awaiter that expires in the same step is not resumed.
    """
    settled: list[Promise] | None = None
    for promise_id in ids:
        promise = state.promise(promise_id)
        if promise is not None and promise.state == PENDING and promise.timeout_at <= now_ms:
            conclude(state, promise, deadline_verdict(promise.tags), EMPTY, promise.timeout_at)
            if settled is None:
                settled = []
            settled.append(promise)
    if settled is not None:
        for promise in settled:
            resume_awaiters(state, promise, now_ms)


def deadline_verdict(tags: dict[str, str]) -> str:
    """Return the state a deadline gives: a timer resolves, anything else times out."""
    return RESOLVED if tags.get("resonate:timer") == "true" else TIMEDOUT


def settle(state: State, promise: Promise, verdict: str, value: Value, now_ms: int) -> None:
    """Settle a live promise by a client's verdict, fulfil its task and resume its awaiters."""
    conclude(state, promise, verdict, value, now_ms)
    resume_awaiters(state, promise, now_ms)


def conclude(state: State, promise: Promise, verdict: str, value: Value, at_ms: int) -> None:
    """Write the settlement and fulfil the task. Listeners stay: they are the unblocks not yet confirmed (D17)."""
    state.edit(promise)
    promise.state = verdict
    promise.value = value
    promise.settled_at = at_ms
    task = promise.task
    if task is not None and task.state != FULFILLED:
        stop_awaiting(state, promise.id, task)
        leave(task, FULFILLED)
        task.resumes = ()
        task.reason = None


def resume_awaiters(state: State, promise: Promise, now_ms: int) -> None:
    """Tell each task that awaits `promise`; one past its own deadline is left alone (protocol section 8.2, C6)."""
    awaiters = promise.awaiters
    if not awaiters:
        return
    state.require(awaiters)
    state.edit(promise)
    promise.awaiters = ()
    for awaiter_id in awaiters:
        awaiter = state.promise(awaiter_id)
        if awaiter is None or awaiter.task is None:
            continue
        state.edit(awaiter)
        task = awaiter.task
        task.awaiting = without(task.awaiting, promise.id)
        if awaiter.is_live_at(now_ms):
            resume(task, promise.id, now_ms)


def resume(task: Task, awaited_id: str, now_ms: int) -> None:
    """Note that `awaited_id` settled; a suspended task becomes pending at the same version."""
    if task.state == SUSPENDED:
        task.resumes = (awaited_id,)
        enter_pending(task, now_ms)
    elif task.state != FULFILLED and awaited_id not in task.resumes:
        task.resumes = (*task.resumes, awaited_id)


def enter_pending(task: Task, now_ms: int) -> None:
    """Make the task available: its hint is due at once and claimed by the committing server (D17)."""
    leave(task, PENDING)
    task.hint_due_at = now_ms + HINT_CLAIM_MS
    task.hint_attempt = 0


def leave(task: Task, new_state: str) -> None:
    """Enter `new_state` without holder, lease or hint; the version stays."""
    task.state = new_state
    task.pid = None
    task.ttl_ms = None
    task.lease_at = None
    task.claim = None
    task.hint_due_at = None
    task.hint_attempt = 0


def stop_awaiting(state: State, promise_id: str, task: Task) -> None:
    """Remove `task` as awaiter everywhere.

    An awaited promise that is not loaded keeps nothing: the relation is stored on the awaiter's side.
    """
    for awaited_id in task.awaiting:
        awaited = state.promises.get(awaited_id)
        if awaited is not None:
            state.edit(awaited)
            awaited.awaiters = without(awaited.awaiters, promise_id)
    task.awaiting = ()


def without(ids: tuple[str, ...], gone: str) -> tuple[str, ...]:
    """Return `ids` less `gone`."""
    return tuple(one for one in ids if one != gone)
