"""Cron as people mean it, sent so that every server agrees (D45)."""

from datetime import UTC, datetime

import pytest

from resonate_mq.client import cron


@pytest.mark.parametrize(
    ("written", "sent"),
    [
        ("* * * * *", "* * * * *"),
        ("0 9 * * 1", "0 9 * * MON"),
        ("0 9 * * 0", "0 9 * * SUN"),
        ("0 9 * * 7", "0 9 * * SUN"),
        ("0 9 * * 1-5", "0 9 * * MON-FRI"),
        ("0 9 * * mon-fri", "0 9 * * MON-FRI"),
        ("0 9 * * 5-7", "0 9 * * SUN,FRI,SAT"),
        ("0 9 * * FRI-MON", "0 9 * * SUN,MON,FRI,SAT"),
        ("0 9 * * */2", "0 9 * * SUN,TUE,THU,SAT"),
        ("0 9 * * 1,3", "0 9 * * MON,WED"),
        ("0 9 * * 0-6", "0 9 * * *"),
        ("0 9 * * 7-2", "0 9 * * SUN-TUE"),
        ("@daily", "0 0 * * *"),
        ("@weekly", "0 0 * * SUN"),
        ("*/30 * * * * *", "*/30 * * * * *"),
        ("0 0 9 * * monday", "0 0 9 * * MON"),
    ],
)
def test_weekdays_are_sent_as_names(written: str, sent: str) -> None:
    assert cron.to_wire(written) == sent


def test_monday_is_one_and_the_next_firing_says_so() -> None:
    saturday = int(datetime(2026, 8, 1, 12, tzinfo=UTC).timestamp() * 1000)
    first, second, third = cron.next_firings(cron.to_wire("30 9 * * 1"), saturday)
    assert (first, second, third) == (
        datetime(2026, 8, 3, 9, 30, tzinfo=UTC),
        datetime(2026, 8, 10, 9, 30, tzinfo=UTC),
        datetime(2026, 8, 17, 9, 30, tzinfo=UTC),
    )


def test_a_numeric_weekday_with_six_fields_is_refused_with_the_name_to_use() -> None:
    with pytest.raises(ValueError, match="write MON instead of 1"):
        cron.to_wire("0 0 9 * * 1")


@pytest.mark.parametrize("bad", ["", "* * * *", "61 * * * *", "* * * * FOO", "* * * * 8", "* * * * 1/0", "a b c d e"])
def test_what_cannot_be_understood_is_refused_by_value_error(bad: str) -> None:
    with pytest.raises(ValueError, match="cron"):
        cron.to_wire(bad)


def test_day_of_month_together_with_weekday_is_noticed() -> None:
    assert cron.has_both_days(cron.to_wire("0 0 13 * 5"))
    assert not cron.has_both_days(cron.to_wire("0 0 * * 5"))
    assert not cron.has_both_days(cron.to_wire("0 0 0 13 * ?"))


def test_an_expression_that_is_no_text_is_refused_by_type_error() -> None:
    with pytest.raises(TypeError, match="cron must be `str`, got int"):
        cron.to_wire(5)  # type: ignore[arg-type]
