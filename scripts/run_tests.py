"""`make test`: start what the tests need, run pytest, stop what was started. Arguments go to pytest.

Owns the shared broker of the run and the environments of the official SDKs. A missing one fails the run in CI
(a non-empty `CI`) and is only reported on a laptop, where the tests that need it skip with the reason.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from types import FrameType

from tests.interop.environments import MissingInterpreterError, node_environment, python_environment
from tests.support.brokers import ENV_AMQP, in_ci
from tests.support.processes import ROOT
from transports.rabbitmq.launcher import FOLDER, BrokerUnavailableError, RabbitNode, new_node
from transports.rabbitmq.native import reap_abandoned


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


def run_pytest(arguments: list[str]) -> int:
    """Run pytest as a child and return its exit code; ctrl-C and SIGTERM end it in good order."""
    child = subprocess.Popen([sys.executable, "-m", "pytest", *arguments], cwd=ROOT)

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
        say("pytest")
        code = run_pytest(arguments)
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
