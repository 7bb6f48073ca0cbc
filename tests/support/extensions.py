"""Whether the servers of this run have our protocol extensions, or know no more than an official server.

`make test` runs the suites twice (scripts/run_tests.py): in the second pass `RESONATE_MQ_TEST_EXTENSIONS=none`, and
every server a test makes without saying otherwise is one without extensions, local mode's and other processes' too.
"""

from __future__ import annotations

import json
import os

from resonate_mq.protocol.parse import EXTENSIONS

ENV_EXTENSIONS = "RESONATE_MQ_TEST_EXTENSIONS"
ENV_DISABLED = "RESONATE_MQ_SERVER__DISABLED_EXTENSIONS"
"""What `resonate-mq serve` and local mode read."""


def _chosen() -> frozenset[str]:
    wanted = os.environ.get(ENV_EXTENSIONS, "all")
    assert wanted in ("all", "none"), f"{ENV_EXTENSIONS} is {wanted!r}; expected all or none"
    return EXTENSIONS if wanted == "all" else frozenset()


ENABLED = _chosen()
"""Extensions of every server a test makes, unless the test itself says which."""


def tell_other_processes() -> None:
    """Let the servers of processes we start, and local mode in this one, have the same extensions."""
    if not ENABLED:
        os.environ[ENV_DISABLED] = json.dumps(sorted(EXTENSIONS))
