"""From what users write as a target to an address (D35): an address, a group, or nothing for the own group."""

from resonate_mq.protocol.addresses import ALWAYS_VALID, format_address, parse_address
from resonate_mq.protocol.errors import InvalidRequestError
from resonate_mq.transports.api.requester import Requester, ServerFacts

REMEMBERED = 10_000  # resolved targets; more of them are resolved anew


class Routing:
    """Resolves targets for one client.

    Args:
        requester: knows the server's default transport and the names of its transports.
        group: own worker group.
        consumed: transports this process takes tasks from; empty for a pure client.
        everything_here: address every target is delivered to, in local mode; else None.
    """

    def __init__(
        self,
        requester: Requester,
        group: str,
        consumed: frozenset[str] = frozenset(),
        everything_here: str | None = None,
    ) -> None:
        self._requester = requester
        self._group = group
        self._consumed = consumed
        self._everything_here = everything_here
        self._own: tuple[str, str] | None = None
        self._resolved: dict[str, str] = {}
        self._resolved_for: ServerFacts | None = None

    async def address(self, target: str | None) -> str:
        """Return the address of a target, asking the server for its default transport if that is unknown.

        Raises:
            ValueError: not an address, or not of a transport the server says it has.
            TransportError: the server does not answer.
        """
        if self._everything_here is None and (target is None or "://" not in target):
            await self._requester.facts()
        return self.resolve(target)

    def resolve(self, target: str | None) -> str:
        """Return the address of a target with what is known of the server now.

        Raises:
            ValueError: not an address, or not of a transport the server says it has.
        """
        if self._everything_here is not None:
            return self._everything_here
        if target is None:
            return self._own_address()
        known = self._requester.known
        if self._resolved_for is not known:  # another server, or its first answer
            self._resolved_for = known
            self._resolved.clear()
        address = self._resolved.get(target)
        if address is None:
            if len(self._resolved) >= REMEMBERED:
                self._resolved.clear()
            address = self._resolved[target] = _address_of(target, known)
        return address

    def _own_address(self) -> str:
        """Return the own group's address on a transport we listen to, the server's default one if possible."""
        default = self._requester.known.default_transport
        if self._own is None or self._own[0] != default:
            listened = default
            if self._consumed and default not in self._consumed:
                listened = "poll" if "poll" in self._consumed else min(self._consumed)
            self._own = (default, format_address(listened, "any", self._group))
        return self._own[1]


def _address_of(target: str, known: ServerFacts) -> str:
    if "://" not in target:
        return format_address(known.default_transport, "any", target)
    transports = frozenset(known.transports) | ALWAYS_VALID
    if known.store_id is None:
        transports |= {target.partition("://")[0]}  # it does not say which it has, and will refuse the others
    try:
        parse_address(target, transports, "target")
    except InvalidRequestError as error:
        raise ValueError(error.message) from error
    return target
