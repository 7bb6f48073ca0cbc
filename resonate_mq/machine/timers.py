"""Background steps: what a timer that came due does (protocol section 4). Each re-checks its own condition."""

from resonate_mq.machine import schedules, tasks
from resonate_mq.machine.background import (
    ExtendLeases,
    FireDeadlines,
    FireLeases,
    FireSchedules,
    ForgetListeners,
    FreeTasks,
    RearmHints,
)
from resonate_mq.machine.settlement import enter_pending, expire
from resonate_mq.machine.state import State
from resonate_mq.protocol.envelope import Reply
from resonate_mq.protocol.records import ACQUIRED, PENDING

DONE = Reply(200, {})


def fire_deadlines(request: FireDeadlines, state: State, now_ms: int) -> Reply:
    """Settle promises past their deadline."""
    state.require(request.ids)
    expire(state, request.ids, now_ms)
    return DONE


def fire_leases(request: FireLeases, state: State, now_ms: int) -> Reply:
    """Take tasks from holders whose lease ended; an expired promise is settled instead (C5)."""
    state.require(request.ids)
    expire(state, request.ids, now_ms)
    for task_id in request.ids:
        promise = state.promise(task_id)
        task = None if promise is None else promise.task
        if promise is None or task is None or task.state != ACQUIRED or task.lease_at is None:
            continue
        if task.lease_at <= now_ms:
            tasks.lose_lease(state, promise, task, now_ms)
    return DONE


def extend_leases(request: ExtendLeases, state: State, now_ms: int) -> Reply:
    """Give holders a whole lease from now after an outage in which they could not renew (D4)."""
    state.require(request.ids)
    for task_id in request.ids:
        promise = state.promise(task_id)
        task = None if promise is None else promise.task
        if promise is None or task is None or task.state != ACQUIRED:
            continue
        if task.lease_at is not None and task.ttl_ms is not None and task.lease_at >= request.valid_at_ms:
            state.edit(promise)
            task.lease_at = max(task.lease_at, now_ms + task.ttl_ms)
    return DONE


def free_tasks(request: FreeTasks, state: State, now_ms: int) -> Reply:
    """Make tasks pending whose holder is known to be dead; not counted as a stall (D20)."""
    state.require(request.ids)
    expire(state, request.ids, now_ms)
    for task_id in request.ids:
        promise = state.promise(task_id)
        if promise is not None and promise.task is not None and promise.task.state == ACQUIRED:
            state.edit(promise)
            enter_pending(promise.task, now_ms)
    return DONE


def rearm_hints(request: RearmHints, state: State, now_ms: int) -> Reply:
    """Write down when sent hints are due again (D17)."""
    state.require(one for one, _, _ in request.sent)
    for task_id, version, due_at in request.sent:
        promise = state.promise(task_id)
        task = None if promise is None else promise.task
        if promise is None or task is None or task.state != PENDING or task.version != version:
            continue
        if task.hint_due_at is not None:
            state.edit(promise)
            task.hint_due_at = due_at
            task.hint_attempt = max(0, task.hint_attempt) + 1
    return DONE


def forget_listeners(request: ForgetListeners, state: State, now_ms: int) -> Reply:
    """Drop listeners of settled promises that were told, or given up (D23)."""
    state.require(one for one, _ in request.delivered)
    for promise_id, address in request.delivered:
        promise = state.promise(promise_id)
        if promise is not None and promise.state != PENDING and address in promise.listeners:
            state.edit(promise)
            promise.listeners = tuple(one for one in promise.listeners if one != address)
    return DONE


def fire_schedules(request: FireSchedules, state: State, now_ms: int) -> Reply:
    """Fire due schedules."""
    for schedule_id in request.ids:
        schedule = state.schedule(schedule_id)
        if schedule is not None:
            schedules.fire(schedule, state, now_ms, request.limit)
    return DONE
