"""The demo's verdict can be bad: each promise it makes is broken here by a doctored ledger."""

from __future__ import annotations

import os
from pathlib import Path

from resonate_mq.cli.demo import ledger
from resonate_mq.cli.demo.check import SERVER, WORKER, Kill, Repeat, judge
from resonate_mq.cli.demo.ledger import Entry

EXPECTED = {"a.1": "reserve", "a.2": "charge"}
SETTLED = {"a.1": 1500, "a.2": 2500}
KILL = Kill(WORKER, 7, 1200)


def entry(key: str, attempt: int, pid: int, at_ms: int) -> Entry:
    return Entry(key, "a", EXPECTED.get(key, "?"), attempt, pid, at_ms)


GOOD = [entry("a.1", 1, 7, 1000), entry("a.2", 1, 8, 2000)]


def test_a_ledger_with_every_step_once_is_good() -> None:
    verdict = judge(GOOD, EXPECTED, SETTLED, [KILL])
    assert verdict.problems == []
    assert verdict.repeats == []
    assert (verdict.attempts, verdict.steps) == (2, 2)


def test_a_step_in_flight_at_the_kill_of_its_worker_may_run_again_and_is_listed() -> None:
    first, second = GOOD[0], entry("a.1", 2, 8, 1300)
    verdict = judge([first, second, GOOD[1]], EXPECTED, SETTLED, [KILL])
    assert verdict.problems == []
    assert verdict.repeats == [Repeat("a.1", "reserve", first, second, KILL)]


def test_a_step_in_flight_at_the_kill_of_the_server_may_run_again() -> None:
    kill = Kill(SERVER, 1, 1200)
    verdict = judge([*GOOD, entry("a.1", 2, 8, 1300)], EXPECTED, SETTLED, [kill])
    assert verdict.problems == []
    assert [one.kill for one in verdict.repeats] == [kill]


def test_a_missing_step_is_a_problem() -> None:
    verdict = judge(GOOD[:1], EXPECTED, SETTLED, [KILL])
    assert verdict.problems == ["a.2 (charge) never ran"]


def test_a_step_that_ran_again_after_its_record_is_a_problem() -> None:
    verdict = judge([*GOOD, entry("a.1", 2, 8, 1600)], EXPECTED, SETTLED, [KILL])
    [problem] = verdict.problems
    assert "a.1 (reserve) ran again" in problem
    assert "100 ms after its result had been recorded" in problem
    assert verdict.repeats == []


def test_a_repeat_without_a_kill_that_explains_it_is_a_problem() -> None:
    second = entry("a.1", 2, 8, 1300)
    for kills in ([], [Kill(WORKER, 99, 1200)], [Kill(WORKER, 7, 900)], [Kill(WORKER, 7, 1400)]):
        verdict = judge([*GOOD, second], EXPECTED, SETTLED, kills)
        [problem] = verdict.problems
        assert "though nothing it depended on was killed" in problem


def test_a_third_attempt_needs_a_kill_of_its_own() -> None:
    attempts = [GOOD[0], entry("a.1", 2, 8, 1300), entry("a.1", 3, 9, 1400), GOOD[1]]
    assert len(judge(attempts, EXPECTED, SETTLED, [KILL]).problems) == 1
    assert judge(attempts, EXPECTED, SETTLED, [KILL, Kill(WORKER, 8, 1350)]).problems == []


def test_a_step_without_a_record_and_a_step_of_nobody_are_problems() -> None:
    verdict = judge([*GOOD, entry("b.1", 1, 7, 1)], EXPECTED, {"a.1": 1500}, [KILL])
    assert verdict.problems == ["b.1 ran, but no order has such a step", "a.2 (charge) has no record of its result"]


def test_the_ledger_keeps_every_attempt(tmp_path: Path) -> None:
    path = tmp_path / "ledger.jsonl"
    assert ledger.read(path) == []
    made = [ledger.append(path, "a.1", "a", "reserve") for _ in range(2)]
    made.append(ledger.append(path, "a.2", "a", "charge"))
    assert [one.attempt for one in made] == [1, 2, 1]
    assert ledger.read(path) == made
    assert {one.pid for one in made} == {os.getpid()}
