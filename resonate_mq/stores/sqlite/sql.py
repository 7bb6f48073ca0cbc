"""The store's statements by name, read from the `.sql` files beside this module."""

import re
from importlib.resources import files

_NAME = re.compile(r"^-- name: (\w+)\n", re.MULTILINE)
_COMMENT = re.compile(r"^--.*\n?", re.MULTILINE)


def load_queries(text: str) -> dict[str, str]:
    """Return the statements of a file by the name in the `-- name: ...` line before each.

    Raises:
        ValueError: a name stands twice.
    """
    parts = _NAME.split(text)[1:]
    queries: dict[str, str] = {}
    for name, body in zip(parts[::2], parts[1::2], strict=True):
        if name in queries:
            raise ValueError(f"query {name!r} is defined twice")
        queries[name] = _COMMENT.sub("", body).strip()
    return queries


def _read(name: str) -> dict[str, str]:
    return load_queries((files(__package__) / "queries" / name).read_text("utf-8"))


READING = _read("reading.sql")
WRITING = _read("writing.sql")
