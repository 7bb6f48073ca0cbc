"""From the `data` object of an envelope to a typed request: every field checked, nothing guessed.

A field that is missing, of the wrong type or out of range is an `InvalidRequestError` that names the field, what
was found and what was expected (protocol sections 1.4, 3). Unknown members are ignored, as the protocol says.
"""

from collections.abc import Callable
from typing import NamedTuple

from resonate_mq.protocol import fields
from resonate_mq.protocol import requests as r
from resonate_mq.protocol import tags as tag_names
from resonate_mq.protocol.addresses import ALWAYS_VALID, Address, parse_address
from resonate_mq.protocol.errors import InvalidRequestError
from resonate_mq.protocol.fields import Object
from resonate_mq.protocol.ids import describe
from resonate_mq.protocol.limits import DEFAULT_SCHEDULE_SEARCH_LIMIT, DEFAULT_SEARCH_LIMIT, MAX_SAFE_INTEGER
from resonate_mq.protocol.records import PROMISE_STATES, SETTLE_STATES, TASK_STATES

EXTENSIONS = frozenset({"batch", "promise.record", "claim", "server.info", "task.release", "preload", "worker.hello"})
PRELOAD_HEAD = "resonate-mq:preload"


class Profile(NamedTuple):
    """What this server accepts.

    Attributes:
        transports: names that may stand as scheme of an address.
        extensions: names of `EXTENSIONS` that are switched on; a request that uses another one is a 400.
        debug: whether debug.* and `resonate:debug_time` are served.
    """

    transports: frozenset[str] = ALWAYS_VALID
    extensions: frozenset[str] = EXTENSIONS
    debug: bool = False


def parse_request(kind: str, data: Object, head: Object, profile: Profile) -> r.Request:
    """Return the typed request.

    Args:
        kind: operation name; `batch` is not parsed here, its inner requests are.
        data: the envelope's `data`.
        head: the envelope's `head`; read for `corrId` and the preload extension.
        profile: what this server accepts.

    Raises:
        InvalidRequestError: 400 for anything malformed or unknown, 403 for debug.* when debug is off.
    """
    parser = _PARSERS.get(kind)
    if parser is None or (kind in _EXTENSION_OF and _EXTENSION_OF[kind] not in profile.extensions):
        raise InvalidRequestError(f"Unknown operation: {kind}")
    if kind.startswith("debug.") and not profile.debug:
        raise InvalidRequestError("Debug operations are disabled; start the server with debug on to allow them", 403)
    return parser(data, head, profile)


def _target(tags: dict[str, str], profile: Profile) -> Address | None:
    target = tags.get(tag_names.TARGET)
    return None if target is None else parse_address(target, profile.transports, tag_names.TARGET)


def _action(data: Object) -> tuple[str, Object]:
    action = data.get("action")
    if type(action) is not dict:
        raise InvalidRequestError(f"action must be an object with 'kind' and 'data', got {describe(action)}")
    kind, inner = action.get("kind"), action.get("data")
    if type(kind) is not str:
        raise InvalidRequestError(f"action.kind must be a string, got {describe(kind)}")
    if type(inner) is not dict:
        raise InvalidRequestError(f"action.data must be an object, got {describe(inner)}")
    return kind, inner


def _headed_action(data: Object) -> Object:
    _, inner = _action(data)
    if "head" not in data["action"]:
        raise InvalidRequestError("action.head is required")
    return inner


def _children(head: Object, profile: Profile) -> bool:
    if PRELOAD_HEAD not in head:
        return False
    if "preload" not in profile.extensions:
        raise InvalidRequestError(f"head '{PRELOAD_HEAD}': the preload extension is switched off on this server")
    if head[PRELOAD_HEAD] != "children":
        raise InvalidRequestError(f"head '{PRELOAD_HEAD}' must be 'children', got {head[PRELOAD_HEAD]!r}")
    return True


def _claim(data: Object, profile: Profile) -> str | None:
    if "claim" not in data:
        return None
    if "claim" not in profile.extensions:
        raise InvalidRequestError("claim: the claim extension is switched off on this server")
    return fields.text(data, "claim")


def _create(data: Object, profile: Profile) -> r.PromiseCreate:
    promise_id = fields.identifier(data, "id")
    timeout_at = fields.integer(data, "timeoutAt", 0)
    param, tags = fields.value_of(data, "param"), fields.tags_of(data)
    delay_at = None
    delay = tags.get(tag_names.DELAY)
    if delay is not None:
        if not (delay.isascii() and delay.isdigit()) or int(delay) > MAX_SAFE_INTEGER:
            raise InvalidRequestError(f"{tag_names.DELAY} must be a decimal integer >= 0 (epoch ms), got {delay!r}")
        delay_at = int(delay)
        if delay_at >= timeout_at:
            raise InvalidRequestError(f"{tag_names.DELAY} ({delay_at}) must be before timeoutAt ({timeout_at})")
        if tag_names.TARGET not in tags:
            raise InvalidRequestError(f"{tag_names.DELAY} needs a {tag_names.TARGET} tag: nothing else is dispatched")
    return r.PromiseCreate(promise_id, timeout_at, param, tags, _target(tags, profile), delay_at)


def _settle(data: Object) -> r.PromiseSettle:
    promise_id = fields.identifier(data, "id")
    state = data.get("state")
    if type(state) is not str or state not in SETTLE_STATES:
        raise InvalidRequestError(f"state must be one of {', '.join(sorted(SETTLE_STATES))}, got {state!r}")
    return r.PromiseSettle(promise_id, state, fields.value_of(data, "value"))


def _promise_get(data: Object, head: Object, profile: Profile) -> r.Request:
    return r.PromiseGet(fields.identifier(data, "id"))


def _promise_create(data: Object, head: Object, profile: Profile) -> r.Request:
    return _create(data, profile)


def _promise_settle(data: Object, head: Object, profile: Profile) -> r.Request:
    return _settle(data)


def _register_callback(data: Object, head: Object, profile: Profile) -> r.Request:
    awaited, awaiter = fields.identifier(data, "awaited"), fields.identifier(data, "awaiter")
    if awaited == awaiter:
        raise InvalidRequestError(f"awaited and awaiter must differ, both are {awaited!r}")
    return r.RegisterCallback(awaited, awaiter)


def _register_listener(data: Object, head: Object, profile: Profile) -> r.Request:
    awaited = fields.identifier(data, "awaited")
    address = fields.text(data, "address")
    parse_address(address, profile.transports, "listener")
    return r.RegisterListener(awaited, address)


def _promise_search(data: Object, head: Object, profile: Profile) -> r.Request:
    return r.PromiseSearch(
        fields.state_of(data, PROMISE_STATES), fields.tag_filter(data), *fields.page(data, DEFAULT_SEARCH_LIMIT)
    )


def _task_get(data: Object, head: Object, profile: Profile) -> r.Request:
    return r.TaskGet(fields.identifier(data, "id"))


def _task_create(data: Object, head: Object, profile: Profile) -> r.Request:
    pid, ttl_ms = fields.text(data, "pid"), fields.integer(data, "ttl", 1)
    create = _create(_headed_action(data), profile)
    if create.target is None:
        raise InvalidRequestError(f"Action must have a {tag_names.TARGET} tag")
    if create.delay_at is not None:
        raise InvalidRequestError(f"{tag_names.DELAY} cannot be used with task.create: the task is taken at once")
    return r.TaskCreate(pid, ttl_ms, create, _claim(data, profile), _children(head, profile))


def _task_acquire(data: Object, head: Object, profile: Profile) -> r.Request:
    return r.TaskAcquire(
        fields.identifier(data, "id"),
        fields.integer(data, "version", 0),
        fields.text(data, "pid"),
        fields.integer(data, "ttl", 1),
        _claim(data, profile),
        _children(head, profile),
    )


def _task_release(data: Object, head: Object, profile: Profile) -> r.Request:
    request = r.TaskRelease(fields.identifier(data, "id"), fields.integer(data, "version", 0))
    extended = [name for name in ("reason", "delay", "counted") if name in data]
    if extended and "task.release" not in profile.extensions:
        raise InvalidRequestError(f"{extended[0]}: the task.release extension is switched off on this server")
    if "reason" in data:
        request.reason = fields.text(data, "reason")
    if "delay" in data:
        request.delay_ms = fields.integer(data, "delay", 0)
    if "counted" in data:
        if type(data["counted"]) is not bool:
            raise InvalidRequestError(f"counted must be a boolean, got {describe(data['counted'])}")
        request.counted = data["counted"]
    return request


def _task_fulfill(data: Object, head: Object, profile: Profile) -> r.Request:
    task_id, version = fields.identifier(data, "id"), fields.integer(data, "version", 0)
    settle = _settle(_headed_action(data))
    if settle.id != task_id:
        raise InvalidRequestError(f"Action ID must match the task ID: {settle.id!r} is not {task_id!r}")
    return r.TaskFulfill(task_id, version, settle)


def _task_suspend(data: Object, head: Object, profile: Profile) -> r.Request:
    task_id, version = fields.identifier(data, "id"), fields.integer(data, "version", 0)
    actions = data.get("actions")
    if type(actions) is not list or not actions:
        raise InvalidRequestError("actions must be a non-empty array of promise.register_callback actions")
    awaited: dict[str, None] = {}
    for action in actions:
        inner = action.get("data") if type(action) is dict else None
        if type(inner) is not dict:
            raise InvalidRequestError("each action must be an object with an object 'data'")
        if fields.identifier(inner, "awaiter") != task_id:
            raise InvalidRequestError(f"awaiter must be the task {task_id!r}, got {inner['awaiter']!r}")
        one = fields.identifier(inner, "awaited")
        if one == task_id:
            raise InvalidRequestError(f"task {task_id!r} cannot await itself")
        awaited[one] = None
    return r.TaskSuspend(task_id, version, tuple(awaited), _children(head, profile))


def _task_fence(data: Object, head: Object, profile: Profile) -> r.Request:
    task_id, version = fields.identifier(data, "id"), fields.integer(data, "version", 0)
    kind, inner = _action(data)
    action: r.PromiseCreate | r.PromiseSettle | r.PromiseRecord
    if kind == "promise.create":
        action = _create(inner, profile)
    elif kind == "promise.settle":
        action = _settle(inner)
    elif kind == "promise.record" and "promise.record" in profile.extensions:
        action = r.PromiseRecord(_create(inner, profile), _settle(inner))
        if action.create.target is not None:
            raise InvalidRequestError(f"promise.record is for local steps: a {tag_names.TARGET} tag is not allowed")
    else:
        raise InvalidRequestError(f"Invalid fence action kind {kind!r}: expected promise.create or promise.settle")
    if action.id == task_id:
        raise InvalidRequestError("Action ID must not equal the task ID")
    return r.TaskFence(task_id, version, action, str(head.get("corrId", "")), _children(head, profile))


def _task_heartbeat(data: Object, head: Object, profile: Profile) -> r.Request:
    pid = fields.text(data, "pid")
    tasks = data.get("tasks")
    if type(tasks) is not list:
        raise InvalidRequestError(f"tasks must be an array of {{id, version}}, got {describe(tasks)}")
    refs = []
    for task in tasks:
        if type(task) is not dict:
            raise InvalidRequestError(f"each of tasks must be an object, got {describe(task)}")
        refs.append((fields.identifier(task, "id"), fields.integer(task, "version", 0)))
    return r.TaskHeartbeat(pid, tuple(refs))


def _task_halt(data: Object, head: Object, profile: Profile) -> r.Request:
    return r.TaskHalt(fields.identifier(data, "id"))


def _task_continue(data: Object, head: Object, profile: Profile) -> r.Request:
    return r.TaskContinue(fields.identifier(data, "id"))


def _task_search(data: Object, head: Object, profile: Profile) -> r.Request:
    return r.TaskSearch(fields.state_of(data, TASK_STATES), *fields.page(data, DEFAULT_SEARCH_LIMIT))


def _schedule_get(data: Object, head: Object, profile: Profile) -> r.Request:
    return r.ScheduleGet(fields.identifier(data, "id"))


def _schedule_create(data: Object, head: Object, profile: Profile) -> r.Request:
    request = r.ScheduleCreate(
        fields.identifier(data, "id"),
        fields.text(data, "cron"),
        fields.identifier(data, "promiseId"),
        fields.integer(data, "promiseTimeout", 0),
        fields.value_of(data, "promiseParam"),
        fields.tags_of(data, "promiseTags"),
    )
    if _target(request.promise_tags, profile) is None:
        raise InvalidRequestError(f"promiseTags must have a {tag_names.TARGET} tag: its promises run nowhere")
    return request


def _schedule_delete(data: Object, head: Object, profile: Profile) -> r.Request:
    return r.ScheduleDelete(fields.identifier(data, "id"))


def _schedule_search(data: Object, head: Object, profile: Profile) -> r.Request:
    return r.ScheduleSearch(fields.tag_filter(data), *fields.page(data, DEFAULT_SCHEDULE_SEARCH_LIMIT))


def _debug_tick(data: Object, head: Object, profile: Profile) -> r.Request:
    time = fields.integer(data, "time", 0)
    debug_time = head.get("resonate:debug_time")
    if debug_time is not None and debug_time != time:
        raise InvalidRequestError(f"time ({time}) must equal head resonate:debug_time ({debug_time})")
    return r.DebugTick(time)


def _worker_hello(data: Object, head: Object, profile: Profile) -> r.Request:
    addresses, functions = data.get("addresses", []), data.get("functions", [])
    if type(addresses) is not list or type(functions) is not list:
        raise InvalidRequestError("addresses and functions must be arrays")
    if type(data.get("resident", False)) is not bool:
        raise InvalidRequestError(f"resident must be a boolean, got {describe(data['resident'])}")
    for address in addresses:
        parse_address(address, profile.transports, "worker")
    names = []
    for function in functions:
        if type(function) is not dict:
            raise InvalidRequestError(f"each of functions must be an object, got {describe(function)}")
        names.append((fields.text(function, "name"), fields.integer(function, "version", 1)))
    return r.WorkerHello(
        fields.text(data, "group"),
        fields.text(data, "pid"),
        tuple(addresses),
        fields.integer(data, "concurrency", 1),
        fields.integer(data, "free", 0),
        data.get("resident", False),
        tuple(names),
    )


def _worker_search(data: Object, head: Object, profile: Profile) -> r.Request:
    return r.WorkerSearch(None if data.get("group") is None else fields.text(data, "group"))


def _plain(request: Callable[[], r.Request]) -> Callable[[Object, Object, Profile], r.Request]:
    return lambda data, head, profile: request()


_PARSERS: dict[str, Callable[[Object, Object, Profile], r.Request]] = {
    "promise.get": _promise_get,
    "promise.create": _promise_create,
    "promise.settle": _promise_settle,
    "promise.register_callback": _register_callback,
    "promise.register_listener": _register_listener,
    "promise.search": _promise_search,
    "task.get": _task_get,
    "task.create": _task_create,
    "task.acquire": _task_acquire,
    "task.release": _task_release,
    "task.fulfill": _task_fulfill,
    "task.suspend": _task_suspend,
    "task.fence": _task_fence,
    "task.heartbeat": _task_heartbeat,
    "task.halt": _task_halt,
    "task.continue": _task_continue,
    "task.search": _task_search,
    "schedule.get": _schedule_get,
    "schedule.create": _schedule_create,
    "schedule.delete": _schedule_delete,
    "schedule.search": _schedule_search,
    "debug.start": _plain(r.DebugStart),
    "debug.stop": _plain(r.DebugStop),
    "debug.reset": _plain(r.DebugReset),
    "debug.tick": _debug_tick,
    "debug.snap": _plain(r.DebugSnap),
    "server.info": _plain(r.ServerInfo),
    "worker.hello": _worker_hello,
    "worker.search": _worker_search,
}

_EXTENSION_OF = {
    "server.info": "server.info",
    "worker.hello": "worker.hello",
    "worker.search": "worker.hello",
}
