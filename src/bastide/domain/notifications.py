"""Who is told of what, and when: read off the audit, so that nothing can happen without its notice, and no notice without it having happened.

(1) Only what is new is told: a record older than GIVE_UP is history.
(2) The person who asked is told what became of the request, but for what they did to it themselves; the approvers, that one waits; a channel of its own, what
    its settings name.
(3) That access is about to end is told `lead` before the end it was confirmed with, and not at all if the end moved, came, or was that near.
(4) A kill switch is one notice for each person and each channel, however many requests it ends.
(5) What nobody can act on any more is not sent: a request that was decided, an end that moved.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from bastide.domain.audit import Record
from bastide.domain.requests import KILLED, PENDING, Request, State
from bastide.domain.roles import Role

#: A message that could not be sent for so long says nothing any more.
GIVE_UP = timedelta(hours=24)
#: Who is asked to approve, resolved when the message is made: whoever is an approver then.
APPROVERS = "approvers"
#: The recipients that the channel's own address names.
CHANNEL = "channel"
#: Told one by one in one go, to one recipient; more are a number.
SINGLY = 5


class Occasion(StrEnum):
    """What is told."""

    ASKED = "asked"
    APPROVED = "approved"
    REJECTED = "rejected"
    UNANSWERED = "unanswered"
    ENDING = "ending"
    ENDED = "ended"
    FAILED = "failed"
    CANCELLED = "cancelled"
    KILL_SWITCH = "kill-switch"
    BREAK_GLASS = "break-glass"
    RECOVERY = "recovery"
    REVIEW = "review"


@dataclass(frozen=True, slots=True)
class Notice:
    """One thing to be told to one recipient: CHANNEL, APPROVERS or a SID. `ref` leads back to what happened: the number of its audit record, the moment of a
    kill switch, or a request with its end. The key is made once and never again, so no two claims of it have the same fence.
    """

    to: str
    occasion: Occasion
    ref: str

    @property
    def key(self) -> str:
        return f"{self.to}/{self.occasion.value}/{self.ref}"

    @classmethod
    def parse(cls, key: str) -> "Notice":
        """Out of `key`. Raises ValueError."""
        to, occasion, ref = key.split("/", 2)
        return cls(to, Occasion(occasion), ref)


@dataclass(frozen=True, slots=True)
class Told:
    """What a record gives rise to. `person`: whom it is about, APPROVERS, or nobody (empty). `at_large`: channels of their own are told as well. `role`: of the
    request; empty: of all.
    """

    occasion: Occasion
    ref: str
    due: datetime
    person: str
    role: str
    at_large: bool = True


_STATES_APPROVED = frozenset({State.SCHEDULED.value, State.PROCESSING.value})
_STATES_PENDING = frozenset(state.value for state in PENDING)
#: Kind of audit record to what it tells of, where the kind says it all.
_PLAIN = {
    "request.rejected": Occasion.REJECTED,
    "request.closed": Occasion.ENDED,
    "request.failed": Occasion.FAILED,
}
#: Of emergency accounts, and of a database that came back from the past: channels of their own are told at once, and nobody by name.
_LOUD = {
    "break-glass.used": Occasion.BREAK_GLASS,
    "break-glass.changed": Occasion.BREAK_GLASS,
    "break-glass.opened": Occasion.BREAK_GLASS,
    "recovery.began": Occasion.RECOVERY,
    "recovery.ended": Occasion.RECOVERY,
}
#: Of access reviews: each reviewer is told, and nobody else.
_REVIEWS = frozenset({"review.asked", "review.reminded"})
#: All kinds of audit records that can give rise to a notice.
KINDS = frozenset(_PLAIN) | {
    "request.submitted", "request.mfa", "request.vote.approve", "request.expired", "request.active", "request.extended",
    "request.closing", "request.cancelled", "kill-switch", *_LOUD, *_REVIEWS,
}  # fmt: skip


def told_of(record: Record, lead: timedelta, now: datetime) -> Told | None:
    """What is to be told of an audit record; None: nothing."""
    if now - record.at > GIVE_UP:  # (1)
        return None
    if record.kind in _REVIEWS or record.kind in _LOUD:
        return _of_no_request(record)
    data = json.loads(record.data)
    if record.kind in {"request.active", "request.extended"}:
        return _ending(record, data, lead)
    killed = str(data.get("reason", "")).startswith(KILLED)
    if record.kind == "kill-switch" or (killed and record.kind in {"request.closing", "request.cancelled"}):
        return _kill(record)
    occasion = None if killed else _occasion(record, data)  # (4)
    if occasion is None:
        return None
    person = APPROVERS if occasion is Occasion.ASKED else record.subject  # (2)
    return Told(occasion, str(record.seq), record.at, person, str(data.get("role", "")))


def _of_no_request(record: Record) -> Told:
    if record.kind in _REVIEWS:
        return Told(Occasion.REVIEW, str(record.seq), record.at, record.subject, "", at_large=False)
    return Told(_LOUD[record.kind], str(record.seq), record.at, "", "")


def _occasion(record: Record, data: dict[str, object]) -> Occasion | None:
    kind = record.kind
    if kind in {"request.submitted", "request.mfa"}:
        return Occasion.ASKED if data.get("state") == State.PENDING_APPROVAL.value else None
    if kind == "request.vote.approve":
        return Occasion.APPROVED if data.get("state") in _STATES_APPROVED else None
    if kind == "request.expired":
        return Occasion.UNANSWERED if data.get("from") in _STATES_PENDING else Occasion.ENDED
    if kind == "request.cancelled":
        return Occasion.CANCELLED if record.actor != record.subject else None
    return _PLAIN.get(kind)


def _ending(record: Record, data: dict[str, object], lead: timedelta) -> Told | None:
    """(3)."""
    ends_at = datetime.fromisoformat(str(data["ends_at"]))
    if ends_at - lead <= record.at:
        return None
    ref = f"{record.request}@{ends_at.isoformat()}"
    return Told(Occasion.ENDING, ref, ends_at - lead, record.subject, str(data.get("role", "")))


def _kill(record: Record) -> Told:
    """(4): all records of one kill switch have its moment, so their notices have one key."""
    at_large = record.kind == "kill-switch"
    return Told(
        Occasion.KILL_SWITCH,
        record.at.isoformat(),
        record.at,
        "" if at_large else record.subject,
        "",
        at_large,
    )


def ending_of(ref: str) -> tuple[str, datetime]:
    """The request and the end that an ENDING is about."""
    request, _, end = ref.partition("@")
    return request, datetime.fromisoformat(end)


def still_wanted(notice: Notice, request: Request | None, now: datetime) -> bool:
    """(5)."""
    if notice.occasion in {Occasion.KILL_SWITCH, Occasion.BREAK_GLASS, Occasion.RECOVERY, Occasion.REVIEW}:
        return True
    if request is None:
        return False
    if notice.occasion is Occasion.ASKED:
        return request.state is State.PENDING_APPROVAL and request.pending_until > now
    if notice.occasion is Occasion.ENDING:
        end = ending_of(notice.ref)[1]
        return request.state is State.ACTIVE and request.last_end() == end and end > now
    return True


def extensible(role: Role | None) -> bool:
    """Whether access by it can be prolonged by whoever has it (services/requests.py, extend)."""
    return role is not None and role.enabled and role.extension and not role.stages


def pause(jitter: float, failures: int) -> timedelta:
    """Until a channel that took nothing is tried again: 15 s, doubled each time, at most 5 min, and a quarter more or less. `jitter`: 0 to 1."""
    return min(timedelta(seconds=15) * float(2 ** min(failures, 8)), timedelta(minutes=5)) * (
        0.75 + jitter / 2
    )


def told_together(recipients: list[str]) -> Iterator[list[int]]:
    """Places in the list that one message is made of: each by itself, or all of one recipient who would get more than SINGLY."""
    by_recipient: dict[str, list[int]] = {}
    for place, one in enumerate(recipients):
        by_recipient.setdefault(one, []).append(place)
    for places in by_recipient.values():
        if len(places) > SINGLY:
            yield places
        else:
            yield from ([place] for place in places)
