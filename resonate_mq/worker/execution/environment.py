"""What all executions of a worker share: functions, codec, dependencies, threads, clock, routing."""

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from resonate_mq.functions.codec import Codec
from resonate_mq.functions.options import Options
from resonate_mq.functions.registry import Registry
from resonate_mq.worker.execution.threads import LeafThreads

SLOW_LEAF_S = 0.05  # a leaf still running after this is recorded as pending, so that people can see it; D9


@dataclass(slots=True, kw_only=True)
class Environment:
    """One per worker, on its event loop.

    Attributes:
        registry: functions this process can run.
        threads: run blocking functions; sized like the slots unless `workers=` says otherwise (D36).
        now_ms: Unix milliseconds; only computes deadlines and delays, never decides that something is over.
        resolve_target: a group, an address or None (this group) to an address (D35). Raises ValueError for a name
            that cannot be served (local mode refuses unregistered functions in `check_callee`).
        check_callee: called with (name, version, address) before an rpc is created; raises ValueError to refuse it.
        dependencies: of `set_dependency`, read at each call.
        resident: keep suspended bodies in memory (D24); False drops and replays them at every suspension (D11).
        log_level: of `ctx.logger`; NOTSET inherits.
        overrides: options of single executions by promise id: encoder, retry policy and non-retryable exceptions of
            a call that was started in this process with `.options(...)`.
    """

    registry: Registry
    threads: LeafThreads
    now_ms: Callable[[], int]
    resolve_target: Callable[[str | None], str]
    check_callee: Callable[[str, int, str], None] | None = None
    codec: Codec = field(default_factory=Codec)
    dependencies: Mapping[str, Any] = field(default_factory=dict)
    resident: bool = True
    log_level: int = logging.NOTSET
    slow_leaf_s: float = SLOW_LEAF_S
    overrides: Mapping[str, Options] = field(default_factory=dict)
