"""Requests about the server and its workers: debug.* (protocol section 3.21), server.info, worker.* (D1, D24, D26)."""

from dataclasses import dataclass
from typing import Any, ClassVar


@dataclass(slots=True)
class DebugStart:
    """debug.start: pause background work."""

    kind: ClassVar[str] = "debug.start"

    def wire(self) -> dict[str, Any]:
        return {}


@dataclass(slots=True)
class DebugStop:
    """debug.stop: resume background work."""

    kind: ClassVar[str] = "debug.stop"

    def wire(self) -> dict[str, Any]:
        return {}


@dataclass(slots=True)
class DebugReset:
    """debug.reset: delete everything."""

    kind: ClassVar[str] = "debug.reset"

    def wire(self) -> dict[str, Any]:
        return {}


@dataclass(slots=True)
class DebugTick:
    """debug.tick: run all timer processing as of `time` (epoch ms) once."""

    kind: ClassVar[str] = "debug.tick"
    time: int

    def wire(self) -> dict[str, Any]:
        return {"time": self.time}


@dataclass(slots=True)
class DebugSnap:
    """debug.snap: everything that is stored, without side effects."""

    kind: ClassVar[str] = "debug.snap"

    def wire(self) -> dict[str, Any]:
        return {}


@dataclass(slots=True)
class ServerInfo:
    """server.info, extension (D1): store id, capabilities, transports."""

    kind: ClassVar[str] = "server.info"

    def wire(self) -> dict[str, Any]:
        return {}


@dataclass(slots=True)
class WorkerHello:
    """worker.hello, extension (D24, D26, D41): what a process announces; refreshed with its heartbeat.

    Attributes:
        addresses: unicast addresses, one for each transport it listens on.
        free: free slots now.
        resident: keeps suspended bodies in memory and wants their first hint after a resume.
        functions: (name, version) pairs it can run.
    """

    kind: ClassVar[str] = "worker.hello"
    group: str
    pid: str
    addresses: tuple[str, ...]
    concurrency: int
    free: int
    resident: bool
    functions: tuple[tuple[str, int], ...]

    def wire(self) -> dict[str, Any]:
        return {
            "group": self.group,
            "pid": self.pid,
            "addresses": list(self.addresses),
            "concurrency": self.concurrency,
            "free": self.free,
            "resident": self.resident,
            "functions": [{"name": name, "version": version} for name, version in self.functions],
        }


@dataclass(slots=True)
class WorkerSearch:
    """worker.search, extension: the processes that announced themselves and the tasks they hold."""

    kind: ClassVar[str] = "worker.search"
    group: str | None = None

    def wire(self) -> dict[str, Any]:
        return {} if self.group is None else {"group": self.group}
