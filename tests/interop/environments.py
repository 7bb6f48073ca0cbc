"""Environments for the official SDKs, made on demand in .local/interop, made anew when their locks change.

Owns where interpreters are looked for and what is said when one is missing. Nothing here is installed
beside our own package: the official SDKs need newer interpreters and must not see our code.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / ".local" / "interop"
PROGRAMS = Path(__file__).resolve().parent / "programs"
PYTHON_LOCK = ROOT / "requirements" / "interop.txt"
NODE_MAJOR = 20


class MissingInterpreterError(Exception):
    """Raised when this machine lacks an interpreter an official SDK needs; names what to install."""


def python_environment() -> Path:
    """The folder of a virtual environment with resonate-sdk 0.7.4; made when missing or outdated."""
    interpreter = _find_python()
    folder = FOLDER / "python"
    with _up_to_date(folder, PYTHON_LOCK.read_bytes() + interpreter.encode()) as fresh:
        if not fresh:
            shutil.rmtree(folder, ignore_errors=True)
            _run([interpreter, "-m", "venv", str(folder)])
            pip = [str(folder / "bin" / "python"), "-m", "pip", "--quiet", "--disable-pip-version-check"]
            _run([*pip, "install", "--no-input", "--require-hashes", "--requirement", str(PYTHON_LOCK)])
    return folder


def node_environment() -> Path:
    """The folder with @resonatehq/sdk 0.11.5 in node_modules and our programs beside it."""
    _need_node()
    folder = FOLDER / "node"
    source = PROGRAMS / "node"
    locks = [source / "package.json", source / "package-lock.json"]
    with _up_to_date(folder, b"".join(lock.read_bytes() for lock in locks)) as fresh:
        folder.mkdir(parents=True, exist_ok=True)
        if not fresh:
            for lock in locks:
                shutil.copy(lock, folder)
            cache = ["--cache", str(FOLDER / "npm-cache"), "--no-audit", "--no-fund", "--no-update-notifier"]
            _run(["npm", "ci", "--silent", *cache], cwd=folder)
        for program in source.glob("*.mjs"):  # node finds packages from where a program lies
            copy = folder / program.name
            if not copy.exists() or copy.read_bytes() != program.read_bytes():
                shutil.copy(program, copy)
    return folder


def _find_python() -> str:
    for candidate in _python_candidates():
        if _says_yes([candidate, "-c", "import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 12))"]):
            return candidate
    raise MissingInterpreterError(
        "found no Python >= 3.12 with venv (looked for python3, python3.12 to python3.14 on the path and in "
        "pyenv); the official Python SDK needs one. Install it (pyenv install 3.12) or name it in "
        "RESONATE_MQ_PYTHON312"
    )


def _python_candidates() -> Iterator[str]:
    asked = os.environ.get("RESONATE_MQ_PYTHON312")
    if asked:
        yield asked
    # a pyenv's own interpreters before its shims, which depend on the folder they are called from
    roots = [os.environ.get("PYENV_ROOT", ""), str(Path.home() / ".pyenv"), "/root/.pyenv", "/opt/pyenv"]
    for root in filter(None, roots):
        for minor in (12, 13, 14):
            try:
                yield from sorted(map(str, Path(root).glob(f"versions/3.{minor}.*/bin/python3")), reverse=True)
            except PermissionError:
                continue  # somebody else's home
    for name in ("python3.12", "python3.13", "python3.14", "python3"):
        found = shutil.which(name)
        if found:
            yield found


def _need_node() -> None:
    node = shutil.which("node")
    if node and shutil.which("npm"):
        version = subprocess.run([node, "--version"], capture_output=True, text=True, check=False).stdout.strip()
        major = version.removeprefix("v").partition(".")[0]
        if major.isdigit() and int(major) >= NODE_MAJOR:
            return
        raise MissingInterpreterError(f"found Node {version}; the official TypeScript SDK needs Node >= {NODE_MAJOR}")
    raise MissingInterpreterError(
        f"found no `node` with `npm` on the path; the official TypeScript SDK needs Node >= {NODE_MAJOR}"
    )


@contextmanager
def _up_to_date(folder: Path, ingredients: bytes) -> Iterator[bool]:
    """Yield whether ``folder`` was made from ``ingredients``; stamp it when the body has run."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    wanted = hashlib.sha256(ingredients).hexdigest()
    stamp = FOLDER / f"{folder.name}.stamp"
    with (FOLDER / f"{folder.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield folder.exists() and stamp.exists() and stamp.read_text() == wanted
        stamp.write_text(wanted)


def _says_yes(command: list[str]) -> bool:
    try:
        return subprocess.run(command, capture_output=True, timeout=30, check=False).returncode == 0
    except (OSError, subprocess.TimeoutExpired):
        return False


def _run(command: list[str], cwd: Path = ROOT) -> None:
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(command)} ended with {done.returncode}:\n{done.stdout}{done.stderr}")
