"""The official Python SDK 0.7.4, unmodified, against our server over HTTP poll."""

from __future__ import annotations

import pytest

from tests.interop.environments import PROGRAMS, MissingInterpreterError, python_environment
from tests.interop.sdk_suite import Sdk, SdkSuite
from tests.support.brokers import missing


@pytest.fixture(scope="module")
def sdk() -> Sdk:
    try:
        environment = python_environment()
    except MissingInterpreterError as error:
        missing(str(error))
    return Sdk(
        program=(str(environment / "bin" / "python"),),
        folder=PROGRAMS / "python",
        suffix=".py",
        child_of="{parent}.{n}",
        first_child=1,
        timed_out="ResonateTimeoutError",
    )


class TestPythonSdk(SdkSuite):
    """Every test of the suite."""
