"""From lines of domain controllers to changes: Samba's JSON audit, and Windows Security events as NXLog and Winlogbeat send them. Hostile input refuses.

A line is a JSON object by itself, or the text of a syslog message (RFC 5424, RFC 3164) from its first brace on: what stands before was said by the way and is not believed.
Only what succeeded is a change. Facts of Windows events: Microsoft's pages of events 4723, 4724, 4728, 4729, 4732, 4733, 4756, 4757, 4624.
"""

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import astuple, dataclass, replace
from datetime import UTC, datetime
from enum import StrEnum
from types import MappingProxyType

from bastide.domain.observed import Change, Kind, Named

#: Bytes of a line. Samba's and Windows' have 500 to 3,000.
LINE_LIMIT = 65_536
_DEPTH = 16
_TEXT = 1024
_ID_LENGTH = 64
#: JSON audit and these events came later; a time at either end of the calendar cannot be reckoned with.
_FIRST_YEAR = 2000
_LAST_YEAR = 9999
_SYSLOG = re.compile(r"<\d{1,3}>")
#: `2026-11-22T04:03:32.123456+0000`, with or without a fraction and a zone; Windows' names its own: UTC, unless the zone says otherwise.
_STAMP = re.compile(r"(\d{4})-(\d\d)-(\d\d)[T ](\d\d):(\d\d):(\d\d)(?:[.,](\d{1,9}))?\s*(Z|[+-]\d\d:?\d\d)?")
_HALF = re.compile("[\ud800-\udfff]")
_SID = re.compile(r"S-1-\d{1,15}(?:-\d{1,10}){1,15}")
_EVENTS: Mapping[int, Kind] = MappingProxyType(
    {
        4723: Kind.PASSWORD_CHANGED,
        4724: Kind.PASSWORD_RESET,
        4728: Kind.MEMBER_ADDED,
        4732: Kind.MEMBER_ADDED,
        4756: Kind.MEMBER_ADDED,
        4729: Kind.MEMBER_REMOVED,
        4733: Kind.MEMBER_REMOVED,
        4757: Kind.MEMBER_REMOVED,
        4624: Kind.SIGN_IN,
    }
)
#: Log-ons that a person makes: interactive, network, remote desktop, cached.
_BY_PEOPLE = frozenset({2, 3, 7, 8, 10, 11})


class Format(StrEnum):
    SAMBA = "samba"
    WINDOWS = "windows"


class BadLineError(ValueError):
    """It is no event of that format. The message repeats nothing of the line."""


@dataclass(frozen=True, slots=True)
class Heard:
    """What a line says. `change` None: an event that is none of ours. `number`: the record's own, where it has one; `computer`: who wrote it, where it says so;
    `at`: when, where it has a number and says a time.
    """

    change: Change | None
    number: int | None = None
    computer: str = ""
    at: datetime | None = None


def read(format_: Format, source: str, line: bytes) -> Heard:
    """Raises BadLineError."""
    said = _object(line)
    if format_ is Format.SAMBA:
        return _samba(source, said, line)
    return _windows(source, said)


def _object(line: bytes) -> Mapping[str, object]:
    if len(line) > LINE_LIMIT:
        raise BadLineError("it is longer than a line may be")
    try:
        text = line.decode("utf-8").strip().lstrip("\ufeff")
    except UnicodeDecodeError:
        raise BadLineError("it is not UTF-8") from None
    if _SYSLOG.match(text):
        text = text[text.find("{") :] if "{" in text else ""
    if _nesting(text) > _DEPTH:
        raise BadLineError("it is nested too deep")
    try:
        said = json.loads(text)
    except ValueError:
        raise BadLineError("it holds no JSON") from None
    if not isinstance(said, dict):
        raise BadLineError("it is no JSON object")
    return said


def _nesting(text: str) -> int:
    """At most so deep: brackets in texts count as well, which only refuses more."""
    deepest = depth = 0
    for c in text:
        if c in "{[":
            depth += 1
            deepest = max(deepest, depth)
        elif c in "}]":
            depth -= 1
    return deepest


# ---------------------------------------------------------------------------------------------------------------- Samba


def _samba(source: str, said: Mapping[str, object], line: bytes) -> Heard:
    kind = said.get("type")
    body = said.get(kind) if isinstance(kind, str) else None
    if not isinstance(body, dict):
        raise BadLineError("it has no type with what it says")
    event = _number(body.get("eventId"))
    what = _EVENTS.get(event or 0)
    if what is None or not _succeeded(body):
        return Heard(None)
    common = {
        "source": source,
        "record": hashlib.sha256(line.strip()).hexdigest()[:_ID_LENGTH],
        "at": _moment(said.get("timestamp")),
        "kind": what,
        "event": event or 0,
        "computer": source,
        "address": _text(body.get("remoteAddress")),
    }
    if kind == "groupChange":
        return Heard(
            Change(
                **common,  # type: ignore[arg-type]  # each value has its field's type
                actor=Named(sid=_sid(body.get("userSid"))),
                target=Named(dn=_text(body.get("user"))),
                group=Named(sid=_sid(body.get("groupSid")), dn=_text(body.get("group"))),
            )
        )
    if kind == "passwordChange":
        target = Named(dn=_text(body.get("dn")), sid=_sid(body.get("targetSid")))
        return Heard(Change(**common, actor=Named(sid=_sid(body.get("userSid"))), target=target))  # type: ignore[arg-type]
    if kind == "Authentication":
        who = Named(sid=_sid(body.get("becameSid")), name=_text(body.get("becameAccount")))
        return Heard(Change(**common, actor=who, target=who)) if who.sid else Heard(None)  # type: ignore[arg-type]
    return Heard(None)


def _succeeded(body: Mapping[str, object]) -> bool:
    code, status = body.get("statusCode"), body.get("status")
    return (
        code == 0 if code is not None else status in ("Success", "NT_STATUS_OK")
    )  # a list of hostile input has no hash


# -------------------------------------------------------------------------------------------------------------- Windows


def _windows(source: str, said: Mapping[str, object]) -> Heard:
    """Winlogbeat puts all below `winlog`; NXLog has flat fields."""
    inner = said.get("winlog")
    if isinstance(inner, dict):
        data = inner.get("event_data")
        fields = {**(data if isinstance(data, dict) else {})}
        at, computer = said.get("@timestamp"), _text(inner.get("computer_name"))
        event, number, channel = inner.get("event_id"), inner.get("record_id"), inner.get("channel")
        outcome = said.get("event")
        success = outcome.get("outcome") if isinstance(outcome, dict) else None
        passed = success is None or success == "success"
    else:
        fields = dict(said)
        at = said.get("EventTime")
        computer, channel = _text(said.get("Hostname")), said.get("Channel")
        event, number = said.get("EventID"), said.get("RecordNumber")
        passed = said.get("EventType", "AUDIT_SUCCESS") == "AUDIT_SUCCESS"
    record = _number(number)
    if record is None or not computer or channel != "Security":
        raise BadLineError("it is no event of the Security log with a record number and a computer")
    what = _EVENTS.get(_number(event) or 0)
    if what is None or not passed or not _of_people(what, fields):
        return Heard(None, record, computer, _moment_or_none(at))
    is_member = what in {Kind.MEMBER_ADDED, Kind.MEMBER_REMOVED}
    subject = _named(fields, "SubjectUserSid", "SubjectUserName")
    target = _named(fields, "TargetUserSid" if what is Kind.SIGN_IN else "TargetSid", "TargetUserName")
    member = Named(sid=_sid(fields.get("MemberSid")), dn=_member(fields.get("MemberName")))
    change = Change(
        source=source,
        record="",
        at=_moment(at),
        kind=what,
        event=_number(event) or 0,
        computer=computer,
        actor=target if what is Kind.SIGN_IN else subject,
        target=member if is_member else target,
        group=target if is_member else Named(),
        address=_text(fields.get("IpAddress")),
    )
    return Heard(replace(change, record=_identity(record, change)), record, computer, change.at)


def _identity(number: int, change: Change) -> str:
    """Numbers come again: of a log that was made anew, of a controller that was set back. What a forwarder adds by itself, and may say otherwise when it sends the
    event again, is none of it.
    """
    said = (
        change.computer.casefold(), change.at.isoformat(), change.event, astuple(change.actor), astuple(change.target), astuple(change.group), change.address,
    )  # fmt: skip
    return f"{number}/{hashlib.sha256(json.dumps(said).encode()).hexdigest()[:_ID_LENGTH]}"


def _of_people(kind: Kind, fields: Mapping[str, object]) -> bool:
    return kind is not Kind.SIGN_IN or _number(fields.get("LogonType")) in _BY_PEOPLE


def _named(fields: Mapping[str, object], sid: str, name: str) -> Named:
    return Named(sid=_sid(fields.get(sid)), name=_text(fields.get(name)))


def _member(value: object) -> str:
    """A hyphen stands for nothing."""
    text = _text(value)
    return "" if text == "-" else text


# --------------------------------------------------------------------------------------------------------------- values


def _text(value: object) -> str:
    """Raises BadLineError for half a character (a lone surrogate, which JSON can spell): no database takes it, and the lines around it would go with it."""
    if isinstance(value, str) and _HALF.search(value):
        raise BadLineError("it holds half a character")
    return value[:_TEXT].replace("\0", "\ufffd") if isinstance(value, str) else ""


def _sid(value: object) -> str:
    return value if isinstance(value, str) and _SID.fullmatch(value) else ""


def _number(value: object) -> int | None:
    """A whole number that fits into 64 bits, as JSON has it or as text."""
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) <= 18:  # noqa: PLR2004  # 64 bits
        return int(value)
    is_number = isinstance(value, int) and not isinstance(value, bool)
    return value if is_number and 0 <= value < 2**63 else None  # type: ignore[operator,return-value]


def _moment_or_none(value: object) -> datetime | None:
    """Of an event that is none of ours the time is not what it is refused for."""
    try:
        return _moment(value)
    except BadLineError:
        return None


def _moment(value: object) -> datetime:
    found = _STAMP.fullmatch(value.strip()) if isinstance(value, str) and len(value) <= 64 else None  # noqa: PLR2004
    if found is None:
        raise BadLineError("it has no time")
    *numbers, fraction, zone = found.groups()
    micros = (fraction or "").ljust(6, "0")[:6]
    text = "{}-{}-{}T{}:{}:{}".format(*numbers) + f".{micros}"
    offset = "+00:00" if zone in {None, "Z"} else zone if ":" in zone else f"{zone[:3]}:{zone[3:]}"
    try:
        at = datetime.fromisoformat(text + offset).astimezone(UTC)
    except (ValueError, OverflowError):
        raise BadLineError("it has no time") from None
    if not _FIRST_YEAR <= at.year < _LAST_YEAR:
        raise BadLineError("it has no time")
    return at
