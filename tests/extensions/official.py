"""What an official server knows: kinds, heads and members of `data` (protocol sections 1.1, 3.0.1).

Pure. `violations` says what in an envelope such a server has never heard of, or refuses in its strictest version.
Tags, value headers and the contents of values are the client's own (section 2) and are not looked at.
"""

from __future__ import annotations

from typing import Any

HEADS = frozenset({"corrId", "version", "auth", "resonate:origin", "resonate:debug_time"})
VALUE = frozenset({"headers", "data"})
ACTION = frozenset({"kind", "head", "data"})

MEMBERS: dict[str, frozenset[str]] = {
    kind: frozenset(members.split())
    for kind, members in {
        "promise.get": "id",
        "promise.create": "id timeoutAt param tags",
        "promise.settle": "id state value",
        "promise.register_callback": "awaited awaiter",
        "promise.register_listener": "awaited address",
        "promise.search": "state tags limit cursor",
        "task.get": "id",
        "task.create": "pid ttl action",
        "task.acquire": "id version pid ttl",
        "task.release": "id version",
        "task.fulfill": "id version action",
        "task.suspend": "id version actions",
        "task.fence": "id version action",
        "task.heartbeat": "pid tasks",
        "task.halt": "id",
        "task.continue": "id",
        "task.search": "state limit cursor",
        "schedule.get": "id",
        "schedule.delete": "id",
        "schedule.create": "id cron promiseId promiseTimeout promiseParam promiseTags",
        "schedule.search": "tags limit cursor",
        "debug.start": "",
        "debug.stop": "",
        "debug.reset": "",
        "debug.tick": "time",
        "debug.snap": "",
    }.items()
}
"""Kind to the members its `data` may have."""

ACTIONS = {
    "task.create": {"promise.create"},
    "task.fulfill": {"promise.settle"},
    "task.fence": {"promise.create", "promise.settle"},
    "task.suspend": {"promise.register_callback"},
}
"""Kind to the kinds of the actions it may carry."""


def violations(envelope: dict[str, Any]) -> list[str]:
    """Return one sentence for everything in a request that an official server does not know; [] for a good one."""
    kind, data = envelope["kind"], envelope["data"]
    if kind not in MEMBERS:
        return [f"unknown kind {kind}"]
    found = _unknown(f"{kind}: head", envelope["head"], HEADS) + _members(kind, data)
    for action in [*data.get("actions", ()), *([data["action"]] if "action" in data else ())]:
        found += _unknown(f"{kind}: action", action, ACTION)
        found += _unknown(f"{kind}: action head", action.get("head") or {}, HEADS)
        if action["kind"] not in ACTIONS[kind]:
            found.append(f"{kind}: unknown action {action['kind']}")
        else:
            found += [f"{kind}: {one}" for one in _members(action["kind"], action["data"])]
    if kind == "task.heartbeat":
        found += _heartbeat(data["tasks"])
    return found


def _members(kind: str, data: dict[str, Any]) -> list[str]:
    found = _unknown(kind, data, MEMBERS[kind])
    for name in ("param", "value", "promiseParam"):
        found += _unknown(f"{kind}: {name}", data.get(name, {}), VALUE)
    return found


def _heartbeat(tasks: list[dict[str, Any]]) -> list[str]:
    """Its strictest version wants at least one task, and all of one origin (section 3.14)."""
    found = [one for task in tasks for one in _unknown("task.heartbeat: task", task, frozenset({"id", "version"}))]
    origins = {task["id"].partition(".")[0] for task in tasks}
    if len(origins) != 1:
        found.append(f"task.heartbeat: tasks of {len(origins)} origins: {sorted(origins)}")
    return found


def _unknown(where: str, found: dict[str, Any], known: frozenset[str]) -> list[str]:
    return [f"{where}: unknown {name}" for name in sorted(found.keys() - known)]
