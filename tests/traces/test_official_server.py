"""The recorded answers of the released official server, replayed against each store (README.md here)."""

import gzip
import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from resonate_mq.protocol.envelope import Reply
from resonate_mq.protocol.errors import InvalidRequestError
from resonate_mq.protocol.parse import Profile, parse_request
from resonate_mq.protocol.requests import DebugReset
from resonate_mq.server.kernel import Kernel
from tests.stores.bench import ManualClock
from tests.stores.conftest import build_store
from tests.stores.running import running_kernel
from tests.traces.differences import RULES, Answer, History

FILE = Path(__file__).parent / "data" / "official-0.9.8-random.ndjson.gz"
PROFILE = Profile(debug=True)
EXPECTED = Counter({"projected_promises": 4, "projected_tasks": 1, "caught_up_schedules": 2})


def sequences() -> Iterator[tuple[int, list[Answer]]]:
    """Yield (seed, recorded requests)."""
    seed, lines = 0, list[Answer]()
    with gzip.open(FILE, "rt") as file:
        for text in file:
            line = json.loads(text)
            if "seed" in line:
                if lines:
                    yield seed, lines
                seed, lines = line["seed"], []
            else:
                lines.append(line)
    yield seed, lines


async def ask(kernel: Kernel, line: Answer) -> Reply:
    try:
        request = parse_request(line["kind"], line["data"], {"corrId": "c"}, PROFILE)
    except InvalidRequestError as error:
        return Reply(error.status, error.message)
    return await kernel.submit(request, line["now"])


def is_equal(line: Answer, ours: Reply) -> bool:
    """Compare status and answer; the text of an error only in being one."""
    if ours.status != line["status"]:
        return False
    if ours.status >= 400:
        return isinstance(ours.data, str) and isinstance(line["answer"], str)
    return bool(_official(ours.data) == _official(line["answer"]))


def _official(answer: Any) -> Any:
    """Return an answer without what only our extensions add, and without the corrId the recording does not hold."""
    answer = json.loads(json.dumps(answer))
    if isinstance(answer, dict) and "action" in answer:
        answer["action"]["head"].pop("corrId", None)
        if answer["action"]["head"]["status"] >= 400:
            answer["action"]["data"] = type(answer["action"]["data"]).__name__
    if isinstance(answer, dict) and "task" in answer and "preload" not in answer:
        for name in ("reason", "stalls"):  # D14
            answer["task"].pop(name, None)
    return answer


@pytest.mark.parametrize("kind", ["memory", "sqlite", "sqlite-uncached"])
async def test_every_recorded_answer_is_ours_but_for_the_wanted_differences(kind: str, tmp_path: Path) -> None:
    store = build_store(kind, tmp_path, ManualClock())
    applied: Counter[str] = Counter()
    count = 0
    async with running_kernel(store) as kernel:
        for seed, lines in sequences():
            await kernel.submit(DebugReset())
            history = History()
            for line in lines:
                ours = await ask(kernel, line)
                count += 1
                if not is_equal(line, ours):
                    rule = next((r for r in RULES if ours.status == 200 and r(line, ours.data, history)), None)
                    assert rule is not None, f"seed {seed}, {line}\nours: {ours}"
                    applied[rule.__name__] += 1
                history.note(line)
    assert count == 12 * 400
    assert applied == EXPECTED


def test_a_wrong_answer_falls_under_no_rule() -> None:
    """Each rule refuses an answer that differs in anything it does not name."""
    history = History()
    history.last_tick = 700
    promise = {"id": "a", "timeoutAt": 900, "state": "pending"}
    late = {"id": "b", "timeoutAt": 400, "state": "pending"}
    both = {"promises": [late, promise]}
    search = {"kind": "promise.search", "now": 500, "data": {"state": "pending"}, "answer": both}
    wrong: list[tuple[Answer, Answer]] = [
        (search, {"promises": []}),
        (search, {"promises": [{**promise, "state": "resolved"}]}),
        (search, both),
        ({**search, "data": {}}, {"promises": [promise]}),
    ]
    history.timeouts["t"] = 900
    task = {"id": "t", "state": "acquired", "version": 1, "resumes": 0, "pid": "p", "ttl": 1}
    tasks = {"kind": "task.search", "now": 500, "data": {}, "answer": {"tasks": [task]}}
    fulfilled = {"tasks": [{"id": "t", "state": "fulfilled", "version": 1, "resumes": 0}]}
    wrong += [(tasks, {"tasks": []}), (tasks, fulfilled)]
    schedule = {"id": "s", "cron": "x", "nextRunAt": 600, "lastRunAt": 500}
    listed = {"kind": "schedule.get", "now": 800, "data": {}, "answer": {"schedule": schedule}}
    wrong += [
        (listed, {"schedule": {**schedule, "nextRunAt": 700, "lastRunAt": 600}}),
        (listed, {"schedule": {**schedule, "cron": "y", "nextRunAt": 800, "lastRunAt": 700}}),
    ]
    for line, ours in wrong:
        assert not any(rule(line, ours, history) for rule in RULES), (line, ours)
    assert RULES[0](search, {"promises": [promise]}, history)
    assert RULES[2](listed, {"schedule": {**schedule, "nextRunAt": 800, "lastRunAt": 700}}, history)
    history.timeouts["t"] = 500
    assert RULES[1](tasks, fulfilled, history)
