"""What the official SDKs asked the official server in one program, asked again: every answer is the same.

The recording holds the arrival of each request (`t_ms`) but not the server's clock. The replay's clock is rebuilt from
the instants in the answers: `createdAt` and `settledAt` may be off by the time a request took; nothing else may.
"""

import gzip
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from resonate_mq.protocol.parse import Profile, parse_request
from resonate_mq.protocol.requests import DebugTick
from tests.stores.bench import ManualClock
from tests.stores.conftest import build_store
from tests.stores.running import running_kernel

FOLDER = Path(__file__).parent / "data"
# an official client uses no extension: none may be needed
PROFILE = Profile(debug=True, extensions=frozenset())
JITTER_MS = 50
INSTANTS = ("createdAt", "settledAt")


def exchanges(name: str) -> list[dict[str, Any]]:
    """Return the recorded requests with their answers; the bytes of the streams are not looked at here."""
    with gzip.open(FOLDER / f"{name}.ndjson.gz", "rt") as file:
        lines = [json.loads(text) for text in file]
    return [line for line in lines if "request" in line]


def instants(value: Any) -> Iterator[int]:
    if isinstance(value, dict):
        for name, inner in value.items():
            if name in INSTANTS:
                yield inner
            else:
                yield from instants(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from instants(inner)


def clock_offset(lines: list[dict[str, Any]]) -> int:
    """Return epoch ms minus `t_ms`, from the creations, which carry the server's clock; the lowest is the surest."""
    seen: set[int] = set()
    offsets: list[int] = []
    for line in lines:
        fresh = [one for one in instants(line["answer"]["data"]) if one not in seen]
        seen.update(fresh)
        if fresh and line["request"]["kind"] in ("promise.create", "task.create"):
            offsets.append(max(fresh) - line["t_ms"])
    return min(offsets)


def difference(theirs: Any, ours: Any, path: str = "") -> str | None:
    """Return where two answers differ first, None where only instants do, and only a little."""
    if isinstance(theirs, dict) and isinstance(ours, dict):
        if theirs.keys() != ours.keys():
            return f"{path}: {sorted(theirs)} != {sorted(ours)}"
        for name in theirs:
            if name in INSTANTS and abs(theirs[name] - ours[name]) <= JITTER_MS:
                continue
            found = difference(theirs[name], ours[name], f"{path}.{name}")
            if found:
                return found
        return None
    if isinstance(theirs, list) and isinstance(ours, list) and len(theirs) == len(ours):
        places = (difference(a, b, f"{path}[{at}]") for at, (a, b) in enumerate(zip(theirs, ours, strict=True)))
        return next((place for place in places if place), None)
    return None if theirs == ours else f"{path}: {theirs!r} != {ours!r}"


@pytest.mark.parametrize("kind", ["memory", "sqlite", "sqlite-uncached"])
@pytest.mark.parametrize(("recording", "count"), [("sdk-python-0.7.4", 624), ("sdk-typescript-0.11.5", 195)])
async def test_an_official_sdk_would_see_the_same_answers(
    recording: str, count: int, kind: str, tmp_path: Path
) -> None:
    lines = exchanges(recording)
    assert len(lines) == count
    offset = clock_offset(lines)
    now_ms = 0
    async with running_kernel(build_store(kind, tmp_path, ManualClock())) as kernel:
        for line in lines:
            request, answer = line["request"], line["answer"]
            now_ms = max(now_ms, line["t_ms"] + offset, *instants(answer["data"]), 0)
            await kernel.submit(DebugTick(now_ms))  # sleeps end, as they did in the official server's own loop
            parsed = parse_request(request["kind"], request["data"], request["head"], PROFILE)
            reply = await kernel.submit(parsed, now_ms)
            assert reply.status == line["status"], (request, reply)
            found = difference(answer["data"], json.loads(json.dumps(reply.data)))
            assert found is None, f"{found}\n{request}"


def test_a_difference_beyond_the_jitter_is_seen() -> None:
    assert difference({"createdAt": 100}, {"createdAt": 100 + JITTER_MS}) is None
    assert difference({"createdAt": 100}, {"createdAt": 101 + JITTER_MS}) == ".createdAt: 100 != 151"
    assert difference({"a": [{"b": 1}]}, {"a": [{"b": 2}]}) == ".a[0].b: 1 != 2"
    assert difference({"a": 1}, {"a": 1, "b": 2}) is not None
    assert difference([1], []) is not None
