"""A workbench for the machine alone: everything is loaded, nothing is stored, every step can be looked at."""

from typing import Any

from resonate_mq.machine.background import Background
from resonate_mq.machine.dispatch import apply, footprint
from resonate_mq.machine.state import Footprint, NotLoaded, State
from resonate_mq.protocol import tags
from resonate_mq.protocol.envelope import Reply
from resonate_mq.protocol.errors import InvalidRequestError
from resonate_mq.protocol.parse import Profile, parse_request
from resonate_mq.protocol.records import Promise, PromiseImage, Schedule
from resonate_mq.protocol.requests import Request

TARGET = "poll://any@g"
ACTION_HEAD = {"corrId": "i", "version": "2026-04-01"}


class Bench:
    """Applies wire requests to a `State`, loading what is asked for from itself."""

    def __init__(self) -> None:
        self.state = State()
        self.now_ms = 1_000
        self.profile = Profile()

    def ask(self, kind: str, data: dict[str, Any], head: dict[str, Any] | None = None) -> Reply:
        """Parse and apply one request at `now_ms`; a malformed one answers its 4xx."""
        try:
            request = parse_request(kind, data, head or {"corrId": "c"}, self.profile)
        except InvalidRequestError as error:
            return Reply(error.status, error.message)
        return self.run(request)

    def run(self, request: Request | Background) -> Reply:
        """Apply one typed request."""
        self.state.branches.clear()
        self.state.families.clear()
        self.load(footprint(request))
        while True:
            try:
                reply = apply(request, self.state, self.now_ms)
            except NotLoaded as missing:
                self.state.undo()
                self.load(missing.footprint)
            else:
                self.state.accept()
                return reply

    def load(self, wanted: Footprint) -> None:
        """Give the state what it wants: there is nothing beyond it."""
        for promise_id in wanted.ids:
            self.state.promises.setdefault(promise_id, None)
        for schedule_id in wanted.schedules:
            self.state.schedules.setdefault(schedule_id, None)
        for branch in wanted.branches:
            self.state.branches[branch] = [one.id for one in self.promises() if one.tags.get(tags.BRANCH) == branch]
        for branch in wanted.families:
            members = {branch, *(one.id for one in self.promises() if one.tags.get(tags.BRANCH) == branch)}
            children = (one.id for one in self.promises() if one.tags.get(tags.PARENT) in members)
            self.state.families[branch] = sorted(members.union(children))

    def promises(self) -> list[Promise]:
        """Return every promise there is, by id."""
        return [one for _, one in sorted(self.state.promises.items()) if one is not None]

    def schedules(self) -> list[Schedule]:
        """Return every schedule there is, by id."""
        return [one for _, one in sorted(self.state.schedules.items()) if one is not None and not one.deleted]

    def images(self) -> dict[str, PromiseImage]:
        """Return how every promise is now."""
        return {one.id: one.image() for one in self.promises()}

    # -- shorthands

    def create(self, promise_id: str, timeout_at: int = 100_000, **named_tags: str) -> Reply:
        """promise.create; keyword `target="g"` and so on become `resonate:` tags."""
        return self.ask("promise.create", create_data(promise_id, timeout_at, **named_tags))

    def start(self, task_id: str, timeout_at: int = 100_000, pid: str = "p", **named_tags: str) -> Reply:
        """task.create of a targeted promise."""
        named_tags.setdefault("target", TARGET)
        action = {"kind": "promise.create", "head": ACTION_HEAD, "data": create_data(task_id, timeout_at, **named_tags)}
        return self.ask("task.create", {"pid": pid, "ttl": 5_000, "action": action})

    def settle(self, promise_id: str, state: str = "resolved") -> Reply:
        """promise.settle"""
        return self.ask("promise.settle", {"id": promise_id, "state": state, "value": {"data": "dg=="}})

    def acquire(self, task_id: str, version: int, pid: str = "p", **more: Any) -> Reply:
        """task.acquire"""
        return self.ask("task.acquire", {"id": task_id, "version": version, "pid": pid, "ttl": 5_000, **more})

    def fence(self, task_id: str, version: int, kind: str, data: dict[str, Any], **head: str) -> Reply:
        """task.fence"""
        action = {"kind": kind, "head": ACTION_HEAD, "data": data}
        return self.ask("task.fence", {"id": task_id, "version": version, "action": action}, {"corrId": "f", **head})

    def suspend(self, task_id: str, version: int, *awaited: str, **head: str) -> Reply:
        """task.suspend"""
        kind = "promise.register_callback"
        actions = [{"kind": kind, "head": ACTION_HEAD, "data": {"awaited": a, "awaiter": task_id}} for a in awaited]
        return self.ask(
            "task.suspend", {"id": task_id, "version": version, "actions": actions}, {"corrId": "s", **head}
        )

    def fulfill(self, task_id: str, version: int, state: str = "resolved") -> Reply:
        """task.fulfill"""
        inner = {"id": task_id, "state": state, "value": {"data": "dg=="}}
        action = {"kind": "promise.settle", "head": ACTION_HEAD, "data": inner}
        return self.ask("task.fulfill", {"id": task_id, "version": version, "action": action})

    def task(self, task_id: str) -> dict[str, Any]:
        """Return the task record."""
        reply = self.ask("task.get", {"id": task_id})
        assert reply.status == 200, reply
        record: dict[str, Any] = reply.data["task"]
        return record

    def promise(self, promise_id: str) -> dict[str, Any]:
        """Return the promise record."""
        reply = self.ask("promise.get", {"id": promise_id})
        assert reply.status == 200, reply
        record: dict[str, Any] = reply.data["promise"]
        return record


def create_data(promise_id: str, timeout_at: int = 100_000, **named_tags: str) -> dict[str, Any]:
    """Return the data of a promise.create."""
    return {"id": promise_id, "timeoutAt": timeout_at, "tags": {f"resonate:{k}": v for k, v in named_tags.items()}}
