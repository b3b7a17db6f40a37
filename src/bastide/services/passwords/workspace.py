"""Connector space and metaverse as an import sees them: what the database has, and on top of it what was decided and is not written yet.

An import uses one for each page and writes it with the page's commit. A preview keeps one to its end and writes nothing.
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace

from bastide.domain import joins
from bastide.domain.joins import CONNECTED, Decision
from bastide.domain.management_agents import (
    Attributes,
    CsId,
    CsObject,
    MaId,
    ManagementAgent,
    MvId,
    MvObject,
)
from bastide.services.ports import UnitOfWork

#: An MV attribute (folded) and a value of it (folded).
Key = tuple[str, str]
#: Beyond this many changed values every waiting object is looked at again.
_TOUCHED_LIMIT = 50_000


@dataclass(slots=True)
class Touched:
    """Values by which something may join now that did not before: new ones, vanished ones, those of what was set free."""

    keys: set[Key] = field(default_factory=set)
    everything: bool = False

    def add(self, keys: Iterable[Key]) -> None:
        """Memory is bounded: too many values are all values."""
        if self.everything:
            return
        self.keys.update(keys)
        if len(self.keys) > _TOUCHED_LIMIT:
            self.keys.clear()
            self.everything = True

    def __bool__(self) -> bool:
        return self.everything or bool(self.keys)

    def concerns(self, agent: ManagementAgent, attributes: Attributes) -> bool:
        """Whether a join rule of the agent looks for one of these values."""
        if self.everything:
            return bool(agent.rules.joins)
        wanted = (joins.values_for(rule, attributes)[0] for rule in agent.rules.joins)
        return any(
            (target.casefold(), value) in self.keys
            for rule in wanted
            for target, values in rule
            for value in values
        )


class Workspace:
    """Give it a unit of work (`attach`) before it looks something up."""

    def __init__(
        self, agents: Mapping[MaId, ManagementAgent], new_id: Callable[[], str], touched: Touched
    ) -> None:
        self.agents = agents
        self.touched = touched
        self.people_added = 0
        self.people_removed = 0
        self._new_id = new_id
        self._joining = {
            target.casefold()
            for agent in agents.values()
            for rule in agent.rules.joins
            for _, target in rule.pairs
        }
        self._cs: dict[CsId, CsObject] = {}
        self._cs_gone: set[CsId] = set()
        self._anchors: dict[tuple[MaId, str], CsId] = {}
        self._mv: dict[MvId, MvObject | None] = {}
        self._mv_changed: set[MvId] = set()
        self._connectors: dict[MvId, dict[CsId, CsObject]] = {}
        self._found: dict[Key, set[MvId]] = {}
        self._own: dict[Key, set[MvId]] = {}

    def attach(self, uow: UnitOfWork) -> None:
        """From now on, what is not known yet is read here."""
        self._base = uow

    # --------------------------------------------------------------------------------------------------- what the rules ask

    def matching(self, attribute: str, values: Collection[str]) -> Mapping[str, Collection[MvId]]:
        """Casefolded value to the MV objects that have it."""
        self.load_values({attribute: values})
        name = attribute.casefold()
        return {value: self._found[name, value] for value in values}

    def connector(self, mv: MvId, ma: MaId) -> CsObject | None:
        """The object of that agent which is connected with the MV object."""
        self.load_people([mv])
        return next((cs for cs in self._connectors[mv].values() if cs.ma == ma), None)

    def person(self, mv: MvId) -> MvObject | None:
        """As it will be; None: gone."""
        self.load_people([mv])
        return self._mv[mv]

    # ------------------------------------------------------------------------------------------------------------- reading

    def by_anchor(self, ma: MaId, anchors: Collection[str]) -> dict[str, CsObject]:
        """Those that there are."""
        own = {anchor: self._anchors[ma, anchor] for anchor in anchors if (ma, anchor) in self._anchors}
        found = {anchor: self._cs[id_] for anchor, id_ in own.items() if id_ not in self._cs_gone}
        base = self._base.space.by_anchor(ma, [a for a in anchors if a not in own])
        return found | {anchor: cs for anchor, cs in base.items() if cs.id not in self._cs_gone}

    def many(self, ids: Collection[CsId]) -> dict[CsId, CsObject]:
        """Those that there are."""
        base = self._base.space.many([i for i in ids if i not in self._cs])
        found = {**base, **{i: self._cs[i] for i in ids if i in self._cs}}
        return {i: cs for i, cs in found.items() if i not in self._cs_gone}

    def overlaid(self, objects: Iterable[CsObject], ma: MaId) -> Iterator[CsObject]:
        """Objects of an agent out of the database, as they will be, and those that are new."""
        seen = set()
        for cs in objects:
            seen.add(cs.id)
            if cs.id not in self._cs_gone:
                yield self._cs.get(cs.id, cs)
        for cs in list(self._cs.values()):
            if cs.ma == ma and cs.id not in seen and cs.id not in self._cs_gone:
                yield cs

    def prefetch(self, agent: ManagementAgent, objects: Collection[CsObject]) -> None:
        """All that the decisions about these objects need, in a few statements."""
        wanted: dict[str, set[str]] = {}
        open_ones = [cs for cs in objects if cs.link not in CONNECTED]
        for cs in open_ones:
            for rule in agent.rules.joins:
                for target, values in joins.values_for(rule, cs.attributes)[0]:
                    wanted.setdefault(target, set()).update(values)
        self.load_values(wanted)
        people = {cs.mv for cs in objects if cs.mv is not None}
        for cs in open_ones:
            trials = joins.try_rules(agent.rules.joins, cs.attributes, self)
            if trials and len(trials[-1].found) == 1:
                people.add(trials[-1].found[0])
        self.load_people(people)

    def load_values(self, wanted: Mapping[str, Collection[str]]) -> None:
        """Who has these values: the database's answer, corrected by what has changed since."""
        for attribute, values in wanted.items():
            name = attribute.casefold()
            missing = [value for value in values if (name, value) not in self._found]
            if not missing:
                continue
            base = self._base.metaverse.matching(attribute, missing)
            for value in missing:
                key = (name, value)
                unchanged = {mv for mv in base.get(value, ()) if mv not in self._mv_changed}
                self._found[key] = unchanged | self._own.get(key, set())

    def load_people(self, ids: Collection[MvId]) -> None:
        """MV objects with what is connected with them. Who has left one or come to one has had it loaded before."""
        missing = [mv for mv in ids if mv not in self._mv]
        if not missing:
            return
        people = self._base.metaverse.many(missing)
        connected = self._base.space.of_mvs(missing)
        for mv in missing:
            self._mv[mv] = people.get(mv)
            self._connectors[mv] = {cs.id: cs for cs in connected[mv]}

    # -------------------------------------------------------------------------------------------------------------- acting

    def settle(self, before: CsObject | None, cs: CsObject, decision: Decision) -> CsObject:
        """Do what was decided about `cs`; `before` is what it was. The object as it is afterwards."""
        mv = decision.mv
        if decision.link in CONNECTED and mv is None:
            mv = self.new_person(self.agents[cs.ma].rules.project or cs.type)
        after = replace(cs, link=decision.link, because=decision.because, mv=mv)
        self._cs[after.id] = after
        self._anchors[after.ma, after.anchor] = after.id
        old = None if before is None else before.mv
        if old is not None and old != mv:
            self._leave(after.id, old)
        if mv is not None:
            self.load_people([mv])
            self._connectors[mv][after.id] = after
            self._reflow(mv)
        return after

    def new_person(self, type: str) -> MvId:  # noqa: A002  # the port's word
        """An MV object of that type, with nothing in it and connected with nothing yet."""
        mv = MvId(self._new_id())
        self._mv[mv] = MvObject(id=mv, type=type)
        self._mv_changed.add(mv)
        self._connectors[mv] = {}
        self.people_added += 1
        return mv

    def delete(self, cs: CsObject) -> None:
        """The object is gone from its system."""
        self._cs_gone.add(cs.id)
        self._cs.pop(cs.id, None)
        self._anchors.pop((cs.ma, cs.anchor), None)
        if cs.mv is not None:
            self._leave(cs.id, cs.mv)

    def write(self, uow: UnitOfWork) -> None:
        """Into this unit of work, all of it; then this workspace has done its work."""
        gone = [mv for mv in self._mv_changed if self._mv[mv] is None]
        uow.space.remove(self._cs_gone)
        uow.metaverse.put([mv for i in self._mv_changed if (mv := self._mv[i]) is not None])
        uow.space.put(self._cs.values())
        uow.metaverse.remove(gone)

    def _leave(self, cs: CsId, mv: MvId) -> None:
        self.load_people([mv])
        self._connectors[mv].pop(cs, None)
        person = self._mv[mv]
        if person is not None:
            self.touched.add(self._keys(person))  # its place is free: what competed for it may join now
            self._reflow(mv)

    def _reflow(self, mv: MvId) -> None:
        before = self._mv[mv]
        if before is None:
            return
        after = joins.flow(before, self._connectors[mv].values(), self.agents)
        if after == before and mv not in self._mv_changed:
            return
        self._mv[mv] = after
        self._mv_changed.add(mv)
        if after is None:
            self.people_removed += 1
        self._reindex(mv, before, after)

    def _reindex(self, mv: MvId, before: MvObject, after: MvObject | None) -> None:
        old, new = self._keys(before), set() if after is None else self._keys(after)
        for key in old - new:
            self._own.get(key, set()).discard(mv)
            self._found.get(key, set()).discard(mv)
        for key in new:
            self._own.setdefault(key, set()).add(mv)
            if key in self._found:
                self._found[key].add(mv)
        self.touched.add(old ^ new)

    def _keys(self, person: MvObject) -> set[Key]:
        """Only of attributes that some agent joins by."""
        return {
            (name.casefold(), value.casefold())
            for name, values in person.attributes.items()
            if name.casefold() in self._joining
            for value in values
        }
