"""The numbered events of password synchronization, as lines of the process log.

An event above the level that is set is not written. A wrong call is a defect and raises: a number that does not exist, or a field missing that
operators expect by its name. Values are made short, on one line, and never hold a secret: who calls has none at hand.
"""

import logging
import threading
from collections.abc import Mapping

from bastide.domain.sync_events import COMPONENT, EVENTS, Severity, SyncEvent

_SEVERITIES = {
    Severity.ERROR: logging.ERROR,
    Severity.WARNING: logging.WARNING,
    Severity.INFORMATION: logging.INFO,
}
_LONGEST = 1000
LOGGER = f"bastide.events.{COMPONENT}"


class ProcessEventLog:
    """To the logger `bastide.events.sync`: a sentence for people, and the attribute `event` for programs, which the JSON lines carry."""

    def __init__(self, level: int) -> None:
        self._level = level
        self._log = logging.getLogger(LOGGER)

    def write(self, number: int, **fields: object) -> None:
        """Raises ValueError for a number that does not exist, or a field that is missing."""
        event = _checked(number, fields)
        if event.level > self._level:
            return
        entry = {"component": COMPONENT, "id": number, "severity": event.severity.value, **_plain(fields)}
        said = "; ".join(f"{name}={value}" for name, value in _plain(fields).items())
        message = f"{COMPONENT} {number} {event.meaning}{': ' if said else ''}{said}"
        self._log.log(_SEVERITIES[event.severity], "%s", message, extra={"event": entry})


class MemoryEventLog:
    """The twin: keeps what was written. Safe for several threads."""

    def __init__(self, level: int = 3) -> None:
        self._level = level
        self._lock = threading.Lock()
        self.written: list[tuple[int, dict[str, object]]] = []

    def write(self, number: int, **fields: object) -> None:
        """Raises ValueError as the real one."""
        event = _checked(number, fields)
        if event.level <= self._level:
            with self._lock:
                self.written.append((number, _plain(fields)))

    def numbers(self) -> list[int]:
        """In the order in which they were written."""
        with self._lock:
            return [number for number, _ in self.written]


def _checked(number: int, fields: Mapping[str, object]) -> SyncEvent:
    event = EVENTS.get(number)
    if event is None:
        raise ValueError(f"{COMPONENT} has no event {number}")
    if missing := [name for name in event.fields if name not in fields]:
        raise ValueError(f"event {number} lacks {', '.join(missing)}")
    return event


def _plain(fields: Mapping[str, object]) -> dict[str, object]:
    return {
        name: value if isinstance(value, int) else str(value)[:_LONGEST] for name, value in fields.items()
    }
