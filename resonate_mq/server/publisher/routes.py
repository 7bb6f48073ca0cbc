"""Which destinations there are, and when one that takes nothing is tried again. Bounded; forgets idle ones first."""

import asyncio
import logging
import random
from collections.abc import Callable, Iterator

from resonate_mq.protocol.addresses import destination_of, parse_address
from resonate_mq.server.publisher.destination import Destination

logger = logging.getLogger(__name__)

DESTINATIONS_LIMIT = 10_000
FIRST_RETRY_S = 1.0
LAST_RETRY_S = 30.0


class Routes:
    """Destinations by routing key.

    Args:
        schemes: names an address may have.
        served: names of transports that are there.
        forget: told of a destination that is dropped although hints wait in it; they stay in the store.
    """

    def __init__(self, schemes: frozenset[str], served: frozenset[str], forget: Callable[[Destination], None]) -> None:
        self.schemes = schemes
        self._served = served
        self._forget = forget
        self._destinations: dict[str, Destination] = {}
        self._retries: dict[str, asyncio.TimerHandle] = {}

    def find(self, target: str) -> Destination | None:
        """Return the destination of an address, None when no transport serves it."""
        key = destination_of(target)
        found = self._destinations.get(key)
        if found is None:
            # stored by a server that had a transport this one has not: not even parsed here
            if key.partition("://")[0] not in self._served:
                logger.warning("no transport for a target", extra={"target": key})
                return None
            address = parse_address(key, self.schemes)
            if len(self._destinations) >= DESTINATIONS_LIMIT:
                self._make_room()
            found = self._destinations[key] = Destination(key, address)
        return found

    def of_transport(self, name: str) -> Iterator[Destination]:
        """Yield the destinations of one transport."""
        return (one for one in list(self._destinations.values()) if one.address.transport == name)

    def retry_later(self, destination: Destination, retry: Callable[[Destination], None]) -> None:
        """Call `retry` after a back-off from 1 s to 30 s, unless that is arranged already."""
        if destination.key in self._retries:
            return
        delay_s = min(FIRST_RETRY_S * 2 ** min(max(destination.failures - 1, 0), 10), LAST_RETRY_S)
        delay_s *= 1 + random.random() / 10

        def fire() -> None:
            self._retries.pop(destination.key, None)
            retry(destination)

        self._retries[destination.key] = asyncio.get_running_loop().call_later(delay_s, fire)

    def stop_retry(self, destination: Destination) -> None:
        """Call off what `retry_later` arranged."""
        handle = self._retries.pop(destination.key, None)
        if handle is not None:
            handle.cancel()

    def clear(self) -> None:
        """Forget everything."""
        for handle in self._retries.values():
            handle.cancel()
        self._destinations, self._retries = {}, {}

    def _make_room(self) -> None:
        idle = [key for key, one in self._destinations.items() if one.idle]
        for key in idle or list(self._destinations)[:1]:
            dropped = self._destinations.pop(key)
            self.stop_retry(dropped)
            self._forget(dropped)
