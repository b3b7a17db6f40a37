"""One system under two names: it is asked who it is, so that no password goes round."""

from dataclasses import replace

import pytest

from bastide.domain.errors import Conflict, InvalidInput
from bastide.domain.management_agents import PasswordSource
from bastide.services.passwords.imports import Mode
from bastide.services.passwords.management_agents import AgentDraft
from bastide.targets.memory import MemorySystem
from tests.support.company import SECRET, agent_of, audited
from tests.support.spaces import HR, SpaceWorld, draft

pytest_plugins = ["tests.support.company"]

AD = ("directory 77f3", "domain corp.test")


def ring(world: SpaceWorld, *, secret: str = "") -> MemorySystem:
    """`corp` is the source of `writer`, whose system is corp.test as well, under another name. `writer` has corp as its target by way of `lab`."""
    world.add("corp", source=PasswordSource(domain="corp.test"))
    alias = MemorySystem(secret=secret)
    world.systems.systems["writer"] = alias
    return alias


def corp_to(world: SpaceWorld, *targets: str) -> None:
    world.services.management_agents.edit(
        world.dave, "corp", draft("corp", source=PasswordSource(domain="corp.test"), targets=targets)
    )


def test_7_one_directory_under_two_names_is_one_system_when_an_agent_is_made(world: SpaceWorld) -> None:
    alias = ring(world)
    world.add("lab")
    corp_to(world, "lab")
    alias.says = AD
    edit = world.services.management_agents.edit
    world.add("writer")
    assert agent_of(world, "writer").system == AD
    with pytest.raises(Conflict, match="round") as refused:
        edit(world.dave, "lab", draft("lab", source=PasswordSource(domain="lab.test"), targets=("writer",)))
    assert "whatever host they name" in refused.value.remedy
    with pytest.raises(Conflict, match="round"):
        corp_to(world, "lab", "writer")


def test_7_it_is_asked_again_with_the_secret_when_the_agent_is_switched_on(world: SpaceWorld) -> None:
    alias = ring(world, secret=SECRET)
    alias.says = AD
    world.add("writer")
    assert agent_of(world, "writer").system == (), "it has no secret yet"
    corp_to(world, "writer")
    agents = world.services.management_agents
    agents.set_secret(world.dave, "writer", SECRET)
    with pytest.raises(Conflict, match="round"):
        agents.switch(world.dave, "writer", target=True)
    assert not agent_of(world, "writer").passwords.enabled
    alias.says = ("directory other",)
    assert agents.switch(world.dave, "writer", target=True).agent.system == ("directory other",)
    alias.says = AD
    alias.faults.down = True
    agents.switch(world.dave, "writer", target=False)
    assert agents.switch(world.dave, "writer", target=True).agent.system == ("directory other",), "it is away"


def test_7_a_full_import_asks_too_and_reads_nothing_where_passwords_would_go_round(world: SpaceWorld) -> None:
    alias = ring(world)
    alias.put("ann", employeeNumber="1")
    world.add("writer")
    corp_to(world, "writer")
    world.load("writer")
    alias.says = AD
    with pytest.raises(Conflict, match="round"):
        world.load("writer", Mode.FULL)
    with pytest.raises(Conflict, match="round"):
        world.load("writer", Mode.FULL, dry_run=True)
    assert audited(world, "ma.import-failed")[-1]["error"] == "conflict"
    assert agent_of(world, "writer").system == ()
    alias.says = ("directory other",)
    world.load("writer", dry_run=True)
    assert agent_of(world, "writer").system == (), "a preview writes nothing"
    version = agent_of(world, "writer").version
    world.load("writer")
    found = agent_of(world, "writer")
    assert (found.system, found.version) == (("directory other",), version), "no change by a person"


def test_7_a_source_whose_settings_lead_to_another_domain_is_refused(world: SpaceWorld) -> None:
    world.systems.systems["lab"] = MemorySystem()
    world.systems.systems["lab"].says = AD
    with pytest.raises(InvalidInput, match=r"source\.domain: is lab\.test.*domain corp\.test"):
        world.add("lab", source=PasswordSource(domain="lab.test"))
    assert world.add("lab", source=PasswordSource(domain="Corp.Test")).agent.system == AD
    with pytest.raises(InvalidInput, match="lead to the domain"):
        world.services.management_agents.edit(
            world.dave, "lab", draft("lab", source=PasswordSource(domain="lab.test"))
        )
    world.systems.systems["lab"].says = ("domain other.test",)
    with pytest.raises(InvalidInput, match="lead to the domain"):
        world.load("lab", Mode.FULL)


def test_7_what_was_said_is_kept_until_the_settings_lead_elsewhere(world: SpaceWorld) -> None:
    world.systems.systems["ldap"] = first = MemorySystem()
    first.says = ("directory 1",)
    world.systems.systems["second"] = second = MemorySystem(secret=SECRET)
    second.says = ("directory 2",)
    world.add("ldap")
    edit = world.services.management_agents.edit
    first.says = ("directory 3",)
    assert edit(world.dave, "ldap", draft("ldap", rules=HR)).after.agent.system == ("directory 1",)
    moved = replace(draft("ldap", rules=HR).agent, settings={"system": "second"})
    world.services.management_agents.set_secret(world.dave, "ldap", SECRET)
    done = edit(world.dave, "ldap", AgentDraft(moved))
    assert done.after.agent.system == (), "the secret of the old one was not tried on the new one"
    assert done.secret_forgotten
    assert "system" not in done.differences
