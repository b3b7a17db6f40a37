"""From a row of work to a message: what happened is read again, and said as it is now."""

import hashlib
import json
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime, timedelta

from bastide.domain.audit import Record
from bastide.domain.errors import NotFound
from bastide.domain.ids import RequestId, Sid
from bastide.domain.notifications import GIVE_UP, Notice, Occasion, ending_of, extensible, still_wanted
from bastide.domain.requests import Decision, Request
from bastide.domain.roles import Role, length
from bastide.domain.wording import Facts, say, say_several
from bastide.services.notifications.ports import Message, Settings
from bastide.services.ports import AuditQuery, UnitOfWork, Work

_TICK = timedelta(microseconds=1)
_ID_LENGTH = 32


@dataclass(frozen=True, slots=True)
class Case:
    """One row of work with what it is about. `request` None: it is about none, or it is gone."""

    work: Work
    notice: Notice
    #: None: an ENDING, or the record is not there.
    record: Record | None
    request: Request | None
    role: Role | None

    @property
    def since(self) -> datetime:
        """When it was to be told."""
        return self.work.due if self.record is None else self.record.at

    def wanted(self, now: datetime) -> bool:
        """Whether anybody can still use it."""
        if self.record is None and self.notice.occasion is not Occasion.ENDING:
            return False
        return still_wanted(self.notice, self.request, now)

    def too_old(self, now: datetime) -> bool:
        return now - self.since > GIVE_UP

    def id(self, channel: str) -> str:
        """The same at each try, on every node; another one after a restored database has taken another way."""
        happened = "" if self.record is None else self.record.hash
        return _digest(channel, self.notice.key, happened)


@dataclass(frozen=True, slots=True)
class Letter:
    """A message, and the cases that are settled once it is sent. One of them, or several told together."""

    cases: tuple[Case, ...]
    message: Message


def read_case(uow: UnitOfWork, work: Work) -> Case:
    """What a row is about, as it is now."""
    notice = Notice.parse(work.key)
    record = _record(uow, notice)
    request_id = (
        ending_of(notice.ref)[0] if notice.occasion is Occasion.ENDING else record.request if record else ""
    )
    request = role = None
    if request_id:
        try:
            request = uow.requests.get(RequestId(request_id))
            role = uow.roles.get(request.role)
        except NotFound:
            pass
    return Case(work, notice, record, request, role)


def _record(uow: UnitOfWork, notice: Notice) -> Record | None:
    """The audit record that a notice leads back to."""
    if notice.occasion is Occasion.ENDING:
        return None
    if notice.occasion is Occasion.KILL_SWITCH:
        at = datetime.fromisoformat(notice.ref)
        query = AuditQuery(since=at, until=at + _TICK, kind="kill-switch", limit=1)
    else:
        query = AuditQuery(after_seq=int(notice.ref) - 1, limit=1)
    with closing(uow.audit.read(query)) as records:
        return next(records, None)


def write_one(case: Case, to: str, channel: str, settings: Settings) -> Letter:
    """A message about one case."""
    id_ = case.id(channel)
    subject, body = say(case.notice.occasion, _facts(case, settings), settings.language, id_)
    return Letter((case,), Message(id_, to, subject, body))


def write_several(cases: Sequence[Case], to: str, channel: str, settings: Settings) -> Letter:
    """One message for all of them."""
    id_ = _digest(*sorted(case.id(channel) for case in cases))
    asked = all(case.notice.occasion is Occasion.ASKED for case in cases)
    link = settings.approvals if asked else f"{settings.home}/"
    said = say_several([case.notice.occasion for case in cases], link, settings.language, id_)
    return Letter(tuple(cases), Message(id_, to, *said))


def requester(case: Case) -> Sid | None:
    """Who asked; None where nobody did."""
    return None if case.request is None else case.request.requester


def _facts(case: Case, settings: Settings) -> Facts:
    home = f"{settings.home}/"
    if case.notice.occasion is Occasion.KILL_SWITCH and case.record is not None:
        data = json.loads(case.record.data)
        return Facts(
            link=home,
            home=home,
            by=case.record.actor_name,
            what=str(data.get("what", "")),
            count=str(data.get("requests", "")),
            reason=str(data.get("reason", "")),
        )
    if case.notice.occasion is Occasion.BREAK_GLASS and case.record is not None:
        return _of_emergency(case.record, home)
    if case.notice.occasion is Occasion.RECOVERY and case.record is not None:
        return _of_recovery(case.record, home)
    if case.notice.occasion is Occasion.REVIEW and case.record is not None:
        return _of_review(case.record, settings)
    request = case.request
    if request is None:
        return Facts(link=home, home=home)
    asked = case.notice.occasion is Occasion.ASKED
    return Facts(
        link=settings.approvals if asked else settings.request(request.id),
        home=home,
        person=request.user_name,
        role=request.role_name,
        justification=request.justification,
        ticket=request.ticket,
        length=length(request.ttl),
        by=", ".join(vote.name for vote in request.votes if vote.decision is Decision.APPROVE),
        reason=request.reason,
        start=request.start_at,
        until=request.pending_until,
        end=request.ends_at,
        true_end=request.true_end,
        extensible=extensible(case.role),
    )


def _of_emergency(record: Record, home: str) -> Facts:
    """What the watch saw, or what a receipt says."""
    data = json.loads(record.data)
    opened = f"the envelope was opened by {data.get('by')} on {data.get('host')}"
    return Facts(
        link=home,
        home=home,
        person=record.subject_name,
        what=str(data.get("text") or opened),
        reason=str(data.get("reason", "")),
    )


def _of_review(record: Record, settings: Settings) -> Facts:
    """How much waits for a reviewer, and until when."""
    data = json.loads(record.data)
    return Facts(
        link=f"{settings.home}/reviews",
        home=f"{settings.home}/",
        what=record.subject_name,
        count=str(data.get("lines", "")),
        until=datetime.fromisoformat(str(data["until"])),
    )


def _of_recovery(record: Record, home: str) -> Facts:
    """That it began, or is over."""
    data = json.loads(record.data)
    over = record.kind == "recovery.ended"
    said = "granting is open again" if over else "nothing is granted"
    return Facts(link=home, home=home, what=said, reason=str(data.get("cause", "")))


def _digest(*parts: str) -> str:
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:_ID_LENGTH]
