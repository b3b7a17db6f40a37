"""Logs of the service: JSON lines on standard error, for journald, and more of them in bounded files of the node. No bodies, headers, queries or values: nothing to leak."""

import logging
import sys
from pathlib import Path

from bastide.config import Logs
from bastide.journal.files import open_files
from bastide.journal.lines import JsonLines

#: granian configures logging with this when it starts: its lines go to our handler, and it adds none of its own.
NOTHING_ELSE = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {},
    "handlers": {},
    "loggers": {"_granian": {"propagate": True}, "granian.access": {"propagate": True}},
}


def to_stderr(level: int = logging.INFO) -> None:
    """All loggers, once. httpx and granian at INFO would name every call."""
    logging.raiseExceptions = False  # else a record that cannot be written is printed raw, with its values
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines())
    handler.setLevel(level)
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    for name in ("_granian", "granian.access", "httpx", "alembic"):
        logging.getLogger(name).setLevel(logging.WARNING)


def to_files(settings: Logs, node: str, role: str) -> None:
    """Beside standard error. Ours down to debug records; of other libraries as much as there, for at more than that some of them say what they send."""
    if not settings.folder:
        return
    handler = open_files(Path(settings.folder), node, role, settings.megabytes)
    if handler is not None:
        logging.getLogger().addHandler(handler)
        logging.getLogger("bastide").setLevel(logging.DEBUG)
