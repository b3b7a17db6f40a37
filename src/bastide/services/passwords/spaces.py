"""Look into connector space and metaverse, explain joins, and make or undo them by hand."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime

from bastide.domain import joins
from bastide.domain.errors import Conflict, InvalidInput
from bastide.domain.ids import parse_id, parse_name
from bastide.domain.joins import CONNECTED, Decision, Trial
from bastide.domain.management_agents import CsObject, JoinRule, Link, ManagementAgent, MvId, MvObject
from bastide.domain.people import Actor, Right, require, require_reader
from bastide.services.events import by_actor
from bastide.services.passwords.lookup import find_agent, find_object
from bastide.services.passwords.sync import Course, Sync
from bastide.services.passwords.workspace import Touched, Workspace
from bastide.services.ports import Random, Store, UnitOfWork

SEARCH_LIMIT = 1000


@dataclass(frozen=True, slots=True)
class Seen:
    """A CS object with the name of its agent."""

    object: CsObject
    agent: str


@dataclass(frozen=True, slots=True)
class SeenPerson:
    """An MV object with all that is connected with it; `origins`: attribute to the name of the agent it came from."""

    person: MvObject
    connectors: tuple[Seen, ...]
    origins: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Told:
    """One join rule as it would fare now. `decides`: the rules end here."""

    rule: JoinRule
    trial: Trial
    decides: bool


@dataclass(frozen=True, slots=True)
class Explanation:
    """How an object came to its link, and what the rules would make of it if it had none. `filter`: number of the one that keeps it out."""

    seen: Seen
    filter: int | None
    rules: tuple[Told, ...]
    verdict: Decision
    people: tuple[MvObject, ...]


class Spaces:
    """Reading takes an auditor or administrator, joining an administrator. All raise NotAuthorized, NotFound, Ambiguous."""

    def __init__(self, *, store: Store, random: Random, now: Callable[[], datetime]) -> None:
        self._store = store
        self._random = random
        self._now = now
        self._sync = Sync(store=store, random=random)

    def search(
        self, actor: Actor, *, agent: str = "", text: str = "", link: str = "", limit: int = 100
    ) -> tuple[Seen, ...]:
        """CS objects by a part of DN, anchor or a value. Raises InvalidInput."""
        require_reader(actor)
        if link and link not in set(Link):
            raise InvalidInput("link", f"is one of {', '.join(Link)}")
        with self._store.read() as uow:
            ma = find_agent(uow, agent).id if agent else None
            names = _names(uow)
            found = uow.space.search(ma=ma, text=text, link=link, limit=_bounded(limit))
        return tuple(Seen(cs, names[cs.ma]) for cs in found)

    def show(self, actor: Actor, name: str, *, agent: str = "") -> Seen:
        """One CS object, by id, anchor or DN."""
        require_reader(actor)
        with self._store.read() as uow:
            cs = find_object(uow, name, agent)
            return Seen(cs, uow.agents.get(cs.ma).name)

    def search_people(self, actor: Actor, *, text: str = "", limit: int = 100) -> tuple[MvObject, ...]:
        """MV objects by a part of a value."""
        require_reader(actor)
        with self._store.read() as uow:
            return uow.metaverse.search(text=text, limit=_bounded(limit))

    def show_person(self, actor: Actor, id: str) -> SeenPerson:  # noqa: A002  # the port's word
        """One MV object, by id."""
        require_reader(actor)
        with self._store.read() as uow:
            return self._person(uow, MvId(parse_id("id", id)))

    def explain(self, actor: Actor, name: str, *, agent: str = "") -> Explanation:
        """Each join rule: what it looks for, what it finds, and why that is a match or none."""
        require_reader(actor)
        with self._store.read() as uow:
            cs = find_object(uow, name, agent)
            owner = uow.agents.get(cs.ma)
            space = Workspace({a.id: a for a in uow.agents.all()}, self._random.uuid, Touched())
            space.attach(uow)
            told = _told(cs, owner, space)
            verdict = _verdict(cs, owner, space)
            ids = {mv for one in told for mv in one.trial.found[:10]} | ({cs.mv} if cs.mv else set())
            people = uow.metaverse.many(ids)
        return Explanation(
            seen=Seen(cs, owner.name),
            filter=joins.filter_of(owner.rules.filters, cs.attributes),
            rules=told,
            verdict=verdict,
            people=tuple(people[mv] for mv in sorted(people)),
        )

    def join(self, actor: Actor, name: str, person: str, *, agent: str = "") -> Seen:
        """Connect a CS object with an MV object by hand; rules do not undo it. Raises Conflict."""
        require(actor, Right.ADMINISTER)
        course = Course()
        with self._store.write() as uow:
            cs = self._free(uow, name, agent)
            mv = uow.metaverse.get(MvId(parse_id("person", person)))
            with self._sync.workspace(uow, course) as space:
                other = space.connector(mv.id, cs.ma)
                if other is not None:
                    raise Conflict(
                        f"{mv.id} has {other.dn} of this agent already", remedy="take that join away first"
                    )
                decision = Decision(Link.MANUAL, f"joined by {actor.name}", mv.id)
                after = space.settle(cs, cs, decision)
            seen = self._seen(uow, after)
            uow.audit.append(
                by_actor("join.set", self._now(), actor, subject=cs.id, subject_name=cs.dn, data=_data(seen))
            )
            uow.commit()
        self._sync.join_loose(course)
        return seen

    def project(self, actor: Actor, name: str, *, agent: str = "", type: str = "") -> Seen:  # noqa: A002  # the port's word
        """Make an MV object of a CS object by hand; of the agent's type, or of `type`. Raises Conflict, InvalidInput."""
        require(actor, Right.ADMINISTER)
        course = Course()
        with self._store.write() as uow:
            cs = self._free(uow, name, agent)
            owner = uow.agents.get(cs.ma)
            made = parse_name("type", type or owner.rules.project or cs.type)
            with self._sync.workspace(uow, course) as space:
                mv = space.new_person(made)
                after = space.settle(cs, cs, Decision(Link.MANUAL, f"projected by {actor.name}", mv))
            seen = self._seen(uow, after)
            uow.audit.append(
                by_actor(
                    "cs.projected",
                    self._now(),
                    actor,
                    subject=cs.id,
                    subject_name=cs.dn,
                    data={**_data(seen), "type": made},
                )
            )
            uow.commit()
        self._sync.join_loose(course)
        return seen

    def disjoin(self, actor: Actor, name: str, *, agent: str = "", apart: bool = False) -> Seen:
        """Take a join away, however it came about. Rules may join the object again with the next full import, unless it is kept `apart`.

        Without `apart`, an object that was kept apart is let go. Raises Conflict.
        """
        require(actor, Right.ADMINISTER)
        course = Course()
        with self._store.write() as uow:
            cs = find_object(uow, name, agent)
            if cs.link not in CONNECTED and (cs.link is Link.APART) == apart:
                raise Conflict(f"{cs.dn} is not joined", remedy="`bastide join explain` says why")
            link = Link.APART if apart else Link.NONE
            with self._sync.workspace(uow, course) as space:
                after = space.settle(cs, cs, Decision(link, f"disconnected by {actor.name}"))
            seen = self._seen(uow, after)
            data = {**_data(seen), "from": cs.mv or "", "apart": apart}
            uow.audit.append(
                by_actor("join.removed", self._now(), actor, subject=cs.id, subject_name=cs.dn, data=data)
            )
            uow.commit()
        if apart:  # else it would be the first to be joined again
            self._sync.join_loose(course)
        return seen

    @staticmethod
    def _free(uow: UnitOfWork, name: str, agent: str) -> CsObject:
        cs = find_object(uow, name, agent)
        if cs.link in CONNECTED:
            raise Conflict(f"{cs.dn} is connected with {cs.mv}", remedy="take that join away first")
        return cs

    @staticmethod
    def _seen(uow: UnitOfWork, cs: CsObject) -> Seen:
        return Seen(cs, uow.agents.get(cs.ma).name)

    @staticmethod
    def _person(uow: UnitOfWork, id: MvId) -> SeenPerson:  # noqa: A002  # the port's word
        person = uow.metaverse.get(id)
        names = _names(uow)
        connectors = tuple(Seen(cs, names[cs.ma]) for cs in uow.space.of_mv(id))
        return SeenPerson(person, connectors, {a: names.get(ma, ma) for a, ma in person.origins.items()})


def _names(uow: UnitOfWork) -> dict[str, str]:
    return {one.id: one.name for one in uow.agents.all()}


def _bounded(limit: int) -> int:
    if not 1 <= limit <= SEARCH_LIMIT:
        raise InvalidInput("limit", f"is 1 to {SEARCH_LIMIT}")
    return limit


def _data(seen: Seen) -> dict[str, object]:
    return {"agent": seen.agent, "anchor": seen.object.anchor, "person": seen.object.mv or ""}


def _told(cs: CsObject, agent: ManagementAgent, space: Workspace) -> tuple[Told, ...]:
    """All rules, also those after the one that decides: people ask why the second one did not."""
    trials = [joins.try_rule(n, r, cs.attributes, space) for n, r in enumerate(agent.rules.joins, start=1)]
    first = next((trial.rule for trial in trials if trial.found), None)
    return tuple(
        Told(rule, trial, trial.rule == first) for rule, trial in zip(agent.rules.joins, trials, strict=True)
    )


def _verdict(cs: CsObject, agent: ManagementAgent, space: Workspace) -> Decision:
    """What the rules would say of the object if it had no link."""
    free = CsObject(id=cs.id, ma=cs.ma, anchor=cs.anchor, dn=cs.dn, type=cs.type, attributes=cs.attributes)
    return joins.decide(free, agent.rules, space, mv_exists=False)
