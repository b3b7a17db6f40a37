"""Judges changes when what may come late has come, and notices sources that fell silent. One commit: the verdict, its audit record, the row."""

import logging
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import datetime, timedelta

from bastide.domain.errors import DirectoryError, NotFound, StoreError
from bastide.domain.ids import Sid
from bastide.domain.names import of_pam
from bastide.domain.observed import (
    KEPT,
    SLACK,
    Change,
    Judged,
    Kind,
    Named,
    Ours,
    Verdict,
    called,
    judge,
    nameless_in,
)
from bastide.domain.observed_lines import Format
from bastide.domain.people import Forest
from bastide.domain.requests import State
from bastide.services.events import by_worker
from bastide.services.intake.accept import KEY, ours_of
from bastide.services.intake.guarded import Guarded
from bastide.services.intake.ports import Source
from bastide.services.names import Names
from bastide.services.pace import INTAKE, delay
from bastide.services.ports import AuditQuery, Directory, Store, UnitOfWork, Work

_log = logging.getLogger(__name__)
_BATCH = 200
#: Of so many is told at once that nobody can tell of them.
_WAITING = 5000
#: How often sources are looked at.
EVERY = timedelta(minutes=1)
#: The audit says of these that the password of its subject is going to be set.
_ANNOUNCED = frozenset({"pam-user.password-asked", "pam-user.added", "break-glass.sealing"})
#: Of these it is set with the ticket of who is on record.
_BY_HAND = frozenset({"break-glass.sealing"})


class Judge:
    """The recurring job. `own`: forest to the names of the accounts that Bastide signs in with."""

    def __init__(
        self,
        *,
        store: Store,
        sources: Sequence[Source],
        forests: Mapping[Forest, Directory],
        own: Mapping[Forest, Sequence[str]],
        now: Callable[[], datetime],
        jitter: Callable[[], float],
    ) -> None:
        self._store = store
        self._sources = sources
        self._forests = forests
        self._looked_up = Names(forests)
        self._names = own
        self._now = now
        self._jitter = jitter
        self._guarded = Guarded(forests)
        self._own: tuple[Named, ...] | None = None

    def plant(self) -> None:
        """See to it that the row exists; a node does this when it starts."""
        with self._store.write() as uow:
            uow.work.poke(INTAKE, KEY, self._now())
            uow.commit()

    def run(self, works: Sequence[Work]) -> None:
        """Raises LostLease, StoreError."""
        for work in works:
            try:
                own = self._ourselves()
            except (DirectoryError, NotFound) as error:
                _log.warning("changes are not judged: %s", error.message)
                with self._store.write() as uow:
                    uow.work.retry(work, self._now() + delay(self._jitter, work.attempts), error.message)
                    uow.commit()
                continue
            self._look()
            self._judge(work, own)

    def _ourselves(self) -> tuple[Named, ...]:
        """Found once: an account's SID never changes. Raises DirectoryError, NotFound."""
        if self._own is None:
            found = [
                self._forests[forest].find_person(name).ref
                for forest, names in self._names.items()
                for name in names
            ]
            self._own = tuple(Named(ref.sid, ref.dn, ref.name) for ref in found)
        return self._own

    def _look(self) -> None:
        """Which groups are privileged; where somebody names groups by DN alone."""
        now = self._now()
        with self._store.read() as uow:
            waits = any(one.unsure for one in uow.observed.due(now, _BATCH))
        if waits or any(source.format is Format.SAMBA for source in self._sources):
            self._guarded.look(now)

    def _judge(self, work: Work, own: Sequence[Named]) -> None:
        waiting, names = self._before(own)
        with self._store.write() as uow:
            now = self._now()
            uow.observed.put_off(waiting, now + EVERY)
            due = uow.observed.due(now, _BATCH)
            ours = ours_of(uow, own) if due else None
            for pending in due:
                if ours is not None and (judged := self._judged(uow, pending, ours, names, now)) is not None:
                    self._say(uow, judged, now)
            self._listen(uow, now)
            uow.observed.forget_before(now - KEPT)
            following = [
                one for one in (uow.observed.next_due(), now + EVERY if self._sources else None) if one
            ]
            uow.work.finish(work, max(min(following), now) if following else None)
            uow.commit()

    def _before(self, own: Sequence[Named]) -> tuple[list[Judged], Mapping[Sid, str]]:
        """Of which nobody can tell now, all at once; and the names that the others need."""
        waiting: list[Judged] = []
        nameless: frozenset[Sid] = frozenset()
        with self._store.read() as uow:
            due = uow.observed.due(self._now(), _BATCH if self._guarded.knows_all else _WAITING)
            if not due:
                return [], {}
            ours = ours_of(uow, own)
            known = of_pam(uow.users.all(), uow.groups.all())
        for one in due:
            with suppress(Exception):  # of hostile input: it is said when it is judged
                if self._waits(one, ours):
                    waiting.append(one)
                elif len(nameless) < _BATCH:
                    nameless |= nameless_in([one.change])
        found = self._looked_up.of(nameless - known.keys(), self._now())
        return waiting, {**found, **{sid: known[sid] for sid in nameless & known.keys()}}

    def _waits(self, one: Judged, ours: Ours) -> bool:
        """Whether nobody can tell yet if it is one of ours."""
        change = self._guarded.recognised(one.change)
        return one.unsure and not ours.concerns(change) and not self._guarded.can_tell(change.group.dn)

    def _judged(
        self, uow: UnitOfWork, pending: Judged, ours: Ours, names: Mapping[Sid, str], now: datetime
    ) -> Judged | None:
        """None: it is none of ours, or nobody can tell yet. One change that cannot be judged must hold up no other: it is the oldest of each run, and nothing
        explains it. Raises StoreError.
        """
        try:
            if self._waits(pending, ours):
                uow.observed.put_off([pending], now + EVERY)
                return None
            change = self._guarded.recognised(pending.change)
            if pending.unsure and not ours.concerns(change):
                uow.observed.drop(pending)
                return None
            return self._verdict(uow, called(change, names), ours)
        except StoreError:
            raise
        except Exception:  # noqa: BLE001  # of hostile input: whatever it is, the others are judged
            _log.exception("a change of %s cannot be judged", pending.change.source)
            because = "it could not be judged; the log says why"
            return replace(pending, verdict=Verdict.UNEXPLAINED, because=because, unsure=False)

    @staticmethod
    def _verdict(uow: UnitOfWork, change: Change, ours: Ours) -> Judged:
        user = ours.user(change.target)
        requests = () if user is None else uow.requests.of_users([user.id], list(State))
        announced: frozenset[str] = frozenset()
        if change.kind in {Kind.PASSWORD_CHANGED, Kind.PASSWORD_RESET}:
            names = change.target.known_as() | (user.sids if user is not None else frozenset())
            query = AuditQuery(
                since=change.at - SLACK, until=change.at + SLACK, kinds=_ANNOUNCED, limit=_BATCH
            )
            wanted = {one.casefold() for one in names}
            announced = frozenset(
                one.actor if one.kind in _BY_HAND else ""
                for one in uow.audit.read(query)
                if one.subject.casefold() in wanted
            )
        return judge(change, ours, requests, announced)

    @staticmethod
    def _say(uow: UnitOfWork, judged: Judged, now: datetime) -> None:
        uow.observed.save(judged)
        if judged.verdict is not Verdict.UNEXPLAINED:
            return
        change = judged.change
        about = change.group if change.group.shown else change.target
        data: dict[str, object] = {
            "what": change.kind.value,
            "source": change.source,
            "event": change.event,
            "record": change.record,
            "at": change.at.isoformat(),
            "actor": change.actor.shown,
            "target": change.target.shown,
            "group": change.group.shown,
            "computer": change.computer,
            "reason": judged.because,
        }
        subject = (about.sid or about.dn or about.name)[:256]
        uow.audit.append(
            by_worker("intake.unexplained", now, subject=subject, subject_name=about.shown, data=data)
        )

    def _listen(self, uow: UnitOfWork, now: datetime) -> None:
        """Who must not be silent, and is."""
        for source in self._sources:
            station = uow.observed.station(source.name)
            if (
                not source.silence
                or station is None
                or station.silent
                or now - station.heard_at <= source.silence
            ):
                continue
            uow.observed.put(replace(station, silent=True))
            data = {"because": "silent", "last_contact": station.heard_at.isoformat()}
            uow.audit.append(
                by_worker("intake.gap", now, subject=source.name, subject_name=source.name, data=data)
            )
