"""Logs of the service: one JSON object a line on standard error, for journald. No bodies, headers, queries or values: nothing to leak."""

import json
import logging
import sys
from datetime import UTC, datetime

#: granian configures logging with this when it starts: its lines go to our handler, and it adds none of its own.
NOTHING_ELSE = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {},
    "handlers": {},
    "loggers": {"_granian": {"propagate": True}, "granian.access": {"propagate": True}},
}


class JsonLines(logging.Formatter):
    """Time, level, logger, thread, message; a traceback where there is one. Line breaks cannot forge a line: JSON escapes them."""

    def format(self, record: logging.LogRecord) -> str:
        entry = {
            "at": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "thread": record.threadName,
            "message": record.getMessage(),
        }
        if (event := getattr(record, "event", None)) is not None:
            entry["event"] = event
        if record.exc_info:
            entry["traceback"] = self.formatException(record.exc_info)
        return json.dumps(entry, ensure_ascii=False)


def to_stderr(level: int = logging.INFO) -> None:
    """All loggers, once. httpx and granian at INFO would name every call."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    for name in ("_granian", "granian.access", "httpx", "alembic"):
        logging.getLogger(name).setLevel(logging.WARNING)
