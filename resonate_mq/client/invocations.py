"""Starting durable calls from outside of durable functions: `run` and `rpc`, and attaching to what exists (B3, D13).

Owns what is decided at the call (function, version, arguments, key, deadline) and what follows from the server's
answer. Executing is the worker's; learning of the settlement is the listeners'.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any

from resonate_mq.client.blocking import forbid_in_loop, in_running_loop
from resonate_mq.client.calls import store_error, translated
from resonate_mq.client.durable_promise import KEY_HEADER, age_of
from resonate_mq.client.handle import Handle
from resonate_mq.client.promises import check_key
from resonate_mq.client.runtime import Runtime
from resonate_mq.client.untaken import Untaken
from resonate_mq.errors import ResonateShutdownError
from resonate_mq.functions.codec import Codec, CustomCodec
from resonate_mq.functions.invocation import encode_invocation
from resonate_mq.functions.options import DEFAULT_TIMEOUT_S, Options
from resonate_mq.functions.registry import DurableFunction, Registered, Registry
from resonate_mq.functions.settled import outcome_of
from resonate_mq.functions.signatures import UNTYPED
from resonate_mq.protocol import requests as r
from resonate_mq.protocol import tags as tag_names
from resonate_mq.protocol.envelope import Reply
from resonate_mq.protocol.records import ACQUIRED, PENDING, TIMEDOUT, Value
from resonate_mq.wiring import Opened
from resonate_mq.wiring.settings import Settings

logger = logging.getLogger(__name__)


@dataclass(slots=True)
class Plan:
    """One call, decided and encoded.

    Attributes:
        verb: run (executes here) or rpc (executes in the target group).
        key: idempotency key.
        annotation: of the result.
    """

    verb: str
    id: str
    func: str
    key: str
    param: Value
    timeout_at: int
    tags: dict[str, str]
    target: str | None
    options: Options
    codec: Codec
    annotation: Any

    def create(self, address: str) -> r.PromiseCreate:
        """Return the request that makes it durable; top-level: it is its own origin, branch, parent and prefix."""
        tags = {
            **self.tags,
            tag_names.SCOPE: "global",
            tag_names.TARGET: address,
            tag_names.BRANCH: self.id,
            tag_names.PARENT: self.id,
            tag_names.ORIGIN: self.id,
            tag_names.PREFIX: self.id,
            tag_names.KIND: self.verb,
            tag_names.FUNC: self.func,
        }
        if self.key != self.id:
            tags[KEY_HEADER] = self.key
        return r.PromiseCreate(self.id, self.timeout_at, self.param, tags)


class Invocations:
    """Starts calls of one client."""

    def __init__(self, runtime: Runtime[Opened], settings: Settings, registry: Registry) -> None:
        self.registry = registry
        self._runtime = runtime
        self.settings = settings
        self._untaken = Untaken()

    def wait(
        self,
        verb: str,
        face: str,
        promise_id: str,
        func: Any,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        options: Options,
    ) -> Any:
        """Start a call and block until its result is there."""
        forbid_in_loop(f"{face}.{verb}()", f"await {face}.aio.{verb}(...)")
        return self.begin(verb, promise_id, func, args, kwargs, options).result()

    def start(
        self,
        verb: str,
        promise_id: str,
        func: Any,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        options: Options,
    ) -> Handle[Any]:
        """Start a call; return at once in a running loop, elsewhere once it is durable."""
        handle = self.begin(verb, promise_id, func, args, kwargs, options)
        if not in_running_loop():
            handle._wait_created()
        return handle

    def begin(
        self,
        verb: str,
        promise_id: str,
        func: Any,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        options: Options,
    ) -> Handle[Any]:
        """Start a call and return its handle at once.

        Raises:
            ValueError: the function is not registered, or this client executes nothing (`worker=False`).
            TypeError: the arguments do not fit the function.
            EncodeError: an argument has no JSON form.
        """
        plan = self._plan(verb, self.settings.top_level_id(promise_id), func, args, kwargs, options)
        return self._begun(plan.id, lambda handle: self._launch(plan, handle))

    def attach(self, promise_id: str) -> Handle[Any]:
        """Return the handle of something that exists; missing, it fails with 100.40400."""
        return self._begun(self.settings.top_level_id(promise_id), self._attach)

    def _begun(self, promise_id: str, work: Callable[[Handle[Any]], Coroutine[Any, Any, None]]) -> Handle[Any]:
        handle: Handle[Any] = Handle(promise_id, self._runtime.loop)
        self._runtime.spawn(work(handle), handle._refuse)
        return handle

    def _plan(
        self,
        verb: str,
        promise_id: str,
        func: Any,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        options: Options,
    ) -> Plan:
        if verb == "run" and not self.settings.worker:
            raise ValueError("this client has worker=False and executes nothing: use rpc, or begin_rpc, instead of run")
        entry, name, version = self._resolve(verb, func, options.version or 0)
        codec = Codec() if options.encoder is None else CustomCodec(options.encoder)
        timeout_s = options.timeout
        if timeout_s is None:
            timeout_s = (entry.timeout_s if entry is not None else None) or DEFAULT_TIMEOUT_S
        return Plan(
            verb=verb,
            id=promise_id,
            func=name,
            key=_key(options, promise_id),
            param=encode_invocation(codec, name, args, kwargs, version, None if entry is None else entry.signature),
            timeout_at=int((time.time() + timeout_s) * 1000),
            tags=options.tags or {},
            target=options.target,
            options=options,
            codec=codec,
            annotation=UNTYPED if entry is None else entry.signature.result,
        )

    def _resolve(self, verb: str, func: Any, version: int) -> tuple[Registered | None, str, int]:
        """Return the entry, if it is registered here, and the name and version for the wire."""
        if isinstance(func, Registered):
            entry = func if version in (0, func.version) else self.registry.get(func.name, version)
        elif isinstance(func, str) and verb == "rpc" and not self.settings.is_local:
            found = self.registry.find(func, version)
            if found is None:
                return None, func, version or 1
            entry = found
        elif isinstance(func, str | DurableFunction) or callable(func):
            entry = self.registry.get(func, version)
        else:
            raise TypeError(f"func must be a function or the name of one, got {type(func).__name__}")
        return entry, entry.name, entry.version

    async def _launch(self, plan: Plan, handle: Handle[Any]) -> None:
        """Make the call durable, start it if it runs here, wait for its settlement and tell the handle."""
        try:
            with translated(self._runtime):
                record = await self._start(plan, handle)
            self._deliver(record, handle, plan.codec, plan.annotation)
        except asyncio.CancelledError:
            handle._refuse(ResonateShutdownError(f"the client was stopped while {handle.id!r} was waited for"))
            raise
        except Exception as error:  # noqa: BLE001  the boundary to the caller, who gets it from the handle
            handle._refuse(error)

    async def _attach(self, handle: Handle[Any]) -> None:
        try:
            with translated(self._runtime):
                record = await self._listen(handle)
            entry = self.registry.find(record["tags"].get(tag_names.FUNC, ""))
            self._deliver(record, handle, Codec(), UNTYPED if entry is None else entry.signature.result)
        except asyncio.CancelledError:
            handle._refuse(ResonateShutdownError(f"the client was stopped while {handle.id!r} was waited for"))
            raise
        except Exception as error:  # noqa: BLE001  the boundary to the caller, who gets it from the handle
            handle._refuse(error)

    async def _start(self, plan: Plan, handle: Handle[Any]) -> dict[str, Any]:
        opened = await self._runtime.ready()
        await opened.prepare()
        create = plan.create(await opened.routing.address(plan.target))
        listeners = opened.listeners
        if plan.verb == "run" and _changes_execution(plan.options):
            opened.overrides[plan.id] = plan.options
        try:
            with listeners.expected(plan.id) as settled:
                replies = await self._send(opened, plan, create)
                if not replies[0].ok:
                    raise store_error(replies[0])
                record = replies[0].data["promise"]
                check_key(record, plan.key)
                handle._confirm()
                if record["state"] != PENDING:
                    _log_joined(record, plan)
                    return dict(record)
                listeners.observe_reply(plan.id, replies[1])
                if plan.verb == "rpc":
                    self._untaken.expect(opened, create.tags[tag_names.TARGET], handle)
                return await settled
        finally:
            if opened.overrides.get(plan.id) is plan.options:
                del opened.overrides[plan.id]

    @staticmethod
    async def _send(opened: Opened, plan: Plan, create: r.PromiseCreate) -> list[Reply]:
        """Create, and listen in the same sequence; where it runs here, acquire it and hand it to the worker."""
        listen, worker = opened.listeners.registration(plan.id), opened.worker
        if plan.verb != "run" or worker is None or not worker.accepts:
            return await opened.requester.sequence((create, listen))
        sent_at = time.monotonic()
        replies = await opened.requester.sequence((worker.take(create), listen))
        if replies[0].status in (409, 422):  # somebody executes it, or it is a promise without a task
            return await opened.requester.sequence((r.PromiseGet(plan.id), listen))
        if replies[0].ok and replies[0].data["task"]["state"] == ACQUIRED:
            data = replies[0].data
            if not worker.adopt(data, sent_at=sent_at):  # it began to drain in between
                task = data["task"]
                await opened.requester.call(r.TaskRelease(task["id"], task["version"], "draining", counted=False))
        return replies

    async def _listen(self, handle: Handle[Any]) -> dict[str, Any]:
        """Attach to an existing promise and wait for it."""
        opened = await self._runtime.ready()
        await opened.prepare()
        listeners = opened.listeners
        with listeners.expected(handle.id) as settled:
            reply = await opened.requester.call(listeners.registration(handle.id))
            if not reply.ok:
                raise store_error(reply)
            handle._confirm()
            listeners.observe_reply(handle.id, reply)
            return await settled

    @staticmethod
    def _deliver(record: dict[str, Any], handle: Handle[Any], codec: Codec, annotation: Any) -> None:
        value, error = outcome_of(codec, record, annotation)
        if error is None:
            handle._succeed(value)
        else:
            handle._fail(error)


def _log_joined(record: dict[str, Any], plan: Plan) -> None:
    """Say that nothing ran: the id was settled before (D39)."""
    if record["state"] != TIMEDOUT or record["timeoutAt"] != plan.timeout_at:
        logger.info("%s settled %s; returning its stored result", record["id"], age_of(record))


def _key(options: Options, promise_id: str) -> str:
    key = options.idempotency_key
    if key is None:
        return promise_id
    return key if isinstance(key, str) else key(promise_id)


def _changes_execution(options: Options) -> bool:
    """Tell whether the body runs differently under these options; what runs elsewhere has its own defaults (B5)."""
    return (options.encoder, options.retry_policy, options.non_retryable_exceptions) != (None, None, None)
