"""Suspended executions in memory (D24)."""

from __future__ import annotations

from resonate_mq.worker.residents import Residents


class Body:
    def __init__(self) -> None:
        self.dropped = 0

    def drop(self) -> None:
        self.dropped += 1


KEY = ("store", "t")


def test_a_body_continues_only_at_exactly_the_next_version() -> None:
    residents: Residents[Body] = Residents(10)
    body = Body()
    residents.keep(KEY, body, version=3)
    assert residents.take(KEY, 4) is body
    assert residents.take(KEY, 4) is None

    stale = Body()
    residents.keep(KEY, stale, version=3)
    assert residents.take(KEY, 5) is None
    assert stale.dropped == 1


def test_the_longest_asleep_goes_first_when_there_is_no_room() -> None:
    residents: Residents[Body] = Residents(2)
    bodies = [Body() for _ in range(3)]
    for number, body in enumerate(bodies):
        residents.keep(("store", str(number)), body, version=1)
    assert [body.dropped for body in bodies] == [1, 0, 0]
    assert len(residents) == 2
    residents.clear()
    assert [body.dropped for body in bodies] == [1, 1, 1]


def test_with_no_room_at_all_nothing_is_kept() -> None:
    residents: Residents[Body] = Residents(0)
    body = Body()
    residents.keep(KEY, body, version=1)
    assert body.dropped == 1
    assert residents.take(KEY, 2) is None


def test_a_task_that_suspends_again_replaces_its_body() -> None:
    residents: Residents[Body] = Residents(5)
    first, second = Body(), Body()
    residents.keep(KEY, first, version=1)
    residents.keep(KEY, second, version=2)
    assert first.dropped == 1
    assert residents.take(KEY, 3) is second
