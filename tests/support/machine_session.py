"""A whole durable world in one process without a network: the real machine on a dict, and executions run over it.

Owns a promise table, a clock that jumps to the next deadline when everything waits, and sessions that talk to the
machine through the wire form of each request. A session can be killed at any of its round trips.
"""

from __future__ import annotations

import asyncio
import base64
import json
import time
from collections.abc import Callable, Sequence
from typing import Any

from resonate_mq.functions.codec import Codec
from resonate_mq.functions.invocation import encode_invocation
from resonate_mq.functions.registry import Registry
from resonate_mq.functions.settled import outcome_of
from resonate_mq.machine.background import FireDeadlines
from resonate_mq.machine.dispatch import apply, footprint
from resonate_mq.machine.state import Footprint, NotLoaded, State
from resonate_mq.protocol import requests as r
from resonate_mq.protocol import tags
from resonate_mq.protocol.envelope import Reply
from resonate_mq.protocol.errors import InvalidRequestError
from resonate_mq.protocol.parse import EXTENSIONS, Profile, parse_request
from resonate_mq.protocol.records import PENDING, Promise, Value
from resonate_mq.worker.execution import (
    Environment,
    Execution,
    LeafThreads,
    Outcome,
    Released,
    Suspended,
)
from tests.support.extensions import ENABLED

FULL = EXTENSIONS - {"batch"}
"""What a server has that has everything; batching is the requester's, there is none here."""


class Killed(BaseException):
    """The process that held a session is gone."""


async def turns(count: int) -> None:
    """Let the event loop go round."""
    loop = asyncio.get_running_loop()
    for _ in range(count):
        future = loop.create_future()
        loop.call_soon(future.set_result, None)
        await future


WORLDS: list[World] = []
"""Every world of the running test; `end_worlds` stops their threads."""


def end_worlds() -> None:
    """Stop what the worlds of a test left running."""
    for world in WORLDS:
        world.environment.threads.stop()
    WORLDS.clear()


class World:
    """Promises and the executions that run them.

    Attributes:
        trips: every sequence sent, as lists of kinds (fences by their action).
        outcomes: of every run, in order.
    """

    def __init__(
        self,
        registry: Registry | None = None,
        *,
        extensions: frozenset[str] = ENABLED - {"batch"},
        resident: bool = True,
        dependencies: dict[str, Any] | None = None,
        slow_leaf_s: float = 0.05,
    ) -> None:
        self.registry = registry or Registry()
        self.promises: dict[str, Promise | None] = {}
        self.profile = Profile(extensions=extensions)
        self.trips: list[list[str]] = []
        self.outcomes: list[Outcome] = []
        self.parked: list[bool] = []
        self.offset_ms = 0
        self.codec = Codec()
        self.environment = Environment(
            registry=self.registry,
            threads=LeafThreads(8),
            now_ms=self.now_ms,
            resolve_target=lambda target: target if target and "://" in target else f"poll://any@{target or 'g'}",
            dependencies=dependencies or {},
            resident=resident,
            slow_leaf_s=slow_leaf_s,
        )
        self._residents: dict[str, tuple[Execution, MachineSession]] = {}
        WORLDS.append(self)

    def now_ms(self) -> int:
        """Return the world's time: the wall clock plus what was skipped."""
        return int(time.time() * 1000) + self.offset_ms

    def apply(self, request: Any, head: dict[str, Any] | None = None) -> Reply:
        """Apply one request, in the form it has on the wire."""
        if not isinstance(request, FireDeadlines):
            data = json.loads(json.dumps(request.wire()))
            head = dict(head or {})
            if getattr(request, "children", False):
                head["resonate-mq:preload"] = "children"
            try:
                request = parse_request(request.kind, data, head, self.profile)
            except InvalidRequestError as error:
                return Reply(error.status, error.message)
        state = State(self.promises)
        footprints = footprint(request)
        while True:
            self._load(state, footprints)
            try:
                reply = apply(request, state, self.now_ms())
            except NotLoaded as missing:
                state.undo()
                footprints = missing.footprint
                continue
            state.accept()
            data = reply.data
            return Reply(reply.status, json.loads(json.dumps(data)) if isinstance(data, dict) else data)

    def _load(self, state: State, wanted: Footprint) -> None:
        present = [one for one in self.promises.values() if one is not None]
        for promise_id in wanted.ids:
            state.promises.setdefault(promise_id, None)
        for branch in wanted.branches:
            state.branches[branch] = [one.id for one in present if one.tags.get(tags.BRANCH) == branch]
        for branch in wanted.families:
            members = {branch} | {one.id for one in present if one.tags.get(tags.BRANCH) == branch}
            children = {one.id for one in present if one.tags.get(tags.PARENT) in members}
            state.families[branch] = sorted(members | children)

    # -- what a client does

    def begin(self, promise_id: str, func: Any, *args: Any, timeout_s: float = 3600, **kwargs: Any) -> None:
        """Create the durable promise of a call; registers the function where it is not."""
        if not isinstance(func, str):
            try:
                entry = self.registry.get(func)
            except ValueError:
                entry = self.registry.add(func)
            name, version, signature = entry.name, entry.version, entry.signature
            param = encode_invocation(self.codec, name, args, kwargs, version, signature)
        else:
            param = encode_invocation(self.codec, func, args, kwargs, 1)
        root_tags = dict.fromkeys((tags.ORIGIN, tags.PREFIX, tags.BRANCH, tags.PARENT), promise_id)
        root_tags |= {tags.SCOPE: "global", tags.TARGET: "poll://any@g"}
        create = r.PromiseCreate(promise_id, self.now_ms() + int(timeout_s * 1000), param, root_tags)
        assert self.apply(create).status == 200

    def settle(self, promise_id: str, state: str = "resolved", data: Any = None) -> dict[str, Any]:
        """Settle a promise from outside."""
        value = Value(None, None if data is None else base64.b64encode(json.dumps(data).encode()).decode())
        reply = self.apply(r.PromiseSettle(promise_id, state, value))
        assert reply.status == 200, reply
        return dict(reply.data["promise"])

    def record(self, promise_id: str) -> dict[str, Any] | None:
        """Return the stored record."""
        self.apply(FireDeadlines((promise_id,)))
        promise = self.promises.get(promise_id)
        return None if promise is None else promise.wire()

    def result(self, promise_id: str, annotation: Any = Any) -> Any:
        """Return or raise what the settled promise holds."""
        record = self.record(promise_id)
        assert record is not None, f"no promise {promise_id}"
        assert record["state"] != PENDING, f"{promise_id} is pending"
        value, error = outcome_of(self.codec, record, annotation)
        if error is not None:
            raise error
        return value

    def ids(self) -> list[str]:
        """Return the ids of all promises, sorted."""
        return sorted(one.id for one in self.promises.values() if one is not None)

    # -- what a worker does

    async def run(self, promise_id: str, func: Any, *args: Any, **kwargs: Any) -> Any:
        """Begin a call, run the world until nothing moves, return or raise its outcome."""
        self.begin(promise_id, func, *args, **kwargs)
        await self.work()
        return self.result(promise_id)

    async def work(self, *, jump: bool = True) -> None:
        """Run every pending task until only outside events could go on; deadlines are jumped to when `jump`."""
        while True:
            tasks = [one for one in self.promises.values() if one is not None and self._is_due(one)]
            if tasks:
                async with asyncio.TaskGroup() as group:
                    for one in tasks:
                        group.create_task(self.take(one.id))
            elif not (jump and self._jump()):
                return

    def _is_due(self, promise: Promise) -> bool:
        task = promise.task
        return task is not None and task.state == PENDING and promise.is_live_at(self.now_ms())

    def _jump(self) -> bool:
        """Go to the next deadline somebody waits for, unless it is years away."""
        waiting = [one for one in self.promises.values() if one is not None and one.state == PENDING and one.awaiters]
        if not waiting:
            return False
        promise = min(waiting, key=lambda one: one.timeout_at)
        if promise.timeout_at - self.now_ms() > 86_400_000 * 30:
            return False
        self.offset_ms += max(0, promise.timeout_at - self.now_ms())
        self.apply(FireDeadlines((promise.id,)))
        return True

    def acquire(self, promise_id: str, session_of: Callable[..., MachineSession] | None = None) -> MachineSession:
        """Acquire the task as a worker would."""
        promise = self.promises[promise_id]
        assert promise is not None
        assert promise.task is not None
        children = "preload" in self.profile.extensions
        reply = self.apply(r.TaskAcquire(promise_id, promise.task.version, "w1", 60_000, None, children))
        assert reply.status == 200, reply
        return (session_of or MachineSession)(self, reply.data)

    async def take(self, promise_id: str, *, die_after: int | None = None) -> Outcome:
        """Run or resume one pending task to its next end; a released one is released."""
        held = self._residents.pop(promise_id, None)
        session = self.acquire(promise_id)
        session.die_after = die_after
        if held is not None and die_after is None:
            execution, old = held
            old.version, old.die_after, old.truncated = session.version, None, session.truncated
            outcome = await execution.resume(session.version, session.records)
        else:
            execution = Execution(session, self.environment)
            outcome = await execution.run()
            old = session
        self.outcomes.append(outcome)
        if isinstance(outcome, Suspended) and outcome.resident:
            self._residents[promise_id] = (execution, old)
        elif isinstance(outcome, Released):
            request = r.TaskRelease(promise_id, session.version)
            self.apply(request)
            raise AssertionError(f"released: {outcome.reason}")
        return outcome

    async def work_only(self, promise_id: str) -> None:
        """Run this task while it is pending; nobody else works and time does not jump."""
        while True:
            promise = self.promises[promise_id]
            assert promise is not None
            if not self._is_due(promise):
                return
            await self.take(promise_id)

    def apply_release(self, promise_id: str) -> None:
        """Give a task back that a killed process held."""
        promise = self.promises[promise_id]
        assert promise is not None
        assert promise.task is not None
        self.apply(r.TaskRelease(promise_id, promise.task.version))

    async def crash_everywhere(self, promise_id: str) -> int:
        """Work on all tasks, killing each run of `promise_id` one round trip later than before; return the kills."""
        kills = 0
        while True:
            promise = self.promises[promise_id]
            assert promise is not None
            if promise.state != PENDING:
                return kills
            if not self._is_due(promise):
                others = [one.id for one in self.promises.values() if one is not None and self._is_due(one)]
                for other in others:
                    await self.take(other)
                assert others or self._is_due(promise) or self._jump(), "nothing moves"
                continue
            try:
                await self.take(promise_id, die_after=kills % 7)
            except Killed:
                kills += 1
                self.apply(r.TaskRelease(promise_id, promise.task.version if promise.task else 0))

    def forget_residents(self) -> None:
        """Let every suspended body be dropped, as a restarted process would."""
        for execution, _ in self._residents.values():
            execution.drop()
        self._residents.clear()


class MachineSession:
    """One acquisition; see `worker.execution.Session`.

    Attributes:
        die_after: sequences that are answered before the process is killed; None for never.
        lost: what `is_lost` says.
    """

    def __init__(self, world: World, acquired: dict[str, Any]) -> None:
        self.world = world
        self.id: str = acquired["task"]["id"]
        self.version: int = acquired["task"]["version"]
        self.promise: dict[str, Any] = acquired["promise"]
        self.records: Sequence[dict[str, Any]] = acquired["preload"]
        self.truncated = bool(acquired.get("truncated"))
        self.capabilities = world.profile.extensions
        self.pid = "w1"
        self.die_after: int | None = None
        self.lost = False
        self.sequences = 0
        self._early: dict[str, asyncio.TimerHandle] = {}

    async def sequence(self, requests: Sequence[Any]) -> list[Reply]:
        """Apply each request; stop after the first that is refused."""
        self.world.trips.append([_kind(one) for one in requests])
        await turns(1)
        if self.die_after is not None and self.sequences >= self.die_after:
            raise Killed
        self.sequences += 1
        replies: list[Reply] = []
        for request in requests:
            replies.append(self.world.apply(request))
            if not replies[-1].ok:
                break
        return replies

    def is_lost(self) -> bool:
        """Tell what the test wants."""
        return self.lost

    def park(self, parked: bool) -> None:
        """Remember it."""
        self.world.parked.append(parked)

    def show_early(self, create: Any, after_s: float) -> None:
        """Send it after a moment."""
        self._early[create.action.id] = asyncio.get_running_loop().call_later(after_s, self._send_early, create)

    def _send_early(self, create: Any) -> None:
        del self._early[create.action.id]
        self.world.trips.append(["early"])
        self.world.apply(create)

    def shown(self, promise_id: str) -> bool:
        """Tell whether it was sent."""
        timer = self._early.pop(promise_id, None)
        if timer is not None:
            timer.cancel()
        return timer is None


def _kind(request: Any) -> str:
    return str(request.action.kind if isinstance(request, r.TaskFence) else request.kind)
