"""Whether the server can do its work, and if not, why: what `/ready` says (design section 2.9).

Each loop that could stop moving registers a check. Knows nothing of what the parts do.
"""

from collections.abc import Callable
from typing import NamedTuple

Check = Callable[[], str]


class Trouble(NamedTuple):
    """One part that is stuck, and the reason for people."""

    part: str
    reason: str


class Health:
    """Collects the checks of all parts; a check returns a reason, or "" when all is well."""

    def __init__(self) -> None:
        self._checks: dict[str, Check] = {}

    def watch(self, part: str, check: Check) -> None:
        """Ask `check` whenever somebody asks for readiness."""
        self._checks[part] = check

    def troubles(self) -> list[Trouble]:
        """Return what is wrong now; empty means ready."""
        found = ((part, check()) for part, check in self._checks.items())
        return [Trouble(part, reason) for part, reason in found if reason]
