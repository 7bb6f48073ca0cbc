"""Runs the Python blocks of the documents as they are printed.

The files in `blocks/` hold their text: indentation restored where the page lost it, `# ...` followed by the least that
makes the block whole. A block finds `resonate` and the names its page imports or leaves to the reader.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Generator
from pathlib import Path
from typing import Any

import resonate_mq
import resonate_mq.errors
import resonate_mq.retry_policies
from resonate_mq import Context, Resonate
from resonate_mq.retry_policies import Never
from tests.support.serving import Clients

BLOCKS = Path(__file__).parent / "blocks"


class Stage:
    """One mode: local, or a server over HTTP."""

    def __init__(self, clients: Clients) -> None:
        self._clients = clients

    @property
    def is_local(self) -> bool:
        """No server, one process."""
        return self._clients.url is None

    def process(self, group: str = "default") -> Resonate:
        """Return a client as a process of `group` would make it."""
        return self._clients(group=group, log_level="WARNING")

    def play(self, block: str, **names: Any) -> dict[str, Any]:
        """Run a block with these names and return what it leaves behind."""
        source = (BLOCKS / f"{block}.txt").read_text()
        return self.play_source(source, block, **names)

    def play_source(self, source: str, block: str, **names: Any) -> dict[str, Any]:
        """Run a text that was made of a block."""
        space: dict[str, Any] = {
            "Any": Any,
            "Context": Context,
            "Generator": Generator,
            "Never": Never,
            "json": json,
            "time": time,
            "__name__": f"seed_{block}",
            **names,
        }
        exec(compile(source, f"{block}.txt", "exec"), space)
        made = space.get("resonate")
        if isinstance(made, Resonate) and made is not names.get("resonate"):
            self._clients.keep(made)
        return space


def alias() -> dict[str, Any]:
    """Return the module names the documents import from, for `sys.modules`."""
    return {
        "resonate": resonate_mq,
        "resonate.errors": resonate_mq.errors,
        "resonate.retry_policies": resonate_mq.retry_policies,
    }


def is_aliased() -> bool:
    """Tell whether `import resonate` finds us."""
    return sys.modules.get("resonate") is resonate_mq
