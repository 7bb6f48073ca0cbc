"""`resonate.promises` in local mode and over HTTP: the table of B11, idempotency keys and strict (D13)."""

import functools
import json
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from resonate_mq import DurablePromise, Resonate
from resonate_mq.errors import ResonateStoreError
from tests.support.eventually import eventually_sync


def soon(ms: int = 60_000) -> int:
    return int(time.time() * 1000) + ms


def refused(code: int, call: Callable[[], Any]) -> None:
    with pytest.raises(ResonateStoreError) as caught:
        call()
    assert caught.value.code == float(f"100.{code}")


def test_a_created_promise_is_pending_and_found_again(client: Resonate) -> None:
    deadline = soon()
    made = client.promises.create("p", deadline, headers={"h": "1"}, data=json.dumps({"a": 1}), tags={"t": "v"})
    assert (made.state, made.timeout, made.pending, made.completed) == ("PENDING", deadline, True, False)
    assert (made.param.headers, made.param.data, made.tags) == ({"h": "1"}, '{"a": 1}', {"t": "v"})
    found = client.promises.get("p")
    assert found == made
    assert (found.completed_on, found.ikey_for_create, found.ikey_for_complete) == (None, None, None)
    assert found.abs_timeout == deadline / 1000
    assert 0 < found.rel_timeout <= 61


def test_an_unknown_promise_is_40400_for_every_verb(client: Resonate) -> None:
    for verb in ("get", "resolve", "reject", "cancel"):
        refused(40400, functools.partial(getattr(client.promises, verb), "nobody"))


@pytest.mark.parametrize("ikey", [None, "k"])
def test_a_repeated_create_needs_the_same_key(client: Resonate, ikey: str | None) -> None:
    first = client.promises.create("p", soon(), ikey="k")
    if ikey is None:
        refused(40399, lambda: client.promises.create("p", soon()))
    else:
        assert client.promises.create("p", soon(5_000), ikey="k") == first
        assert client.promises.create("p", soon(5_000), ikey="k", strict=True) == first
    refused(40399, lambda: client.promises.create("p", soon(), ikey="other"))


def test_a_create_without_key_matches_nothing_later(client: Resonate) -> None:
    client.promises.create("p", soon())
    refused(40399, lambda: client.promises.create("p", soon(), ikey="p"))


def test_a_repeated_create_of_a_settled_promise_is_refused_when_strict(client: Resonate) -> None:
    client.promises.create("p", soon(), ikey="k")
    client.promises.resolve("p", data="1")
    assert client.promises.create("p", soon(), ikey="k").resolved
    refused(40399, lambda: client.promises.create("p", soon(), ikey="k", strict=True))


def test_a_deadline_in_the_past_is_born_timed_out_and_no_error(client: Resonate) -> None:
    made = client.promises.create("p", soon(-1_000))
    assert (made.state, made.timedout) == ("REJECTED_TIMEDOUT", True)
    assert made.completed_on == made.timeout


def test_a_timeout_that_is_no_epoch_is_refused_with_what_was_meant(client: Resonate) -> None:
    with pytest.raises(ValueError, match=r"absolute epoch milliseconds; got 30, did you mean"):
        client.promises.create("p", 30)
    with pytest.raises(TypeError, match="timeout must be `int`"):
        client.promises.create("p", 30.5)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("verb", "state", "flag"),
    [
        ("resolve", "RESOLVED", "resolved"),
        ("reject", "REJECTED", "rejected"),
        ("cancel", "REJECTED_CANCELED", "canceled"),
    ],
)
def test_each_verb_settles_once_and_its_repeat_needs_the_key(
    client: Resonate, verb: str, state: str, flag: str
) -> None:
    client.promises.create("p", soon())
    settle: Callable[..., DurablePromise] = getattr(client.promises, verb)
    settled = settle("p", ikey="k", headers={"h": "1"}, data=json.dumps("v"))
    assert (settled.state, settled.ikey_for_complete) == (state, "k")
    assert (settled.value.headers, settled.value.data) == ({"h": "1"}, '"v"')
    assert getattr(settled, flag)
    assert settled.completed_on is not None
    assert settle("p", ikey="k", data=json.dumps("other")) == settled
    assert settle("p", ikey="k", strict=True) == settled
    refused(40399, lambda: settle("p"))
    refused(40399, lambda: settle("p", ikey="other"))


def test_a_repeat_that_asks_for_another_state_is_refused_only_when_strict(client: Resonate) -> None:
    client.promises.create("p", soon())
    first = client.promises.resolve("p", ikey="k", data="1")
    assert client.promises.reject("p", ikey="k") == first
    refused(40399, lambda: client.promises.reject("p", ikey="k", strict=True))


def test_settling_after_the_deadline_gives_the_record_or_is_refused_when_strict(client: Resonate) -> None:
    client.promises.create("p", soon(-1_000))
    assert client.promises.resolve("p", data="1").timedout
    refused(40303, lambda: client.promises.resolve("p", strict=True))


def test_the_server_times_a_promise_out_by_itself(client: Resonate) -> None:
    client.promises.create("p", soon(200))
    assert client.promises.get("p").pending
    eventually_sync(lambda: client.promises.get("p").timedout)


def test_of_many_resolvers_one_wins_and_everybody_reads_its_value(client: Resonate) -> None:
    client.promises.create("p", soon())
    won: list[int] = []

    def resolve(number: int) -> None:
        try:
            client.promises.resolve("p", ikey=f"k{number}", data=str(number))
        except ResonateStoreError:
            return
        won.append(number)

    threads = [threading.Thread(target=resolve, args=(number,)) for number in range(50)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert len(won) == 1
    assert client.promises.get("p").value.data == str(won[0])
    assert client.get("p").result(10) == won[0]


def test_a_promise_settles_itself_through_its_methods(client: Resonate) -> None:
    client.promises.create("a", soon()).resolve(json.dumps(1))
    client.promises.create("b", soon()).reject(json.dumps("no"))
    client.promises.create("c", soon()).cancel()
    states = [client.promises.get(id).state for id in ("a", "b", "c")]
    assert states == ["RESOLVED", "REJECTED", "REJECTED_CANCELED"]


@pytest.mark.parametrize("id", ["news_feed_2023-05-01", "staging/a/b:c", "ünï.cødé", "x" * 300])
def test_ids_of_every_scheme_go_round(client: Resonate, id: str) -> None:
    client.promises.create(id, soon())
    client.promises.resolve(id, data='"done"')
    assert client.promises.get(id).value.data == '"done"'
    assert client.get(id).result(10) == "done"


@pytest.mark.parametrize("id", ["", "a\0b", "x" * 2_000])
def test_an_illegal_id_is_refused_and_nothing_is_stored(client: Resonate, id: str) -> None:
    refused(40000, lambda: client.promises.create(id, soon()))


def test_json_names_are_those_of_the_documents(client: Resonate) -> None:
    made = client.promises.create("p", soon(), ikey="k", data="1").to_dict()
    assert made["idempotencyKeyForCreate"] == "k"
    assert made["param"] == {"headers": None, "data": "1"}
    assert {"id", "state", "timeout", "value", "tags", "createdOn", "completedOn"} < set(made)


async def test_every_verb_has_a_coroutine_and_the_blocking_form_names_it(client: Resonate) -> None:
    with pytest.raises(RuntimeError, match=r"await resonate\.aio\.promises\.create\(\.\.\.\)"):
        client.promises.create("p", soon())
    made = await client.aio.promises.create("p", soon())
    with pytest.raises(RuntimeError, match=r"await promise\.aio\.resolve\(\.\.\.\)"):
        made.resolve("1")
    assert (await made.aio.resolve("1")).resolved
    assert (await client.aio.promises.get("p")).value.data == "1"


@pytest.mark.parametrize("data", [{"by": "Ada"}, b"1", 5])
def test_data_that_is_no_text_is_refused_with_what_to_write(client: Resonate, data: Any) -> None:
    client.promises.create("typed", soon())
    with pytest.raises(TypeError, match=r"data must be `str`, got \w+; pass JSON text: data=json.dumps"):
        client.promises.resolve("typed", data=data)
    assert client.promises.get("typed").pending
