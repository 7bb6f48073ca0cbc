"""promise.* requests (protocol sections 3.1 to 3.6, D9)."""

from dataclasses import dataclass
from typing import Any, ClassVar

from resonate_mq.protocol.addresses import Address
from resonate_mq.protocol.limits import DEFAULT_SEARCH_LIMIT
from resonate_mq.protocol.records import Value
from resonate_mq.protocol.requests.shared import page, with_value


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
        return with_value(data, "param", self.param)


@dataclass(slots=True)
class PromiseSettle:
    """promise.settle; `state` is resolved, rejected or rejected_canceled."""

    kind: ClassVar[str] = "promise.settle"
    id: str
    state: str
    value: Value

    def wire(self) -> dict[str, Any]:
        return with_value({"id": self.id, "state": self.state}, "value", self.value)


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


@dataclass(slots=True)
class PromiseSearch:
    """promise.search; pages in byte order of ids, `cursor` is the last id seen."""

    kind: ClassVar[str] = "promise.search"
    state: str | None = None
    tags: dict[str, str] | None = None
    limit: int = DEFAULT_SEARCH_LIMIT
    cursor: str | None = None

    def wire(self) -> dict[str, Any]:
        data = page(self.limit, self.cursor)
        if self.state is not None:
            data["state"] = self.state
        if self.tags is not None:
            data["tags"] = self.tags
        return data
