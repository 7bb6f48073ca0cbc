"""The tree of an execution: loaded level by level through searches for `resonate:parent`, and drawn.

Owns the shape of a node: `{id, state, kind, func, task?, pid?, createdAt, settledAt?, children, truncated?}`.
"""

import asyncio
import re
from collections.abc import Iterator
from typing import Any

from resonate_mq.cli.connection import Session
from resonate_mq.cli.output import duration
from resonate_mq.protocol import requests as r
from resonate_mq.protocol import tags as names

MARKS = {"pending": "🟡", "resolved": "🟢"}
FAILED_MARK = "🔴"
PAGE = 500


async def load(session: Session, root_id: str, limit: int) -> dict[str, Any]:
    """Return the node of `root_id` with everything below it, at most `limit` promises.

    Raises:
        CliError: there is no such promise.
    """
    root = await _node(session, (await session.ask(r.PromiseGet(root_id)))["promise"])
    seen = {root_id}
    level = [root]
    while level:
        found = await asyncio.gather(*(_children_of(session, node["id"]) for node in level))
        following: list[dict[str, Any]] = []
        for node, records in zip(level, found, strict=True):
            fresh = [one for one in records if one["id"] not in seen]
            room = max(0, limit - len(seen))
            if len(fresh) > room:
                node["truncated"] = len(fresh) - room
            fresh = sorted(fresh, key=lambda one: _natural(one["id"]))[:room]
            seen.update(one["id"] for one in fresh)
            node["children"] = await asyncio.gather(*(_node(session, one) for one in fresh))
            following += node["children"]
        level = following
    return root


def render(node: dict[str, Any]) -> Iterator[str]:
    """Yield the lines of the drawing."""
    yield from _lines(node, "", "")


async def _children_of(session: Session, parent_id: str) -> list[dict[str, Any]]:
    request = r.PromiseSearch(None, {names.PARENT: parent_id}, PAGE)
    records, _ = await session.pages(request, "promises", every=True)
    return [one for one in records if one["id"] != parent_id]


async def _node(session: Session, record: dict[str, Any]) -> dict[str, Any]:
    tags = record["tags"]
    node: dict[str, Any] = {
        "id": record["id"],
        "state": record["state"],
        "kind": tags.get(names.KIND) or _guessed_kind(tags),
        "func": tags.get(names.FUNC),
        "createdAt": record["createdAt"],
        "children": [],
    }
    if "settledAt" in record:
        node["settledAt"] = record["settledAt"]
    elif names.TARGET in tags:
        task = (await session.ask(r.TaskGet(record["id"])))["task"]
        node["task"] = task["state"]
        if "pid" in task:
            node["pid"] = task["pid"]
    return node


def _guessed_kind(tags: dict[str, str]) -> str:
    """Return the kind of a promise made by other software."""
    if tags.get(names.TIMER) == "true":
        return "sleep"
    if names.TARGET in tags:
        return "rpc"
    return "run" if tags.get(names.SCOPE) == "local" else "promise"


def _lines(node: dict[str, Any], first: str, rest: str) -> Iterator[str]:
    yield first + _label(node)
    children = node["children"]
    for index, child in enumerate(children):
        last = index == len(children) - 1 and "truncated" not in node
        yield from _lines(child, rest + ("└─ " if last else "├─ "), rest + ("   " if last else "│  "))
    if "truncated" in node:
        yield f"{rest}└─ … {node['truncated']} more (raise --limit)"


def _label(node: dict[str, Any]) -> str:
    mark = MARKS.get(node["state"], FAILED_MARK)
    what = node["kind"] if not node["func"] else f"{node['kind']} {node['func']}"
    parts = [node["id"], mark, f"({what})"]
    if "settledAt" in node:
        parts.append(duration(max(0, node["settledAt"] - node["createdAt"])))
        if node["state"] not in MARKS:
            parts.append(node["state"])
    elif "task" in node:
        parts.append(f"{node['task']} by {node['pid']}" if "pid" in node else str(node["task"]))
    else:
        parts.append("pending")
    return " ".join(parts)


def _natural(promise_id: str) -> list[tuple[int, int, str]]:
    """Order ids as people count: `x.2` before `x.10`."""
    return [(1, 0, part) if not part.isdigit() else (0, int(part), "") for part in re.split(r"(\d+)", promise_id)]
