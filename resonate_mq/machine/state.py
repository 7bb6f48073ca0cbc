"""The working set of one unit of work: what is loaded, what changed, and how to undo the current request.

The machine reads and writes only through a `State`. What it needs and does not find loaded raises `NotLoaded`; the
kernel undoes the request, loads what was named, and applies it again (D15, D16).
"""

from collections.abc import Iterable

from resonate_mq.protocol import tags
from resonate_mq.protocol.records import Promise, PromiseImage, Schedule, ScheduleImage


class Footprint:
    """What a unit of work wants loaded.

    Attributes:
        ids: promises (each with its task, awaiters and listeners).
        branches: values of `resonate:branch` whose other members are wanted (preload, protocol section 3.0).
        families: branches of which the children are wanted too (children preload, D10).
        schedules: schedule ids.
    """

    __slots__ = ("branches", "families", "ids", "schedules")

    def __init__(
        self,
        ids: Iterable[str] = (),
        branches: Iterable[str] = (),
        families: Iterable[str] = (),
        schedules: Iterable[str] = (),
    ) -> None:
        self.ids = set(ids)
        self.branches = set(branches)
        self.families = set(families)
        self.schedules = set(schedules)

    def add(self, other: "Footprint") -> None:
        """Add everything `other` wants."""
        self.ids |= other.ids
        self.branches |= other.branches
        self.families |= other.families
        self.schedules |= other.schedules

    def __bool__(self) -> bool:
        return bool(self.ids or self.branches or self.families or self.schedules)


class NotLoaded(Exception):  # noqa: N818 - a control signal between machine and kernel, not a failure
    """The machine needs more than was loaded."""

    def __init__(self, footprint: Footprint) -> None:
        super().__init__(footprint)
        self.footprint = footprint


class State:
    """Promises and schedules by id, with the changes of the unit and of the current request.

    A store fills `promises` (None means known to be absent), `schedules`, `branches` and `families`; the first two
    may be a cache that outlives the unit. `branches[b]` holds the ids of stored promises whose `resonate:branch` is
    `b`; `families[b]` those and the ids of all promises whose `resonate:parent` is one of them or `b` itself.

    Attributes:
        changed: promise -> its image before the unit (None: born in it), in the order first touched.
        changed_schedules: likewise.
    """

    __slots__ = (
        "_born",
        "_undo",
        "_undo_schedules",
        "branches",
        "changed",
        "changed_schedules",
        "families",
        "promises",
        "schedules",
    )

    def __init__(
        self,
        promises: dict[str, Promise | None] | None = None,
        schedules: dict[str, Schedule | None] | None = None,
    ) -> None:
        self.promises: dict[str, Promise | None] = {} if promises is None else promises
        self.schedules: dict[str, Schedule | None] = {} if schedules is None else schedules
        self.branches: dict[str, list[str]] = {}
        self.families: dict[str, list[str]] = {}
        self.changed: dict[str, tuple[Promise, PromiseImage | None]] = {}
        self.changed_schedules: dict[str, tuple[Schedule, ScheduleImage | None]] = {}
        self._undo: dict[str, tuple[Promise, PromiseImage | None]] = {}
        self._undo_schedules: dict[str, tuple[Schedule, ScheduleImage | None]] = {}
        self._born: list[Promise] = []

    # -- reading

    def promise(self, promise_id: str) -> Promise | None:
        """Return the promise, or None if there is none.

        Raises:
            NotLoaded: nobody looked yet.
        """
        try:
            return self.promises[promise_id]
        except KeyError:
            raise NotLoaded(Footprint(ids=(promise_id,))) from None

    def require(self, ids: Iterable[str]) -> None:
        """Raise `NotLoaded` with all of `ids` that are not loaded, so that they come in one load."""
        missing = [one for one in ids if one not in self.promises]
        if missing:
            raise NotLoaded(Footprint(ids=missing))

    def schedule(self, schedule_id: str) -> Schedule | None:
        """Return the schedule, or None if there is none (or no longer).

        Raises:
            NotLoaded: nobody looked yet.
        """
        try:
            schedule = self.schedules[schedule_id]
        except KeyError:
            raise NotLoaded(Footprint(schedules=(schedule_id,))) from None
        return None if schedule is None or schedule.deleted else schedule

    def branch(self, branch: str) -> list[Promise]:
        """Return all promises whose `resonate:branch` is `branch`, by id ascending, born ones included."""
        if branch not in self.branches:
            raise NotLoaded(Footprint(branches=(branch,)))
        born = [one.id for one in self._born if one.tags.get(tags.BRANCH) == branch]
        return self._by_id({*self.branches[branch], *born})

    def family(self, branch: str) -> list[Promise]:
        """Return the branch and every promise whose `resonate:parent` lies in it, by id ascending (D10)."""
        if branch not in self.families:
            raise NotLoaded(Footprint(families=(branch,)))
        members = {branch, *self.families[branch]}
        for one in self._born:
            parent = one.tags.get(tags.PARENT)
            if one.tags.get(tags.BRANCH) == branch or parent == branch or self._lies_in(branch, parent):
                members.add(one.id)
        return self._by_id(members)

    def _lies_in(self, branch: str, promise_id: str | None) -> bool:
        promise = None if promise_id is None else self.promises.get(promise_id)
        return promise is not None and promise.tags.get(tags.BRANCH) == branch

    def _by_id(self, ids: set[str]) -> list[Promise]:
        self.require(ids)
        found = (self.promises[one] for one in sorted(ids))
        return [one for one in found if one is not None]

    # -- writing

    def edit(self, promise: Promise) -> None:
        """Call before the first change of `promise` (or its task) in a request: remembers how it was."""
        if promise.id in self._undo:
            return
        image = promise.image()
        self._undo[promise.id] = (promise, image)
        if promise.id not in self.changed:
            self.changed[promise.id] = (promise, image)

    def insert(self, promise: Promise) -> None:
        """Add a promise that did not exist."""
        self.promises[promise.id] = promise
        self._undo[promise.id] = (promise, None)
        self.changed[promise.id] = (promise, None)
        self._born.append(promise)

    def edit_schedule(self, schedule: Schedule) -> None:
        """Call before the first change of `schedule` in a request."""
        if schedule.id in self._undo_schedules:
            return
        image = schedule.image()
        self._undo_schedules[schedule.id] = (schedule, image)
        if schedule.id not in self.changed_schedules:
            self.changed_schedules[schedule.id] = (schedule, image)

    def insert_schedule(self, schedule: Schedule) -> None:
        """Add a schedule that did not exist."""
        self.schedules[schedule.id] = schedule
        self._undo_schedules[schedule.id] = (schedule, None)
        self.changed_schedules[schedule.id] = (schedule, None)

    # -- one request

    def accept(self) -> None:
        """End the current request, keeping its changes."""
        self._undo.clear()
        self._undo_schedules.clear()

    def undo(self) -> None:
        """End the current request as if it had never been (D15)."""
        for promise, image in reversed(self._undo.values()):
            if image is None:
                self.promises[promise.id] = None
                del self.changed[promise.id]
                self._born.remove(promise)
            else:
                promise.restore(image)
                self._forget_if_unchanged(promise, image)
        for schedule, schedule_image in reversed(self._undo_schedules.values()):
            if schedule_image is None:
                self.schedules[schedule.id] = None
                del self.changed_schedules[schedule.id]
            else:
                schedule.restore(schedule_image)
        self.accept()

    def _forget_if_unchanged(self, promise: Promise, image: PromiseImage) -> None:
        _, before = self.changed[promise.id]
        if before == image:
            del self.changed[promise.id]
