"""Whether an acquisition whose answer was lost is ours, for servers without the claim extension (D8).

With the extension a repeat carries the same token and gets the same answer, and nothing here runs.
"""

from __future__ import annotations

from typing import Protocol

from resonate_mq.protocol import requests as r
from resonate_mq.protocol.envelope import Reply
from resonate_mq.protocol.records import ACQUIRED
from resonate_mq.transports.api.operation import Operation


class Caller(Protocol):
    """What is needed of the requester."""

    async def call(self, request: r.Request, *, deadline_s: float | None = None) -> Reply:
        """Return the server's reply."""
        ...


async def settle_claim(caller: Caller, operation: Operation, replies: list[Reply], left_s: float) -> Reply | None:
    """Return the answer that was lost if the last request acquired its task after all, else None.

    A repeat of an executed acquire answers 409. The task is ours when it is acquired by our pid, at the version
    after the one asked for.
    """
    if not replies:
        return None
    request = operation.requests[len(replies) - 1]
    if replies[-1].status != 409 or not operation.ambiguous:
        return None
    if isinstance(request, r.TaskAcquire):
        task_id, expected = request.id, request.version + 1
    elif isinstance(request, r.TaskCreate):
        task_id, expected = request.create.id, None
    else:
        return None
    got = await caller.call(r.TaskGet(task_id), deadline_s=left_s)
    if not got.ok:
        return None
    task = got.data["task"]
    if task["state"] != ACQUIRED or task.get("pid") != request.pid or expected not in (None, task["version"]):
        return None
    promise = await caller.call(r.PromiseGet(task_id), deadline_s=left_s)
    if not promise.ok:
        return None
    return Reply(200, {"task": task, "promise": promise.data["promise"], "preload": [], "truncated": True})
