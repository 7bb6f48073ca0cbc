"""Durable functions for Python, delivered over the message broker you already run.

Names are imported at their first use: a server or a tool that needs one part of the package does not pay for all.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # for type checkers only: at run time `__getattr__` imports what is asked for
    from resonate_mq.client import DurablePromise, DurablePromiseValue, Function, Handle, Resonate, Schedule
    from resonate_mq.functions.commands import Promise, Yieldable
    from resonate_mq.functions.context import Context

_HOMES = {
    "Context": "resonate_mq.functions.context",
    "DurablePromise": "resonate_mq.client",
    "DurablePromiseValue": "resonate_mq.client",
    "Function": "resonate_mq.client",
    "Handle": "resonate_mq.client",
    "Promise": "resonate_mq.functions.commands",
    "Resonate": "resonate_mq.client",
    "Schedule": "resonate_mq.client",
    "Yieldable": "resonate_mq.functions.commands",
}

__all__ = [
    "Context",
    "DurablePromise",
    "DurablePromiseValue",
    "Function",
    "Handle",
    "Promise",
    "Resonate",
    "Schedule",
    "Yieldable",
]


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(home), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
