"""`resonate.serve()`: a script as a worker process, the same as `resonate-mq worker` (D37).

Owns signals and the number of processes; executing is the worker's.
"""

import asyncio
import gc
import os
import sys

from resonate_mq.client.core import Core
from resonate_mq.client.runtime import new_loop
from resonate_mq.wiring import ConfigError
from resonate_mq.worker.lifecycle import StopSignals
from resonate_mq.worker.processes import ENV_INDEX, ProcessGroup


def serve(core: Core, processes: int, drain_s: float, health: str | None) -> None:
    """Execute until SIGTERM or SIGINT.

    Raises:
        ConfigError: a local or pure client, or one without functions.
    """
    _check(core)
    if processes > 1 and ENV_INDEX not in os.environ:
        # the very command this script was started with, in fresh interpreters: nothing is forked
        argv = [sys.executable, *sys.orig_argv[1:]]
        sys.exit(asyncio.run(ProcessGroup(argv, processes).run()))
    core.reconfigure(core.settings, health=health, grace_s=drain_s)
    with asyncio.Runner(loop_factory=new_loop) as runner:
        runner.run(_until_stopped(core))


async def _until_stopped(core: Core) -> None:
    with StopSignals() as signals:
        await core.runtime.enter()
        quiet_collector()
        try:
            await signals.first()
        finally:
            await core.runtime.leave()


def quiet_collector() -> None:
    """What start-up made stays; collections then look only at what calls make (D44)."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)


def _check(core: Core) -> None:
    if core.settings.is_local:
        raise ConfigError(
            "a local client has its own server inside and nobody else could give it work; "
            "make it with Resonate.remote(...)"
        )
    if not core.settings.worker:
        raise ConfigError("this client was made with worker=False and executes nothing")
    if not core.registry.functions():
        raise ConfigError("no function is registered: decorate some with @resonate.register before serve()")
