"""Requests as typed values: what each operation carries (protocol section 3), extensions included.

`resonate_mq.protocol.parse` builds them from the wire and checks every field; `wire()` gives the `data` object
back. A request that exists is well formed: the machine checks only what depends on stored state.
"""

from resonate_mq.protocol.requests.operations import (
    DebugReset,
    DebugSnap,
    DebugStart,
    DebugStop,
    DebugTick,
    ServerInfo,
    WorkerHello,
    WorkerSearch,
)
from resonate_mq.protocol.requests.promises import (
    PromiseCreate,
    PromiseGet,
    PromiseRecord,
    PromiseSearch,
    PromiseSettle,
    RegisterCallback,
    RegisterListener,
)
from resonate_mq.protocol.requests.schedules import (
    ScheduleCreate,
    ScheduleDelete,
    ScheduleGet,
    ScheduleSearch,
)
from resonate_mq.protocol.requests.tasks import (
    TaskAcquire,
    TaskContinue,
    TaskCreate,
    TaskFence,
    TaskFulfill,
    TaskGet,
    TaskHalt,
    TaskHeartbeat,
    TaskRelease,
    TaskSearch,
    TaskSuspend,
)

__all__ = [
    "DebugReset",
    "DebugSnap",
    "DebugStart",
    "DebugStop",
    "DebugTick",
    "PromiseCreate",
    "PromiseGet",
    "PromiseRecord",
    "PromiseSearch",
    "PromiseSettle",
    "RegisterCallback",
    "RegisterListener",
    "Request",
    "ScheduleCreate",
    "ScheduleDelete",
    "ScheduleGet",
    "ScheduleSearch",
    "ServerInfo",
    "TaskAcquire",
    "TaskContinue",
    "TaskCreate",
    "TaskFence",
    "TaskFulfill",
    "TaskGet",
    "TaskHalt",
    "TaskHeartbeat",
    "TaskRelease",
    "TaskSearch",
    "TaskSuspend",
    "WorkerHello",
    "WorkerSearch",
]

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
