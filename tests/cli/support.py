"""The command line as people use it: a process, its exit code and what it printed."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from tests.support.processes import ROOT, command

PATIENCE_S = 60.0


class Ran(NamedTuple):
    """One finished command."""

    code: int
    out: str
    err: str

    def json(self) -> Any:
        """What it printed, as JSON; the command must have succeeded."""
        assert self.code == 0, self
        return json.loads(self.out)


def run_cli(*arguments: str, env: Mapping[str, str] | None = None, cwd: Path = ROOT) -> Ran:
    """Run `resonate-mq` to its end."""
    plain = {name: value for name, value in os.environ.items() if not name.startswith("RESONATE")}
    done = subprocess.run(
        [command("resonate-mq"), *arguments],
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        stdin=subprocess.DEVNULL,
        env={**plain, **(env or {})},
        cwd=cwd,
    )
    return Ran(done.returncode, done.stdout, done.stderr)
