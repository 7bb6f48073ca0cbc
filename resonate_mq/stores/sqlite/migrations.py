"""Brings the schema up to date: numbered files, applied in order in one transaction (the opener's lock is held)."""

import re
from collections.abc import Mapping
from importlib.resources import files

from resonate_mq.stores.port import StoreUnavailableError
from resonate_mq.stores.sqlite.database import Database

APPLICATION_ID = 0x724D5131  # "rMQ1": tells our files from anybody else's

_FILE = re.compile(r"(\d{4})_\w+\.sql\Z")


def known_migrations() -> dict[int, str]:
    """Return the scripts this program has, by number ascending."""
    found = {}
    for entry in (files(__package__) / "migrations").iterdir():
        match = _FILE.match(entry.name)
        if match:
            found[int(match[1])] = entry.read_text("utf-8")
    return dict(sorted(found.items()))


def migrate(database: Database, migrations: Mapping[int, str]) -> None:
    """Apply what is missing, all or nothing.

    Raises:
        StoreUnavailableError: the file is not ours, or its schema is newer than this program.
    """
    version = int(database.read("PRAGMA user_version")[0][0])
    application = int(database.read("PRAGMA application_id")[0][0])
    is_empty = not database.read("SELECT 1 FROM sqlite_master LIMIT 1")
    if application != APPLICATION_ID and not is_empty:
        raise StoreUnavailableError(
            f"{database.path} is a SQLite database of another program; use another file for the store"
        )
    newest = max(migrations)
    if version > newest:
        raise StoreUnavailableError(
            f"the store {database.path} has schema {version}, this program knows up to {newest}: "
            "upgrade resonate-mq, or open it with the version that wrote it"
        )
    if version < newest:
        steps = [script for number, script in migrations.items() if number > version]
        marks = f"PRAGMA application_id = {APPLICATION_ID};\nPRAGMA user_version = {newest};"
        database.script("\n".join(["BEGIN IMMEDIATE;", *steps, marks, "COMMIT;"]))
