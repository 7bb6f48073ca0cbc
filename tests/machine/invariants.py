"""The invariants of protocol section 7 as checks over two snapshots of the machine, one step apart.

Numbers are the catalogue's. Amended by the decisions: 12 is dropped and timer promises are exempt from 14, 35, 57
and 60 (D6, D17); delayed births from 35; 47 is amended by D14; the outbox is the derived view of D17.
"""

from dataclasses import dataclass
from typing import Any

from resonate_mq.machine.rules import HINT_CLAIM_MS
from resonate_mq.protocol.addresses import parse_address
from resonate_mq.protocol.records import (
    ACQUIRED,
    EMPTY,
    FULFILLED,
    HALTED,
    PENDING,
    RESOLVED,
    SUSPENDED,
    TIMEDOUT,
    PromiseImage,
    TaskImage,
)
from tests.machine.bench import Bench


@dataclass(frozen=True)
class Constants:
    """What never changes of a promise (invariant 24)."""

    param: Any
    tags: tuple[tuple[str, str], ...]
    timeout_at: int
    created_at: int

    @property
    def is_timer(self) -> bool:
        return ("resonate:timer", "true") in self.tags

    @property
    def target(self) -> str | None:
        return dict(self.tags).get("resonate:target")


Snap = dict[str, tuple[Constants, PromiseImage]]

_PROMISE_EDGES = {
    PENDING: {PENDING, RESOLVED, "rejected", "rejected_canceled", TIMEDOUT},
}
_TASK_EDGES = {
    PENDING: {PENDING, ACQUIRED, HALTED, FULFILLED},
    ACQUIRED: {PENDING, ACQUIRED, SUSPENDED, HALTED, FULFILLED},
    SUSPENDED: {PENDING, SUSPENDED, HALTED, FULFILLED},
    HALTED: {PENDING, HALTED, FULFILLED},
    FULFILLED: {FULFILLED},
}


def snap(bench: Bench) -> Snap:
    """Return everything as it is now."""
    return {
        one.id: (
            Constants(one.param, tuple(sorted(one.tags.items())), one.timeout_at, one.created_at),
            one.image(),
        )
        for one in bench.promises()
    }


def check_state(bench: Bench, now_ms: int) -> None:
    """Assert what holds in every state (7.1 to 7.3)."""
    state = snap(bench)
    for promise_id, (fixed, image) in state.items():
        _check_promise(promise_id, fixed, image, now_ms, state)
        assert (image.task is not None) == (fixed.target is not None), (13, promise_id)
        if image.task is not None:
            _check_task(promise_id, fixed, image, image.task, now_ms, state)
    for schedule in bench.schedules():
        assert schedule.created_at <= schedule.next_run_at, "23"
        assert schedule.last_run_at is None or schedule.created_at <= schedule.last_run_at < schedule.next_run_at, "23"


def _check_promise(promise_id: str, fixed: Constants, image: PromiseImage, now_ms: int, state: Snap) -> None:
    pending = image.state == PENDING
    assert fixed.created_at < fixed.timeout_at if pending else fixed.created_at <= fixed.timeout_at, (1, promise_id)
    assert (image.settled_at is None) == pending, (2, promise_id)
    assert fixed.created_at <= now_ms, (4, promise_id)
    if image.settled_at is None:
        assert image.value == EMPTY, (5, promise_id)
    else:
        assert fixed.created_at <= image.settled_at <= fixed.timeout_at, (3, promise_id)
        assert image.settled_at <= now_ms, (4, promise_id)
        if image.settled_at == fixed.timeout_at:
            assert image.state == (RESOLVED if fixed.is_timer else TIMEDOUT), (6, promise_id)
            assert image.value == EMPTY, (6, promise_id)
        if image.state == TIMEDOUT:
            assert image.settled_at == fixed.timeout_at, (7, promise_id)
        assert image.awaiters == (), (9, promise_id)
    assert len(set(image.awaiters)) == len(image.awaiters), (8, promise_id)
    assert len(set(image.listeners)) == len(image.listeners), (8, promise_id)
    assert promise_id not in image.awaiters, (8, promise_id)
    for awaiter in image.awaiters:
        assert state[awaiter][0].target is not None, (10, promise_id)
        task = state[awaiter][1].task
        assert task is not None, (10, promise_id)
        assert promise_id in task.awaiting, ("mirror", promise_id, awaiter)
    for address in image.listeners:
        parse_address(address)  # 11, and 22: a listener of a settled promise is its unblock


def _check_task(
    promise_id: str, fixed: Constants, image: PromiseImage, task: TaskImage, now_ms: int, state: Snap
) -> None:
    held = task.state == ACQUIRED
    assert (task.pid is not None, task.ttl_ms is not None, task.lease_at is not None) == (held,) * 3, (14, promise_id)
    if not fixed.is_timer:
        assert (task.hint_due_at is not None) == (task.state == PENDING), (14, promise_id)
    elif task.state != PENDING:
        assert task.hint_due_at is None, (14, promise_id)
    assert not held or task.version >= 1, (15, promise_id)
    if task.state in (FULFILLED, SUSPENDED):
        assert task.resumes == (), (16, promise_id)
    assert (image.state != PENDING) == (task.state == FULFILLED), (17, promise_id)
    if task.state == SUSPENDED and image.state == PENDING and now_ms < fixed.timeout_at:
        assert task.awaiting, (18, promise_id)
    assert len(set(task.resumes)) == len(task.resumes), (19, promise_id)
    for awaited in task.awaiting:
        assert promise_id in state[awaited][1].awaiters, ("mirror", promise_id, awaited)


def check_step(before: Snap, after: Snap, now_ms: int, *, background: bool = False) -> None:
    """Assert what holds across every single step (7.4, 7.5)."""
    assert set(before) <= set(after), "24"
    for promise_id, (fixed, image) in after.items():
        if promise_id not in before:
            _check_birth(promise_id, fixed, image, now_ms)
            continue
        fixed_before, old = before[promise_id]
        assert fixed == fixed_before, (24, promise_id)
        _check_promise_step(promise_id, fixed, old, image, now_ms, after)
        if background and old.state == PENDING and image.state != PENDING:
            assert image.settled_at == fixed.timeout_at, (48, promise_id)
        if old.task is not None and image.task is not None:
            _check_task_step(promise_id, fixed, (old, old.task), (image, image.task), now_ms, after)
            if background:
                gone = (old.task.state, image.task.state)
                assert gone[1] not in (ACQUIRED, SUSPENDED) or gone[0] == gone[1], (47, promise_id)
                assert gone[1] != HALTED or gone[0] in (HALTED, ACQUIRED), (47, "D14", promise_id)


def _check_birth(promise_id: str, fixed: Constants, image: PromiseImage, now_ms: int) -> None:
    assert image.awaiters == image.listeners == (), (43, promise_id)
    if image.state == PENDING:
        assert image.value == EMPTY, (43, promise_id)
        assert fixed.created_at <= now_ms, (43, promise_id)
    if image.task is not None:
        assert image.task.version == (1 if image.task.state == ACQUIRED else 0), (30, promise_id)


def _check_promise_step(
    promise_id: str, fixed: Constants, old: PromiseImage, new: PromiseImage, now_ms: int, after: Snap
) -> None:
    if old.state != PENDING:
        assert (new.state, new.value, new.settled_at) == (old.state, old.value, old.settled_at), (25, promise_id)
        assert set(new.listeners) <= set(old.listeners), (37, promise_id)
    elif new.state == PENDING:
        assert set(new.listeners) >= set(old.listeners), (37, promise_id)
    else:
        assert new.state in _PROMISE_EDGES[PENDING], (26, promise_id)
        by_client = new.settled_at == now_ms < fixed.timeout_at and new.state != TIMEDOUT
        by_deadline = new.settled_at == fixed.timeout_at <= now_ms and new.value == EMPTY
        assert by_client != by_deadline, (27, promise_id)
        assert new.listeners == old.listeners, (39, promise_id)
    for awaiter in set(old.awaiters) - set(new.awaiters):
        fixed_w, image = after[awaiter]
        told = image.task is not None and promise_id in image.task.resumes
        over = image.task is None or image.task.state == FULFILLED or fixed_w.timeout_at <= now_ms
        assert told or over, (38, promise_id, awaiter)


def _check_task_step(
    promise_id: str,
    fixed: Constants,
    old_pair: tuple[PromiseImage, TaskImage],
    new_pair: tuple[PromiseImage, TaskImage],
    now_ms: int,
    after: Snap,
) -> None:
    (old_promise, old), (new_promise, new) = old_pair, new_pair
    assert new.state in _TASK_EDGES[old.state], (28, promise_id, old.state, new.state)
    taken = old.state == PENDING and new.state == ACQUIRED
    assert new.version == old.version + taken, (29, promise_id)
    if taken:
        assert new.pid, (30, promise_id)
        assert new.ttl_ms, (30, promise_id)
        assert (new.lease_at, new.resumes, new.hint_due_at) == (now_ms + new.ttl_ms, (), None), (30, promise_id)
    if old.state == new.state == ACQUIRED:
        assert (new.pid, new.ttl_ms) == (old.pid, old.ttl_ms), (32, promise_id)
        assert new.ttl_ms is not None
        assert new.lease_at in (old.lease_at, now_ms + new.ttl_ms), (32, promise_id)
    if new.state == SUSPENDED != old.state:
        assert old.state == ACQUIRED, (33, promise_id)
        assert any(after[one][1].state == PENDING for one in new.awaiting), (33, promise_id)
    live = new_promise.state == PENDING and now_ms < fixed.timeout_at
    if new.state == PENDING != old.state:
        assert live, (41, promise_id)
        delayed = new.hint_attempt == -1 and new.hint_due_at is not None and new.hint_due_at > now_ms
        at_once = (new.hint_due_at, new.hint_attempt) == (now_ms + HINT_CLAIM_MS, 0)
        assert delayed or at_once or fixed.is_timer, (35, promise_id)
        if old.state == SUSPENDED:
            fired = set(new.resumes)
            assert fired, (34, promise_id)
            assert all(after[one][1].state != PENDING for one in fired), (34, promise_id)
    if not set(old.resumes) <= set(new.resumes):
        assert new.resumes == (), (36, promise_id)
        allowed = taken or new.state in (SUSPENDED, FULFILLED) or old.state == new.state == ACQUIRED
        assert allowed, (36, promise_id)
    if (old_promise.state == PENDING) != (new_promise.state == PENDING):
        assert (old.state != FULFILLED, new.state) == (True, FULFILLED), (40, promise_id)
