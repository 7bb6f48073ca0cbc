"""A saga: when a later step fails, what was done before is undone, step by step, each of them durable."""

from collections.abc import Generator
from typing import Any

from resonate_mq import Context, Resonate
from resonate_mq.retry_policies import Never

resonate = Resonate.local()


@resonate.register
def trip(ctx: Context, city: str) -> Generator[Any, Any, str]:
    """Book a flight, a hotel and a car, or nothing."""
    booked: list[str] = []
    try:
        for what in ("flight", "hotel", "car"):
            booked.append((yield ctx.run(book, what, city).options(retry_policy=Never())))
    except RuntimeError as error:
        for booking in reversed(booked):
            yield ctx.run(cancel, booking)
        return f"no trip to {city}: {error}"
    return f"trip to {city}: {', '.join(booked)}"


def book(ctx: Context, what: str, city: str) -> str:
    """Book one thing; there are no cars in Venice."""
    if (what, city) == ("car", "Venice"):
        raise RuntimeError("no car to be had")
    return f"{what} #{ctx.id}"


def cancel(ctx: Context, booking: str) -> None:
    """Undo a booking."""
    print(f"canceled {booking}")


if __name__ == "__main__":
    print(trip.run("trip-1", "Rome"))
    print(trip.run("trip-2", "Venice"))
