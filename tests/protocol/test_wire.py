"""Envelopes, messages, addresses and ids: what goes out is what comes in, and garbage is named."""

from typing import Any

import orjson
import pytest

from resonate_mq.protocol.addresses import Address, destination_of, format_address, parse_address
from resonate_mq.protocol.envelope import (
    EnvelopeError,
    Reply,
    check_envelope,
    decode_envelope,
    reply_envelope,
    request_envelope,
)
from resonate_mq.protocol.errors import InvalidRequestError
from resonate_mq.protocol.ids import check_id, child_id, describe, detached_id
from resonate_mq.protocol.messages import Execute, Hint, Unblock, decode_message, encode_message

VERSION = "2026-04-01"


# -- envelope


def test_a_request_envelope_is_read_back() -> None:
    body = orjson.dumps(request_envelope("promise.get", "c", {"id": "a"}, {"auth": "t"}))
    envelope = decode_envelope(body)
    assert (envelope.kind, envelope.corr_id, envelope.data) == ("promise.get", "c", {"id": "a"})
    assert envelope.head == {"auth": "t", "corrId": "c", "version": VERSION}


def test_a_reply_echoes_kind_and_corr_id() -> None:
    assert reply_envelope("k", "c", Reply(404, "gone")) == {
        "kind": "k", "head": {"corrId": "c", "status": 404, "version": VERSION}, "data": "gone",
    }  # fmt: skip
    assert [Reply(status, None).ok for status in (200, 300, 400, 503)] == [True, True, False, False]


@pytest.mark.parametrize(
    ("body", "says", "kind", "corr_id"),
    [
        (b"{", "not JSON", "unknown", "0"),
        (b"\xff", "not JSON", "unknown", "0"),
        (b'{"kind": NaN}', "not JSON", "unknown", "0"),
        (b'{"kind":"k","head":{"corrId":"\\ud800"}}', "not JSON", "unknown", "0"),
        (b"[" * 10_000 + b"]" * 10_000, "not JSON", "unknown", "0"),
        (b"[]", "must be an object", "unknown", "0"),
        (b"{}", "'kind' must be a string, got nothing", "unknown", "0"),
        (b'{"kind":5,"head":{"corrId":"c"}}', "'kind' must be a string, got integer", "unknown", "c"),
        (b'{"kind":"k"}', "'head' must be an object", "k", "0"),
        (b'{"kind":"k","head":{"corrId":5}}', "'corrId' must be a string", "k", "0"),
        (b'{"kind":"k","head":{"corrId":"c"}}', "'version' must be a string", "k", "c"),
        (b'{"kind":"k","head":{"corrId":"c","version":"2026-04-01"}}', "'data' must be an object", "k", "c"),
        (b'{"kind":"","head":{"corrId":"c","version":"2026-04-01"},"data":{}}', "non-empty", "", "c"),
        (b'{"kind":"k","head":{"corrId":"c","version":"2026-04-01"},"data":[]}', "Invalid 'data'", "k", "c"),
        (
            b'{"kind":"k","head":{"corrId":"c","version":"1999"},"data":{}}',
            "Unsupported protocol version '1999'",
            "k",
            "c",
        ),
    ],
)
def test_a_bad_envelope_says_what_is_wrong_and_what_can_be_echoed(
    body: bytes, says: str, kind: str, corr_id: str
) -> None:
    with pytest.raises(EnvelopeError) as error:
        decode_envelope(body)
    assert says in str(error.value)
    assert (error.value.kind, error.value.corr_id, error.value.status) == (kind, corr_id, 400)


def test_a_decoded_envelope_is_checked_alike() -> None:
    assert check_envelope(request_envelope("k", "c", {})).kind == "k"


# -- messages

MESSAGES = [
    Execute(None, None, (Hint("a", 0),)),
    Execute("s1", "http://127.0.0.1:8001", (Hint("a", 0), Hint("b", 7))),
    Unblock(None, ({"id": "ä", "state": "resolved", "param": {}, "value": {"data": "𝄞"}},)),
    Unblock("s1", ({"id": "a", "state": "resolved"}, {"id": "b", "state": "rejected"})),
]


@pytest.mark.parametrize("message", MESSAGES)
def test_a_message_is_read_back_and_is_one_line_of_ascii(message: Execute | Unblock) -> None:
    payload = encode_message(message)
    assert payload.isascii()
    assert b"\n" not in payload
    assert decode_message(payload) == message


def test_a_single_message_has_the_official_form() -> None:
    execute = Execute(None, "http://localhost:8001", (Hint("root1", 0),))
    assert orjson.loads(encode_message(execute)) == {
        "kind": "execute",
        "head": {"serverUrl": "http://localhost:8001"},
        "data": {"task": {"id": "root1", "version": 0}},
    }
    assert orjson.loads(encode_message(Unblock(None, ({"id": "a", "state": "resolved"},)))) == {
        "kind": "unblock", "head": {}, "data": {"promise": {"id": "a", "state": "resolved"}},
    }  # fmt: skip


@pytest.mark.parametrize(
    ("payload", "says"),
    [
        (b"garbage", "not JSON"),
        (b"[]", "must be an object"),
        (b'{"kind":"execute"}', "object 'data'"),
        (b'{"kind":"execute","head":{"serverUrl":5},"data":{}}', "serverUrl"),
        (b'{"kind":"execute","head":{},"data":{}}', "'task'"),
        (b'{"kind":"execute","head":{},"data":{"tasks":[]}}', "non-empty array"),
        (b'{"kind":"execute","head":{},"data":{"task":{"id":5}}}', "string 'id'"),
        (b'{"kind":"execute","head":{},"data":{"task":{"id":"a","version":-1}}}', "integer >= 0"),
        (b'{"kind":"unblock","head":{},"data":{"promise":{"id":"a"}}}', "'state'"),
        (b'{"kind":"other","head":{},"data":{}}', "got 'other'"),
    ],
)
def test_a_bad_message_is_named(payload: bytes, says: str) -> None:
    with pytest.raises(InvalidRequestError) as error:
        decode_message(payload)
    assert says in str(error.value)


# -- addresses

NAMES = frozenset({"poll", "amqp", "amqp-eu", "nats"})


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("poll://any@g", Address("poll", "any", "g", None)),
        ("poll://any@G/p1", Address("poll", "any", "G", "p1")),
        ("poll://uni@g/p/q", Address("poll", "uni", "g", "p/q")),
        ("poll://any:secret@g:80/p?x#y", Address("poll", "any", "g", "p")),
        ("poll://any@g/", Address("poll", "any", "g", None)),
        ("amqp-eu://any@a%20b%2F", Address("amqp-eu", "any", "a b/", None)),
        ("amqp://some.queue", Address("amqp", "raw", "some.queue", None)),
        ("nats://resonate.recv.Group.pid", Address("nats", "raw", "resonate.recv.Group.pid", None)),
        ("https://host/path?x=1", Address("https", "raw", "https://host/path?x=1", None)),
    ],
)
def test_an_address_is_taken_apart(text: str, expected: Address) -> None:
    assert parse_address(text, NAMES) == expected


@pytest.mark.parametrize("name", ["g", "Grüße", "a/b", "a b", "%", "#?*>", "x.y", "a:b", "café@home"])
def test_any_name_survives_formatting_and_parsing(name: str) -> None:
    address = parse_address(format_address("amqp", "uni", name, name), NAMES)
    assert (address.group, address.pid) == (name, name)
    assert parse_address(str(address), NAMES) == address
    assert parse_address(str(Address("amqp", "raw", "q", None)), NAMES).group == "q"
    assert str(parse_address("http://h/x", NAMES)) == "http://h/x"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (5, "expected a string"),
        ("", "no transport"),
        ("group", "no transport"),
        ("poll:any@g", "no transport"),
        ("1x://any@g", "no transport"),
        ("poll://any@a b", "percent-encode"),
        ("poll://any@a\n", "percent-encode"),
        ("http://", "no host"),
        ("kafka://any@g", "not configured here; configured: amqp, amqp-eu, http, https, nats, poll"),
        ("poll://default", "expected poll://any@<group>"),
        ("amqp://", "expected amqp://any@<group>"),
        ("poll://ANY@g", "neither 'any' nor 'uni'"),
        ("poll://nope@g", "neither 'any' nor 'uni'"),
        ("poll://any@", "no group"),
        ("poll://any@/x", "no group"),
        ("poll://uni@g", "needs a process"),
    ],
)
def test_an_address_that_is_none_is_refused_with_words(text: Any, says: str) -> None:
    with pytest.raises(InvalidRequestError) as error:
        parse_address(text, NAMES)
    assert says in str(error.value)


def test_a_destination_leaves_out_the_preferred_process() -> None:
    assert destination_of("poll://any@g/p1") == destination_of("poll://any@g") == "poll://any@g"
    assert destination_of("poll://uni@g/p1") == "poll://uni@g/p1"
    assert destination_of("nats://subject") == "nats://subject"


# -- ids

ONE_OF_EACH: list[object] = [None, True, 1, 1.5, "", [], {}, b""]


def test_child_ids_are_numbered_and_hashed_when_they_grow_too_long() -> None:
    assert child_id("root.1", 2, "root") == "root.1.2"
    long = child_id("x" * 600, 1, "root")
    assert long.startswith("root.h")
    assert len(long) == len("root.h") + 32
    assert child_id("x" * 600, 1, "root") == long != child_id("x" * 600, 2, "root")
    assert child_id("ä" * 200, 1, "r") == "ä" * 200 + ".1"


def test_a_detached_id_is_the_recorded_one_of_the_official_client() -> None:
    assert detached_id("root1", 3, "root1") == "root1.d565943526a747370"


def test_ids_of_1024_bytes_are_legal_and_types_have_names() -> None:
    assert check_id("x" * 1024, "id")
    assert [describe(one) for one in ONE_OF_EACH] == [
        "null", "boolean", "integer", "number", "string", "array", "object", "bytes",
    ]  # fmt: skip
