"""The outside world of the demo: an append-only file in which every attempt of every step leaves a line.

It stands for what a durable function cannot undo: a payment, a parcel, a mail. Knows nothing of promises.
"""

import json
import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple


class Entry(NamedTuple):
    """One attempt of one step.

    Attributes:
        key: idempotency key, the step's promise id.
        order: whose step it is.
        step: what was done.
        attempt: 1 for the first one of this key.
        pid: operating system's id of the process that did it.
        at_ms: when it began, epoch ms.
    """

    key: str
    order: str
    step: str
    attempt: int
    pid: int
    at_ms: int


def append(path: Path, key: str, order: str, step: str) -> Entry:
    """Add an attempt and return it once it is on the disk: O_APPEND keeps lines whole, fsync keeps them for good."""
    attempt = 1 + sum(1 for entry in read(path) if entry.key == key)
    entry = Entry(key, order, step, attempt, os.getpid(), int(time.time() * 1000))
    line = json.dumps(entry._asdict()).encode() + b"\n"
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        os.write(descriptor, line)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    return entry


def read(path: Path) -> Sequence[Entry]:
    """Return all attempts in the order they were made."""
    if not path.exists():
        return []
    return [Entry(**json.loads(line)) for line in path.read_text().splitlines() if line]
