"""The second pass of `make test` runs the same tests as the first: none is left out where extensions are off."""

from __future__ import annotations

import os
import subprocess
import sys

from scripts.run_tests import LEFT_OUT, SECOND_PASS
from tests.support.extensions import ENV_DISABLED, ENV_EXTENSIONS
from tests.support.processes import ROOT


def collecting(extensions: str) -> subprocess.Popen[str]:
    """A process that prints the ids of all tests of the second pass."""
    argv = [sys.executable, "-m", "pytest", "--collect-only", "-p", "no:cacheprovider", *SECOND_PASS]
    argv += ["-o", "addopts=", "--import-mode=importlib", "-q"]  # `-q` once: ids, not counts
    environment = {name: value for name, value in os.environ.items() if name != ENV_DISABLED}
    environment[ENV_EXTENSIONS] = extensions
    return subprocess.Popen(argv, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True)


def test_the_same_tests_are_collected_with_and_without_extensions() -> None:
    found = []
    for process in [collecting("all"), collecting("none")]:
        text, _ = process.communicate(timeout=100)
        assert process.returncode == 0, text
        found.append([line for line in text.splitlines() if "::" in line])
    assert len(found[0]) > 500
    assert found[0] == found[1]


def test_every_suite_is_in_the_second_pass_or_said_why_not() -> None:
    suites = {path.name for path in (ROOT / "tests").iterdir() if any(path.glob("test_*.py"))}
    assert {path.removeprefix("tests/") for path in SECOND_PASS} | LEFT_OUT.keys() == suites
    assert not {path.removeprefix("tests/") for path in SECOND_PASS} & LEFT_OUT.keys()
