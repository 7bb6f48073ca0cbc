"""What the HTTP side needs of a server. Drawn as a protocol, so that it knows the shape and not the object."""

from collections.abc import Mapping
from typing import Any, Protocol

from resonate_mq.server.api import Api
from resonate_mq.server.health import Health
from resonate_mq.server.metrics import Metrics
from resonate_mq.server.options import ServerOptions
from resonate_mq.server.presence import Presence
from resonate_mq.stores.port import Store


class HttpParts(Protocol):
    """The server, as the HTTP side sees it."""

    options: ServerOptions
    api: Api
    health: Health
    metrics: Metrics
    presence: Presence
    store: Store

    @property
    def transports(self) -> Mapping[str, Any]:
        """Transports by name."""
        ...
