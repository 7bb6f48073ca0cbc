"""`make test`: start what the tests need, run pytest, stop what was started. Arguments go to pytest.

Without arguments there is a second pass: the suites in which the SDK meets a server run once more, against servers
with every protocol extension switched off (tests/support/extensions.py).

Owns the shared broker of the run and the environments of the official SDKs. A missing one fails the run in CI
(a non-empty `CI`) and is only reported on a laptop, where the tests that need it skip with the reason.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from types import FrameType

from tests.interop.environments import MissingInterpreterError, node_environment, python_environment
from tests.support.brokers import ENV_AMQP, in_ci
from tests.support.extensions import ENV_EXTENSIONS
from tests.support.processes import ROOT
from transports.rabbitmq.launcher import FOLDER, BrokerUnavailableError, RabbitNode, new_node
from transports.rabbitmq.native import reap_abandoned

SECOND_PASS = tuple(
    f"tests/{name}"
    for name in ("api_channel", "cli", "client", "crash", "docs", "execution", "extensions", "seeds", "worker")
)
"""Suites that run with extensions and without; tests/extensions checks that both are the same tests."""

LEFT_OUT = {
    "brokers": "starts and stops brokers; no server takes part",
    "functions": "values, errors and options in memory; no server takes part",
    "interop": "the official SDKs use no extension: the first pass is already what the second would be",
    "machine": "names the extensions of every request itself, 400s included",
    "protocol": "names the extensions of every request itself, 400s included",
    "server": "writes its envelopes itself and names the extensions it means, 400s included",
    "stores": "loads and saves records; no request takes part",
    "traces": "replays what official clients and servers said, which holds no extension",
    "transports": "messages from server to worker, which no extension changes",
    "typing": "what mypy says about the SDK",
    "wiring": "from URLs and names to adapters; no server takes part",
}
"""Suites of one pass, and why a second would show nothing."""


def say(text: str) -> None:
    print(f"test: {text}", flush=True)


def start_broker() -> RabbitNode | None:
    """The RabbitMQ shared by the run, or None when the machine has none and this is no CI."""
    started = time.monotonic()
    reap_abandoned(FOLDER)
    try:
        node = new_node(f"tests-{os.getpid()}", may_install=True)
        node.start()
    except BrokerUnavailableError as error:
        if in_ci():
            raise SystemExit(f"test: {error}") from error
        say(f"no RabbitMQ, its tests will be skipped: {error}")
        return None
    say(f"RabbitMQ of our own at {node.url} ({time.monotonic() - started:.1f} s)")
    return node


def prepare_interop() -> None:
    """Make the environments of the official SDKs where their interpreters are present."""
    for name, prepare in (("Python", python_environment), ("TypeScript", node_environment)):
        started = time.monotonic()
        try:
            where = prepare()
        except MissingInterpreterError as error:
            if in_ci():
                raise SystemExit(f"test: {error}") from error
            say(f"the official {name} SDK will not be tested: {error}")
        else:
            say(f"official {name} SDK in {where.relative_to(ROOT)} ({time.monotonic() - started:.1f} s)")


def run_passes(arguments: list[str]) -> int:
    """Run what was asked for, or everything and the second pass; return the exit code of the first that failed."""
    say("pytest")
    code = run_pytest(arguments)
    if arguments or code in (2, 130, -signal.SIGINT):  # 2 is how pytest says that it was interrupted
        return code
    started = time.monotonic()
    say("pytest once more, against servers without protocol extensions")
    second = run_pytest([*SECOND_PASS], {ENV_EXTENSIONS: "none"})
    say(f"the second pass took {time.monotonic() - started:.0f} s")
    return code or second


def run_pytest(arguments: list[str], environment: Mapping[str, str] | None = None) -> int:
    """Run pytest as a child and return its exit code; ctrl-C and SIGTERM end it in good order."""
    argv = [sys.executable, "-m", "pytest", *arguments]
    child = subprocess.Popen(argv, cwd=ROOT, env={**os.environ, **(environment or {})})

    def pass_on(number: int, _frame: FrameType | None) -> None:
        if number != signal.SIGINT:  # a terminal sends ctrl-C to the child as well
            child.send_signal(signal.SIGINT)

    before = {number: signal.signal(number, pass_on) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    try:
        return child.wait()
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def main(arguments: list[str]) -> int:
    started = time.monotonic()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    node: RabbitNode | None = None
    try:
        if not os.environ.get(ENV_AMQP):
            node = start_broker()
        if node is not None:
            os.environ[ENV_AMQP] = node.url
        prepare_interop()
        code = run_passes(arguments)
    except KeyboardInterrupt:
        code = 130
    finally:
        if node is not None:
            node.stop()
            say("RabbitMQ is stopped")
    say(f"finished with exit code {code} in {time.monotonic() - started:.0f} s")
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
