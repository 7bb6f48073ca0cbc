"""Ends what the tests of executions start."""

from collections.abc import Iterator

import pytest

from tests.support.machine_session import end_worlds


@pytest.fixture(autouse=True)
def _worlds_end() -> Iterator[None]:
    yield
    end_worlds()
