"""What a RabbitMQ of our own is: the small port that the launcher, `make test` and the fault tests drive.

Owns the contract, the choice of ports and the check that AMQP is really spoken. Must not know how a node is
run.
"""

from __future__ import annotations

import random
import re
import socket
import struct
import time
from abc import ABC, abstractmethod
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
"""The folder of the repository."""

START_TIMEOUT_S = 120.0
"""A cold Erlang VM needs seconds on two busy cores; a minute is a slow machine, not a broken one."""


class BrokerUnavailableError(Exception):
    """Raised when no RabbitMQ can be run here; says what to install, or where the log is."""


class RabbitNode(ABC):
    """One RabbitMQ that is ours alone: own name, port and data. All methods block.

    `start` after `kill` or `halt` keeps port and data, so clients reconnect to what they knew.
    """

    name: str
    port: int

    @property
    def url(self) -> str:
        """Where clients connect: ``amqp://guest:guest@127.0.0.1:<port>/``."""
        return f"amqp://guest:guest@127.0.0.1:{self.port}/"

    @abstractmethod
    def start(self) -> None:
        """Run it and return when an AMQP connection has been opened; does nothing when it already runs."""

    @abstractmethod
    def halt(self) -> None:
        """End it in good order and keep its data."""

    @abstractmethod
    def stop(self, *, keep_data: bool = False) -> None:
        """End it and everything started for it; its data goes too unless told otherwise."""

    @abstractmethod
    def kill(self) -> None:
        """SIGKILL, as a power cut would; data stays."""

    @abstractmethod
    def pause(self) -> None:
        """Freeze it (SIGSTOP): connections stay open and nothing answers."""

    @abstractmethod
    def resume(self) -> None:
        """Let a frozen node run on."""

    @abstractmethod
    def running(self) -> bool:
        """Whether its process is there, frozen or not."""

    @abstractmethod
    def ctl(self, *arguments: str) -> str:
        """Run ``rabbitmqctl`` against this node and return what it printed."""

    def restart(self) -> None:
        """End it in good order and run it again on the same port with the same data."""
        self.halt()
        self.start()

    def close_all_connections(self, reason: str = "closed by a test") -> None:
        """Have the broker close every client connection, as an operator would."""
        self.ctl("close_all_connections", reason)

    def __enter__(self) -> RabbitNode:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


def safe_name(name: str) -> str:
    """A node, project and folder name: lower-case letters, digits and dashes."""
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")


def free_port() -> int:
    """A TCP port nobody listens on, below the range the kernel takes outgoing ports from.

    A client that keeps dialling a port *inside* that range may end up connected to itself while the node
    restarts.
    """
    for port in random.sample(range(20000, 32000), 200):
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise BrokerUnavailableError("found no free TCP port between 20000 and 32000 on 127.0.0.1")


def accepts_amqp(port: int, within_s: float = 5.0) -> bool:
    """Whether an AMQP 0-9-1 connection as guest to vhost ``/`` is opened by whoever listens on ``port``.

    Listening is not enough: the listener is up while the node still boots, and refuses connections then.
    """
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=within_s) as wire:
            wire.settimeout(within_s)
            wire.sendall(b"AMQP\x00\x00\x09\x01")
            _expect(wire, 10, 10)
            login = _short(b"PLAIN") + _long(b"\x00guest\x00guest") + _short(b"en_US")
            _send(wire, 10, 11, _long(b"") + login)
            tune = _expect(wire, 10, 30)
            _send(wire, 10, 31, tune[:8])
            _send(wire, 10, 40, _short(b"/") + _short(b"") + b"\x00")
            _expect(wire, 10, 41)
            _send(wire, 10, 50, struct.pack(">H", 200) + _short(b"bye") + struct.pack(">HH", 0, 0))
            _expect(wire, 10, 51)
    except (OSError, ValueError):
        return False
    return True


def wait_until_accepting(node: RabbitNode, log: str, within_s: float = START_TIMEOUT_S) -> None:
    """Return when ``node`` opens AMQP connections; raise naming its log when it ends or takes too long."""
    deadline = time.monotonic() + within_s
    while not accepts_amqp(node.port):
        if not node.running():
            raise BrokerUnavailableError(f"RabbitMQ {node.name} ended while it started; its log: {log}")
        if time.monotonic() > deadline:
            raise BrokerUnavailableError(
                f"RabbitMQ {node.name} opened no AMQP connection on port {node.port} within {within_s:g} s; "
                f"its log: {log}"
            )
        time.sleep(0.1)


def _short(text: bytes) -> bytes:
    return struct.pack(">B", len(text)) + text


def _long(text: bytes) -> bytes:
    return struct.pack(">I", len(text)) + text


def _send(wire: socket.socket, class_id: int, method_id: int, arguments: bytes) -> None:
    payload = struct.pack(">HH", class_id, method_id) + arguments
    wire.sendall(struct.pack(">BHI", 1, 0, len(payload)) + payload + b"\xce")


def _expect(wire: socket.socket, class_id: int, method_id: int) -> bytes:
    """Read one method frame and return its arguments; ValueError when it is another."""
    kind, _channel, size = struct.unpack(">BHI", _read(wire, 7))
    payload = _read(wire, size + 1)[:-1]
    found = struct.unpack(">HH", payload[:4]) if kind == 1 else (kind,)
    if found != (class_id, method_id):
        raise ValueError(f"expected AMQP method {(class_id, method_id)}, got {found}")
    return payload[4:]


def _read(wire: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        chunk = wire.recv(size - len(data))
        if not chunk:
            raise ValueError("the connection was closed during the AMQP handshake")
        data += chunk
    return data
