"""Agents over systems in memory, as people would set them up: HR holds the people, other systems join them by employee number."""

from typing import Any

from bastide.domain.management_agents import (
    Filter,
    Flow,
    ImportRules,
    JoinRule,
    MaId,
    ManagementAgent,
    MvObject,
)
from bastide.services.passwords.imports import Mode, Outcome
from bastide.services.passwords.management_agents import AgentDraft, Shown
from bastide.services.passwords.spaces import Seen
from bastide.targets.memory import MemorySystem
from tests.support.world import World

JOIN = JoinRule((("employeeNumber", "employeeNumber"),))
FLOWS = (Flow("employeeNumber", "employeeNumber"), Flow("cn", "displayName"), Flow("mail", "mail"))
HR = ImportRules(joins=(JOIN,), project="person", flows=FLOWS)
TARGET = ImportRules(joins=(JOIN,), flows=(Flow("mail", "mail", 50),))


def draft(
    name: str, *, rules: ImportRules = TARGET, targets: tuple[str, ...] = (), **fields: Any
) -> AgentDraft:
    """An agent over the system in memory of that name."""
    agent = ManagementAgent(
        id=MaId(""), name=name, connector="memory", settings={"system": name}, rules=rules, **fields
    )
    return AgentDraft(agent, targets)


class SpaceWorld(World):
    """A World with connected systems."""

    def add(
        self, name: str, *, rules: ImportRules = TARGET, system: MemorySystem | None = None, **fields: Any
    ) -> Shown:
        self.systems.systems.setdefault(name, system or MemorySystem())
        return self.services.management_agents.add(self.dave, draft(name, rules=rules, **fields))

    def system(self, name: str) -> MemorySystem:
        return self.systems.systems[name]

    def load(self, name: str, mode: Mode = Mode.AUTO, **options: Any) -> Outcome:
        return self.services.imports.run_now(self.dave, name, mode=mode, **options)

    def cs(self, anchor: str, agent: str = "") -> Seen:
        return self.services.spaces.show(self.dave, anchor, agent=agent)

    def people(self) -> list[MvObject]:
        return list(self.services.spaces.search_people(self.dave, limit=1000))

    def staff(self, *names: str, system: str = "hr") -> None:
        """People whose number is their name, so that a test reads."""
        for name in names:
            self.system(system).put(
                name, employeeNumber=f"E-{name}", cn=name.title(), mail=f"{name}@{system}"
            )


def filters(*all_: Filter) -> ImportRules:
    """The rules of a target that keeps some out."""
    return ImportRules(filters=all_, joins=(JOIN,))
