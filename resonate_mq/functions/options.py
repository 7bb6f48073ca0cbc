"""`.options(...)`: which keys a call accepts, what they must be, and how they are kept (features B5)."""

import math
from collections.abc import Callable, Collection
from dataclasses import dataclass, fields, replace
from datetime import timedelta
from typing import Any, Self

from resonate_mq.functions.codec import Encoder
from resonate_mq.functions.retry import PolicyOption, RetryPolicy
from resonate_mq.protocol import tags as tag_names
from resonate_mq.protocol.ids import check_id

DEFAULT_TIMEOUT_S = 31_536_000.0  # one year; features B9

LOCAL_KEYS = frozenset(
    {"id", "timeout", "tags", "idempotency_key", "encoder", "retry_policy", "durable", "non_retryable_exceptions"}
)
"""Of ctx.run, ctx.lfc, ctx.begin_run, ctx.lfi."""
REMOTE_KEYS = frozenset({"id", "timeout", "tags", "idempotency_key", "encoder", "target", "version"})
"""Of ctx.rpc, ctx.rfc, ctx.begin_rpc, ctx.rfi, ctx.detached, ctx.promise, ctx.sleep."""
CLIENT_KEYS = frozenset(
    {
        "timeout",
        "tags",
        "idempotency_key",
        "encoder",
        "target",
        "version",
        "retry_policy",
        "non_retryable_exceptions",
    }
)
"""Of resonate.options and Function.options."""

_LEGACY_TAGS: dict[str, str] = {"resonate:invoke": tag_names.TARGET, "resonate:timeout": tag_names.TIMER}


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What `.options()` was told; None means not told.

    Attributes:
        timeout: seconds, relative, >= 0.
        target: group or address.
        version: of the callee; 0 or None is the highest registered.
        durable: False runs a step without a promise: it is run again on replay.
    """

    id: str | None = None
    timeout: float | None = None
    tags: dict[str, str] | None = None
    idempotency_key: str | Callable[[str], str] | None = None
    encoder: Encoder | None = None
    target: str | None = None
    version: int | None = None
    retry_policy: PolicyOption | None = None
    durable: bool | None = None
    non_retryable_exceptions: tuple[type[Exception], ...] | None = None

    def merge(self, allowed: Collection[str], where: str, **given: Any) -> Self:
        """Return these options with `given` (None: unchanged) checked and put over them.

        Args:
            allowed: keys this call takes.
            where: how the error names the call, for example `ctx.run`.

        Raises:
            TypeError: a key this call does not take, or a value of the wrong type.
            ValueError: a negative timeout or version, an illegal id.
        """
        told = {key: value for key, value in given.items() if value is not None}
        for key in told:
            if key not in allowed:
                known = key in _CHECKS
                raise TypeError(
                    f"{where} does not take the option {key!r}"
                    + (f"; it takes {', '.join(sorted(allowed))}" if known else f": unknown, known are {_KNOWN}")
                )
            told[key] = _CHECKS[key](key, told[key])
        return replace(self, **told) if told else self


NONE = Options()


def seconds(name: str, value: Any) -> float:
    """Return a duration in seconds from a number or a timedelta.

    Raises:
        TypeError: neither. ValueError: negative or not finite.
    """
    if isinstance(value, timedelta):
        value = value.total_seconds()
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise _wrong(name, "float", value)
    if math.isnan(value) or value < 0:
        raise ValueError(f"{name} must be greater than or equal to zero, got {value}")
    return float(value)


def _wrong(name: str, expected: str, value: Any) -> TypeError:
    return TypeError(f"{name} must be `{expected}`, got {type(value).__name__}")


def _id(name: str, value: Any) -> str:
    if not isinstance(value, str):
        raise _wrong(name, "str", value)
    return check_legal(value)


def check_legal(value: str) -> str:
    """Return an id people chose, or raise ValueError with the rule it breaks (D12)."""
    from resonate_mq.protocol.errors import InvalidRequestError

    try:
        return check_id(writable("id", value), "id")
    except InvalidRequestError as error:
        raise ValueError(error.message) from error


def writable(name: str, text: str) -> str:
    """Refuse here what no JSON can carry, rather than where it is sent."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise ValueError(f"{name} contains a lone surrogate at index {error.start}") from error
    if "\0" in text:
        raise ValueError(f"{name} must not contain null bytes")
    return text


def _tags(name: str, value: Any) -> dict[str, str]:
    if not isinstance(value, dict) or not all(isinstance(part, str) for pair in value.items() for part in pair):
        raise _wrong(name, "dict[str, str]", value)
    return {writable(name, _LEGACY_TAGS.get(tag) or tag): writable(name, text) for tag, text in value.items()}


def _ikey(name: str, value: Any) -> Any:
    if not isinstance(value, str) and not callable(value):
        raise _wrong(name, "str | Callable[[str], str]", value)
    return value


def _encoder(name: str, value: Any) -> Any:
    if not callable(getattr(value, "encode", None)) or not callable(getattr(value, "decode", None)):
        raise _wrong(name, "Encoder", value)
    return value


def _text(name: str, value: Any) -> str:
    if not isinstance(value, str):
        raise _wrong(name, "str", value)
    if not value:
        raise ValueError(f"{name} must not be empty")
    return writable(name, value)


def _version(name: str, value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise _wrong(name, "int", value)
    if value < 0:
        raise ValueError(f"{name} must be greater than or equal to zero, got {value}")
    return value


def _policy(name: str, value: Any) -> Any:
    if isinstance(value, type) or not (isinstance(value, RetryPolicy) or callable(value)):
        raise _wrong(name, "RetryPolicy | Callable[[Callable], RetryPolicy]", value)
    return value


def _flag(name: str, value: Any) -> bool:
    if not isinstance(value, bool):
        raise _wrong(name, "bool", value)
    return value


def _exceptions(name: str, value: Any) -> tuple[type[Exception], ...]:
    if not isinstance(value, tuple) or not all(isinstance(one, type) and issubclass(one, Exception) for one in value):
        raise _wrong(name, "tuple[type[Exception], ...]", value)
    return value


_CHECKS: dict[str, Callable[[str, Any], Any]] = {
    "id": _id,
    "timeout": seconds,
    "tags": _tags,
    "idempotency_key": _ikey,
    "encoder": _encoder,
    "target": _text,
    "version": _version,
    "retry_policy": _policy,
    "durable": _flag,
    "non_retryable_exceptions": _exceptions,
}
_KNOWN = ", ".join(field.name for field in fields(Options))
