"""debug.* (protocol section 3.21): the derived view of everything stored, and one pass of timers.

What is shown is derived as D17 says: type 0 timeouts are hint instants, messages are hints that are due and
unconfirmed plus the unconfirmed listeners of settled promises.
"""

from collections.abc import Sequence
from typing import Any

from resonate_mq.machine.background import FireDeadlines, FireLeases, FireSchedules
from resonate_mq.machine.rules import HINT_CLAIM_MS
from resonate_mq.machine.state import Footprint
from resonate_mq.protocol.records import ACQUIRED, PENDING, Promise
from resonate_mq.protocol.tags import TARGET
from resonate_mq.server.jobs import Item
from resonate_mq.stores.port import Due, Snapshot, Store

RETRY, LEASE = 0, 1


async def reset(store: Store) -> None:
    """Delete everything."""
    async with store.unit(Footprint()) as unit:
        await unit.reset()
        await unit.commit()


async def snap(store: Store, now_ms: int) -> dict[str, Any]:
    """Return the snapshot object as of `now_ms`."""
    async with store.unit(Footprint()) as unit:
        return view(await unit.snapshot(), now_ms)


def due_steps(due: Due) -> Sequence[Item]:
    """Return what has to be applied for the timers of `due`, in the order of protocol section 4.

    Hints need no step: one that is due shows under `messages` until it is delivered.
    """
    steps: list[Item] = []
    if due.deadlines:
        steps.append(FireDeadlines(tuple(one for _, one in due.deadlines)))
    if due.leases:
        steps.append(FireLeases(tuple(one for _, one in due.leases)))
    if due.schedules:
        steps.append(FireSchedules(tuple(one for _, one in due.schedules)))
    return steps


def view(snapshot: Snapshot, now_ms: int) -> dict[str, Any]:
    """Return the derived view of a snapshot: each list by id ascending."""
    promises = sorted(snapshot.promises, key=lambda one: one.id)
    pending = [one for one in promises if one.state == PENDING]
    tasks = [one for one in promises if one.task is not None]
    return {
        "promises": [one.wire() for one in promises],
        "promiseTimeouts": [{"id": one.id, "timeout": one.timeout_at} for one in pending],
        "callbacks": [{"awaiter": awaiter, "awaited": one.id} for one in pending for awaiter in sorted(one.awaiters)],
        "listeners": [{"id": one.id, "address": address} for one in pending for address in sorted(one.listeners)],
        "tasks": [one.task.wire(one.id) for one in tasks if one.task is not None],
        "taskTimeouts": [timeout for one in tasks for timeout in _task_timeouts(one)],
        "messages": [_execute(one) for one in tasks if _is_offered(one, now_ms)] + _unblocks(promises),
    }


def _task_timeouts(promise: Promise) -> list[dict[str, Any]]:
    task = promise.task
    if task is not None and task.state == PENDING and task.hint_due_at is not None:
        return [{"id": promise.id, "type": RETRY, "timeout": task.hint_due_at}]
    if task is not None and task.state == ACQUIRED:
        return [{"id": promise.id, "type": LEASE, "timeout": task.lease_at}]
    return []


def _is_offered(promise: Promise, now_ms: int) -> bool:
    task = promise.task
    if task is None or task.state != PENDING or task.hint_due_at is None or not promise.is_live_at(now_ms):
        return False
    return task.hint_due_at <= now_ms or (task.hint_attempt == 0 and task.hint_due_at <= now_ms + HINT_CLAIM_MS)


def _execute(promise: Promise) -> dict[str, Any]:
    version = 0 if promise.task is None else promise.task.version
    message = {"kind": "execute", "head": {}, "data": {"task": {"id": promise.id, "version": version}}}
    return {"address": promise.tags[TARGET], "message": message}


def _unblocks(promises: list[Promise]) -> list[dict[str, Any]]:
    return [
        {"address": address, "message": {"kind": "unblock", "head": {}, "data": {"promise": one.wire()}}}
        for one in promises
        if one.state != PENDING
        for address in sorted(one.listeners)
    ]
