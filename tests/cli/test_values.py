"""What people type becomes what the wire carries, and the other way round."""

from __future__ import annotations

import base64

import pytest

from resonate_mq.cli import values
from resonate_mq.cli.output import CliError, duration, instant
from resonate_mq.protocol.records import EMPTY, Value


def encoded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


@pytest.mark.parametrize(
    ("text", "seconds"), [("30s", 30), ("1h", 3600), ("1h30m", 5400), ("500ms", 0.5), ("7d", 604_800), ("90", 90)]
)
def test_a_duration_has_a_unit_or_is_in_seconds(text: str, seconds: float) -> None:
    assert values.seconds(text, "--timeout") == seconds


@pytest.mark.parametrize("text", ["", "1y", "s", "-5s", "1h-2m", "inf"])
def test_a_duration_that_is_none_is_refused_with_examples(text: str) -> None:
    with pytest.raises(CliError, match="1h30m") as caught:
        values.seconds(text, "--timeout")
    assert caught.value.exit_code == 2


@pytest.mark.parametrize(
    ("text", "argument"), [("1", 1), ('{"a":2}', {"a": 2}), ("null", None), ("Ada", "Ada"), ('"1"', "1")]
)
def test_an_argument_is_json_else_the_text_itself(text: str, argument: object) -> None:
    assert values.argument(text) == argument


def test_the_value_of_a_promise_is_typed_as_headers_and_json_text() -> None:
    typed = '{"headers": {}, "data": "\\"approved\\""}'
    assert values.value(typed, None) == Value({}, encoded('"approved"'))


def test_data_alone_may_be_json_or_plain_text() -> None:
    assert values.value(None, '{"ok":true}') == Value(None, encoded('{"ok": true}'))
    assert values.value(None, "approved") == Value(None, encoded('"approved"'))
    assert values.value(None, None) == EMPTY


@pytest.mark.parametrize(
    "typed", ["approved", "[1]", '{"data": 5}', '{"headers": {"a": 1}}', '{"value": "x"}', '{"headers": []}']
)
def test_a_value_of_another_shape_is_refused_with_an_example(typed: str) -> None:
    with pytest.raises(CliError, match="expected for example"):
        values.value(typed, None)


def test_value_and_data_together_are_refused() -> None:
    with pytest.raises(CliError, match="not both"):
        values.value("{}", "1")


def test_records_show_values_as_they_are_typed() -> None:
    record = {"id": "a", "value": {"headers": {"h": "1"}, "data": encoded('"x"')}, "param": {}}
    assert values.readable(record, "param", "value")["value"] == {"headers": {"h": "1"}, "data": '"x"'}


def test_a_value_that_is_not_base64_is_shown_as_it_is() -> None:
    assert values.readable({"value": {"data": "%%"}}, "value") == {"value": {"data": "%%"}}
    assert values.json_of({"data": "%%"}) == "%%"


def test_tags_are_pairs() -> None:
    assert values.tags(["a=1", "resonate:target=poll://any@g"]) == {"a": "1", "resonate:target": "poll://any@g"}
    with pytest.raises(CliError, match="NAME=VALUE"):
        values.tags(["a"])


def test_times_are_shown_for_people() -> None:
    assert instant(1_700_000_000_123) == "2023-11-14 22:13:20.123Z"
    assert instant(None) == "-"
    assert instant(2**53) == str(2**53)
    assert [duration(one) for one in (12, 1500, 600_000, 86_400_000)] == ["12 ms", "1.5 s", "10.0 min", "24.0 h"]
