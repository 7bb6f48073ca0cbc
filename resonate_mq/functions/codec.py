"""Values on the wire: base64 of JSON, restored by annotation (D29, protocol section 6.3). Nothing is ever unpickled.

The fast way is orjson; what it refuses is walked by `jsonable`, which names the path of what cannot be written.
"""

import base64
import binascii
import json
import re
from typing import Any, Protocol

import orjson

from resonate_mq.functions.annotated import restore
from resonate_mq.functions.error_codec import error_to_json, json_to_error
from resonate_mq.functions.errors import DecodeError, EncodeError
from resonate_mq.functions.jsonable import to_jsonable
from resonate_mq.functions.signatures import UNTYPED
from resonate_mq.protocol.records import EMPTY, Value

_FAST = orjson.OPT_PASSTHROUGH_SUBCLASS | orjson.OPT_PASSTHROUGH_DATACLASS | orjson.OPT_PASSTHROUGH_DATETIME
_LONG_INTEGER = re.compile(rb"\d{19}")  # orjson reads integers beyond 64 bits as floats
_IMMUTABLE = frozenset({str, int, bool, float})


class Encoder(Protocol):
    """What the `encoder=` option takes: a value to text and back; None stands for no data."""

    def encode(self, obj: Any) -> str | None:
        """Return `obj` as text."""
        ...

    def decode(self, obj: str | None) -> Any:
        """Return what `encode` was given."""
        ...


class Codec:
    """JSON values and errors; stateless."""

    def encode(self, value: Any, path: str = "value") -> Value:
        """Return `value` for the wire; None becomes an empty value.

        Raises:
            EncodeError: names the path of the part that has no JSON form, for example `args[0].items[3]`.
        """
        if value is None:
            return EMPTY
        return Value(None, base64.b64encode(to_json(value, path)).decode())

    def decode(self, value: dict[str, Any] | None, annotation: Any = UNTYPED, path: str = "value") -> Any:
        """Return the value of a wire object `{headers?, data?}`, restored by `annotation`.

        Raises:
            DecodeError: not base64, not JSON, or not what the annotation says.
        """
        data = None if value is None else value.get("data")
        if not data:
            return None  # whatever was promised: a timer or `promises.resolve(id)` has nothing to give
        return restore(from_data(data, path), annotation, path)

    def echo(self, value: Any, encoded: Value, annotation: Any = UNTYPED, path: str = "value") -> Any:
        """Return `decode(encode(value))`, without the work where it is `value` itself."""
        kind = type(value)
        if kind in _IMMUTABLE and (annotation is kind or annotation is UNTYPED):
            return value
        if value is None and annotation in (UNTYPED, None):
            return None
        return self.decode(encoded.wire(), annotation, path)

    def encode_error(self, error: BaseException) -> Value:
        """Return an error for the wire; parts that have no JSON form are left out, so this never fails (D30)."""
        return Value(None, base64.b64encode(orjson.dumps(error_to_json(error))).decode())

    def decode_error(self, value: dict[str, Any] | None) -> Exception:
        """Return the error of a rejected promise; never raises, runs nothing that the value names (D30)."""
        data = None if value is None else value.get("data")
        if not data:
            return json_to_error(None)
        try:
            return json_to_error(from_data(data, "value"))
        except DecodeError as error:
            return error


class CustomCodec(Codec):
    """Values through an encoder of the user's; errors stay JSON."""

    def __init__(self, encoder: Encoder) -> None:
        self._encoder = encoder

    def encode(self, value: Any, path: str = "value") -> Value:
        """Return what the user's encoder makes of `value`."""
        try:
            text = self._encoder.encode(value)
        except Exception as error:  # the boundary to the user's encoder
            raise EncodeError(f"{path}: the encoder refused it: {type(error).__name__}: {error}") from error
        return EMPTY if text is None else Value(None, base64.b64encode(text.encode()).decode())

    def decode(self, value: dict[str, Any] | None, annotation: Any = UNTYPED, path: str = "value") -> Any:
        """Return what the user's encoder makes of the stored text; the annotation is not consulted."""
        data = None if value is None else value.get("data")
        try:
            return self._encoder.decode(base64.b64decode(data).decode() if data else None)
        except Exception as error:  # the boundary to the user's encoder
            raise DecodeError(f"{path}: the encoder refused it: {type(error).__name__}: {error}") from error

    def echo(self, value: Any, encoded: Value, annotation: Any = UNTYPED, path: str = "value") -> Any:
        """Return `decode(encode(value))`."""
        return self.decode(encoded.wire(), annotation, path)


def to_json(value: Any, path: str = "value") -> bytes:
    """Return compact JSON.

    Raises:
        EncodeError: names the path of the part that has no JSON form.
    """
    try:
        text = orjson.dumps(value, option=_FAST)
    except TypeError:
        return _walked(value, path)
    # orjson writes nan and inf as null: look closer only where a null might be one
    return _walked(value, path) if b"null" in text else text


def _walked(value: Any, path: str) -> bytes:
    try:
        plain = to_jsonable(value, path)
    except EncodeError:
        raise
    except Exception as error:  # the boundary to user code: properties and iterators of the value
        raise EncodeError(f"{path}: reading it failed: {type(error).__name__}: {error}") from error
    try:
        return orjson.dumps(plain)
    except TypeError:  # an integer beyond 64 bits
        return json.dumps(plain, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode()


def from_data(data: str, path: str) -> Any:
    """Return the JSON builtins of base64 text.

    Raises:
        DecodeError: not base64 or not JSON.
    """
    try:
        text = base64.b64decode(data, validate=True)
    except (binascii.Error, ValueError) as error:
        raise DecodeError(f"{path}: not base64: {error}; the wire carries base64 of JSON") from error
    try:
        return json.loads(text) if _LONG_INTEGER.search(text) else orjson.loads(text)
    except (ValueError, RecursionError) as error:
        raise DecodeError(f"{path}: not JSON: {error}; found {text[:60]!r}") from error
