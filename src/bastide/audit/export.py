"""Audit records as text for other programs: a JSON object, or a syslog message (RFC 5424).

What is exported as JSON verifies as the original does. A syslog message carries the hash, but characters that could forge a line are
replaced in it, and long data is left out: it is for reading and alarms, not for proof.
"""

import json
import re
from collections.abc import Iterable
from datetime import UTC, datetime

from bastide.domain.audit import Record

#: Facility 13 (log audit), severity 5 (notice): RFC 5424, 6.2.1.
_PRIORITY = 13 * 8 + 5
#: The private enterprise number that RFC 5612 sets aside; Bastide has none of its own.
_SD_ID = "bastide@32473"
#: What every RFC 5424 receiver over TLS should take (RFC 5425, 4.3.1).
SYSLOG_LIMIT = 8192
_HEADER_TEXT = re.compile(r"[^\x21-\x7e]")
#: Control characters, line and paragraph separators, and marks that reorder text.
_FORGING = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
_SD_SPECIAL = re.compile(r'(["\\\]])')
_NIL = "-"


def json_object(record: Record) -> dict[str, object]:
    """The record with `data` as an object and `at` in ISO 8601. `from_json` gives the same record back."""
    return {
        "seq": record.seq,
        "at": record.at.isoformat(timespec="microseconds"),
        "kind": record.kind,
        "actor": record.actor,
        "actor_name": record.actor_name,
        "subject": record.subject,
        "subject_name": record.subject_name,
        "request": record.request,
        "data": _data(record.data),
        "previous": record.previous,
        "hash": record.hash,
    }


def json_line(record: Record) -> str:
    """One line without its end (JSON Lines)."""
    line = json.dumps(json_object(record), separators=(",", ":"), ensure_ascii=False)
    # Line breaks to some readers, though not to JSON.
    return line.replace("\u2028", "\\u2028").replace("\u2029", "\\u2029").replace("\x85", "\\u0085")


def from_json(line: str) -> Record:
    """What `json_line` was made from. Raises ValueError for anything else."""
    try:
        fields = json.loads(line)
        data = fields["data"]
        text = data if isinstance(data, str) else _canonical(data)
        return Record(**{**fields, "at": datetime.fromisoformat(fields["at"]), "data": text})
    except (TypeError, KeyError) as error:
        raise ValueError("not an exported audit record") from error


def syslog_message(record: Record, host: str) -> bytes:
    """RFC 5424, without framing. At most SYSLOG_LIMIT bytes for data of any length."""
    at = record.at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    header = f"<{_PRIORITY}>1 {at} {_header(host, 255)} bastide {_NIL} {_header(record.kind, 32)}"
    fixed = [
        ("seq", str(record.seq)),
        ("actor", record.actor),
        ("actorName", record.actor_name),
        ("subject", record.subject),
        ("subjectName", record.subject_name),
        ("request", record.request),
        ("hash", record.hash),
    ]
    said = " ".join(filter(None, (record.kind, record.actor_name, record.subject_name)))
    message = "\ufeff" + _harmless(said)
    whole = _assembled(header, [*fixed, ("data", record.data)], message)
    if len(whole) <= SYSLOG_LIMIT:
        return whole
    return _assembled(
        header, [*((name, value[:256]) for name, value in fixed), ("truncated", "1")], message[:512]
    )


def _assembled(header: str, parameters: Iterable[tuple[str, str]], message: str) -> bytes:
    elements = " ".join(f'{name}="{_sd_value(value)}"' for name, value in parameters if value)
    return f"{header} [{_SD_ID} {elements}] {message}".encode()


def _sd_value(value: str) -> str:
    return _SD_SPECIAL.sub(r"\\\1", _harmless(value))


def _harmless(value: str) -> str:
    return _FORGING.sub("\ufffd", value)


def _header(value: str, limit: int) -> str:
    return _HEADER_TEXT.sub("?", value)[:limit] or _NIL


def _data(text: str) -> object:
    """As an object if it is in the canonical form, so that nothing is lost on the way back; else as it is."""
    try:
        data = json.loads(text)
    except ValueError:
        return text
    return data if isinstance(data, dict) and _canonical(data) == text else text


def _canonical(data: object) -> str:
    return json.dumps(data, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
