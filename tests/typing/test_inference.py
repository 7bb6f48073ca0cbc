"""`foo.run("id", 1)` has the type of the function's result, whatever kind of function it is.

The program below is never executed: mypy reads it, and what it reveals is compared.
"""

import re
import subprocess
import sys
from pathlib import Path

PROGRAM = """
from collections.abc import Generator
from typing import Any
from resonate_mq import Context, Handle, Resonate

resonate = Resonate.local()

@resonate.register
def plain(ctx: Context, n: int) -> str:
    return str(n)

@resonate.register
def generator(ctx: Context, n: int) -> Generator[Any, Any, str]:
    value: str = yield ctx.run(plain, n)
    return value

@resonate.register(name="awaiting")
async def awaiting(ctx: Context, n: int) -> str:
    reveal_type(await ctx.run(plain, n))
    reveal_type(await ctx.rpc(generator, n))
    return "x"

reveal_type(plain.run("id", 1))
reveal_type(generator.run("id", n=1))
reveal_type(awaiting.rpc("id", 1))
reveal_type(generator.begin_run("id", 1).result())
reveal_type(awaiting.options(timeout=5).begin_rpc("id", 1))
reveal_type(resonate.run("id", generator, 1))
reveal_type(resonate.begin_rpc("id", "name", 1))
reveal_type(resonate.promises.get("id").state)

async def main() -> None:
    reveal_type(await generator.aio.run("id", 1))
    reveal_type(await awaiting.begin_rpc("id", 1))
    reveal_type((await resonate.aio.promises.resolve("id", data="1")).value.data)

plain.run("id", "one")
generator.run("id")
awaiting.run("id", 1, 2)
"""

REVEALED = [
    "str",
    "str",
    "str",
    "str",
    "str",
    "str",
    "Handle[str]",
    "str",
    "Handle[Any]",
    "str",
    "str",
    "str",
    "str | None",
]


def test_results_are_inferred_and_wrong_arguments_are_found(tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(PROGRAM)
    checked = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "--no-error-summary", str(program)],
        capture_output=True,
        text=True,
        timeout=110,
        cwd=Path(__file__).parents[2],
        check=False,
    )
    output = checked.stdout.replace("builtins.", "").replace("resonate_mq.client.handle.", "")
    assert re.findall(r'Revealed type is "(.*)"', output) == REVEALED, output
    errors = [line for line in output.splitlines() if "program.py:" in line and " error: " in line]
    assert len(errors) == 3, output
    assert [code for line in errors for code in re.findall(r"\[([a-z-]+)\]$", line)] == [
        "arg-type",
        "call-arg",
        "call-arg",
    ], output
