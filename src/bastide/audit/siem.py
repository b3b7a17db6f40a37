"""Alerts for a SIEM: a syslog message (RFC 5424) whose text is CEF, or a JSON object of OCSF. docs/reference/siem.md lists the fields.

What others chose (names, justifications) can end no field, no message and no line in either: CEF escapes a backslash and an equals sign of values, a backslash and a
bar of its header, and a line break as a backslash and an n; JSON escapes all of it. Characters that reorder or forge text are replaced before.
"""

import json
import re
import socket
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from types import MappingProxyType

from bastide.audit.export import SYSLOG_LIMIT
from bastide.audit.syslog import SyslogSender
from bastide.domain.alerts import Alert, Severity, Stage
from bastide.services.alerts.ports import Parcel
from bastide.services.notifications.ports import Fate, Outcome

#: Facility 13 (log audit); severities of RFC 5424, 6.2.1.
_FACILITY = 13
_SYSLOG: Mapping[Severity, int] = MappingProxyType(
    {Severity.LOW: 5, Severity.MEDIUM: 4, Severity.HIGH: 3, Severity.CRITICAL: 2}
)
#: CEF: 0 to 10.
_CEF: Mapping[Severity, int] = MappingProxyType(
    {Severity.LOW: 3, Severity.MEDIUM: 5, Severity.HIGH: 8, Severity.CRITICAL: 10}
)
#: OCSF 1.3: severity_id.
_OCSF: Mapping[Severity, int] = MappingProxyType(
    {Severity.LOW: 2, Severity.MEDIUM: 3, Severity.HIGH: 4, Severity.CRITICAL: 5}
)
#: OCSF 1.3, Detection Finding (2004): activity_id and status_id of each stage.
_ACTIVITY: Mapping[Stage, tuple[int, str, int, str]] = MappingProxyType(
    {
        Stage.RAISED: (1, "Create", 1, "New"),
        Stage.ESCALATED: (2, "Update", 1, "New"),
        Stage.ACKNOWLEDGED: (2, "Update", 2, "In Progress"),
        Stage.OVER: (3, "Close", 4, "Resolved"),
    }
)
_CLASS, _CATEGORY = 2004, 2
#: Control characters but line breaks, and marks that reorder text.
_FORGING = re.compile(
    r"[\x00-\x09\x0b\x0c\x0e-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]"
)
_HEADER_TEXT = re.compile(r"[^\x21-\x7e]")


def cef(parcel: Parcel, version: str) -> str:
    """One line of ArcSight's Common Event Format, version 0."""
    alert = parcel.alert
    head = ["Bastide", "Bastide", version, f"{alert.signal.value}", alert.title]
    fields: list[tuple[str, object]] = [
        ("externalId", parcel.id),
        ("rt", _millis(alert.last_at)),
        ("start", _millis(alert.first_at)),
        ("end", _millis(alert.last_at)),
        ("cnt", alert.count),
        ("act", parcel.stage.value),
        ("cat", alert.signal.value),
        ("suid", alert.subject),
        ("suser", alert.subject_name),
        ("msg", alert.text),
        ("cs1Label", "rule"),
        ("cs1", alert.rule),
        ("cs2Label", "alert"),
        ("cs2", alert.id),
        ("cs3Label", "note"),
        ("cs3", alert.note or alert.over_because),
        ("cs4Label", "acknowledgedBy"),
        ("cs4", alert.acknowledged_by),
        ("cn1Label", "auditRecord"),
        ("cn1", alert.record),
    ]
    said = {name: value for name, value in fields if value not in {"", None}}
    shown = [
        f"{name}={_extension(value)}"
        for name, value in fields
        if value not in {"", None} and (not name.endswith("Label") or name.removesuffix("Label") in said)
    ]
    header = "|".join(["CEF:0", *map(_header, head), str(_CEF[alert.severity])])
    return f"{header}|{' '.join(shown)}"


def ocsf(parcel: Parcel, version: str) -> str:
    """One object of OCSF 1.3.0, class Detection Finding, on one line."""
    alert = parcel.alert
    activity, name, status, status_name = _ACTIVITY[parcel.stage]
    said: dict[str, object] = {
        "activity_id": activity,
        "activity_name": name,
        "category_uid": _CATEGORY,
        "category_name": "Findings",
        "class_uid": _CLASS,
        "class_name": "Detection Finding",
        "type_uid": _CLASS * 100 + activity,
        "severity_id": _OCSF[alert.severity],
        "severity": alert.severity.value.capitalize(),
        "status_id": status,
        "status": status_name,
        "time": _millis(alert.last_at),
        "start_time": _millis(alert.first_at),
        "end_time": _millis(alert.last_at),
        "count": alert.count,
        "message": _plain(alert.title),
        "comment": _plain(alert.note or alert.over_because),
        "metadata": {
            "version": "1.3.0",
            "uid": parcel.id,
            "product": {"name": "Bastide", "vendor_name": "Bastide", "version": version},
        },
        "finding_info": {
            "uid": alert.id,
            "title": _plain(alert.title),
            "desc": _plain(alert.text),
            "types": [alert.signal.value],
            "created_time": _millis(alert.raised_at),
            "first_seen_time": _millis(alert.first_at),
            "last_seen_time": _millis(alert.last_at),
            "analytic": {"name": alert.rule, "type": "Rule", "type_id": 1},
        },
        "resources": [{"uid": alert.subject, "name": _plain(alert.subject_name), "type": "account"}],
        "unmapped": {"audit_record": alert.record, "acknowledged_by": _plain(alert.acknowledged_by)},
    }
    return json.dumps(said, ensure_ascii=False, separators=(",", ":"))


FORMATS: Mapping[str, Callable[[Parcel, str], str]] = MappingProxyType({"cef": cef, "ocsf": ocsf})


class SyslogOutlet:
    """A destination that is a program. What it has taken is acknowledged by TCP, as with audit records."""

    people = False

    def __init__(self, name: str, sender: SyslogSender, *, form: str, version: str, host: str = "") -> None:
        """`form`: a key of FORMATS. `host`: the name that messages carry (default: this machine's)."""
        self.name = name
        self._sender = sender
        self._form = FORMATS[form]
        self._version = version
        self._host = host or socket.gethostname()

    def send(self, parcels: Sequence[Parcel]) -> tuple[Outcome, ...]:
        """All in one connection; they have one fate."""
        try:
            self._sender.send([self._message(parcel) for parcel in parcels])
        except OSError as error:
            problem = str(error) or type(error).__name__
            return tuple(Outcome(Fate.REFUSED, problem) for _ in parcels)
        return tuple(Outcome(Fate.TAKEN) for _ in parcels)

    def _message(self, parcel: Parcel) -> bytes:
        """RFC 5424 without structured data, at most SYSLOG_LIMIT bytes: an alert's texts are bounded."""
        alert = parcel.alert
        at = alert.last_at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        host = _HEADER_TEXT.sub("?", self._host)[:255] or "-"
        head = f"<{_FACILITY * 8 + _SYSLOG[alert.severity]}>1 {at} {host} bastide - alert - "
        message = (head + self._form(parcel, self._version)).encode()
        return (
            message
            if len(message) <= SYSLOG_LIMIT
            else (head + self._form(_cut(parcel), self._version)).encode()
        )


def _cut(parcel: Parcel) -> Parcel:
    """Of texts whose every character is four bytes or an escape."""
    alert: Alert = parcel.alert
    short = replace(alert, text=alert.text[:200], title=alert.title[:100], note=alert.note[:100], over_because=alert.over_because[:100])  # fmt: skip
    return Parcel(short, parcel.stage)


class MemoryOutlet:
    """The twin: keeps what it was told. `down`: what it says while it takes nothing."""

    def __init__(self, name: str, *, people: bool = False) -> None:
        self.name = name
        self.people = people
        self.taken: list[Parcel] = []
        self.down = ""

    def send(self, parcels: Sequence[Parcel]) -> tuple[Outcome, ...]:
        """As the real one: all have one fate."""
        if self.down:
            return tuple(Outcome(Fate.REFUSED, self.down) for _ in parcels)
        self.taken.extend(parcels)
        return tuple(Outcome(Fate.TAKEN) for _ in parcels)


def _millis(moment: datetime) -> int:
    return int(moment.timestamp() * 1000)


def _plain(value: str) -> str:
    return _FORGING.sub("\ufffd", value)


def _header(value: str) -> str:
    one_line = " ".join(_plain(value).split("\n")).replace("\r", " ")
    return one_line.replace("\\", "\\\\").replace("|", "\\|")


def _extension(value: object) -> str:
    text = _plain(str(value)) if not isinstance(value, int) else str(value)
    return text.replace("\\", "\\\\").replace("=", "\\=").replace("\r", "").replace("\n", "\\n")
