"""Reads single fields of a request's `data`; what is wrong is said with the field, what was found and expected."""

from typing import Any

from resonate_mq.protocol.errors import InvalidRequestError
from resonate_mq.protocol.ids import check_id, describe
from resonate_mq.protocol.limits import MAX_SAFE_INTEGER, MAX_SEARCH_LIMIT
from resonate_mq.protocol.records import EMPTY, Value

Object = dict[str, Any]


def integer(data: Object, field: str, minimum: int, maximum: int = MAX_SAFE_INTEGER) -> int:
    """Return an integer field within its bounds."""
    value = data.get(field)
    if type(value) is not int:
        found = "nothing" if field not in data else describe(value)
        raise InvalidRequestError(f"{field} must be an integer >= {minimum}, got {found}")
    if not minimum <= value <= maximum:
        raise InvalidRequestError(f"{field} must be an integer from {minimum} to {maximum}, got {value}")
    return value


def text(data: Object, field: str) -> str:
    """Return a non-empty string field without NUL."""
    value = data.get(field)
    if type(value) is not str or not value:
        found = "nothing" if field not in data else "an empty string" if value == "" else describe(value)
        raise InvalidRequestError(f"{field} is required and must be a non-empty string, got {found}")
    if "\0" in value:
        raise InvalidRequestError(f"{field} must not contain null bytes")
    return value


def identifier(data: Object, field: str) -> str:
    """Return an id field (D12)."""
    if field not in data:
        raise InvalidRequestError(f"{field} is required and must be a non-empty string, got nothing")
    return check_id(data[field], field)


def strings(value: object, field: str) -> dict[str, str]:
    """Return an object whose values are all strings."""
    if type(value) is not dict:
        raise InvalidRequestError(f"{field} must be an object of strings, got {describe(value)}")
    for name, item in value.items():
        if type(item) is not str:
            raise InvalidRequestError(f"{field}[{name!r}] must be a string, got {describe(item)}")
    return value


def tags_of(data: Object, field: str = "tags") -> dict[str, str]:
    """Return tags, none when the field is absent."""
    if field not in data:
        return {}
    tags = strings(data[field], field)
    for name, item in tags.items():
        if "\0" in name or "\0" in item:
            raise InvalidRequestError(f"{field}[{name!r}] must not contain null bytes")
    return tags


def value_of(data: Object, field: str) -> Value:
    """Return a param or value, empty when the field is absent."""
    if field not in data:
        return EMPTY
    value = data[field]
    if type(value) is not dict:
        raise InvalidRequestError(f"{field} must be an object with 'headers' and 'data', got {describe(value)}")
    headers, text = value.get("headers"), value.get("data")
    if headers is not None:
        headers = strings(headers, f"{field}.headers")
    if text is not None and type(text) is not str:
        raise InvalidRequestError(f"{field}.data must be a string, got {describe(text)}")
    return Value(headers, text)


def page(data: Object, default: int) -> tuple[int, str | None]:
    """Return the limit and cursor of a search."""
    limit = default if data.get("limit") is None else integer(data, "limit", 1, MAX_SEARCH_LIMIT)
    cursor = data.get("cursor")
    if cursor is not None and type(cursor) is not str:
        raise InvalidRequestError(f"cursor must be a string, got {describe(cursor)}")
    return limit, cursor


def state_of(data: Object, states: frozenset[str]) -> str | None:
    """Return the state a search filters by, or None."""
    state = data.get("state")
    if state is None:
        return None
    if type(state) is not str or state not in states:
        raise InvalidRequestError(f"state must be one of {', '.join(sorted(states))}, got {state!r}")
    return state


def tag_filter(data: Object) -> dict[str, str] | None:
    """Return the tags a search filters by, or None."""
    return None if data.get("tags") is None else strings(data["tags"], "tags")
