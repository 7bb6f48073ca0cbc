"""What an answer carries besides what was asked: the records a worker needs to replay (protocol section 3.0, D10)."""

from typing import Any

from resonate_mq.machine.state import State
from resonate_mq.protocol import tags
from resonate_mq.protocol.limits import PRELOAD_MAX_BYTES, PRELOAD_MAX_RECORDS
from resonate_mq.protocol.records import Promise


def preload(state: State, promise: Promise, now_ms: int, *, children: bool) -> list[dict[str, Any]]:
    """Return records projected at `now_ms`, by id ascending, without `promise` itself.

    Args:
        state: the working set.
        promise: the task's promise.
        now_ms: instant of the projection.
        children: false: the other promises of its `resonate:branch`; true: those and every promise whose
            `resonate:parent` lies in the branch, capped by count and bytes (a truncated preload is a cache miss).
    """
    branch = promise.tags.get(tags.BRANCH)
    if children:
        family = state.family(branch or promise.id)
        return _capped([one for one in family if one is not promise], now_ms)
    if not branch:
        return []
    return [one.wire_at(now_ms) for one in state.branch(branch) if one is not promise]


def preload_members(state: State, promise: Promise, now_ms: int, *, children: bool) -> dict[str, Any]:
    """Return the members `preload` and, only where a children preload was capped, `truncated`: true.

    A worker that is told so asks for what it does not find, instead of taking it for not recorded.
    """
    records = preload(state, promise, now_ms, children=children)
    if children and _is_capped(state, promise, len(records)):
        return {"preload": records, "truncated": True}
    return {"preload": records}


def _is_capped(state: State, promise: Promise, given: int) -> bool:
    family = state.family(promise.tags.get(tags.BRANCH) or promise.id)
    others = sum(one is not promise for one in family)
    # a store loads no more of a family than the cap: a full one may have had more
    return given < others or others >= PRELOAD_MAX_RECORDS - 1


def _capped(promises: list[Promise], now_ms: int) -> list[dict[str, Any]]:
    records: list[dict[str, Any]] = []
    room = PRELOAD_MAX_BYTES
    for one in promises[:PRELOAD_MAX_RECORDS]:
        room -= 256 + len(one.param.data or "") + len(one.value.data or "")
        if room < 0:
            break
        records.append(one.wire_at(now_ms))
    return records
