"""Latencies and rates, and how they are summed up."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Measured:
    """Latencies and rate of one run.

    Attributes:
        per_s: completed calls a second.
        p50_ms, p99_ms: of the calls, milliseconds.
        calls: how many were completed.
    """

    per_s: float
    p50_ms: float
    p99_ms: float
    calls: int


def measured(taken: list[float], elapsed_s: float) -> Measured:
    """Summarise latencies given in seconds."""
    ordered = sorted(taken)
    return Measured(
        per_s=len(ordered) / elapsed_s,
        p50_ms=ordered[len(ordered) // 2] * 1000,
        p99_ms=ordered[int(len(ordered) * 0.99)] * 1000,
        calls=len(ordered),
    )
