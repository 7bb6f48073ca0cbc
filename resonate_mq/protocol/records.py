"""Promise, task and schedule as the kernel holds them, and how they look on the wire (protocol section 2).

Records are mutable slots objects: the machine changes them in place and the working set keeps their images for
undo (D43). Relations are tuples, replaced and never mutated, so that an image is a handful of references.
"""

from typing import Any, NamedTuple

PENDING = "pending"
RESOLVED = "resolved"
REJECTED = "rejected"
CANCELED = "rejected_canceled"
TIMEDOUT = "rejected_timedout"
PROMISE_STATES = frozenset({PENDING, RESOLVED, REJECTED, CANCELED, TIMEDOUT})
SETTLE_STATES = frozenset({RESOLVED, REJECTED, CANCELED})

ACQUIRED = "acquired"
SUSPENDED = "suspended"
HALTED = "halted"
FULFILLED = "fulfilled"
TASK_STATES = frozenset({PENDING, ACQUIRED, SUSPENDED, HALTED, FULFILLED})


class Value(NamedTuple):
    """A param or value: opaque to the server, stored and returned byte for byte (protocol section 2.1)."""

    headers: dict[str, str] | None
    data: str | None

    def wire(self) -> dict[str, Any]:
        """Return the JSON object, absent members omitted."""
        if self.headers is None:
            return {} if self.data is None else {"data": self.data}
        if self.data is None:
            return {"headers": self.headers}
        return {"headers": self.headers, "data": self.data}


EMPTY = Value(None, None)


class TaskImage(NamedTuple):
    """The changeable fields of a task at one moment."""

    state: str
    version: int
    pid: str | None
    ttl_ms: int | None
    lease_at: int | None
    hint_due_at: int | None
    hint_attempt: int
    resumes: tuple[str, ...]
    awaiting: tuple[str, ...]
    claim: str | None
    last_pid: str | None
    progressed: bool
    stalls: int
    reason: str | None


class PromiseImage(NamedTuple):
    """The changeable fields of a promise at one moment, with those of its task."""

    state: str
    value: Value
    settled_at: int | None
    awaiters: tuple[str, ...]
    listeners: tuple[str, ...]
    task: TaskImage | None


class Task:
    """The right to execute one promise; exists iff the promise carries `resonate:target`.

    Attributes:
        state: pending, acquired, suspended, halted or fulfilled.
        version: fencing token, counts acquisitions.
        pid: holder, only while acquired.
        ttl_ms: lease length of the holder, only while acquired.
        lease_at: instant the lease ends (epoch ms), only while acquired.
        hint_due_at: instant the next execute hint is due (epoch ms), only while pending (D17).
        hint_attempt: confirmed or failed sends of this hint so far; 0 when entering pending, which means: send now.
            -1 when the first send is delayed (resonate:delay, release with a delay): nothing is sent before
            `hint_due_at`.
        resumes: ids that settled since the task was last acquired or suspended.
        awaiting: ids whose settlement resumes this task (the un-fired callbacks it owns).
        claim: token of the acquisition, answers its repeat (D8).
        last_pid: who held it last; residency (D24).
        progressed: a promise was created or settled through the task since it was acquired (D14).
        stalls: counted acquisitions in a row without progress (D14).
        reason: why it was released or halted, for people (D14).
    """

    __slots__ = (
        "awaiting",
        "claim",
        "hint_attempt",
        "hint_due_at",
        "last_pid",
        "lease_at",
        "pid",
        "progressed",
        "reason",
        "resumes",
        "stalls",
        "state",
        "ttl_ms",
        "version",
    )

    def __init__(self, state: str, version: int = 0) -> None:
        self.state = state
        self.version = version
        self.pid: str | None = None
        self.ttl_ms: int | None = None
        self.lease_at: int | None = None
        self.hint_due_at: int | None = None
        self.hint_attempt = 0
        self.resumes: tuple[str, ...] = ()
        self.awaiting: tuple[str, ...] = ()
        self.claim: str | None = None
        self.last_pid: str | None = None
        self.progressed = False
        self.stalls = 0
        self.reason: str | None = None

    def image(self) -> TaskImage:
        """Return the changeable fields as they are now."""
        return TaskImage(
            self.state,
            self.version,
            self.pid,
            self.ttl_ms,
            self.lease_at,
            self.hint_due_at,
            self.hint_attempt,
            self.resumes,
            self.awaiting,
            self.claim,
            self.last_pid,
            self.progressed,
            self.stalls,
            self.reason,
        )

    def restore(self, image: TaskImage) -> None:
        """Put the fields back to `image`."""
        (
            self.state,
            self.version,
            self.pid,
            self.ttl_ms,
            self.lease_at,
            self.hint_due_at,
            self.hint_attempt,
            self.resumes,
            self.awaiting,
            self.claim,
            self.last_pid,
            self.progressed,
            self.stalls,
            self.reason,
        ) = image

    def wire(self, promise_id: str) -> dict[str, Any]:
        """Return the TaskRecord (protocol section 2.3): pid and ttl only while acquired."""
        record: dict[str, Any] = {
            "id": promise_id,
            "state": self.state,
            "version": self.version,
            "resumes": len(self.resumes),
        }
        if self.state == ACQUIRED:
            record["pid"] = self.pid
            record["ttl"] = self.ttl_ms
        return record


class Promise:
    """A durable single-assignment cell, with its task, awaiters and listeners.

    Attributes:
        key: surrogate number the store gave it; None until it is written. No meaning outside the store.
        id: identity.
        state: pending, resolved, rejected, rejected_canceled or rejected_timedout.
        param: invocation or creation payload.
        value: payload of the settlement.
        tags: immutable after creation.
        timeout_at: deadline, epoch ms.
        created_at: epoch ms.
        settled_at: epoch ms, None while pending.
        awaiters: ids of the tasks resumed by its settlement (mirror of their `awaiting`).
        listeners: addresses told of its settlement; on a settled promise: unblocks not yet confirmed (D17, D23).
        task: None iff there is no `resonate:target` tag.
    """

    __slots__ = (
        "awaiters",
        "created_at",
        "id",
        "key",
        "listeners",
        "param",
        "settled_at",
        "state",
        "tags",
        "task",
        "timeout_at",
        "value",
    )

    def __init__(self, promise_id: str, param: Value, tags: dict[str, str], timeout_at: int, created_at: int) -> None:
        self.key: int | None = None
        self.id = promise_id
        self.state = PENDING
        self.param = param
        self.value = EMPTY
        self.tags = tags
        self.timeout_at = timeout_at
        self.created_at = created_at
        self.settled_at: int | None = None
        self.awaiters: tuple[str, ...] = ()
        self.listeners: tuple[str, ...] = ()
        self.task: Task | None = None

    def image(self) -> PromiseImage:
        """Return the changeable fields as they are now."""
        task = self.task
        return PromiseImage(
            self.state,
            self.value,
            self.settled_at,
            self.awaiters,
            self.listeners,
            None if task is None else task.image(),
        )

    def restore(self, image: PromiseImage) -> None:
        """Put the fields back to `image`."""
        self.state, self.value, self.settled_at, self.awaiters, self.listeners, task = image
        if task is not None and self.task is not None:
            self.task.restore(task)

    def is_timer(self) -> bool:
        """Tell whether its deadline resolves it (tag `resonate:timer` equal to `true`)."""
        return self.tags.get("resonate:timer") == "true"

    def is_live_at(self, now_ms: int) -> bool:
        """Tell whether it is pending and its deadline has not come."""
        return self.state == PENDING and now_ms < self.timeout_at

    def wire(self) -> dict[str, Any]:
        """Return the PromiseRecord as stored (protocol section 2.2)."""
        record: dict[str, Any] = {
            "id": self.id,
            "state": self.state,
            "param": self.param.wire(),
            "value": self.value.wire(),
            "tags": self.tags,
            "timeoutAt": self.timeout_at,
            "createdAt": self.created_at,
        }
        if self.settled_at is not None:
            record["settledAt"] = self.settled_at
        return record

    def wire_at(self, now_ms: int) -> dict[str, Any]:
        """Return the PromiseRecord projected at `now_ms` (protocol section 3.0): past its deadline it is settled."""
        record = self.wire()
        if self.state == PENDING and self.timeout_at <= now_ms:
            record["state"] = RESOLVED if self.is_timer() else TIMEDOUT
            record["settledAt"] = self.timeout_at
        return record


class ScheduleImage(NamedTuple):
    """The changeable fields of a schedule at one moment."""

    next_run_at: int
    last_run_at: int | None
    deleted: bool


class Schedule:
    """A cron that creates promises (protocol section 2.4).

    Attributes:
        cron: expression as given.
        promise_id: template with `{{.id}}` and `{{.timestamp}}`.
        promise_timeout_ms: deadline of each promise, relative to its tick.
        next_run_at: armed instant, epoch ms.
        last_run_at: instant of the last firing, epoch ms.
        deleted: removed in this unit of work; the store drops the row.
    """

    __slots__ = (
        "created_at",
        "cron",
        "deleted",
        "id",
        "last_run_at",
        "next_run_at",
        "promise_id",
        "promise_param",
        "promise_tags",
        "promise_timeout_ms",
    )

    def __init__(
        self,
        schedule_id: str,
        cron: str,
        promise_id: str,
        promise_timeout_ms: int,
        promise_param: Value,
        promise_tags: dict[str, str],
        created_at: int,
        next_run_at: int,
    ) -> None:
        self.id = schedule_id
        self.cron = cron
        self.promise_id = promise_id
        self.promise_timeout_ms = promise_timeout_ms
        self.promise_param = promise_param
        self.promise_tags = promise_tags
        self.created_at = created_at
        self.next_run_at = next_run_at
        self.last_run_at: int | None = None
        self.deleted = False

    def image(self) -> ScheduleImage:
        """Return the changeable fields as they are now."""
        return ScheduleImage(self.next_run_at, self.last_run_at, self.deleted)

    def restore(self, image: ScheduleImage) -> None:
        """Put the fields back to `image`."""
        self.next_run_at, self.last_run_at, self.deleted = image

    def wire(self) -> dict[str, Any]:
        """Return the ScheduleRecord."""
        record: dict[str, Any] = {
            "id": self.id,
            "cron": self.cron,
            "promiseId": self.promise_id,
            "promiseTimeout": self.promise_timeout_ms,
            "promiseParam": self.promise_param.wire(),
            "promiseTags": self.promise_tags,
            "createdAt": self.created_at,
            "nextRunAt": self.next_run_at,
        }
        if self.last_run_at is not None:
            record["lastRunAt"] = self.last_run_at
        return record
