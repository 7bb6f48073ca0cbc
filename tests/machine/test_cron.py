"""Cron as protocol section 4.3 reads it."""

from datetime import UTC, datetime

import pytest

from resonate_mq.machine.cron import next_after, parse


def at(text: str) -> int:
    """Return epoch ms of an ISO instant in UTC."""
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp() * 1000)


@pytest.mark.parametrize(
    ("expression", "after", "expected"),
    [
        ("* * * * *", "2026-01-01T00:00:00", "2026-01-01T00:01:00"),
        ("*/30 * * * * *", "2026-01-01T00:00:00", "2026-01-01T00:00:30"),
        ("*/30 * * * * *", "2026-01-01T00:00:29.999", "2026-01-01T00:00:30"),
        ("0 9 * * MON-FRI", "2026-01-02T09:00:00", "2026-01-05T09:00:00"),
        ("0 9 * * 2-6", "2026-01-02T09:00:00", "2026-01-05T09:00:00"),
        ("0 0 * * 1", "2026-01-01T00:00:00", "2026-01-04T00:00:00"),
        ("0 0 0 13 * FRI", "2026-01-01T00:00:00", "2026-02-13T00:00:00"),
        ("0 0 29 2 *", "2026-01-01T00:00:00", "2028-02-29T00:00:00"),
        ("0 0 31 * ?", "2026-01-31T00:00:00", "2026-03-31T00:00:00"),
        ("5/20 * * * * *", "2026-01-01T00:00:06", "2026-01-01T00:00:25"),
        ("0 10,20 12 1 jan,june Thursday", "2026-01-01T12:10:00", "2026-01-01T12:20:00"),
        ("0 0 0 1 1 * 2030", "2026-01-01T00:00:00", "2030-01-01T00:00:00"),
        ("0 0 0 * * tues-thurs/2", "2026-01-01T00:00:00", "2026-01-06T00:00:00"),
        ("0 30 10 1 * *", "2026-01-01T10:45:00", "2026-02-01T10:30:00"),
        ("@hourly", "2026-01-01T00:59:59", "2026-01-01T01:00:00"),
        ("@daily", "2026-01-01T00:00:00", "2026-01-02T00:00:00"),
        ("@weekly", "2026-01-01T00:00:00", "2026-01-04T00:00:00"),
        ("@monthly", "2026-12-15T00:00:00", "2027-01-01T00:00:00"),
        ("@yearly", "2026-12-31T23:59:59", "2027-01-01T00:00:00"),
        ("30 59 23 31 12 *", "2026-12-31T23:59:30", "2027-12-31T23:59:30"),
    ],
)
def test_the_next_occurrence(expression: str, after: str, expected: str) -> None:
    assert next_after(expression, at(after)) == at(expected)


def test_without_a_future_occurrence_it_fires_a_minute_later() -> None:
    assert next_after("0 0 0 1 1 * 2000", at("2026-01-01T00:00:00")) == at("2026-01-01T00:01:00")
    assert next_after("0 0 0 31 2 * 2027", at("2026-01-01T00:00:00")) == at("2026-01-01T00:01:00")
    assert next_after("* * * * *", 2**53 - 1) == 2**53 - 1 + 60_000


@pytest.mark.parametrize(
    ("expression", "said"),
    [
        ("* * * *", "5, 6 or 7 fields"),
        ("60 * * * * *", "seconds"),
        ("* 24 * * *", "hours"),
        ("* * 0 * *", "day of month"),
        ("* * * 13 *", "month"),
        ("* * * * 0", "day of week"),
        ("* * * * 8", "day of week"),
        ("* * * * FRI-MON", "backwards"),
        ("* * * * mon/2", "a step needs"),
        ("*/0 * * * *", "step"),
        ("*/x * * * *", "step"),
        ("? * * * *", "minutes"),
        ("@sometimes", "shorthand"),
        ("* * * * * * 1969", "year"),
        ("", "fields"),
    ],
)
def test_what_cannot_be_parsed_is_refused_by_field(expression: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        parse(expression)
