"""The `log_level` of B13: the level of our loggers, and somewhere to see them when nothing is configured."""

import logging
import sys

ROOT = "resonate_mq"


class _LastResort(logging.StreamHandler):  # type: ignore[type-arg]  # generic only for type checkers
    """Prints to stderr for as long as the application has configured no logging of its own."""

    def __init__(self) -> None:
        super().__init__(sys.stderr)
        self.setFormatter(logging.Formatter("[%(asctime)s] [%(levelname)s] %(message)s", "%Y-%m-%d %H:%M:%S"))

    def emit(self, record: logging.LogRecord) -> None:
        if not logging.root.handlers:
            self.setStream(sys.stderr)
            super().emit(record)


def set_level(level: int) -> None:
    """Set the level of our loggers; NOTSET leaves everything to the application."""
    if level == logging.NOTSET:
        return
    logger = logging.getLogger(ROOT)
    logger.setLevel(level)
    if not any(isinstance(handler, _LastResort) for handler in logger.handlers):
        logger.addHandler(_LastResort())
