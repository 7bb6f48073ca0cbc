"""Suspended executions kept in memory, so that a resume needs no replay (D24). Bounded; the longest asleep goes first.

Knows no function: an execution is something that can be dropped.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Generic, NamedTuple, Protocol, TypeVar


class Droppable(Protocol):
    """What is kept."""

    def drop(self) -> None:
        """Give up the memory; the next hint replays."""
        ...


E = TypeVar("E", bound=Droppable)


class Resident(NamedTuple, Generic[E]):
    """One suspended execution and the version it held when it suspended."""

    execution: E
    version: int


class Residents(Generic[E]):
    """Suspended executions by key. `limit` 0 keeps none."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._kept: OrderedDict[tuple[str, str], Resident[E]] = OrderedDict()

    def keep(self, key: tuple[str, str], execution: E, version: int) -> None:
        """Keep an execution that was suspended at `version`; the oldest goes when there is no room."""
        self.forget(key)
        self._kept[key] = Resident(execution, version)
        while len(self._kept) > self._limit:
            _, oldest = self._kept.popitem(last=False)
            oldest.execution.drop()

    def take(self, key: tuple[str, str], acquired_version: int) -> E | None:
        """Take out the execution if it may continue: acquire answered exactly the held version + 1.

        Otherwise somebody else had the task in between: the body is dropped and must be replayed.
        """
        resident = self._kept.pop(key, None)
        if resident is None:
            return None
        if resident.version + 1 == acquired_version:
            return resident.execution
        resident.execution.drop()
        return None

    def forget(self, key: tuple[str, str]) -> None:
        """Drop the execution kept for a task that needs it no more."""
        resident = self._kept.pop(key, None)
        if resident is not None:
            resident.execution.drop()

    def clear(self) -> None:
        """Drop everything."""
        while self._kept:
            self._kept.popitem()[1].execution.drop()

    def __len__(self) -> int:
        return len(self._kept)
