"""A program that uses the client as scripts do; what it does is its first argument. Never imported by tests."""

import asyncio
import os
import sys
import threading
import time
from collections.abc import Generator
from pathlib import Path
from typing import Any

from resonate_mq import Context, Resonate

MODE, WHERE, SIDE = sys.argv[1], sys.argv[2], Path(sys.argv[3])

if WHERE.startswith("http"):
    resonate = Resonate.remote(url=WHERE, group="scripts", ttl=60, log_level="INFO")
else:
    resonate = Resonate.local(store=WHERE if "://" in WHERE else None, ttl=60, log_level="INFO")


def note(line: str) -> None:
    with SIDE.open("a") as file:
        file.write(f"{line}\n")


def step(ctx: Context, n: int) -> int:
    note(f"step {n}")
    return n


@resonate.register
def workflow(ctx: Context) -> Generator[Any, Any, int]:
    first = yield ctx.run(step, 1)
    second = yield ctx.run(step, 2)
    gate = yield ctx.promise(id="gate")
    print("waiting", flush=True)
    third = yield gate
    total: int = first + second + third
    return total


@resonate.register
def stuck(ctx: Context) -> None:
    note("stuck")
    print("stuck", flush=True)
    threading.Event().wait()


@resonate.register
def quick(ctx: Context, n: int) -> int:
    note(f"quick {n}")
    return n + 1


def start_and_wait() -> None:
    handle = workflow.begin_run("flow")
    print("begun", flush=True)
    print("result", handle.result(), flush=True)


def finish() -> None:
    print("state", resonate.promises.get("flow").state, flush=True)
    resonate.promises.resolve("gate", ikey="gate", data="39")
    print("result", resonate.get("flow").result(20), flush=True)


def leave_stuck() -> None:
    stuck.begin_run("stuck")
    while not SIDE.exists():
        time.sleep(0.01)
    print("leaving", flush=True)


def fork() -> None:
    print("parent", quick.run("before", 1), resonate.pid, flush=True)
    child = os.fork()
    if child == 0:
        print("child", quick.run("inside", 2), resonate.pid, flush=True)
        sys.stdout.flush()
        os._exit(0)
    os.waitpid(child, 0)
    print("parent", quick.run("after", 3), resonate.pid, flush=True)


def offline() -> None:
    import socket

    def refuse(*args: Any, **kwargs: Any) -> Any:
        raise AssertionError(f"local mode touched the network: {args}")

    class Closed(socket.socket):
        bind = connect = connect_ex = listen = refuse

    socket.socket = Closed  # type: ignore[misc]
    print("result", quick.run("offline", 1), flush=True)


def on_a_loop() -> None:
    async def main() -> None:
        async with resonate:
            print("result", await quick.aio.run("loop", 1), flush=True)

    asyncio.run(main())


def serve() -> None:
    resonate.serve(processes=int(os.environ.get("PROCESSES", "1")), health="127.0.0.1:0")


MODES = {
    "start": start_and_wait,
    "finish": finish,
    "leave": leave_stuck,
    "fork": fork,
    "offline": offline,
    "loop": on_a_loop,
    "serve": serve,
}
MODES[MODE]()
