"""What an embedder may choose about a server. Validated when made; reads no environment and no file."""

import ipaddress
from dataclasses import dataclass

from resonate_mq.protocol.limits import MAX_BODY_BYTES
from resonate_mq.protocol.parse import EXTENSIONS


class ServerConfigError(Exception):
    """The options contradict each other or are unsafe; the message says what to change."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerOptions:
    """Options of one server.

    Attributes:
        host: address the HTTP API binds to; anything but loopback needs a `token` (D28).
        port: TCP port; 0 lets the system choose, None serves no HTTP at all (local mode).
        url: how workers and push receivers reach this server from outside; default made from host and port.
        name: the server's configured name (D1).
        token: static bearer token every request must carry, None for none (D28).
        extensions: names of the protocol extensions that are on; a request using another one is a 400.
        default_transport: transport a bare group name stands for; default `poll` when served, else the first.
        debug: serve debug.* and honour `resonate:debug_time`.
        max_body_bytes: largest request body of the HTTP API.
        max_header_bytes: largest sum of header names and values.
        max_queue: requests that may wait for the kernel; more are answered 429 (D15).
        max_batch: requests one group commit takes at most.
        request_read_s: seconds a client has for sending one whole request.
        shutdown_s: seconds a graceful stop waits for requests in progress.
    """

    host: str = "127.0.0.1"
    port: int | None = 8001
    url: str | None = None
    name: str = "default"
    token: str | None = None
    extensions: frozenset[str] = EXTENSIONS
    default_transport: str | None = None
    debug: bool = False
    max_body_bytes: int = MAX_BODY_BYTES
    max_header_bytes: int = 64 * 1024
    max_queue: int = 20_000
    max_batch: int = 1_000
    request_read_s: float = 30.0
    shutdown_s: float = 10.0

    def __post_init__(self) -> None:
        unknown = self.extensions - EXTENSIONS
        if unknown:
            raise ServerConfigError(
                f"extensions: unknown {', '.join(sorted(unknown))}; known: {', '.join(sorted(EXTENSIONS))}"
            )
        if self.token == "":
            raise ServerConfigError("token: must not be empty; leave it out for a server without authentication")
        if self.port is not None and self.token is None and not is_loopback(self.host):
            raise ServerConfigError(
                f"host {self.host!r} can be reached from other machines: give the server a token (--token T), "
                "or bind to 127.0.0.1"
            )


def is_loopback(host: str) -> bool:
    """Tell whether only this machine reaches `host`."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
