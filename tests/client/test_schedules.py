"""`resonate.schedules`: promises by cron, idempotent creation, what a schedule tells about itself (B12, D45)."""

import json
import logging
import time

import pytest

from resonate_mq import Context, Resonate
from resonate_mq.errors import ResonateStoreError
from tests.support.eventually import eventually_sync


def test_a_schedule_is_found_again_with_everything_it_was_given(client: Resonate) -> None:
    made = client.schedules.create(
        "s",
        "0 9 * * 1",
        "s.{{.timestamp}}",
        60_000,
        ikey="k",
        description="mondays",
        tags={"team": "a"},
        promise_headers={"h": "1"},
        promise_data='{"func":"job","args":[],"version":1}',
        promise_tags={"resonate:invoke": "poll://any@default", "x": "y"},
    )
    assert (made.id, made.cron, made.promise_id, made.promise_timeout) == (
        "s",
        "0 9 * * MON",
        "s.{{.timestamp}}",
        60_000,
    )
    assert (made.ikey, made.description, made.tags) == ("k", "mondays", {"team": "a"})
    assert (made.promise_param.headers, made.promise_param.data) == ({"h": "1"}, '{"func":"job","args":[],"version":1}')
    assert made.promise_tags == {"resonate:target": "poll://any@default", "x": "y"}
    assert made.last_runtime is None
    assert made.next_runtime > time.time() * 1000
    assert client.schedules.get("s") == made


def test_a_repeat_needs_the_same_key(client: Resonate) -> None:
    first = client.schedules.create("s", "* * * * *", "s.{{.timestamp}}", 1_000, ikey="k")
    assert client.schedules.create("s", "0 * * * *", "other", 2_000, ikey="k") == first
    for ikey in (None, "other"):
        with pytest.raises(ResonateStoreError, match="already exists") as caught:
            client.schedules.create("s", "* * * * *", "s.{{.timestamp}}", 1_000, ikey=ikey)
        assert caught.value.code == 100.404


def test_a_deleted_schedule_is_gone(client: Resonate) -> None:
    client.schedules.create("s", "* * * * *", "s.{{.timestamp}}", 1_000).delete()
    for call in (client.schedules.get, client.schedules.delete):
        with pytest.raises(ResonateStoreError) as caught:
            call("s")
        assert caught.value.code == 100.40403


def test_a_bad_expression_is_refused_before_anything_is_sent(client: Resonate) -> None:
    for cron in ("* * * *", "99 * * * *", "0 0 9 * * 1"):
        with pytest.raises(ValueError, match="cron"):
            client.schedules.create("s", cron, "s.{{.timestamp}}", 1_000)
    with pytest.raises(ResonateStoreError):
        client.schedules.get("s")


def test_the_next_three_firings_are_shown_and_two_day_fields_warned_of(
    client: Resonate, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, "resonate_mq"):
        client.schedules.create("s", "0 0 13 * 5", "s.{{.timestamp}}", 1_000)
    shown = [record.getMessage() for record in caplog.records if record.name.endswith("schedules")]
    assert len(shown[0].split(",")) == 3
    assert shown[0].endswith("UTC")
    assert "both match" in shown[1]


def test_a_schedule_with_seconds_calls_the_function(client: Resonate) -> None:
    seen: list[int] = []

    @client.register
    def job(ctx: Context, number: int) -> None:
        seen.append(number)

    client.start()
    data = json.dumps({"func": "job", "args": [7], "kwargs": {}, "version": 1})
    client.schedules.create("s", "* * * * * *", "s.{{.timestamp}}", 60_000, promise_data=data)
    eventually_sync(lambda: len(seen) >= 2, within_s=10)
    assert set(seen) == {7}
    schedule = client.schedules.get("s")
    assert schedule.last_runtime is not None
    assert client.get(f"s.{schedule.last_runtime}").result(10) is None
