"""`resonate-mq worker MODULE:NAME`: a process that executes durable functions (D37).

Owns finding the client, what flags change about it, signals and the exit code. Executing is the worker's.
"""

import asyncio
import importlib
import os
import sys
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any

import typer

from resonate_mq.cli.output import CliError, show_json, usage

if TYPE_CHECKING:
    from resonate_mq.client import Resonate
    from resonate_mq.wiring.settings import Settings


def worker(
    app: Annotated[str, typer.Argument(metavar="MODULE:NAME", help="Where the client is, for example app:resonate.")],
    imports: Annotated[
        list[str] | None,
        typer.Option("--import", metavar="MODULE", help="Module that registers more functions. Repeatable."),
    ] = None,
    concurrency: Annotated[int | None, typer.Option(min=1, help="Executions at the same time [32].")] = None,
    processes: Annotated[int, typer.Option(min=1, help="Processes to run, for more cores.")] = 1,
    drain: Annotated[
        float,
        typer.Option(min=0, metavar="SECONDS", help="How long a stop waits for what runs; the rest is given back."),
    ] = 30.0,
    ttl: Annotated[
        float | None,
        typer.Option(min=0.1, metavar="SECONDS", help="After this long a killed process is replaced [10]."),
    ] = None,
    health: Annotated[
        str | None, typer.Option(metavar="HOST:PORT", help="Serve /health, /ready and /metrics here.")
    ] = None,
    url: Annotated[str | None, typer.Option(metavar="URL", help="Server, instead of the client's own.")] = None,
    group: Annotated[str | None, typer.Option(help="Worker group, instead of the client's own.")] = None,
    transport: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=URL", help="Broker to consume from, instead of the client's own. Repeatable."),
    ] = None,
    token: Annotated[str | None, typer.Option(help="Bearer token, instead of the client's own.")] = None,
    log_level: Annotated[str, typer.Option(help="debug, info, warning or error.")] = "info",
    json_: Annotated[bool, typer.Option("--json", help="Print what is executed as one line of JSON.")] = False,
) -> None:
    """Execute the functions registered with a client, until SIGTERM; a second signal exits at once."""
    from resonate_mq.cli.logs import configure_logging

    if log_level.lower() not in ("debug", "info", "warning", "error"):
        usage(f"--log-level {log_level!r} is none of debug, info, warning, error")
    configure_logging(log_level)
    if processes > 1:
        if health is not None and processes > 1 and not health.endswith(":0"):
            usage("--health with --processes needs port 0: each process takes a free one and prints it")
        _supervise(processes)
    client = _find(app, imports or ())
    settings = _with_flags(
        client.settings, concurrency=concurrency, ttl=ttl, url=url, group=group, transport=transport, token=token
    )
    _check(client, settings, app)
    _announce(client, settings, as_json=json_)
    _run(client, settings, health, drain)


def _supervise(processes: int) -> None:
    """Run this very command in `processes` fresh interpreters and exit with their code."""
    from resonate_mq.worker.processes import ProcessGroup

    argv = _without_processes(sys.argv[1:])
    sys.exit(asyncio.run(ProcessGroup([sys.executable, "-m", "resonate_mq.cli", *argv], processes).run()))


def _without_processes(argv: list[str]) -> list[str]:
    kept: list[str] = []
    skip = False
    for word in argv:
        if skip:
            skip = False
        elif word == "--processes":
            skip = True
        elif not word.startswith("--processes="):
            kept.append(word)
    return kept


def _find(app: str, imports: Any) -> "Resonate":
    """Import the client named `MODULE:NAME`, and the modules that register functions with it."""
    from resonate_mq.client import Resonate

    module_name, colon, attribute = app.partition(":")
    if not colon or not module_name or not attribute:
        usage(f"{app!r}: expected MODULE:NAME, for example app:resonate for `resonate = Resonate.remote()` in app.py")
    here = os.getcwd()
    if sys.path[:1] != [here]:
        sys.path.insert(0, here)
    module = _import(module_name, app)
    for name in imports:
        _import(name, f"--import {name}")
    client: Any = module
    for part in attribute.split("."):
        if not hasattr(client, part):
            raise CliError(f"{app!r}: module {module_name!r} has no {attribute!r}; {_candidates(module, Resonate)}")
        client = getattr(client, part)
    if not isinstance(client, Resonate):
        raise CliError(
            f"{app!r} is a {type(client).__name__}, expected a client made by Resonate.remote(...); "
            f"{_candidates(module, Resonate)}"
        )
    return client


def _import(name: str, what: str) -> Any:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is None or not (name == error.name or name.startswith(error.name + ".")):
            raise  # a module it needs itself: the traceback says where
        raise CliError(
            f"{what}: there is no module {name!r} in {os.getcwd()} nor among the installed packages"
        ) from error


def _candidates(module: Any, kind: type) -> str:
    found = [name for name, value in vars(module).items() if isinstance(value, kind)]
    return (
        f"it has {', '.join(found)}" if found else "it makes no client; write for example resonate = Resonate.remote()"
    )


def _with_flags(
    settings: "Settings",
    *,
    concurrency: int | None,
    ttl: float | None,
    url: str | None,
    group: str | None,
    transport: list[str] | None,
    token: str | None,
) -> "Settings":
    """Return the client's settings with what the flags say instead (flag > argument, D37)."""
    from resonate_mq.cli.serve import named_urls
    from resonate_mq.worker.processes import ENV_INDEX

    changes: dict[str, Any] = {"concurrency": concurrency, "ttl_s": ttl, "group": group, "token": token}
    if url is not None:
        if not url.startswith(("http://", "https://")):
            usage(f"--url {url!r}: expected for example http://127.0.0.1:8001")
        changes["url"] = changes["poll_url"] = url.rstrip("/")
    if transport:
        changes["transports"] = named_urls(transport)
    index = os.environ.get(ENV_INDEX)
    if settings.pid is not None and index is not None:
        changes["pid"] = f"{settings.pid}-{index}"  # several processes must not share a name that the code has chosen
    return replace(settings, **{name: value for name, value in changes.items() if value is not None})


def _check(client: "Resonate", settings: "Settings", app: str) -> None:
    if settings.is_local:
        raise CliError(
            f"{app} is a local client: it has its own server inside and nobody else could give it work; "
            "make it with Resonate.remote(...), or name a server with --url"
        )
    if not settings.worker:
        raise CliError(f"{app} was made with worker=False and executes nothing; leave that out for a worker")
    if not client.registry.functions():
        raise CliError(
            f"{app}: no function is registered with it; decorate some with @resonate.register, "
            "or name the modules that do with --import MODULE"
        )


def _announce(client: "Resonate", settings: "Settings", *, as_json: bool) -> None:
    from resonate_mq.cli.settings import masked
    from resonate_mq.protocol.addresses import format_address

    functions = sorted(client.registry.functions())
    names = ["poll", *settings.transports]
    addresses = [format_address(name, "any", settings.group) for name in names]
    if as_json:
        shown = [{"name": name, "version": version} for name, version in functions]
        show_json(
            {"server": settings.url, "group": settings.group, "addresses": addresses, "functions": shown}, compact=True
        )
        return
    print(f"server     {masked(settings.url or '')}")
    print(f"group      {settings.group}, {settings.concurrency} slots")
    print(f"addresses  {', '.join(addresses)}")
    for name, version in functions:
        print(f"function   {name} v{version}")
    sys.stdout.flush()


def _run(client: "Resonate", settings: "Settings", health: str | None, drain_s: float) -> None:
    from resonate_mq.transports.port import TransportError
    from resonate_mq.wiring import ConfigError

    try:
        client._core.reconfigure(settings, health=health, grace_s=drain_s)
        try:
            import uvloop
        except ImportError:
            asyncio.run(_until_stopped(client))
        else:
            uvloop.run(_until_stopped(client))
    except (ConfigError, TransportError, ValueError) as error:
        raise CliError(str(error)) from error
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)  # D37: a thread that still runs somebody's blocking function must not keep a drained worker alive


async def _until_stopped(client: "Resonate") -> None:
    from resonate_mq.client.serving import quiet_collector
    from resonate_mq.worker.lifecycle import StopSignals

    with StopSignals() as signals:
        async with client:
            quiet_collector()
            worker = client._core.runtime.opened.worker
            if worker is not None and worker.health_address:
                print(f"health     http://{worker.health_address}", flush=True)
            print(f"working as pid {client.pid}", flush=True)
            await signals.first()
    print("stopped", flush=True)
