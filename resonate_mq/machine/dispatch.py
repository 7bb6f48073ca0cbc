"""The machine's one door: a request and the working set in, an answer out."""

from collections.abc import Callable
from typing import Any

from resonate_mq.machine import background as b
from resonate_mq.machine import promises, schedules, tasks, timers
from resonate_mq.machine.state import Footprint, State
from resonate_mq.protocol import requests as r
from resonate_mq.protocol.envelope import Reply

Transition = Callable[[Any, State, int], Reply]

_TRANSITIONS: dict[type[Any], Transition] = {
    r.PromiseGet: promises.get,
    r.PromiseCreate: promises.create,
    r.PromiseSettle: promises.settle,
    r.RegisterCallback: promises.register_callback,
    r.RegisterListener: promises.register_listener,
    r.TaskGet: tasks.get,
    r.TaskCreate: tasks.create,
    r.TaskAcquire: tasks.acquire,
    r.TaskRelease: tasks.release,
    r.TaskFulfill: tasks.fulfill,
    r.TaskSuspend: tasks.suspend,
    r.TaskFence: tasks.fence,
    r.TaskHeartbeat: tasks.heartbeat,
    r.TaskHalt: tasks.halt,
    r.TaskContinue: tasks.resume_halted,
    r.ScheduleGet: schedules.get,
    r.ScheduleCreate: schedules.create,
    r.ScheduleDelete: schedules.delete,
    b.FireDeadlines: timers.fire_deadlines,
    b.FireLeases: timers.fire_leases,
    b.ExtendLeases: timers.extend_leases,
    b.FreeTasks: timers.free_tasks,
    b.RearmHints: timers.rearm_hints,
    b.ForgetListeners: timers.forget_listeners,
    b.FireSchedules: timers.fire_schedules,
}


def handles(kind: type[Any]) -> bool:
    """Tell whether requests of this type are the machine's; the others are the server's own."""
    return kind in _TRANSITIONS


def apply(request: r.Request | b.Background, state: State, now_ms: int) -> Reply:
    """Apply one request to the working set.

    The caller ends it with `state.accept()` or `state.undo()`.

    Args:
        request: a typed request the machine handles.
        state: the working set, holding at least what `footprint` named.
        now_ms: the one instant everything in it happens at, epoch ms.

    Raises:
        NotLoaded: more of the store is needed; undo, load, apply again.
    """
    return _TRANSITIONS[type(request)](request, state, now_ms)


def footprint(request: r.Request | b.Background) -> Footprint:
    """Return what is known to be needed before anything is loaded; the rest comes by `NotLoaded`."""
    wanted = _FOOTPRINTS.get(type(request))
    return Footprint() if wanted is None else wanted(request)


def _own(request: Any) -> Footprint:
    return Footprint(ids=(request.id,))


def _many(request: Any) -> Footprint:
    return Footprint(ids=request.ids)


def _acquire(request: r.TaskAcquire) -> Footprint:
    if request.children:
        return Footprint(ids=(request.id,), families=(request.id,) if request.version else ())
    return Footprint(ids=(request.id,), branches=(request.id,))


def _fence(request: r.TaskFence) -> Footprint:
    ids = (request.id, request.action.id)
    return Footprint(ids=ids) if request.children else Footprint(ids=ids, branches=(request.id,))


_FOOTPRINTS: dict[type[Any], Callable[[Any], Footprint]] = {
    r.PromiseGet: _own,
    r.PromiseCreate: _own,
    r.PromiseSettle: _own,
    r.RegisterCallback: lambda request: Footprint(ids=(request.awaited, request.awaiter)),
    r.RegisterListener: lambda request: Footprint(ids=(request.awaited,)),
    r.TaskGet: _own,
    r.TaskCreate: lambda request: Footprint(ids=(request.create.id,)),
    r.TaskAcquire: _acquire,
    r.TaskRelease: _own,
    r.TaskFulfill: _own,
    r.TaskSuspend: lambda request: Footprint(ids=(request.id, *request.awaited)),
    r.TaskFence: _fence,
    r.TaskHeartbeat: lambda request: Footprint(ids=[one for one, _ in request.tasks]),
    r.TaskHalt: _own,
    r.TaskContinue: _own,
    r.ScheduleGet: lambda request: Footprint(schedules=(request.id,)),
    r.ScheduleCreate: lambda request: Footprint(schedules=(request.id,)),
    r.ScheduleDelete: lambda request: Footprint(schedules=(request.id,)),
    b.FireDeadlines: _many,
    b.FireLeases: _many,
    b.ExtendLeases: _many,
    b.FreeTasks: _many,
    b.RearmHints: lambda request: Footprint(ids=[one for one, _, _ in request.sent]),
    b.ForgetListeners: lambda request: Footprint(ids=[one for one, _ in request.delivered]),
    b.FireSchedules: lambda request: Footprint(schedules=request.ids),
}
