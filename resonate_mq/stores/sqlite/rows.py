"""Records to rows and back: the one place that knows the order of columns."""

from typing import Any

import orjson

from resonate_mq.protocol import tags as tag_names
from resonate_mq.protocol.addresses import destination_of
from resonate_mq.protocol.records import (
    EMPTY,
    PROMISE_STATES,
    TASK_STATES,
    Promise,
    Schedule,
    Task,
    TaskImage,
    Value,
)
from resonate_mq.stores.sqlite.database import Row

# rows bring a new string each time; records share these
_STATES = {state: state for state in PROMISE_STATES | TASK_STATES}


def promise_row(promise: Promise, settle_seq: int | None) -> Row:
    """Return the parameters of `insert_promise`."""
    tags = promise.tags
    branch = parent = None
    if tags:
        branch, parent = tags.get(tag_names.BRANCH) or None, tags.get(tag_names.PARENT) or None
        # what an ordinary root says about itself costs no index rows
        if parent is not None and parent in (branch, promise.id):
            parent = None
        if branch == promise.id:
            branch = None
    return (
        promise.key,
        promise.id,
        promise.state,
        *value_columns(promise.param),
        *value_columns(promise.value),
        orjson.dumps(tags).decode() if tags else None,
        promise.timeout_at,
        promise.created_at,
        promise.settled_at,
        settle_seq,
        branch,
        parent,
    )


def settlement_row(promise: Promise, settle_seq: int) -> Row:
    """Return the parameters of `settle_promise`."""
    return (promise.state, *value_columns(promise.value), promise.settled_at, settle_seq, promise.key)


def new_task_row(promise: Promise, task: TaskImage) -> Row:
    """Return the parameters of `insert_task`."""
    return (promise.key, *_task_columns(task), destination_of(promise.tags[tag_names.TARGET]))


def task_row(key: int | None, task: TaskImage) -> Row:
    """Return the parameters of `update_task`."""
    return (*_task_columns(task), key)


def _task_columns(task: TaskImage) -> Row:
    return (
        task.state,
        task.version,
        task.pid,
        task.ttl_ms,
        task.lease_at,
        task.hint_due_at,
        task.hint_attempt,
        resumes_column(task.resumes),
        task.claim,
        task.last_pid,
        task.progressed,
        task.stalls,
        task.reason,
    )


def resumes_column(resumes: tuple[str, ...]) -> str | None:
    """Return the JSON array, None when empty."""
    return orjson.dumps(resumes).decode() if resumes else None


def value_columns(value: Value) -> tuple[bytes | None, bytes | None]:
    """Return headers and data as stored bytes."""
    if value is EMPTY:
        return None, None
    headers = None if value.headers is None else orjson.dumps(value.headers)
    return headers, None if value.data is None else value.data.encode()


def schedule_row(schedule: Schedule) -> Row:
    """Return the parameters of `put_schedule`."""
    return (
        schedule.id,
        schedule.cron,
        schedule.promise_id,
        schedule.promise_timeout_ms,
        *value_columns(schedule.promise_param),
        orjson.dumps(schedule.promise_tags).decode(),
        schedule.created_at,
        schedule.next_run_at,
        schedule.last_run_at,
    )


def read_promise(row: Row) -> Promise:
    """Return the promise of a row of the view `records`, without awaiters, listeners and what its task awaits."""
    promise = Promise(
        row[1],
        read_value(row[3], row[4]),
        {} if row[7] is None else orjson.loads(row[7]),
        row[8],
        row[9],
    )
    promise.key = row[0]
    promise.state = _STATES[row[2]]
    promise.value = read_value(row[5], row[6])
    promise.settled_at = row[10]
    if row[11] is not None:
        promise.task = _read_task(row[11:])
    return promise


def _read_task(row: Row) -> Task:
    (state, version, pid, ttl_ms, lease_at, hint_due_at, hint_attempt, resumes, *rest) = row
    task = Task(_STATES[state], version)
    task.pid = pid
    task.ttl_ms = ttl_ms
    task.lease_at = lease_at
    task.hint_due_at = hint_due_at
    task.hint_attempt = hint_attempt
    task.resumes = () if resumes is None else tuple(orjson.loads(resumes))
    task.claim, task.last_pid, progressed, task.stalls, task.reason = rest
    task.progressed = bool(progressed)
    return task


def read_value(headers: bytes | None, data: bytes | None) -> Value:
    """Return the value of two stored columns."""
    if headers is None and data is None:
        return EMPTY
    return Value(None if headers is None else orjson.loads(headers), None if data is None else data.decode())


def read_schedule(row: Row) -> Schedule:
    """Return the schedule of a row of `schedules`."""
    schedule = Schedule(row[0], row[1], row[2], row[3], read_value(row[4], row[5]), read_tags(row[6]), row[7], row[8])
    schedule.last_run_at = row[9]
    return schedule


def read_tags(column: str | None) -> dict[str, str]:
    """Return the tags of a stored column."""
    tags: Any = {} if column is None else orjson.loads(column)
    return dict(tags)
