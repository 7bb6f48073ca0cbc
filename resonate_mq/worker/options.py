"""What a worker is told: its name, its sizes, its times, and the servers it answers to. Opens nothing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from resonate_mq.transports.api.port import Channel
from resonate_mq.transports.api.requester import Requester

DEFAULT_CONCURRENCY = 32  # D36
HEARTBEATS_PER_LEASE = 3  # two may be lost before the lease lapses


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerOptions:
    """Sizes and times of one worker process.

    Attributes:
        group: worker group whose tasks it takes.
        pid: name of this process; unique, new after a restart or a fork.
        concurrency: executions that may run at one time, suspended ones not counted (D36).
        ttl_s: length of a lease; a killed worker's tasks move on after it.
        grace_s: how long draining waits for running executions.
        max_stall_s: after this long without a tick of the loop, leases are no longer renewed (D5).
        blocked_after_s: a loop blocked this long is logged with the stack that blocks it.
        resident_limit: suspended executions kept in memory for resuming without replay; 0 keeps none (D24).
        health: `HOST:PORT` of /health, /ready and /metrics; None for none.
    """

    group: str
    pid: str
    concurrency: int = DEFAULT_CONCURRENCY
    ttl_s: float = 60.0
    grace_s: float = 30.0
    max_stall_s: float = 600.0
    blocked_after_s: float = 1.0
    resident_limit: int = 1000
    health: str | None = None

    def __post_init__(self) -> None:
        for name in ("group", "pid"):
            if not getattr(self, name):
                raise ValueError(f"{name}: must not be empty")
        for name, least in (("concurrency", 1), ("resident_limit", 0)):
            value = getattr(self, name)
            if type(value) is not int or value < least:
                raise ValueError(f"{name}: expected an integer >= {least}, got {value!r}")
        for name in ("ttl_s", "max_stall_s", "blocked_after_s"):
            if getattr(self, name) <= 0:
                raise ValueError(f"{name}: expected seconds > 0, got {getattr(self, name)!r}")
        if self.grace_s < 0:
            raise ValueError(f"grace_s: expected seconds >= 0, got {self.grace_s!r}")

    @property
    def ttl_ms(self) -> int:
        """The lease length as the wire wants it."""
        return max(1, round(self.ttl_s * 1000))


@dataclass(frozen=True, slots=True, eq=False)
class ServerLink:
    """One server this worker answers to.

    Attributes:
        requester: already open on the worker's loop, by whoever built it.
        lease_requester: makes a requester of its own connection, for the lease thread's loop (D5).
    """

    requester: Requester
    lease_requester: Callable[[], Requester]

    @classmethod
    def over(cls, requester: Requester, channel: Callable[[], Channel]) -> ServerLink:
        """Return a link whose lease thread talks over channels made by `channel`, otherwise like `requester`."""
        return cls(requester, lambda: requester.over(channel()))
