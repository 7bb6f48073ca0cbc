"""Where the log of a process of ours goes: stderr, one line a record, with its fields. Only commands configure it."""

import logging
import sys

_STANDARD = frozenset(logging.makeLogRecord({}).__dict__) | {"message", "asctime", "taskName"}


class FieldFormatter(logging.Formatter):
    """Text, then `name=value` for each field the record carries."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        text = super().format(record)
        fields = [f"{name}={value}" for name, value in record.__dict__.items() if name not in _STANDARD]
        if not fields:
            return text
        first, newline, rest = text.partition("\n")
        return f"{first} [{' '.join(fields)}]{newline}{rest}"


def configure_logging(level: str) -> None:
    """Send records of `level` and above to stderr; of the libraries below us, warnings only.

    The AMQP driver calls each attempt to connect an error, with its traceback; our transport says once what is wrong.
    """
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(FieldFormatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    logging.getLogger("resonate_mq").setLevel(level.upper())
    if level.upper() != "DEBUG":
        logging.getLogger("aiormq").setLevel(logging.CRITICAL)
