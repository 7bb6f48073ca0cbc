"""Requests as typed values: what each operation carries (protocol section 3), extensions included.

`resonate_mq.protocol.parse` builds them from the wire and checks every field; `wire()` gives the `data` object
back. A request that exists is well formed: the machine checks only what depends on stored state.
"""

from dataclasses import dataclass
from typing import Any, ClassVar

from resonate_mq.protocol.addresses import Address
from resonate_mq.protocol.limits import DEFAULT_SCHEDULE_SEARCH_LIMIT, DEFAULT_SEARCH_LIMIT, PROTOCOL_VERSION
from resonate_mq.protocol.records import EMPTY, Value

_ACTION_HEAD = {"corrId": "-", "version": PROTOCOL_VERSION}


def _action(request: "PromiseCreate | PromiseSettle | PromiseRecord | RegisterCallback") -> dict[str, Any]:
    return {"kind": request.kind, "head": _ACTION_HEAD, "data": request.wire()}


def _with_value(data: dict[str, Any], name: str, value: Value) -> dict[str, Any]:
    if value != EMPTY:
        data[name] = value.wire()
    return data


@dataclass(slots=True)
class PromiseGet:
    """promise.get"""

    kind: ClassVar[str] = "promise.get"
    id: str

    def wire(self) -> dict[str, Any]:
        return {"id": self.id}


@dataclass(slots=True)
class PromiseCreate:
    """promise.create; `target` and `delay_at` (epoch ms) are the parsed tags."""

    kind: ClassVar[str] = "promise.create"
    id: str
    timeout_at: int
    param: Value
    tags: dict[str, str]
    target: Address | None = None
    delay_at: int | None = None

    def wire(self) -> dict[str, Any]:
        data: dict[str, Any] = {"id": self.id, "timeoutAt": self.timeout_at, "tags": self.tags}
        return _with_value(data, "param", self.param)


@dataclass(slots=True)
class PromiseSettle:
    """promise.settle; `state` is resolved, rejected or rejected_canceled."""

    kind: ClassVar[str] = "promise.settle"
    id: str
    state: str
    value: Value

    def wire(self) -> dict[str, Any]:
        return _with_value({"id": self.id, "state": self.state}, "value", self.value)


@dataclass(slots=True)
class PromiseRecord:
    """promise.record, the extension of D9: create and settle at one instant. Only inside task.fence."""

    kind: ClassVar[str] = "promise.record"
    create: PromiseCreate
    settle: PromiseSettle

    @property
    def id(self) -> str:
        return self.create.id

    def wire(self) -> dict[str, Any]:
        return {**self.create.wire(), **self.settle.wire()}


@dataclass(slots=True)
class RegisterCallback:
    """promise.register_callback"""

    kind: ClassVar[str] = "promise.register_callback"
    awaited: str
    awaiter: str

    def wire(self) -> dict[str, Any]:
        return {"awaited": self.awaited, "awaiter": self.awaiter}


@dataclass(slots=True)
class RegisterListener:
    """promise.register_listener; `address` is kept as written."""

    kind: ClassVar[str] = "promise.register_listener"
    awaited: str
    address: str

    def wire(self) -> dict[str, Any]:
        return {"awaited": self.awaited, "address": self.address}


def _page(limit: int, cursor: str | None) -> dict[str, Any]:
    return {"limit": limit} if cursor is None else {"limit": limit, "cursor": cursor}


@dataclass(slots=True)
class PromiseSearch:
    """promise.search; pages in byte order of ids, `cursor` is the last id seen."""

    kind: ClassVar[str] = "promise.search"
    state: str | None = None
    tags: dict[str, str] | None = None
    limit: int = DEFAULT_SEARCH_LIMIT
    cursor: str | None = None

    def wire(self) -> dict[str, Any]:
        data = _page(self.limit, self.cursor)
        if self.state is not None:
            data["state"] = self.state
        if self.tags is not None:
            data["tags"] = self.tags
        return data


@dataclass(slots=True)
class TaskGet:
    """task.get"""

    kind: ClassVar[str] = "task.get"
    id: str

    def wire(self) -> dict[str, Any]:
        return {"id": self.id}


@dataclass(slots=True)
class TaskCreate:
    """task.create; `claim` is the token of D8, `children` asks for the children preload of D10."""

    kind: ClassVar[str] = "task.create"
    pid: str
    ttl_ms: int
    create: PromiseCreate
    claim: str | None = None
    children: bool = False

    def wire(self) -> dict[str, Any]:
        data = {"pid": self.pid, "ttl": self.ttl_ms, "action": _action(self.create)}
        if self.claim is not None:
            data["claim"] = self.claim
        return data


@dataclass(slots=True)
class TaskAcquire:
    """task.acquire"""

    kind: ClassVar[str] = "task.acquire"
    id: str
    version: int
    pid: str
    ttl_ms: int
    claim: str | None = None
    children: bool = False

    def wire(self) -> dict[str, Any]:
        data = {"id": self.id, "version": self.version, "pid": self.pid, "ttl": self.ttl_ms}
        if self.claim is not None:
            data["claim"] = self.claim
        return data


@dataclass(slots=True)
class TaskRelease:
    """task.release; `reason` and `delay_ms` are the extension of D14, `counted` is false while draining."""

    kind: ClassVar[str] = "task.release"
    id: str
    version: int
    reason: str | None = None
    delay_ms: int | None = None
    counted: bool = True

    def wire(self) -> dict[str, Any]:
        data: dict[str, Any] = {"id": self.id, "version": self.version}
        if self.reason is not None:
            data["reason"] = self.reason
        if self.delay_ms is not None:
            data["delay"] = self.delay_ms
        if not self.counted:
            data["counted"] = False
        return data


@dataclass(slots=True)
class TaskFulfill:
    """task.fulfill; `settle.id` equals `id`."""

    kind: ClassVar[str] = "task.fulfill"
    id: str
    version: int
    settle: PromiseSettle

    def wire(self) -> dict[str, Any]:
        return {"id": self.id, "version": self.version, "action": _action(self.settle)}


@dataclass(slots=True)
class TaskSuspend:
    """task.suspend; `awaited` without duplicates, in the order given."""

    kind: ClassVar[str] = "task.suspend"
    id: str
    version: int
    awaited: tuple[str, ...]
    children: bool = False

    def wire(self) -> dict[str, Any]:
        actions = [_action(RegisterCallback(awaited, self.id)) for awaited in self.awaited]
        return {"id": self.id, "version": self.version, "actions": actions}


@dataclass(slots=True)
class TaskFence:
    """task.fence around promise.create, promise.settle or promise.record.

    Attributes:
        corr_id: of the outer request; echoed in the inner answer (protocol section 3.13).
    """

    kind: ClassVar[str] = "task.fence"
    id: str
    version: int
    action: PromiseCreate | PromiseSettle | PromiseRecord
    corr_id: str = ""
    children: bool = False

    def wire(self) -> dict[str, Any]:
        return {"id": self.id, "version": self.version, "action": _action(self.action)}


@dataclass(slots=True)
class TaskHeartbeat:
    """task.heartbeat; `tasks` are (id, version)."""

    kind: ClassVar[str] = "task.heartbeat"
    pid: str
    tasks: tuple[tuple[str, int], ...]

    def wire(self) -> dict[str, Any]:
        return {"pid": self.pid, "tasks": [{"id": task, "version": version} for task, version in self.tasks]}


@dataclass(slots=True)
class TaskHalt:
    """task.halt"""

    kind: ClassVar[str] = "task.halt"
    id: str

    def wire(self) -> dict[str, Any]:
        return {"id": self.id}


@dataclass(slots=True)
class TaskContinue:
    """task.continue"""

    kind: ClassVar[str] = "task.continue"
    id: str

    def wire(self) -> dict[str, Any]:
        return {"id": self.id}


@dataclass(slots=True)
class TaskSearch:
    """task.search"""

    kind: ClassVar[str] = "task.search"
    state: str | None = None
    limit: int = DEFAULT_SEARCH_LIMIT
    cursor: str | None = None

    def wire(self) -> dict[str, Any]:
        data = _page(self.limit, self.cursor)
        if self.state is not None:
            data["state"] = self.state
        return data


@dataclass(slots=True)
class ScheduleGet:
    """schedule.get"""

    kind: ClassVar[str] = "schedule.get"
    id: str

    def wire(self) -> dict[str, Any]:
        return {"id": self.id}


@dataclass(slots=True)
class ScheduleCreate:
    """schedule.create; `promise_timeout_ms` is relative to each tick."""

    kind: ClassVar[str] = "schedule.create"
    id: str
    cron: str
    promise_id: str
    promise_timeout_ms: int
    promise_param: Value
    promise_tags: dict[str, str]

    def wire(self) -> dict[str, Any]:
        data: dict[str, Any] = {
            "id": self.id,
            "cron": self.cron,
            "promiseId": self.promise_id,
            "promiseTimeout": self.promise_timeout_ms,
            "promiseTags": self.promise_tags,
        }
        return _with_value(data, "promiseParam", self.promise_param)


@dataclass(slots=True)
class ScheduleDelete:
    """schedule.delete"""

    kind: ClassVar[str] = "schedule.delete"
    id: str

    def wire(self) -> dict[str, Any]:
        return {"id": self.id}


@dataclass(slots=True)
class ScheduleSearch:
    """schedule.search"""

    kind: ClassVar[str] = "schedule.search"
    tags: dict[str, str] | None = None
    limit: int = DEFAULT_SCHEDULE_SEARCH_LIMIT
    cursor: str | None = None

    def wire(self) -> dict[str, Any]:
        data = _page(self.limit, self.cursor)
        if self.tags is not None:
            data["tags"] = self.tags
        return data


@dataclass(slots=True)
class DebugStart:
    """debug.start: pause background work."""

    kind: ClassVar[str] = "debug.start"

    def wire(self) -> dict[str, Any]:
        return {}


@dataclass(slots=True)
class DebugStop:
    """debug.stop: resume background work."""

    kind: ClassVar[str] = "debug.stop"

    def wire(self) -> dict[str, Any]:
        return {}


@dataclass(slots=True)
class DebugReset:
    """debug.reset: delete everything."""

    kind: ClassVar[str] = "debug.reset"

    def wire(self) -> dict[str, Any]:
        return {}


@dataclass(slots=True)
class DebugTick:
    """debug.tick: run all timer processing as of `time` (epoch ms) once."""

    kind: ClassVar[str] = "debug.tick"
    time: int

    def wire(self) -> dict[str, Any]:
        return {"time": self.time}


@dataclass(slots=True)
class DebugSnap:
    """debug.snap: everything that is stored, without side effects."""

    kind: ClassVar[str] = "debug.snap"

    def wire(self) -> dict[str, Any]:
        return {}


@dataclass(slots=True)
class ServerInfo:
    """server.info, extension (D1): store id, capabilities, transports."""

    kind: ClassVar[str] = "server.info"

    def wire(self) -> dict[str, Any]:
        return {}


@dataclass(slots=True)
class WorkerHello:
    """worker.hello, extension (D24, D26, D41): what a process announces; refreshed with its heartbeat.

    Attributes:
        addresses: unicast addresses, one for each transport it listens on.
        free: free slots now.
        resident: keeps suspended bodies in memory and wants their first hint after a resume.
        functions: (name, version) pairs it can run.
    """

    kind: ClassVar[str] = "worker.hello"
    group: str
    pid: str
    addresses: tuple[str, ...]
    concurrency: int
    free: int
    resident: bool
    functions: tuple[tuple[str, int], ...]

    def wire(self) -> dict[str, Any]:
        return {
            "group": self.group,
            "pid": self.pid,
            "addresses": list(self.addresses),
            "concurrency": self.concurrency,
            "free": self.free,
            "resident": self.resident,
            "functions": [{"name": name, "version": version} for name, version in self.functions],
        }


@dataclass(slots=True)
class WorkerSearch:
    """worker.search, extension: the processes that announced themselves and the tasks they hold."""

    kind: ClassVar[str] = "worker.search"
    group: str | None = None

    def wire(self) -> dict[str, Any]:
        return {} if self.group is None else {"group": self.group}


Request = (
    PromiseGet
    | PromiseCreate
    | PromiseSettle
    | RegisterCallback
    | RegisterListener
    | PromiseSearch
    | TaskGet
    | TaskCreate
    | TaskAcquire
    | TaskRelease
    | TaskFulfill
    | TaskSuspend
    | TaskFence
    | TaskHeartbeat
    | TaskHalt
    | TaskContinue
    | TaskSearch
    | ScheduleGet
    | ScheduleCreate
    | ScheduleDelete
    | ScheduleSearch
    | DebugStart
    | DebugStop
    | DebugReset
    | DebugTick
    | DebugSnap
    | ServerInfo
    | WorkerHello
    | WorkerSearch
)
