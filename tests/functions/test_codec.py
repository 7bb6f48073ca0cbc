"""Values on the wire and back (D29)."""

import base64
import dataclasses
import datetime
import decimal
import enum
import json
import subprocess
import sys
import uuid
from pathlib import Path
from typing import Annotated, Any, Optional

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from resonate_mq.functions.codec import Codec, CustomCodec
from resonate_mq.functions.errors import DecodeError, EncodeError
from resonate_mq.functions.invocation import bind, decode_invocation, encode_invocation
from resonate_mq.functions.signatures import UNTYPED, result_of, signature_of
from resonate_mq.protocol.records import EMPTY, Value

CODEC = Codec()


class Color(enum.Enum):
    RED = "red"


class Model(BaseModel):
    name: str
    at: datetime.datetime
    parts: set[int] = set()


@dataclasses.dataclass
class Order:
    id: uuid.UUID
    price: decimal.Decimal
    raw: bytes
    colors: list[Color]
    model: Model | None = None


ORDER = Order(uuid.UUID(int=7), decimal.Decimal("1.20"), b"\xff\x00", [Color.RED])
MODEL = Model(name="n", at=datetime.datetime(2026, 1, 2, tzinfo=datetime.UTC), parts={1})


def text_of(value: Value) -> str:
    assert value.data is not None
    return base64.b64decode(value.data).decode()


@pytest.mark.parametrize(
    ("value", "annotation"),
    [
        (1, int),
        ("a", str),
        (None, None),
        (2**70, int),
        (-(2**63) - 1, int),
        (1.5, float),
        ([1, "a", None], list),
        ({"a": [1]}, dict[str, list[int]]),
        ((1, "a"), tuple[int, str]),
        ({1, 2}, set[int]),
        (frozenset({1}), frozenset[int]),
        ({1: "a"}, dict[int, str]),
        ({True: 1}, dict[bool, int]),
        (Color.RED, Color),
        (b"\xff\xfe", bytes),
        (datetime.timedelta(days=1, seconds=0.5), datetime.timedelta),
        (datetime.date(2026, 1, 1), datetime.date),
        (decimal.Decimal("0.10"), decimal.Decimal),
        (uuid.UUID(int=1), uuid.UUID),
        (Path("/a/b"), Path),
        (ORDER, Order),
        (dataclasses.replace(ORDER, model=MODEL), Order),
        (MODEL, Model),
        ([MODEL], list[Model]),
        (None, Optional[Model]),  # noqa: UP045 - both spellings
        (MODEL, Model | None),
        (3, Any),
        ([1], Annotated[list[int], {"unhashable": []}]),
        (None, str),
    ],
)
def test_annotated_values_come_back_as_they_were(value: Any, annotation: Any) -> None:
    encoded = CODEC.encode(value)
    assert CODEC.decode(encoded.wire(), annotation) == value
    assert CODEC.echo(value, encoded, annotation) == value


@pytest.mark.parametrize(
    ("value", "decoded"),
    [((1, 2), [1, 2]), ({1: 2}, {"1": 2}), (Color.RED, "red"), (b"\xff", "_w=="), ({3}, [3])],
)
def test_without_an_annotation_json_builtins_come_back(value: Any, decoded: Any) -> None:
    encoded = CODEC.encode(value)
    assert CODEC.decode(encoded.wire()) == decoded
    assert CODEC.echo(value, encoded, UNTYPED) == decoded


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text() | st.floats(allow_nan=False, allow_infinity=False),
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
        max_leaves=12,
    )
)
def test_json_values_survive_exactly(value: Any) -> None:
    assert CODEC.decode(CODEC.encode(value).wire()) == value


def test_none_is_an_empty_value() -> None:
    assert CODEC.encode(None) == EMPTY
    assert CODEC.decode({}) is None
    assert CODEC.decode({"data": ""}) is None
    assert CODEC.decode({"headers": {}, "data": base64.b64encode(b"null").decode()}) is None


@pytest.mark.parametrize(
    ("value", "says"),
    [
        (float("nan"), "v: nan is not a finite"),
        ([1, {"a": float("inf")}], r"v\[1\].a: inf"),
        ({"items": [0, 0, 0, object()]}, r"v.items\[3\]: object has no JSON form"),
        ("\ud800", "v: the text contains a lone surrogate"),
        ({"\ud800": 1}, "lone surrogate"),
        (lambda: None, "v: function has no JSON form"),
        ({(1, 2): 3}, "JSON keys are text"),
    ],
)
def test_what_has_no_json_form_is_refused_with_its_path(value: Any, says: str) -> None:
    with pytest.raises(EncodeError, match=says):
        CODEC.encode(value, "v")


def test_a_value_that_contains_itself_is_refused() -> None:
    loop: list[Any] = []
    loop.append(loop)
    with pytest.raises(EncodeError, match="nested deeper"):
        CODEC.encode(loop)


@pytest.mark.parametrize(
    ("data", "annotation", "says"),
    [
        ("%%%", UNTYPED, "not base64"),
        (base64.b64encode(b"{").decode(), UNTYPED, "not JSON"),
        (base64.b64encode(b"[" * 100_000).decode(), UNTYPED, "not JSON"),
        (base64.b64encode(b'{"a":[1,"x"]}').decode(), dict[str, list[int]], r"v.a\[1\].*'x'"),
        (base64.b64encode(b"[1]").decode(), str, "str"),
        (base64.b64encode(b"[null]").decode(), list[int], r"v\[0\]"),
    ],
)
def test_what_does_not_fit_is_an_error_that_says_where(data: str, annotation: Any, says: str) -> None:
    with pytest.raises(DecodeError, match=says):
        CODEC.decode({"data": data}, annotation, "v")


def test_a_class_without_schema_gets_builtins() -> None:
    class Mine: ...

    assert CODEC.decode(CODEC.encode({"a": 1}).wire(), Mine) == {"a": 1}


def test_a_model_with_bytes_says_what_it_needs() -> None:
    class Blob(BaseModel):
        data: bytes

    with pytest.raises(EncodeError, match="ser_json_bytes"):
        CODEC.encode({"b": Blob(data=b"\xff")}, "v")


def test_an_encoder_of_the_users_own_is_used_both_ways() -> None:
    class Reverse:
        def encode(self, obj: Any) -> str | None:
            return json.dumps(obj)[::-1]

        def decode(self, obj: str | None) -> Any:
            return None if obj is None else json.loads(obj[::-1])

    codec = CustomCodec(Reverse())
    encoded = codec.encode({"a": 12})
    assert text_of(encoded) == '}21 :"a"{'
    assert codec.decode(encoded.wire()) == {"a": 12}


def f(ctx: Any, a: int, b: Color = Color.RED, *rest: float, c: set[int], **more: bytes) -> None: ...


def test_keywords_are_folded_into_positions_where_the_callee_is_known() -> None:
    def callee(ctx: Any, a: int, b: int = 2, *, c: int = 3) -> None: ...

    param = encode_invocation(CODEC, "callee", (), {"b": 5, "a": 1}, 1, signature_of(callee))
    assert json.loads(text_of(param)) == {"func": "callee", "args": [1, 5], "version": 1}
    param = encode_invocation(CODEC, "callee", (1,), {"c": 4}, 2, signature_of(callee))
    assert json.loads(text_of(param)) == {"func": "callee", "args": [1], "kwargs": {"c": 4}, "version": 2}
    param = encode_invocation(CODEC, "unknown", (1,), {"c": 4}, 1)
    assert json.loads(text_of(param)) == {"func": "unknown", "args": [1], "kwargs": {"c": 4}, "version": 1}


def test_arguments_are_restored_by_their_annotations() -> None:
    signature = signature_of(f)
    param = encode_invocation(CODEC, "f", (1, Color.RED, 2.0), {"c": {1}, "d": b"\x01"}, 1, signature)
    args, kwargs = bind(decode_invocation(CODEC, param.wire()), signature)
    assert args == [1, Color.RED, 2.0]
    assert kwargs == {"c": {1}, "d": b"\x01"}


def test_arguments_that_do_not_bind_are_a_type_error() -> None:
    with pytest.raises(TypeError):
        encode_invocation(CODEC, "f", (), {"x": 1}, 1, signature_of(f))


def test_the_path_of_a_bad_argument_counts_from_the_call() -> None:
    with pytest.raises(EncodeError, match=r"^\[410.00000\] args\[1\]\.items\[0\]"):
        encode_invocation(CODEC, "g", (1, {"items": [object()]}), {}, 1)
    with pytest.raises(EncodeError, match=r"kwargs\.x\.y: nan"):
        encode_invocation(CODEC, "g", (), {"x": {"y": float("nan")}}, 1)


@pytest.mark.parametrize("body", ['{"func":"f","args":[1]}', '{"func":"f","version":1.0,"args":[1],"other":2}'])
def test_calls_of_other_languages_are_read(body: str) -> None:
    call = decode_invocation(CODEC, {"headers": {}, "data": base64.b64encode(body.encode()).decode()})
    assert call == ("f", [1], {}, 1)


def test_the_type_of_a_generators_result_is_its_third_argument() -> None:
    from collections.abc import Coroutine, Generator, Iterator

    def gen(ctx: Any) -> Generator[Any, Any, Order]:
        yield
        return ORDER

    def wrong(ctx: Any) -> int:  # type: ignore[misc]  # the way the seeds write it
        yield 1

    def loose(ctx: Any) -> Iterator[Any]:
        yield

    async def asynchronous(ctx: Any) -> Order:
        return ORDER

    def explicit(ctx: Any) -> Coroutine[Any, Any, Order]:
        return asynchronous(ctx)

    assert [result_of(one) for one in (gen, wrong, loose, asynchronous, explicit)] == [
        Order,
        int,
        UNTYPED,
        Order,
        Order,
    ]


def test_pydantic_is_not_imported_for_builtins() -> None:
    code = """
import sys
from resonate_mq.functions.codec import Codec
from resonate_mq.functions.context import Context
codec = Codec()
for value, annotation in ((1, int), ([1, "a"], list[int | str]), ({"a": [None]}, dict[str, list[None]])):
    assert codec.decode(codec.encode(value).wire(), annotation) == value
assert "pydantic" not in sys.modules and "aiohttp" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", code], check=True)


def test_two_modules_that_read_alike_keep_their_own_types() -> None:
    source = "from __future__ import annotations\nclass Item: ...\ndef load(ctx) -> Item: ...\n"
    first: dict[str, Any] = {"__name__": "first"}
    second: dict[str, Any] = {"__name__": "second"}
    exec(compile(source, "first.py", "exec"), first)
    exec(compile(source, "second.py", "exec"), second)
    assert first["load"].__code__ == second["load"].__code__
    assert result_of(first["load"]) is first["Item"]
    assert result_of(second["load"]) is second["Item"]
    assert result_of(first["load"]) is first["Item"]


class Unreadable(dict[str, int]):
    def items(self) -> Any:
        raise RuntimeError("items")


@dataclasses.dataclass
class Unset:
    x: int


def test_a_value_whose_reading_fails_is_refused_and_its_error_still_travels() -> None:
    for value, reason in ((Unreadable(a=1), "RuntimeError: items"), (Unset.__new__(Unset), "AttributeError")):
        with pytest.raises(EncodeError, match=f"result: reading it failed: {reason}"):
            CODEC.encode(value, "result")
        travelled = CODEC.decode_error(CODEC.encode_error(ValueError(value, "kept")).wire())
        assert isinstance(travelled, ValueError)
        assert travelled.args[1] == "kept"
