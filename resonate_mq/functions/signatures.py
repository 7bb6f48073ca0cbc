"""What a function's annotations say about its arguments and its result (D29). Reads, never validates values."""

import collections.abc
import functools
import inspect
import types
import typing
import weakref
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any

_GENERATORS = (collections.abc.Generator, collections.abc.Iterator, collections.abc.Iterable)
_COROUTINES = (collections.abc.Coroutine, collections.abc.Awaitable)

UNTYPED: Any = inspect.Parameter.empty
"""Annotation of what has none: values are JSON builtins."""


@dataclass(frozen=True, slots=True)
class Signature:
    """A function's parameters after the context, and its result.

    Attributes:
        inspected: None where Python cannot say (some builtins); nothing is folded or bound then.
        hints: annotation by parameter name.
        result: annotation of what `yield`, `await` or `.result()` gives.
    """

    inspected: inspect.Signature | None
    hints: Mapping[str, Any]
    result: Any

    def fold(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> tuple[list[Any], dict[str, Any]]:
        """Move keywords into positions as far as the signature allows (D29: other languages know positions only).

        Raises:
            TypeError: the arguments do not bind.
        """
        if self.inspected is None:
            return list(args), dict(kwargs)
        bound = self.inspected.bind(None, *args, **kwargs)
        return list(bound.args[1:]), dict(bound.kwargs)

    def annotations_of(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> tuple[list[Any], dict[str, Any]]:
        """Return the annotation of each argument, `UNTYPED` where there is none.

        Raises:
            TypeError: the arguments do not bind.
        """
        if self.inspected is None:
            return [UNTYPED] * len(args), dict.fromkeys(kwargs, UNTYPED)
        self.inspected.bind(None, *args, **kwargs)
        positional: list[Any] = []
        rest: Any = UNTYPED
        keyword_rest: Any = UNTYPED
        for name, parameter in self.inspected.parameters.items():
            hint = self.hints.get(name, UNTYPED)
            if parameter.kind in (parameter.POSITIONAL_ONLY, parameter.POSITIONAL_OR_KEYWORD):
                positional.append(hint)
            elif parameter.kind is parameter.VAR_POSITIONAL:
                rest = hint
            elif parameter.kind is parameter.VAR_KEYWORD:
                keyword_rest = hint
        positional = positional[1:]
        found = [positional[index] if index < len(positional) else rest for index in range(len(args))]
        return found, {name: self.hints.get(name, keyword_rest) for name in kwargs}


def signature_of(func: Callable[..., Any]) -> Signature:
    """Return the signature of a durable function or leaf; never raises for a callable."""
    try:
        return _cached(func)
    except TypeError:  # an unhashable callable object
        return _read(func)


def _read(func: Callable[..., Any]) -> Signature:
    try:
        inspected: inspect.Signature | None = inspect.signature(func)
    except (TypeError, ValueError):
        inspected = None
    plain = func
    while isinstance(plain, functools.partial):
        plain = plain.func
    if not inspect.isroutine(plain):
        plain = getattr(plain, "__call__", plain)  # noqa: B004 - its annotations, not whether it can be called
    hints = _hints(plain)
    return Signature(inspected, hints, _result_of(hints.get("return", UNTYPED)))


def _hints(func: Any) -> dict[str, Any]:
    try:
        return typing.get_type_hints(func, include_extras=True)
    except Exception:  # noqa: BLE001 - annotations are user code: a name may not resolve
        found = (_hint(func, name, annotation) for name, annotation in getattr(func, "__annotations__", {}).items())
        return {name: hint for name, hint in found if hint is not UNTYPED}


def _hint(func: Any, name: str, annotation: Any) -> tuple[str, Any]:
    """Resolve one annotation by itself: a Context imported for type checkers only must not cost the others."""
    alone = types.SimpleNamespace(__annotations__={name: annotation})
    try:
        return name, typing.get_type_hints(alone, getattr(func, "__globals__", None), include_extras=True)[name]
    except Exception:  # noqa: BLE001 - this one has no type then
        return name, UNTYPED


_cached = lru_cache(maxsize=4096)(_read)


def result_of(func: Callable[..., Any]) -> Any:
    """Return the annotation of the result of `func`; made for every step, so it reads as little as it can."""
    annotations = getattr(func, "__annotations__", None)
    if not annotations or "return" not in annotations:
        return signature_of(func).result if annotations is None else UNTYPED
    annotation = annotations["return"]
    if isinstance(annotation, str):  # from __future__ import annotations
        code = getattr(func, "__code__", None)
        if code is None:
            return signature_of(func).result
        known = _BY_CODE.get(id(code))
        if known is None or known[0]() is not code:
            known = _BY_CODE[id(code)] = weakref.ref(code, partial(_forget, id(code))), _read(func).result
        return known[1]
    try:
        return _cached_result(annotation)
    except TypeError:  # unhashable metadata in Annotated
        return _result_of(annotation)


# by identity: code of two modules that reads alike is equal, but its names mean something else
_BY_CODE: dict[int, tuple[weakref.ref[types.CodeType], Any]] = {}


def _forget(identity: int, gone: "weakref.ref[types.CodeType]") -> None:
    known = _BY_CODE.get(identity)
    if known is not None and known[0] is gone:
        del _BY_CODE[identity]


def _result_of(annotation: Any) -> Any:
    origin, args = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is collections.abc.Generator or annotation is collections.abc.Generator:
        return args[2] if len(args) == 3 else UNTYPED
    if origin in _GENERATORS or annotation in _GENERATORS:
        return UNTYPED
    if origin in _COROUTINES:
        return args[-1] if args else UNTYPED
    return annotation


_cached_result = lru_cache(maxsize=4096)(_result_of)
