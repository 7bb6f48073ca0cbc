"""What people type on a command line: JSON, durations, tags, and the values of promises.

A value is typed and shown as `{"headers": {...}, "data": "<JSON text>"}`; on the wire `data` is base64 of that text
(protocol section 6.3). Knows no server.
"""

import base64
import binascii
import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from resonate_mq.cli.output import CliError, usage
from resonate_mq.protocol.records import EMPTY, Value

_UNITS_S = {"ms": 0.001, "s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0, "d": 86_400.0, "w": 604_800.0}
_DURATION = re.compile(r"(?:\d+(?:\.\d+)?(?:ms|min|s|m|h|d|w))+\Z")
_PART = re.compile(r"(\d+(?:\.\d+)?)(ms|min|s|m|h|d|w)")


def argument(text: str) -> Any:
    """Return a function argument: the JSON it is, else the text itself."""
    try:
        return json.loads(text)
    except ValueError:
        return text


def seconds(text: str, option: str) -> float:
    """Return a duration such as `30s`, `1h30m`, `500ms` or `90` (seconds)."""
    compact = text.replace(" ", "")
    if _DURATION.match(compact):
        return sum(float(number) * _UNITS_S[unit] for number, unit in _PART.findall(compact))
    if re.fullmatch(r"\d+(\.\d+)?", compact):
        return float(compact)
    raise CliError(
        f"{option} {text!r} is no duration; expected for example 30s, 1h30m, 500ms, 7d or a number of seconds", 2
    )


def tags(pairs: Sequence[str], option: str = "--tag") -> dict[str, str]:
    """Return `NAME=VALUE` pairs as a dict; names may contain anything but `=`."""
    found = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals or not name:
            usage(f"{option} {pair!r}: expected NAME=VALUE, for example tenant=acme")
        found[name] = value
    return found


def value(value_text: str | None, data_text: str | None, option: str = "--value") -> Value:
    """Return the value of a promise from its two spellings; neither gives the empty value.

    Args:
        value_text: JSON object `{"headers": {...}, "data": "<JSON text>"}`, both members optional.
        data_text: the JSON text alone, or a plain string.
    """
    if value_text is not None and data_text is not None:
        usage(f"give {option} or --data, not both")
    if data_text is not None:
        return Value(None, _base64(json.dumps(argument(data_text), ensure_ascii=False)))
    if value_text is None:
        return EMPTY
    try:
        found = json.loads(value_text)
    except ValueError as error:
        usage(f"{option} is not JSON: {error}; {_EXPECTED}")
    if not isinstance(found, dict) or not found.keys() <= {"headers", "data"}:
        usage(f"{option} {value_text}: {_EXPECTED}")
    headers, data = found.get("headers"), found.get("data")
    if data is not None and not isinstance(data, str):
        usage(f"{option}: data must be a string that holds JSON text, found {json.dumps(data)}; {_EXPECTED}")
    if headers is not None and not _is_text_map(headers):
        usage(f"{option}: headers must be an object of strings, found {json.dumps(headers)}; {_EXPECTED}")
    return Value(headers, None if data is None else _base64(data))


def readable(record: Mapping[str, Any], *members: str) -> dict[str, Any]:
    """Return a record with the values under `members` shown as they are typed, not as base64."""
    shown = dict(record)
    for member in members:
        if isinstance(shown.get(member), dict):
            shown[member] = _decoded(shown[member])
    return shown


def json_of(wire: Mapping[str, Any]) -> Any:
    """Return the JSON inside a wire value; None when it is empty, the text itself when it is no JSON."""
    data = wire.get("data")
    if not data:
        return None
    text = _text(data)
    return data if text is None else argument(text)


def _decoded(wire: Mapping[str, Any]) -> dict[str, Any]:
    if not wire.get("data"):
        return dict(wire)
    text = _text(wire["data"])
    return dict(wire) if text is None else {**wire, "data": text}


def _text(data: str) -> str | None:
    try:
        return base64.b64decode(data, validate=True).decode()
    except (binascii.Error, ValueError):
        return None


def _base64(text: str) -> str:
    try:
        return base64.b64encode(text.encode()).decode()
    except UnicodeEncodeError:
        usage("the value holds a lone surrogate, which no UTF-8 text can")


def _is_text_map(found: object) -> bool:
    return isinstance(found, dict) and all(isinstance(one, str) for one in found.values())


_EXPECTED = """expected for example '{"headers": {}, "data": "\\"approved\\""}' (data holds JSON text)"""
