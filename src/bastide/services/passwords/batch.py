"""What the database holds about several notifications of one caller, read and written with a few statements, however many they are.

All that the decisions need is read at once; what one notification leaves behind is laid over it, so that the next one is judged as if it had
come after a commit; and all of that is written at once. Nothing of it outlives the unit of work that it was read in.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Self

from bastide.domain.audit import Event
from bastide.domain.management_agents import (
    CsId,
    CsObject,
    Link,
    MaId,
    ManagementAgent,
    MvId,
    PasswordSource,
)
from bastide.domain.passwords import DAY, OLDEST, Change, Delivery, Purpose, Stamp, State, writes_near
from bastide.services.pace import PASSWORD
from bastide.services.passwords.callers import Caller
from bastide.services.passwords.own_accounts import signs_in_as
from bastide.services.passwords.ports import SourceState
from bastide.services.passwords.told import guid_of, own_reference, stamp_of
from bastide.services.ports import UnitOfWork
from bastide.wire import Notification

#: Changes of one user in which a tied one is looked for.
_TIES = 10
JOINED = frozenset({Link.JOINED, Link.PROJECTED, Link.MANUAL})


@dataclass(frozen=True, slots=True)
class Source:
    """What is configured, seen from the caller's domain. `agent`: the domain's own, if it is a source. `aimed_at`: what any source, or a person's order, sets passwords in. `own_names`:
    of the accounts that agents use in this domain.
    """

    enabled: bool
    agents: Mapping[MaId, ManagementAgent]
    agent: ManagementAgent | None
    aimed_at: frozenset[MaId]
    own_names: frozenset[str]

    @classmethod
    def read(cls, uow: UnitOfWork, domain: str) -> Self:
        """Two statements."""
        agents = {one.id: one for one in uow.agents.all()}
        sources = {one.id: one.source for one in agents.values() if one.source is not None}
        mine = [agents[ma] for ma, source in sources.items() if source.domain == domain]
        return cls(
            uow.switch.enabled(),
            agents,
            mine[0] if mine else None,
            frozenset(target for source in sources.values() for target in source.targets)
            | {one.id for one in agents.values() if one.passwords.enabled},
            frozenset(name for one in agents.values() for name in signs_in_as(one, domain)),
        )


@dataclass(slots=True)
class _Decided:
    """What is to be written."""

    changes: list[Change] = field(default_factory=list)
    #: Ids of deliveries that the database does not have yet, and of those that it has otherwise.
    added: dict[str, None] = field(default_factory=dict)
    changed: dict[str, None] = field(default_factory=dict)
    applied: dict[CsId, Stamp] = field(default_factory=dict)
    states: dict[CsId, SourceState] = field(default_factory=dict)
    poked: dict[str, datetime] = field(default_factory=dict)
    events: list[Event] = field(default_factory=list)


class Batch:
    """Notifications of one caller, judged at one moment. Used while the unit of work is open that it was read in."""

    def __init__(
        self, uow: UnitOfWork, caller: Caller, several: Sequence[Notification], now: datetime
    ) -> None:
        """Reads: at most ten statements."""
        self.caller = caller
        self.now = now
        self.source = Source.read(uow, caller.domain)
        self._uow = uow
        self._several = several
        self._since = now - OLDEST - DAY
        #: References to the domains that used them.
        self._known = dict(uow.changes.known([told.reference for told in several]))
        others = [one for one, domain in self._known.items() if domain != caller.domain]
        self._known.update(uow.changes.known([own_reference(caller.domain, one) for one in others]))
        self._objects: Mapping[str, CsObject] = {}
        self._relatives: Mapping[MvId, tuple[CsObject, ...]] = {}
        self._states: dict[CsId, SourceState] = {}
        self._deliveries: dict[str, Delivery] = {}
        self._of_object: dict[CsId, dict[str, None]] = {}
        self._of_reference: dict[str, dict[str, None]] = {}
        self._applied: dict[CsId, Stamp] = {}
        self._decided = _Decided()
        if self.source.enabled and self.source.agent is not None:
            self._read_accounts(self.source.agent)

    def _read_accounts(self, agent: ManagementAgent) -> None:
        """Of those that are new. What is known already needs nothing more."""
        new = {guid_of(one.user_guid) for one in self._several if not self.is_known(self.reference(one))}
        self._objects = self._uow.space.by_anchor(agent.id, new)
        found = self._objects.values()
        self._relatives = self._uow.space.of_mvs(
            {one.mv for one in found if one.mv is not None and one.link in JOINED}
        )
        self._states = dict(self._uow.changes.source_states([one.id for one in found]))
        same = {one for cs in found for one in self.same(cs)}
        if same:
            self._hold(self._uow.changes.made(same, self._since))
            self._hold(self._uow.changes.kept(same))
            self._applied = dict(self._uow.changes.applied(same))

    def _hold(self, deliveries: Iterable[Delivery]) -> None:
        """What was decided about one here is newer than what the database says of it."""
        for one in deliveries:
            if one.id not in self._deliveries:
                self._put(one)

    def _put(self, one: Delivery) -> None:
        self._deliveries[one.id] = one
        self._of_object.setdefault(one.object, {})[one.id] = None
        self._of_reference.setdefault(one.reference, {})[one.id] = None

    # ------------------------------------------------------------------------------------------------------------ looking

    def reference(self, told: Notification) -> str:
        """Under which the change is, or will be, on record."""
        if self._known.get(told.reference, self.caller.domain) == self.caller.domain:
            return told.reference
        return own_reference(self.caller.domain, told.reference)

    def is_known(self, reference: str) -> bool:
        """Whether a change is on record under this one."""
        return reference in self._known

    def object(self, user_guid: str) -> CsObject | None:
        """The user, in the space of the domain's agent."""
        return self._objects.get(guid_of(user_guid))

    def relatives(self, found: CsObject) -> tuple[CsObject, ...]:
        """All objects of that person, this one among them; none, if it is nobody's."""
        return self._relatives.get(found.mv, ()) if found.mv is not None else ()

    def targets(self, found: CsObject, source: PasswordSource) -> tuple[CsObject, ...]:
        """The other objects of that person which the source sets passwords for."""
        return tuple(one for one in self.relatives(found) if one.ma in source.targets and one.id != found.id)

    def same(self, found: CsObject) -> frozenset[CsId]:
        """The objects that are this very account and that passwords are set for. It may be in the space of two agents: one that reads the domain, one that
        writes to it.
        """
        alike = (found, *(one for one in self.relatives(found) if one.anchor == found.anchor))
        return frozenset(one.id for one in alike if one.ma in self.source.aimed_at)

    def state(self, id: CsId) -> SourceState | None:  # noqa: A002  # the ports' word
        """What is known of the changes of a source object."""
        return self._states.get(id)

    def origin(self, found: CsObject, last: Stamp) -> str:
        """The controller (invocation id) that took the last known change of a source object; empty: not known. One statement."""
        past = self._uow.changes.history(user=found.anchor, before=None, limit=_TIES)
        changes = [*self._decided.changes, *(change for change, _ in past)]
        return next(
            (guid_of(one.origin) for one in changes if (one.object, one.stamp) == (found.id, last)), ""
        )

    def made(self, objects: Collection[CsId]) -> tuple[Delivery, ...]:
        """Deliveries to these objects that were staged since any change that is believed today."""
        return tuple(one for one in self._to(objects) if one.created_at >= self._since)

    def kept(self, objects: Collection[CsId]) -> tuple[Delivery, ...]:
        """Deliveries to these objects that are undelivered, or whose password is held."""
        return tuple(one for one in self._to(objects) if one.state is State.PENDING or one.sealed)

    def applied(self, objects: Collection[CsId]) -> Mapping[CsId, Stamp]:
        """The newest change each of these objects has taken."""
        return {one: self._applied[one] for one in objects if one in self._applied}

    def near(self) -> frozenset[str]:
        """References of all our writes that any of these notifications may be the echo of."""
        return frozenset(
            write.reference
            for told in self._several
            if (found := self.object(told.user_guid)) is not None
            for write in writes_near(stamp_of(told), self.made(self.same(found)))
        )

    def load(self, references: Collection[str]) -> None:
        """Read the deliveries of these changes, for `of_change`."""
        for all_ in self._uow.changes.deliveries_of(references).values():
            self._hold(all_)

    def of_change(self, reference: str) -> tuple[Delivery, ...]:
        """Its deliveries, in the order in which they were staged."""
        found = (self._deliveries[one] for one in self._of_reference.get(reference, ()))
        return tuple(sorted(found, key=_staged))

    def whole(self, deliveries: Collection[Delivery]) -> tuple[Delivery, ...]:
        """These, and of an order all the others: in_order (person.py) gives each account a time of its own."""
        orders = {one.reference for one in deliveries if one.purpose is not Purpose.SYNC}
        if orders:
            self.load(orders)
        return (*deliveries, *(one for order in orders for one in self.of_change(order)))

    def _to(self, objects: Collection[CsId]) -> list[Delivery]:
        ids = (one for to in objects for one in self._of_object.get(to, ()))
        return sorted((self._deliveries[one] for one in ids), key=_staged)

    # ----------------------------------------------------------------------------------------------------------- deciding

    def add(self, change: Change, deliveries: Collection[Delivery]) -> None:
        """On record from now on, with its deliveries, which are due."""
        self._decided.changes.append(change)
        self._known[change.reference] = change.domain
        for one in deliveries:
            self._put(one)
            self._decided.added[one.id] = None
            self._decided.poked[one.object] = self.now

    def save(self, deliveries: Collection[Delivery]) -> None:
        """These are now as they are here."""
        for one in deliveries:
            self._put(one)
            if one.id not in self._decided.added:
                self._decided.changed[one.id] = None

    def mark_applied(self, stamps: Mapping[CsId, Stamp]) -> None:
        """These objects have taken these changes."""
        self._applied.update(stamps)
        self._decided.applied.update(stamps)

    def set_state(self, id: CsId, state: SourceState) -> None:  # noqa: A002  # the ports' word
        """Replaces what was known."""
        self._states[id] = self._decided.states[id] = state

    def record(self, *events: Event) -> None:
        """For the audit."""
        self._decided.events += events

    def write(self) -> None:
        """What was decided, into the unit of work: at most five statements, and what its commit needs. Raises StoreError."""
        decided, changes = self._decided, self._uow.changes
        changes.add(decided.changes, [self._deliveries[one] for one in decided.added])
        changes.save([self._deliveries[one] for one in decided.changed])
        changes.mark_applied(decided.applied)
        changes.set_source_states(decided.states)
        self._uow.work.poke_many(PASSWORD, decided.poked)
        self._uow.audit.append(*decided.events)


def _staged(one: Delivery) -> tuple[datetime, str]:
    return one.created_at, one.id
