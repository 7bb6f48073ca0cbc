"""Random requests of every kind the machine and the server's searches know, from one seed.

Mostly sensible, so that deep states are reached (the generator is shown what is stored); often duplicate, stale or
impossible.
"""

from collections.abc import Iterable
from random import Random
from typing import Any

from resonate_mq.machine import background as b
from resonate_mq.machine.background import Background
from resonate_mq.protocol.parse import Profile, parse_request
from resonate_mq.protocol.records import PENDING, Promise
from resonate_mq.protocol.requests import Request

Item = Request | Background

PROFILE = Profile(debug=True)
PIDS = ("p1", "p2", "p3")
TARGETS = ("poll://any@g", "poll://any@g/p1", "poll://any@h", "poll://uni@g/p2", "http://worker:9/x")
ADDRESSES = ("poll://uni@g/p1", "poll://uni@g/p2", "http://listener:9/")
CRONS = ("* * * * *", "*/10 * * * * *", "0 0 * * * *", "0 0 0 1 1 * 1990")
HEAD = {"corrId": "c", "version": "2026-04-01"}


class Generator:
    """Makes requests for a few roots and their children, moving on to new roots as it goes.

    Attributes:
        now_ms: the instant the next requests happen at; moves by itself.
    """

    def __init__(self, seed: int) -> None:
        self.chance = Random(seed)
        self.now_ms = 1_700_000_000_000
        self._first_root = 0.0
        self._pending: list[str] = []
        self._tasks: dict[str, list[str]] = {}
        self._versions: dict[str, int] = {}
        self._claims: dict[str, str] = {}

    def advance(self) -> None:
        """Let time pass: mostly a little, sometimes past leases and deadlines."""
        self.now_ms += self.chance.choice((0, 0, 0, 1, 5, 5, 100, 100, 1_000, 2_500, 15_000, 70_000))
        self._first_root += 0.1

    def group(self) -> list[Item]:
        """Return requests that are submitted together."""
        return [self.item() for _ in range(self.chance.choice((1, 1, 2, 5, 20)))]

    def item(self) -> Item:
        """Return one request."""
        make = self.chance.choices(_MAKERS, _WEIGHTS)[0]
        made = make(self)
        if isinstance(made, Background):
            return made
        kind, data, *head = made
        return parse_request(kind, data, {**HEAD, **(head[0] if head else {})}, PROFILE)

    def learn(self, promises: Iterable[Promise]) -> None:
        """Take note of what is stored."""
        self._pending.clear()
        self._tasks.clear()
        for one in promises:
            if one.state == PENDING and self._is_current(one.id):
                self._pending.append(one.id)
            if one.task is not None:
                self._versions[one.id] = one.task.version
                if self._is_current(one.id):
                    self._tasks.setdefault(one.task.state, []).append(one.id)

    def _is_current(self, promise_id: str) -> bool:
        return promise_id.partition(".")[0] in self._roots()

    def _roots(self) -> list[str]:
        return [f"o{int(self._first_root) + number}" for number in range(3)]

    # -- parts

    def id(self) -> str:
        """Return any id, mostly of the current roots."""
        root = self.chance.choice(self._roots()) if self.chance.random() < 0.98 else "o0"
        return self.chance.choice(
            (root, root, f"{root}.{self.chance.randrange(4)}", f"{root}.1.{self.chance.randrange(2)}")
        )

    def task(self, *states: str) -> str:
        """Return the id of a task, mostly one in one of `states`."""
        known = [one for state in states for one in self._tasks.get(state, ())]
        return self.chance.choice(known) if known and self.chance.random() < 0.85 else self.id()

    def pending(self) -> str:
        """Return the id of a promise, mostly a pending one."""
        return self.chance.choice(self._pending) if self._pending and self.chance.random() < 0.7 else self.id()

    def ids(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(self.pending() for _ in range(self.chance.randrange(1, 6))))

    def version(self, task_id: str) -> int:
        known = self._versions.get(task_id, 0)
        return known if self.chance.random() < 0.92 else max(0, known + self.chance.choice((-1, 1)))

    def value(self) -> dict[str, Any]:
        return self.chance.choice(
            ({}, {"data": ""}, {"data": "eyJ4IjoxfQ==", "headers": {"h": "1", "": "ü\0"}}, {"headers": {}})
        )

    def create(self, promise_id: str, *, targeted: bool | None = None) -> dict[str, Any]:
        chance = self.chance
        timeout_at = self.now_ms + chance.choice((-1, 500, 20_000, 10**9, 10**9, 10**9, 10**9))
        root, _, rest = promise_id.partition(".")
        tags = {"resonate:origin": root}
        if chance.random() < 0.9:
            tags["resonate:branch"] = chance.choice((promise_id, root, f"{root}.1"))
            tags["resonate:parent"] = chance.choice((promise_id, root, f"{root}.1", f"{root}.2"))
        if chance.random() < 0.15:
            tags["resonate:timer"] = chance.choice(("true", "false"))
        if chance.random() < 0.3:
            tags["k"] = chance.choice(("v", "w", ""))
        if targeted or (targeted is None and chance.random() < (0.5 if rest else 0.95)):
            tags["resonate:target"] = chance.choice(TARGETS)
            if targeted is None and chance.random() < 0.15 and timeout_at > self.now_ms + 1_000:
                tags["resonate:delay"] = str(self.now_ms + chance.choice((-5, 400, 900)))
        data: dict[str, Any] = {"id": promise_id, "timeoutAt": max(0, timeout_at), "tags": tags}
        if chance.random() < 0.7:
            data["param"] = self.value()
        return data

    def settle(self, promise_id: str) -> dict[str, Any]:
        state = self.chance.choice(("resolved", "rejected", "rejected_canceled"))
        return {"id": promise_id, "state": state, "value": self.value()}

    def claim(self, task_id: str) -> dict[str, Any]:
        if self.chance.random() < 0.5:
            return {}
        if self.chance.random() < 0.5:
            self._claims[task_id] = f"claim{self.chance.randrange(10**6)}"
        return {"claim": self._claims.get(task_id, "claim")}

    def preload(self) -> dict[str, Any]:
        return {"resonate-mq:preload": "children"} if self.chance.random() < 0.5 else {}

    def page(self) -> dict[str, Any]:
        page: dict[str, Any] = {"limit": self.chance.choice((1, 3, 1000))}
        if self.chance.random() < 0.3:
            page["cursor"] = self.chance.choice(("", self.id(), "o", "zzz"))
        return page


def _promise_search(g: Generator) -> tuple[str, dict[str, Any]]:
    data = g.page()
    if g.chance.random() < 0.6:
        data["state"] = g.chance.choice(("pending", "resolved", "rejected_timedout", "rejected"))
    if g.chance.random() < 0.4:
        data["tags"] = g.chance.choice(({}, {"k": "v"}, {"k": ""}, {"resonate:origin": "o1"}))
    return "promise.search", data


def _task_search(g: Generator) -> tuple[str, dict[str, Any]]:
    data = g.page()
    if g.chance.random() < 0.6:
        data["state"] = g.chance.choice(("pending", "acquired", "suspended", "halted", "fulfilled"))
    return "task.search", data


def _task_create(g: Generator) -> tuple[Any, ...]:
    promise_id = g.id()
    action = {"kind": "promise.create", "head": HEAD, "data": g.create(promise_id, targeted=True)}
    data = {"pid": g.chance.choice(PIDS), "ttl": g.chance.choice((1, 60_000)), "action": action, **g.claim(promise_id)}
    return "task.create", data, g.preload()


def _acquire(g: Generator) -> tuple[Any, ...]:
    task_id = g.task("pending")
    data = {
        "id": task_id,
        "version": g.version(task_id),
        "pid": g.chance.choice(PIDS),
        "ttl": g.chance.choice((1, 60_000)),
    }
    return "task.acquire", {**data, **g.claim(task_id)}, g.preload()


def _release(g: Generator) -> tuple[Any, ...]:
    task_id = g.task("acquired")
    data: dict[str, Any] = {"id": task_id, "version": g.version(task_id)}
    if g.chance.random() < 0.5:
        data |= {"reason": "because", "delay": g.chance.choice((0, 100, 50_000))}
    return "task.release", data


def _fulfill(g: Generator) -> tuple[Any, ...]:
    task_id = g.task("acquired")
    action = {"kind": "promise.settle", "head": HEAD, "data": g.settle(task_id)}
    return "task.fulfill", {"id": task_id, "version": g.version(task_id), "action": action}


def _suspend(g: Generator) -> tuple[Any, ...]:
    task_id = g.task("acquired")
    awaited = [one for one in g.ids() if one != task_id] or [f"{task_id}.7"]
    actions = [
        {"kind": "promise.register_callback", "head": HEAD, "data": {"awaited": one, "awaiter": task_id}}
        for one in awaited
    ]
    return "task.suspend", {"id": task_id, "version": g.version(task_id), "actions": actions}, g.preload()


def _fence(g: Generator) -> tuple[Any, ...]:
    task_id = g.task("acquired")
    other = g.id()
    if other == task_id:
        other = f"{task_id}.9"
    kind = g.chance.choice(("promise.create", "promise.create", "promise.settle", "promise.record"))
    targeted = False if kind == "promise.record" else None
    data = g.settle(other) if kind == "promise.settle" else g.create(other, targeted=targeted)
    if kind == "promise.record":
        data = {**data, **g.settle(other)}
    return (
        "task.fence",
        {"id": task_id, "version": g.version(task_id), "action": {"kind": kind, "head": HEAD, "data": data}},
        g.preload(),
    )


def _heartbeat(g: Generator) -> tuple[Any, ...]:
    tasks = [{"id": one, "version": g.version(one)} for one in (g.task("acquired"), *g.ids())]
    return "task.heartbeat", {"pid": g.chance.choice(PIDS), "tasks": tasks}


def _callback(g: Generator) -> tuple[Any, ...]:
    awaited, awaiter = g.pending(), g.task("suspended", "acquired", "pending")
    if awaited == awaiter:
        awaited = f"{awaiter}.8"
    return "promise.register_callback", {"awaited": awaited, "awaiter": awaiter}


def _schedule_create(g: Generator) -> tuple[Any, ...]:
    tags = {"resonate:target": g.chance.choice(TARGETS)} | ({"k": "v"} if g.chance.random() < 0.5 else {})
    return (
        "schedule.create",
        {
            "id": g.chance.choice(("s1", "s2")),
            "cron": g.chance.choice(CRONS),
            "promiseId": g.chance.choice(("{{.id}}.{{.timestamp}}", g.id())),
            "promiseTimeout": g.chance.choice((0, 5_000, 10**8)),
            "promiseTags": tags,
            "promiseParam": g.value(),
        },
    )


def _rearm(g: Generator) -> b.RearmHints:
    ids = (g.task("pending"), *g.ids())
    return b.RearmHints(tuple((one, g.version(one), g.now_ms + g.chance.choice((0, 10_000))) for one in ids))


def _forget(g: Generator) -> b.ForgetListeners:
    return b.ForgetListeners(tuple((one, g.chance.choice(ADDRESSES)) for one in g.ids()))


_TABLE: list[tuple[int, Any]] = [
    (4, lambda g: ("promise.get", {"id": g.id()})),
    (20, lambda g: ("promise.create", g.create(g.id()))),
    (4, lambda g: ("promise.settle", g.settle(g.pending()))),
    (4, _callback),
    (4, lambda g: ("promise.register_listener", {"awaited": g.pending(), "address": g.chance.choice(ADDRESSES)})),
    (2, _promise_search),
    (3, lambda g: ("task.get", {"id": g.id()})),
    (6, _task_create),
    (14, _acquire),
    (5, _release),
    (4, _fulfill),
    (12, _suspend),
    (10, _fence),
    (3, _heartbeat),
    (2, lambda g: ("task.halt", {"id": g.task("pending", "acquired", "suspended")})),
    (4, lambda g: ("task.continue", {"id": g.task("halted")})),
    (2, _task_search),
    (2, lambda g: ("schedule.get", {"id": g.chance.choice(("s1", "s2", "s3"))})),
    (2, _schedule_create),
    (1, lambda g: ("schedule.delete", {"id": g.chance.choice(("s1", "s2"))})),
    (1, lambda g: ("schedule.search", g.page())),
    (2, lambda g: b.FireDeadlines(g.ids())),
    (2, lambda g: b.FireLeases((g.task("acquired"), *g.ids()))),
    (1, lambda g: b.ExtendLeases(g.ids(), g.now_ms - g.chance.choice((0, 50_000)))),
    (1, lambda g: b.FreeTasks((g.task("acquired"),))),
    (2, _rearm),
    (2, _forget),
    (1, lambda g: b.FireSchedules(("s1", "s2"), g.chance.choice((1, 3)))),
]
_WEIGHTS = [weight for weight, _ in _TABLE]
_MAKERS = [make for _, make in _TABLE]
