"""Retry policies (features B8): how long to wait before the next attempt. Delays in seconds."""

import inspect
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable


@runtime_checkable
class RetryPolicy(Protocol):
    """Anything with `next`: a class of the user's own is as good as ours."""

    def next(self, attempt: int) -> float | None:
        """Return the delay in seconds before retry number `attempt` (from 1), or None to give up.

        `next(0)` is the delay before the first attempt, 0.
        """
        ...


@dataclass(frozen=True, slots=True)
class Never:
    """One attempt."""

    def next(self, attempt: int) -> float | None:
        """Return 0 for the first attempt, then None."""
        return 0 if attempt == 0 else None


def _check(name: str, value: float) -> None:
    if value < 0:
        raise ValueError(f"{name} must be >= 0, got {value}")


@dataclass(frozen=True, slots=True)
class Constant:
    """Wait `delay` seconds before each retry."""

    delay: float = 1
    max_retries: int = sys.maxsize

    def __post_init__(self) -> None:
        _check("delay", self.delay)
        _check("max_retries", self.max_retries)

    def next(self, attempt: int) -> float | None:
        """Return `delay`; None after `max_retries`."""
        if attempt == 0:
            return 0
        return self.delay if attempt <= self.max_retries else None


@dataclass(frozen=True, slots=True)
class Linear:
    """Wait `delay * n` seconds before retry n."""

    delay: float = 1
    max_retries: int = sys.maxsize

    def __post_init__(self) -> None:
        _check("delay", self.delay)
        _check("max_retries", self.max_retries)

    def next(self, attempt: int) -> float | None:
        """Return `delay * attempt`; None after `max_retries`."""
        return self.delay * attempt if attempt <= self.max_retries else None


@dataclass(frozen=True, slots=True)
class Exponential:
    """Wait `min(delay * factor ** n, max_delay)` seconds before retry n; the first gap is `delay * factor`."""

    delay: float = 1
    max_retries: int = sys.maxsize
    factor: float = 2
    max_delay: float = 30

    def __post_init__(self) -> None:
        for name in ("delay", "max_retries", "factor", "max_delay"):
            _check(name, getattr(self, name))

    def next(self, attempt: int) -> float | None:
        """Return the delay; None after `max_retries`."""
        if attempt == 0:
            return 0
        if attempt > self.max_retries:
            return None
        try:
            return min(self.delay * self.factor**attempt, self.max_delay)
        except OverflowError:  # a float grew beyond its range after about a thousand retries
            return self.max_delay


PolicyOption = RetryPolicy | Callable[[Callable[..., Any]], RetryPolicy]
"""What `retry_policy=` takes: a policy, or a function from the durable function to its policy."""


def default_policy(func: Callable[..., Any]) -> RetryPolicy:
    """Return `Never` for generator functions and `Exponential` for all others (features B8)."""
    return Never() if inspect.isgeneratorfunction(func) else Exponential()


def policy_for(option: PolicyOption | None, func: Callable[..., Any]) -> RetryPolicy:
    """Return the policy an option stands for; None is the default of `func`."""
    if option is None:
        return default_policy(func)
    if isinstance(option, RetryPolicy):
        return option
    return option(func)
