"""The worker's side of monitoring: one domain, read as long as its row is held, by one node of all. In order:

  (1) The database as it is, and what is watched.
  (2) The domain is read (reading.py). A domain that does not answer is tried again; one that hides nearly everything at once is not believed.
  (3) One commit: the cookie, what was seen, what follows from it (consequences.py), what drifted (domain/drift.py), and the records of all that.
      The database is looked at once more there: what a request explains, before the read or after it, is explained. The row must still be held: a node
      that stood still for longer than its lease knows what was before another one read on, and commits nothing.
  (4) After the commit: what the rules let us put right (repairs.py). What comes of it is seen by the next read, and said then.
  (5) Only then the other forest is asked for names: one that hangs holds up no drift of this one. The next look puts them in.

The cookie is in the commit, so a worker that dies, or a service that is paused, goes on where it was and misses nothing.
"""

import logging
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from bastide.domain import drift, lagging, monitored, nested
from bastide.domain.differing import differing
from bastide.domain.drift import ONCE, Drift, Finding, Rule, Rules
from bastide.domain.errors import DirectoryDenied, DirectoryError
from bastide.domain.ids import Sid
from bastide.domain.monitored import Moment, Named, Pam, Seen, SignIns, Watched
from bastide.domain.passing import Span
from bastide.domain.people import Forest
from bastide.domain.requests import LIVE, State
from bastide.domain.roles import Carrier
from bastide.services.events import by_worker
from bastide.services.monitor import called, consequences, kept_alive
from bastide.services.monitor.findings import settle
from bastide.services.monitor.passing import not_shown, passed
from bastide.services.monitor.ports import ChangeFeed, Domain
from bastide.services.monitor.reading import Reading, Wish, read, stands_still
from bastide.services.monitor.repairs import Repairs
from bastide.services.names import Names
from bastide.services.pace import MONITOR, delay
from bastide.services.ports import Lease, Store, UnitOfWork, Work

_log = logging.getLogger(__name__)
_EVER = frozenset(State)


@dataclass(slots=True)
class Known:
    """What one claim keeps in memory: nobody else writes it meanwhile."""

    domain: Domain
    watched: dict[str, Watched]
    people: Mapping[str, Watched]
    pam: Pam
    head: int
    #: Something else than this domain moved (kept_alive.py).
    owed: bool = False
    #: When the domain was last asked, to good effect.
    asked_at: datetime | None = None
    #: Members of groups of CORP, as PRIV knows them; None: it does not.
    abroad: dict[Sid, Named | None] = field(default_factory=dict)
    #: Names that were looked up, and SIDs of what stands that have none yet (called.py).
    names: dict[Sid, str] = field(default_factory=dict)
    unnamed: frozenset[Sid] = frozenset()
    #: The way of each, as one state of the database has it: they are walked once for it.
    ways: tuple[Pam, Mapping[Sid, nested.Way]] | None = None


class Watch:
    """Reads domains. `hold`: how long a row is held at most; zero: one read for each claim."""

    def __init__(
        self,
        *,
        store: Store,
        feeds: Mapping[Forest, ChangeFeed],
        rules: Rules,
        repairs: Repairs,
        interval: timedelta,
        hold: timedelta,
        now: Callable[[], datetime],
        monotonic: Callable[[], float],
        jitter: Callable[[], float],
        names: Names,
    ) -> None:
        self._store = store
        self._names = names
        self.feeds = feeds
        self._rules = rules
        self._repairs = repairs
        self._interval = interval
        self._hold = hold.total_seconds()
        self._now = now
        self._monotonic = monotonic
        self._jitter = jitter

    def plant(self) -> None:
        """What a node does when it starts: each domain is to be read. Raises StoreError."""
        with self._store.write() as uow:
            for side in self.feeds:
                uow.work.poke(MONITOR[side], side.value, self._now())
            uow.commit()

    def run(self, works: Sequence[Work], lease: Lease) -> None:
        """Read as long as the row is held. Raises LostLease, StoreError."""
        for work in works:
            side = Forest(work.key)
            feed = self.feeds.get(side)
            if feed is None:
                self._hand_back(work, None)
                continue
            try:
                paused = self._follow(work, side, feed, lease)
            except DirectoryError as error:
                self._failed(work, side, feed, error)
            else:
                self._hand_back(work, None if paused else self._now() + self._interval)

    def _hand_back(self, work: Work, due: datetime | None) -> None:
        with self._store.write() as uow:
            uow.work.finish(work, due)
            uow.commit()

    def _follow(self, work: Work, side: Forest, feed: ChangeFeed, lease: Lease) -> bool:
        """Whether it is paused."""
        until = self._monotonic() + self._hold
        known = self._load(side, feed)  # (1)
        while not known.domain.paused:
            asked_at = self._now()
            if known.owed or not stands_still(feed, known.domain, asked_at):
                self._once(work, known, feed, lease)
                known.owed = False
            known.asked_at = asked_at
            if self._monotonic() >= until or self._store.wait(self._interval.total_seconds()):
                return False
        return True

    # ---------------------------------------------------------------------------------------------------------- one read

    def _load(self, side: Forest, feed: ChangeFeed) -> Known:
        with self._store.read() as uow:
            domain = uow.monitored.domain(side) or Domain(side, feed.domain)
            watched = {one.guid: one for one in uow.monitored.watched(side)}
            people = watched if self._is_single else {o.guid: o for o in uow.monitored.watched(Forest.CORP)}
            pam = pam_of(uow)
            owed = side is Forest.PRIV and kept_alive.owes(uow, watched, people, pam, self._now())
            head, unnamed = uow.audit.head()[0], called.unnamed(uow, side)
            return Known(domain, watched, people, pam, head, owed, unnamed=unnamed)

    @property
    def _is_single(self) -> bool:
        return Forest.CORP not in self.feeds

    def _once(self, work: Work, known: Known, feed: ChangeFeed, lease: Lease) -> None:
        side = known.domain.side
        with self._store.read() as uow:
            if uow.audit.head()[0] != known.head:
                known.pam, known.head = pam_of(uow), uow.audit.head()[0]
                kept = uow.monitored.domain(side)
                if kept is not None and kept.paused:
                    known.domain = kept
                    return
        reading = read(feed, known.domain, self._wish(known), self._now())  # (2)
        nameless = called.unknown(reading, known.watched, known.pam, known.unnamed)
        known.names |= self._names.of(nameless, self._now(), ask={side})
        known.unnamed = frozenset()
        lease.require()
        with self._store.write() as uow:  # (3)
            uow.work.require(work)
            moment = Moment(known.pam, pam_of(uow), self._now())
            kept = uow.monitored.domain(side)
            findings = self._commit(uow, known, feed, reading, moment)
            if kept is not None and (kept.paused, kept.resync) != (known.domain.paused, known.domain.resync):
                self._heed(uow, known, kept, reading)
            uow.commit()
            known.pam, known.head = moment.after, 0
        doubt = next(
            (one.drift for one in findings if one.drift.rule is Rule.UNREADABLE and not one.drift.guid), None
        )
        if doubt is not None:
            raise DirectoryDenied(doubt.reason, remedy=doubt.remedy)
        self._repairs.run(findings, side)  # (4)
        known.names |= self._names.of(nameless - known.names.keys(), self._now())  # (5)

    @staticmethod
    def _heed(uow: UnitOfWork, known: Known, kept: Domain, reading: Reading) -> None:
        """Somebody paused it, or asked for all of it, while the domain was read."""
        again = kept.resync and reading.compared is None
        known.domain = replace(known.domain, paused=kept.paused, resync=again)
        uow.monitored.save(known.domain)

    def _wish(self, known: Known) -> Wish:
        side, pam = known.domain.side, known.pam
        having = {request.user for request in pam.live}
        busy = [user for user in pam.users if user.id in having]
        urgent = {user.priv.guid for user in busy} if side is Forest.PRIV else set()
        if side is Forest.CORP or self._is_single:
            urgent |= {user.corp.guid for user in busy}
        return Wish(
            wanted=self._wanted(known, pam),
            known=frozenset(known.watched),
            gone=frozenset(one.guid for one in known.watched.values() if one.gone_at is not None),
            elsewhere=_to_look_up(known) | (_elsewhere(pam) if side is Forest.PRIV else frozenset()),
            urgent=frozenset(urgent & known.watched.keys()),
            accounts=[user.priv.sid for user in pam.users] if side is Forest.PRIV else (),
            watched=known.watched,
            abroad=frozenset(self._ways(known, pam).keys() - known.abroad.keys()),
            room=max(0, nested.MOST - len(self._nested(known, pam))),
            within=monitored.carrying(known.watched, pam, side),
            own=monitored.own_sids(pam, side),
        )

    def _wanted(self, known: Known, pam: Pam) -> frozenset[str]:
        """What PAM stands on, and the groups within its groups."""
        side = known.domain.side
        found = monitored.wanted(pam, side, single_forest=self._is_single)
        return found | self._nested(known, pam)

    def _nested(self, known: Known, pam: Pam) -> frozenset[str]:
        across = frozenset(self._across(known, pam))
        return across | nested.kept(known.watched, nested.tops(pam.groups, known.domain.side) | across)

    def _across(self, known: Known, pam: Pam) -> Mapping[str, nested.Way]:
        """Groups of PRIV that are in groups of CORP, as far as they were looked up."""
        found = self._ways(known, pam)
        return {
            named.guid: found[sid]
            for sid, named in known.abroad.items()
            if sid in found and named is not None and named.is_group
        }

    def _ways(self, known: Known, pam: Pam) -> Mapping[Sid, nested.Way]:
        if known.domain.side is Forest.CORP or self._is_single:
            return {}
        if known.ways is None or known.ways[0] is not pam:
            domains = {user.priv.sid.domain for user in pam.users}
            known.ways = pam, nested.abroad(known.people, pam.groups, domains)
        return known.ways[1]

    # ------------------------------------------------------------------------------------------------------ one commit

    def _commit(
        self, uow: UnitOfWork, known: Known, feed: ChangeFeed, reading: Reading, moment: Moment
    ) -> tuple[Finding, ...]:
        side, now = known.domain.side, moment.now
        first = not known.domain.cookie
        stood_on = known.watched.keys() & monitored.wanted(moment.after, side, single_forest=self._is_single)
        lost = sum(1 for guid in stood_on & reading.gone if known.watched[guid].gone_at is None)
        known.abroad |= nested.recalled(reading.abroad, known.watched)
        doubtful = drift.too_many_lost(lost, len(stood_on))
        before = dict(known.watched)
        if not doubtful:
            changed = self._take(known, reading, moment)
            uow.monitored.put(changed)
            self._forget(uow, known, before, reading, moment.after)
            if side is Forest.CORP:
                kept_alive.wake(uow, before, known.watched, moment.after, now)
        steps = monitored.follow(
            known.watched, before, moment.after, side, now, single_forest=self._is_single
        )
        consequences.apply(uow, list(steps), now)
        found = list(drift.drifts(known.watched, known.people, moment, side))
        found += nested.nested_drifts(
            known.watched, moment.after.groups, side, self._across(known, moment.after)
        )
        found += self._of_once(uow, known, before, reading, moment)
        found += _hidden(uow, known, {one.key for one in found})
        if doubtful:
            found.append(drift.unreadable(side, feed.domain, lost, len(stood_on)))
        names = called.known(found, known.watched.values(), side, moment.after, known.names)
        findings = settle(uow, side, found, self._rules, now, names)
        if doubtful:  # the cookie stays where it was: what came with this one comes again
            return findings
        self._say(uow, known, reading, first=first, now=now)
        if known.domain.blind:
            self._say_sight("monitor.seen", uow, known.domain, now)
        known.domain = replace(
            known.domain,
            mark=reading.mark,
            cookie=reading.cookie,
            looked_at=now if reading.due else known.domain.looked_at,
            read_at=now,
            changed_at=now if reading.cookie != known.domain.cookie else known.domain.changed_at,
            resync=False,
            problem="",
            blind=False,
            until=reading.until,
            awaited=reading.awaited if any(one.kept for one in known.watched.values()) else (),
        )
        uow.monitored.save(known.domain)
        return findings

    def _take(self, known: Known, reading: Reading, moment: Moment) -> list[Watched]:
        """What was seen, into what is known. Returns what is another now."""
        ours = explained(moment)
        changed: list[Watched] = []
        places: tuple[Watched, ...] = ()
        accounts = {user.priv.guid for user in moment.after.users}
        for guid in _places_first(known, reading):
            old, seen = known.watched.get(guid), reading.seen.get(guid)
            if not places and _kind(old, seen) is not monitored.Kind.PLACE:
                places = monitored.places_of(known.watched)
            if old is not None:
                late, person = reading.lags(old), guid not in accounts
                new = lagging.again(old, seen, moment.now, places, late=late, person=person)
            elif seen is not None:
                new = monitored.first(
                    known.domain.side, seen, ours.get(guid, ()), later=bool(known.domain.cookie)
                )
            else:
                continue
            if new != old:
                known.watched[guid] = new
                changed.append(new)
        if reading.signs:
            changed += self._count(known, reading.signs)
        return changed

    @staticmethod
    def _count(known: Known, signs: Mapping[str, Mapping[Sid, SignIns]]) -> list[Watched]:
        """Sign-ins, as each controller that answered counted them. Returns whose count moved."""
        changed: list[Watched] = []
        for guid, old in known.watched.items():
            mine = {name: counts[old.now.sid] for name, counts in signs.items() if old.now.sid in counts}
            new = replace(old, signs={**old.signs, **mine})
            if new != old:
                known.watched[guid] = new
                changed.append(new)
        return changed

    def _forget(
        self, uow: UnitOfWork, known: Known, before: Mapping[str, Watched], reading: Reading, pam: Pam
    ) -> None:
        """What nobody wants to be watched any more. Of a trust or a container that is gone somebody is told until they accept it."""
        if not reading.due:
            return
        wanted = self._wanted(known, pam)
        idle = {
            guid
            for guid, one in known.watched.items()
            if guid not in wanted | reading.fixtures
            and not (
                (one.gone_at is not None or one.kept)
                and one.now.kind in {monitored.Kind.TRUST, monitored.Kind.PLACE}
            )
        }
        idle -= monitored.places_kept(idle, known.watched, before, pam, known.domain.side)
        for guid in idle:
            del known.watched[guid]
        uow.monitored.forget(known.domain.side, idle)

    def _of_once(
        self,
        uow: UnitOfWork,
        known: Known,
        before: Mapping[str, Watched],
        reading: Reading,
        moment: Moment,
    ) -> Iterable[Drift]:
        """What was true once: it stays on record until it is accepted (findings.py)."""
        side = known.domain.side
        for finding in uow.monitored.findings():
            if finding.drift.domain is side and finding.drift.rule in ONCE:
                yield finding.drift
        for guid in reading.compared or ():
            old, seen = before.get(guid), reading.seen.get(guid)
            fields = differing(old.now, seen) if old and seen and not old.kept else ()
            if fields:
                yield drift.missed(side, old.now if old else None, seen, fields)
        if reading.taken_out or reading.regrouped or reading.anew:
            since = known.asked_at or known.domain.read_at or moment.now
            span = Span(since, moment.now, reading.mark.controller)
            yield from passed(uow, before, known.watched, reading, moment, span)
            yield from not_shown(uow, before, known.watched, reading, span)
        yield from self._sign_ins(uow, before, known, moment)

    @staticmethod
    def _sign_ins(
        uow: UnitOfWork, before: Mapping[str, Watched], known: Known, moment: Moment
    ) -> Iterable[Drift]:
        """Of an account that is kept open between requests nobody can tell."""
        since = known.domain.looked_at
        for user in moment.after.users:
            if user.kept_alive:
                continue
            old, new = before.get(user.priv.guid), known.watched.get(user.priv.guid)
            if old is None or new is None or not old.signs or old.signs == new.signs:
                continue
            for controller, count in new.signs.items():
                if count.last is None or not _is_new(old.signs.get(controller), count.last, since):
                    continue
                if not monitored.covered(count.last, uow.requests.of_users([user.id], _EVER)):
                    yield drift.used_outside(new, controller, count.last)

    @staticmethod
    def _say(uow: UnitOfWork, known: Known, reading: Reading, *, first: bool, now: datetime) -> None:
        """A first read, and one that began anew: said, because what lies between is known by comparison only."""
        data: dict[str, object] = {
            "domain": known.domain.name,
            "controller": reading.mark.controller,
            "watched": len(known.watched),
        }
        if first:
            uow.audit.append(by_worker("monitor.loaded", now, subject=known.domain.side.value, data=data))
        elif reading.anew or reading.compared is not None:
            data["why"] = reading.anew or "asked for"
            uow.audit.append(by_worker("monitor.resynced", now, subject=known.domain.side.value, data=data))

    @staticmethod
    def _say_sight(kind: str, uow: UnitOfWork, domain: Domain, now: datetime, **more: object) -> None:
        """That a domain is not read any more, or is again: somebody there can see to it that Bastide reads nothing."""
        last = domain.read_at.isoformat() if domain.read_at is not None else ""
        data: dict[str, object] = {"last_contact": last, **more}
        uow.audit.append(by_worker(kind, now, subject=domain.side.value, subject_name=domain.name, data=data))

    def _failed(self, work: Work, side: Forest, feed: ChangeFeed, error: DirectoryError) -> None:
        """The domain does not answer, or does not let us read. What was read stays; what is missed is read when it does."""
        _log.warning("%s is not monitored: %s", feed.domain, error.message)
        with self._store.write() as uow:
            domain = uow.monitored.domain(side) or Domain(side, feed.domain)
            blind = domain.blind or domain.is_late(self._now())
            after = replace(domain, problem=error.message, blind=blind)
            if blind and not domain.blind:
                self._say_sight("monitor.blind", uow, domain, self._now(), problem=error.message)
            if after != domain:
                uow.monitored.save(after)
            uow.work.retry(work, self._now() + delay(self._jitter, work.attempts), error.message)
            uow.commit()


def _elsewhere(pam: Pam) -> frozenset[str]:
    """Shadow principals lie in the configuration."""
    return frozenset(one.priv.guid for one in pam.groups if one.carrier is Carrier.SHADOW_PRINCIPAL)


def _to_look_up(known: Known) -> frozenset[str]:
    """Groups that were first seen by a version that did not look within, and those of whose members it is not shown what they are."""
    return frozenset(
        guid
        for guid, one in known.watched.items()
        if one.now.kind is monitored.Kind.GROUP and (one.now.named is None or nested.hidden(one))
    )


def pam_of(uow: UnitOfWork) -> Pam:
    """What the database says now."""
    return Pam(uow.users.all(), uow.groups.all(), uow.requests.in_states(LIVE))


def _hidden(uow: UnitOfWork, known: Known, seen: Container[str]) -> Iterator[Drift]:
    """What stood and is not among what was `seen`, where that proves nothing."""
    places = monitored.places_of(known.watched)
    for finding in uow.monitored.findings():
        one = known.watched.get(nested.member_of(finding.drift)[1])
        if (
            finding.drift.domain is known.domain.side
            and finding.key not in seen
            and drift.stays(finding, one, places)
        ):
            yield finding.drift


def _kind(old: Watched | None, seen: Seen | None) -> monitored.Kind | None:
    return seen.kind if seen is not None else old.now.kind if old is not None else None


def _places_first(known: Known, reading: Reading) -> list[str]:
    """What was read, in the order to take it in: what is shown of the members of a group depends on what it lies in."""
    found = reading.seen.keys() | reading.gone
    return sorted(
        found,
        key=lambda guid: (
            _kind(known.watched.get(guid), reading.seen.get(guid)) is not monitored.Kind.PLACE,
            guid,
        ),
    )


def explained(moment: Moment) -> Mapping[str, frozenset[Sid]]:
    """By GUID of a group: members that only requests explain."""
    found: dict[str, frozenset[Sid]] = {}
    for group in moment.after.groups:
        found[group.priv.guid] = moment.explained(group.id)
        found.setdefault(group.corp.guid, frozenset({group.priv.sid}))
    return found


def _is_new(before: SignIns | None, last: datetime, since: datetime | None) -> bool:
    """Of a controller that was silent until now: what is newer than the last look."""
    if before is None:
        return since is not None and last > since
    return before.last != last
