"""The SQLite store: one file, one opener, one connection on the kernel's own loop (D20, D42)."""

from resonate_mq.stores.sqlite.store import SqliteStore

__all__ = ["SqliteStore"]
