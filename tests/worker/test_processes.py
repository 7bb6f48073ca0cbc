"""Real worker processes: what a drain cuts short moves on, and a process that dies is replaced."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import signal
import sys
from pathlib import Path

from tests.crash.stage import Stage, stage
from tests.support.eventually import eventually
from tests.support.processes import RunningProcess, Spawner, command


def children(process: RunningProcess) -> list[int]:
    """Pids of its child processes."""
    found = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                fields = (folder / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue  # it has just ended
            if int(fields[1]) == process.pid:
                found.append(int(folder.name))
    return found


async def begin(one: Stage, workflow: str, pause_s: float) -> None:
    await one.begin(workflow, pause_s)
    await eventually(lambda: [a for a in one.attempts() if a.workflow == workflow], within_s=30)


async def test_what_a_drain_cuts_short_is_taken_over_at_once(tmp_path: Path, spawner: Spawner) -> None:
    async with stage(tmp_path, spawner) as one:
        one.extra_arguments = ["--drain", "0.3", "--ttl", "60"]
        leaving = await one.worker()
        await begin(one, "w", 2.0)
        staying = await one.worker()
        leaving.process.sigterm()
        assert await leaving.process.exited(within_s=20) == 0
        await eventually(
            lambda: any(answer.kind == "task.acquire" and answer.status == 200 for answer in staying.proxy.answers),
            within_s=10,
            message="the other worker takes it long before its lease of 60 s ends",
        )


async def test_several_processes_share_the_work_and_one_that_dies_is_replaced(tmp_path: Path, spawner: Spawner) -> None:
    async with stage(tmp_path, spawner) as one:
        argv = [command("resonate-mq"), "worker", "tests.crash.app:resonate", "--url", one.server.url]
        argv += ["--group", one.group, "--ttl", "2", "--processes", "2"]
        parent = spawner(argv, "workers", env={"CRASH_LEDGER": str(one.ledger)})

        async def working(count: int) -> None:
            await eventually(lambda: len(re.findall("working as pid", parent.log())) >= count, within_s=60)

        await working(2)
        first = set(children(parent))
        assert len(first) == 2
        victim = min(first)
        os.kill(victim, signal.SIGKILL)
        await working(3)
        assert victim not in children(parent)
        assert len(children(parent)) == 2
        names = [f"w{number}" for number in range(8)]
        await asyncio.gather(*(one.begin(name, 0.1) for name in names))
        for name in names:
            await eventually(lambda name=name: one.is_finished(name), within_s=30, every_s=0.05)  # type: ignore[misc]
        assert len({attempt.pid for attempt in one.attempts()}) == 2
        parent.sigterm()
        assert await parent.exited(within_s=30) == 0
        assert not children(parent)


async def test_the_processes_of_a_killed_supervisor_give_their_work_back_and_end(
    tmp_path: Path, spawner: Spawner
) -> None:
    async with stage(tmp_path, spawner) as one:
        argv = [command("resonate-mq"), "worker", "tests.crash.app:resonate", "--url", one.server.url]
        argv += ["--group", one.group, "--processes", "2"]
        parent = spawner(argv, "workers", env={"CRASH_LEDGER": str(one.ledger)})
        await eventually(lambda: len(re.findall("working as pid", parent.log())) == 2, within_s=60)
        workers = children(parent)
        assert len(workers) == 2
        try:
            os.kill(parent.pid, signal.SIGKILL)
            await eventually(lambda: not any(Path(f"/proc/{pid}").exists() for pid in workers), within_s=20)
            assert parent.log().count("the supervisor is gone") == 2
        finally:
            for pid in workers:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)


async def test_a_second_signal_ends_a_process_whose_loop_is_blocked(spawner: Spawner) -> None:
    program = (
        "import asyncio, time\n"
        "from resonate_mq.worker.lifecycle import StopSignals\n"
        "async def main():\n"
        "    with StopSignals():\n"
        "        print('blocked', flush=True)\n"
        "        time.sleep(60)\n"
        "try:\n"
        "    import uvloop as runner\n"
        "except ImportError:\n"
        "    runner = asyncio\n"
        "runner.run(main())\n"
    )
    process = spawner([sys.executable, "-c", program], "blocked")
    await eventually(lambda: "blocked" in process.log(), within_s=30)
    process.signal(signal.SIGINT)
    process.sigterm()  # not the same one twice: the kernel keeps only one of a kind
    assert await process.exited(within_s=20) == 130
