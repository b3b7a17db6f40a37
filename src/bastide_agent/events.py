"""The numbered events of the agent (component pcns): number, level, severity, words and fields as administrators of PCNS know them, and where each arises.

Levels: 0 what one must see, 1 (default) normal, 2 and 3 for looking closer. One line of JSON each. No field ever holds a password, a key, a hash or a ciphertext.
docs/reference/password-events.md is made from this table; tests compare it with the list it was taken from.
"""

import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from threading import Lock, get_native_id
from typing import Protocol, TextIO

from bastide.clock import Clock

COMPONENT = "pcns"
DEFAULT_LEVEL = 1
Value = str | int | list[str]


class Severity(StrEnum):
    """As in the Windows event log."""

    INFORMATION = "information"
    WARNING = "warning"
    ERROR = "error"


@dataclass(frozen=True, slots=True)
class Kind:
    """One number. `where` says where it arises; `never` instead why it cannot."""

    number: int
    level: int
    severity: Severity
    meaning: str
    fields: tuple[str, ...] = ()
    where: str = ""
    never: str = ""


_USER = ("Tracking ID", "User GUID", "User")
_READ = (
    "n notifications read from disk",
    "n notifications expired",
    "n notifications have no targets",
    "n notifications queued for delivery",
)
_ASIDE = "The remainder of the queue was corrupt. The file has been saved as file name. A new queue has been created."
_ATTEMPT = ("Thread ID", *_USER, "Target", "Delivery Attempts")
_INFORMATION, _WARNING, _ERROR = Severity.INFORMATION, Severity.WARNING, Severity.ERROR

#: Long names of the list as keys of JSON; all others in lower case with underscores.
KEYS: Mapping[str, str] = {
    "n notifications read from disk": "read",
    "n notifications expired": "expired",
    "n notifications have no targets": "no_targets",
    "n notifications queued for delivery": "queued",
    _ASIDE: "saved_as",
    "RPC extended error information, if available": "extended_error",
}
#: What every event may say besides its own fields: a sentence, the target it is about, and how many it speaks of.
ALWAYS = frozenset({"detail", "target", "count"})


def key(field: str) -> str:
    """The JSON key of a field: `Tracking ID` is `tracking_id`."""
    return KEYS.get(field) or field.lower().replace(" ", "_")


_CATALOG = (
    # ----------------------------------------------------------------------------------------------------------- level 0
    Kind(2001, 0, _INFORMATION, "service started", where="agent.py: capture and all target threads run"),
    Kind(2002, 0, _INFORMATION, "service stopped", where="agent.py: the last thread has ended"),
    Kind(2003, 0, _INFORMATION, "new queue created", where="agent.py: there was no queue file"),
    Kind(2004, 0, _INFORMATION, "existing queue read", _READ, where="agent.py: after the start"),
    Kind(2005, 0, _INFORMATION, "queue fell below its warning level", where="deliver.py: after a warning 4005"),
    Kind(4001, 0, _WARNING, "configuration loaded: no active target", where="agent.py: at the start"),
    Kind(4002, 0, _WARNING, "configuration refreshed: no active target", where="configuration.py: after a change in AD"),
    Kind(4003, 0, _WARNING, "target does not answer a notification", _ATTEMPT, where="deliver.py: no connection, or no answer in time"),
    Kind(4004, 0, _WARNING, "target does not answer a status query", ("Thread ID", "Target"), where="deliver.py: no answer to a heartbeat"),
    Kind(4005, 0, _WARNING, "queue at or above its warning level", where="deliver.py: the target's level, repeated at its interval"),
    Kind(6000, 0, _ERROR, "no configuration in the directory: stops", where="agent.py: the container is missing at the start"),
    Kind(6001, 0, _ERROR, "queue partly corrupt: saved aside, new one made", (*_READ, _ASIDE), where="agent.py: with the event that says what was wrong"),
    Kind(6002, 0, _ERROR, "handshake between filter and service failed: stops", where="local.py: a caller that is not root; that caller is refused and the service goes on"),
    Kind(6004, 0, _ERROR, "GUID could not be turned into a name", where="capture.py: the object has no sAMAccountName"),
    Kind(6005, 0, _ERROR, "password could not be decrypted", where="capture.py: the directory holds no ciphertext of the changed password (a hash alone was set, or Samba does not encrypt); sums.py: the first five of many singly, then a count a minute"),
    Kind(6006, 0, _ERROR, "local setting could not be opened", where="settings.py: the settings file"),
    Kind(6007, 0, _ERROR, "local setting could not be read", ("Key", "Value", "Error"), where="settings.py: the settings file; privileges.py: a directory it names cannot be made; capture.py: the cookie; agent.py: what smb.conf names, or whatever else keeps the key from being looked at"),
    Kind(6008, 0, _ERROR, "local setting could not be written", ("Key", "Value", "Error"), where="state.py: the cookie"),
    Kind(6009, 0, _ERROR, "notification signature invalid: discarded", never="nothing hands notifications to the agent: it reads the directory; a queue entry that does not verify is 6017"),
    Kind(6010, 0, _ERROR, "notification SID invalid: discarded", where="capture.py: objectSid is no SID"),
    Kind(6011, 0, _ERROR, "short read from the queue", ("Bytes Requested", "Bytes Read"), where="spool_file.py: the file ends within an entry (a torn write)"),
    Kind(6012, 0, _ERROR, "seek in the queue failed", never="the queue is read from its beginning and written at its end"),
    Kind(6013, 0, _ERROR, "read from the queue failed", where="spool_file.py: the file cannot be read at all: stops, and changes nothing; agent.py: another agent works with it: stops"),
    Kind(6014, 0, _ERROR, "queue header signature invalid: set aside", where="spool_file.py: another file, or another format"),
    Kind(6015, 0, _ERROR, "queue header hash length wrong: set aside", where="spool_file.py: the header names another length of its tag"),
    Kind(6016, 0, _ERROR, "queue header invalid: set aside", where="spool_file.py: too short, or not sealed with our key"),
    Kind(6017, 0, _ERROR, "queue entry invalid: set aside", where="spool_file.py: does not verify, is out of its place, or is no entry"),
    Kind(6018, 0, _ERROR, "write to the queue failed", where="capture.py: disk full and the like; the change stays in the directory and is read again; spool.py: what a target took is written later, or there is no room for a new file without what is over, and the old one goes on; agent.py: no room to begin, stops"),
    Kind(6022, 0, _ERROR, "crypto error", where="agent.py: the key that Samba encrypts to is missing or expired, so that every password change fails; deliver.py: Kerberos; spool_file.py: the key of the queue"),
    Kind(6023, 0, _ERROR, "copy error", never="nothing is copied between processes but file descriptors; their failure is 7000"),
    Kind(6024, 0, _ERROR, "data too large: discarded", ("Account",), where="capture.py: longer than a message may be"),
    Kind(6025, 0, _ERROR, "RPC error in a thread", ("Error code", "RPC extended error information, if available"), where="deliver.py: the target spoke, but not our language"),
    Kind(6026, 0, _ERROR, "not a domain controller: stops", where="host.py: this host has no writable domain controller's account"),
    Kind(6027, 0, _ERROR, "no binding to a target: target disabled", ("Thread ID",), where="deliver.py: its address or principal cannot be used; until its configuration changes"),
    Kind(6028, 0, _ERROR, "a target thread died: shuts down", where="agent.py: an error nobody foresaw"),
    Kind(6029, 0, _ERROR, "more than 50 targets: stops", where="agent.py: configuration"),
    Kind(6030, 0, _ERROR, "configuration container deleted: stops", where="agent.py: the container was there and is gone"),
    Kind(6031, 0, _ERROR, "queue of a target could not be opened", ("Thread ID",), never="all targets share one queue; that one is 6013"),
    Kind(6035, 0, _ERROR, "setting of the wrong type: default used", where="agent.py: a value in AD that cannot be used"),
    Kind(7000, 0, _ERROR, "unexpected error", ("Error code",), where="agent.py: the directory does not answer, or any error without a number of its own"),
    # ----------------------------------------------------------------------------------------------------------- level 1
    Kind(2100, 1, _INFORMATION, "delivered to all targets", (*_USER, "Targets"), where="deliver.py: the last target took it"),
    Kind(2101, 1, _INFORMATION, "target disabled", where="configuration.py: what waited for it is discarded"),
    Kind(2102, 1, _INFORMATION, "target enabled", where="configuration.py"),
    Kind(2103, 1, _INFORMATION, "target deleted: pending notifications updated", where="configuration.py"),
    Kind(2104, 1, _INFORMATION, "service stopping", where="agent.py: SIGTERM, or an error that stops it"),
    Kind(2105, 1, _INFORMATION, "service starting", where="commands.py: before anything is opened"),
    Kind(2106, 1, _INFORMATION, "service configuration changed", ("Maximum Queue Length", "Maximum Queue Age", "Maximum Notification Retries", "Retry Interval"), where="configuration.py"),
    Kind(2107, 1, _INFORMATION, "target connection information changed", ("Server", "Service Principal Name", "Authentication Service"), where="configuration.py"),
    Kind(4100, 1, _WARNING, "not delivered to all targets", (*_USER, "Successful Targets", "Failed Targets"), where="deliver.py: the last target is through and one of them did not take it"),
    Kind(4101, 1, _WARNING, "account no longer exists", where="capture.py: deleted before it was read"),
    # ----------------------------------------------------------------------------------------------------------- level 2
    Kind(2201, 2, _INFORMATION, "received from the filter", (*_USER, "Targets"), where="capture.py: captured and safe in the queue"),
    Kind(2202, 2, _INFORMATION, "target asked for a delay", where="deliver.py: answer `later`"),
    Kind(4200, 2, _INFORMATION, "retry limit for a target exceeded", (*_USER, "Target"), where="deliver.py: given up for this target"),
    Kind(4201, 2, _INFORMATION, "no active target: not queued", _USER, where="capture.py: changed while no target is active"),
    Kind(4202, 2, _INFORMATION, "queue load: all its targets gone: discarded", _USER, where="agent.py: at the start"),
    Kind(4203, 2, _INFORMATION, "refresh: all its targets gone: discarded", _USER, where="agent.py: after a change of configuration"),
    Kind(4204, 2, _INFORMATION, "refresh: expired or queue too long: discarded", _USER, where="agent.py: after a change of configuration"),
    Kind(4205, 2, _INFORMATION, "queue load: expired: discarded", _USER, where="agent.py: at the start"),
    Kind(4206, 2, _WARNING, "target asked for an invalid delay: adjusted", where="deliver.py: longer than an hour, or none"),
    Kind(4207, 2, _WARNING, "target asked for a negative delay: ignored", where="deliver.py: the retry interval is used"),
    Kind(4208, 2, _WARNING, "expired or queue too long: discarded", _USER, where="agent.py: housekeeping; of each user the newest change stays while the queue is too long"),
    # ----------------------------------------------------------------------------------------------------------- level 3
    Kind(2300, 3, _INFORMATION, "target thread started", where="threads.py"),
    Kind(2301, 3, _INFORMATION, "target thread stopped", where="threads.py"),
    Kind(2302, 3, _INFORMATION, "notification sent", _ATTEMPT, where="deliver.py: before the answer"),
    Kind(2303, 3, _INFORMATION, "blocked by the inclusion/exclusion filter", (*_USER, "Target"), where="capture.py: not in the target's inclusion group, or in its exclusion group"),
    Kind(4301, 3, _WARNING, "target refused a notification", _ATTEMPT, where="deliver.py: `refused` is tried again, `discard` is not"),
)  # fmt: skip
CATALOG: Mapping[int, Kind] = {kind.number: kind for kind in _CATALOG}


class EventLog(Protocol):
    """Where events go."""

    def write(self, number: int, /, **fields: Value) -> None:
        """Write one. A field that its number does not have is a defect (ValueError)."""


def checked(number: int, fields: Mapping[str, Value]) -> Kind:
    """The kind of an event with these fields. Raises ValueError for one that cannot be, which is a defect of ours."""
    kind = CATALOG[number]
    unknown = set(fields) - {key(field) for field in kind.fields} - ALWAYS
    if kind.never or unknown:
        raise ValueError(f"event {number} {kind.never or f'has no {sorted(unknown)}'}")
    return kind


class JsonLog:
    """One JSON object a line, up to a level: on standard error, where systemd's journal reads it."""

    def __init__(self, clock: Clock, level: int = DEFAULT_LEVEL, stream: TextIO | None = None) -> None:
        self._clock = clock
        self._level = level
        self._stream = stream or sys.stderr
        self._lock = Lock()

    def write(self, number: int, /, **fields: Value) -> None:
        """Write one event, if its level is asked for. `thread_id` is filled in where its number has one."""
        kind = checked(number, fields)
        if kind.level > self._level:
            return
        known: dict[str, Value] = {"thread_id": get_native_id()} if "Thread ID" in kind.fields else {}
        line = {
            "time": self._clock.now().isoformat(),
            "component": COMPONENT,
            "event": number,
            "level": kind.level,
            "severity": kind.severity.value,
            "message": kind.meaning,
            **known,
            **fields,
        }
        with self._lock:
            self._stream.write(json.dumps(line, ensure_ascii=True) + "\n")
            self._stream.flush()
