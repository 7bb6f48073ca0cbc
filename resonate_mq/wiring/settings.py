"""What a client is configured with: arguments, environment variables and defaults, in that order (D37, B13).

Owns names, precedence and the checks of types and ranges. Opens nothing and starts nothing.
"""

import json
import logging
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from resonate_mq.protocol.parse import EXTENSIONS
from resonate_mq.transports.masking import mask_secrets

DEFAULT_GROUP = "default"
DEFAULT_HOST = "http://localhost"
DEFAULT_PORT = "8001"
DEFAULT_TTL_S = 10.0
DEFAULT_CONCURRENCY = 32
MEMORY = "memory://"
DISABLED_EXTENSIONS = "RESONATE_MQ_SERVER__DISABLED_EXTENSIONS"  # the name `resonate-mq serve` reads as well


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """One client, validated.

    Attributes:
        url: base URL of the server; None in local mode.
        poll_url: base URL of the poll endpoint, None when there is none (local mode).
        store: URL of the local store, `memory://` or `sqlite:///path`; unused when `url` is set.
        extensions: protocol extensions of the local server; unused when `url` is set.
        group: worker group of this process.
        pid: process id asked for; None gives a random one at start and again after a fork.
        ttl_s: lease length in seconds.
        concurrency: executions that run at the same time (D36).
        threads: threads for blocking functions; None means as many as `concurrency`.
        token: bearer token of the server.
        basic_auth: (user, password) sent as Basic, only with old-style `auth=`.
        prefix: put before top-level ids as `<prefix>:<id>`; empty for none.
        transports: name to URL of the brokers this process consumes from.
        worker: False makes a pure client: it starts functions and executes none.
        log_level: level of the `resonate_mq` logger; NOTSET leaves it alone.
    """

    url: str | None = field(default=None, repr=False)
    poll_url: str | None = field(default=None, repr=False)
    store: str = MEMORY
    extensions: frozenset[str] = EXTENSIONS
    group: str = DEFAULT_GROUP
    pid: str | None = None
    ttl_s: float = DEFAULT_TTL_S
    concurrency: int = DEFAULT_CONCURRENCY
    threads: int | None = None
    token: str | None = field(default=None, repr=False)
    basic_auth: tuple[str, str] | None = field(default=None, repr=False)
    prefix: str = ""
    transports: Mapping[str, str] = field(default_factory=dict, repr=False)
    worker: bool = True
    log_level: int = logging.NOTSET

    @property
    def is_local(self) -> bool:
        """Tell whether the server lives in this process."""
        return self.url is None

    def top_level_id(self, promise_id: str) -> str:
        """Return the promise id of an invocation: the prefix, if any, and the id given."""
        if not isinstance(promise_id, str):
            raise TypeError(f"id must be `str`, got {type(promise_id).__name__}")
        if not promise_id:
            raise ValueError("id must not be empty")
        return f"{self.prefix}:{promise_id}" if self.prefix else promise_id


def local_settings(
    *,
    store: str | None,
    group: str | None,
    log_level: int | str,
    pid: str | None,
    ttl: float,
    workers: int | None,
    concurrency: int | None,
    prefix: str | None,
) -> Settings:
    """Return the settings of local mode."""
    return Settings(
        store=_text("store", store) or MEMORY,
        extensions=EXTENSIONS - _disabled_extensions(),
        group=_group(group),
        pid=_text("pid", pid),
        ttl_s=_seconds("ttl", ttl),
        concurrency=_count("concurrency", concurrency) or DEFAULT_CONCURRENCY,
        threads=_count("workers", workers),
        prefix=_first(_text("prefix", prefix), "RESONATE_PREFIX") or "",
        log_level=level_of(log_level),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """Where the server is and how to prove who we are, as given by the caller; None where not given."""

    url: str | None = None
    host: str | None = None
    store_port: str | None = None
    message_source_port: str | None = None
    token: str | None = None
    auth: tuple[str, str] | None = None


def remote_settings(
    endpoint: Endpoint,
    *,
    transport: str | Mapping[str, str] | None,
    group: str | None,
    log_level: int | str,
    pid: str | None,
    ttl: float,
    workers: int | None,
    concurrency: int | None,
    prefix: str | None,
    worker: bool,
) -> Settings:
    """Return the settings of remote mode."""
    url = _server_url(endpoint)
    transports, poll_url = _split_transports(transport, _poll_url(endpoint, url))
    return Settings(
        url=url,
        poll_url=poll_url,
        group=_group(group),
        pid=_text("pid", pid),
        ttl_s=_seconds("ttl", ttl),
        concurrency=_count("concurrency", concurrency) or DEFAULT_CONCURRENCY,
        threads=_count("workers", workers),
        token=_first(_text("token", endpoint.token), "RESONATE_TOKEN"),
        basic_auth=_basic_auth(endpoint.auth),
        prefix=_first(_text("prefix", prefix), "RESONATE_PREFIX") or "",
        transports=transports,
        worker=worker,
        log_level=level_of(log_level),
    )


def level_of(level: int | str) -> int:
    """Return the number of a logging level.

    Raises:
        TypeError: neither a number nor a name.
        ValueError: no such name.
    """
    if isinstance(level, bool) or not isinstance(level, int | str):
        raise TypeError(f"log_level must be `int` or `str`, got {type(level).__name__}")
    if isinstance(level, int):
        return level
    found = logging.getLevelNamesMapping().get(level.upper())
    if found is None:
        raise ValueError(f"log_level {level!r} is not one of {', '.join(logging.getLevelNamesMapping())}")
    return found


def _disabled_extensions() -> set[str]:
    text = os.environ.get(DISABLED_EXTENSIONS) or "[]"
    try:
        disabled = json.loads(text)
    except ValueError:
        disabled = None
    if not isinstance(disabled, list) or not all(isinstance(one, str) and one in EXTENSIONS for one in disabled):
        known = ", ".join(sorted(EXTENSIONS))
        raise ValueError(f"{DISABLED_EXTENSIONS} must be a JSON array of names out of {known}; got {text!r}")
    return set(disabled)


def _server_url(endpoint: Endpoint) -> str:
    url = _text("url", endpoint.url)
    if url is None and endpoint.host is None and endpoint.store_port is None:
        url = os.environ.get("RESONATE_URL") or None
    if url is None:
        host = _first(_text("host", endpoint.host), "RESONATE_HOST_STORE", "RESONATE_HOST") or DEFAULT_HOST
        port = _first(_port("store_port", endpoint.store_port), "RESONATE_PORT_STORE") or DEFAULT_PORT
        url = f"{_with_scheme(host)}:{port}"
    return _checked_url("url", url)


def _poll_url(endpoint: Endpoint, url: str) -> str:
    port = _first(_port("message_source_port", endpoint.message_source_port), "RESONATE_PORT_MESSAGE_SOURCE")
    host = os.environ.get("RESONATE_HOST_MESSAGE_SOURCE") if endpoint.url is None else None
    if port is None and not host:
        return url
    parts = urlsplit(url)
    base = _with_scheme(host) if host else f"{parts.scheme}://{_bracketed(parts.hostname or 'localhost')}"
    return _checked_url("message source", f"{base}:{port or parts.port or DEFAULT_PORT}")


def _split_transports(transport: str | Mapping[str, str] | None, poll_url: str) -> tuple[dict[str, str], str]:
    """Separate brokers from the poll endpoint: an http(s) URL names the latter."""
    named = _named_transports(transport if transport is not None else os.environ.get("RESONATE_TRANSPORT"))
    brokers = {}
    for name, url in named.items():
        if urlsplit(url).scheme in ("http", "https"):
            poll_url = _checked_url(f"transport {name!r}", url)
        else:
            brokers[name] = url
    return brokers, poll_url


def _named_transports(transport: str | Mapping[str, str] | None) -> dict[str, str]:
    if not transport:
        return {}
    if isinstance(transport, str):
        name, equals, url = transport.partition("=")
        if equals and "://" not in name:
            return {name: _transport_url(url)}
        scheme = urlsplit(_transport_url(transport)).scheme
        return {"amqp" if scheme == "amqps" else scheme: transport}
    if not isinstance(transport, Mapping):
        raise TypeError(f"transport must be a URL or a mapping of name to URL, got {type(transport).__name__}")
    return {name: _transport_url(url) for name, url in transport.items()}


def _transport_url(url: object) -> str:
    if not isinstance(url, str) or "://" not in url:
        raise ValueError(f"transport must be a URL such as amqp://guest:guest@localhost/, got {url!r}")
    return url


def _basic_auth(auth: tuple[str, str] | None) -> tuple[str, str] | None:
    if auth is not None:
        if not isinstance(auth, tuple) or len(auth) != 2:
            raise TypeError("auth must be a tuple of user and password")
        return auth
    user = os.environ.get("RESONATE_USERNAME")
    return (user, os.environ.get("RESONATE_PASSWORD", "")) if user else None


def _group(group: str | None) -> str:
    return _first(_text("group", group), "RESONATE_GROUP") or DEFAULT_GROUP


def _first(value: str | None, *variables: str) -> str | None:
    if value is not None:
        return value
    for variable in variables:
        found = os.environ.get(variable)
        if found:
            return found
    return None


def _text(name: str, value: object) -> str | None:
    if value is not None and not isinstance(value, str):
        raise TypeError(f"{name} must be `str`, got {type(value).__name__}")
    return value


def _port(name: str, value: object) -> str | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | str):
        raise TypeError(f"{name} must be `str`, got {type(value).__name__}")
    text = str(value)
    if not text.isdigit() or not 0 < int(text) < 65536:
        raise ValueError(f"{name} must be a TCP port, got {value!r}")
    return text


def _seconds(name: str, value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"{name} must be `int`, got {type(value).__name__}")
    if value <= 0:
        raise ValueError(f"{name} must be above 0 seconds, got {value}")
    return float(value)


def _count(name: str, value: object) -> int | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"{name} must be `int`, got {type(value).__name__}")
    if value < 1:
        raise ValueError(f"{name} must be at least 1, got {value}")
    return value


def _with_scheme(host: str) -> str:
    return (host if "://" in host else f"http://{host}").rstrip("/")


def _bracketed(hostname: str) -> str:
    return f"[{hostname}]" if ":" in hostname else hostname


def _checked_url(name: str, url: str) -> str:
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError(f"{name} must look like http://localhost:8001, got {mask_secrets(url)!r}")
    return url.rstrip("/")
