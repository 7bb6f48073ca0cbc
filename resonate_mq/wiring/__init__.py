"""Composition root: names and URLs to stores, transports, servers and workers. Only here adapters have names."""

from resonate_mq.wiring.adapters import (
    ConfigError,
    make_channel,
    make_publishers,
    make_store,
    make_transport,
    sqlite_path,
)
from resonate_mq.wiring.local import local_pid
from resonate_mq.wiring.opened import Opened, Site, open_site
from resonate_mq.wiring.routing import Routing

__all__ = [
    "ConfigError",
    "Opened",
    "Routing",
    "Site",
    "local_pid",
    "make_channel",
    "make_publishers",
    "make_store",
    "make_transport",
    "open_site",
    "sqlite_path",
]
