"""What a process that uses the client does at its edges: import, exit, SIGKILL, fork (D20, D31, D37, D39)."""

import subprocess
import sys
import time
from pathlib import Path

import pytest

from resonate_mq import Context, Resonate
from tests.support.eventually import eventually_sync
from tests.support.processes import RunningProcess, Spawner
from tests.support.serving import ServerThread

APP = Path(__file__).parent / "programs" / "app.py"


def start(spawner: Spawner, mode: str, where: str, side: Path) -> RunningProcess:
    return spawner([sys.executable, APP, mode, where, side], name=mode)


def test_importing_is_light_and_starts_nothing() -> None:
    heavy = "aiohttp", "pydantic", "starlette", "uvicorn", "typer", "rich", "aio_pika", "uvloop", "sqlite3"
    program = (
        "import sys, threading; from resonate_mq import Context, Resonate; Resonate.remote(); Resonate.local(); "
        f"print([name for name in {heavy!r} if name in sys.modules], threading.active_count())"
    )
    checked = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)
    assert checked.stdout == "[] 1\n"


def test_local_mode_touches_neither_network_nor_files(spawner: Spawner, tmp_path: Path) -> None:
    process = start(spawner, "offline", "memory", tmp_path / "side")
    assert process.exited_sync() == 0, process.log()
    assert "result 2" in process.log()
    assert {path.name for path in tmp_path.iterdir()} == {"side", process.log_path.name}


def test_a_killed_local_program_goes_on_where_it_was_when_started_again(spawner: Spawner, tmp_path: Path) -> None:
    store, side = f"sqlite:///{tmp_path}/app.db", tmp_path / "side"
    first = start(spawner, "start", store, side)
    first.line_sync("waiting")
    first.sigkill()
    started = time.monotonic()
    second = start(spawner, "finish", store, side)
    assert second.exited_sync(40) == 0, second.log()
    # the lease is 60 s: only a server that knows its predecessor died frees the task at once (D20)
    assert time.monotonic() - started < 30
    assert "state PENDING" in second.log()
    assert "result 42" in second.log()
    assert side.read_text().splitlines() == ["step 1", "step 2"]


def test_a_second_opener_of_a_local_store_is_refused_by_name(spawner: Spawner, tmp_path: Path) -> None:
    store, side = f"sqlite:///{tmp_path}/app.db", tmp_path / "side"
    first = start(spawner, "start", store, side)
    first.line_sync("waiting")
    second = start(spawner, "finish", store, side)
    assert second.exited_sync() == 1
    assert str(first.pid) in second.log()
    assert "app.db" in second.log()


def test_a_script_that_ends_gives_back_what_it_held(spawner: Spawner, tmp_path: Path) -> None:
    with ServerThread() as server:
        side = tmp_path / "side"
        script = start(spawner, "leave", server.url, side)
        script.line_sync("leaving")
        left = time.monotonic()
        assert script.exited_sync(10) == 0, script.log()
        assert time.monotonic() - left < 5
        taker = Resonate.remote(url=server.url, group="scripts", log_level="WARNING")

        @taker.register
        def stuck(ctx: Context) -> str:
            return "taken over"

        try:
            taker.start()
            # the lease was 60 s: given back at exit, the call moves at once
            assert taker.get("stuck").result(20) == "taken over"
        finally:
            taker.stop()


@pytest.mark.parametrize("store", [None, "sqlite"])
def test_a_script_ends_without_a_word_of_complaint(spawner: Spawner, tmp_path: Path, store: str | None) -> None:
    where = "memory" if store is None else f"sqlite:///{tmp_path}/app.db"
    script = start(spawner, "offline", where, tmp_path / "side")
    assert script.exited_sync(20) == 0
    assert "result 2" in script.log()
    assert "Traceback" not in script.log(), script.log()
    assert "ERROR" not in script.log()


def test_a_forked_child_is_a_process_of_its_own(spawner: Spawner, tmp_path: Path) -> None:
    with ServerThread() as server:
        process = start(spawner, "fork", server.url, tmp_path / "side")
        assert process.exited_sync(40) == 0, process.log()
        said = [line.split() for line in process.log().splitlines() if line.startswith(("parent", "child"))]
        assert [(who, result) for who, result, _ in said] == [("parent", "2"), ("child", "3"), ("parent", "4")]
        assert said[0][2] == said[2][2] != said[1][2]


def test_async_with_needs_no_thread_of_ours(spawner: Spawner, tmp_path: Path) -> None:
    process = start(spawner, "loop", "memory", tmp_path / "side")
    assert process.exited_sync() == 0, process.log()
    assert "result 2" in process.log()


@pytest.mark.parametrize("processes", ["1", "2"])
def test_serve_is_a_worker_until_sigterm(spawner: Spawner, tmp_path: Path, processes: str) -> None:
    with ServerThread() as server:
        side = tmp_path / "side"
        argv = [sys.executable, str(APP), "serve", server.url, str(side)]
        worker = spawner(argv, name="serve", env={"PROCESSES": processes})
        caller = Resonate.remote(url=server.url, worker=False, log_level="WARNING")
        try:
            handles = [caller.options(target="scripts").begin_rpc(f"q{n}", "quick", n) for n in range(20)]
            assert [handle.result(30) for handle in handles] == [n + 1 for n in range(20)]
            eventually_sync(lambda: worker.log().count("started: server") == int(processes), within_s=20)
            worker.sigterm()
            assert worker.exited_sync(20) == 0, worker.log()
        finally:
            caller.stop()


def test_serve_refuses_what_cannot_be_a_worker() -> None:
    with pytest.raises(ValueError, match="local client"):
        Resonate.local().serve()
    with pytest.raises(ValueError, match="worker=False"):
        Resonate.remote(worker=False).serve()
    with pytest.raises(ValueError, match="no function is registered"):
        Resonate.remote().serve()
