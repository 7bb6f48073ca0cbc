"""The official TypeScript SDK 0.11.5, unmodified, against our server over HTTP poll."""

from __future__ import annotations

import pytest

from tests.interop.environments import MissingInterpreterError, node_environment
from tests.interop.sdk_suite import Sdk, SdkSuite
from tests.support.brokers import missing


@pytest.fixture(scope="module")
def sdk() -> Sdk:
    try:
        environment = node_environment()
    except MissingInterpreterError as error:
        missing(str(error))
    return Sdk(
        program=("node", "--import", "./polyfill.mjs"),
        folder=environment,
        suffix=".mjs",
        child_of="{parent}:{n}",
        first_child=0,
        timed_out="Promise timedout",
    )


class TestTypeScriptSdk(SdkSuite):
    """Every test of the suite."""
