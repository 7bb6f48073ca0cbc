"""A proxy that is as strict as an official server: what that does not know gets a 400 and is written down.

The only question about the server itself that may pass is `GET /capabilities`: a path an official server answers 404
to, as any other it does not have. Its query string on `/poll/{group}/{id}` is ours and ignored there.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import orjson
from aiohttp import web

from tests.crash.recording_proxy import RecordingProxy
from tests.extensions.official import violations

PROBE = "/capabilities"


class StrictProxy(RecordingProxy):
    """Use `running_strictly` to make one.

    Attributes:
        violations: everything an official server would not have understood, in the order seen.
        probes: how often somebody asked what the server can do.
    """

    def __init__(self, upstream: str) -> None:
        super().__init__(upstream)
        self.violations: list[str] = []
        self.probes = 0

    @classmethod
    @asynccontextmanager
    async def running_strictly(cls, upstream: str) -> AsyncIterator[StrictProxy]:
        """Listen on a free port until the scope ends."""
        async with cls.running(upstream) as proxy:
            assert isinstance(proxy, StrictProxy)
            yield proxy

    async def _relay(self, request: web.Request) -> web.Response:
        envelope = orjson.loads(await request.read())
        found = violations(envelope)
        if not found:
            return await super()._relay(request)
        self.violations += found
        return web.json_response(_refusal(envelope, found), status=400)

    async def _stream(self, request: web.Request) -> web.StreamResponse:
        if request.path == PROBE:
            self.probes += 1
        elif not request.path.startswith("/poll/"):
            self.violations.append(f"unknown path {request.path}")
            return web.Response(status=404)
        return await super()._stream(request)


def _refusal(envelope: dict[str, Any], found: list[str]) -> dict[str, Any]:
    head = {"corrId": envelope["head"]["corrId"], "status": 400, "version": envelope["head"]["version"]}
    return {"kind": envelope["kind"], "head": head, "data": "; ".join(found)}
