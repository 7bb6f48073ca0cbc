"""Python values as JSON builtins, the slow way: walks everything, knows every path (D29).

Pydantic's JSON mode with bytes as base64. Only reached by values that the fast encoder refuses. Pydantic models are
written by their own `model_dump`, so their configuration decides (bytes in a model: `ser_json_bytes='base64'`).
"""

import base64
import dataclasses
import datetime
import decimal
import enum
import math
import pathlib
import sys
import uuid
from collections.abc import Mapping
from typing import Any

from resonate_mq.functions.errors import EncodeError

MAX_DEPTH = 200  # containers; orjson stops at 254


def to_jsonable(value: Any, path: str, depth: int = 0) -> Any:
    """Return `value` made of dict, list, str, int, float, bool and None only.

    Args:
        value: anything.
        path: how `value` is called in the error, for example `args[0]`.
        depth: containers around it.

    Raises:
        EncodeError: names the path of the first part that has no JSON form.
    """
    kind = type(value)
    if value is None or kind is bool or kind is int:
        return value
    if kind is str:
        return _text(value, path)
    if kind is float:
        return _finite(value, path)
    if depth > MAX_DEPTH:
        raise EncodeError(f"{path}: nested deeper than {MAX_DEPTH} levels; is it part of itself?")
    if isinstance(value, Mapping):
        return {_key(key, path): to_jsonable(item, _at(path, key), depth + 1) for key, item in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [to_jsonable(item, f"{path}[{index}]", depth + 1) for index, item in enumerate(value)]
    return _scalar(value, path, depth)


def _scalar(value: Any, path: str, depth: int) -> Any:
    if isinstance(value, enum.Enum):
        return to_jsonable(value.value, path, depth + 1)
    if isinstance(value, (bytes, bytearray, memoryview)):
        return base64.urlsafe_b64encode(bytes(value)).decode()
    if isinstance(value, (datetime.datetime, datetime.date, datetime.time, datetime.timedelta)):
        return _instant(value)
    if isinstance(value, (decimal.Decimal, uuid.UUID, pathlib.PurePath)):
        return str(value)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        names = [field.name for field in dataclasses.fields(value)]
        return {name: to_jsonable(getattr(value, name), f"{path}.{name}", depth + 1) for name in names}
    if _is_model(value):
        return _model(value, path, depth)
    if isinstance(value, bool | int):
        return int(value)
    if isinstance(value, float):
        return _finite(float(value), path)
    if isinstance(value, str):
        return _text(str(value), path)
    raise EncodeError(
        f"{path}: {_name(value)} has no JSON form; pass builtins, a dataclass, a pydantic model, an enum, a datetime, "
        "Decimal, UUID, Path or bytes"
    )


def _text(value: str, path: str) -> str:
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise EncodeError(f"{path}: the text contains a lone surrogate at index {error.start}") from error
    return value


def _finite(value: float, path: str) -> float:
    if not math.isfinite(value):
        raise EncodeError(f"{path}: {value} is not a finite number; JSON has no way to write it")
    return value


def _key(key: Any, path: str) -> str:
    written = to_jsonable(key, f"{path} (key {key!r})")
    if type(written) is str:
        return written
    if type(written) is bool:
        return "true" if written else "false"
    if type(written) in (int, float):
        return str(written)
    if written is None:
        return "None"
    raise EncodeError(f"{path}: the key {key!r} is {_name(key)}; JSON keys are text")


def _at(path: str, key: Any) -> str:
    return f"{path}.{key}" if isinstance(key, str) and key.isidentifier() else f"{path}[{key!r}]"


def _instant(value: datetime.datetime | datetime.date | datetime.time | datetime.timedelta) -> Any:
    from pydantic_core import to_jsonable_python  # lazily: 0.1 s of import that most processes never need

    return to_jsonable_python(value)


def _is_model(value: Any) -> bool:
    pydantic = sys.modules.get("pydantic")  # nobody has a model without having imported it
    return pydantic is not None and isinstance(value, pydantic.BaseModel)


def _model(value: Any, path: str, depth: int) -> Any:
    try:
        dumped = value.model_dump(mode="json", by_alias=True, round_trip=True)
    except ValueError as error:  # PydanticSerializationError and UnicodeDecodeError are ValueErrors
        raise EncodeError(
            f"{path}: {_name(value)} cannot be written as JSON: {error} (bytes in a model need "
            "model_config = ConfigDict(ser_json_bytes='base64', val_json_bytes='base64'))"
        ) from error
    return to_jsonable(dumped, path, depth + 1)


def _name(value: Any) -> str:
    kind = type(value)
    return kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
