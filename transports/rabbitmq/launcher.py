"""Runs a RabbitMQ of our own: `python transports/rabbitmq/launcher.py start | stop | status | url [NAME]`.

Owns the choice between Docker and the Debian packages. `RESONATE_MQ_BROKERS=docker|native` decides instead
of the probe. `start` leaves the node running (data in .local/rabbitmq/NAME); tests import `new_node`.
"""

from __future__ import annotations

import argparse
import os
import sys
from functools import cache
from pathlib import Path

if __package__ in {None, ""}:  # run as a script: make the repository importable
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from transports.rabbitmq.compose import ComposeNode, engine_answers
from transports.rabbitmq.native import INSTALL_HINT, NativeNode, install, installed, reap_abandoned
from transports.rabbitmq.node import ROOT, BrokerUnavailableError, RabbitNode, safe_name

__all__ = ["BrokerUnavailableError", "RabbitNode", "new_node"]

FOLDER = ROOT / ".local" / "rabbitmq"


def new_node(name: str, folder: Path | None = None, *, may_install: bool = False) -> RabbitNode:
    """A node that is not running yet. ``folder`` is where a native node keeps everything it writes.

    ``may_install`` allows installing Debian's package when root. Raises BrokerUnavailableError naming what
    is missing.
    """
    if backend() == "docker":
        return ComposeNode(name)
    if may_install:
        install()
    if not installed():
        raise BrokerUnavailableError(INSTALL_HINT)
    return NativeNode(name, folder or FOLDER / safe_name(name))


@cache
def backend() -> str:
    """``docker`` or ``native``: where brokers of this machine are run."""
    asked = os.environ.get("RESONATE_MQ_BROKERS", "")
    if asked in {"docker", "native"}:
        return asked
    return "docker" if engine_answers() else "native"


def _start(name: str) -> str:
    reap_abandoned(FOLDER)
    node = new_node(name, may_install=True)
    if isinstance(node, NativeNode):
        node.folder.mkdir(parents=True, exist_ok=True)
        (node.folder / "keep").touch()  # it outlives this process on purpose
    node.start()
    return node.url


def main(argv: list[str] | None = None) -> int:
    """The command line; prints the URL or what happened. Exit code 1: not running, or it cannot be."""
    parser = argparse.ArgumentParser(description="A RabbitMQ of resonate-mq's own, on its own port.")
    parser.add_argument("action", choices=["start", "stop", "status", "url"])
    parser.add_argument("name", nargs="?", default="dev", help="which node (default: dev)")
    parser.add_argument("--purge", action="store_true", help="with stop: delete its data as well")
    options = parser.parse_args(argv)
    try:
        if options.action == "start":
            print(_start(options.name))
            return 0
        node = new_node(options.name)
        if options.action == "stop":
            node.stop(keep_data=not options.purge)
            print(f"RabbitMQ {node.name} is stopped")
            return 0
        running = node.running()
        known = node.url if running else f"RabbitMQ {node.name} is not running"
        print(f"running at {node.url}" if running and options.action == "status" else known)
        return 0 if running else 1
    except BrokerUnavailableError as error:
        print(f"rabbitmq: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
