"""`ctx.random` and `ctx.time`: chance and clock as recorded steps, the same on every replay (features B17)."""

import random
import time
from collections.abc import Callable, Sequence
from typing import Any, Protocol, TypeVar

from resonate_mq.functions.commands import LFC

T = TypeVar("T")


class Steps(Protocol):
    """The part of a context the sources need."""

    def get_dependency(self, key: str, default: Any = None) -> Any:
        """Return the dependency of that name."""
        ...

    def step(self, label: str, func: Callable[..., Any], *args: Any) -> LFC[Any]:
        """Return a call recorded under `label`; it runs on the loop and must not block."""
        ...


class Random:
    """Random values; each call is a step. The dependency `resonate:random` replaces the generator."""

    __slots__ = ("_steps",)

    def __init__(self, steps: Steps) -> None:
        self._steps = steps

    def _draw(self, name: str, *args: Any) -> LFC[Any]:
        source = self._steps.get_dependency("resonate:random", random)
        return self._steps.step(f"random.{name}", getattr(source, name), *args)

    def random(self) -> LFC[float]:
        """A float in [0, 1)."""
        return self._draw("random")

    def betavariate(self, alpha: float, beta: float) -> LFC[float]:
        """A float of the beta distribution."""
        return self._draw("betavariate", alpha, beta)

    def choice(self, seq: Sequence[T]) -> LFC[T]:
        """One of the elements; it is recorded, so it must be serialisable."""
        return self._draw("choice", seq)

    def expovariate(self, lambd: float = 1) -> LFC[float]:
        """A float of the exponential distribution."""
        return self._draw("expovariate", lambd)

    def getrandbits(self, k: int) -> LFC[int]:
        """An integer of k random bits."""
        return self._draw("getrandbits", k)

    def randint(self, a: int, b: int) -> LFC[int]:
        """An integer in [a, b]."""
        return self._draw("randint", a, b)

    def randrange(self, start: int, stop: int | None = None, step: int = 1) -> LFC[int]:
        """One of `range(start, stop, step)`."""
        return self._draw("randrange", start, stop, step)

    def triangular(self, low: float = 0, high: float = 1, mode: float | None = None) -> LFC[float]:
        """A float of the triangular distribution."""
        return self._draw("triangular", low, high, mode)


class Time:
    """The clock; each reading is a step. The dependency `resonate:time` replaces it."""

    __slots__ = ("_steps",)

    def __init__(self, steps: Steps) -> None:
        self._steps = steps

    def time(self) -> LFC[float]:
        """Seconds since the epoch."""
        source = self._steps.get_dependency("resonate:time", time)
        return self._steps.step("time.time", source.time)

    def strftime(self, format: str) -> LFC[str]:
        """The local time as text, in the format of `time.strftime`."""
        source = self._steps.get_dependency("resonate:time", time)
        return self._steps.step("time.strftime", source.strftime, format)
