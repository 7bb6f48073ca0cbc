"""Names on the broker and URLs in messages: pure rules."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from resonate_mq.transports.amqp import AmqpOptions, AmqpTransport
from resonate_mq.transports.amqp.names import message_id_of, queue_of, unicast_key
from resonate_mq.transports.amqp.options import parse_amqp_url
from resonate_mq.transports.masking import mask_secrets
from resonate_mq.transports.port import TransportConfigError

names = st.text(min_size=1, max_size=400)
WIRE = re.compile(r"[A-Za-z0-9\-_.+/]*\Z")


@given(names, names)
def test_two_groups_never_share_a_queue(one: str, other: str) -> None:
    assert (queue_of(one) == queue_of(other)) == (one == other)


@given(names, names, names, names)
def test_two_processes_never_share_a_routing_key(group: str, pid: str, group2: str, pid2: str) -> None:
    assert (unicast_key(group, pid) == unicast_key(group2, pid2)) == ((group, pid) == (group2, pid2))


@given(names, names)
def test_names_fit_what_amqp_takes(group: str, pid: str) -> None:
    for name in (queue_of(group), unicast_key(group, pid)):
        assert len(name.encode()) <= 255
        assert WIRE.match(name), name


@given(st.text(max_size=1500))
def test_message_ids_fit_the_property(task_id: str) -> None:
    assert len(message_id_of(task_id).encode("utf-8", "surrogatepass")) <= 255


def test_ordinary_group_names_stay_readable() -> None:
    assert queue_of("email-workers_v2.eu") == "resonate.q.email-workers_v2.eu"
    assert queue_of("a b/é") == "resonate.q.a+20b+2F+C3+A9"


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("amqp://user:s3cret@host:5672/vhost", "amqp://user:***@host:5672/vhost"),
        ("amqps://user:p%40ss%2Fw@host/%2F", "amqps://user:***@host/%2F"),
        ("amqp://user:with:colon@host/", "amqp://user:***@host/"),
        (
            "see amqp://a:b@c/ and https://x:y@z/?token=abc&n=1",
            "see amqp://a:***@c/ and https://x:***@z/?token=***&n=1",
        ),
        ("amqp://user@host/", "amqp://user@host/"),
        ("http://host:8001/poll", "http://host:8001/poll"),
    ],
)
def test_secrets_are_masked_wherever_a_url_is_shown(url: str, shown: str) -> None:
    assert mask_secrets(url) == shown


@pytest.mark.parametrize("url", ["http://x:sesame@h/", "amqp://", "amqp:sesame", "amqp://u:sesame@h:port/", "x"])
def test_an_unusable_broker_url_is_refused_without_showing_its_password(url: str) -> None:
    with pytest.raises(TransportConfigError) as refused:
        AmqpTransport("amqp", url)
    assert "sesame@" not in str(refused.value)
    assert "amqp" in str(refused.value)


def test_the_url_may_say_which_type_of_queue_is_used() -> None:
    address, options = parse_amqp_url("amqp://u:sesame@h/v%2F1?queue_type=classic&cafile=/ca.pem", AmqpOptions())
    assert options.queue_type == "classic"
    assert address.shown == "amqp://u:***@h/v%2F1"
    assert "cafile=%2Fca.pem" in address.url
    assert "heartbeat=10" in address.url
    assert "sesame" not in repr(address)
    with pytest.raises(TransportConfigError, match="queue_type='lazy'"):
        AmqpTransport("amqp", "amqp://h/?queue_type=lazy")
