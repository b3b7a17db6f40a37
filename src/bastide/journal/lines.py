"""A log record as one line of JSON, with nothing in it that has the shape of a secret.

(1) Every text passes domain/redaction.py: message, event, names of threads and loggers.
(2) Of a foreign library (not one of ours) also what it quotes is taken out: it may be a value it was given.
(3) Of an exception the types and the places are said, and a message only of our own errors: any other may quote a password.
"""

import json
import logging
from collections.abc import Mapping
from datetime import UTC, datetime

from bastide.domain.redaction import redact, stack, without_values

#: Between INFO and DEBUG: the steps of traced operations.
VERBOSE = 15
_OURS = ("bastide", "bastide_agent")
#: Of a message that does not fit its values, in characters.
_SHOWN = 100

logging.addLevelName(VERBOSE, "VERBOSE")


class JsonLines(logging.Formatter):
    """Time, level, logger, thread, message; where there are some the event, the step of a trace, the places of an exception. Line breaks cannot forge a line: JSON escapes them."""

    def format(self, record: logging.LogRecord) -> str:
        clean = redact if record.name.partition(".")[0] in _OURS else without_values
        entry: dict[str, object] = {
            "at": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": redact(record.name),
            "thread": redact(record.threadName or ""),
            "message": clean(_message(record)),
        }
        if (event := getattr(record, "event", None)) is not None:
            entry["event"] = _cleaned(event)
        if (trace := getattr(record, "trace", None)) is not None:
            entry["trace"] = _cleaned(trace)
        if record.exc_info and record.exc_info[1] is not None:
            entry["traceback"] = redact(stack(record.exc_info[1]))  # (3)
        line = json.dumps(entry, ensure_ascii=False)
        return line.encode(
            errors="replace"
        ).decode()  # half a character, as of a path that is not UTF-8, would lose the record


def _message(record: logging.LogRecord) -> str:
    try:
        return record.getMessage()
    except Exception as error:  # noqa: BLE001  # a record that cannot be written must not end who wrote it
        said = record.msg[:_SHOWN] if isinstance(record.msg, str) else type(record.msg).__name__
        return f"{said} ({type(error).__name__})"


def _cleaned(value: object) -> object:
    """The same with its texts clean. Numbers are what they are."""
    if isinstance(value, Mapping):
        return {str(name): _cleaned(one) for name, one in value.items()}
    return value if isinstance(value, int | float) else redact(str(value))
