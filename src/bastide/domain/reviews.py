"""Access reviews: somebody else looks at who may ask for what, line by line, and says keep or remove.

    planned -> open -> closing -> closed
    (begins at `opens_at`; ends at `closes_at`, or when an administrator ends it)
    planned -> cancelled
    (by an administrator, before it begins)

The rules this module keeps:
  (1) Nobody reviews himself, with neither account. Who would be is replaced by the fallback; where that is the same person, by any administrator but them.
  (2) A line is never nobody's: where nobody else can decide as the reviewer (gone, disabled, a group without others), the fallback reviews, and where that is the
      same with it, any administrator. It is looked at again whenever reviewers are told, and before the end; who gets a line then is asked late: (9).
  (3) A decision needs a second factor that was shown within the last five minutes, as an approval does; taking away needs a reason.
  (4) A decision can be changed until the review ends, and each one is in the audit. Afterwards nothing can.
  (5) On silence the review does what it said from the start, and reviewers are shown that.
  (6) What is said to be removed was read back. A right that comes through a group is not taken away by Bastide, and is not said to be.
  (7) Who is under review does not end it. With four eyes one person alone takes nobody out: who planned a review neither ends it nor says remove, and where silence
      removes, it takes decisions for SILENT at least, and each line is somebody's besides them: they count as nobody in (2), and plan none in which nobody else can speak.
  (8) What did not begin can be cancelled, and comes back no more. (7) holds for it too: who would be under review does not cancel it, and with four eyes nor does
      who planned it.
  (9) The time to decide counts from when it really began. Who is asked late, because nothing ran for SLEPT or longer when it was due or a line came to them, has SILENT from then on, or
      the whole time where that is shorter: what was slept through is nobody's silence. Where all is decided nobody is asked. Lines that are handed on put the end off by
      twice that time at most, over all: who can make reviewers come and go does not keep a review open.
"""

import calendar
import hashlib
import json
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum

from bastide.domain.errors import Conflict, InvalidInput, NotAuthorized
from bastide.domain.ids import RoleId, Sid, parse_name, parse_text
from bastide.domain.people import Actor, MfaProof, Right, require_fresh_mfa
from bastide.domain.roles import Subject, length
from bastide.domain.usage import UNUSED, Usage

REASON_LIMIT = 400
SHORTEST, LONGEST = timedelta(hours=1), timedelta(days=120)
LOOKBACK_LONGEST = timedelta(days=730)
#: So long reviewers can speak, where four eyes are asked for and their silence removes.
SILENT = timedelta(days=7)
#: What is done so much later than it was due was slept through: the service was off, or the database came from a backup.
SLEPT = timedelta(days=1)
_MONTHS = 24
_DAYS = 730


class Verdict(StrEnum):
    KEEP = "keep"
    REMOVE = "remove"


class State(StrEnum):
    PLANNED = "planned"
    OPEN = "open"
    CLOSING = "closing"
    CLOSED = "closed"
    CANCELLED = "cancelled"


class Outcome(StrEnum):
    """What became of a line. `by-hand`: a person must take it away, and the line says how."""

    KEPT = "kept"
    REMOVED = "removed"
    BY_HAND = "by-hand"
    GONE = "gone"


@dataclass(frozen=True, slots=True)
class Every:
    """How often a review comes back: after so many days, or months (one of them is 0)."""

    days: int = 0
    months: int = 0

    def after(self, moment: datetime) -> datetime:
        """The next time. In a month that is too short, its last day."""
        if self.days:
            return moment + timedelta(days=self.days)
        month = moment.month - 1 + self.months
        year, month = moment.year + month // 12, month % 12 + 1
        return moment.replace(
            year=year, month=month, day=min(moment.day, calendar.monthrange(year, month)[1])
        )


@dataclass(frozen=True, slots=True)
class Review:
    """`roles` empty: all that there are when it begins. `reviewer` None: each person's own manager. `digest` and `signature`: over all its lines, when it ended."""

    id: str
    name: str
    roles: tuple[RoleId, ...]
    reviewer: Subject | None
    fallback: Subject
    silence: Verdict
    opens_at: datetime
    lasts: timedelta
    remind: timedelta
    lookback: timedelta
    created_at: datetime
    created_by: Sid
    created_by_name: str
    every: Every | None = None
    state: State = State.PLANNED
    #: When it really began, and until when it takes decisions. Neither is known before.
    began_at: datetime | None = None
    until: datetime | None = None
    #: What could not be found out when it began, each a sentence.
    notes: tuple[str, ...] = ()
    reminded_at: datetime | None = None
    ended_at: datetime | None = None
    digest: str = ""
    key: str = ""
    signature: bytes = b""
    version: int = 0

    @property
    def closes_at(self) -> datetime:
        return self.until or self.opens_at + self.lasts

    @property
    def late(self) -> timedelta:
        """The time of who is asked late: (9)."""
        return min(self.lasts, SILENT)

    @property
    def latest(self) -> datetime:
        """Until when lines that are handed on can put the end off: (9)."""
        return (self.began_at or self.opens_at) + self.lasts + 2 * self.late

    def next_due(self) -> datetime | None:
        """When the worker looks at it again; None: never."""
        match self.state:
            case State.PLANNED:
                return self.opens_at
            case State.OPEN:
                return min(self.closes_at, (self.reminded_at or self.opens_at) + self.remind)
            case State.CLOSING:
                return self.ended_at or self.closes_at
            case State.CLOSED | State.CANCELLED:
                return None


@dataclass(frozen=True, slots=True)
class Decision:
    """What somebody said about a line."""

    verdict: Verdict
    reason: str
    by: Sid
    by_name: str
    at: datetime
    proof: MfaProof


@dataclass(frozen=True, slots=True)
class Line:
    """One person's right to ask for one role. `accounts`: both of a PAM user. `reviewer` None: any administrator. `direct`: the role names them; `through`: groups that
    it names, and that they are in. `why_reviewer`: how it came to that reviewer.
    """

    id: str
    review: str
    role: RoleId
    role_name: str
    person: str
    accounts: tuple[Sid, ...]
    direct: bool
    through: tuple[str, ...]
    reviewer: Subject | None
    why_reviewer: str
    usage: Usage = UNUSED
    enabled: bool = True
    decision: Decision | None = None
    outcome: Outcome | None = None
    #: What was done, or what a person must do.
    said: str = ""


@dataclass(frozen=True, slots=True)
class Tally:
    """How many lines a review has, what was said of them, and what became of them."""

    lines: int = 0
    keep: int = 0
    remove: int = 0
    kept: int = 0
    removed: int = 0
    by_hand: int = 0
    gone: int = 0

    @property
    def undecided(self) -> int:
        return self.lines - self.keep - self.remove


def tally(lines: Iterable[tuple[Verdict | None, Outcome | None]]) -> Tally:
    """Counted over what was said of each line and what became of it, where that is known."""
    pairs = list(lines)
    said, became = Counter(verdict for verdict, _ in pairs), Counter(outcome for _, outcome in pairs)
    return Tally(
        lines=len(pairs),
        keep=said[Verdict.KEEP],
        remove=said[Verdict.REMOVE],
        kept=became[Outcome.KEPT],
        removed=became[Outcome.REMOVED],
        by_hand=became[Outcome.BY_HAND],
        gone=became[Outcome.GONE],
    )


def check(review: Review, now: datetime, *, four_eyes: bool = False) -> Review:
    """Raises InvalidInput for what can never work, or breaks (7)."""
    parse_name("name", review.name)
    if not SHORTEST <= review.lasts <= LONGEST:
        raise InvalidInput("for", f"a review lasts from {length(SHORTEST)} to {length(LONGEST)}")
    if not SHORTEST <= review.remind <= LONGEST:
        raise InvalidInput("remind", f"reminders come every {length(SHORTEST)} to {length(LONGEST)}")
    if not timedelta(days=1) <= review.lookback <= LOOKBACK_LONGEST:
        raise InvalidInput(
            "lookback", f"evidence is of {length(timedelta(days=1))} to {length(LOOKBACK_LONGEST)}"
        )
    if review.closes_at <= now:
        raise InvalidInput("opens_at", "the review would be over already")
    _check_silence(review, four_eyes=four_eyes)
    every = review.every
    if every is not None:
        if (every.days > 0) == (every.months > 0) or every.days > _DAYS or every.months > _MONTHS:
            raise InvalidInput("every", f"say days (1 to {_DAYS}) or months (1 to {_MONTHS})")
        if every.after(review.opens_at) < review.closes_at:
            raise InvalidInput("every", "the next review would begin before this one ends")
    return review


def _check_silence(review: Review, *, four_eyes: bool) -> None:
    """(7)."""
    if four_eyes and review.silence is Verdict.REMOVE and review.lasts < SILENT:
        raise InvalidInput("for", f"with four eyes, silence removes after {length(SILENT)} at the earliest")


def mute(review: Review, own: Collection[Sid], *, four_eyes: bool) -> frozenset[Sid]:
    """(7): accounts as which nobody can speak against silence. `own`: all accounts of who planned it."""
    return frozenset(own) if four_eyes and review.silence is Verdict.REMOVE else frozenset()


def assign(
    accounts: Collection[Sid],
    wanted: Subject | None,
    missing: str,
    fallback: Subject,
    able: Collection[Sid],
) -> tuple[Subject | None, str]:
    """(1), (2): who reviews somebody, and why. `accounts`: all of that person. `wanted` None: nobody was found, and `missing` says why. `able`: those of the two
    as whom somebody can decide.
    """
    if wanted is not None and wanted.sid not in accounts and wanted.sid in able:
        return wanted, ""
    if wanted is None:
        why = missing
    elif wanted.sid in accounts:
        why = f"{wanted.name} would review himself"
    else:
        why = f"nobody else can decide as {wanted.name}"
    if fallback.sid not in accounts and fallback.sid in able:
        return fallback, f"{why}: the fallback reviews"
    also = "so would the fallback" if fallback.sid in accounts else f"nobody as the fallback {fallback.name}"
    return None, f"{why}, and {also}: an administrator reviews"


def may_decide(line: Line, actor: Actor, own: Collection[Sid]) -> bool:
    """Whether the caller, with whichever of their `own` accounts, is the reviewer of this line, and not the one who is reviewed: (1)."""
    if set(own) & set(line.accounts):
        return False
    if line.reviewer is None:
        return Right.ADMINISTER in actor.rights
    if line.reviewer.is_group:
        return line.reviewer.sid in actor.groups
    return line.reviewer.sid in own


def decide(
    review: Review,
    line: Line,
    *,
    actor: Actor,
    own: Collection[Sid],
    verdict: Verdict,
    reason: str,
    now: datetime,
    four_eyes: bool = False,
) -> Line:
    """The line as it was decided. `own`: all accounts of the caller. Raises Conflict, NotAuthorized, MfaRefused, InvalidInput."""
    if review.state is not State.OPEN or now >= review.closes_at:  # (4)
        raise Conflict(f"the review {review.name} takes no decisions now: it is {review.state.value}")
    if set(own) & set(line.accounts):  # (1)
        raise NotAuthorized("nobody reviews himself", remedy="ask the administrator of the review")
    if not may_decide(line, actor, own):
        raise NotAuthorized(f"{actor.name} is not the reviewer of this line")
    if four_eyes and verdict is Verdict.REMOVE and review.created_by in own:  # (7)
        raise NotAuthorized(
            "you planned this review, and four eyes are asked for: somebody else says remove",
            remedy="plan it with another reviewer, or let another administrator plan it",
        )
    proof = require_fresh_mfa(actor.mfa, now)  # (3)
    text = parse_text("reason", reason, REASON_LIMIT)
    if verdict is Verdict.REMOVE and not text:
        raise InvalidInput("reason", "taking away needs a reason")
    return replace(line, decision=Decision(verdict, text, actor.sid, actor.name, now, proof))


def verdict_of(review: Review, line: Line) -> Verdict:
    """(5)."""
    return review.silence if line.decision is None else line.decision.verdict


def require_may_end(
    review: Review, lines: Collection[Line], own: Collection[Sid], *, four_eyes: bool
) -> None:
    """(7). `own`: all accounts of the caller. Raises NotAuthorized."""
    if any(not set(own).isdisjoint(line.accounts) for line in lines):
        raise NotAuthorized(
            "who is under review does not end it", remedy="ask another administrator, or let it end by itself"
        )
    if four_eyes and review.created_by in own:
        raise NotAuthorized(
            "you planned this review, and four eyes are asked for",
            remedy="ask another administrator, or let it end by itself",
        )


def begin(review: Review, notes: tuple[str, ...], now: datetime) -> Review:
    """Open, with its reviewers told: (9)."""
    return replace(
        review, state=State.OPEN, began_at=now, until=now + review.lasts, notes=notes, reminded_at=now
    )


def slept_through(review: Review, now: datetime) -> bool:
    """Whether what is due of an open review is so late that reviewers were not asked in time: (9)."""
    due = review.next_due()
    return due is not None and now - due >= min(SLEPT, review.lasts)


def give_time(review: Review, now: datetime, *, slept: bool) -> Review:
    """Open for as long as who is asked late needs: (9). `slept`: because nothing ran, which has no limit. It can be over at `now` nevertheless."""
    until = now + review.late
    return replace(review, until=max(review.closes_at, until if slept else min(until, review.latest)))


def close(review: Review, now: datetime) -> Review:
    """No decision counts any more; what was decided is done next. Raises Conflict."""
    if review.state is not State.OPEN:
        remedy = (
            "`bastide review cancel` takes back one that did not begin"
            if review.state is State.PLANNED
            else ""
        )
        raise Conflict(f"the review {review.name} cannot be ended: it is {review.state.value}", remedy=remedy)
    return replace(review, state=State.CLOSING, ended_at=now)


def cancel(
    review: Review,
    candidates: Collection[Subject],
    mine: Collection[Sid],
    own: Collection[Sid],
    *,
    four_eyes: bool,
) -> Review:
    """(8). `candidates`: of its roles; `mine`: all accounts and groups of the caller; `own`: the accounts alone. Raises Conflict, NotAuthorized."""
    if review.state is not State.PLANNED:
        remedy = "`bastide review close` ends it now" if review.state is State.OPEN else ""
        raise Conflict(
            f"the review {review.name} cannot be cancelled: it is {review.state.value}", remedy=remedy
        )
    if any(one.sid in mine for one in candidates):
        raise NotAuthorized(
            "who would be under review does not cancel it", remedy="ask another administrator"
        )
    if four_eyes and review.created_by in own:
        raise NotAuthorized(
            "you planned this review, and four eyes are asked for", remedy="ask another administrator"
        )
    return replace(review, state=State.CANCELLED)


def following(review: Review, id_: str, now: datetime) -> Review | None:
    """The next one of a review that comes back, at its next time that is not over; None: it does not."""
    if review.every is None:
        return None
    opens = review.every.after(review.opens_at)
    while opens + review.lasts <= now:
        opens = review.every.after(opens)
    return Review(
        id=id_, name=review.name, roles=review.roles, reviewer=review.reviewer, fallback=review.fallback,
        silence=review.silence, opens_at=opens, lasts=review.lasts, remind=review.remind, lookback=review.lookback,
        created_at=now, created_by=review.created_by, created_by_name=review.created_by_name, every=review.every,
    )  # fmt: skip


def canonical(review: Review, lines: Sequence[Line]) -> str:
    """What is signed: every line with its evidence, its decision and what became of it, in one order, as JSON (sorted keys, no spaces, UTF-8)."""
    said = {
        "review": review.id,
        "name": review.name,
        "opened_at": (review.began_at or review.opens_at).isoformat(),
        "ended_at": review.ended_at.isoformat() if review.ended_at else "",
        "silence": review.silence.value,
        "notes": list(review.notes),
        "lines": [_plain(line) for line in sorted(lines, key=lambda one: one.id)],
    }
    return json.dumps(said, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def digest_of(text: str) -> str:
    """SHA-256, in hexadecimal."""
    return hashlib.sha256(text.encode()).hexdigest()


def signed_bytes(review: str, digest: str) -> bytes:
    """What the signing key signs: no checkpoint and no vote reads like this."""
    return f"bastide-review-1\n{review}\n{digest}\n".encode()


def _plain(line: Line) -> dict[str, object]:
    decision = line.decision
    return {
        "id": line.id,
        "role": line.role,
        "role_name": line.role_name,
        "person": line.person,
        "accounts": sorted(line.accounts),
        "direct": line.direct,
        "through": list(line.through),
        "reviewer": line.reviewer.name if line.reviewer else "",
        "used": line.usage.used,
        "last_used": line.usage.last.isoformat() if line.usage.last else "",
        "reasons": list(line.usage.reasons),
        "approved_by": list(line.usage.approved_by),
        "verdict": decision.verdict.value if decision else "",
        "reason": decision.reason if decision else "",
        "by": decision.by if decision else "",
        "by_name": decision.by_name if decision else "",
        "at": decision.at.isoformat() if decision else "",
        "outcome": line.outcome.value if line.outcome else "",
        "said": line.said,
    }
