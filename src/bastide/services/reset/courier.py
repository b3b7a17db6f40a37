"""Sends codes and notices. Each message is a row of its own, to one destination, so that one that is refused is tried again alone. One job sends mail and another one short
messages: a program that hangs, half a minute for each message, holds up no mail.

(1) What is sent is read off the database when it is sent: a code that was replaced, used up or is too old is not sent any more.
(2) The row of somebody who does not exist is dropped here, where nobody waits for an answer; so is the code of somebody who has an account that opens more than its own
    (people.py (2)).
(3) Only with a lease that is surely ours something is sent: at least once.
(4) A code is given up when it counts no more, a notice after a day; the audit says so.
(5) What became of a reset is told when a system said it, and that nobody knows it after a quarter of an hour.
(6) The time to cool off counts from the first message about it that was taken (flow.py (5)).
(7) What a mail server said of a message that it refused is kept without code and address: filters quote, and administrators read it.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from bastide.domain.errors import BastideError, NotFound, TargetUnavailable
from bastide.domain.ids import Sid
from bastide.domain.notifications import pause
from bastide.domain.reset import flow
from bastide.domain.reset.flow import LIFE, Choice, Reset, Stage
from bastide.domain.reset.gates import Gate
from bastide.domain.reset.letters import NOTHING, UNKNOWN, Letter, write
from bastide.domain.spelling import told
from bastide.domain.wording import Language
from bastide.services.events import by_worker
from bastide.services.notifications.people import is_address
from bastide.services.notifications.ports import Fate, Message, Notifier
from bastide.services.ports import Directory, Lease, Random, Sealer, Store, UnitOfWork, Work
from bastide.services.reset.contents import code_context, codes_in, shown, unseal
from bastide.services.reset.outbox import DIRECTORY
from bastide.services.reset.people import People
from bastide.services.reset.ports import Everywhere, Settings, Texts

BATCH = 10
_NOTICE_LIFE = timedelta(days=1)
DRAFT_CONTEXT = "reset-draft:"
_OF_DRAFTS = {Letter.DRAFT, Letter.ADDED, Letter.REMOVED}


@dataclass(frozen=True, slots=True)
class _Letter:
    """A message to one destination. Not for logs: its repr holds nothing."""

    by_text: bool
    to: str
    subject: str
    body: str
    until: datetime
    person: str
    name: str

    def __repr__(self) -> str:
        return "_Letter(<hidden>)"


class Courier:
    """The job. `texts` None: nothing is sent to telephones."""

    def __init__(
        self,
        *,
        store: Store,
        directory: Directory,
        people: People,
        everywhere: Everywhere,
        notifier: Notifier,
        texts: Texts | None,
        sealer: Sealer,
        random: Random,
        settings: Settings,
        language: Language,
        now: Callable[[], datetime],
        jitter: Callable[[], float],
    ) -> None:
        self._store = store
        self._directory = directory
        self._people = people
        self._everywhere = everywhere
        self._notifier = notifier
        self._texts = texts
        self._sealer = sealer
        self._random = random
        self._settings = settings
        self._language = language
        self._now = now
        self._jitter = jitter

    def run(self, works: Sequence[Work], lease: Lease) -> None:
        """Raises LostLease, StoreError."""
        for work in works:
            self._one(work, lease)

    def _one(self, work: Work, lease: Lease) -> None:
        try:
            letter = self._letter(work.key)
        except BastideError as error:
            self._again(work, error.message)
            return
        if letter is None:  # (2)
            self._over(work, None, "")
            return
        if self._now() >= letter.until:  # (4)
            self._over(work, letter, "too old")
            return
        lease.require()  # (3)
        try:
            self._send(letter)
        except BastideError as error:
            self._again(work, error.message)
            return
        self._over(work, letter, "")

    def _send(self, letter: _Letter) -> None:
        """Raises TargetUnavailable, NotConfigured."""
        if letter.by_text:
            if self._texts is None:
                raise NotFound("nothing is sent to telephones here")
            self._texts.send(letter.to, letter.body)
            return
        message = Message(self._random.uuid(), letter.to, letter.subject, letter.body, (letter.to, *codes_in(letter.body)))  # fmt: skip
        (outcome,) = self._notifier.send(self._settings.mail, [message])
        if outcome.fate is not Fate.TAKEN:
            problem = told(outcome.problem, message.secrets)
            raise TargetUnavailable(f"the channel {self._settings.mail}: {problem or 'no answer'}")

    def _over(self, work: Work, letter: _Letter | None, problem: str) -> None:
        with self._store.write() as uow:
            uow.work.remove_many([work])
            if letter is not None:
                kind = work.key.partition(":")[0]
                data: dict[str, object] = {"letter": kind, "by": "sms" if letter.by_text else "mail"}
                if problem:
                    uow.audit.append(by_worker("reset.not-told", self._now(), subject=letter.person, subject_name=letter.name, data={**data, "problem": problem}))  # fmt: skip
                else:
                    uow.audit.append(by_worker("reset.told", self._now(), subject=letter.person, subject_name=letter.name, data=data))  # fmt: skip
                    self._warned(uow, work)
            uow.commit()

    def _warned(self, uow: UnitOfWork, work: Work) -> None:
        """(6)"""
        kind, id_, _ = work.key.split(":")
        reset = uow.resets.get(id_) if kind == Letter.COOLING.value else None
        if reset is not None:
            uow.resets.put(flow.warned(reset, self._now()))

    def _again(self, work: Work, problem: str) -> None:
        with self._store.write() as uow:
            uow.work.retry(work, self._now() + pause(self._jitter(), work.attempts), problem)
            uow.commit()

    def _letter(self, key: str) -> _Letter | None:
        """(1) None: there is nothing to send. Raises DirectoryError, StoreError."""
        kind, id_, to = key.split(":")
        letter = Letter(kind)
        if letter in _OF_DRAFTS:
            return self._of_draft(id_, letter)
        with self._store.read() as uow:
            reset = uow.resets.get(id_)
            if reset is None or not reset.person:
                return None
            registration = uow.resets.registration(Sid(reset.person))
        contents = (
            None if registration is None else unseal(self._sealer, registration.person, registration.sealed)
        )
        registered = {} if contents is None else {"mail": contents.mail, "sms": contents.sms}
        destination = self._in_directory(reset) if to == DIRECTORY else registered.get(to, "")
        if not destination or (to == DIRECTORY and destination == registered.get("mail")):
            return None
        said = self._of_code(reset, Gate(to)) if letter is Letter.CODE else self._of_notice(reset, letter)
        if said is None:
            return None
        subject, body, until = said
        return _Letter(to == "sms", destination, subject, body, until, reset.person, reset.account)

    def _of_code(self, reset: Reset, gate: Gate) -> tuple[str, str, datetime] | None:
        if reset.gate is not gate or not reset.sealed_code:
            return None
        found = self._people.of(Sid(reset.person))
        if found is None or found.excluded:  # (2)
            return None
        context = code_context(reset.id, reset.person, gate, reset.passed)
        code = self._sealer.open(reset.sealed_code, context).decode()
        subject, body = write(Letter.CODE, self._language, reset.account, code=shown(code))
        return subject, body, reset.expires_at

    def _of_notice(self, reset: Reset, letter: Letter) -> tuple[str, str, datetime] | None:
        code, at, what = "", reset.done_at or self._now(), ""
        if letter is Letter.DONE:
            what = self._outcome(reset)
        if letter is Letter.COOLING:
            if reset.stage is not Stage.COOLING or reset.ready_at is None:
                return None
            code = shown(self._sealer.open(reset.sealed_code, f"reset-stop:{reset.id}").decode())
            at = reset.ready_at if reset.warned else self._now() + reset.cooling
        subject, body = write(
            letter,
            self._language,
            reset.account,
            code=code,
            page=f"{self._settings.home}/reset/stop",
            what=what,
            at=at,
        )
        return subject, body, max(reset.expires_at, reset.started_at + LIFE) + _NOTICE_LIFE

    def _outcome(self, reset: Reset) -> str:
        """(5) Raises TargetUnavailable while nobody can say."""
        if reset.choice == Choice.UNLOCK.value:
            ended = [(good, True) for _, _, good in reset.said]
        else:
            ended = [(one.good, one.settled) for one in self._everywhere.states(reset.reference)]
        if any(good for good, _ in ended):
            return reset.choice
        if ended and all(settled for _, settled in ended):
            return NOTHING
        if reset.done_at is None or self._now() >= reset.done_at + LIFE:
            return UNKNOWN
        raise TargetUnavailable("no system has said yet what became of the reset")

    def _of_draft(self, id_: str, letter: Letter) -> _Letter | None:
        with self._store.read() as uow:
            draft = uow.resets.draft(id_)
        if draft is None:
            return None
        first, destination = self._sealer.open(draft.sealed, DRAFT_CONTEXT + draft.id).decode().split("\n", 1)
        try:
            person = self._directory.find_person(draft.person)
        except NotFound:
            return None
        name, code = person.ref.name, ""
        if letter is Letter.DRAFT:
            code = shown(first)
        elif not destination:
            destination = person.mail
            if not is_address(destination) or destination.casefold() == first.casefold():
                return None
        subject, body = write(letter, self._language, name, code=code)
        by_text = draft.gate is Gate.SMS
        return _Letter(by_text, destination, subject, body, draft.expires_at, draft.person, name)

    def _in_directory(self, reset: Reset) -> str:
        try:
            mail = self._directory.find_person(reset.person).mail
        except NotFound:
            return ""
        return mail if is_address(mail) else ""
