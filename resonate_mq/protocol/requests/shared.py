"""Pieces of `data` that several requests share."""

from typing import Any

from resonate_mq.protocol.limits import PROTOCOL_VERSION
from resonate_mq.protocol.records import EMPTY, Value

_ACTION_HEAD = {"corrId": "-", "version": PROTOCOL_VERSION}


def action(kind: str, data: dict[str, Any]) -> dict[str, Any]:
    """Return the envelope of an inner request (protocol section 3.8)."""
    return {"kind": kind, "head": _ACTION_HEAD, "data": data}


def with_value(data: dict[str, Any], name: str, value: Value) -> dict[str, Any]:
    """Return `data` with the value under `name`, unless it is empty."""
    if value != EMPTY:
        data[name] = value.wire()
    return data


def page(limit: int, cursor: str | None) -> dict[str, Any]:
    """Return the members that ask for one page."""
    return {"limit": limit} if cursor is None else {"limit": limit, "cursor": cursor}
