"""The checks of `resonate-mq doctor`. Each looks at one thing and returns findings; none changes anything.

A finding is "failed" when something cannot work, "warning" when it works less well or nobody can tell.
"""

import asyncio
import importlib.util
import sqlite3
import sys
import time
from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Literal, NamedTuple

from resonate_mq.cli.connection import Session, open_session
from resonate_mq.cli.output import CliError
from resonate_mq.cli.settings import masked
from resonate_mq.protocol.addresses import ALWAYS_VALID, parse_address
from resonate_mq.protocol.errors import InvalidRequestError
from resonate_mq.protocol.requests import PromiseGet, ServerInfo, TaskSearch, WorkerSearch
from resonate_mq.transports.port import TransportError
from resonate_mq.wiring import ConfigError, make_transport, sqlite_path

PACKAGES = ("orjson", "pydantic", "aiohttp", "starlette", "uvicorn", "typer")
OPTIONAL = {"aio_pika": ("aio-pika", "RabbitMQ", "amqp"), "uvloop": ("uvloop", "a faster event loop", "")}
CONNECT_S = 5.0
CLOCK_TOLERANCE_MS = 1000
LOOK_EVERY_S = 0.05


class Finding(NamedTuple):
    """One result: what was looked at, what was found, what to do about it ("" for nothing)."""

    state: Literal["ok", "warning", "failed"]
    subject: str
    found: str
    advice: str = ""


async def examine(
    server: str, token: str | None, store: str | None, transports: Mapping[str, str], addresses: Sequence[str]
) -> list[Finding]:
    """Run all checks; those that need the server say so when it does not answer."""
    findings = [*_python(), *_packages()]
    if store is not None:
        findings += _store(store)
    findings += await _transports(transports)
    known = frozenset(transports)
    async with open_session(server, token) as session:
        found, names = await _server(session)
        findings += found
    findings += [_address(one, known | names) for one in addresses]
    return findings


def _python() -> list[Finding]:
    return [Finding("ok", "python", f"{sys.version.split()[0]} in {sys.prefix}")]


def _packages() -> list[Finding]:
    findings, present = [], []
    for name in PACKAGES:
        try:
            present.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            findings.append(Finding("failed", "package", f"{name} is missing", "pip install resonate-mq installs it"))
    findings.append(Finding("ok", "packages", ", ".join(present)))
    for module, (name, use, extra) in OPTIONAL.items():
        if importlib.util.find_spec(module) is not None:
            findings.append(Finding("ok", "packages", f"{name} {version(name)} ({use})"))
        else:
            wanted = f"resonate-mq[{extra}]" if extra else name
            findings.append(
                Finding("warning", "packages", f"{name} is not installed", f"for {use}: pip install '{wanted}'")
            )
    return findings


def _store(url: str) -> list[Finding]:
    subject = f"store {masked(url)}"
    if url.startswith("memory:"):
        return [Finding("warning", subject, "keeps nothing when the server stops", "use sqlite:///FILE to keep it")]
    try:
        path = Path(sqlite_path(url))
    except ConfigError as error:
        return [Finding("failed", subject, str(error), "memory:// and sqlite:///FILE are known")]
    if not path.exists():
        folder = path.resolve().parent
        if not folder.is_dir():
            return [Finding("failed", subject, f"the folder {folder} does not exist", f"mkdir -p {folder}")]
        return [Finding("ok", subject, f"no file yet; the server makes it in {folder}")]
    try:
        # read-only and without the server's lock: a running server must not notice
        with sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True, timeout=2) as database:
            verdict = str(database.execute("PRAGMA quick_check(1)").fetchone()[0])
            mode = str(database.execute("PRAGMA journal_mode").fetchone()[0])
            database.rollback()
    except sqlite3.Error as error:
        return [
            Finding(
                "failed", subject, f"{path} cannot be read: {error}", "check its owner and rights, or restore a backup"
            )
        ]
    if verdict != "ok":
        return [Finding("failed", subject, f"damaged: {verdict}", "stop the server and restore a backup")]
    size_mb = path.stat().st_size / 1e6
    return [Finding("ok", subject, f"readable and sound, {size_mb:.1f} MB, journal {mode}")]


async def _transports(urls: Mapping[str, str]) -> list[Finding]:
    return [await _transport(name, url) for name, url in urls.items()]


async def _transport(name: str, url: str) -> Finding:
    """Connect as a server does and see whether it gets there."""
    subject = f"transport {name}={masked(url)}"
    try:
        transport = make_transport(name, url)
    except (ConfigError, TransportError) as error:
        return Finding("failed", subject, str(error), "correct the URL, or install the extra it names")
    deadline = time.monotonic() + CONNECT_S
    async with transport.open():
        while True:
            healthy, reason = transport.healthy()
            if healthy:
                return Finding("ok", subject, "connected")
            if time.monotonic() > deadline:
                advice = "is the broker running, and are host, port, user, password and virtual host right?"
                return Finding("failed", subject, reason or "no connection", advice)
            await asyncio.sleep(LOOK_EVERY_S)


async def _server(session: Session) -> tuple[list[Finding], frozenset[str]]:
    subject = f"server {session.url}"
    try:
        facts = await session.requester.facts(deadline_s=3.0)
        await _must_accept(session)
    except TransportError as error:
        found = Finding("failed", subject, str(error), "start one with `resonate-mq dev`, or name it with --server")
        return [found], frozenset()
    except CliError as error:
        return [Finding("failed", subject, str(error))], frozenset()
    if facts.store_id is None:
        text = "answers, and announces no extensions: not one of ours, or all switched off"
        return [Finding("ok", subject, text), *await _ready(session)], frozenset(facts.transports)
    findings = [
        Finding("ok", subject, f"{facts.name!r}, version {facts.version}, store {facts.store_id}"),
        Finding("ok", subject, f"transports {', '.join(facts.transports)}; default {facts.default_transport}"),
    ]
    findings += await _ready(session)
    findings += await _clock(session)
    findings += await _workers(session, facts.capabilities)
    return findings, frozenset(facts.transports)


async def _must_accept(session: Session) -> None:
    """Ask something ordinary: a wrong token shows here."""
    reply = await session.requester.call(PromiseGet("resonate-mq-doctor"), deadline_s=3.0)
    if reply.status not in (200, 404):
        await session.ask(PromiseGet("resonate-mq-doctor"))


async def _ready(session: Session) -> list[Finding]:
    import aiohttp

    try:
        timeout = aiohttp.ClientTimeout(total=5)
        async with aiohttp.ClientSession(timeout=timeout) as http, http.get(f"{session.url}/ready") as answer:
            text = (await answer.text())[:300]
            if answer.status == 200:
                return [Finding("ok", "readiness", "ready")]
            return [Finding("failed", "readiness", text.strip(), "the server works again by itself once that is over")]
    except (aiohttp.ClientError, TimeoutError) as error:
        return [Finding("warning", "readiness", f"/ready does not answer: {error}")]


async def _clock(session: Session) -> list[Finding]:
    """Compare this machine's clock with the server's, which answers what time it is."""
    before_ms = time.time() * 1000
    theirs_ms = (await session.ask(ServerInfo())).get("now")
    if theirs_ms is None:
        return [Finding("warning", "clock", "the server does not say what time it is, so it cannot be compared")]
    off_ms = (before_ms + time.time() * 1000) / 2 - theirs_ms
    if abs(off_ms) <= CLOCK_TOLERANCE_MS:
        return [Finding("ok", "clock", "agrees with the server's")]
    return [
        Finding(
            "warning",
            "clock",
            f"{off_ms / 1000:+.1f} s from the server's",
            "timeouts are computed here and judged there: run NTP on both machines",
        )
    ]


async def _workers(session: Session, capabilities: frozenset[str]) -> list[Finding]:
    if "worker.hello" not in capabilities:
        return []
    workers: list[dict[str, Any]] = (await session.ask(WorkerSearch()))["workers"]
    halted, _ = await session.pages(TaskSearch("halted"), "tasks", every=False)
    pending, _ = await session.pages(TaskSearch("pending"), "tasks", every=False)
    findings = []
    if workers:
        groups = sorted({str(one["group"]) for one in workers if one.get("group")})
        findings.append(Finding("ok", "workers", f"{len(workers)} processes of groups {', '.join(groups) or '?'}"))
    elif pending:
        findings.append(
            Finding(
                "failed", "workers", f"none, and {len(pending)} tasks wait", "start one: resonate-mq worker MODULE:NAME"
            )
        )
    else:
        findings.append(Finding("warning", "workers", "none", "start one: resonate-mq worker MODULE:NAME"))
    if halted:
        ids = ", ".join(one["id"] for one in halted[:5])
        findings.append(
            Finding(
                "warning", "tasks", f"halted: {ids}", "see why with `tasks get ID`, resume with `tasks continue ID`"
            )
        )
    return findings


def _address(text: str, names: frozenset[str]) -> Finding:
    if "://" not in text:
        return Finding("ok", f"address {text}", "a worker group, reached over the server's default transport")
    try:
        address = parse_address(text, names | ALWAYS_VALID)
    except InvalidRequestError as error:
        return Finding("failed", f"address {text}", error.message, "write for example poll://any@GROUP")
    what = {"any": "one member of the group", "uni": "one process"}.get(address.cast, "a raw destination")
    return Finding("ok", f"address {text}", f"{what}: {address.group}{'/' + address.pid if address.pid else ''}")
