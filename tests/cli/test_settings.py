"""Configuration: defaults, then the TOML file, then the environment, then flags."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from resonate_mq.cli.output import CliError
from resonate_mq.cli.settings import host_and_port, load, masked


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    import os

    for name in list(os.environ):
        if name.startswith("RESONATE"):
            monkeypatch.delenv(name)


def toml(folder: Path, text: str) -> Path:
    path = folder / "server.toml"
    path.write_text(text)
    return path


def test_without_anything_the_defaults_hold() -> None:
    config = load(None, {})
    assert config.server.listen == "127.0.0.1:8001"
    assert config.store.url == "sqlite:///resonate.db"
    assert config.transports == {}
    assert config.server.token is None


def test_each_layer_overrides_the_one_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = toml(
        tmp_path, '[server]\nlisten = "127.0.0.1:1001"\nname = "file"\ntoken = "file"\n[log]\nlevel = "debug"\n'
    )
    assert load(path, {}).server.listen == "127.0.0.1:1001"

    monkeypatch.setenv("RESONATE_MQ_SERVER__LISTEN", "127.0.0.1:1002")
    monkeypatch.setenv("RESONATE_MQ_SERVER__NAME", "environment")
    assert load(path, {}).server.listen == "127.0.0.1:1002"

    config = load(path, {"server": {"listen": "127.0.0.1:1003"}})
    assert config.server.listen == "127.0.0.1:1003"  # flag
    assert config.server.name == "environment"
    assert config.server.token == "file"
    assert config.log.level == "debug"
    assert config.server.shutdown_s == 10.0  # default


def test_transports_of_all_layers_are_laid_over_each_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = toml(tmp_path, '[transports]\namqp = "amqp://file/"\nother = "amqp://other/"\n')
    monkeypatch.setenv("RESONATE_MQ_TRANSPORTS__AMQP", "amqp://environment/")
    config = load(path, {"transports": {"eu": "amqp://flag/"}})
    assert config.transports == {
        "amqp": "amqp://environment/",
        "other": "amqp://other/",
        "eu": "amqp://flag/",
    }


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ('[server]\nlisten = "8001"\n', ["server.listen", "HOST:PORT", "8001"]),
        ('[server]\nlissten = "x:1"\n', ["server.lissten", "not known"]),
        ("[server]\nshutdown_s = -1\n", ["server.shutdown_s", "-1"]),
        ('[server]\ndisabled_extensions = ["bach"]\n', ["server.disabled_extensions", "bach", "batch"]),
        ('[log]\nlevel = "loud"\n', ["log.level", "loud", "warning"]),
        ('[transports]\namqp = "localhost"\n', ["transports", "localhost", "amqp://"]),
        ("[server\n", ["configuration"]),
    ],
)
def test_a_mistake_names_the_field_what_was_found_and_what_is_expected(
    tmp_path: Path, text: str, names: list[str]
) -> None:
    with pytest.raises(CliError) as caught:
        load(toml(tmp_path, text), {})
    assert caught.value.exit_code == 2
    for name in names:
        assert name in str(caught.value)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(CliError, match=r"nowhere\.toml"):
        load(tmp_path / "nowhere.toml", {})


def test_secrets_are_masked() -> None:
    flags: dict[str, dict[str, Any]] = {
        "server": {"token": "geheim"},
        "transports": {"amqp": "amqp://user:geheim@broker:5672/vh"},
    }
    shown = str(load(None, flags).shown())
    assert "geheim" not in shown
    assert "amqp://user:***@broker:5672/vh" in shown
    assert masked("http://h:1/a@b:c") == "http://h:1/a@b:c"
    assert masked("amqp://u:p%40ss@h/") == "amqp://u:***@h/"


def test_an_address_to_listen_on_may_be_ipv6() -> None:
    assert host_and_port("[::1]:80") == ("::1", 80)
    with pytest.raises(ValueError, match="HOST:PORT"):
        host_and_port("localhost:70000")
