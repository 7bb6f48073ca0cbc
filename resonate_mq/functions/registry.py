"""Durable functions by name and version, and what kind of callable each is (features B2, D36).

Knows nothing of clients or workers: `client.Function` derives from `DurableFunction` so that a registered function
can be passed wherever the plain one can.
"""

import functools
import inspect
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Generic, Literal, ParamSpec, TypeVar

from resonate_mq.functions.retry import PolicyOption
from resonate_mq.functions.signatures import Signature, signature_of

P = ParamSpec("P")
R = TypeVar("R", covariant=True)

Kind = Literal["generator", "async", "plain"]


class DurableFunction(Generic[P, R]):
    """What registration returns derives from this; `func` is the function as written."""

    func: Callable[..., Any]
    name: str
    version: int


_BODY_FLAGS = inspect.CO_GENERATOR | inspect.CO_COROUTINE | inspect.CO_ASYNC_GENERATOR | inspect.CO_ITERABLE_COROUTINE


def unwrap(func: Callable[..., Any]) -> Callable[..., Any]:
    """Return the function behind a registered one; anything else unchanged."""
    return func.func if isinstance(func, DurableFunction) else func


def kind_of(func: Callable[..., Any]) -> Kind:
    """Tell how `func` is run: generator and async bodies on the loop, plain functions in a thread.

    Raises:
        ValueError: an async generator, which can be neither awaited nor yielded from.
    """
    code = getattr(func, "__code__", None)
    if code is not None and not code.co_flags & _BODY_FLAGS and not hasattr(func, "_is_coroutine_mark"):
        return "plain"  # the common case, in one look
    for candidate in (func, getattr(func, "__call__", None)):  # noqa: B004 - objects whose __call__ is a generator
        if inspect.isasyncgenfunction(candidate):
            raise ValueError(
                f"{name_of(func)} is an async generator (async def with yield): write `await ctx.run(...)` in an "
                "async def, or `yield ctx.run(...)` in a plain def"
            )
        if inspect.isgeneratorfunction(candidate):
            return "generator"
        if inspect.iscoroutinefunction(candidate):
            return "async"
    return "plain"


def name_of(func: Callable[..., Any]) -> str:
    """Return how records and messages call `func`: a partial is called as what it wraps."""
    while isinstance(func, functools.partial):
        func = func.func
    return str(getattr(func, "__name__", None) or type(func).__name__)


@dataclass(frozen=True, slots=True)
class Registered:
    """One registered function.

    Attributes:
        timeout_s: default deadline of its calls, None for the library's.
        retry_policy: None for the default of B8.
    """

    name: str
    version: int
    func: Callable[..., Any]
    kind: Kind
    signature: Signature
    retry_policy: PolicyOption | None = None
    timeout_s: float | None = None
    non_retryable_exceptions: tuple[type[Exception], ...] = field(default=())


class Registry:
    """Functions by (name, version)."""

    def __init__(self) -> None:
        self._by_name: dict[str, dict[int, Registered]] = {}
        self._by_func: dict[Callable[..., Any], Registered] = {}

    def add(
        self,
        func: Callable[..., Any],
        *,
        name: str | None = None,
        version: int = 1,
        retry_policy: PolicyOption | None = None,
        timeout_s: float | None = None,
        non_retryable_exceptions: tuple[type[Exception], ...] = (),
    ) -> Registered:
        """Register a function.

        Raises:
            TypeError: `name` is not a str or `version` not an int.
            ValueError: version <= 0, not a function, a lambda without a name, or registered already.
        """
        func = unwrap(func)
        if name is not None and not isinstance(name, str):
            raise TypeError(f"name must be `str`, got {type(name).__name__}")
        if not isinstance(version, int) or isinstance(version, bool):
            raise TypeError(f"version must be `int`, got {type(version).__name__}")
        if version <= 0:
            raise ValueError(f"version must be greater than zero, got {version}")
        if not inspect.isfunction(func):
            raise ValueError(f"provided callable must be a function, got {type(func).__name__}")
        name = name or func.__name__
        if name == "<lambda>":
            raise ValueError("a lambda has no name to be called by: pass name=...")
        if func in self._by_func or version in self._by_name.get(name, {}):
            raise ValueError(f"function {name} already registered")
        entry = Registered(
            name, version, func, kind_of(func), signature_of(func), retry_policy, timeout_s, non_retryable_exceptions
        )
        self._by_name.setdefault(name, {})[version] = entry
        self._by_func[func] = entry
        return entry

    def find(self, name: str, version: int = 0) -> Registered | None:
        """Return the function of that name and version (0: the highest), or None."""
        versions = self._by_name.get(name)
        if not versions:
            return None
        return versions.get(version or max(versions))

    def get(self, func: Callable[..., Any] | str, version: int = 0) -> Registered:
        """Return the entry of a function or name; version 0 means the highest (of a function object: its own).

        Raises:
            ValueError: not registered, with the sentence of features B2.
        """
        if isinstance(func, str):
            name, entry = func, self.find(func, version)
        else:
            plain = unwrap(func)
            name, entry = name_of(plain), self._by_func.get(plain)
            if entry is not None and version not in (0, entry.version):
                name, entry = entry.name, self.find(entry.name, version)
        if entry is not None:
            return entry
        if version and self._by_name.get(name):
            raise ValueError(f"function {name} version {version} not found in registry")
        raise ValueError(f"function {name} not found in registry")

    def entry_of(self, func: Callable[..., Any]) -> Registered | None:
        """Return the entry of a function object, None for one that is not registered."""
        try:
            return self._by_func.get(func)
        except TypeError:  # an unhashable callable object
            return None

    def functions(self) -> list[tuple[str, int]]:
        """Return every (name, version), sorted."""
        return sorted((name, version) for name, versions in self._by_name.items() for version in versions)

    def versions(self, name: str) -> list[int]:
        """Return the registered versions of `name`, ascending."""
        return sorted(self._by_name.get(name, ()))

    def __len__(self) -> int:
        return len(self._by_func)
