"""A case, and which cases apply to a transport: decided by what it declares, never by its name."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from resonate_mq.testing.transports.harness import Fault, Harness

Run = Callable[[Harness], Awaitable[None]]
ALL: list["Case"] = []


@dataclass(frozen=True, slots=True)
class Case:
    """One behaviour every transport must show.

    Attributes:
        title: a sentence.
        needs: faults without which it cannot be tried.
        run: raises AssertionError when the transport misbehaves.
    """

    title: str
    needs: frozenset[Fault]
    run: Run

    @property
    def name(self) -> str:
        """The title as an identifier."""
        return self.title.replace(" ", "_")

    def applies_to(self, faults: frozenset[Fault]) -> bool:
        """Whether a transport with these faults can be tried."""
        return self.needs <= faults


def case(*needs: Fault) -> Callable[[Run], Run]:
    """Make a coroutine function a case; its name is the sentence."""

    def register(run: Run) -> Run:
        title = getattr(run, "__name__", "case").replace("_", " ")
        ALL.append(Case(title, frozenset(needs), run))
        return run

    return register


def cases_for(faults: frozenset[Fault]) -> list[Case]:
    """Return the cases a transport with these faults has to pass."""
    from resonate_mq.testing.transports import basics, flow, life, trouble  # noqa: F401  (registers the cases)

    return [candidate for candidate in ALL if candidate.applies_to(faults)]
