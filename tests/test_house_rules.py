"""Rules of the house that no linter knows: they keep the suite honest and a checkout reproducible."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.processes import ROOT

FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
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


def decorators(function: ast.FunctionDef | ast.AsyncFunctionDef) -> str:
    return " ".join(map(ast.unparse, function.decorator_list))


def sleeps_of_tests(path: Path) -> Iterator[int]:
    """The lines on which a test or fixture itself sleeps; functions it defines to be run by others may."""
    for function in ast.parse(path.read_text()).body:
        if isinstance(function, FUNCTIONS) and (function.name.startswith("test_") or "fixture" in decorators(function)):
            waiting: list[ast.AST] = list(function.body)
            while waiting:
                node = waiting.pop()
                if isinstance(node, FUNCTIONS):
                    continue
                if isinstance(node, ast.Call) and ast.unparse(node) == "asyncio.sleep(0)":
                    continue  # lets others run and waits for nothing
                if isinstance(node, ast.Call) and ast.unparse(node.func) in {"asyncio.sleep", "time.sleep"}:
                    yield node.lineno
                waiting.extend(ast.iter_child_nodes(node))


def test_tests_wait_for_conditions_and_never_sleep() -> None:
    sleeps = [
        f"{path.relative_to(ROOT)}:{line}"
        for path in python_files("tests")
        if path.name.startswith("test_") or path.name == "conftest.py"
        for line in sleeps_of_tests(path)
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
