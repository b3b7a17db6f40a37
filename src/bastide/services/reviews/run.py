"""The worker's part of access reviews. In order:

(1) Begin: who may ask for what is read from the directories, with the evidence and a reviewer for each line; lines, state and audit are one commit.
(2) Tell: each reviewer once when it begins, and again every so often while lines of theirs wait, as an audit record that notifications read. Each time, and
    before the end, the line of a reviewer who cannot decide any more is handed on (reviewers.py).
(3) End: from `closes_at` on no decision counts. What was slept through or was handed on just now does not end yet: its
    reviewers are reminded, and have time, but for lines that were handed on again and again (domain/reviews.py, rule 9).
(4) Do: each line in a commit of its own, so that what stops half-way goes on there; what is said to be removed was read back in it, and right before it the
    directories were asked whether a group leads to the person still. Before each line the lease is asked, and in its commit whether the row is still ours: who
    stood still for longer than the lease does no line that another node has taken over. Who was to be removed gets nothing by what they asked for before: what
    waits for a factor, an approval or its start ends in the commit of the line.
(5) Sign: the digest over all lines, with the key that signs the audit; the next review of a row is planned in the same commit.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime

from bastide.domain import requests, reviews
from bastide.domain.errors import NotFound
from bastide.domain.ids import Sid
from bastide.domain.requests import OPEN
from bastide.domain.reviews import Line, Outcome, Review, State, Verdict
from bastide.domain.roles import Role
from bastide.domain.usage import UNUSED, usage_of
from bastide.services.closing import move
from bastide.services.eligibility import Eligibility, Eligible
from bastide.services.events import by_worker
from bastide.services.history import requests_since
from bastide.services.pace import REVIEW
from bastide.services.ports import Lease, Random, Signer, Store, UnitOfWork, Work
from bastide.services.reviews.reviewers import People, Reviewers
from bastide.services.reviews.ways import Found, Ways
from bastide.services.roles import Roles


class ReviewWork:
    """The job."""

    def __init__(
        self,
        *,
        store: Store,
        people: People,
        eligibility: Eligibility,
        roles: Roles,
        signer: Signer,
        random: Random,
        now: Callable[[], datetime],
        four_eyes: bool = False,
    ) -> None:
        self._store = store
        self._people = people
        self._eligibility = eligibility
        self._roles = roles
        self._signer = signer
        self._random = random
        self._now = now
        self._four_eyes = four_eyes

    def run(self, works: Sequence[Work], lease: Lease) -> None:
        """Raises LostLease, StoreError."""
        for work in works:
            self._one(work, lease)

    def _one(self, work: Work, lease: Lease) -> None:
        with self._store.read() as uow:
            try:
                review = uow.reviews.get(work.key)
            except NotFound:
                review = None
        now = self._now()
        if review is None:
            self._finish(work, None)
        elif review.state is State.PLANNED and review.opens_at <= now:
            self._begin(work, review)
        elif review.state is State.OPEN:
            self._ask_again(work, review)
        elif review.state is State.CLOSING:
            self._do(work, review, lease)
        else:
            self._finish(work, review.next_due())

    def _finish(self, work: Work, due: datetime | None) -> None:
        with self._store.write() as uow:
            uow.work.finish(work, due)
            uow.commit()

    # ----------------------------------------------------------------------------------------------------------- begin

    def _begin(self, work: Work, review: Review) -> None:
        """(1), (2)."""
        with self._store.read() as uow:
            known = uow.roles.all()
        chosen = [role for role in known if not review.roles or role.id in review.roles]
        people, problems = self._eligibility.people(chosen)
        usage = usage_of(requests_since(self._store, self._now() - review.lookback))
        reviewers = Reviewers(review, self._people, self._now(), self._four_eyes)
        lines = []
        for one in people:
            accounts = _accounts(one)
            subject, why = reviewers.choose(one.name, accounts)
            used = usage.get((one.user.id, one.role.id), UNUSED) if one.user is not None else UNUSED
            lines.append(
                Line(
                    id=self._random.uuid(), review=review.id, role=one.role.id, role_name=one.role.name, person=one.name,
                    accounts=accounts, direct=one.direct, through=one.through, reviewer=subject, why_reviewer=why,
                    usage=used, enabled=one.enabled,
                )
            )  # fmt: skip
        asked = reviewers.to_tell(lines)
        with self._store.write() as uow:
            now = self._now()
            begun = reviews.begin(review, problems, now)
            uow.reviews.add_lines(tuple(lines))
            uow.reviews.save(begun)
            data = {"review": review.id, "lines": len(lines), "notes": list(problems)}
            uow.audit.append(by_worker("review.opened", now, subject_name=review.name, data=data))
            _tell_reviewers("review.asked", uow, begun, asked, now)
            uow.work.finish(work, begun.next_due())
            uow.commit()

    # ---------------------------------------------------------------------------------------------------- remind, end

    def _ask_again(self, work: Work, review: Review) -> None:
        """(2), (3)."""
        due, now = review.next_due(), self._now()
        if due is not None and due > now:
            self._finish(work, due)
            return
        with self._store.read() as uow:
            lines = uow.reviews.lines(review.id)
        reviewers = Reviewers(review, self._people, now, self._four_eyes)
        seen = {line.id: reviewers.handed_on(line) for line in lines}
        slept = any(line.decision is None for line in lines) and reviews.slept_through(review, now)
        late = slept or any(seen[line.id] != line for line in lines)
        if (reviews.give_time(review, now, slept=slept) if late else review).closes_at <= now:
            self._end(work, review)
            return
        asked = reviewers.to_tell(seen.values())
        with self._store.write() as uow:
            before = uow.reviews.get(review.id)
            if before.state is not State.OPEN:
                uow.work.finish(work, before.next_due())
                uow.commit()
                return
            given = reviews.give_time(before, now, slept=slept) if late else before
            after = replace(given, reminded_at=now)
            uow.reviews.save(after)
            for line in uow.reviews.lines(review.id):
                _hand_on(uow, after, line, seen[line.id], now)
            if after.until != before.until:
                data = {"review": review.id, "until": after.closes_at.isoformat()}
                uow.audit.append(by_worker("review.prolonged", now, subject_name=review.name, data=data))
            _tell_reviewers("review.reminded", uow, after, asked, now)
            uow.work.finish(work, after.next_due())
            uow.commit()

    def _end(self, work: Work, review: Review) -> None:
        """(3)."""
        with self._store.write() as uow:
            now = self._now()
            ended = reviews.close(uow.reviews.get(review.id), now)
            uow.reviews.save(ended)
            uow.audit.append(
                by_worker("review.ended", now, subject_name=review.name, data={"review": review.id})
            )
            uow.work.finish(work, now)
            uow.commit()

    # -------------------------------------------------------------------------------------------------------- do, sign

    def _do(self, work: Work, review: Review, lease: Lease) -> None:
        """(4), (5)."""
        with self._store.read() as uow:
            waiting = [line for line in uow.reviews.lines(review.id) if line.outcome is None]
        ways = Ways(self._people.forests)
        for line in waiting:
            lease.require()
            found = self._looked(ways, review, line)
            with self._store.write() as uow:
                uow.work.require(work)
                done = self._settled(uow, review, line, found)
                if reviews.verdict_of(review, line) is Verdict.REMOVE:
                    self._end_what_waits(uow, review, line, found)
                uow.reviews.save_line(done)
                data = {
                    "review": review.id, "line": line.id, "role": line.role_name, "person": line.person,
                    "decided": "nobody" if line.decision is None else line.decision.by_name,
                    "outcome": "" if done.outcome is None else done.outcome.value, "said": done.said,
                }  # fmt: skip
                subject = line.accounts[0] if line.accounts else ""
                uow.audit.append(
                    by_worker(
                        "review.applied", self._now(), subject=subject, subject_name=line.person, data=data
                    )
                )
                uow.commit()
        self._sign(work, review)

    def _looked(self, ways: Ways, review: Review, line: Line) -> Found:
        """What leads to a person who is to be removed, before the transaction: a directory may take its time. Raises StoreError."""
        with self._store.read() as uow:
            users = [user for sid in line.accounts if (user := uow.users.by_sid(sid)) is not None]
            found = Found(frozenset(line.accounts).union(*(user.sids for user in users)))
            if reviews.verdict_of(review, line) is Verdict.KEEP:
                return found
            try:
                role = uow.roles.get(line.role)
            except NotFound:
                return found
        return ways.of(role, found.accounts)

    def _settled(self, uow: UnitOfWork, review: Review, line: Line, found: Found) -> Line:
        """What becomes of one line, in this transaction."""
        if reviews.verdict_of(review, line) is Verdict.KEEP:
            return replace(line, outcome=Outcome.KEPT)
        try:
            role = uow.roles.get(line.role)
        except NotFound:
            return replace(line, outcome=Outcome.GONE, said="the role is gone")
        named = _names(role, line)
        if named:
            because = {"review": review.id, "line": line.id}
            if role.enabled or [one for one in role.candidates if one.sid not in line.accounts]:
                self._roles.withdraw(uow, role.id, line.accounts, because)
            role = uow.roles.get(role.id)  # read back
            if _names(role, line):
                said = f"the only candidate stays, and {role.name} is switched off: remove the role, or give it other candidates"
                return replace(line, outcome=Outcome.BY_HAND, said=said)
        if said := found.still(role, line.person):
            return replace(line, outcome=Outcome.BY_HAND, said=said)
        if not (line.direct or named):
            return replace(
                line, outcome=Outcome.GONE, said="no group among the candidates leads to them any more"
            )
        return replace(line, outcome=Outcome.REMOVED)

    def _end_what_waits(self, uow: UnitOfWork, review: Review, line: Line, found: Found) -> None:
        """Where a group is a candidate nobody asks again whether a person is one, when a request is approved or begins."""
        now = self._now()
        users = {user.id for sid in found.accounts if (user := uow.users.by_sid(sid)) is not None}
        for before in uow.requests.of_users(users, OPEN):
            if before.role == line.role and not requests.has_begun(before):
                move(
                    uow,
                    before,
                    requests.withdraw(before, f"taken away by the review {review.name}", now),
                    now,
                )

    def _sign(self, work: Work, review: Review) -> None:
        with self._store.write() as uow:
            now = self._now()
            current = uow.reviews.get(review.id)
            lines = uow.reviews.lines(review.id)
            digest = reviews.digest_of(reviews.canonical(current, lines))
            signature = self._signer.sign(reviews.signed_bytes(review.id, digest))
            closed = replace(
                current, state=State.CLOSED, digest=digest, key=self._signer.key_id, signature=signature
            )
            uow.reviews.save(closed)
            counts = {one.value: sum(line.outcome is one for line in lines) for one in Outcome}
            data = {"review": review.id, "digest": digest, "key": self._signer.key_id, **counts}
            uow.audit.append(by_worker("review.closed", now, subject_name=review.name, data=data))
            after = reviews.following(closed, self._random.uuid(), now)
            if after is not None:
                uow.reviews.add(after)
                uow.work.poke(REVIEW, after.id, after.opens_at)
                told = {"review": after.id, "after": review.id, "opens_at": after.opens_at.isoformat()}
                uow.audit.append(by_worker("review.planned", now, subject_name=review.name, data=told))
            uow.work.finish(work, None)
            uow.commit()


def _hand_on(uow: UnitOfWork, review: Review, line: Line, seen: Line, now: datetime) -> None:
    """The line to the reviewer that was found, unless somebody decided it meanwhile."""
    if line.decision is not None or seen.reviewer == line.reviewer:
        return
    uow.reviews.save_line(replace(line, reviewer=seen.reviewer, why_reviewer=seen.why_reviewer))
    data = {
        "review": review.id, "line": line.id, "role": line.role_name, "person": line.person,
        "from": line.reviewer.name if line.reviewer else "", "to": seen.reviewer.name if seen.reviewer else "",
        "why": seen.why_reviewer,
    }  # fmt: skip
    subject = seen.reviewer.sid if seen.reviewer else ""
    uow.audit.append(by_worker("review.handed-on", now, subject=subject, subject_name=review.name, data=data))


def _tell_reviewers(
    kind: str, uow: UnitOfWork, review: Review, asked: Mapping[Sid, int], now: datetime
) -> None:
    """A record for each reviewer, which notifications read. `asked`: how many lines wait for whom."""
    for sid, count in asked.items():
        told = {"review": review.id, "lines": count, "until": review.closes_at.isoformat()}
        uow.audit.append(by_worker(kind, now, subject=sid, subject_name=review.name, data=told))


def _accounts(one: Eligible) -> tuple[Sid, ...]:
    return tuple(sorted(one.user.sids)) if one.user is not None else (one.sid,)


def _names(role: Role, line: Line) -> bool:
    """Whether the role names one of the person's accounts."""
    return any(one.sid in line.accounts for one in role.candidates)
