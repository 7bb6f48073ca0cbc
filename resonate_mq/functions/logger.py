"""`ctx.logger`: a logger that says which execution and which step a line belongs to (features B17)."""

import logging
from typing import Any

FORMAT = "[%(asctime)s] [%(levelname)s] [%(root)s] [%(id)s] %(message)s"
DATE_FORMAT = "%Y-%m-%d %H:%M:%S"


class ContextLogger(logging.LoggerAdapter[logging.Logger]):
    """Writes to the logger `resonate_mq.context`; every record carries `root` and `id`."""

    def __init__(self, root_id: str, promise_id: str, level: int) -> None:
        super().__init__(_logger(level), {"root": root_id, "id": promise_id})

    def process(self, msg: Any, kwargs: Any) -> tuple[Any, Any]:
        """Add `root` and `id` to the record, keeping what the caller passed as `extra`."""
        kwargs["extra"] = {**(kwargs.get("extra") or {}), **(self.extra or {})}
        return msg, kwargs


def _logger(level: int) -> logging.Logger:
    """Return the logger of that level; each has its own handler and does not propagate, as in features B17."""
    name = "resonate_mq.context" if level == logging.NOTSET else f"resonate_mq.context.{logging.getLevelName(level)}"
    logger = logging.getLogger(name)
    if not logger.handlers and level != logging.NOTSET:
        handler = logging.StreamHandler()
        handler.setFormatter(logging.Formatter(FORMAT, DATE_FORMAT))
        logger.addHandler(handler)
        logger.setLevel(level)
        logger.propagate = False
    return logger
