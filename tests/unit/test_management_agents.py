"""Management agents: who may change them, what is refused, their secrets, and what is audited."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from bastide.domain.errors import (
    CapabilityMissing,
    Conflict,
    InvalidInput,
    NotAuthorized,
    NotFound,
    StoreError,
    TargetDenied,
)
from bastide.domain.ids import Sid
from bastide.domain.management_agents import (
    Flow,
    ImportPlan,
    ImportRules,
    PasswordManagement,
    PasswordSource,
)
from bastide.services.passwords.imports import Mode
from bastide.services.passwords.lookup import secret_of
from bastide.services.passwords.management_agents import AgentDraft, ManagementAgents, refuse_secrets
from bastide.services.ports import AuditQuery
from bastide.targets.memory import MemorySystem
from bastide.wiring.spaces import NoSystems
from tests.support.company import SECRET, agent_of, audited
from tests.support.spaces import HR, SpaceWorld, draft

pytest_plugins = ["tests.support.company"]


def test_1_only_administrators_change_and_auditors_read(company: SpaceWorld) -> None:
    agents, frank = company.services.management_agents, company.frank
    imports, spaces = company.services.imports, company.services.spaces
    for refused in (
        lambda: agents.add(frank, draft("x")),
        lambda: agents.edit(frank, "hr", draft("hr")),
        lambda: agents.remove(frank, "hr"),
        lambda: agents.set_secret(frank, "hr", "x"),
        lambda: agents.switch(frank, "hr", target=True),
        lambda: imports.run_now(frank, "hr"),
        lambda: imports.ask(frank, "hr"),
        lambda: spaces.join(frank, "zoe", "x"),
        lambda: spaces.project(frank, "zoe"),
        lambda: spaces.disjoin(frank, "ann", agent="ldap"),
    ):
        with pytest.raises(NotAuthorized):
            refused()
    assert [one.agent.name for one in agents.all(frank)] == ["hr", "ldap"]
    assert agents.show(frank, "hr").objects == {"projected": 2}
    person = spaces.explain(frank, "ann", agent="ldap").people[0]
    assert spaces.show_person(frank, person.id).person == person
    assert spaces.search(frank, text="zoe")
    assert spaces.search_people(frank, text="ann") == (person,)
    alice = company.sign_in("grace")
    for unread in (
        lambda: agents.all(alice),
        lambda: spaces.search(alice),
        lambda: spaces.explain(alice, "zoe"),
    ):
        with pytest.raises(NotAuthorized):
            unread()


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"name": " "}, "name"),
        ({"imports": ImportPlan(every=timedelta(seconds=1))}, "imports.every"),
        ({"imports": ImportPlan(fuse=101)}, "imports.fuse"),
        ({"passwords": PasswordManagement(retry_interval=timedelta(seconds=1))}, "passwords.retry_interval"),
        ({"passwords": PasswordManagement(retry_limit=-1)}, "passwords.retry_limit"),
        ({"source": PasswordSource(domain="no name")}, "source.domain"),
        ({"source": PasswordSource(domain="a.b", daily_limit=-1)}, "source.daily_limit"),
        ({"rules": ImportRules(flows=(Flow("unicodePwd", "x"),))}, "flows"),
        ({"settings": {"system": "hr", "password": "x"}}, "settings.password"),
        ({"settings": {"system": "hr", "url": "ldap://bind:pw@host"}}, "settings.url"),
    ],
    ids=str,
)
def test_2_what_cannot_be_right_is_refused(world: SpaceWorld, fields: dict[str, Any], field: str) -> None:
    world.systems.systems["hr"] = MemorySystem()
    wrong = replace(draft("hr").agent, **fields)
    with pytest.raises(InvalidInput) as refused:
        world.services.management_agents.add(world.dave, AgentDraft(wrong))
    assert refused.value.field == field
    assert world.services.management_agents.all(world.dave) == ()


def test_2_secrets_are_found_at_any_depth() -> None:
    refuse_secrets(
        "settings", {"password_attribute": "unicodePwd", "hosts": ["ldaps://host:636"], "password": ""}
    )
    for value in ({"a": [{"Token": "x"}]}, {"a": ["x", "http://u:p@h"]}, {"a": {"b": {"secret": 1}}}):
        with pytest.raises(InvalidInput):
            refuse_secrets("settings", value)
    deep: object = "x"
    for _ in range(20):
        deep = [deep]
    with pytest.raises(InvalidInput, match="deep"):
        refuse_secrets("settings", deep)


def test_3_the_kind_of_system_checks_its_settings(world: SpaceWorld) -> None:
    world.systems.systems["hr"] = MemorySystem()
    for change in (
        {"connector": "pigeon"},
        {"settings": {"system": "none"}},
        {"settings": {"system": "hr", "x": 1}},
    ):
        with pytest.raises(InvalidInput):
            world.services.management_agents.add(world.dave, AgentDraft(replace(draft("hr").agent, **change)))


def test_3_a_node_without_systems_says_so(world: SpaceWorld) -> None:
    none = NoSystems()
    for ask in (
        lambda: none.check("ldap", {}),
        lambda: none.connector(draft("x").agent, ""),
        lambda: none.target(draft("x").agent, ""),
    ):
        with pytest.raises(CapabilityMissing):
            ask()


def test_4_targets_are_found_by_name_and_no_password_goes_round(world: SpaceWorld) -> None:
    world.add("ldap")
    shown = world.add("corp", source=PasswordSource(domain="Corp.Test."), targets=("LDAP", "ldap"))
    assert shown.targets == ("ldap",)
    assert shown.agent.source is not None
    assert shown.agent.source.domain == "corp.test"
    with pytest.raises(NotFound):
        world.add("x", source=PasswordSource(domain="x.test"), targets=("nobody",))
    with pytest.raises(InvalidInput, match=r"source\.targets"):
        world.add("y", targets=("ldap",))
    with pytest.raises(Conflict, match="target of its own"):
        world.services.management_agents.edit(
            world.dave, "corp", draft("corp", source=PasswordSource(domain="corp.test"), targets=("corp",))
        )
    with pytest.raises(Conflict, match="round"):
        world.services.management_agents.edit(
            world.dave, "ldap", draft("ldap", source=PasswordSource(domain="ldap.test"), targets=("corp",))
        )
    with pytest.raises(Conflict, match=r"source for corp\.test already"):
        world.add("z", source=PasswordSource(domain="CORP.test"))
    with pytest.raises(Conflict, match="is a target of corp"):
        world.services.management_agents.remove(world.dave, "ldap")


def test_4_a_source_reads_the_domain_that_it_is_told_of(
    world: SpaceWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By its source it would be OTHER, while it writes to CORP."""
    monkeypatch.setattr(world.services.management_agents._systems, "check", lambda *_: None)
    world.systems.systems["corp"] = MemorySystem()
    settings = {"system": "corp", "domain": "Corp.Test."}
    for domain in ("other.test", "corp.test"):
        made = draft("corp", source=PasswordSource(domain=domain))
        made = replace(made, agent=replace(made.agent, settings=settings))
        if domain == "corp.test":
            world.services.management_agents.add(world.dave, made)
            continue
        with pytest.raises(InvalidInput, match=r"source\.domain"):
            world.services.management_agents.add(world.dave, made)


def test_4_a_source_of_a_domain_that_nobody_here_can_ask_is_refused(world: SpaceWorld) -> None:
    """Its controllers would be turned away one by one, and the agent would wait for ever."""
    world.add("old", source=PasswordSource(domain="gone.test"))
    known = ManagementAgents(
        store=world.store,
        systems=world.systems,
        sealer=world.adapters.sealer,
        random=world.adapters.random,
        now=world.clock.now,
        source_domains=frozenset({"corp.test", "priv.test"}),
    )
    world.systems.systems.update({"corp": MemorySystem(), "x": MemorySystem()})
    for refused in (
        lambda: known.add(world.dave, draft("x", source=PasswordSource(domain="x.test"))),
        lambda: known.switch(world.dave, "old", source=True),
        lambda: known.edit(world.dave, "old", draft("old", source=PasswordSource(domain="other.test"))),
    ):
        with pytest.raises(InvalidInput, match=r"corp\.test, priv\.test") as error:
            refused()
        assert error.value.field == "source.domain"
        assert "[[passwords.source_domains]]" in error.value.remedy
        assert "set up [passwords]" in error.value.remedy, "without that table no line below it would help"
    known.add(world.dave, draft("corp", source=PasswordSource(domain="CORP.Test.")))
    assert known.switch(world.dave, "corp", source=True).agent.source is not None
    world.services.management_agents.switch(world.dave, "old", source=True)
    off = known.switch(world.dave, "old", source=False).agent.source
    assert off is not None
    assert not off.enabled, "what is over can be switched off"


def test_5_a_secret_is_sealed_to_its_agent_and_never_shown(world: SpaceWorld) -> None:
    world.add("hr", system=MemorySystem(secret=SECRET))
    with pytest.raises(TargetDenied):
        world.load("hr")
    shown = world.services.management_agents.set_secret(world.dave, "hr", SECRET)
    assert shown.secret
    world.load("hr")
    world.add("ldap")
    with world.store.read() as uow:
        hr, ldap = uow.agents.by_name("hr"), uow.agents.by_name("ldap")
        sealed = uow.agents.secret(hr.id)
        assert secret_of(uow, world.adapters.sealer, hr.id) == SECRET
        assert secret_of(uow, world.adapters.sealer, ldap.id) == ""
        records = str(list(uow.audit.read(AuditQuery(limit=0))))
    assert SECRET.encode() not in sealed
    assert SECRET not in records + repr(shown)
    with world.store.write() as uow:
        uow.agents.set_secret(ldap.id, sealed)
        with pytest.raises(StoreError):
            secret_of(uow, world.adapters.sealer, ldap.id)


def test_5_a_secret_is_forgotten_when_the_settings_lead_elsewhere(world: SpaceWorld) -> None:
    world.add("hr")
    world.systems.systems["evil"] = MemorySystem()
    agents = world.services.management_agents
    agents.set_secret(world.dave, "hr", SECRET)
    kept = agents.edit(world.dave, "hr", draft("hr", rules=HR))
    assert (kept.secret_forgotten, kept.after.secret) == (False, True)
    moved = replace(draft("hr", rules=HR).agent, settings={"system": "evil"})
    tried = agents.edit(world.dave, "hr", AgentDraft(moved), dry_run=True)
    assert tried.secret_forgotten
    assert agents.show(world.dave, "hr").secret
    done = agents.edit(world.dave, "hr", AgentDraft(moved))
    assert (done.secret_forgotten, done.after.secret) == (True, False)
    assert audited(world, "ma.changed")[-1]["secret"] == "forgotten"
    assert agents.set_secret(world.dave, "hr", "").secret is False
    assert world.events("ma.secret-removed") == ["ma.secret-removed"]


def test_5_a_secret_has_limits(world: SpaceWorld) -> None:
    world.add("hr")
    for wrong in ("x" * 5000, "a\0b"):
        with pytest.raises(InvalidInput) as refused:
            world.services.management_agents.set_secret(world.dave, "hr", wrong)
        assert wrong not in str(refused.value)


def test_6_other_rules_mean_that_everything_is_read_again(company: SpaceWorld) -> None:
    edit = company.services.management_agents.edit
    before = agent_of(company, "ldap")
    assert before.cookie
    other = replace(draft("ldap").agent, passwords=PasswordManagement(verify=True))
    kept = edit(company.dave, "ldap", AgentDraft(other)).after.agent
    assert (kept.cookie, kept.run) == (before.cookie, before.run)
    read = edit(company.dave, "ldap", AgentDraft(replace(other, rules=HR))).after.agent
    assert (read.cookie, read.run, read.imported_at) == ("", "", before.imported_at)
    assert company.load("ldap").mode is Mode.FULL


def test_8_a_waiver_has_a_record_of_its_own(world: SpaceWorld) -> None:
    world.add("hr", passwords=PasswordManagement(require_secure=False))
    edit = world.services.management_agents.edit
    edit(world.dave, "hr", draft("hr"))
    edit(world.dave, "hr", draft("hr", passwords=PasswordManagement(verify=True)))
    edit(world.dave, "hr", draft("hr", passwords=PasswordManagement(require_secure=False)))
    with world.store.read() as uow:
        kinds = [r.kind for r in uow.audit.read(AuditQuery(limit=0)) if r.kind.startswith("ma.")]
    assert kinds == [
        "ma.added", "ma.security-waived", "ma.changed", "ma.security-required", "ma.changed", "ma.changed",
        "ma.security-waived",
    ]  # fmt: skip


def test_a_change_is_audited_as_old_and_new(world: SpaceWorld) -> None:
    world.add("hr", rules=HR)
    own = PasswordSource(domain="hr.test", own_accounts=(Sid("S-1-5-21-1-2-3-4"),))
    after = replace(draft("hr", rules=HR, source=own).agent, name="staff")
    done = world.services.management_agents.edit(world.dave, "hr", AgentDraft(after))
    assert set(done.differences) == {"name", "source"}
    said = audited(world, "ma.changed")[0]
    assert said["name"] == ["hr", "staff"]
    assert said["source"][0] is None
    assert said["source"][1]["own_accounts"] == ["S-1-5-21-1-2-3-4"]
    assert audited(world, "ma.added")[0]["rules"]["flows"][0] == "employeeNumber -> employeeNumber (100)"


def test_changes_are_optimistic_and_a_change_without_a_difference_is_none(world: SpaceWorld) -> None:
    world.add("hr")
    edit = world.services.management_agents.edit
    with pytest.raises(Conflict, match="like that already"):
        edit(world.dave, "hr", draft("hr"))
    assert edit(world.dave, "hr", draft("hr", rules=HR)).after.agent.version == 1
    with pytest.raises(Conflict, match="somebody else"):
        edit(world.dave, "hr", draft("hr", version=7))
    world.load("hr")
    assert edit(world.dave, "hr", draft("hr", version=1)).after.agent.version == 2, "an import is no change"


def test_names_are_taken_once(world: SpaceWorld) -> None:
    world.add("hr")
    world.add("ldap")
    with pytest.raises(Conflict, match="already"):
        world.services.management_agents.add(world.dave, AgentDraft(replace(draft("hr").agent, name="HR")))
    with pytest.raises(Conflict, match="already"):
        world.services.management_agents.edit(
            world.dave, "hr", AgentDraft(replace(draft("hr").agent, name="Ldap"))
        )


def test_a_dry_run_changes_nothing(company: SpaceWorld) -> None:
    agents = company.services.management_agents
    before = (agents.all(company.dave), company.events())
    agents.edit(company.dave, "ldap", draft("ldap", rules=HR), dry_run=True)
    agents.remove(company.dave, "ldap", dry_run=True)
    company.systems.systems["new"] = MemorySystem()
    agents.add(company.dave, draft("new"), dry_run=True)
    assert (agents.all(company.dave), company.events()) == before


def test_it_is_switched_on_and_off(world: SpaceWorld) -> None:
    world.add("corp", source=PasswordSource(domain="corp.test"))
    world.add("ldap")
    switch = world.services.management_agents.switch
    on = switch(world.dave, "corp", target=True, source=True).agent
    assert (on.passwords.enabled, on.source and on.source.enabled) == (True, True)
    off = switch(world.dave, "corp", source=False).agent
    assert (off.passwords.enabled, off.source and off.source.enabled) == (True, False)
    with pytest.raises(Conflict):
        switch(world.dave, "corp", source=False)
    with pytest.raises(InvalidInput, match="source"):
        switch(world.dave, "ldap", source=True)
    with pytest.raises(InvalidInput):
        switch(world.dave, "ldap")
    assert world.events("ma.enabled") + world.events("ma.disabled") == ["ma.enabled", "ma.disabled"]


def test_a_removed_agent_takes_its_objects_and_those_who_have_no_other(company: SpaceWorld) -> None:
    company.services.management_agents.remove(company.dave, "ldap")
    assert {p.attributes["mail"] for p in company.people()} == {("ann@hr",), ("ben@hr",)}
    company.services.management_agents.remove(company.dave, "hr")
    assert company.people() == []
    assert company.services.spaces.search(company.dave) == ()
    assert audited(company, "ma.removed")[-1]["people_removed"] == 2
