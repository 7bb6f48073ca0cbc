"""Answers of the three searches (protocol sections 3.6, 3.17, 3.20), projected at the request's instant."""

from typing import Any

from resonate_mq.protocol.envelope import Reply
from resonate_mq.protocol.records import FULFILLED, Promise
from resonate_mq.protocol.requests import PromiseSearch, ScheduleSearch, TaskSearch
from resonate_mq.stores.port import Unit


async def promises(query: PromiseSearch, unit: Unit, now_ms: int) -> Reply:
    """Answer a page of promises."""
    found, more = await unit.search_promises(query, now_ms)
    return _page("promises", [one.wire_at(now_ms) for one in found], more)


async def tasks(query: TaskSearch, unit: Unit, now_ms: int) -> Reply:
    """Answer a page of tasks; the task of an expired promise shows as fulfilled, as task.get would answer it."""
    found, more = await unit.search_tasks(query, now_ms)
    return _page("tasks", [_task_at(one, now_ms) for one in found if one.task is not None], more)


async def schedules(query: ScheduleSearch, unit: Unit) -> Reply:
    """Answer a page of schedules."""
    found, more = await unit.search_schedules(query)
    return _page("schedules", [one.wire() for one in found], more)


def _page(name: str, records: list[dict[str, Any]], more: bool) -> Reply:
    data: dict[str, Any] = {name: records}
    if more and records:
        data["cursor"] = records[-1]["id"]
    return Reply(200, data)


def _task_at(promise: Promise, now_ms: int) -> dict[str, Any]:
    task = promise.task
    if task is None:
        raise TypeError(f"promise {promise.id!r} has no task")
    if promise.is_live_at(now_ms) or task.state == FULFILLED:
        return task.wire(promise.id)
    return {"id": promise.id, "state": FULFILLED, "version": task.version, "resumes": 0}
