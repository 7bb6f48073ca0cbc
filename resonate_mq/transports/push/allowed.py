"""Where a push may go (D28): nowhere, unless an operator lists the hosts. Pure but for what the resolver answers."""

from collections.abc import Iterable
from ipaddress import IPv6Address, ip_address
from urllib.parse import urlsplit

from resonate_mq.transports.masking import mask_secrets
from resonate_mq.transports.port import TransportConfigError


class AllowedHosts:
    """A list of hosts.

    Args:
        hosts: `host`, `host:port`, or `*.domain` for every host below a domain; IPv6 in brackets. Without a port any
            port is meant.

    Raises:
        TransportConfigError: an entry is none of these.
    """

    def __init__(self, hosts: Iterable[str]) -> None:
        self._entries = {_entry(host) for host in hosts}
        self.shown = ", ".join(sorted(_show(entry) for entry in self._entries)) or "none"

    def refusal(self, url: str) -> str:
        """Return why nothing is sent to `url`, "" when it is allowed."""
        try:
            parts = urlsplit(url)
            host, port = (parts.hostname or "").rstrip("."), parts.port
        except ValueError as error:
            return f"{mask_secrets(url)!r} is no URL: {error}"
        if port is None:
            port = 443 if parts.scheme == "https" else 80
        if not host or not self._lists(host, port):
            return f"host '{host}:{port}' is not allowed for HTTP push; allowed: {self.shown}"
        return address_refusal(host) if _is_address(host) else ""

    def _lists(self, host: str, port: int) -> bool:
        if {(host, None), (host, port)} & self._entries:
            return True
        labels = host.split(".")
        domains = (".".join(["*", *labels[start:]]) for start in range(1, len(labels)))
        return not _is_address(host) and any({(name, None), (name, port)} & self._entries for name in domains)


def address_refusal(address: str) -> str:
    """Return why nothing is sent to this IP address, "" when it may: link-local ones serve cloud credentials."""
    parsed = ip_address(address.partition("%")[0])
    if isinstance(parsed, IPv6Address) and parsed.ipv4_mapped is not None:
        parsed = parsed.ipv4_mapped
    if parsed.is_link_local or parsed.is_multicast or parsed.is_unspecified:
        return f"address {address} is link-local, multicast or unspecified: nothing is pushed there"
    return ""


def _is_address(host: str) -> bool:
    try:
        ip_address(host.partition("%")[0])
    except ValueError:
        return False
    return True


def _entry(text: str) -> tuple[str, int | None]:
    try:
        parts = urlsplit(f"//{text}")
        host, port = parts.hostname or "", parts.port
    except ValueError as error:
        raise TransportConfigError(f"HTTP push host {text!r}: {error}") from None
    if not host or parts.path or parts.query or parts.fragment or parts.username is not None:
        raise TransportConfigError(f"HTTP push host {text!r}: expected HOST, HOST:PORT or *.DOMAIN")
    if "*" in host and (not host.startswith("*.") or "*" in host[2:] or not host[2:]):
        raise TransportConfigError(f"HTTP push host {text!r}: a star stands only as *.DOMAIN")
    return host, port


def _show(entry: tuple[str, int | None]) -> str:
    host, port = entry
    return host if port is None else f"{host}:{port}"
