"""`resonate.aio`: the blocking names as coroutines (D31)."""

from typing import Any, ParamSpec, TypeVar, overload

from resonate_mq.client.core import Core
from resonate_mq.client.handle import Handle
from resonate_mq.client.naming import split_func
from resonate_mq.client.promises import AsyncPromises
from resonate_mq.client.runtime import STOP_LIMIT_S
from resonate_mq.client.schedules import AsyncSchedules
from resonate_mq.functions.options import Options
from resonate_mq.functions.registry import DurableFunction

P = ParamSpec("P")
R = TypeVar("R")


class AsyncResonate:
    """The coroutines of a client: `await resonate.aio.run("id", foo, 1)`."""

    def __init__(self, core: Core, options: Options) -> None:
        self._core = core
        self._options = options

    @property
    def promises(self) -> AsyncPromises:
        """The coroutines of `resonate.promises`."""
        return self._core.promises.aio

    @property
    def schedules(self) -> AsyncSchedules:
        """The coroutines of `resonate.schedules`."""
        return self._core.schedules.aio

    @overload
    async def run(self, id: str, /, func: DurableFunction[P, R], *args: P.args, **kwargs: P.kwargs) -> R: ...
    @overload
    async def run(self, id: str, /, func: Any, *args: Any, **kwargs: Any) -> Any: ...
    async def run(self, id: str, /, *args: Any, **kwargs: Any) -> Any:
        """See `Resonate.run`."""
        return await self._begun("run", id, args, kwargs)

    @overload
    async def rpc(self, id: str, /, func: DurableFunction[P, R], *args: P.args, **kwargs: P.kwargs) -> R: ...
    @overload
    async def rpc(self, id: str, /, func: Any, *args: Any, **kwargs: Any) -> Any: ...
    async def rpc(self, id: str, /, *args: Any, **kwargs: Any) -> Any:
        """See `Resonate.rpc`."""
        return await self._begun("rpc", id, args, kwargs)

    @overload
    async def begin_run(
        self, id: str, /, func: DurableFunction[P, R], *args: P.args, **kwargs: P.kwargs
    ) -> Handle[R]: ...
    @overload
    async def begin_run(self, id: str, /, func: Any, *args: Any, **kwargs: Any) -> Handle[Any]: ...
    async def begin_run(self, id: str, /, *args: Any, **kwargs: Any) -> Handle[Any]:
        """See `Resonate.begin_run`; the handle is returned once the call is durable."""
        return await self._started("run", id, args, kwargs)

    @overload
    async def begin_rpc(
        self, id: str, /, func: DurableFunction[P, R], *args: P.args, **kwargs: P.kwargs
    ) -> Handle[R]: ...
    @overload
    async def begin_rpc(self, id: str, /, func: Any, *args: Any, **kwargs: Any) -> Handle[Any]: ...
    async def begin_rpc(self, id: str, /, *args: Any, **kwargs: Any) -> Handle[Any]:
        """See `Resonate.begin_rpc`; the handle is returned once the call is durable."""
        return await self._started("rpc", id, args, kwargs)

    async def get(self, id: str) -> Handle[Any]:
        """See `Resonate.get`.

        Raises:
            ResonateStoreError: 100.40400, there is none.
        """
        handle = self._core.invocations.attach(id)
        await handle.created()
        return handle

    async def start(self) -> None:
        """See `Resonate.start`."""
        await self._core.runtime.start_async()

    async def stop(self, timeout: float = STOP_LIMIT_S) -> None:
        """See `Resonate.stop`."""
        await self._core.runtime.stop_async(timeout)

    async def _started(self, verb: str, id: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Handle[Any]:
        handle = self._begun(verb, id, args, kwargs)
        await handle.created()
        return handle

    def _begun(self, verb: str, id: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Handle[Any]:
        func, args = split_func(args, kwargs)
        return self._core.invocations.begin(verb, id, func, args, kwargs, self._options)
