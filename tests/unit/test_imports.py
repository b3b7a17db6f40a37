"""What an import reads: people, joins, conflicts, deltas, sweeps and the fuse."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from bastide.domain.errors import (
    BadSource,
    CapabilityMissing,
    Conflict,
    NotFound,
    TargetUnavailable,
)
from bastide.domain.management_agents import (
    Condition,
    Filter,
    Flow,
    ImportPlan,
    ImportRules,
    JoinRule,
    Link,
)
from bastide.domain.management_agents import Test as Compare
from bastide.services.passwords.imports import Mode
from bastide.services.passwords.ports import Page
from bastide.targets.memory import MemorySystem
from tests.support.company import agent_of, audited
from tests.support.spaces import HR, JOIN, TARGET, SpaceWorld, draft, filters

pytest_plugins = ["tests.support.company"]


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
