"""Errors: how they look, pickle, travel and are rebuilt without running anything (features B7, D30)."""

import base64
import copy
import pickle
import sys
from pathlib import Path
from typing import Any

import orjson
import pytest

from resonate_mq import errors
from resonate_mq.functions.codec import Codec
from resonate_mq.functions.errors import RemoteError, ResonateError

CODEC = Codec()

EVERY = [
    errors.ResonateError("m", 1.5, {"a": 1}),
    errors.ResonateStoreError("not found", 40400),
    errors.ResonateCanceledError("p"),
    errors.ResonateTimedoutError("p", 12.5),
    errors.ResonateShutdownError("stopped"),
    errors.NonDeterminismError("m"),
    errors.IdTakenError("m"),
    errors.EncodeError("m"),
    errors.DecodeError("m"),
    errors.DeadlockError("m"),
    errors.RemoteError("Name", "m", "stack"),
]


def wire(error: BaseException) -> dict[str, Any]:
    value = CODEC.encode_error(error)
    assert value.data is not None
    found: dict[str, Any] = orjson.loads(base64.b64decode(value.data))
    return found


def travel(error: BaseException) -> Exception:
    return CODEC.decode_error(CODEC.encode_error(error).wire())


@pytest.mark.parametrize("error", EVERY, ids=lambda error: type(error).__name__)
def test_every_error_pickles_copies_and_travels(error: Exception) -> None:
    for again in (pickle.loads(pickle.dumps(error)), copy.copy(error), travel(error)):  # noqa: S301 - our own
        assert type(again) is type(error)
        assert str(again) == str(error)
        assert again.args == error.args or list(again.args) == list(error.args)
        assert {**vars(error), **vars(again)}.items() >= vars(error).items()


def test_codes_are_those_users_know() -> None:
    assert str(errors.ResonateStoreError("Promise not found", 40400)) == "[100.40400] Promise not found"
    assert errors.ResonateStoreError("x", 40400).code == 100.404
    assert (errors.ResonateCanceledError("p").code, errors.ResonateTimedoutError("p", 1).code) == (200, 201)
    assert errors.ResonateShutdownError("x").code == 300
    assert all(isinstance(one, ResonateError) for one in EVERY[:-1])


class OwnError(Exception):
    """Its constructor does not take its args."""

    def __init__(self, order: int, *, reason: str) -> None:
        super().__init__(f"order {order}: {reason}")
        self.order = order
        self.reason = reason


class SlottedError(Exception):
    """Refuses to be made."""

    def __new__(cls, *args: Any) -> "SlottedError":
        if len(args) != 2:
            raise TypeError("two")
        return super().__new__(cls, *args)


def test_a_class_of_this_process_is_rebuilt_without_its_constructor() -> None:
    again = travel(OwnError(7, reason="late"))
    assert type(again) is OwnError
    assert (again.order, again.reason, str(again)) == (7, "late", "order 7: late")


def test_a_class_that_refuses_becomes_a_remote_error_with_its_text() -> None:
    error = SlottedError("a", "b")
    error.args = ("a",)
    again = travel(error)
    assert isinstance(again, RemoteError)
    assert again.name == "SlottedError"


def test_the_json_is_what_the_typescript_sdk_reads() -> None:
    try:
        raise OwnError(7, reason="late")
    except OwnError as error:
        found = wire(error)
    assert found["__type"] == "error"
    assert found["name"] == "OwnError"
    assert found["message"] == "order 7: late"
    assert "test_errors.py" in found["stack"]
    assert found["py"]["type"].endswith(":OwnError")


def test_groups_travel_as_aggregates() -> None:
    group = ExceptionGroup("several", [ValueError("a"), ExceptionGroup("inner", [KeyError("b")])])
    assert wire(group)["__type"] == "aggregate_error"
    again = travel(group)
    assert isinstance(again, ExceptionGroup)
    assert repr(again) == repr(group)


def test_parts_that_have_no_json_form_are_left_out() -> None:
    error = OwnError(1, reason="x")
    error.__dict__["lock"] = object()
    error.__dict__["text"] = "\ud800"
    again = travel(error)
    assert type(again) is OwnError
    assert again.order == 1
    assert not hasattr(again, "lock")


def test_notes_travel() -> None:
    error = ValueError("x")
    error.add_note("look here")
    assert travel(error).__notes__ == ["look here"]


def test_errors_of_other_sdks_are_read() -> None:
    def read(value: Any) -> Exception:
        return CODEC.decode_error({"data": base64.b64encode(orjson.dumps(value)).decode()})

    error = read({"__type": "error", "name": "TypeError", "message": "no", "stack": "at x.ts"})
    assert isinstance(error, RemoteError)
    assert (error.name, str(error), error.stack) == ("TypeError", "no", "at x.ts")
    assert str(read({"__type": "error", "message": "py"})) == "py"
    assert str(read("just text")) == "just text"
    assert str(read([1, 2])) == "unknown error: [1,2]"
    assert str(CODEC.decode_error({})) == "rejected without saying why"
    aggregate = read({"__type": "aggregate_error", "message": "m", "errors": [{"__type": "error", "message": "a"}]})
    assert str(aggregate) == "m"


@pytest.mark.parametrize(
    "py",
    [
        {"type": "os:system", "args": ["touch {marker}"]},
        {"type": "subprocess:Popen", "args": ["touch {marker}"]},
        {"type": "builtins:eval", "args": ["open('{marker}','w')"]},
        {"type": "builtins:SystemExit", "args": [1]},
        {"type": "builtins:StopIteration", "args": [1]},
        {"type": "antigravity:x", "args": []},
        {"type": "builtins:type", "args": []},
        {"type": "..:..", "args": []},
        {"type": 7, "args": {}},
        "text",
    ],
)
def test_a_hostile_record_runs_nothing(py: Any, tmp_path: Path) -> None:
    marker = tmp_path / "ran"
    written = orjson.loads(orjson.dumps(py).replace(b"{marker}", str(marker).encode()))
    payload = {"__type": "error", "message": "m", "__py_pickle": "Y29z", "py": written}
    error = CODEC.decode_error({"data": base64.b64encode(orjson.dumps(payload)).decode()})
    assert isinstance(error, RemoteError)
    assert not marker.exists()
    assert "antigravity" not in sys.modules


def test_an_error_whose_text_fails_still_travels() -> None:
    class Broken(Exception):  # noqa: N818 - what a user might write
        def __str__(self) -> str:
            raise RuntimeError

    assert "Broken" in wire(Broken())["message"]


def test_a_deeply_nested_record_is_read() -> None:
    depth = 900
    data = b'{"__type":"error","message":' + b"[" * depth + b"]" * depth + b"}"
    assert isinstance(CODEC.decode_error({"data": base64.b64encode(data).decode()}), RemoteError)


def raised_by(program: str) -> Exception:
    try:
        exec(program)
    except Exception as error:  # noqa: BLE001  (whatever Python raises is what travels)
        return error
    raise AssertionError(program)


@pytest.mark.parametrize(
    "program",
    [
        "open('/nonexistent/file')",
        "import os; os.rename('/nonexistent/a', '/nonexistent/b')",
        "b'\\xff'.decode()",
        "'ä'.encode('ascii')",
        "compile('a b', 'file', 'exec')",
        "{}['key']",
        "import json; json.loads('{')",
    ],
)
def test_the_errors_of_python_keep_their_text(program: str) -> None:
    error = raised_by(program)
    back = travel(error)
    assert type(back) is type(error)
    assert str(back) == str(error)
    assert back.args == error.args or isinstance(error, SyntaxError)
    assert str(travel(back)) == str(error)


def test_a_missing_file_is_known_by_name_after_the_journey() -> None:
    back = travel(raised_by("open('/nonexistent/file')"))
    assert isinstance(back, FileNotFoundError)
    assert (back.errno, back.filename) == (2, "/nonexistent/file")
