"""What the server itself asks of the machine: timers that came due and deliveries that were confirmed.

They are applied like requests, in the same units of work, and re-check everything they were armed for: late,
duplicate and early firings are harmless (protocol section 4).
"""

from dataclasses import dataclass


@dataclass(slots=True)
class FireDeadlines:
    """Settle those of `ids` whose deadline has come."""

    ids: tuple[str, ...]


@dataclass(slots=True)
class FireLeases:
    """Make tasks pending whose lease ended; a task that stalled too often is halted with a reason (D14)."""

    ids: tuple[str, ...]


@dataclass(slots=True)
class ExtendLeases:
    """Give each acquired task of `ids` whose lease was valid at `valid_at_ms` a whole ttl from now (D4)."""

    ids: tuple[str, ...]
    valid_at_ms: int


@dataclass(slots=True)
class FreeTasks:
    """Make the acquired tasks held by processes that are known to be dead pending at once (D20)."""

    ids: tuple[str, ...]


@dataclass(slots=True)
class RearmHints:
    """Write down that hints were sent: (id, version, next due instant epoch ms); only while still pending (D17)."""

    sent: tuple[tuple[str, int, int], ...]


@dataclass(slots=True)
class ForgetListeners:
    """Drop listeners whose unblock was confirmed, or given up: (promise id, address) (D23)."""

    delivered: tuple[tuple[str, str], ...]


@dataclass(slots=True)
class FireSchedules:
    """Fire every due occurrence of the schedules `ids`, at most `limit` occurrences each in one pass."""

    ids: tuple[str, ...]
    limit: int = 100


Background = FireDeadlines | FireLeases | ExtendLeases | FreeTasks | RearmHints | ForgetListeners | FireSchedules
