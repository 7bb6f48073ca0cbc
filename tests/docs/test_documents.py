"""What the documentation says is run, followed and looked up: code blocks, links, file names, messages, commands."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.processes import ROOT
from tests.support.server import ServerProcess

PAGES = sorted(
    [ROOT / "README.md", *(ROOT / "docs").rglob("*.md"), ROOT / "examples/README.md", ROOT / "worker/README.md"]
)
EXAMPLES = sorted((ROOT / "examples").glob("*.py"))
BLOCK = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\(([^)#\s]+)(?:#[^)]*)?\)")
FILE = re.compile(r"`(resonate_mq/[\w/]+(?:\.py|/)?)`")
COMMAND = re.compile(r"resonate-mq ([a-z]+)")
COMMANDS = {
    *("dev", "serve", "worker", "invoke", "promises", "tasks"),
    *("workers", "schedules", "tree", "doctor", "demo"),
}

BLOCKS = [
    pytest.param(block, id=f"{page.relative_to(ROOT)}-{number}")
    for page in PAGES
    for number, block in enumerate(BLOCK.findall(page.read_text()), 1)
]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """The server that blocks with `Resonate.remote()` and plain HTTP talk to."""
    server = ServerProcess(tmp_path_factory.mktemp("server"))
    server.start()
    try:
        yield server
    finally:
        server.stop()


def run_program(arguments: list[str], folder: Path, server: ServerProcess | None = None) -> str:
    """Run a Python program to its good end in a folder of its own; return what it printed."""
    env = {name: value for name, value in os.environ.items() if not name.startswith("RESONATE")}
    if server is not None:
        env["RESONATE_URL"] = server.url
    env["TMPDIR"] = str(folder)
    done = subprocess.run(
        [sys.executable, *arguments], cwd=folder, env=env, capture_output=True, text=True, timeout=90, check=False
    )
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.mark.parametrize("block", BLOCKS)
def test_every_python_block_runs(block: str, tmp_path: Path, server: ServerProcess) -> None:
    program = tmp_path / "block.py"
    program.write_text(block)
    run_program([str(program)], tmp_path, server)


@pytest.mark.parametrize(
    ("example", "last"),
    [
        ("hello.py", "Hello, Ada! (from hello-1)"),
        ("fan_out.py", "25"),
        ("factorial.py", "6"),
        ("approval.py", "99.50: approved"),
        ("saga.py", "no trip to Venice: no car to be had"),
        ("survives_restart.py", "made: floor, walls, roof"),
    ],
)
def test_every_example_does_what_it_says(example: str, last: str, tmp_path: Path) -> None:
    out = run_program([str(ROOT / "examples" / example)], tmp_path)
    assert out.splitlines()[-1] == last


def test_every_example_is_tested_and_listed() -> None:
    listed = (ROOT / "examples/README.md").read_text()
    tested = Path(__file__).read_text()
    for example in EXAMPLES:
        assert f"[{example.name}]({example.name})" in listed
        assert f'("{example.name}", ' in tested


@pytest.mark.parametrize("page", [pytest.param(page, id=str(page.relative_to(ROOT))) for page in PAGES])
def test_links_and_file_names_lead_somewhere(page: Path) -> None:
    text = page.read_text()
    missing = [link for link in LINK.findall(text) if "://" not in link and not (page.parent / link).exists()]
    missing += [name for name in FILE.findall(text) if not (ROOT / name).exists()]
    assert missing == []


@pytest.mark.parametrize("page", [pytest.param(page, id=str(page.relative_to(ROOT))) for page in PAGES])
def test_only_commands_that_exist_are_named(page: Path) -> None:
    assert set(COMMAND.findall(page.read_text())) <= COMMANDS


def test_every_message_that_is_explained_is_one_the_program_can_say() -> None:
    source = " ".join(
        re.sub(r'"\s*\n\s*f?"', "", path.read_text()) for path in sorted((ROOT / "resonate_mq").rglob("*.py"))
    )
    table = (ROOT / "docs/troubleshooting.md").read_text().split("## Symptoms")[0]
    messages = [
        message
        for row in table.splitlines()
        if row.startswith("| `")
        for message in re.findall(r"`([^`]+)`", row.split("|")[1])
    ]
    assert len(messages) > 15
    assert [message for message in messages if message not in source] == []


def test_the_index_lists_every_page() -> None:
    index = (ROOT / "docs/README.md").read_text()
    pages = {page.name for page in (ROOT / "docs").glob("*.md")} - {"README.md"}
    assert {page for page in pages if f"[{page}]({page})" not in index} == set()


def test_the_readme_is_short_and_every_decision_record_fits_a_page() -> None:
    assert len((ROOT / "README.md").read_text().splitlines()) <= 150
    for record in (ROOT / "docs/adr").glob("*.md"):
        text = record.read_text()
        assert len(text.splitlines()) <= 60, record
        for part in ("**Context.**", "**Decision.**", "**Consequences.**", "**Alternatives.**"):
            assert part in text, (record, part)


def test_every_configuration_field_is_documented() -> None:
    from resonate_mq.cli.settings import ServeConfig

    text = (ROOT / "docs/configuration.md").read_text()
    config = ServeConfig.model_construct()
    for section in ("server", "store", "log"):
        assert f"[{section}]" in text
        for field in type(getattr(config, section)).model_fields:
            assert re.search(rf"^{field} = ", text, re.MULTILINE), f"{section}.{field}"
