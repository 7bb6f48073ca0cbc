"""Cron expressions as the protocol reads them (section 4.3, D45): UTC, seconds first, 1 = Sunday, both day fields.

Fields: `sec min hour dom month dow [year]`; five fields get a 0 second. `@yearly` and friends are shorthands.
"""

from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import NamedTuple

SHORTHANDS = {
    "@yearly": "0 0 0 1 1 *",
    "@annually": "0 0 0 1 1 *",
    "@monthly": "0 0 0 1 * *",
    "@weekly": "0 0 0 * * 1",
    "@daily": "0 0 0 * * *",
    "@hourly": "0 0 * * * *",
}
FALLBACK_MS = 60_000  # "no future occurrence" fires a minute later, as the released server does

_MONTHS = ("january", "february", "march", "april", "may", "june", "july", "august", "september", "october",
           "november", "december")  # fmt: skip
_DAYS = ("sunday", "monday", "tuesday", "wednesday", "thursday", "friday", "saturday")
_MONTH_NAMES = {name: index for index, month in enumerate(_MONTHS, 1) for name in (month, month[:3])}
_DAY_NAMES = {name: index for index, day in enumerate(_DAYS, 1) for name in (day, day[:3])}
_DAY_NAMES.update({"tues": 3, "thurs": 5})


class _Field(NamedTuple):
    name: str
    low: int
    high: int
    names: dict[str, int]
    question: bool


_FIELDS = (
    _Field("seconds", 0, 59, {}, False),
    _Field("minutes", 0, 59, {}, False),
    _Field("hours", 0, 23, {}, False),
    _Field("day of month", 1, 31, {}, True),
    _Field("month", 1, 12, _MONTH_NAMES, False),
    _Field("day of week", 1, 7, _DAY_NAMES, True),
    _Field("year", 1970, 2100, {}, False),
)


class Cron(NamedTuple):
    """A parsed expression: the allowed values of each field, ascending."""

    seconds: tuple[int, ...]
    minutes: tuple[int, ...]
    hours: tuple[int, ...]
    days: frozenset[int]
    months: tuple[int, ...]
    weekdays: frozenset[int]
    years: tuple[int, ...]


@lru_cache(maxsize=1024)
def parse(expression: str) -> Cron:
    """Parse an expression.

    Raises:
        ValueError: says which field is wrong and what it allows.
    """
    text = expression.strip()
    if text.startswith("@"):
        if text.lower() not in SHORTHANDS:
            raise ValueError(f"unknown shorthand; expected one of {', '.join(sorted(SHORTHANDS))}")
        text = SHORTHANDS[text.lower()]
    parts = text.split()
    if len(parts) == 5:
        parts.insert(0, "0")
    if not 6 <= len(parts) <= 7:
        raise ValueError(f"expected 5, 6 or 7 fields, got {len(parts)}")
    if len(parts) == 6:
        parts.append("*")
    sets = [_values(part, field) for part, field in zip(parts, _FIELDS, strict=True)]
    second, minute, hour, day, month, weekday, year = (tuple(sorted(one)) for one in sets)
    return Cron(second, minute, hour, frozenset(day), month, frozenset(weekday), year)


def _values(text: str, field: _Field) -> set[int]:
    values: set[int] = set()
    for item in text.split(","):
        values |= _item(item, field)
    return values


def _item(item: str, field: _Field) -> set[int]:
    base, slash, step_text = item.partition("/")
    step = 1
    if slash:
        if not (step_text.isascii() and step_text.isdigit()) or int(step_text) == 0:
            raise ValueError(f"{field.name}: step {step_text!r} must be a positive integer")
        step = int(step_text)
    if base == "*" or (base == "?" and field.question):
        return set(range(field.low, field.high + 1, step))
    first, dash, last = base.partition("-")
    low = _number(first, field)
    if dash:
        high = _number(last, field)
        if low > high:
            raise ValueError(f"{field.name}: range {base!r} runs backwards")
        return set(range(low, high + 1, step))
    if not slash:
        return {low}
    if not first.isdigit():
        raise ValueError(f"{field.name}: a step needs a range or a number, not the name {first!r}")
    return set(range(low, field.high + 1, step))


def _number(text: str, field: _Field) -> int:
    if text.isascii() and text.isdigit():
        value = int(text)
        if not field.low <= value <= field.high:
            raise ValueError(f"{field.name}: {value} is outside {field.low}-{field.high}")
        return value
    value = field.names.get(text.lower(), -1)
    if value < 0:
        raise ValueError(f"{field.name}: {text!r} is not a number or name from {field.low} to {field.high}")
    return value


def next_after(expression: str, instant_ms: int) -> int:
    """Return the first occurrence strictly after `instant_ms` (truncated to whole seconds), epoch ms, UTC.

    Without a future occurrence: `instant_ms` + 60,000 (protocol section 4.3).

    Raises:
        ValueError: the expression cannot be parsed.
    """
    cron = parse(expression)
    try:
        start = datetime.fromtimestamp(instant_ms // 1000, UTC) + timedelta(seconds=1)
    except (OverflowError, ValueError, OSError):
        return instant_ms + FALLBACK_MS
    found = _search(cron, start)
    return instant_ms + FALLBACK_MS if found is None else int(found.timestamp()) * 1000


def _search(cron: Cron, start: datetime) -> datetime | None:
    for year in cron.years:
        if year < start.year:
            continue
        for month in cron.months:
            if (year, month) < (start.year, start.month):
                continue
            found = _search_month(cron, year, month, start)
            if found is not None:
                return found
    return None


def _search_month(cron: Cron, year: int, month: int, start: datetime) -> datetime | None:
    day = datetime(year, month, 1, tzinfo=UTC)
    while day.month == month:
        weekday = day.isoweekday() % 7 + 1
        if day.day in cron.days and weekday in cron.weekdays and day.date() >= start.date():
            found = _search_day(cron, day, start)
            if found is not None:
                return found
        day += timedelta(days=1)
    return None


def _search_day(cron: Cron, day: datetime, start: datetime) -> datetime | None:
    floor = (start.hour, start.minute, start.second) if day.date() == start.date() else (0, 0, 0)
    for hour in cron.hours:
        if hour < floor[0]:
            continue
        for minute in cron.minutes:
            if (hour, minute) < floor[:2]:
                continue
            for second in cron.seconds:
                if (hour, minute, second) >= floor:
                    return day.replace(hour=hour, minute=minute, second=second)
    return None
