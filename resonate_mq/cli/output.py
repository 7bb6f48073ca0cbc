"""How commands speak: JSON or tables on stdout, errors on stderr. Knows nothing of what is shown."""

import json
import sys
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Annotated, Any, NoReturn

import typer

JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON, one document on one line.")]


class CliError(Exception):
    """A command failed; the message says what was found, what was expected and what to do.

    Attributes:
        exit_code: of the process; 1 failed, 2 wrong usage.
    """

    def __init__(self, message: str, exit_code: int = 1) -> None:
        super().__init__(message, exit_code)
        self.message = message
        self.exit_code = exit_code

    def __str__(self) -> str:
        return self.message


def usage(message: str) -> NoReturn:
    """End the command as wrongly used (exit code 2)."""
    raise CliError(message, 2)


def complain(message: str) -> None:
    """Print an error on stderr."""
    print(f"error: {message}", file=sys.stderr, flush=True)


def note(message: str) -> None:
    """Print a remark on stderr, where it is in nobody's way."""
    print(message, file=sys.stderr, flush=True)


def show_json(document: Any, *, compact: bool) -> None:
    """Print a document: on one line for programs, indented for people."""
    if compact:
        print(json.dumps(document, ensure_ascii=False, separators=(",", ":")), flush=True)
    else:
        print(json.dumps(document, ensure_ascii=False, indent=2), flush=True)


def show_table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print aligned columns: plain text that `grep` and `awk` can take, no frame."""
    lines = [list(columns), *(list(row) for row in rows)]
    widths = [max(len(line[index]) for line in lines) for index in range(len(columns))]
    for line in lines:
        print("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())
    sys.stdout.flush()


def instant(epoch_ms: int | None) -> str:
    """Return an instant for people, `-` when there is none."""
    if epoch_ms is None:
        return "-"
    try:
        when = datetime.fromtimestamp(epoch_ms / 1000, UTC)
    except (OverflowError, ValueError, OSError):
        return str(epoch_ms)  # beyond the year 9999: timeouts may be that far
    return when.strftime("%Y-%m-%d %H:%M:%S.") + f"{epoch_ms % 1000:03d}Z"


def duration(duration_ms: float) -> str:
    """Return a length of time for people."""
    if duration_ms < 1000:
        return f"{duration_ms:.0f} ms"
    seconds = duration_ms / 1000
    for limit, size, unit in ((120, 1, "s"), (7200, 60, "min"), (172_800, 3600, "h")):
        if seconds < limit:
            return f"{seconds / size:.1f} {unit}"
    return f"{seconds / 86_400:.1f} d"
