"""What an official SDK must see of our server, stated once and run by each SDK's own test module.

Owns the scenarios and their expected results. The programs in `programs/` use the SDK as its users do; here
they are started as processes, watched and killed, and what the server stored is read over HTTP.
"""

from __future__ import annotations

import json
import uuid
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.support.eventually import eventually_sync
from tests.support.processes import RunningProcess, Spawner
from tests.support.server import ServerProcess

RESULT_WITHIN_S = 100.0
"""Above the 60 s after which both SDKs ask again for a result they have missed."""

TTL_S = 4
"""The lease of the workers here: short, because some of them are killed."""


@dataclass(frozen=True)
class Sdk:
    """How the programs of one SDK are run, and how it names the children of a call."""

    program: tuple[str, ...]
    """The command before the program's name, e.g. the interpreter."""
    folder: Path
    suffix: str
    child_of: str
    """Template of the id of a child: ``{parent}`` and ``{n}``."""
    first_child: int
    timed_out: str
    """What a client is told when a deadline settles its promise."""
    cron: str = "* * * * * *"

    def command(self, name: str, *arguments: str) -> list[str]:
        """The command line of ``worker`` or ``client``."""
        return [*self.program, str(self.folder / f"{name}{self.suffix}"), *arguments]

    def child(self, parent: str, n: int) -> str:
        """The id of the n-th child (from 0) of ``parent``."""
        return self.child_of.format(parent=parent, n=n + self.first_child)


class Stage:
    """One server with the processes of one SDK around it."""

    def __init__(self, sdk: Sdk, folder: Path) -> None:
        self.sdk = sdk
        self.server = ServerProcess(folder)
        self.spawner = Spawner(folder)
        self.ledger_path = folder / "ledger"

    def worker(self, group: str) -> RunningProcess:
        """Start a worker and return once the server delivers to it."""
        argv = self.sdk.command("worker", self.server.url, group, str(TTL_S))
        worker = self.spawner(argv, "worker", {"LEDGER": str(self.ledger_path)}, self.sdk.folder)
        worker.line_sync("^serving", 60)
        return worker

    def client(self, group: str, scenario: str, call_id: str) -> RunningProcess:
        argv = self.sdk.command("client", self.server.url, group, scenario, call_id)
        return self.spawner(argv, f"client-{scenario}", {"LEDGER": str(self.ledger_path)}, self.sdk.folder)

    def steps_run(self) -> Counter[int]:
        """How often each step has run, by its number."""
        text = self.ledger_path.read_text() if self.ledger_path.exists() else ""
        return Counter(int(line.split()[0]) for line in text.splitlines())

    def steps_recorded(self, call_id: str) -> set[int]:
        """The steps whose result the server has stored."""
        return {n for n in range(5) if self.server.state(self.sdk.child(call_id, n)) == "resolved"}

    def close(self) -> None:
        self.spawner.end_all()
        self.server.stop()


def result_of(client: RunningProcess) -> Any:
    """What the client printed as its result, once it has ended well."""
    code = client.exited_sync(RESULT_WITHIN_S)
    assert code == 0, f"the client ended with {code}:\n{client.log()}"
    return json.loads(client.line_sync("^RESULT (.*)$")[1])


class SdkSuite:
    """The tests; a module that subclasses this provides the fixture ``sdk``."""

    def test_run_executes_in_the_calling_process(self, stage: Stage) -> None:
        call_id = fresh_id()
        assert result_of(stage.client("work", "run", call_id)) == {"quiet": "hello ada", "loud": "ADA"}
        assert stage.server.state(call_id) == "resolved"

    def test_rpc_crosses_from_group_to_group(self, stage: Stage) -> None:
        call_id = fresh_id()
        assert result_of(stage.client("work", "rpc", call_id)) == {"quiet": "hello ada", "loud": "ADA"}
        child = stage.server.promise(stage.sdk.child(call_id, 1))
        assert child is not None
        assert child["state"] == "resolved"
        assert child["tags"]["resonate:target"] == "poll://any@work-peer"

    def test_calls_with_one_id_are_one_call(self, stage: Stage) -> None:
        ada = {"quiet": "hello ada", "loud": "ADA"}
        assert result_of(stage.client("work", "same_id", fresh_id())) == [ada, ada]

    def test_a_workflow_fans_out_to_a_hundred_children(self, stage: Stage) -> None:
        call_id = fresh_id()
        assert result_of(stage.client("work", "fan_out", call_id)) == 9900
        assert stage.server.state(stage.sdk.child(call_id, 99)) == "resolved"

    def test_a_hundred_calls_at_once_all_return(self, stage: Stage) -> None:
        assert result_of(stage.client("work", "many_roots", fresh_id())) == 9900

    def test_a_function_calls_itself_remotely(self, stage: Stage) -> None:
        assert result_of(stage.client("work", "recursion", fresh_id())) == 13

    def test_a_detached_call_outlives_its_caller(self, stage: Stage) -> None:
        result = result_of(stage.client("work", "detached", fresh_id()))
        assert result["value"] == 42
        assert stage.server.state(result["child"]) == "resolved"

    def test_a_sleep_lasts_as_long_as_it_says(self, stage: Stage) -> None:
        result = result_of(stage.client("work", "sleep", fresh_id()))
        assert result["answer"] == "rested"
        assert 1.2 <= result["slept_s"] < 30

    def test_an_external_promise_blocks_until_it_is_resolved(self, stage: Stage) -> None:
        expected = {"early": False, "answer": {"approved": {"ok": 1}}}
        assert result_of(stage.client("work", "external_promise", fresh_id())) == expected

    def test_an_error_reaches_workflow_and_client(self, stage: Stage) -> None:
        call_id = fresh_id()
        expected = {"caught": "caught no such luck", "raised": "no such luck"}
        assert result_of(stage.client("work", "error", call_id)) == expected
        assert stage.server.state(f"{call_id}-raised") == "rejected"

    def test_a_deadline_settles_a_call_nobody_serves(self, stage: Stage) -> None:
        call_id = fresh_id()
        assert result_of(stage.client("work", "timeout", call_id)) == stage.sdk.timed_out
        assert stage.server.state(call_id) == "rejected_timedout"

    def test_a_schedule_fires_until_it_is_deleted(self, stage: Stage) -> None:
        expected = {"cron": stage.sdk.cron, "values": [8, 8], "after_delete": 404}
        assert result_of(stage.client("work", "schedule", fresh_id())) == expected

    def test_a_workflow_survives_sigkill_of_its_worker(self, own_stage: Stage) -> None:
        stage, call_id = own_stage, fresh_id()
        first = stage.worker("work")
        client = stage.client("work", "steps", call_id)
        eventually_sync(lambda: stage.steps_recorded(call_id) >= {0, 1}, 60, 0.02, "two steps are recorded")
        first.sigkill()
        recorded = stage.steps_recorded(call_id)
        assert recorded != {0, 1, 2, 3, 4}, "killed too late to prove anything"
        stage.worker("work")
        assert result_of(client) == [0, 1, 2, 3, 4]
        self.only_steps_in_flight_ran_twice(stage, recorded)

    def test_a_workflow_survives_sigkill_of_the_server(self, own_stage: Stage) -> None:
        stage, call_id = own_stage, fresh_id()
        stage.worker("work")
        client = stage.client("work", "steps", call_id)
        eventually_sync(lambda: stage.steps_recorded(call_id) >= {0, 1}, 60, 0.02, "two steps are recorded")
        recorded = stage.steps_recorded(call_id)
        stage.server.sigkill()
        stage.server.start()
        assert recorded != {0, 1, 2, 3, 4}, "killed too late to prove anything"
        assert stage.steps_recorded(call_id) >= recorded, "a step that was answered is gone"
        assert result_of(client) == [0, 1, 2, 3, 4]
        self.only_steps_in_flight_ran_twice(stage, recorded)

    def only_steps_in_flight_ran_twice(self, stage: Stage, recorded: set[int]) -> None:
        """Every step ran, and none ran again whose record was stored before the kill."""
        ran = stage.steps_run()
        assert set(ran) == {0, 1, 2, 3, 4}
        assert {n for n, times in ran.items() if times > 1}.isdisjoint(recorded), ran


def fresh_id() -> str:
    """An id no other test uses; without the characters either SDK reserves."""
    return f"call-{uuid.uuid4().hex[:12]}"
