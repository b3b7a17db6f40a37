"""What is unusual of a person: an hour or a place that the audit of the last days does not show (ADR 0020, 5). Pure."""

from collections.abc import Sequence
from datetime import UTC

from bastide.domain.alerts import Rule, Sighting, Signal, who
from bastide.domain.alike import said_by
from bastide.domain.audit import Record

_HOURS = 24


def person_of(record: Record) -> str:
    """Whose earlier records of the same kind say what is usual: a SID, or a name."""
    return record.subject or record.actor or record.actor_name


def compared(rule: Rule, record: Record, earlier: Sequence[Record], days: int) -> Sighting | None:
    """Whether an hour or a host is one that a person was not seen in or at during the last `days`; None: it is usual, or too little is known to say."""
    if len(earlier) < rule.threshold:
        return None
    person = who(record)
    if rule.signal is Signal.UNUSUAL_HOUR:
        found = _unusual_hour(record, earlier)
        title = f"{person} asks at an unusual hour"
    else:
        found = _unusual_host(record, earlier)
        title = f"{person} signs in from an unusual place"
    if not found:
        return None
    return Sighting(
        key=person_of(record),
        title=title,
        text=f"{found}, among {len(earlier)} in the last {days} days; audit record {record.seq}",
        at=record.at,
        subject=person_of(record),
        subject_name=person,
        record=record.seq,
    )


def _unusual_hour(record: Record, earlier: Sequence[Record]) -> str:
    """An hour is usual if there was one in it, in the one before or the one after it."""
    hour = record.at.astimezone(UTC).hour
    known = {one.at.astimezone(UTC).hour for one in earlier}
    if known & {(hour + away) % _HOURS for away in (-1, 0, 1)}:
        return ""
    hours = ", ".join(f"{one:02}" for one in sorted(known))
    return f"{record.at.astimezone(UTC):%H:%M} UTC is not near any hour before ({hours})"


def _unusual_host(record: Record, earlier: Sequence[Record]) -> str:
    here = str(said_by(record).get("address", ""))
    known = {str(said_by(one).get("address", "")) for one in earlier} - {""}
    if not here or not known or here in known:
        return ""
    few = sorted(known)[:5]
    more = f" and {len(known) - len(few)} more" if len(known) > len(few) else ""
    return f"{here} is none of the places before ({', '.join(few)}{more})"
