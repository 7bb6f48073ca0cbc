"""What the demo shows while it runs: a table in place on a terminal, plain lines where output is piped."""

import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple, Protocol


class OrderState(NamedTuple):
    """One order as the server knows it: `done` steps recorded, `running` names the step in flight."""

    id: str
    state: str
    done: int
    running: str


class View(Protocol):
    """Where the demo's progress goes."""

    def tell(self, text: str) -> None:
        """Show something that has happened."""
        ...

    def show(self, orders: Sequence[OrderState], steps_each: int) -> None:
        """Show how far the orders are."""
        ...


class Lines:
    """Progress as lines: one for each event, one for every tenth of the steps."""

    def __init__(self) -> None:
        self._started = time.monotonic()
        self._shown = -1

    def tell(self, text: str) -> None:
        """Print a line with the seconds since the start."""
        print(f"{time.monotonic() - self._started:6.1f} s  {text}", flush=True)

    def show(self, orders: Sequence[OrderState], steps_each: int) -> None:
        """Print a line when another tenth of all steps is recorded."""
        total = max(1, len(orders) * steps_each)
        done = sum(order.done for order in orders)
        tenth = done * 10 // total
        if tenth > self._shown:
            self._shown = tenth
            finished = sum(1 for order in orders if order.state == "resolved")
            self.tell(f"{done} of {total} steps recorded, {finished} of {len(orders)} orders finished")


class Screen:
    """Progress as a table that is drawn in place, events below it."""

    def __init__(self, live: Any) -> None:
        self._live = live
        self._started = time.monotonic()
        self._events: list[str] = []
        self._table: Any = None

    def tell(self, text: str) -> None:
        """Add a line under the table."""
        self._events.append(f"{time.monotonic() - self._started:6.1f} s  {text}")
        self._draw()

    def show(self, orders: Sequence[OrderState], steps_each: int) -> None:
        """Draw the orders in two columns."""
        from rich.columns import Columns
        from rich.text import Text

        colours = {"resolved": "green", "pending": "yellow"}
        cells = []
        for order in orders:
            text = Text(f"{order.id} ")
            text.append("●" * order.done, "green")
            text.append("○" * (steps_each - order.done), "dim")
            note = order.running if order.state == "pending" else order.state
            text.append(f" {note:<9}", colours.get(order.state, "red"))
            cells.append(text)
        self._table = Columns(cells, column_first=True, padding=(0, 3))
        self._draw()

    def _draw(self) -> None:
        from rich.console import Group
        from rich.text import Text

        parts = [] if self._table is None else [self._table, Text("")]
        self._live.update(Group(*parts, *(Text(event) for event in self._events[-20:])))


@contextmanager
def opened() -> Iterator[View]:
    """Return the view that fits where stdout goes."""
    if not sys.stdout.isatty():
        yield Lines()
        return
    from rich.live import Live

    with Live(refresh_per_second=10) as live:
        yield Screen(live)


class Silence:
    """Nothing at all, for `--json`."""

    def tell(self, text: str) -> None:
        """Say nothing."""

    def show(self, orders: Sequence[OrderState], steps_each: int) -> None:
        """Show nothing."""


@contextmanager
def quiet() -> Iterator[View]:
    """Return the view that shows nothing."""
    yield Silence()
