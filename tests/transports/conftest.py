"""Collects the results of the conformance suite and prints them as a table; a skipped case fails a CI run."""

from __future__ import annotations

from typing import Any

import pytest

from resonate_mq.testing.transports import matrix_lines
from tests.support.brokers import in_ci

_results: dict[tuple[str, str], str] = {}


def _key(report: pytest.TestReport) -> tuple[str, str] | None:
    properties = dict(report.user_properties)
    if "case" in properties and "transport" in properties:
        return str(properties["transport"]), str(properties["case"])
    return None


@pytest.fixture(autouse=True)
def _matrix(request: pytest.FixtureRequest, record_property: Any) -> None:
    """Note which cell of the table a conformance test fills."""
    transport = getattr(request.module, "TRANSPORT", None)
    callspec = getattr(request.node, "callspec", None)
    if transport is not None and callspec is not None and "case" in callspec.params:
        record_property("transport", transport)
        record_property("case", callspec.params["case"].name)


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    key = _key(report)
    if key is not None and (report.when == "call" or report.outcome != "passed"):
        _results[key] = report.outcome


def pytest_terminal_summary(terminalreporter: Any) -> None:
    if _results:
        terminalreporter.section("transports: case x transport")
        for line in matrix_lines(_results):
            terminalreporter.write_line(line)


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    if in_ci() and exitstatus == 0 and "skipped" in _results.values():
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
