"""Errors as JSON and back (D30, protocol section 6.3): read by the TypeScript SDK, rebuilt only from loaded classes.

A class named by a record is looked up in `sys.modules` and never imported; it must be an `Exception`, and it is
made by `cls.__new__` with `args` and `__dict__`: no constructor of anybody runs, but those of Python itself.
"""

import base64
import contextlib
import sys
import traceback
import types
from typing import Any

import orjson

from resonate_mq.functions.errors import RemoteError
from resonate_mq.functions.jsonable import to_jsonable

MAX_STACK = 16_000  # characters; the end of a traceback is what matters
MAX_SHOWN = 2000  # characters of a value that is no error
_NEVER = (StopIteration, StopAsyncIteration)  # would end the generator or task they are thrown into


def error_to_json(error: BaseException) -> dict[str, Any]:
    """Return the JSON object of an error."""
    found: dict[str, Any] = {
        "__type": "error",
        "name": type(error).__name__,
        "message": _clean(_message(error)),
        "stack": _clean(_stack(error)),
    }
    if isinstance(error, RemoteError):  # pass on what arrived, under its own name
        found["name"], found["stack"] = _clean(error.name), _clean(error.stack or found["stack"])
    py: dict[str, Any] = {"type": f"{type(error).__module__}:{type(error).__qualname__}"}
    if isinstance(error, BaseExceptionGroup):
        found["__type"] = "aggregate_error"
        found["errors"] = [error_to_json(one) for one in error.exceptions]
        found["message"] = py["message"] = _clean(str(error.message))
    else:
        _add(py, "args", _args(error))
        state = {name: item for name, item in vars(error).items() if name != "__notes__"}
        if state:
            _add_each(py, "state", state)
    notes = getattr(error, "__notes__", None)
    if notes:
        py["notes"] = [_clean(str(note)) for note in notes]
    found["py"] = py
    return found


def json_to_error(found: Any) -> Exception:
    """Return the error of a decoded JSON value; anything that is not an error becomes one that shows it."""
    if not isinstance(found, dict) or found.get("__type") not in ("error", "aggregate_error"):
        return _unknown(found)
    try:
        return _rebuilt(found) or _remote(found)
    except RecursionError:
        return _remote(found)


def _unknown(found: Any) -> Exception:
    if found is None:
        return RemoteError("Error", "rejected without saying why")
    if isinstance(found, str):
        return RemoteError("Error", found)
    if isinstance(found, dict) and isinstance(found.get("message"), str):
        return RemoteError(str(found.get("name") or "Error"), found["message"])
    return RemoteError("Error", f"unknown error: {_shown(found)}")


def _shown(found: Any) -> str:
    try:
        return orjson.dumps(found).decode()[:MAX_SHOWN]
    except TypeError:  # nested deeper than it writes
        return "a deeply nested value"


def _remote(found: dict[str, Any]) -> Exception:
    name, message, stack = (found.get(key) for key in ("name", "message", "stack"))
    return RemoteError(
        name if isinstance(name, str) else "Error",
        message if isinstance(message, str) else f"unknown error: {_shown(message)}",
        stack if isinstance(stack, str) else "",
    )


def _rebuilt(found: dict[str, Any]) -> Exception | None:
    py = found.get("py")
    if not isinstance(py, dict):
        return None
    cls = _loaded_class(py.get("type"))
    if cls is None:
        return None
    if issubclass(cls, ExceptionGroup):
        return _group(cls, found)
    args, state = py.get("args"), py.get("state", {})
    if not isinstance(args, list) or not isinstance(state, dict):
        return None
    try:
        args = _typed(cls, args)
        error = cls.__new__(cls, *args)
        _fill(error, args)
        error.__dict__.update(state)
    except Exception:  # noqa: BLE001 - a class with a __new__ of its own may refuse; its text is kept then
        return None
    _add_notes(error, py, found)
    return error


def _args(error: BaseException) -> list[Any]:
    """Return what the constructor was given; an OSError keeps its files elsewhere."""
    if isinstance(error, OSError) and error.filename is not None and len(error.args) == 2:
        files = [error.filename] if error.filename2 is None else [error.filename, None, error.filename2]
        return [*error.args, *files]
    return list(error.args)


def _typed(cls: type[Exception], args: list[Any]) -> list[Any]:
    if issubclass(cls, UnicodeDecodeError) and len(args) == 5 and isinstance(args[1], str):
        return [args[0], base64.urlsafe_b64decode(args[1]), *args[2:]]
    return args


def _fill(error: Exception, args: list[Any]) -> None:
    """Set what an error shows; a constructor is run only where it is Python's own, in C."""
    if not isinstance(error, OSError) or error.filename is None:
        error.args = tuple(args)
    init: Any = type(error).__init__
    own = isinstance(init, types.WrapperDescriptorType) and init.__objclass__.__module__ == "builtins"
    if own and not isinstance(error, OSError):
        with contextlib.suppress(TypeError, ValueError):  # arguments of another Python's version of it
            init(error, *args)


def _group(cls: type[ExceptionGroup[Any]], found: dict[str, Any]) -> Exception | None:
    inner = found.get("errors")
    if not isinstance(inner, list) or not inner:
        return None
    error = ExceptionGroup(str(found.get("message", "")), [json_to_error(one) for one in inner])
    _add_notes(error, found["py"], found)
    return error


def _add_notes(error: Exception, py: dict[str, Any], found: dict[str, Any]) -> None:
    notes = py.get("notes")
    for note in notes if isinstance(notes, list) else ():
        if isinstance(note, str):
            error.add_note(note)
    stack = found.get("stack")
    if isinstance(stack, str) and stack:
        error.__dict__.setdefault("__remote_stack__", stack)


def _loaded_class(name: Any) -> type[Exception] | None:
    module_name, separator, path = name.partition(":") if isinstance(name, str) else ("", "", "")
    module = sys.modules.get(module_name)
    if not separator or module is None:
        return None
    found: Any = module
    for part in path.split("."):
        found = vars(found).get(part) if hasattr(found, "__dict__") else None  # no getattr: it may run code
    if isinstance(found, type) and issubclass(found, Exception) and not issubclass(found, _NEVER):
        return found
    return None


def _message(error: object) -> str:
    try:
        return str(error)
    except Exception as broken:  # noqa: BLE001 - __str__ is user code
        return f"<{type(error).__name__}.__str__ raised {type(broken).__name__}>"


def _stack(error: BaseException) -> str:
    remembered = vars(error).get("__remote_stack__")
    if isinstance(remembered, str) and error.__traceback__ is None:
        return remembered
    return "".join(traceback.format_exception(error, chain=True))[-MAX_STACK:]


def _clean(text: str) -> str:
    return text.encode("utf-8", "replace").decode()


def _add(py: dict[str, Any], key: str, value: list[Any]) -> None:
    """Add args; of those that cannot be written the text, so that the class can still be rebuilt."""
    py[key] = [_written(item) for item in value]


def _written(item: Any) -> Any:
    try:
        plain = to_jsonable(item, "args")
        orjson.dumps(plain)
    except Exception:  # noqa: BLE001 - reading it may run user code; the error has to travel all the same
        return _clean(_message(item))
    return plain


def _add_each(py: dict[str, Any], key: str, state: dict[str, Any]) -> None:
    written: dict[str, Any] = {}
    for name, item in state.items():
        try:
            plain = to_jsonable(item, name)
            orjson.dumps(plain)
        except Exception:  # noqa: BLE001 - reading it may run user code; the error has to travel all the same
            continue
        if name != "__remote_stack__":
            written[_clean(str(name))] = plain
    if written:
        py[key] = written
