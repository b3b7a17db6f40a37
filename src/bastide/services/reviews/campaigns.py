"""What people do with access reviews: plan one, look, decide a line, end or cancel it, hand on its signed result. Each change is one commit with its audit record."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from bastide.domain import reviews
from bastide.domain.audit import Event
from bastide.domain.errors import AuditBroken, Conflict, InvalidInput
from bastide.domain.ids import Sid, parse_id
from bastide.domain.people import Actor, Right, require, require_reader
from bastide.domain.reviews import Every, Line, Review, State, Tally, Verdict
from bastide.domain.roles import Subject
from bastide.services.events import by_actor
from bastide.services.lookup import find_role, owner_of
from bastide.services.pace import REVIEW
from bastide.services.people import Subjects
from bastide.services.ports import Random, Signer, Store, UnitOfWork
from bastide.services.reviews.reviewers import People, Reviewers
from bastide.services.reviews.ways import Ways


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """A review as typed. `roles` empty: all. `reviewer` empty: each person's own manager. `opens_at` None: now."""

    name: str
    roles: tuple[str, ...] = ()
    reviewer: str = ""
    fallback: str
    silence: Verdict
    opens_at: datetime | None = None
    lasts: timedelta = timedelta(days=14)
    remind: timedelta = timedelta(days=3)
    lookback: timedelta = timedelta(days=90)
    every: Every | None = None


@dataclass(frozen=True, slots=True)
class Signed:
    """A review that ended: the text that was signed, and by which key. It was checked just now."""

    review: Review
    text: str

    def handed_on(self) -> Mapping[str, str]:
        """All that it takes to check it elsewhere. `signature`: in hexadecimal."""
        review = self.review
        return {
            "review": review.id,
            "text": self.text,
            "digest": review.digest,
            "key": review.key,
            "signature": review.signature.hex(),
        }


class Campaigns:
    """The use cases. All raise NotAuthorized. `four_eyes`: as of roles (services/roles.py)."""

    def __init__(
        self,
        *,
        store: Store,
        people: People,
        subjects: Subjects,
        signer: Signer,
        random: Random,
        now: Callable[[], datetime],
        four_eyes: bool = False,
    ) -> None:
        self._store = store
        self._people = people
        self._subjects = subjects
        self._signer = signer
        self._random = random
        self._now = now
        self._four_eyes = four_eyes

    def create(self, actor: Actor, draft: Draft) -> Review:
        """Plan a review. Raises InvalidInput, NotFound, Ambiguous, DirectoryUnavailable."""
        require(actor, Right.ADMINISTER)
        review = self._drafted(actor, draft)
        self._must_be_heard(review)
        with self._store.write() as uow:
            now = self._now()
            roles = tuple(find_role(uow, name).id for name in dict.fromkeys(draft.roles))
            review = replace(review, roles=roles)
            uow.reviews.add(reviews.check(review, now, four_eyes=self._four_eyes))
            uow.audit.append(self._review_event("review.created", actor, review, **_rules(review)))
            uow.work.poke(REVIEW, review.id, review.opens_at)
            uow.commit()
        return review

    def _drafted(self, actor: Actor, draft: Draft) -> Review:
        """Without its roles."""
        now = self._now()
        return Review(
            id=self._random.uuid(),
            name=draft.name.strip(),
            roles=(),
            reviewer=self._subjects.find("reviewer", draft.reviewer) if draft.reviewer else None,
            fallback=self._subjects.find("fallback", draft.fallback),
            silence=draft.silence,
            opens_at=draft.opens_at or now,
            lasts=draft.lasts,
            remind=draft.remind,
            lookback=draft.lookback,
            created_at=now,
            created_by=actor.sid,
            created_by_name=actor.name,
            every=draft.every,
        )

    def _must_be_heard(self, review: Review) -> None:
        """(7): where silence removes, somebody besides who plans it can speak. Raises InvalidInput."""
        if not reviews.mute(review, [review.created_by], four_eyes=self._four_eyes):
            return
        reviewers = Reviewers(review, self._people, self._now(), self._four_eyes)
        for field, subject in (("reviewer", review.reviewer), ("fallback", review.fallback)):
            if subject is not None and not reviewers.speaks(subject):
                raise InvalidInput(
                    field,
                    f"nobody but you can decide as {subject.name}: with four eyes, where silence removes, somebody else must be able to",
                    remedy="name somebody else, or a group with others in it, or let silence keep",
                )

    def all(self, actor: Actor) -> tuple[Review, ...]:
        """The latest first."""
        require_reader(actor)
        with self._store.read() as uow:
            return uow.reviews.all()

    def counted(self, actor: Actor, most: int) -> tuple[tuple[Review, Tally], ...]:
        """The latest first, at most so many, each with how far it got."""
        require_reader(actor)
        with self._store.read() as uow:
            return tuple((one, uow.reviews.tally(one.id)) for one in uow.reviews.all()[:most])

    def show(self, actor: Actor, id_: str) -> tuple[Review, tuple[Line, ...]]:
        """One with all its lines. Raises NotFound."""
        require_reader(actor)
        with self._store.read() as uow:
            return uow.reviews.get(parse_id("review", id_)), uow.reviews.lines(parse_id("review", id_))

    def waiting(self, actor: Actor) -> tuple[tuple[Review, tuple[Line, ...]], ...]:
        """What is the caller's to review, those that are decided already too: they can be changed until the end."""
        require(actor, Right.USE)
        with self._store.read() as uow:
            now = self._now()
            own = owner_of(uow, actor)[1]
            found = [
                (
                    review,
                    tuple(
                        line for line in uow.reviews.lines(review.id) if reviews.may_decide(line, actor, own)
                    ),
                )
                for review in uow.reviews.open()
                if now < review.closes_at
            ]
        return tuple((review, lines) for review, lines in found if lines)

    def decide(self, actor: Actor, id_: str, line_id: str, verdict: Verdict, reason: str = "") -> Line:
        """Say keep or remove of one line. Raises NotFound, Conflict, MfaRefused, InvalidInput."""
        require(actor, Right.USE)
        with self._store.write() as uow:
            now = self._now()
            review = uow.reviews.get(parse_id("review", id_))
            line = uow.reviews.line(review.id, parse_id("line", line_id))
            own = owner_of(uow, actor)[1]
            after = reviews.decide(
                review,
                line,
                actor=actor,
                own=own,
                verdict=verdict,
                reason=reason,
                now=now,
                four_eyes=self._four_eyes,
            )
            uow.reviews.save_line(after)
            # A decision after the end would count for nothing: who ends the review meanwhile wins over it.
            uow.reviews.save(review)
            said = {"line": line.id, "person": line.person, "role": line.role_name, "verdict": verdict.value}
            reasoned = after.decision.reason if after.decision is not None else ""
            uow.audit.append(self._review_event("review.decided", actor, review, **said, reason=reasoned))
            uow.commit()
        return after

    def require_may_end(self, actor: Actor, id_: str) -> None:
        """Whether the caller can `close` it, or `cancel` one that did not begin, by what the database knows and the caller's groups: no directory is asked. Raises
        NotFound, Conflict, NotAuthorized.
        """
        require(actor, Right.ADMINISTER)
        with self._store.read() as uow:
            found, own = uow.reviews.get(parse_id("review", id_)), owner_of(uow, actor)[1]
            if found.state is State.PLANNED:
                mine = {*own, *actor.sids}
                reviews.cancel(found, _candidates(uow, found), mine, own, four_eyes=self._four_eyes)
                return
            reviews.require_may_end(found, uow.reviews.lines(found.id), own, four_eyes=self._four_eyes)
            reviews.close(found, self._now())

    def close(self, actor: Actor, id_: str) -> Review:
        """End it now: what nobody decided goes by what was said of silence. Raises NotFound, Conflict."""
        require(actor, Right.ADMINISTER)
        with self._store.write() as uow:
            now = self._now()
            found = uow.reviews.get(parse_id("review", id_))
            own = owner_of(uow, actor)[1]
            reviews.require_may_end(found, uow.reviews.lines(found.id), own, four_eyes=self._four_eyes)
            review = reviews.close(found, now)
            saved = uow.reviews.save(review)
            uow.audit.append(self._review_event("review.ended", actor, review))
            uow.work.poke(REVIEW, review.id, now)
            uow.commit()
        return saved

    def cancel(self, actor: Actor, id_: str) -> Review:
        """Take back one that did not begin; it comes back no more. Which groups the caller's other account is in is asked of the directories.
        Raises NotFound, Conflict, DirectoryUnavailable.
        """
        require(actor, Right.ADMINISTER)
        with self._store.read() as uow:
            groups = _groups_of(uow, uow.reviews.get(parse_id("review", id_)))
            own = owner_of(uow, actor)[1]
        leading = Ways(self._people.forests).leading(groups, own)
        with self._store.write() as uow:
            found = uow.reviews.get(parse_id("review", id_))
            if not _groups_of(uow, found) <= groups:
                raise Conflict("a group became a candidate at this moment", remedy="try again")
            review = reviews.cancel(
                found, _candidates(uow, found), {*own, *actor.sids, *leading}, own, four_eyes=self._four_eyes
            )
            saved = uow.reviews.save(review)
            uow.audit.append(self._review_event("review.cancelled", actor, review))
            uow.work.poke(REVIEW, review.id, self._now())
            uow.commit()
        return saved

    def result(self, actor: Actor, id_: str) -> Signed:
        """The signed result, made anew from the lines and compared with its signature. Raises NotFound, Conflict, AuditBroken if somebody changed it."""
        review, lines = self.show(actor, id_)
        if review.state is not State.CLOSED:
            raise Conflict(
                f"the review {review.name} is {review.state.value}: its result is signed when it is closed"
            )
        text = reviews.canonical(review, lines)
        digest = reviews.digest_of(text)
        signed = reviews.signed_bytes(review.id, review.digest)
        if digest != review.digest or not self._signer.verify(review.key, signed, review.signature):
            raise AuditBroken(0, f"the result of the review {review.name} is not what was signed")
        return Signed(review, text)

    def _review_event(self, kind: str, actor: Actor, review: Review, **data: object) -> Event:
        said = {"review": review.id, **data}
        return by_actor(kind, self._now(), actor, subject_name=review.name, data=said)


def _candidates(uow: UnitOfWork, review: Review) -> tuple[Subject, ...]:
    """Of its roles, as they are now."""
    roles = [one for one in uow.roles.all() if not review.roles or one.id in review.roles]
    return tuple(one for role in roles for one in role.candidates)


def _groups_of(uow: UnitOfWork, review: Review) -> frozenset[Sid]:
    return frozenset(one.sid for one in _candidates(uow, review) if one.is_group)


def _rules(review: Review) -> Mapping[str, object]:
    return {
        "roles": list(review.roles),
        "reviewer": review.reviewer.name if review.reviewer else "manager",
        "fallback": review.fallback.name,
        "silence": review.silence.value,
        "opens_at": review.opens_at.isoformat(),
        "closes_at": review.closes_at.isoformat(),
    }
