"""Who has the store open: a lock on a file beside the database, which ends with its process however that dies (D20)."""

import fcntl
import os
import weakref
from pathlib import Path

from resonate_mq.stores.port import StoreUnavailableError


class OpenerLock:
    """The right to open a store for serving."""

    def __init__(self, store_path: Path) -> None:
        self._store_path = store_path
        self._path = store_path.with_name(store_path.name + ".lock")
        self._descriptor: int | None = None

    def acquire(self) -> None:
        """Take the lock without waiting.

        Raises:
            StoreUnavailableError: another opener has it, named by its pid; or the file cannot be made.
        """
        try:
            descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except OSError as error:
            raise StoreUnavailableError(
                f"cannot open the store {self._store_path}: {error.strerror} ({self._path}). "
                "Its folder must exist and be writable."
            ) from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            holder = os.pread(descriptor, 64, 0).decode("ascii", "replace").strip()
            os.close(descriptor)
            raise StoreUnavailableError(
                f"the store {self._store_path} is already open in process {holder or 'of unknown pid'}: one process "
                "serves a SQLite store at a time. Stop that process, talk to its server by URL, or use another file."
            ) from error
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, b"%d\n" % os.getpid(), 0)
        self._descriptor = descriptor
        _HELD.add(self)

    def release(self) -> None:
        """Give the lock back; harmless when it is not held."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None
            _HELD.discard(self)


# A forked child inherits the descriptor, and with it the lock: it would outlive the opener and refuse its successor.
_HELD: weakref.WeakSet[OpenerLock] = weakref.WeakSet()


def _let_go_in_child() -> None:
    for lock in list(_HELD):
        lock.release()


os.register_at_fork(after_in_child=_let_go_in_child)
