"""Names and URLs to stores, transports and channels: the only place that names an adapter.

Adapters are imported when they are wanted, so that a missing driver is a sentence about an extra and importing
`resonate_mq` stays light (D39).
"""

import importlib
from collections.abc import Mapping, Sequence
from typing import Any, cast
from urllib.parse import unquote, urlsplit

from resonate_mq.stores.port import Store
from resonate_mq.transports.api.port import Channel
from resonate_mq.transports.masking import mask_secrets
from resonate_mq.transports.port import PublishingTransport, Transport

STORES = {
    "memory": "resonate_mq.stores.memory:MemoryStore",
    "sqlite": "resonate_mq.stores.sqlite:SqliteStore",
}
TRANSPORTS = {
    "amqp": "resonate_mq.transports.amqp:AmqpTransport",
    "amqps": "resonate_mq.transports.amqp:AmqpTransport",
    "http": "resonate_mq.transports.poll.client:PollTransport",
    "https": "resonate_mq.transports.poll.client:PollTransport",
}
_EXTRAS = {"aio_pika": "amqp", "aiormq": "amqp"}


class ConfigError(ValueError):
    """What was configured cannot work; raised before anything is opened."""


def make_store(url: str) -> Store:
    """Return the closed store of a URL: `memory://`, or `sqlite:///app.db` (four slashes for an absolute path).

    Raises:
        ConfigError: unknown scheme, or no path where one is needed.
    """
    scheme = urlsplit(url).scheme
    factory = _adapter("store", scheme, STORES, url)
    if scheme == "memory":
        return cast(Store, factory())
    return cast(Store, factory(sqlite_path(url)))


def sqlite_path(url: str) -> str:
    """Return the file of a `sqlite:///` URL.

    Raises:
        ConfigError: the URL names a host, or no file.
    """
    parts = urlsplit(url)
    path = unquote(parts.path).removeprefix("/")
    if parts.netloc or not path:
        raise ConfigError(f"store {url!r}: expected sqlite:///app.db, or sqlite:////srv/app.db for an absolute path")
    return path


def make_transport(name: str, url: str, *, token: str | None = None, **options: Any) -> Transport:
    """Return the closed transport that consumes from, or publishes to, the broker at `url`.

    Args:
        name: scheme of its addresses, usually that of the URL.
        token: bearer token, for polling a server.

    Raises:
        ConfigError: unknown scheme, or its driver is not installed.
    """
    scheme = urlsplit(url).scheme
    factory = _adapter("transport", scheme, TRANSPORTS, url)
    if scheme in ("http", "https"):
        return cast(Transport, factory(name, url, token, **options))
    return cast(Transport, factory(name, url, **options))


def make_publishers(urls: Mapping[str, str], push_hosts: Sequence[str] = ()) -> list[PublishingTransport]:
    """Return the closed transports of a server: HTTP poll, and the brokers of `urls` (name to URL).

    Args:
        push_hosts: hosts HTTP push may go to; with none there is no HTTP push at all (D28).

    Raises:
        ConfigError: unknown scheme, or its driver is not installed.
        TransportConfigError: a URL or a host cannot be used.
    """
    from resonate_mq.transports.poll.hub import PollHub

    for name, url in urls.items():
        if urlsplit(url).scheme in ("http", "https"):
            raise ConfigError(
                f"transport {name}={mask_secrets(url)}: a server needs no URL for HTTP poll (it is always on) nor for "
                "HTTP push (--push-host); expected a broker such as amqp://guest:guest@localhost/"
            )
    publishers = [PollHub("poll"), *(make_transport(name, url) for name, url in urls.items())]
    if push_hosts:
        from resonate_mq.transports.push import HttpPush

        publishers += [HttpPush(name, push_hosts) for name in ("http", "https")]
    return publishers


def make_channel(url: str, token: str | None = None, basic_auth: tuple[str, str] | None = None) -> Channel:
    """Return the closed API channel to the server at `url`."""
    from resonate_mq.transports.api.http import HttpChannel

    return HttpChannel(url, token, basic_auth)


def _adapter(what: str, scheme: str, known: dict[str, str], url: str) -> Any:
    place = known.get(scheme)
    if place is None:
        shown = url.partition("://")[0] if "://" in url else url
        raise ConfigError(f"{what} {shown!r} is not known; known: {', '.join(sorted(known))}")
    module_name, _, attribute = place.partition(":")
    try:
        return getattr(importlib.import_module(module_name), attribute)
    except ModuleNotFoundError as error:
        extra = _EXTRAS.get((error.name or "").partition(".")[0])
        if extra is None:
            raise
        raise ConfigError(f"{what} {scheme!r} needs an extra: pip install 'resonate-mq[{extra}]'") from error
