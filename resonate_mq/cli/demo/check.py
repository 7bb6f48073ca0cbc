"""Whether the outside world agrees with the promises: the demo's verdict. Pure; knows no process and no server.

What is promised: no step is missing, no step whose record had been answered ran again, and the only steps that ran
twice were in flight when something was killed.
"""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import NamedTuple

from resonate_mq.cli.demo.ledger import Entry

SERVER = "server"
WORKER = "worker"


class Kill(NamedTuple):
    """One SIGKILL of the demo: `what` is server or worker, `at_ms` when it was sent (epoch ms)."""

    what: str
    pid: int
    at_ms: int


class Repeat(NamedTuple):
    """A step that ran twice because it was in flight at a kill."""

    key: str
    step: str
    first: Entry
    second: Entry
    kill: Kill


class Verdict(NamedTuple):
    """What was found.

    Attributes:
        problems: sentences; empty means that everything that is promised held.
        repeats: steps that ran again, as they may.
        attempts: lines in the ledger.
        steps: different steps in the ledger.
    """

    problems: list[str]
    repeats: list[Repeat]
    attempts: int
    steps: int


def judge(
    ledger: Sequence[Entry],
    expected: Mapping[str, str],
    settled: Mapping[str, int],
    kills: Sequence[Kill],
) -> Verdict:
    """Compare the ledger with what should be in it.

    Args:
        expected: key of each step that must have happened -> its name.
        settled: key of each step whose record is resolved -> when it was recorded (epoch ms).
        kills: what was killed.
    """
    attempts: dict[str, list[Entry]] = {}
    for entry in ledger:
        attempts.setdefault(entry.key, []).append(entry)
    problems = [f"{key} ({step}) never ran" for key, step in expected.items() if key not in attempts]
    problems += [f"{key} ran, but no order has such a step" for key in attempts if key not in expected]
    problems += [f"{key} ({step}) has no record of its result" for key, step in expected.items() if key not in settled]
    repeats: list[Repeat] = []
    for key, entries in attempts.items():
        for first, second in pairwise(entries):
            found = _explain(first, second, settled.get(key), kills)
            if isinstance(found, Repeat):
                repeats.append(found)
            else:
                problems.append(found)
    return Verdict(problems, repeats, len(ledger), len(attempts))


def _explain(first: Entry, second: Entry, settled_at: int | None, kills: Sequence[Kill]) -> Repeat | str:
    """Return why a step may have run again, or what is wrong about it."""
    what = f"{first.key} ({first.step}) ran again as attempt {second.attempt} in pid {second.pid}"
    if settled_at is not None and settled_at <= second.at_ms:
        return f"{what}, {second.at_ms - settled_at} ms after its result had been recorded"
    for kill in kills:
        concerned = kill.what == SERVER or kill.pid == first.pid
        if concerned and first.at_ms <= kill.at_ms <= second.at_ms:
            return Repeat(first.key, first.step, first, second, kill)
    return f"{what}, though nothing it depended on was killed since attempt {first.attempt} in pid {first.pid}"
