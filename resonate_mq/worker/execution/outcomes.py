"""How one run of an acquired task ended: what the worker has to do next."""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Fulfilled:
    """The promise is settled through this task; nothing is left to do. `record` is the settled PromiseRecord."""

    record: dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Suspended:
    """The task is suspended on the server.

    Attributes:
        resident: the bodies are kept: `Execution.resume` continues them, `Execution.drop` gives up their memory.
            Otherwise they are gone and the next hint starts a new `Execution`.
        awaited: ids whose settlement resumes the task.
    """

    resident: bool
    awaited: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Released:
    """This process cannot go on with the task: the worker sends `task.release` with these fields (D14).

    Attributes:
        reason: sentence for people.
        delay_s: wish for the time until the next hint, None for the server's default. For an unknown function the
            worker lets it grow, 1 s to 60 s.
        counted: False when nobody is to blame for the missing progress.
    """

    reason: str
    delay_s: float | None
    counted: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Lost:
    """The lease is gone (D5), or somebody else settled the promise: nothing may be sent for this task any more."""

    reason: str


Outcome = Fulfilled | Suspended | Released | Lost
