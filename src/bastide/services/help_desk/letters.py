"""Tells a person what the help desk did, so that an operator who works against people is seen by them. One row of durable work for each order, planned in its commit; and one
for each code that goes elsewhere than the last one did (verify.py (7)).

(1) What is told and when is decided by what the systems said (domain/help_desk_told.py), read off the database when it is looked at: no word before a system took anything.
(2) It goes to what the person registered, else to the directory's `mail`, both as they are then (post.py); that a code goes elsewhere, to where the last one went.
    What goes to a telephone is handed to a job of its own: a program that hangs, half a minute for each message, holds up no mail.
(3) Only with a lease that is surely ours something is sent. What was sent and the end of the row are one commit: once, and after a kill between the two once more.
(4) Who has no destination, or is not there any more, is not told; a word that no channel takes, or of which nobody can say where to, is tried for a day, and once also
    where that day is over. The audit says so, and of whom.
(5) Nothing of it holds a password or a code; rows and audit hold no address, and what a channel said of a message is kept without it.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

from bastide.domain.audit import Record
from bastide.domain.errors import BastideError, NotFound, TargetUnavailable
from bastide.domain.help_desk_told import ELSEWHERE, LIFE, Deed, Part, Progress, Word, step
from bastide.domain.help_desk_words import say_done, say_elsewhere
from bastide.domain.management_agents import MvId
from bastide.domain.notifications import pause
from bastide.domain.passwords import Code, Delivery, Purpose, State
from bastide.domain.spelling import told
from bastide.domain.wording import Language
from bastide.services.events import by_worker
from bastide.services.help_desk.post import Destination, Post
from bastide.services.help_desk.tier import Tier
from bastide.services.help_desk.verify import CONTEXT
from bastide.services.pace import HELP_DESK, HELP_DESK_TEXT
from bastide.services.passwords.person import named, names_of
from bastide.services.ports import AuditQuery, Lease, Sealer, Store, UnitOfWork, Work

BATCH = 10
_SAID = frozenset({"help-desk.told", "help-desk.not-told"})
_NO_CHANNEL = "this server sends no messages"
_NOWHERE = "nothing is registered, and the directory has no mail address"
_LATE = "no channel took it within a day"
_UNKNOWN = "within a day nobody could say where to"
_NO_TELEPHONES = "nothing is sent to telephones any more"


@dataclass(frozen=True, slots=True)
class _Letter:
    """What is to be said. `to` None: there is nowhere, and `why` says why, or nobody can say where to now, and `error` says why. `data` is for the audit. Not for logs: its
    repr holds nothing.
    """

    id: str
    person: str
    name: str
    operation: str
    data: dict[str, object]
    until: datetime
    write: Callable[[Language], tuple[str, str]]
    to: Destination | None = None
    why: str = ""
    error: str = ""

    def __repr__(self) -> str:
        return "_Letter(<hidden>)"


@dataclass(frozen=True, slots=True)
class _Turn:
    """What is to be done with a row. `look_at` None: nothing more comes."""

    letter: _Letter | None = None
    look_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class _Order:
    """An order as the audit has it, and what became of it."""

    record: Record
    name: str
    deed: Deed
    progress: Progress
    letters: int


class Letters:
    """The job. `post` None: this server sends nothing."""

    def __init__(
        self,
        *,
        store: Store,
        tier: Tier,
        post: Post | None,
        sealer: Sealer,
        now: Callable[[], datetime],
        jitter: Callable[[], float],
    ) -> None:
        self._store = store
        self._tier = tier
        self._post = post
        self._sealer = sealer
        self._now = now
        self._jitter = jitter

    def run(self, works: Sequence[Work], lease: Lease) -> None:
        """Raises LostLease, StoreError."""
        for work in works:
            self._one(work, lease)

    def _one(self, work: Work, lease: Lease) -> None:
        what, _, id_ = work.key.partition(":")
        try:
            turn = self._of_code(id_) if what == ELSEWHERE else self._of_order(id_)
        except BastideError as error:
            self._again(work, error.message)
            return
        letter = turn.letter
        if letter is not None and letter.error and (self._now() < letter.until or not work.attempts):
            self._again(work, letter.error)
            return
        if letter is None or letter.to is None:  # (4)
            self._settle(work, turn, "" if letter is None else letter.why or _UNKNOWN)
            return
        if letter.to.by_text and work.kind == HELP_DESK:  # (2)
            self._hand_over(work)
            return
        lease.require()  # (3)
        try:
            self._send(letter, letter.to)
        except BastideError as error:
            if self._now() < letter.until:
                self._again(work, told(error.message, (letter.to.to,)))  # (5)
            else:
                self._settle(work, turn, _LATE)
            return
        self._settle(work, turn, "")

    def _send(self, letter: _Letter, to: Destination) -> None:
        """Raises TargetUnavailable, NotConfigured."""
        if self._post is None:
            raise TargetUnavailable(_NO_CHANNEL)
        subject, body = letter.write(self._post.language)
        problem = self._post.send(letter.id, to, subject, body)
        if problem:
            raise TargetUnavailable(problem)

    def _settle(self, work: Work, turn: _Turn, problem: str) -> None:  # (3)
        letter = turn.letter
        with self._store.write() as uow:
            if turn.look_at is None:
                uow.work.remove_many([work])
            else:
                uow.work.finish(work, turn.look_at)
            if letter is not None:
                to = letter.to
                way = {} if to is None else {"route": to.route.value, "by": "sms" if to.by_text else "mail"}
                why = {"problem": problem} if problem else {}
                kind = "help-desk.not-told" if problem else "help-desk.told"
                uow.audit.append(
                    by_worker(
                        kind,
                        self._now(),
                        subject=letter.person,
                        subject_name=letter.name,
                        request=letter.operation,
                        data={**letter.data, **way, **why},
                    )
                )
            uow.commit()

    def _hand_over(self, work: Work) -> None:
        with self._store.write() as uow:
            uow.work.remove_many([work])
            uow.work.poke(HELP_DESK_TEXT, work.key, self._now())
            uow.commit()

    def _again(self, work: Work, problem: str) -> None:
        with self._store.write() as uow:
            uow.work.retry(work, self._now() + pause(self._jitter(), work.attempts), problem)
            uow.commit()

    # ------------------------------------------------------------------------------------------------------ what was done

    def _of_order(self, operation: str) -> _Turn:
        """(1) Raises StoreError."""
        with self._store.read() as uow:
            order = _order(uow, operation)
        if order is None:
            return _Turn()
        next_ = step(order.progress, self._now())
        if next_.word is None:
            return _Turn(None, next_.look_at)
        return _Turn(self._about(order, next_.word), next_.look_at)

    def _about(self, order: _Order, word: Word) -> _Letter:
        record, deed = order.record, order.deed
        to, why, error = self._destination(MvId(record.subject))
        return _Letter(
            id=f"{record.request}-{order.letters + 1}",
            person=record.subject,
            name=order.name,
            operation=record.request,
            data={"what": deed.value, "accounts": sorted(one.key for one in word.parts)},
            until=word.at + LIFE,
            write=lambda language: say_done(deed, word, record.actor_name, order.name, language),
            to=to,
            why=why,
            error=error,
        )

    def _destination(self, person: MvId) -> tuple[Destination | None, str, str]:
        """(2), (4): or why there is none, or why nobody can say it now."""
        if self._post is None:
            return None, _NO_CHANNEL, ""
        try:
            found = self._post.destination(self._tier.members(person))
        except NotFound:
            return None, "Bastide does not know the person any more", ""
        except BastideError as error:
            return None, "", error.message
        return found, "" if found else _NOWHERE, ""

    # ------------------------------------------------------------------------------------------------------ a code elsewhere

    def _of_code(self, verification: str) -> _Turn:
        """(2) Raises StoreError."""
        try:
            with self._store.read() as uow:
                one = uow.verifications.get(verification)
                name = _called(uow, one.person, one.name)
        except NotFound:
            return _Turn()
        to, error = None, ""
        try:
            before = self._sealer.open(one.sealed_before, f"{CONTEXT}{one.person}").decode()
            to = None if self._post is None else self._post.earlier(before)
        except BastideError as unsealed:
            error = unsealed.message
        return _Turn(
            _Letter(
                id=f"{one.id}-{ELSEWHERE}",
                person=one.person,
                name=name,
                operation="",
                data={"what": ELSEWHERE, "verification": one.id},
                until=one.begun_at + LIFE,
                write=lambda language: say_elsewhere(one.by, name, one.begun_at, language),
                to=to,
                error=error,
                why="" if to or error else _NO_CHANNEL if self._post is None else _NO_TELEPHONES,
            )
        )


def _order(uow: UnitOfWork, operation: str) -> _Order | None:
    """None: nobody ordered it here."""
    record = _first(uow, operation, "help-desk.ordered")
    if record is None:
        return None
    deed = Deed(json.loads(record.data)["what"])
    words = list(uow.audit.read(AuditQuery(request=operation, kinds=_SAID, limit=0)))
    said = [key for one in words for key in json.loads(one.data)["accounts"]]
    last = words[-1].at if words else None
    parts, answered = _unlocked(uow, operation) if deed is Deed.UNLOCK else _written(uow, operation)
    progress = Progress(ordered_at=record.at, parts=parts, answered=answered, said=said, last=last)
    return _Order(record, _called(uow, MvId(record.subject), record.subject_name), deed, progress, len(words))


def _called(uow: UnitOfWork, person: MvId, name: str) -> str:
    """As the accounts call somebody of whom the metaverse has no name: an id says nothing to anybody."""
    if name != person:
        return name
    return next(filter(None, (named(one.attributes) for one in uow.space.of_mv(person))), name)


def _unlocked(uow: UnitOfWork, operation: str) -> tuple[list[Part], bool]:
    """The accounts of an unlock, and whether what their systems said is there."""
    ended = _first(uow, operation, "password.unlock-ended")
    if ended is None:
        return [], False
    said = json.loads(ended.data)["outcomes"]
    parts = [
        Part(key, key.partition(": ")[0], code == Code.SUCCESS.value, over=True, at=ended.at)
        for key, code in said.items()
    ]
    return parts, True


def _written(uow: UnitOfWork, operation: str) -> tuple[list[Part], bool]:
    """The same of a set or a change."""
    deliveries, names = uow.changes.deliveries(operation), names_of(uow)
    unanswered = any(one.purpose is Purpose.CHANGE and not one.attempts for one in deliveries)
    return [_part(one, names.get(one.ma, one.ma)) for one in deliveries], not unanswered


def _part(one: Delivery, system: str) -> Part:
    good = one.state is State.DELIVERED and not one.shadow
    at = one.attempted_at or one.created_at
    return Part(f"{system}: {one.dn}", system, good, one.state is not State.PENDING, at)


def _first(uow: UnitOfWork, operation: str, kind: str) -> Record | None:
    return next(iter(list(uow.audit.read(AuditQuery(request=operation, kind=kind, limit=1)))), None)
