"""URLs and names to adapters, and what is said when one is missing (style 3.1)."""

import subprocess
import sys

import pytest

from resonate_mq.stores.memory import MemoryStore
from resonate_mq.wiring import ConfigError, make_publishers, make_store, make_transport, sqlite_path


def test_store_urls_name_their_file() -> None:
    assert sqlite_path("sqlite:///app.db") == "app.db"
    assert sqlite_path("sqlite:///data/my%20app.db") == "data/my app.db"
    assert sqlite_path("sqlite:////srv/app.db") == "/srv/app.db"
    assert isinstance(make_store("memory://"), MemoryStore)


@pytest.mark.parametrize("url", ["sqlite://app.db", "sqlite:///", "sqlite://"])
def test_a_store_url_without_a_file_is_refused_with_the_form_to_use(url: str) -> None:
    with pytest.raises(ConfigError, match=r"sqlite:///app\.db"):
        make_store(url)


@pytest.mark.parametrize("url", ["postgres://h/db", "app.db", "redis://h"])
def test_an_unknown_store_is_refused_with_those_that_are_known(url: str) -> None:
    with pytest.raises(ConfigError, match="known: memory, sqlite"):
        make_store(url)


def test_an_unknown_transport_is_refused_without_its_password() -> None:
    with pytest.raises(ConfigError, match="known: amqp, amqps") as caught:
        make_transport("x", "gopher://user:hidden@host")
    assert "hidden" not in str(caught.value)


def test_a_server_always_publishes_to_pollers() -> None:
    assert [one.name for one in make_publishers({})] == ["poll"]
    assert [one.name for one in make_publishers({"amqp-eu": "amqp://h/"})] == ["poll", "amqp-eu"]


def test_a_missing_driver_is_named_by_the_extra_that_brings_it() -> None:
    program = (
        "import sys; sys.modules['aio_pika'] = None; sys.modules['aiormq'] = None\n"
        "from resonate_mq.wiring import ConfigError, make_transport\n"
        "try: make_transport('amqp', 'amqp://h/')\n"
        "except ConfigError as error: print(error)\n"
    )
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)
    assert ran.stdout == "transport 'amqp' needs an extra: pip install 'resonate-mq[amqp]'\n", ran.stderr
