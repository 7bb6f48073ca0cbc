"""What a search finds: one meaning for every store (protocol sections 3.6, 3.17, 3.20)."""

from resonate_mq.protocol.records import FULFILLED, PENDING, RESOLVED, TIMEDOUT


def promise_state_at(state: str, timeout_at: int, tags: dict[str, str], now_ms: int) -> str:
    """Return the state a promise shows at `now_ms`: past its deadline it is settled (protocol section 3.0)."""
    if state != PENDING or timeout_at > now_ms:
        return state
    return RESOLVED if tags.get("resonate:timer") == "true" else TIMEDOUT


def task_state_at(task_state: str, promise_state: str, timeout_at: int, now_ms: int) -> str:
    """Return the state a task shows at `now_ms`: that of an expired promise is fulfilled."""
    return FULFILLED if promise_state == PENDING and timeout_at <= now_ms else task_state


def has_tags(tags: dict[str, str], wanted: dict[str, str] | None) -> bool:
    """Tell whether every wanted pair is there."""
    return not wanted or wanted.items() <= tags.items()
