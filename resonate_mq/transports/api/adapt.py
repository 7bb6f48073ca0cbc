"""From a typed request to what a given server understands: extensions used where announced, else done without.

Pure. Knows which extension each request needs and what stands in for it (D8, D9, D10, D14); an official server
announces none and everything still works.
"""

from dataclasses import replace
from typing import Any, NamedTuple

from resonate_mq.protocol import requests as r
from resonate_mq.protocol.envelope import Reply
from resonate_mq.protocol.parse import PRELOAD_HEAD

NONE: frozenset[str] = frozenset()
_PRELOAD = {PRELOAD_HEAD: "children"}


class ServerFacts(NamedTuple):
    """What a server says about itself (D1); an official one says nothing.

    Attributes:
        store_id: identity of its store; None when it announces none.
        capabilities: names of the extensions it accepts and we may use.
        transports: names of its transports.
        default_transport: where a bare group is reached (D35); `poll` on official servers.
        name: the server's configured name.
        version: the server's software version.
    """

    store_id: str | None = None
    capabilities: frozenset[str] = NONE
    transports: tuple[str, ...] = ("poll",)
    default_transport: str = "poll"
    name: str = ""
    version: str = ""


class Step(NamedTuple):
    """One request on the wire.

    Attributes:
        extended: it uses an extension, so that a 400 may mean the server does not know it.
        last: its answer is the answer of the typed request it came from.
    """

    kind: str
    data: dict[str, Any]
    head: dict[str, Any] | None
    extended: bool
    last: bool


def facts_of(data: dict[str, Any], allowed: frozenset[str]) -> ServerFacts:
    """Read the answer of `server.info`; members that are missing get the values of an official server."""
    return ServerFacts(
        store_id=data.get("storeId"),
        capabilities=frozenset(data.get("capabilities", ())) & allowed,
        transports=tuple(data.get("transports", ("poll",))),
        default_transport=data.get("defaultTransport", "poll"),
        name=str(data.get("name", "")),
        version=str(data.get("version", "")),
    )


def refused_locally(request: r.Request, capabilities: frozenset[str]) -> Reply | None:
    """Answer here what this server cannot know at all, with the answer it would give."""
    needed = _NEEDS.get(request.kind)
    if needed is None or needed in capabilities:
        return None
    return Reply(400, f"Unknown operation: {request.kind} (the server does not announce {needed!r})")


def steps_of(request: r.Request, capabilities: frozenset[str], head: dict[str, Any] | None) -> list[Step]:
    """Return what to send, in order; later steps are for when the earlier ones answered 200.

    `head` adds members to the head of every step.
    """
    if isinstance(request, r.TaskFence) and isinstance(request.action, r.PromiseRecord):
        if "promise.record" not in capabilities:
            return _create_then_settle(request, request.action, capabilities, head)
        return [_step(request, _preload(request, capabilities, head), extended=True)]
    if isinstance(request, r.TaskAcquire | r.TaskCreate):
        claim = request.claim if "claim" in capabilities else None
        if claim != request.claim:
            request = replace(request, claim=claim)
        merged = _preload(request, capabilities, head)
        return [_step(request, merged, extended=claim is not None or merged is not head)]
    if isinstance(request, r.TaskSuspend | r.TaskFence):
        merged = _preload(request, capabilities, head)
        return [_step(request, merged, extended=merged is not head)]
    if isinstance(request, r.TaskRelease):
        if "task.release" not in capabilities:
            return [_step(r.TaskRelease(request.id, request.version), head, extended=False)]
        return [_step(request, head, extended=True)]
    return [_step(request, head, extended=request.kind in _NEEDS)]


def _create_then_settle(
    request: r.TaskFence, record: r.PromiseRecord, capabilities: frozenset[str], head: dict[str, Any] | None
) -> list[Step]:
    create = replace(request, action=record.create)
    settle = replace(request, action=record.settle)
    merged = _preload(request, capabilities, head)
    extended = merged is not head
    return [_step(create, merged, extended=extended, last=False), _step(settle, merged, extended=extended)]


def _preload(
    request: r.TaskAcquire | r.TaskCreate | r.TaskSuspend | r.TaskFence,
    capabilities: frozenset[str],
    head: dict[str, Any] | None,
) -> dict[str, Any] | None:
    if not request.children or "preload" not in capabilities:
        return head
    return _PRELOAD if head is None else {**head, **_PRELOAD}


def _step(request: r.Request, head: dict[str, Any] | None, *, extended: bool, last: bool = True) -> Step:
    return Step(request.kind, request.wire(), head, extended, last)


_NEEDS = {"server.info": "server.info", "worker.hello": "worker.hello", "worker.search": "worker.hello"}
