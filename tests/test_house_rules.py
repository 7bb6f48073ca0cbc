"""Rules of the house that no linter knows: they keep the suite honest and a checkout reproducible."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.processes import ROOT

LOCKS = sorted((ROOT / "requirements").glob("*.txt"))


def python_files(*folders: str) -> Iterator[Path]:
    for folder in folders:
        for path in sorted((ROOT / folder).rglob("*.py")):
            if "programs" not in path.parts:
                yield path


def calls(path: Path) -> Iterator[tuple[int, str]]:
    """Every call in a file: (line, dotted name)."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Call):
            yield node.lineno, ast.unparse(node.func)


def test_tests_wait_for_conditions_and_never_sleep() -> None:
    allowed = ROOT / "tests" / "support" / "eventually.py"
    sleeps = [
        f"{path.relative_to(ROOT)}:{line}"
        for path in python_files("tests")
        if path != allowed
        for line, name in calls(path)
        if name.split(".")[-1] == "sleep" and name.split(".")[0] in {"asyncio", "time", "sleep"}
    ]
    assert sleeps == [], "use tests.support.eventually"


def test_nothing_is_ever_unpickled_or_evaluated() -> None:
    forbidden = {"eval", "exec", "pickle.loads", "pickle.load", "marshal.loads", "__import__", "yaml.load"}
    found = [
        f"{path.relative_to(ROOT)}:{line} {name}"
        for path in python_files("resonate_mq")
        for line, name in calls(path)
        if name in forbidden
    ]
    assert found == []


@pytest.mark.parametrize("lock", LOCKS, ids=lambda path: path.name)
def test_a_lock_pins_every_package_by_hash_and_names_no_index(lock: Path) -> None:
    text = lock.read_text()
    assert "://" not in text
    entries = re.findall(r"^(\S+)==\S+((?:.*\\\n)(?: +--hash=\S+.*\n?)+)?", text, re.MULTILINE)
    assert len(entries) > 5
    assert [name for name, hashes in entries if not hashes] == []


def test_the_node_lock_names_no_registry() -> None:
    lock = (ROOT / "tests" / "interop" / "programs" / "node" / "package-lock.json").read_text()
    assert '"resolved"' not in lock
    assert lock.count('"integrity": "sha512-') >= 5
