"""What people do with monitoring: see it, pause it, have everything read anew, accept what drifted."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from bastide.domain.approvals import REASON_LIMIT
from bastide.domain.drift import ACCEPTABLE, OF_MEMBERS, ONCE, Drift, Finding, Rule
from bastide.domain.errors import Conflict, InvalidInput, NotFound
from bastide.domain.ids import parse_text
from bastide.domain.monitored import Kind, Seen, Watched
from bastide.domain.nested import member_of
from bastide.domain.people import Actor, Forest, Right, require, require_reader
from bastide.domain.settled import KINDS, Settled, Wanted, settled
from bastide.services.events import by_actor
from bastide.services.monitor.ports import Domain
from bastide.services.pace import MONITOR
from bastide.services.ports import AuditQuery, Store, UnitOfWork

#: How far back what is over is looked for; older is in the audit.
LOOKED_BACK = timedelta(days=30)
_ANY = Wanted()
#: What is paused: the subject of the record, and so of its alert.
_ALL = "monitoring"


@dataclass(frozen=True, slots=True)
class Status:
    """All domains as far as they were read, how many objects of each are watched, and how much stands."""

    domains: tuple[Domain, ...]
    watched: Mapping[Forest, int]
    findings: int


class Control:
    """The use cases. All raise NotAuthorized."""

    def __init__(self, *, store: Store, sides: tuple[Forest, ...], now: Callable[[], datetime]) -> None:
        self._store = store
        self._sides = sides
        self._now = now

    def status(self, actor: Actor) -> Status:
        """For auditors and administrators."""
        require_reader(actor)
        with self._store.read() as uow:
            domains = tuple(one for one in uow.monitored.domains() if one.side in self._sides)
            watched = {side: len(uow.monitored.watched(side)) for side in self._sides}
            return Status(domains, watched, len(uow.monitored.findings()))

    def drift(self, actor: Actor, wanted: Wanted = _ANY) -> tuple[Finding, ...]:
        """What stands, oldest first."""
        require_reader(actor)
        with self._store.read() as uow:
            found = uow.monitored.findings()
        return tuple(one for one in found if wanted.takes(one.drift.rule, one.drift.domain))

    def settled(self, actor: Actor, wanted: Wanted, most: int) -> tuple[Settled, ...]:
        """What is over since LOOKED_BACK, newest first, at most so many."""
        require_reader(actor)
        query = AuditQuery(since=self._now() - LOOKED_BACK, kinds=KINDS, limit=0)
        with self._store.read() as uow:
            return settled(uow.audit.read(query), wanted, most)

    def turn(self, actor: Actor, reason: str, *, on: bool) -> tuple[Domain, ...]:
        """Pause or resume all domains. Raises InvalidInput without a reason, Conflict if it is so already."""
        require(actor, Right.ADMINISTER)
        text = _reason(reason)
        with self._store.write() as uow:
            before = self._read_once(uow)
            if all(one.paused is not on for one in before):
                raise Conflict(f"monitoring is {'on' if on else 'paused'} already")
            after = tuple(replace(one, paused=not on) for one in before)
            self._save(uow, after)
            kind = "monitor.resumed" if on else "monitor.paused"
            uow.audit.append(
                by_actor(kind, self._now(), actor, subject=_ALL, subject_name=_ALL, data={"reason": text})
            )
            uow.commit()
        return after

    def resync(self, actor: Actor) -> tuple[Domain, ...]:
        """Everything is read anew and compared with what the changes said. Raises Conflict while it is paused."""
        require(actor, Right.ADMINISTER)
        with self._store.write() as uow:
            before = self._read_once(uow)
            if any(one.paused for one in before):
                raise Conflict("monitoring is paused", remedy="`bastide monitor resume` first")
            after = tuple(replace(one, resync=True) for one in before)
            self._save(uow, after)
            uow.audit.append(by_actor("monitor.resync-asked", self._now(), actor))
            uow.commit()
        return after

    def accept(self, actor: Actor, key: str, reason: str) -> Finding:
        """What was found is right as it was found: when something else differs, that is another finding. Raises NotFound, InvalidInput, Conflict for what nobody
        may accept: it is put right or explained.
        """
        require(actor, Right.ADMINISTER)
        text = _reason(reason)
        with self._store.write() as uow:
            finding = uow.monitored.find(key)
            drift, now = finding.drift, self._now()
            if drift.rule not in ACCEPTABLE:
                raise Conflict(f"{drift.rule.value} cannot be accepted", remedy=drift.remedy)
            if drift.rule not in ONCE:
                self._accept(uow, finding)
            uow.monitored.drop([finding.key])
            uow.audit.append(
                by_actor(
                    "drift.accepted",
                    now,
                    actor,
                    subject=drift.guid,
                    subject_name=drift.name,
                    data={
                        "rule": drift.rule.value,
                        "domain": drift.domain.value,
                        "owner": finding.owner,
                        "action": finding.action.value,
                        "drift": drift.key,
                        "found": drift.reason,
                        "reason": text,
                    },
                )
            )
            uow.work.poke(MONITOR[drift.domain], drift.domain.value, now)
            uow.commit()
        return finding

    @staticmethod
    def _accept(uow: UnitOfWork, finding: Finding) -> None:
        drift = finding.drift
        guid = member_of(drift)[1]
        one = next((o for o in uow.monitored.watched(drift.domain) if o.guid == guid), None)
        if one is None:
            return
        if one.gone_at is None:
            uow.monitored.put([replace(one, accepted=_as_now(one, drift))])
        elif drift.rule in OF_MEMBERS:
            raise Conflict(
                f"{one.now.name} is not shown now, so nobody can tell who is in it",
                remedy="let the service account read it, or accept it when it is shown again",
            )
        elif one.now.kind is Kind.TRUST:
            uow.monitored.forget(drift.domain, [guid])
        else:
            uow.monitored.put([replace(one, let_go=True)])

    def _read_once(self, uow: UnitOfWork) -> tuple[Domain, ...]:
        found = tuple(one for one in uow.monitored.domains() if one.side in self._sides)
        if not found:
            raise NotFound("no domain was read yet", remedy="`bastide monitor status` says when it was")
        return found

    def _save(self, uow: UnitOfWork, domains: tuple[Domain, ...]) -> None:
        for one in domains:
            uow.monitored.save(one)
            uow.work.poke(MONITOR[one.side], one.side.value, self._now())


def _as_now(one: Watched, drift: Drift) -> Seen:
    """What is accepted from now on: only that which the finding says."""
    before, now = one.accepted, one.now
    match drift.rule:
        case Rule.OTHER_MEMBER | Rule.NESTED_MEMBER:
            return replace(before, members=tuple(sorted({*before.members, member_of(drift)[0]})))
        case Rule.RIGHTS_CHANGED:
            return replace(before, rights=now.rights)
        case Rule.CLOSED_ACCOUNT:
            return replace(before, expires=now.expires)
        case _:
            return replace(now, members=before.members, rights=before.rights, expires=before.expires)


def _reason(text: str) -> str:
    said = parse_text("reason", text, REASON_LIMIT)
    if not said:
        raise InvalidInput("reason", "say why")
    return said
