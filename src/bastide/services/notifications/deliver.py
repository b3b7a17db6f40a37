"""Sends the messages of one channel. Each channel has a job of its own, so one that is down holds up nothing but itself. In order:

(1) While the channel is known to take nothing, its rows are put off, and nothing is tried.
(2) What nobody can act on any more is dropped; what is too old is given up, and the audit says so.
(3) That a request waits for approval becomes a row for each approver, as the directory knows them now.
(4) Of one recipient more than a few at once become one message.
(5) Only with a lease that is surely ours something is sent: at least once, and with the same id if it is sent again.
(6) One commit takes away what was taken, puts off what was not, and tells the audit.
"""

import logging
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from bastide.domain.errors import DirectoryError
from bastide.domain.ids import Sid
from bastide.domain.notifications import APPROVERS, CHANNEL, Notice, Occasion, pause, told_together
from bastide.services.events import by_worker
from bastide.services.notifications.fates import Settling, by_fate
from bastide.services.notifications.letters import (
    Case,
    Letter,
    read_case,
    requester,
    write_one,
    write_several,
)
from bastide.services.notifications.people import AddressBook
from bastide.services.notifications.plan import kind_of
from bastide.services.notifications.ports import Channel, Notifier, Outcome, Settings
from bastide.services.ports import Lease, Store, UnitOfWork, Work

_log = logging.getLogger(__name__)
#: Rows taken at once: what one message for many can be made of.
BATCH = 50
#: One message that is refused may be the message's fault, or its recipient's.
_DOUBTS = 2
_NO_ADDRESS = "no mail address"
_TOO_OLD = "not sent within a day"


@dataclass(slots=True)
class _Sorted:
    """The rows of one run, by what is to be done."""

    letters: list[Letter] = field(default_factory=list)
    #: Settled without a message.
    over: list[Work] = field(default_factory=list)
    #: Told nobody, with the reason.
    given_up: list[tuple[Case, str]] = field(default_factory=list)
    #: The directory did not say.
    unanswered: list[tuple[Work, str]] = field(default_factory=list)
    #: Key and due time of rows that came out of others.
    made: dict[str, datetime] = field(default_factory=dict)


class Deliver:
    """The job of one channel."""

    def __init__(
        self,
        *,
        store: Store,
        notifier: Notifier,
        book: AddressBook,
        channel: Channel,
        settings: Settings,
        now: Callable[[], datetime],
        jitter: Callable[[], float],
    ) -> None:
        self.channel = channel
        self.kind = kind_of(channel.name)
        self._store = store
        self._notifier = notifier
        self._book = book
        self._settings = settings
        self._now = now
        self._jitter = jitter
        self._settling = Settling[Letter](lambda letter: (case.work for case in letter.cases), jitter)
        #: Since something was taken, as this process knows: messages that were refused, as many as tell a channel that is down from a recipient that is wrong;
        #: how often it was left alone; and until when it is.
        self._refused: set[str] = set()
        self._failures = 0
        self._resume_at: datetime | None = None
        self._problem = ""
        #: Recipients who were refused the last time: they come last, because three refusals in a row end a run.
        self._doubtful: set[str] = set()

    def run(self, works: Sequence[Work], lease: Lease) -> None:
        """Send what these rows are about. Raises LostLease, StoreError."""
        now = self._now()
        if self._resume_at is not None and now < self._resume_at:  # (1)
            self._put_off(works, self._resume_at)
            return
        with self._store.read() as uow:
            cases = [read_case(uow, work) for work in works]
        todo = self._sort(cases, now)
        outcomes: Sequence[Outcome] = ()
        if todo.letters:
            lease.require()  # (5)
            outcomes = self._notifier.send(self.channel.name, [letter.message for letter in todo.letters])
        self._settle(todo, outcomes)

    def _put_off(self, works: Sequence[Work], until: datetime) -> None:
        with self._store.write() as uow:
            for work in works:
                uow.work.retry(work, until, self._problem)
            uow.commit()

    def _sort(self, cases: Sequence[Case], now: datetime) -> _Sorted:
        todo = _Sorted()
        addressed: list[tuple[Case, str]] = []
        for case in cases:
            if not case.wanted(now):  # (2)
                todo.over.append(case.work)
            elif case.too_old(now):
                todo.given_up.append((case, _TOO_OLD))
            else:
                try:
                    self._address(case, todo, addressed, now)
                except DirectoryError as error:
                    todo.unanswered.append((case.work, error.message))
        for places in told_together([to for _, to in addressed]):  # (4)
            chosen, to = [addressed[place][0] for place in places], addressed[places[0]][1]
            alone = len(chosen) == 1
            write = (
                write_one(chosen[0], to, self.channel.name, self._settings)
                if alone
                else write_several(chosen, to, self.channel.name, self._settings)
            )
            todo.letters.append(write)
        todo.letters.sort(key=lambda letter: letter.message.to in self._doubtful)
        return todo

    def _address(self, case: Case, todo: _Sorted, addressed: list[tuple[Case, str]], now: datetime) -> None:
        """Raises DirectoryError."""
        to = case.notice.to
        if to == CHANNEL:
            addressed.append((case, ""))
        elif to == APPROVERS:  # (3)
            asked = requester(case)
            people = () if case.role is None or asked is None else self._book.approvers(case.role, asked)
            todo.made |= {Notice(sid, case.notice.occasion, case.notice.ref).key: now for sid in people}
            todo.over.append(case.work)
        elif address := self._book.address(Sid(to)):
            addressed.append((case, address))
        else:
            todo.given_up.append((case, _NO_ADDRESS))

    def _settle(self, todo: _Sorted, outcomes: Sequence[Outcome]) -> None:
        """(6)."""
        sent, now = by_fate(todo.letters, outcomes), self._now()
        with self._store.write() as uow:
            over = [*todo.over, *(case.work for case, _ in todo.given_up)]
            self._settling.settle(uow.work, sent, now, over)
            uow.work.poke_many(self.kind, todo.made)
            for work, why in todo.unanswered:
                self._settling.again(uow.work, work, now, why)
            self._say(uow, todo, sent.taken, now)
            if sent.failing:
                self._say_failing(uow, sent.refused, now)
            uow.commit()
        self._remember(sent.taken, sent.refused, now)

    def _say(self, uow: UnitOfWork, todo: _Sorted, taken: Sequence[Letter], now: datetime) -> None:
        name = self.channel.name
        if taken:
            told = [case.notice.occasion for letter in taken for case in letter.cases]
            data: dict[str, object] = {"messages": len(taken), "told": _counted(told)}
            uow.audit.append(by_worker("notification.sent", now, subject=name, subject_name=name, data=data))
        reasons = Counter(why for _, why in todo.given_up)
        for why, count in reasons.items():
            told = [case.notice.occasion for case, because in todo.given_up if because == why]
            data = {"because": why, "count": count, "told": _counted(told)}
            uow.audit.append(
                by_worker("notification.given-up", now, subject=name, subject_name=name, data=data)
            )

    def _say_failing(self, uow: UnitOfWork, refused: Sequence[tuple[Letter, str]], now: datetime) -> None:
        """Once for each spell of it: rows that failed before were said before, by whatever node."""
        letter, why = refused[0]
        _log.warning("notifications by %s: %s", self.channel.name, why)
        again = any(case.work.attempts for letter, _ in refused for case in letter.cases)
        if self._refused or again:
            return
        name = self.channel.name
        data = {"problem": why, "told": _counted([case.notice.occasion for case in letter.cases])}
        uow.audit.append(by_worker("notification.failing", now, subject=name, subject_name=name, data=data))

    def _remember(
        self, taken: Sequence[Letter], refused: Sequence[tuple[Letter, str]], now: datetime
    ) -> None:
        """What the next run has to know, (1)."""
        self._doubtful -= {letter.message.to for letter in taken}
        self._doubtful |= {letter.message.to for letter, _ in refused}
        if taken:
            self._refused.clear()
            self._failures, self._resume_at, self._problem = 0, None, ""
            return
        for letter, why in refused:
            if len(self._refused) < _DOUBTS:
                self._refused.add(letter.message.id)
            self._problem = why
        if refused and len(self._refused) == _DOUBTS:
            self._resume_at = now + pause(self._jitter(), self._failures)
            self._failures += 1


def _counted(told: Sequence[Occasion]) -> dict[str, int]:
    return {occasion.value: number for occasion, number in sorted(Counter(told).items())}
