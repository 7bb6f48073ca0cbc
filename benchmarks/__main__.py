"""`python -m benchmarks [--seconds N] [--amqp URL] [--json FILE]`: the table of the README, targets beside figures."""

import argparse
import asyncio
import contextlib
import json
import platform
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from benchmarks import bare, kernel
from benchmarks.figures import Measured
from benchmarks.load import call_in_turns
from benchmarks.stack import cpu_seconds, rss_bytes, running_stack
from transports.rabbitmq.launcher import BrokerUnavailableError, new_node


@dataclass(frozen=True)
class Row:
    """One line of the table.

    Attributes:
        work: what was done.
        figure: what was measured, for people.
        target: what it is held against.
        ratio: to the bare reference of the same run, for people.
        numbers: everything measured, for machines.
    """

    work: str
    figure: str
    target: str
    ratio: str
    numbers: dict[str, float]


def main() -> None:
    """Run all, print the table, write JSON."""
    options = _options()
    rows = [*_alone(options.seconds)]
    rows += _over(None, options.seconds, asyncio.run(bare.http_echo(options.seconds / 3, 1)))
    with _broker(options.amqp) as url:
        if url is not None:
            rows += _over(url, options.seconds, asyncio.run(bare.amqp_round_trip(url, options.seconds / 3)))
    rows += _idle()
    _print(rows)
    if options.json:
        text = json.dumps({"python": platform.python_version(), "rows": [asdict(row) for row in rows]}, indent=2)
        Path(options.json).write_text(text + "\n")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks")
    parser.add_argument("--seconds", type=float, default=10, help="length of each measurement")
    parser.add_argument("--amqp", help="URL of a RabbitMQ; without it one is started for the run")
    parser.add_argument("--json", help="file to write the figures to")
    return parser.parse_args()


@contextlib.contextmanager
def _broker(url: str | None) -> Iterator[str | None]:
    """Give the RabbitMQ to measure: the named one, else one of our own, else None with a word on why."""
    if url is not None:
        yield url
        return
    node = new_node("bench", may_install=True)
    try:
        node.start()
    except BrokerUnavailableError as error:
        print(f"the RabbitMQ rows are left out: {error}")
        yield None
        return
    try:
        yield node.url
    finally:
        node.stop()


def _alone(seconds: float) -> list[Row]:
    single = bare.sqlite_commits(seconds / 3)
    group = asyncio.run(kernel.creates(seconds, 256))
    return [
        Row("bare SQLite FULL, one commit a row", f"{single.per_s:,.0f}/s", "-", "1", asdict(single)),
        Row(
            "kernel, 256 concurrent promise.create, SQLite FULL",
            f"{group.per_s:,.0f}/s, p99 {group.p99_ms:.1f} ms",
            ">= 12,000/s",
            f"{group.per_s / single.per_s:.1f}x single commits",
            asdict(group),
        ),
    ]


def _over(transport: str | None, seconds: float, reference: Measured) -> list[Row]:
    name = "HTTP poll" if transport is None else "RabbitMQ quorum"
    bare_name = "bare HTTP POST" if transport is None else "bare publish+consume"
    idle_target, rate_target = ("p50 <= 3 ms", ">= 2,500/s") if transport is None else ("p50 <= 5 ms", ">= 2,000/s")
    rows = [Row(f"{bare_name}, one at a time", f"p50 {reference.p50_ms:.2f} ms", "-", "1", asdict(reference))]
    with running_stack(transport) as stack:
        asyncio.run(call_in_turns(stack, "noop", 20, 4))
        for work, function, concurrency, target in (
            (f"rpc no-op, {name}, one at a time", "noop", 1, idle_target),
            (f"rpc no-op, {name}, 200 concurrent", "noop", 200, f"{rate_target}, p99 <= 150 ms"),
            (f"10-step workflow, {name}, 50 concurrent", "ten_steps", 50, ">= 4,000 steps/s"),
        ):
            got = asyncio.run(call_in_turns(stack, function, concurrency, seconds))
            steps = f", {got.per_s * 10:,.0f} steps/s" if function == "ten_steps" else ""
            figure = f"p50 {got.p50_ms:.2f} ms, p99 {got.p99_ms:.1f} ms, {got.per_s:,.0f}/s{steps}"
            ratio = f"{got.p50_ms / reference.p50_ms:.1f}x bare p50" if concurrency == 1 else "-"
            rows.append(Row(work, figure, target, ratio, asdict(got)))
    return rows


def _idle() -> list[Row]:
    with running_stack(None) as stack:
        asyncio.run(call_in_turns(stack, "noop", 20, 4))
        time.sleep(2)
        before, began = [cpu_seconds(pid) for pid in (stack.server_pid, stack.worker_pid)], time.perf_counter()
        time.sleep(10)
        elapsed = time.perf_counter() - began
        after = [cpu_seconds(pid) for pid in (stack.server_pid, stack.worker_pid)]
        share = sum(after) - sum(before)
        memory = [rss_bytes(pid) / 1e6 for pid in (stack.server_pid, stack.worker_pid)]
    imports = []
    for _ in range(5):
        began = time.perf_counter()
        subprocess.run([sys.executable, "-c", "pass"], check=True)
        empty = time.perf_counter() - began
        began = time.perf_counter()
        subprocess.run([sys.executable, "-c", "from resonate_mq import Context, Resonate"], check=True)
        imports.append(time.perf_counter() - began - empty)
    cpu = 100 * share / elapsed
    took = sorted(imports)[2]
    return [
        Row("idle CPU, server + worker", f"{cpu:.2f} %", "< 1 %", "-", {"percent": cpu}),
        Row("memory after some work", f"server {memory[0]:.0f} MB, worker {memory[1]:.0f} MB", "< 120 MB each", "-",
            {"server_mb": memory[0], "worker_mb": memory[1]}),
        Row("from resonate_mq import Context, Resonate", f"{took:.2f} s", "< 0.3 s", "-", {"seconds": took}),
    ]  # fmt: skip


def _print(rows: list[Row]) -> None:
    print(f"\n{'work':<52} {'measured':<58} {'target':<30} ratio")
    for row in rows:
        print(f"{row.work:<52} {row.figure:<58} {row.target:<30} {row.ratio}")


if __name__ == "__main__":
    main()
