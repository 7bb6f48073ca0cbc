"""Arguments over RESONATE_* over the old variables over defaults (D37, B13)."""

import logging
from typing import Any

import pytest

from resonate_mq import Resonate


def remote(**given: Any) -> Any:
    return Resonate.remote(**given).settings


@pytest.fixture(autouse=True)
def _no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("URL", "GROUP", "TRANSPORT", "TOKEN", "PREFIX", "HOST", "HOST_STORE", "PORT_STORE"):
        monkeypatch.delenv(f"RESONATE_{name}", raising=False)
    for name in ("HOST_MESSAGE_SOURCE", "PORT_MESSAGE_SOURCE", "USERNAME", "PASSWORD"):
        monkeypatch.delenv(f"RESONATE_{name}", raising=False)


def test_defaults_point_at_one_port_of_this_machine() -> None:
    settings = remote()
    assert (settings.url, settings.poll_url) == ("http://localhost:8001", "http://localhost:8001")
    assert (settings.group, settings.ttl_s, settings.concurrency, settings.worker) == ("default", 10.0, 32, True)


def test_an_argument_beats_a_specific_variable_beats_the_general_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RESONATE_HOST", "http://general")
    assert remote().url == "http://general:8001"
    monkeypatch.setenv("RESONATE_HOST_STORE", "http://specific")
    monkeypatch.setenv("RESONATE_PORT_STORE", "9001")
    assert remote().url == "http://specific:9001"
    monkeypatch.setenv("RESONATE_URL", "http://whole:7001/")
    assert remote().url == "http://whole:7001"
    assert remote(host="http://argument").url == "http://argument:9001"
    assert remote(url="http://argument:1").url == "http://argument:1"


def test_message_source_port_overrides_only_polling(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = remote(host="http://h", store_port="8001", message_source_port="8002")
    assert (settings.url, settings.poll_url) == ("http://h:8001", "http://h:8002")
    monkeypatch.setenv("RESONATE_PORT_MESSAGE_SOURCE", "8003")
    assert remote(host="http://h").poll_url == "http://h:8003"


def test_group_token_and_prefix_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RESONATE_GROUP", "g")
    monkeypatch.setenv("RESONATE_TOKEN", "t")
    monkeypatch.setenv("RESONATE_PREFIX", "p")
    settings = remote()
    assert (settings.group, settings.token, settings.top_level_id("x")) == ("g", "t", "p:x")
    assert remote(group="other", token="u", prefix="").top_level_id("x") == "x"


def test_basic_auth_is_active_when_a_user_name_is_set(monkeypatch: pytest.MonkeyPatch) -> None:
    assert remote().basic_auth is None
    monkeypatch.setenv("RESONATE_USERNAME", "u")
    monkeypatch.setenv("RESONATE_PASSWORD", "s")
    assert remote().basic_auth == ("u", "s")
    assert remote(auth=("a", "b")).basic_auth == ("a", "b")


def test_transport_takes_a_url_or_names(monkeypatch: pytest.MonkeyPatch) -> None:
    assert remote(transport="amqps://h/v").transports == {"amqp": "amqps://h/v"}
    assert remote(transport={"amqp-eu": "amqp://h/"}).transports == {"amqp-eu": "amqp://h/"}
    monkeypatch.setenv("RESONATE_TRANSPORT", "amqp://env/")
    assert remote().transports == {"amqp": "amqp://env/"}
    assert remote(transport="http://poll:9").poll_url == "http://poll:9"


@pytest.mark.parametrize(
    ("given", "error"),
    [
        ({"ttl": "10"}, TypeError),
        ({"ttl": 0}, ValueError),
        ({"workers": 0}, ValueError),
        ({"workers": 1.5}, TypeError),
        ({"group": 7}, TypeError),
        ({"log_level": "LOUD"}, ValueError),
        ({"log_level": 1.5}, TypeError),
        ({"url": "localhost:8001"}, ValueError),
        ({"store_port": "http"}, ValueError),
        ({"transport": "rabbit"}, ValueError),
        ({"auth": "user:password"}, TypeError),
        ({"registry": {}}, TypeError),
    ],
)
def test_wrong_settings_are_refused_when_the_client_is_made(given: dict[str, Any], error: type[Exception]) -> None:
    with pytest.raises(error):
        Resonate.remote(**given)


def test_secrets_are_in_no_text_about_a_client() -> None:
    client = Resonate.remote(
        url="http://user:hidden1@host:1", token="hidden2", auth=("u", "hidden3"), transport="amqp://u:hidden4@h/"
    )
    assert "hidden" not in repr(client) + repr(client.settings)
    with pytest.raises(ValueError) as caught:
        Resonate.remote(url="ftp://user:hidden5@host")
    assert "hidden" not in str(caught.value)


def test_a_store_without_a_message_source_is_refused() -> None:
    with pytest.raises(ValueError, match="together"):
        Resonate(store=object())  # type: ignore[arg-type]


def test_log_level_sets_our_loggers_and_notset_leaves_them_alone() -> None:
    logger = logging.getLogger("resonate_mq")
    before = logger.level
    try:
        Resonate.local(log_level="ERROR")
        assert logger.level == logging.ERROR
        Resonate()
        assert logger.level == logging.ERROR
    finally:
        logger.setLevel(before)
