"""Cron expressions as people mean them, rewritten so that every server agrees (D45).

Owns the translation of weekday numbers into names and the refusal of what cannot be translated. When a schedule
fires is the server's business; the next firings shown at creation come from the same rules (protocol section 4.3).
"""

from datetime import UTC, datetime

from resonate_mq.machine import cron as rules

_NAMES = ("SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT")
_LONG = {
    "SUNDAY": 0,
    "MONDAY": 1,
    "TUESDAY": 2,
    "TUES": 2,
    "WEDNESDAY": 3,
    "THURSDAY": 4,
    "THURS": 4,
    "FRIDAY": 5,
    "SATURDAY": 6,
    **{name: number for number, name in enumerate(_NAMES)},
}
_SHORTHANDS = {
    "@hourly": "0 * * * *",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@weekly": "0 0 * * SUN",
    "@monthly": "0 0 1 * *",
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
}


def to_wire(expression: str) -> str:
    """Return the expression to send: weekdays as names, shorthands spelled out.

    Five fields are read as everybody reads them: 0 and 7 are Sunday, 1 is Monday. With six fields (seconds
    first) a numeric weekday is refused, because servers count from Sunday = 1 there.

    Raises:
        TypeError: not text.
        ValueError: the expression cannot be parsed; says what was found and what to write instead.
    """
    if not isinstance(expression, str):
        raise TypeError(f"cron must be `str`, got {type(expression).__name__}")
    text = expression.strip()
    text = _SHORTHANDS.get(text.lower(), text)
    fields = text.split()
    if len(fields) == 5:
        fields[4] = _weekdays(fields[4], expression, numbers=True)
    elif len(fields) in (6, 7):
        fields[5] = _weekdays(fields[5], expression, numbers=False)
    else:
        raise ValueError(
            f"cron {expression!r} has {len(fields)} fields; expected 5 (minute hour day month weekday), "
            "or 6 with seconds first"
        )
    wire = " ".join(fields)
    try:
        rules.parse(wire)
    except ValueError as error:
        raise ValueError(f"cron {expression!r}: {error}") from error
    return wire


def has_both_days(wire: str) -> bool:
    """Tell whether day-of-month and weekday are both restricted: both must match then, unlike classic cron."""
    fields = wire.split()
    day, weekday = (fields[2], fields[4]) if len(fields) == 5 else (fields[3], fields[5])
    return day not in ("*", "?") and weekday not in ("*", "?")


def next_firings(wire: str, after_ms: int, count: int = 3) -> list[datetime]:
    """Return the next `count` firings after `after_ms` (epoch ms), in UTC."""
    firings, instant = [], after_ms
    for _ in range(count):
        instant = rules.next_after(wire, instant)
        firings.append(datetime.fromtimestamp(instant / 1000, UTC))
    return firings


def _weekdays(field: str, expression: str, *, numbers: bool) -> str:
    if field in ("*", "?"):
        return field
    days: set[int] = set()
    for item in field.split(","):
        days |= _item(item, expression, numbers=numbers)
    return _spell(days)


def _item(item: str, expression: str, *, numbers: bool) -> set[int]:
    span, slash, step_text = item.partition("/")
    step = 1
    if slash:
        if not step_text.isdigit() or int(step_text) == 0:
            raise ValueError(f"cron {expression!r}: weekday step {step_text!r} must be a whole number above 0")
        step = int(step_text)
    if span in ("*", "?"):
        return set(range(0, 7, step))
    first_text, dash, last_text = span.partition("-")
    first = _day(first_text, expression, numbers=numbers)
    if not dash:
        last = 6 if slash else first
    else:
        last = _day(last_text, expression, numbers=numbers)
        if last_text == "7":
            last = 7
    if first == 7 and last != 7:
        first = 0
    if last < first:
        last += 7  # FRI-MON goes over the end of the week
    return {day % 7 for day in range(first, last + 1, step)}


def _day(text: str, expression: str, *, numbers: bool) -> int:
    if text.isdigit():
        number = int(text)
        if number > 7:
            raise ValueError(f"cron {expression!r}: weekday {number} is outside 0-7 (0 and 7 = Sunday)")
        if not numbers:
            raise ValueError(
                f"cron {expression!r}: a numeric weekday is ambiguous with 6 fields (servers count Sunday as 1); "
                f"write {_NAMES[number % 7]} instead of {number}"
            )
        return number if number == 7 else number % 7
    try:
        return _LONG[text.upper()]
    except KeyError:
        raise ValueError(
            f"cron {expression!r}: weekday {text!r} is neither 0-7 nor one of {', '.join(_NAMES)}"
        ) from None


def _spell(days: set[int]) -> str:
    if len(days) == 7:
        return "*"
    ordered = sorted(days)
    if len(ordered) > 2 and ordered[-1] - ordered[0] == len(ordered) - 1:
        return f"{_NAMES[ordered[0]]}-{_NAMES[ordered[-1]]}"
    return ",".join(_NAMES[day] for day in ordered)
