"""Whatever happens in the systems, and in whatever order they are read: what must hold of connector space and metaverse holds."""

from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from bastide.domain import joins
from bastide.domain.errors import Conflict
from bastide.domain.joins import CONNECTED, LOOSE
from bastide.domain.management_agents import (
    Condition,
    CsObject,
    Filter,
    Flow,
    ImportRules,
    JoinRule,
    Link,
    MvId,
)
from bastide.domain.management_agents import Test as Compare
from bastide.services.passwords.imports import Mode
from bastide.targets.memory import MemorySystem
from tests.support.spaces import SpaceWorld

NUMBER = JoinRule((("number", "number"),))
MAIL = JoinRule((("mail", "mail"),))
OUT = (Filter((Condition("off", Compare.PRESENT),)),)
RULES = {
    "hr": ImportRules(
        filters=OUT, joins=(NUMBER,), project="person", flows=(Flow("number", "number"), Flow("mail", "mail"))
    ),
    "ldap": ImportRules(
        filters=OUT, joins=(NUMBER, MAIL), flows=(Flow("mail", "mail", 50), Flow("login", "login"))
    ),
    "cloud": ImportRules(joins=(JoinRule((("login", "login"),)), MAIL)),
}
AGENTS = st.sampled_from(sorted(RULES))
ANCHORS = st.sampled_from("abcde")
VALUES = st.sampled_from(["", "1", "2", "3"])


class Spaces(RuleBasedStateMachine):
    """Three systems with few values, so that they meet often."""

    @initialize(size=st.integers(1, 3))
    def begin(self, size: int) -> None:
        self.world = SpaceWorld()
        self.taken_away = False
        for name, rules in RULES.items():
            self.world.add(name, rules=rules, system=MemorySystem(page_size=size))

    def teardown(self) -> None:
        if hasattr(self, "world"):
            self.world.close()

    @rule(name=AGENTS, anchor=ANCHORS, number=VALUES, mail=VALUES, login=VALUES, off=st.booleans())
    def put(self, name: str, anchor: str, number: str, mail: str, login: str, off: bool) -> None:
        values = {"number": number, "mail": mail, "login": login, "off": "x" if off else ""}
        self.world.system(name).put(anchor, **{n: v for n, v in values.items() if v})

    @rule(name=AGENTS, anchor=ANCHORS)
    def delete(self, name: str, anchor: str) -> None:
        try:
            self.world.system(name).delete(anchor)
        except KeyError:
            return

    @rule(name=AGENTS, mode=st.sampled_from([Mode.AUTO, Mode.FULL]))
    def read(self, name: str, mode: Mode) -> None:
        before = self._everything()
        preview = self.world.load(name, mode, force=True, dry_run=True)
        assert self._everything() == before
        real = self.world.load(name, mode, force=True)
        assert preview.statistics == real.statistics
        self.world.clock.move(seconds=1)

    @rule(data=st.data(), apart=st.sampled_from([True, True, True, False]))
    def disjoin(self, data: Any, apart: bool) -> None:
        if objects := self._objects():
            self.taken_away = self.taken_away or not apart
            self._try(
                lambda: self.world.services.spaces.disjoin(
                    self.world.dave, data.draw(st.sampled_from(objects)).id, apart=apart
                )
            )

    @rule(data=st.data())
    def join(self, data: Any) -> None:
        objects, people = self._objects(), self.world.people()
        if objects and people:
            one, person = data.draw(st.sampled_from(objects)), data.draw(st.sampled_from(people))
            self._try(lambda: self.world.services.spaces.join(self.world.dave, one.id, person.id))

    @staticmethod
    def _try(act: Any) -> None:
        try:
            act()
        except Conflict:
            return

    @invariant()
    def holds(self) -> None:
        if not hasattr(self, "world"):
            return
        objects, people = self._objects(), {person.id: person for person in self.world.people()}
        with self.world.store.read() as uow:
            agents = {agent.id: agent for agent in uow.agents.all()}
            connectors: dict[MvId, list[CsObject]] = {mv: [] for mv in people}
            for cs in objects:
                assert (cs.mv is not None) == (cs.link in CONNECTED)
                if cs.mv is not None:
                    connectors[cs.mv].append(cs)  # KeyError: joined with nobody
            for mv, connected in connectors.items():
                assert connected, "a person without a connector"
                assert len({cs.ma for cs in connected}) == len(connected), "two objects of one agent"
                assert people[mv] == joins.flow(people[mv], connected, agents)
                for name, values in people[mv].attributes.items():
                    for value in values:
                        assert mv in uow.metaverse.matching(name, [value])[value]
            every = uow.metaverse.matching("number", ["1", "2", "3"]).values()
            assert all(people[mv].attributes.get("number") for found in every for mv in found), (
                "an index entry of somebody else"
            )

    @invariant()
    def nobody_waits_for_nothing(self) -> None:
        """What waits would not be joined if it were looked at again. A join that is only taken away is looked at with the next import."""
        if not hasattr(self, "world") or self.taken_away:
            return
        for cs in self._objects():
            if cs.link in LOOSE:
                said = self.world.services.spaces.explain(self.world.dave, cs.id)
                assert said.verdict.link is not Link.JOINED, cs

    def _objects(self) -> list[CsObject]:
        return [seen.object for seen in self.world.services.spaces.search(self.world.dave, limit=1000)]

    def _everything(self) -> tuple[object, ...]:
        agents = self.world.services.management_agents.all(self.world.dave)
        return self._objects(), self.world.people(), agents, self.world.events()


TestSpaces = Spaces.TestCase
TestSpaces.settings = settings(max_examples=40, stateful_step_count=25, deadline=None)
