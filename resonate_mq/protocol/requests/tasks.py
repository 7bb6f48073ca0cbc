"""task.* requests (protocol sections 3.7 to 3.17, D8, D10, D14)."""

from dataclasses import dataclass
from typing import Any, ClassVar

from resonate_mq.protocol.limits import DEFAULT_SEARCH_LIMIT
from resonate_mq.protocol.requests.promises import PromiseCreate, PromiseRecord, PromiseSettle, RegisterCallback
from resonate_mq.protocol.requests.shared import action, page


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
        data = {"pid": self.pid, "ttl": self.ttl_ms, "action": action(self.create.kind, self.create.wire())}
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
        return {"id": self.id, "version": self.version, "action": action(self.settle.kind, self.settle.wire())}


@dataclass(slots=True)
class TaskSuspend:
    """task.suspend; `awaited` without duplicates, in the order given."""

    kind: ClassVar[str] = "task.suspend"
    id: str
    version: int
    awaited: tuple[str, ...]
    children: bool = False

    def wire(self) -> dict[str, Any]:
        actions = [action(RegisterCallback.kind, {"awaited": awaited, "awaiter": self.id}) for awaited in self.awaited]
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
        return {"id": self.id, "version": self.version, "action": action(self.action.kind, self.action.wire())}


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
        data = page(self.limit, self.cursor)
        if self.state is not None:
            data["state"] = self.state
        return data
