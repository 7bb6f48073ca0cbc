"""The working set: what is not loaded is asked for, and an undone request leaves no trace."""

import pytest

from resonate_mq.machine.dispatch import apply, footprint, handles
from resonate_mq.machine.state import Footprint, NotLoaded, State
from resonate_mq.protocol.records import EMPTY, Promise, Schedule
from resonate_mq.protocol.requests import PromiseSearch, PromiseSettle, TaskAcquire, TaskFence
from tests.machine.bench import TARGET, Bench, create_data


def test_what_is_not_loaded_is_asked_for_by_name() -> None:
    state = State()
    for read, wanted in (
        (lambda: state.promise("a"), "ids"),
        (lambda: state.schedule("a"), "schedules"),
        (lambda: state.branch("a"), "branches"),
        (lambda: state.family("a"), "families"),
    ):
        with pytest.raises(NotLoaded) as missing:
            read()
        assert getattr(missing.value.footprint, wanted) == {"a"}


def test_a_footprint_adds_up_and_knows_when_it_is_empty() -> None:
    total = Footprint()
    assert not total
    total.add(Footprint(ids=("a",), branches=("b",), families=("c",), schedules=("d",)))
    assert (total.ids, total.branches, total.families, total.schedules) == ({"a"}, {"b"}, {"c"}, {"d"})
    assert total


def test_undo_takes_back_births_edits_and_schedules() -> None:
    state = State({"a": None, "old": Promise("old", EMPTY, {}, 10, 0)}, {"s": None})
    old = state.promise("old")
    assert old is not None
    state.insert(Promise("a", EMPTY, {"resonate:branch": "b"}, 10, 0))
    state.edit(old)
    state.edit(old)
    old.listeners = ("x",)
    schedule = Schedule("s", "@daily", "p", 0, EMPTY, {}, 0, 1)
    state.insert_schedule(schedule)
    state.undo()
    assert state.promise("a") is None
    assert state.schedule("s") is None
    assert not old.image().listeners
    assert not state.changed
    assert not state.changed_schedules


def test_undo_keeps_what_earlier_requests_of_the_unit_changed() -> None:
    promise = Promise("a", EMPTY, {}, 10, 0)
    schedule = Schedule("s", "@daily", "p", 0, EMPTY, {}, 0, 1)
    state = State({"a": promise}, {"s": schedule})
    state.edit(promise)
    promise.listeners = ("x",)
    state.edit_schedule(schedule)
    schedule.next_run_at = 5
    state.accept()
    state.edit(promise)
    promise.listeners = ("x", "y")
    state.edit_schedule(schedule)
    state.edit_schedule(schedule)
    schedule.next_run_at = 9
    state.undo()
    assert promise.image().listeners == ("x",)
    assert schedule.next_run_at == 5
    assert set(state.changed) == {"a"}
    before = state.changed["a"][1]
    assert before is not None
    assert before.listeners == ()


def test_a_branch_and_a_family_include_what_was_born_in_the_unit() -> None:
    state = State({"b": Promise("b", EMPTY, {"resonate:branch": "b"}, 10, 0)})
    state.branches["b"] = ["b"]
    state.families["b"] = ["b"]
    for one in ("b.1", "b.2", "c"):
        state.promises[one] = None
    state.insert(Promise("b.2", EMPTY, {"resonate:branch": "b.2", "resonate:parent": "b"}, 10, 0))
    state.insert(Promise("b.1", EMPTY, {"resonate:branch": "b"}, 10, 0))
    state.insert(Promise("c", EMPTY, {}, 10, 0))
    assert [one.id for one in state.branch("b")] == ["b", "b.1"]
    assert [one.id for one in state.family("b")] == ["b", "b.1", "b.2"]


def test_every_request_finishes_whatever_is_loaded_first() -> None:
    """Each load gives only what was asked; the request is undone and applied again until it has all it needs."""
    bench = Bench()
    bench.start("a", branch="a")
    bench.create("b", branch="a")
    bench.suspend("a", 1, "b")
    everything = dict(bench.state.promises)
    state = State()
    request = PromiseSettle("b", "resolved", EMPTY)
    loads = 0
    while True:
        try:
            reply = apply(request, state, 1_000)
            break
        except NotLoaded as missing:
            state.undo()
            loads += 1
            for one in missing.footprint.ids:
                state.promises[one] = everything.get(one)
    assert (reply.status, loads) == (200, 2)
    assert bench.task("a")["state"] == "pending"


def test_an_awaited_promise_that_is_not_loaded_does_not_stop_a_fulfilment() -> None:
    bench = Bench()
    bench.start("a")
    bench.create("b")
    bench.suspend("a", 1, "b")
    state = State({"a": bench.state.promises["a"]})
    assert apply(PromiseSettle("a", "resolved", EMPTY), state, 1_000).status == 200
    promise = state.promise("a")
    assert promise is not None
    assert promise.task is not None
    assert promise.task.awaiting == ()


def test_an_awaiter_that_is_gone_is_passed_over() -> None:
    promise = Promise("b", EMPTY, {}, 9_000, 0)
    promise.awaiters = ("gone", "plain")
    state = State({"b": promise, "gone": None, "plain": Promise("plain", EMPTY, {}, 9_000, 0)})
    assert apply(PromiseSettle("b", "resolved", EMPTY), state, 1_000).status == 200
    assert not promise.image().awaiters


def test_the_footprint_names_what_is_known_beforehand() -> None:
    assert footprint(TaskAcquire("a", 0, "p", 1)).branches == {"a"}
    assert footprint(TaskAcquire("a", 0, "p", 1, children=True)).families == set()
    assert footprint(TaskAcquire("a", 2, "p", 1, children=True)).families == {"a"}
    settle = PromiseSettle("b", "resolved", EMPTY)
    assert footprint(TaskFence("a", 1, settle)).branches == {"a"}
    assert footprint(TaskFence("a", 1, settle, children=True)).branches == set()
    assert not footprint(PromiseSearch())
    assert not handles(PromiseSearch)


def test_a_family_of_a_promise_without_branch_is_its_own() -> None:
    bench = Bench()
    bench.create("a", target=TARGET)
    bench.create("a.1", parent="a")
    bench.acquire("a", 0)
    bench.settle("a.1")
    head = {"resonate-mq:preload": "children"}
    assert [one["id"] for one in bench.suspend("a", 1, "a.1", **head).data["preload"]] == ["a.1"]
    assert create_data("x")["tags"] == {}
