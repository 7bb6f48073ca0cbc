"""schedule.* transitions and their firing (protocol sections 3.18, 3.19, 4.3)."""

from resonate_mq.machine import cron, promises
from resonate_mq.machine.state import State
from resonate_mq.protocol import tags
from resonate_mq.protocol.addresses import Address
from resonate_mq.protocol.envelope import Reply
from resonate_mq.protocol.records import Schedule
from resonate_mq.protocol.requests import PromiseCreate, ScheduleCreate, ScheduleDelete, ScheduleGet

NOT_FOUND = Reply(404, "Schedule not found")


def get(request: ScheduleGet, state: State, now_ms: int) -> Reply:
    """Answer the record."""
    schedule = state.schedule(request.id)
    return NOT_FOUND if schedule is None else Reply(200, {"schedule": schedule.wire()})


def create(request: ScheduleCreate, state: State, now_ms: int) -> Reply:
    """Create the schedule, or answer the stored one unchanged."""
    try:
        next_run_at = cron.next_after(request.cron, now_ms)
    except ValueError as error:
        return Reply(400, f"Invalid cron expression {request.cron!r}: {error}")
    schedule = state.schedule(request.id)
    if schedule is None:
        schedule = Schedule(
            request.id,
            request.cron,
            request.promise_id,
            request.promise_timeout_ms,
            request.promise_param,
            request.promise_tags,
            now_ms,
            next_run_at,
        )
        state.insert_schedule(schedule)
    return Reply(200, {"schedule": schedule.wire()})


def delete(request: ScheduleDelete, state: State, now_ms: int) -> Reply:
    """Remove the schedule; promises it created stay."""
    schedule = state.schedule(request.id)
    if schedule is None:
        return NOT_FOUND
    state.edit_schedule(schedule)
    schedule.deleted = True
    return Reply(200, {})


def fire(schedule: Schedule, state: State, now_ms: int, limit: int) -> None:
    """Fire the due occurrences in order, at most `limit`; each from its own instant, so that none is skipped."""
    while schedule.next_run_at <= now_ms and limit > 0:
        instant = schedule.next_run_at
        _create_promise(schedule, instant, state, now_ms)
        state.edit_schedule(schedule)
        schedule.last_run_at = instant
        schedule.next_run_at = cron.next_after(schedule.cron, instant)
        limit -= 1


def _create_promise(schedule: Schedule, instant_ms: int, state: State, now_ms: int) -> None:
    promise_id = schedule.promise_id.replace("{{.id}}", schedule.id).replace("{{.timestamp}}", str(instant_ms))
    if state.promise(promise_id) is not None:
        return
    own = dict.fromkeys((tags.ORIGIN, tags.BRANCH, tags.PARENT, tags.PREFIX), promise_id)
    request = PromiseCreate(
        promise_id,
        instant_ms + schedule.promise_timeout_ms,
        schedule.promise_param,
        {**schedule.promise_tags, tags.SCHEDULE: schedule.id, **own},
        # only its presence matters for a birth: the address itself stands in the tag
        Address("", "raw", schedule.promise_tags[tags.TARGET], None),
    )
    promise, _ = promises.obtain(request, state, now_ms)
    promise.created_at = min(instant_ms, promise.timeout_at)
