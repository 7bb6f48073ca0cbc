"""class Resonate: where functions are registered, called and looked up (features B2, B3, B13).

Owns the public shape. What a call does is in `invocations`, what is open is in `wiring`.
"""

import logging
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import timedelta
from types import TracebackType
from typing import Any, ParamSpec, Self, TypeVar, overload

from resonate_mq.client.aio import AsyncResonate
from resonate_mq.client.blocking import forbid_in_loop, in_running_loop
from resonate_mq.client.core import Core
from resonate_mq.client.dependencies import Dependencies
from resonate_mq.client.handle import Handle
from resonate_mq.client.logs import set_level
from resonate_mq.client.naming import split_func
from resonate_mq.client.promises import Promises
from resonate_mq.client.registering import Registering
from resonate_mq.client.runtime import STOP_LIMIT_S
from resonate_mq.client.schedules import Schedules
from resonate_mq.client.serving import serve
from resonate_mq.functions.codec import Encoder
from resonate_mq.functions.options import CLIENT_KEYS, NONE, Options, seconds
from resonate_mq.functions.registry import DurableFunction, Registry
from resonate_mq.functions.retry import PolicyOption
from resonate_mq.transports.api.port import Channel
from resonate_mq.transports.masking import mask_secrets
from resonate_mq.transports.port import ConsumingTransport
from resonate_mq.wiring.settings import (
    DEFAULT_TTL_S,
    Endpoint,
    Settings,
    local_settings,
    remote_settings,
)

P = ParamSpec("P")
R = TypeVar("R")
D = TypeVar("D", bound=Callable[..., Any])


class Resonate(Registering):
    """A client: registers durable functions, calls them, and executes those of its group.

    `Resonate()` and `Resonate.local()` carry their own server; `Resonate.remote()` talks to one. Nothing is opened
    before `start()`, `async with`, or the first call.

    Args:
        store: API channel of a transport pair of one's own; needs `message_source`.
        message_source: transport of that pair; needs `store`.
        Others as for `local`.
    """

    def __init__(
        self,
        *,
        dependencies: Mapping[str, Any] | None = None,
        group: str | None = None,
        log_level: int | str = logging.NOTSET,
        message_source: ConsumingTransport | None = None,
        pid: str | None = None,
        registry: Registry | None = None,
        store: Channel | None = None,
        ttl: float = DEFAULT_TTL_S,
        workers: int | None = None,
    ) -> None:
        if (store is None) != (message_source is None):
            raise ValueError("store and message_source must be given together")
        ends = None if store is None or message_source is None else _ends(store, message_source)
        settings = local_settings(
            store=None,
            group=group,
            log_level=log_level,
            pid=pid,
            ttl=ttl,
            workers=workers,
            concurrency=None,
            prefix=None,
        )
        if ends is not None:
            settings = replace(settings, url=ends[0].name)
        self._adopt(Core(settings, _registry(registry), Dependencies(dependencies), ends), NONE)

    @classmethod
    def local(
        cls,
        dependencies: Mapping[str, Any] | None = None,
        group: str | None = None,
        log_level: int | str = logging.INFO,
        pid: str | None = None,
        registry: Registry | None = None,
        ttl: float = DEFAULT_TTL_S,
        workers: int | None = None,
        *,
        store: str | None = None,
        concurrency: int | None = None,
        prefix: str | None = None,
    ) -> Self:
        """Return a client with the real server inside this process; nothing else is needed.

        Args:
            dependencies: objects for `ctx.get_dependency`.
            store: `sqlite:///app.db` survives restarts; without it everything is in memory.
            ttl: seconds until another process takes over what a dead one held.
            workers: threads for blocking functions.
            concurrency: executions that run at the same time, 32 by default.
        """
        settings = local_settings(
            store=store,
            group=group,
            log_level=log_level,
            pid=pid,
            ttl=ttl,
            workers=workers,
            concurrency=concurrency,
            prefix=prefix,
        )
        return cls._made(Core(settings, _registry(registry), Dependencies(dependencies)), NONE)

    @classmethod
    def remote(
        cls,
        auth: tuple[str, str] | None = None,
        dependencies: Mapping[str, Any] | None = None,
        group: str | None = None,
        host: str | None = None,
        log_level: int | str = logging.INFO,
        message_source_port: str | None = None,
        pid: str | None = None,
        registry: Registry | None = None,
        store_port: str | None = None,
        ttl: float = DEFAULT_TTL_S,
        workers: int | None = None,
        *,
        url: str | None = None,
        transport: str | Mapping[str, str] | None = None,
        token: str | None = None,
        worker: bool = True,
        concurrency: int | None = None,
        prefix: str | None = None,
    ) -> Self:
        """Return a client of the server at `url` (default: `RESONATE_URL`, else http://localhost:8001).

        Args:
            auth: (user, password) sent as Basic.
            group: worker group this process belongs to.
            host, store_port: build the url, for example `"http://localhost"` and `"8001"`.
            message_source_port: port of the poll endpoint where it differs.
            transport: broker to consume from besides polling: `"amqp://..."`, or `{name: url}` for several.
            token: bearer token of the server.
            worker: False makes a pure client, which executes nothing.
            Others as for `local`.
        """
        endpoint = Endpoint(
            url=url,
            host=host,
            store_port=store_port,
            message_source_port=message_source_port,
            token=token,
            auth=auth,
        )
        settings = remote_settings(
            endpoint,
            transport=transport,
            group=group,
            log_level=log_level,
            pid=pid,
            ttl=ttl,
            workers=workers,
            concurrency=concurrency,
            prefix=prefix,
            worker=worker,
        )
        return cls._made(Core(settings, _registry(registry), Dependencies(dependencies)), NONE)

    @classmethod
    def _made(cls, core: Core, options: Options) -> Self:
        client = cls.__new__(cls)
        client._adopt(core, options)
        return client

    def _adopt(self, core: Core, options: Options) -> None:
        self._core = core
        self._options = options
        self.aio = AsyncResonate(core, options)
        set_level(core.settings.log_level)

    @property
    def settings(self) -> Settings:
        """What this client was configured with."""
        return self._core.settings

    @property
    def pid(self) -> str | None:
        """Process id on the wire; None before the first start unless one was chosen."""
        return self._core.pid

    @property
    def promises(self) -> Promises:
        """Durable promises outside of durable functions."""
        return self._core.promises

    @property
    def schedules(self) -> Schedules:
        """Promises created by cron."""
        return self._core.schedules

    @overload
    def run(self, id: str, /, func: DurableFunction[P, R], *args: P.args, **kwargs: P.kwargs) -> R: ...
    @overload
    def run(self, id: str, /, func: Callable[..., Any] | str, *args: Any, **kwargs: Any) -> Any: ...
    def run(self, id: str, /, *args: Any, **kwargs: Any) -> Any:
        """Execute a registered function in this process and wait for its result.

        Args:
            id: identity of the call; a second call with it gets the first one's result.
            func: the function or its name, second or as `func=`; all else goes to the function.

        Raises:
            ValueError: not registered here.
            ResonateStoreError: 100.40399, the id is taken with another idempotency key.
            RuntimeError: called where an event loop runs; write `await resonate.aio.run(...)` there.
            Exception: what the function raised.
        """
        func, args = split_func(args, kwargs)
        return self._core.invocations.wait("run", "resonate", id, func, args, kwargs, self._options)

    @overload
    def rpc(self, id: str, /, func: DurableFunction[P, R], *args: P.args, **kwargs: P.kwargs) -> R: ...
    @overload
    def rpc(self, id: str, /, func: Callable[..., Any] | str, *args: Any, **kwargs: Any) -> Any: ...
    def rpc(self, id: str, /, *args: Any, **kwargs: Any) -> Any:
        """Have a worker of the target group execute a function, known here or not, and wait; otherwise like `run`."""
        func, args = split_func(args, kwargs)
        return self._core.invocations.wait("rpc", "resonate", id, func, args, kwargs, self._options)

    @overload
    def begin_run(self, id: str, /, func: DurableFunction[P, R], *args: P.args, **kwargs: P.kwargs) -> Handle[R]: ...
    @overload
    def begin_run(self, id: str, /, func: Callable[..., Any] | str, *args: Any, **kwargs: Any) -> Handle[Any]: ...
    def begin_run(self, id: str, /, *args: Any, **kwargs: Any) -> Handle[Any]:
        """Start a registered function in this process.

        Returns at once; where no event loop runs, once the call is durable.
        """
        func, args = split_func(args, kwargs)
        return self._core.invocations.start("run", id, func, args, kwargs, self._options)

    @overload
    def begin_rpc(self, id: str, /, func: DurableFunction[P, R], *args: P.args, **kwargs: P.kwargs) -> Handle[R]: ...
    @overload
    def begin_rpc(self, id: str, /, func: Callable[..., Any] | str, *args: Any, **kwargs: Any) -> Handle[Any]: ...
    def begin_rpc(self, id: str, /, *args: Any, **kwargs: Any) -> Handle[Any]:
        """Start a function in the target group; otherwise like `begin_run`."""
        func, args = split_func(args, kwargs)
        return self._core.invocations.start("rpc", id, func, args, kwargs, self._options)

    def get(self, id: str) -> Handle[Any]:
        """Return the handle of a call or promise that exists.

        Raises:
            ResonateStoreError: 100.40400, there is none (in a running loop: when the handle is awaited).
        """
        handle = self._core.invocations.attach(id)
        if not in_running_loop():
            handle._wait_created()
        return handle

    def options(
        self,
        *,
        encoder: Encoder | None = None,
        idempotency_key: str | Callable[[str], str] | None = None,
        retry_policy: PolicyOption | None = None,
        non_retryable_exceptions: tuple[type[Exception], ...] | None = None,
        tags: dict[str, str] | None = None,
        target: str | None = None,
        timeout: float | timedelta | None = None,
        version: int | None = None,
    ) -> Self:
        """Return a copy whose calls have these options; this client stays as it is.

        Args:
            target: worker group or address; own group by default.
            timeout: seconds until the promise times out, 1 year by default.
            version: 0 for the latest registered here.

        Raises:
            TypeError: an option of the wrong type.
            ValueError: a negative timeout or version.
        """
        options = self._options.merge(
            CLIENT_KEYS,
            "resonate.options",
            encoder=encoder,
            idempotency_key=idempotency_key,
            retry_policy=retry_policy,
            non_retryable_exceptions=non_retryable_exceptions,
            tags=tags,
            target=target,
            timeout=timeout,
            version=version,
        )
        return self._made(self._core, options)

    def start(self) -> None:
        """Start to execute functions, on a daemon thread; harmless when it runs already.

        Calls start it by themselves; a process that only executes must call it.
        """
        forbid_in_loop("resonate.start()", "await resonate.aio.start()` or `async with resonate:")
        self._core.runtime.start()

    def stop(self, timeout: float = STOP_LIMIT_S) -> None:
        """Stop: give back what is held so that another worker goes on, close, end the thread.

        Args:
            timeout: seconds to wait for it.

        It may be started again; in memory, local mode begins empty then.
        """
        forbid_in_loop("resonate.stop()", "await resonate.aio.stop()")
        self._core.runtime.stop(timeout)

    def serve(self, *, processes: int = 1, drain: float | timedelta = 30.0, health: str | None = None) -> None:
        """Be a worker process until SIGTERM or ctrl-C: what a worker script ends with.

        Args:
            processes: for more cores; each is a fresh interpreter running this script.
            drain: seconds a stop waits for what runs; the rest is given back. A second signal exits at once.
            health: `HOST:PORT` to serve /health, /ready and /metrics on.

        Raises:
            ConfigError: a local or pure client, or no function is registered.
        """
        forbid_in_loop("resonate.serve()", "async with resonate: ...")
        serve(self._core, processes, seconds("drain", drain), health)

    async def __aenter__(self) -> Self:
        """Run durable functions on the current event loop while the block lasts."""
        await self._core.runtime.enter()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._core.runtime.leave()

    def __repr__(self) -> str:
        where = f"local {self.settings.store}" if self.settings.is_local else mask_secrets(str(self.settings.url))
        return f"<Resonate {where} group {self.settings.group!r}>"


def _ends(store: Channel, message_source: ConsumingTransport) -> tuple[Channel, ConsumingTransport]:
    if not callable(getattr(store, "send", None)):
        raise TypeError(f"store must be `Channel`, got {type(store).__name__}")
    if not callable(getattr(message_source, "subscribe", None)):
        raise TypeError(f"message_source must be `ConsumingTransport`, got {type(message_source).__name__}")
    return store, message_source


def _registry(registry: Registry | None) -> Registry:
    if registry is not None and not isinstance(registry, Registry):
        raise TypeError(f"registry must be `Registry`, got {type(registry).__name__}")
    return Registry() if registry is None else registry
