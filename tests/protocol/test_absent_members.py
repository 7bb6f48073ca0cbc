"""What is absent is left out of the wire, never sent as null: official clients refuse null (protocol section 1.5)."""

from __future__ import annotations

import pytest

from resonate_mq.protocol.addresses import parse_address
from resonate_mq.protocol.records import EMPTY, Value
from resonate_mq.protocol.requests import PromiseCreate, ScheduleSearch, TaskAcquire, TaskCreate, TaskSearch

CREATE = PromiseCreate("p", 1_000, EMPTY, {})


@pytest.mark.parametrize(
    ("value", "wire"),
    [
        (EMPTY, {}),
        (Value(None, "MQ=="), {"data": "MQ=="}),
        (Value({"a": "b"}, None), {"headers": {"a": "b"}}),
        (Value({"a": "b"}, "MQ=="), {"headers": {"a": "b"}, "data": "MQ=="}),
    ],
)
def test_a_value_has_the_members_that_were_given(value: Value, wire: dict[str, object]) -> None:
    assert value.wire() == wire


def test_a_claim_is_sent_only_when_there_is_one() -> None:
    assert "claim" not in TaskAcquire("p", 0, "w", 1_000).wire()
    assert TaskAcquire("p", 0, "w", 1_000, "token").wire()["claim"] == "token"
    assert "claim" not in TaskCreate("w", 1_000, CREATE).wire()
    assert TaskCreate("w", 1_000, CREATE, "token").wire()["claim"] == "token"


def test_a_search_sends_only_the_filters_it_has() -> None:
    assert "state" not in TaskSearch().wire()
    assert TaskSearch(state="halted").wire()["state"] == "halted"
    assert "tags" not in ScheduleSearch().wire()
    assert ScheduleSearch(tags={"a": "b"}).wire()["tags"] == {"a": "b"}


def test_an_address_too_long_to_be_remembered_is_read_all_the_same() -> None:
    group = "g" * 600
    assert group in repr(parse_address(f"poll://any@{group}", frozenset({"poll"}), "resonate:target"))
