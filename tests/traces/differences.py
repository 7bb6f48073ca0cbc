"""The wanted differences from the released official server, each a narrow rule over one pair of answers."""

from collections.abc import Iterator
from typing import Any

Answer = dict[str, Any]


class History:
    """What earlier answers of the sequence showed.

    Attributes:
        timeouts: `timeoutAt` of every promise seen, by id.
        last_tick: instant of the last timer pass.
    """

    def __init__(self) -> None:
        self.timeouts: dict[str, int] = {}
        self.last_tick = 0

    def note(self, line: Answer) -> None:
        """Learn from one recorded request with its answer."""
        if line["kind"] == "debug.tick":
            self.last_tick = line["data"]["time"]
        for record in _promises(line["answer"]):
            self.timeouts[record["id"]] = record["timeoutAt"]


def _promises(value: Any) -> Iterator[Answer]:
    if isinstance(value, dict):
        if "timeoutAt" in value and "id" in value:
            yield value
        for inner in value.values():
            yield from _promises(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _promises(inner)


def projected_promises(line: Answer, ours: Answer, history: History) -> bool:
    """`promise.search` for pending ones: theirs still lists expired promises, ours goes on behind them."""
    if line["kind"] != "promise.search" or line["data"].get("state") != "pending":
        return False
    theirs = line["answer"]["promises"]
    alive = [one for one in theirs if one["timeoutAt"] > line["now"]]
    if len(alive) == len(theirs) or any(one["timeoutAt"] <= line["now"] for one in ours["promises"]):
        return False
    return bool(ours["promises"][: len(alive)] == alive)


def projected_tasks(line: Answer, ours: Answer, history: History) -> bool:
    """`task.search`: the task of an expired promise is fulfilled; every other record is the same."""
    if line["kind"] != "task.search" or "state" in line["data"] or len(ours["tasks"]) != len(line["answer"]["tasks"]):
        return False
    pairs = [(a, b) for a, b in zip(line["answer"]["tasks"], ours["tasks"], strict=True) if a != b]
    return all(
        mine == {"id": theirs["id"], "state": "fulfilled", "version": theirs["version"], "resumes": 0}
        and history.timeouts.get(theirs["id"], line["now"] + 1) <= line["now"]
        for theirs, mine in pairs
    )


def caught_up_schedules(line: Answer, ours: Answer, history: History) -> bool:
    """Schedules: ours fired everything that was due at the last pass, theirs is still behind."""
    if line["kind"] not in ("schedule.search", "schedule.get"):
        return False
    theirs, mine = _schedules(line["answer"]), _schedules(ours)
    if [one["id"] for one in theirs] != [one["id"] for one in mine]:
        return False
    return all(_is_caught_up(a, b, history.last_tick) for a, b in zip(theirs, mine, strict=True) if a != b)


def _schedules(answer: Answer) -> list[Answer]:
    return [answer["schedule"]] if "schedule" in answer else list(answer["schedules"])


def _is_caught_up(theirs: Answer, ours: Answer, last_tick: int) -> bool:
    moving = ("nextRunAt", "lastRunAt")
    if any(theirs[name] != ours[name] for name in theirs if name not in moving):
        return False
    behind, ahead = theirs["nextRunAt"], ours["nextRunAt"]
    return bool(theirs["lastRunAt"] < behind <= last_tick < ahead and ours["lastRunAt"] <= last_tick)


RULES = (projected_promises, projected_tasks, caught_up_schedules)
