"""`resonate-mq serve` and `resonate-mq dev`: a server as a process. Owns its start, its signals and its exit code."""

import asyncio
import contextlib
import gc
import signal
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from resonate_mq.cli.output import CliError, usage

if TYPE_CHECKING:
    from resonate_mq.cli.settings import ServeConfig
    from resonate_mq.server import Server

TransportOption = Annotated[
    list[str] | None,
    typer.Option("--transport", metavar="NAME=URL", help="A broker, for example amqp=amqp://localhost/. Repeatable."),
]
ListenOption = Annotated[str | None, typer.Option(metavar="HOST:PORT", help="Where to listen [127.0.0.1:8001].")]
UrlOption = Annotated[str | None, typer.Option(metavar="URL", help="How others reach it, if not as it listens.")]
ServeTokenOption = Annotated[
    str | None, typer.Option(help="Bearer token every request must carry; needed beyond loopback.")
]
ConfigOption = Annotated[Path | None, typer.Option(metavar="FILE", help="TOML file; flags and environment override.")]
DisableOption = Annotated[
    list[str] | None, typer.Option("--disable-extension", metavar="NAME", help="Protocol extension to switch off.")
]
PushOption = Annotated[
    list[str] | None,
    typer.Option("--push-host", metavar="HOST", help="HOST, HOST:PORT or *.DOMAIN HTTP push may go to. Repeatable."),
]
LevelOption = Annotated[str | None, typer.Option(help="debug, info, warning or error [info].")]
DebugOption = Annotated[
    bool, typer.Option("--debug", help="Serve debug.* operations (time travel, reset); for tests only.")
]


def dev(
    listen: ListenOption = None,
    transport: TransportOption = None,
    token: ServeTokenOption = None,
    url: UrlOption = None,
    push_host: PushOption = None,
    disable_extension: DisableOption = None,
    log_level: LevelOption = None,
    debug: DebugOption = False,
    json_: Annotated[bool, typer.Option("--json", help="Print the configuration as one line of JSON.")] = False,
) -> None:
    """Run a server that keeps everything in memory, for trying things out."""
    flags = _flags("memory://", listen, transport, token, url, push_host, disable_extension, log_level, debug=debug)
    _run(None, flags, as_json=json_)


def serve(
    store: Annotated[
        str | None, typer.Option(metavar="URL", help="Where promises live [sqlite:///resonate.db].")
    ] = None,
    listen: ListenOption = None,
    transport: TransportOption = None,
    token: ServeTokenOption = None,
    url: UrlOption = None,
    config: ConfigOption = None,
    push_host: PushOption = None,
    disable_extension: DisableOption = None,
    log_level: LevelOption = None,
    debug: DebugOption = False,
    json_: Annotated[bool, typer.Option("--json", help="Print the configuration as one line of JSON.")] = False,
) -> None:
    """Run a server on a durable store. Settings: defaults, then --config, then RESONATE_MQ_* variables, then flags."""
    flags = _flags(store, listen, transport, token, url, push_host, disable_extension, log_level, debug=debug)
    _run(config, flags, as_json=json_)


def _flags(
    store: str | None,
    listen: str | None,
    transport: list[str] | None,
    token: str | None,
    url: str | None,
    push_host: list[str] | None,
    disable_extension: list[str] | None,
    log_level: str | None,
    *,
    debug: bool,
) -> dict[str, dict[str, Any]]:
    server: dict[str, Any] = {"listen": listen, "token": token, "url": url, "push_hosts": push_host}
    server["disabled_extensions"] = disable_extension
    if debug:
        server["debug"] = True
    sections = {
        "server": server,
        "store": {"url": store},
        "log": {"level": log_level},
        "transports": named_urls(transport or ()),
    }
    return {
        section: {name: value for name, value in fields.items() if value is not None}
        for section, fields in sections.items()
    }


def named_urls(pairs: Any) -> dict[str, str]:
    """Return `NAME=URL` pairs as a dict; a URL alone is named after its scheme."""
    found = {}
    for pair in pairs:
        name, equals, url = pair.partition("=")
        if "://" in name or not equals:
            name, url = pair.partition("://")[0], pair
            name = "amqp" if name == "amqps" else name
        if not name or "://" not in url:
            usage(f"--transport {pair!r}: expected NAME=URL, for example amqp=amqp://guest:guest@localhost/")
        found[name] = url
    return found


def _run(config_file: Path | None, flags: dict[str, dict[str, Any]], *, as_json: bool) -> None:
    from resonate_mq.cli.logs import configure_logging
    from resonate_mq.cli.settings import load

    config = load(config_file, flags)
    configure_logging(config.log.level)
    _show(config, as_json=as_json)
    with contextlib.suppress(KeyboardInterrupt):  # a second ctrl-C while stopping
        _run_loop(_serve(config))


def _run_loop(work: Any) -> None:
    try:
        import uvloop
    except ImportError:
        asyncio.run(work)
    else:
        uvloop.run(work)


async def _serve(config: "ServeConfig") -> None:
    from resonate_mq.server import ServerConfigError
    from resonate_mq.stores.port import StoreError
    from resonate_mq.transports.port import TransportError
    from resonate_mq.wiring import ConfigError

    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    try:
        async with _server(config) as server:
            print(f"ready on {server.url}", flush=True)
            # D44: what start-up made stays; collections then look only at what requests make
            gc.collect()
            gc.freeze()
            gc.set_threshold(50_000, 20, 50)
            await stop.wait()
            print("stopping: requests in progress are answered, nothing new is accepted", flush=True)
    except (ServerConfigError, ConfigError, StoreError, TransportError) as error:
        raise CliError(str(error)) from error
    print("stopped", flush=True)


def _server(config: "ServeConfig") -> "Server":
    from resonate_mq.cli.settings import host_and_port
    from resonate_mq.protocol.parse import EXTENSIONS
    from resonate_mq.server import Server, ServerOptions
    from resonate_mq.wiring import make_publishers, make_store

    host, port = host_and_port(config.server.listen)
    options = ServerOptions(
        host=host,
        port=port,
        url=config.server.url,
        name=config.server.name,
        token=config.server.token,
        extensions=EXTENSIONS - frozenset(config.server.disabled_extensions),
        debug=config.server.debug,
        max_body_bytes=config.server.max_body_bytes,
        shutdown_s=config.server.shutdown_s,
    )
    transports = make_publishers(config.transports, config.server.push_hosts)
    return Server(store=make_store(config.store.url), transports=transports, options=options)


def _show(config: "ServeConfig", *, as_json: bool) -> None:
    import json

    shown = config.shown()
    if as_json:
        print(json.dumps(shown, separators=(",", ":")), flush=True)
        return
    print("configuration (secrets masked):")
    for section, fields in shown.items():
        for name, value in fields.items():
            print(f"  {section}.{name} = {json.dumps(value)}")
    print(end="", flush=True)
