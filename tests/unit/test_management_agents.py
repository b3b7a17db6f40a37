"""Management agents, imports, joins: the use cases over systems in memory."""

import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from bastide.domain.errors import (
    Ambiguous,
    BadSource,
    CapabilityMissing,
    Conflict,
    InvalidInput,
    NotAuthorized,
    NotFound,
    StoreError,
    TargetDenied,
    TargetUnavailable,
)
from bastide.domain.ids import Sid
from bastide.domain.management_agents import (
    Condition,
    Filter,
    Flow,
    ImportPlan,
    ImportRules,
    JoinRule,
    Link,
    MaId,
    ManagementAgent,
    PasswordManagement,
    PasswordSource,
)
from bastide.domain.management_agents import Test as Compare
from bastide.services.passwords.imports import Mode
from bastide.services.passwords.lookup import secret_of
from bastide.services.passwords.management_agents import AgentDraft, refuse_secrets
from bastide.services.passwords.ports import Page
from bastide.services.passwords.workspace import Touched
from bastide.services.ports import AuditQuery
from bastide.targets.memory import MemorySystem
from bastide.wiring.spaces import NoSystems
from tests.support.spaces import HR, JOIN, TARGET, SpaceWorld, draft, filters

SECRET = "canary-SECRET-of-the-agent"


@pytest.fixture
def world() -> Iterator[SpaceWorld]:
    made = SpaceWorld()
    yield made
    made.close()


@pytest.fixture
def company(world: SpaceWorld) -> SpaceWorld:
    """HR with Ann and Ben; both, and Zoe, who is in no HR, in the directory. All imported."""
    world.add("hr", rules=HR)
    world.add("ldap")
    world.staff("ann", "ben")
    world.staff("ann", "ben", "zoe", system="ldap")
    world.load("hr")
    world.load("ldap")
    return world


def audited(world: SpaceWorld, kind: str) -> list[dict[str, Any]]:
    with world.store.read() as uow:
        return [json.loads(r.data) for r in uow.audit.read(AuditQuery(kind=kind, limit=0))]


def agent_of(world: SpaceWorld, name: str) -> ManagementAgent:
    return world.services.management_agents.show(world.dave, name).agent


# --------------------------------------------------------------------------------------------------------------- agents


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
    settings = {"system": "corp", "domain": "Corp.Test."}
    for domain in ("other.test", "corp.test"):
        made = draft("corp", source=PasswordSource(domain=domain))
        made = replace(made, agent=replace(made.agent, settings=settings))
        if domain == "corp.test":
            world.services.management_agents.add(world.dave, made)
            continue
        with pytest.raises(InvalidInput, match=r"source\.domain"):
            world.services.management_agents.add(world.dave, made)


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


def test_7_a_waiver_has_a_record_of_its_own(world: SpaceWorld) -> None:
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


# -------------------------------------------------------------------------------------------------------------- what is read


def test_a_source_makes_people_and_a_target_joins_them(company: SpaceWorld) -> None:
    assert len(company.people()) == 2
    ann = company.services.spaces.show_person(company.dave, company.cs("ann", "ldap").object.mv or "")
    assert {one.agent: one.object.link for one in ann.connectors} == {
        "hr": Link.PROJECTED,
        "ldap": Link.JOINED,
    }
    assert ann.person.attributes == {
        "employeeNumber": ("E-ann",), "displayName": ("Ann",), "mail": ("ann@ldap",),
    }  # fmt: skip
    assert ann.origins == {"employeeNumber": "hr", "displayName": "hr", "mail": "ldap"}
    assert company.cs("zoe").object.link is Link.NONE


def test_the_order_of_imports_means_nothing(world: SpaceWorld) -> None:
    world.add("hr", rules=HR)
    world.add("ldap")
    world.staff("ann")
    world.staff("ann", system="ldap")
    waiting = world.load("ldap").statistics
    assert (waiting.added, waiting.waiting, waiting.joined) == (1, 1, 0)
    made = world.load("hr").statistics
    assert (made.projected, made.joined, made.people_added) == (1, 1, 1)
    assert world.cs("ann", "ldap").object.link is Link.JOINED


def test_what_waits_is_joined_over_several_agents(world: SpaceWorld) -> None:
    """The cloud joins by what the directory gives, the directory by what HR gives."""
    directory = ImportRules(joins=(JOIN,), flows=(Flow("upn", "upn"),))
    world.add("a-cloud", rules=ImportRules(joins=(JoinRule((("login", "upn"),)),)))
    world.add("b-dir", rules=directory)
    world.add("hr", rules=HR)
    world.system("a-cloud").put("c1", login="ann@corp")
    world.system("b-dir").put("d1", employeeNumber="E-ann", upn="Ann@Corp")
    world.staff("ann")
    for name in ("a-cloud", "b-dir", "hr"):
        world.load(name)
    assert len({world.cs(one).object.mv for one in ("c1", "d1", "ann")}) == 1


def test_1_credentials_never_come_in(world: SpaceWorld) -> None:
    world.add("hr", rules=HR)
    world.system("hr").put("ann", employeeNumber="1", userPassword="{SSHA}x", unicodePwd="x", cn="Ann")
    world.load("hr")
    assert set(world.cs("ann").object.attributes) == {"employeeNumber", "cn"}
    assert set(world.people()[0].attributes) == {"employeeNumber", "displayName"}


def test_the_same_number_twice_in_one_page_is_a_conflict_and_not_a_second_person(world: SpaceWorld) -> None:
    world.add("hr", rules=HR)
    for anchor in ("a", "b"):
        world.system("hr").put(anchor, employeeNumber="7", cn=anchor)
    numbers = world.load("hr").statistics
    assert (numbers.projected, numbers.conflicts) == (1, 1)
    assert {world.cs(a).object.link for a in ("a", "b")} == {Link.PROJECTED, Link.CONFLICT}
    world.system("hr").delete(next(a for a in ("a", "b") if world.cs(a).object.link is Link.PROJECTED))
    after = world.load("hr").statistics
    assert (after.deleted, after.people_removed, after.projected) == (1, 1, 1), "its place is free"


def test_several_people_are_a_conflict_until_only_one_is_left(company: SpaceWorld) -> None:
    company.system("hr").put("twin", employeeNumber="E-zoe", cn="One")
    company.system("hr").put("triplet", employeeNumber="x", cn="Two", mail="m")
    company.load("hr")
    assert company.cs("zoe").object.link is Link.JOINED
    by_mail = ImportRules(joins=(JoinRule((("mail", "displayName"),)),))
    company.add("files", rules=by_mail)
    for name in ("p", "q"):
        company.system("hr").put(name, employeeNumber=name, cn="Same")
    company.load("hr")
    company.system("files").put("f", mail="same")
    numbers = company.load("files").statistics
    assert numbers.conflicts == 1
    said = company.cs("f").object
    assert said.link is Link.CONFLICT
    assert {company.cs("p").object.mv, company.cs("q").object.mv} <= set(
        said.because.replace(",", "").split()
    )
    company.system("hr").delete("q")
    company.load("hr")
    assert company.cs("f").object.mv == company.cs("p").object.mv


def test_a_delta_brings_what_changed_and_what_was_deleted(company: SpaceWorld) -> None:
    company.staff("ann")
    company.system("hr").put("carl", employeeNumber="E-carl", cn="Carl")
    company.system("hr").delete("ben")
    done = company.load("hr", Mode.DELTA)
    numbers = done.statistics
    assert (done.mode, numbers.read, numbers.added, numbers.deleted, numbers.unchanged) == (
        Mode.DELTA,
        3,
        1,
        1,
        1,
    )
    with pytest.raises(NotFound):
        company.cs("ben", "hr")
    assert company.load("hr").statistics.read == 0


def test_a_full_import_sweeps_what_it_has_not_seen(company: SpaceWorld) -> None:
    company.system("ldap").delete("zoe")
    with pytest.raises(Conflict, match="1 of 3 objects of ldap would be disconnected: more than 10 %"):
        company.load("ldap", Mode.FULL)
    assert company.cs("zoe")
    assert audited(company, "ma.import-failed")[-1]["error"] == "conflict"
    preview = company.load("ldap", Mode.FULL, dry_run=True)
    assert preview.fuse.startswith("1 of 3")
    assert [(s.what, s.dn) for s in preview.steps] == [("delete", "CN=zoe")]
    assert company.load("ldap", Mode.FULL, force=True).statistics.deleted == 1
    assert audited(company, "ma.imported")[-1]["forced"] is True
    with pytest.raises(NotFound):
        company.cs("zoe")


def test_4_the_fuse_counts_what_a_filter_would_disconnect(company: SpaceWorld) -> None:
    out = Filter((Condition("mail", Compare.ENDS, "@ldap"),))
    company.services.management_agents.edit(company.dave, "ldap", draft("ldap", rules=filters(out)))
    with pytest.raises(Conflict, match="2 of 3 objects"):
        company.load("ldap")
    assert company.cs("ann", "ldap").object.link is Link.JOINED, "stopped before the commit"
    assert company.load("ldap", force=True).statistics.disconnected == 2
    assert company.cs("ann", "ldap").object.link is Link.FILTERED


def test_4_the_fuse_is_a_setting(company: SpaceWorld) -> None:
    company.services.management_agents.edit(company.dave, "ldap", draft("ldap", imports=ImportPlan(fuse=34)))
    company.system("ldap").delete("zoe")
    assert company.load("ldap", Mode.FULL).statistics.deleted == 1


def test_3_an_import_that_breaks_sweeps_nothing_and_keeps_what_it_has(world: SpaceWorld) -> None:
    world.add("hr", rules=HR, system=MemorySystem(page_size=2))
    world.staff("a", "b", "c", "d")
    world.system("hr").faults.break_after_pages = 1
    with pytest.raises(TargetUnavailable):
        world.load("hr")
    assert len(world.people()) == 2
    assert agent_of(world, "hr").cookie == ""
    world.system("hr").faults.break_after_pages = None
    numbers = world.load("hr").statistics
    assert (numbers.added, numbers.unchanged, numbers.deleted) == (2, 2, 0)


def test_a_system_that_cannot_tell_changes_is_read_whole(world: SpaceWorld) -> None:
    world.add("hr", rules=HR, system=MemorySystem(delta=False))
    world.staff("ann")
    assert [world.load("hr").mode, world.load("hr").mode] == [Mode.FULL, Mode.FULL]
    with pytest.raises(CapabilityMissing):
        world.load("hr", Mode.DELTA)


def test_a_mark_that_is_not_known_any_more_means_everything(company: SpaceWorld) -> None:
    company.systems.systems["hr"] = MemorySystem()
    company.staff("ann", "ben")
    with company.store.write() as uow:
        uow.agents.note(replace(uow.agents.by_name("hr"), cookie="OTk5"))
        uow.commit()
    with pytest.raises(BadSource):
        company.load("hr", Mode.DELTA)
    assert company.load("hr").mode is Mode.FULL


def test_a_delta_needs_a_mark(world: SpaceWorld) -> None:
    world.add("hr")
    with pytest.raises(Conflict, match="no mark"):
        world.load("hr", Mode.DELTA)


def test_a_preview_says_everything_and_writes_nothing(world: SpaceWorld) -> None:
    world.add("hr", rules=HR, system=MemorySystem(page_size=1))
    world.add("ldap")
    world.staff("ann", system="ldap")
    world.load("ldap")
    world.staff("ann", "ben")
    world.system("hr").put("double", employeeNumber="E-ann", cn="Double")
    before = (world.events(), agent_of(world, "hr"))
    preview = world.load("hr", dry_run=True)
    assert (world.events(), agent_of(world, "hr")) == before
    assert world.people() == []
    real = world.load("hr")
    assert preview.statistics == real.statistics
    assert {(s.what, s.agent, s.dn) for s in preview.steps} == {
        ("add", "hr", "CN=ann"), ("project", "hr", "CN=ann"), ("join", "ldap", "CN=ann"),
        ("add", "hr", "CN=ben"), ("project", "hr", "CN=ben"),
        ("add", "hr", "CN=double"), ("conflict", "hr", "CN=double"),
    }  # fmt: skip
    assert real.statistics.conflicts == 1


def test_a_preview_finds_people_whom_it_would_make_by_values_that_nobody_asked_for_yet(
    world: SpaceWorld,
) -> None:
    world.add("hr", rules=HR)
    world.add("ldap", rules=ImportRules(joins=(JoinRule((("mail", "mail"),)),)))
    world.system("ldap").put("a", mail="ann@hr")
    world.load("ldap")
    world.staff("ann")
    assert [step.what for step in world.load("hr", dry_run=True).steps] == ["add", "project", "join"]


def test_a_number_that_somebody_gives_up_ends_the_conflict(company: SpaceWorld) -> None:
    company.system("hr").put("twin", employeeNumber="T", cn="Same")
    company.system("hr").put("other", employeeNumber="O", cn="Same")
    company.load("hr")
    company.add("files", rules=ImportRules(joins=(JoinRule((("name", "displayName"),)),)))
    company.system("files").put("f", name="Same")
    company.load("files")
    assert company.cs("f").object.link is Link.CONFLICT
    company.system("hr").put("other", employeeNumber="O", cn="Else")
    company.load("hr")
    assert company.cs("f").object.mv == company.cs("twin").object.mv


def test_1_a_newer_import_takes_the_pen(world: SpaceWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    world.add("hr", rules=HR, system=MemorySystem(page_size=1))
    world.staff("a", "b")
    _between_pages(world, monkeypatch, lambda: world.load("hr"))
    with pytest.raises(Conflict, match="another import of hr has begun"):
        world.load("hr")
    assert len(world.people()) == 2


def test_1_a_change_of_the_rules_takes_the_pen(world: SpaceWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    world.add("hr", rules=HR, system=MemorySystem(page_size=1))
    world.staff("a", "b")
    edit = world.services.management_agents.edit
    _between_pages(world, monkeypatch, lambda: edit(world.dave, "hr", draft("hr", rules=TARGET)))
    with pytest.raises(Conflict, match="was changed"):
        world.load("hr")


def test_1_an_agent_that_was_removed_is_not_imported(
    world: SpaceWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.add("hr", rules=HR, system=MemorySystem(page_size=1))
    world.staff("a", "b")
    _between_pages(world, monkeypatch, lambda: world.services.management_agents.remove(world.dave, "hr"))
    with pytest.raises(Conflict, match="removed"):
        world.load("hr")
    assert world.people() == []


def _between_pages(world: SpaceWorld, monkeypatch: pytest.MonkeyPatch, act: Any) -> None:
    """Once, after the first page."""
    system = world.system("hr")
    pages = system.pages

    def interrupted(cookie: bytes) -> Iterator[Page]:
        for number, page in enumerate(pages(cookie)):
            if number == 1:
                monkeypatch.setattr(system, "pages", pages)
                act()
            yield page

    monkeypatch.setattr(system, "pages", interrupted)


def test_a_rule_join_stays_when_the_number_changes_and_the_attributes_follow(company: SpaceWorld) -> None:
    company.system("hr").put("ann", employeeNumber="E-new", cn="Ann Lee")
    company.load("hr")
    ann = company.services.spaces.show_person(company.dave, company.cs("ann", "ldap").object.mv or "").person
    assert ann.attributes["employeeNumber"] == ("E-new",)
    assert ann.attributes["displayName"] == ("Ann Lee",)
    company.load("ldap", Mode.FULL)
    assert company.cs("ann", "ldap").object.mv == ann.id


def test_a_renamed_object_is_the_same_object(company: SpaceWorld) -> None:
    before = company.cs("ann", "hr").object
    company.system("hr").put("ann", dn="CN=Ann Married", employeeNumber="E-ann", cn="Ann", mail="ann@hr")
    assert company.load("hr").statistics.updated == 1
    after = company.cs("ann", "hr").object
    assert (after.id, after.dn, after.mv) == (before.id, "CN=Ann Married", before.mv)


def test_an_object_named_twice_in_a_page_is_as_it_was_named_last(
    world: SpaceWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.add("hr", rules=HR)
    world.staff("ann")
    one = next(iter(world.system("hr").pages(b""))).objects[0]
    twice = Page(
        (one, replace(one, dn="CN=later"), replace(one, deleted=True), replace(one, dn="CN=last")), b"1"
    )
    monkeypatch.setattr(world.system("hr"), "pages", lambda _: iter([twice]))
    world.load("hr")
    assert world.cs("ann").object.dn == "CN=last"
    assert len(world.people()) == 1


# -------------------------------------------------------------------------------------------------------- durable work


def test_a_schedule_imports_and_plans_the_next(world: SpaceWorld) -> None:
    world.add("hr", rules=HR, imports=ImportPlan(every=timedelta(minutes=15)))
    world.staff("ann")
    world.runner.run_due()
    assert world.people() == [], "a minute to set the secret"
    world.clock.move(minutes=1)
    world.runner.run_due()
    assert len(world.people()) == 1
    world.staff("ben")
    world.clock.move(minutes=14)
    world.runner.run_due()
    assert len(world.people()) == 1
    world.clock.move(minutes=1)
    world.runner.run_due()
    assert len(world.people()) == 2
    assert audited(world, "ma.imported")[-1]["mode"] == "delta"


def test_an_asked_import_runs_once(world: SpaceWorld) -> None:
    world.add("hr", rules=HR)
    world.staff("ann")
    world.services.imports.ask(world.dave, "hr")
    world.runner.run_due()
    assert len(world.people()) == 1
    world.services.imports.ask(world.dave, "hr", full=True)
    world.runner.run_due()
    assert [one["mode"] for one in audited(world, "ma.imported")] == ["full", "full"]
    world.clock.move(days=1)
    world.runner.run_due()
    assert len(audited(world, "ma.imported")) == 2


def test_a_failed_import_is_tried_again_and_audited_once(world: SpaceWorld) -> None:
    world.add("hr", rules=HR)
    world.staff("ann")
    world.system("hr").faults.down = True
    world.services.imports.ask(world.dave, "hr")
    for _ in range(5):
        world.runner.run_due()
        world.clock.move(minutes=1)
    assert audited(world, "ma.import-failed") == [
        {"error": "target-unavailable", "message": "the system does not answer"}
    ]
    world.system("hr").faults.down = False
    world.clock.move(minutes=1)
    world.runner.run_due()
    assert len(world.people()) == 1


def test_a_blown_fuse_waits_for_a_person(company: SpaceWorld) -> None:
    company.system("ldap").delete("zoe")
    company.services.imports.ask(company.dave, "ldap", full=True)
    company.runner.run_due()
    with company.store.read() as uow:
        row = next(r for r in uow.work.listing() if r["kind"] == "import")
    assert "more than 10 %" in str(row["error"])
    assert row["due"] == company.clock.now() + timedelta(hours=1)
    assert company.cs("zoe")


def test_work_of_an_agent_that_is_gone_is_over(world: SpaceWorld) -> None:
    world.add("hr")
    world.services.imports.ask(world.dave, "hr")
    world.services.management_agents.remove(world.dave, "hr")
    assert world.runner.run_due() == 1
    assert world.runner.run_due() == 0


@pytest.mark.parametrize("raised", [KeyError(SECRET), ValueError(SECRET), OSError(SECRET)])
def test_a_connector_that_fails_in_a_way_of_its_own_tells_no_secret(
    world: SpaceWorld, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, raised: Exception
) -> None:
    world.add("hr")

    def broken(_: bytes) -> Iterator[Page]:
        raise raised
        yield

    monkeypatch.setattr(world.system("hr"), "pages", broken)
    with pytest.raises(BadSource, match=f"failed with {type(raised).__name__}") as refused:
        world.load("hr")
    assert SECRET not in repr(refused.getrepr()) + caplog.text + str(audited(world, "ma.import-failed"))


def test_an_object_without_an_anchor_is_no_object(world: SpaceWorld) -> None:
    world.add("hr")
    world.system("hr").put("", cn="nobody")
    with pytest.raises(BadSource, match="without an anchor"):
        world.load("hr")


# -------------------------------------------------------------------------------------------------------- joins by hand


def test_explain_says_of_each_rule_what_it_found(company: SpaceWorld) -> None:
    by_room = JoinRule((("room", "room"),))
    by_mail = JoinRule((("mail", "mail"),))
    rules = ImportRules(
        joins=(by_room, JOIN, by_mail), filters=(Filter((Condition("cn", Compare.EQUALS, "ben"),)),)
    )
    company.services.management_agents.edit(company.dave, "ldap", draft("ldap", rules=rules))
    explain = company.services.spaces.explain
    ann = explain(company.dave, "ann", agent="ldap")
    assert [(t.trial.outcome, t.decides) for t in ann.rules] == [
        ("does not apply: the object has no room", False),
        ("fits exactly one object of the metaverse", True),
        ("fits exactly one object of the metaverse", False),
    ]
    assert ann.rules[1].trial.looked_for == (("employeeNumber", ("e-ann",)),)
    assert (ann.verdict.link, ann.verdict.mv) == (Link.JOINED, ann.seen.object.mv)
    assert [person.id for person in ann.people] == [ann.seen.object.mv]
    assert explain(company.dave, "ben", agent="ldap").filter == 1
    zoe = explain(company.dave, "zoe")
    assert (zoe.verdict.link, zoe.people) == (Link.NONE, ())
    assert explain(company.dave, zoe.seen.object.id) == zoe


def test_objects_are_named_by_id_anchor_or_dn(company: SpaceWorld) -> None:
    assert company.cs("cn=ANN", "hr").object == company.cs("ann", "hr").object
    with pytest.raises(NotFound):
        company.cs("CN=an", "hr")
    with pytest.raises(Ambiguous, match="hr, ldap"):
        company.cs("CN=ann")
    with pytest.raises(Ambiguous, match="hr, ldap"):
        company.cs("ann")
    with pytest.raises(NotFound):
        company.cs("nobody")
    hr = company.cs("ann", "hr").object
    with pytest.raises(NotFound):
        company.cs(hr.id, "ldap")
    with pytest.raises(InvalidInput):
        company.services.spaces.search(company.dave, link="married")
    with pytest.raises(InvalidInput):
        company.services.spaces.search(company.dave, limit=0)


def test_a_join_by_hand_holds_against_rules_and_filters(company: SpaceWorld) -> None:
    spaces = company.services.spaces
    ann = company.cs("ann", "hr").object.mv or ""
    with pytest.raises(Conflict, match="has CN=ann of this agent already"):
        spaces.join(company.dave, "zoe", ann)
    spaces.disjoin(company.dave, "ann", agent="ldap", apart=True)
    assert spaces.join(company.dave, "zoe", ann).object.link is Link.MANUAL
    out = Filter((Condition("cn", Compare.PRESENT),))
    company.services.management_agents.edit(company.dave, "ldap", draft("ldap", rules=filters(out)))
    company.load("ldap", force=True)
    assert company.cs("zoe").object.mv == ann
    with pytest.raises(Conflict, match="is connected with"):
        spaces.join(company.dave, "zoe", ann)
    with pytest.raises(NotFound):
        spaces.join(company.dave, "ben", "00000000-0000-0000-0000-000000000000", agent="ldap")
    assert audited(company, "join.set")[0]["person"] == ann


def test_a_join_that_is_taken_away_comes_back_unless_it_is_kept_apart(company: SpaceWorld) -> None:
    spaces = company.services.spaces
    spaces.disjoin(company.dave, "ann", agent="ldap")
    assert company.cs("ann", "ldap").object.link is Link.NONE
    company.load("ldap", Mode.FULL)
    assert company.cs("ann", "ldap").object.link is Link.JOINED
    spaces.disjoin(company.dave, "ann", agent="ldap", apart=True)
    company.load("ldap", Mode.FULL)
    assert company.cs("ann", "ldap").object.link is Link.APART
    mail = next(p for p in company.people() if "E-ann" in p.attributes["employeeNumber"]).attributes["mail"]
    assert mail == ("ann@hr",), "what it gave goes with it"
    with pytest.raises(Conflict):
        spaces.disjoin(company.dave, "ann", agent="ldap", apart=True)
    spaces.disjoin(company.dave, "ann", agent="ldap")
    company.load("ldap", Mode.FULL)
    assert company.cs("ann", "ldap").object.link is Link.JOINED
    with pytest.raises(Conflict):
        spaces.disjoin(company.dave, "zoe")
    assert [one["apart"] for one in audited(company, "join.removed")] == [False, True, False]


def test_who_competed_takes_the_place_of_who_is_kept_apart(company: SpaceWorld) -> None:
    company.system("ldap").put("ann2", employeeNumber="E-ann", cn="Ann 2")
    company.load("ldap")
    assert company.cs("ann2").object.link is Link.CONFLICT
    company.services.spaces.disjoin(company.dave, "ann", agent="ldap", apart=True)
    assert company.cs("ann2").object.link is Link.JOINED


def test_an_object_is_projected_by_hand(company: SpaceWorld) -> None:
    spaces = company.services.spaces
    done = spaces.project(company.dave, "zoe", type="robot").object
    assert done.link is Link.MANUAL
    person = spaces.show_person(company.dave, done.mv or "").person
    assert (person.type, person.attributes) == ("robot", {"mail": ("zoe@ldap",)})
    with pytest.raises(Conflict):
        spaces.project(company.dave, "zoe")
    spaces.disjoin(company.dave, "zoe", apart=True)
    assert len(company.people()) == 2, "gone with its only connector"
    assert audited(company, "cs.projected")[0]["type"] == "robot"


# ---------------------------------------------------------------------------------------------------------------- limits


def test_too_many_changed_values_are_all_values(monkeypatch: pytest.MonkeyPatch) -> None:
    touched = Touched()
    assert not touched
    monkeypatch.setattr("bastide.services.passwords.workspace._TOUCHED_LIMIT", 2)
    touched.add([("a", "1"), ("a", "2"), ("a", "3")])
    assert touched.everything
    assert not touched.keys
    rules = ImportRules(joins=(JOIN,))
    agent = ManagementAgent(id=MaId("x"), name="x", connector="memory", settings={}, rules=rules)
    assert touched.concerns(agent, {})
    assert not touched.concerns(replace(agent, rules=ImportRules()), {})


def test_a_thousand_objects_in_pages_of_odd_sizes(world: SpaceWorld) -> None:
    world.add("hr", rules=HR, system=MemorySystem(page_size=1234))
    world.add("ldap", system=MemorySystem(page_size=77))
    for number in range(1501):
        for name in ("hr", "ldap"):
            world.system(name).put(f"{name}-{number}", employeeNumber=str(number), cn=f"n{number}")
    assert world.load("ldap").statistics.waiting == 1501
    numbers = world.load("hr").statistics
    assert (numbers.projected, numbers.joined, numbers.people_added) == (1501, 1501, 1501)
    again = world.load("ldap", Mode.FULL).statistics
    assert (again.unchanged, again.disconnected, again.people_added) == (1501, 0, 0)
