"""Random histories keep every invariant of protocol section 7 (sections 7.1 to 7.6)."""

from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from resonate_mq.machine.background import (
    ExtendLeases,
    FireDeadlines,
    FireLeases,
    FireSchedules,
    ForgetListeners,
    FreeTasks,
    RearmHints,
)
from resonate_mq.protocol.envelope import Reply
from tests.machine.bench import ACTION_HEAD, TARGET, Bench
from tests.machine.invariants import Snap, check_state, check_step, snap

IDS = st.sampled_from(["a", "b", "c", "a.1", "a.2", "b.1"])
PIDS = st.sampled_from(["p", "q"])
VERSIONS = st.integers(0, 4)
VERDICTS = st.sampled_from(["resolved", "rejected", "rejected_canceled"])
ADDRESSES = st.sampled_from(["poll://uni@g/p", "poll://uni@g/q"])


@st.composite
def births(draw: st.DrawFn) -> dict[str, Any]:
    """Return create fields that do not depend on the present."""
    tags: dict[str, str] = {}
    if draw(st.booleans()):
        tags["resonate:target"] = TARGET
        if draw(st.integers(0, 5)) == 0:
            tags["resonate:delay"] = "+"
    if draw(st.integers(0, 4)) == 0:
        tags["resonate:timer"] = "true"
    if draw(st.booleans()):
        tags["resonate:branch"] = draw(IDS)
    return {"tags": tags, "in_ms": draw(st.sampled_from([-5, 0, 50, 500, 5_000, 500_000]))}


class Histories(RuleBasedStateMachine):
    """One random history; each rule is one request or background step."""

    def __init__(self) -> None:
        super().__init__()
        self.bench = Bench()
        self.acquired: set[tuple[str, int]] = set()
        self.settled: dict[str, Any] = {}

    def _step(self, kind: str, data: dict[str, Any], head: dict[str, Any] | None = None) -> Reply:
        before = snap(self.bench)
        reply = self.bench.ask(kind, data, head)
        after = snap(self.bench)
        check_step(before, after, self.bench.now_ms)
        if reply.status >= 400:
            self._unchanged_but_for_deadlines(before, after)
        self._records_are_projections(reply.data)
        return reply

    def _unchanged_but_for_deadlines(self, before: Snap, after: Snap) -> None:
        assert set(before) == set(after), "46"
        touched = {one for one in after if before[one] != after[one]}
        expired = {one for one in touched if before[one][1].state == "pending" != after[one][1].state}
        for one in touched - expired:
            old, new = before[one][1], after[one][1]
            gone = set(old.awaiters) - set(new.awaiters)
            fired = set() if new.task is None else set(new.task.resumes) & expired
            quiet = set() if old.task is None or new.task is None else set(old.task.awaiting) - set(new.task.awaiting)
            assert gone & expired or fired or quiet & expired, (46, one)

    def _records_are_projections(self, data: Any) -> None:
        if isinstance(data, dict):
            if "timeoutAt" in data and "state" in data and "tags" in data:
                if data["state"] == "pending":
                    assert self.bench.now_ms < data["timeoutAt"], (49, data)
                    assert data["id"] not in self.settled, (49, data)
                else:
                    outcome = (data["state"], data["value"], data["settledAt"])
                    assert self.settled.setdefault(data["id"], outcome) == outcome, (25, 52, data)
            for inner in data.values():
                self._records_are_projections(inner)
        elif isinstance(data, list):
            for inner in data:
                self._records_are_projections(inner)

    def _background(self, request: Any) -> None:
        before = snap(self.bench)
        self.bench.run(request)
        check_step(before, snap(self.bench), self.bench.now_ms, background=True)

    def _taken(self, reply: Reply) -> None:
        if reply.status == 200 and reply.data["task"]["state"] == "acquired":
            held = (reply.data["task"]["id"], reply.data["task"]["version"])
            assert held not in self.acquired, (50, held)
            self.acquired.add(held)

    def _create_data(self, promise_id: str, birth: dict[str, Any]) -> dict[str, Any]:
        timeout_at = max(0, self.bench.now_ms + birth["in_ms"])
        tags = dict(birth["tags"])
        if "resonate:delay" in tags:
            tags["resonate:delay"] = str(max(0, min(self.bench.now_ms + 100, timeout_at - 1)))
        return {"id": promise_id, "timeoutAt": timeout_at, "tags": tags}

    @rule(ms=st.sampled_from([0, 1, 49, 50, 600, 6_000]))
    def time_moves(self, ms: int) -> None:
        self.bench.now_ms += ms

    @rule(promise_id=IDS, birth=births())
    def create(self, promise_id: str, birth: dict[str, Any]) -> None:
        self._step("promise.create", self._create_data(promise_id, birth))

    @rule(promise_id=IDS, birth=births(), pid=PIDS)
    def task_create(self, promise_id: str, birth: dict[str, Any], pid: str) -> None:
        data = self._create_data(promise_id, birth)
        data["tags"].setdefault("resonate:target", TARGET)
        action = {"kind": "promise.create", "head": ACTION_HEAD, "data": data}
        self._taken(self._step("task.create", {"pid": pid, "ttl": 1_000, "action": action}))

    @rule(promise_id=IDS)
    def get(self, promise_id: str) -> None:
        self._step("promise.get", {"id": promise_id})

    @rule(promise_id=IDS, state=VERDICTS)
    def settle(self, promise_id: str, state: str) -> None:
        self._step("promise.settle", {"id": promise_id, "state": state, "value": {"data": state}})

    @rule(promise_id=IDS, version=VERSIONS, pid=PIDS)
    def acquire(self, promise_id: str, version: int, pid: str) -> None:
        self._taken(self._step("task.acquire", {"id": promise_id, "version": version, "pid": pid, "ttl": 1_000}))

    @rule(promise_id=IDS, pid=PIDS)
    def acquire_current(self, promise_id: str, pid: str) -> None:
        promise = self.bench.state.promises.get(promise_id)
        if promise is not None and promise.task is not None:
            self.acquire(promise_id, promise.task.version, pid)

    def _version(self, promise_id: str) -> int:
        promise = self.bench.state.promises.get(promise_id)
        return 0 if promise is None or promise.task is None else promise.task.version

    @rule(promise_id=IDS, stale=st.booleans(), counted=st.booleans())
    def release(self, promise_id: str, stale: bool, counted: bool) -> None:
        version = max(0, self._version(promise_id) - stale)
        reply = self._step("task.release", {"id": promise_id, "version": version, "counted": counted})
        assert not (stale and reply.status == 200 and version != self._version(promise_id)), "51"

    @rule(promise_id=IDS, state=VERDICTS, stale=st.booleans())
    def fulfill(self, promise_id: str, state: str, stale: bool) -> None:
        inner = {"id": promise_id, "state": state, "value": {"data": state}}
        action = {"kind": "promise.settle", "head": ACTION_HEAD, "data": inner}
        version = max(0, self._version(promise_id) - stale)
        self._step("task.fulfill", {"id": promise_id, "version": version, "action": action})

    @rule(promise_id=IDS, awaited=st.lists(IDS, min_size=1, max_size=3), children=st.booleans())
    def suspend(self, promise_id: str, awaited: list[str], children: bool) -> None:
        actions = [
            {"kind": "promise.register_callback", "head": ACTION_HEAD, "data": {"awaited": one, "awaiter": promise_id}}
            for one in awaited
        ]
        head = {"corrId": "c", "resonate-mq:preload": "children"} if children else None
        data = {"id": promise_id, "version": self._version(promise_id), "actions": actions}
        self._step("task.suspend", data, head)

    @rule(
        promise_id=IDS, other=IDS, birth=births(), kind=st.sampled_from(["create", "settle", "record"]), state=VERDICTS
    )
    def fence(self, promise_id: str, other: str, birth: dict[str, Any], kind: str, state: str) -> None:
        inner = self._create_data(other, birth)
        if kind == "settle":
            inner = {"id": other, "state": state, "value": {"data": state}}
        if kind == "record":
            inner["tags"] = {}
            inner |= {"state": state, "value": {"data": state}}
        action = {"kind": f"promise.{kind}", "head": ACTION_HEAD, "data": inner}
        self._step("task.fence", {"id": promise_id, "version": self._version(promise_id), "action": action})

    @rule(task=IDS, awaited=IDS, task_ms=st.sampled_from([40, 5_000]), awaited_ms=st.sampled_from([50, 500_000]))
    def a_task_suspends(self, task: str, awaited: str, task_ms: int, awaited_ms: int) -> None:
        """The way into the corners that single random requests seldom find."""
        self.create(task, {"tags": {"resonate:target": TARGET}, "in_ms": task_ms})
        self.create(awaited, {"tags": {}, "in_ms": awaited_ms})
        self.acquire_current(task, "p")
        if task != awaited:
            self.suspend(task, [awaited], False)

    @rule(refs=st.lists(IDS, max_size=3), pid=PIDS)
    def heartbeat(self, refs: list[str], pid: str) -> None:
        tasks = [{"id": one, "version": self._version(one)} for one in refs]
        assert self._step("task.heartbeat", {"pid": pid, "tasks": tasks}) == (200, {})

    @rule(promise_id=IDS, kind=st.sampled_from(["task.halt", "task.continue", "task.get"]))
    def operate(self, promise_id: str, kind: str) -> None:
        self._step(kind, {"id": promise_id})

    @rule(awaited=IDS, awaiter=IDS)
    def callback(self, awaited: str, awaiter: str) -> None:
        self._step("promise.register_callback", {"awaited": awaited, "awaiter": awaiter})

    @rule(awaited=IDS, address=ADDRESSES)
    def listener(self, awaited: str, address: str) -> None:
        self._step("promise.register_listener", {"awaited": awaited, "address": address})

    @rule(every=st.sampled_from(["* * * * * *", "*/7 * * * * *"]))
    def schedule(self, every: str) -> None:
        tags = {"resonate:target": TARGET}
        data = {"id": "s", "cron": every, "promiseId": "c", "promiseTimeout": 100, "promiseTags": tags}
        self._step("schedule.create", data)

    @rule()
    def unschedule(self) -> None:
        self._step("schedule.delete", {"id": "s"})

    @rule(ids=st.lists(IDS, min_size=1, max_size=4))
    def timers_fire(self, ids: list[str]) -> None:
        self._background(FireDeadlines(tuple(ids)))
        self._background(FireLeases(tuple(ids)))
        self._background(FireSchedules(("s",), limit=2))

    @rule(ids=st.lists(IDS, min_size=1, max_size=4))
    def the_server_restarts(self, ids: list[str]) -> None:
        self._background(ExtendLeases(tuple(ids), self.bench.now_ms - 100))
        self._background(FreeTasks(tuple(ids)))

    @rule(ids=st.lists(IDS, min_size=1, max_size=4), address=ADDRESSES)
    def deliveries_are_confirmed(self, ids: list[str], address: str) -> None:
        later = self.bench.now_ms + 10_000
        self._background(RearmHints(tuple((one, self._version(one), later) for one in ids)))
        self._background(ForgetListeners(tuple((one, address) for one in ids)))

    @invariant()
    def every_state_is_sound(self) -> None:
        check_state(self.bench, self.bench.now_ms)


Histories.TestCase.settings = settings(
    max_examples=200, stateful_step_count=60, deadline=None, suppress_health_check=list(HealthCheck)
)
TestHistories = Histories.TestCase
