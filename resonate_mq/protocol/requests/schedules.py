"""schedule.* requests (protocol sections 3.18 to 3.20)."""

from dataclasses import dataclass
from typing import Any, ClassVar

from resonate_mq.protocol.limits import DEFAULT_SCHEDULE_SEARCH_LIMIT
from resonate_mq.protocol.records import Value
from resonate_mq.protocol.requests.shared import page, with_value


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
        return with_value(data, "promiseParam", self.promise_param)


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
        data = page(self.limit, self.cursor)
        if self.tags is not None:
            data["tags"] = self.tags
        return data
