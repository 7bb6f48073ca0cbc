"""From JSON builtins to what an annotation promises (D29). Pydantic is imported when the first annotation needs it."""

import types
import typing
from collections.abc import Callable
from functools import lru_cache
from typing import Any

from resonate_mq.functions.errors import DecodeError
from resonate_mq.functions.signatures import UNTYPED

Reader = Callable[[Any, str], Any]

_UNTYPED = (UNTYPED, Any, object)
_EXACT = {str, int, bool, float, dict, list, type(None), None}


def restore(decoded: Any, annotation: Any, path: str) -> Any:
    """Return `decoded` as the annotated type.

    Args:
        decoded: JSON builtins.
        annotation: a type, or `UNTYPED`, or anything pydantic has no schema for: then builtins are given back.
        path: how the value is called in the error.

    Raises:
        DecodeError: the value does not fit; says where, what was found and what was expected.
    """
    if decoded is None or any(annotation is one for one in _UNTYPED):
        return decoded  # None fits everything: people write `x: str = None`, and a function that gives nothing gives it
    if type(decoded) is annotation and annotation in _EXACT:
        return decoded  # the common case, without building anything
    try:
        reader = _cached_reader(annotation)
    except TypeError:  # unhashable metadata in Annotated
        reader = _reader(annotation)
    return reader(decoded, path)


def _reader(annotation: Any) -> Reader:
    if _is_plain(annotation):
        return lambda decoded, path: decoded if _fits(decoded, annotation) else _validated(decoded, annotation, path)
    return lambda decoded, path: _validated(decoded, annotation, path)


_cached_reader = lru_cache(maxsize=4096)(_reader)


def _is_plain(annotation: Any) -> bool:
    """Tell whether JSON builtins are that type already when they fit it: nothing to convert, only to check."""
    origin, args = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is None:
        return any(annotation is one for one in _EXACT) or annotation is Any
    if origin is list:
        return _is_plain(args[0])
    if origin is dict:
        return args[0] is str and _is_plain(args[1])
    if origin in (typing.Union, types.UnionType):
        return all(_is_plain(one) for one in args)
    return False


def _fits(decoded: Any, annotation: Any) -> bool:
    if annotation is Any:
        return True
    origin, args = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is None:
        return decoded is None if annotation is None else type(decoded) is annotation
    if origin is list:
        return type(decoded) is list and all(_fits(item, args[0]) for item in decoded)
    if origin is dict:
        return type(decoded) is dict and all(_fits(item, args[1]) for item in decoded.values())
    return any(_fits(decoded, one) for one in args)


@lru_cache(maxsize=4096)
def _adapter(annotation: Any) -> Any:
    import pydantic  # lazily: 0.2 s of import that untyped functions never need

    # in a list, because pydantic takes no configuration for a dataclass or model at the top
    config = pydantic.ConfigDict(ser_json_bytes="base64", val_json_bytes="base64")
    try:
        return pydantic.TypeAdapter(list[annotation], config=config)
    except (pydantic.errors.PydanticUserError, pydantic.errors.PydanticUndefinedAnnotation, TypeError):
        return None  # a class of the user's own that has no schema


def _validated(decoded: Any, annotation: Any, path: str) -> Any:
    try:
        adapter = _adapter(annotation)
    except TypeError:  # unhashable metadata in Annotated
        adapter = _adapter.__wrapped__(annotation)
    if adapter is None:
        return decoded
    import json  # not orjson: integers beyond 64 bits must survive

    import pydantic

    try:
        return adapter.validate_json(json.dumps([decoded]))[0]
    except pydantic.ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in first["loc"][1:])
        raise DecodeError(
            f"{path}{where}: {first['msg']}, found {_shown(first['input'])}; the annotation says {_named(annotation)}"
        ) from error


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."


def _named(annotation: Any) -> str:
    return getattr(annotation, "__name__", None) or str(annotation)
