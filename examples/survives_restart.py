"""Killed in the middle of its work, finished by the next start: local mode on SQLite.

Started without arguments it plays both parts: it runs itself as a child that is killed after two steps, then goes on.
"""

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Generator
from pathlib import Path
from typing import Any

from resonate_mq import Context, Resonate

FOLDER = Path(os.environ.get("EXAMPLE_FOLDER") or tempfile.mkdtemp(prefix="resonate-mq-example-"))
resonate = Resonate.local(store=f"sqlite:///{FOLDER / 'app.db'}")


@resonate.register
def build(ctx: Context, parts: list[str]) -> Generator[Any, Any, str]:
    """Make the parts one after the other."""
    made = []
    for part in parts:
        made.append((yield ctx.run(make, part)))
    return " + ".join(made)


def make(ctx: Context, part: str) -> str:
    """Make one part and leave a trace; the child is killed when it gets to the third."""
    if part == "roof" and "EXAMPLE_CHILD" in os.environ:
        os.kill(os.getpid(), signal.SIGKILL)
    with (FOLDER / "made.txt").open("a") as trace:
        trace.write(f"{part}\n")
    return part


if __name__ == "__main__":
    parts = ["floor", "walls", "roof"]
    if "EXAMPLE_CHILD" in os.environ:
        build.run("house-1", parts)
    child = subprocess.run(
        [sys.executable, __file__], env={**os.environ, "EXAMPLE_CHILD": "1", "EXAMPLE_FOLDER": str(FOLDER)}, check=False
    )
    print(f"the first process ended with {child.returncode}")
    print(build.run("house-1", parts))
    print("made: " + ", ".join((FOLDER / "made.txt").read_text().split()))
