"""Whose password a reset never sets: accounts that open more than their own, and whoever has such an account too. It is asked when it begins, before a code leaves, at each
gate, before the choice and in its commit.
"""

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from bastide.directory.memory import MemoryDirectory
from bastide.domain.errors import (
    BastideError,
    Conflict,
    DirectoryDenied,
    InvalidInput,
    NotAuthorized,
    NotConfigured,
)
from bastide.domain.ids import ObjectRef, Sid
from bastide.domain.management_agents import (
    CsId,
    CsObject,
    Link,
    MaId,
    ManagementAgent,
    MvId,
    PasswordManagement,
    PasswordSource,
)
from bastide.domain.people import Forest
from bastide.domain.reset.flow import Choice
from bastide.domain.reset.gates import Gate
from bastide.services.ports import Person
from bastide.services.reset.ports import NamedRule
from bastide.targets.memory import MemorySystem
from tests.support.reset_world import ELSEWHERE, NEW, ResetWorld, app_code
from tests.support.sync_world import guid_of

pytest_plugins = ["tests.support.reset_world"]
SECRET = "only-nina-knows"  # of a test


@pytest.fixture
def world() -> Iterator[ResetWorld]:

    made = ResetWorld()
    yield made
    made.close()


def join_admin(world: ResetWorld, name: str = "nina") -> ObjectRef:
    """An administrator's account in the other domain, joined to the same person."""
    admin = world.priv.add_person(f"{name}-adm", password=SECRET, protected=True).ref
    world.systems.systems["adm"] = MemorySystem()
    agent = ManagementAgent(
        id=MaId("ma-adm"),
        name="adm",
        connector="memory",
        settings={"system": "adm"},
        passwords=PasswordManagement(enabled=True),
        source=PasswordSource(domain=world.priv.dns_name.lower(), targets=(), enabled=True),
    )
    account = CsObject(
        id=CsId(guid_of(f"cs adm {name}")),
        ma=agent.id,
        anchor=admin.guid,
        dn=f"CN={name}-adm,OU=adm",
        type="user",
        attributes={"sAMAccountName": (f"{name}-adm",), "objectSid": (str(admin.sid),)},
        link=Link.JOINED,
        mv=MvId(guid_of(f"mv {name}")),
    )
    with world.store.write() as uow:
        uow.agents.add(agent)
        uow.space.put([account])
        uow.commit()
    world.systems.systems["adm"].put(admin.guid, dn=account.dn, password=SECRET)
    return admin


def add_to(world: ResetWorld, group: ObjectRef, name: str = "nina") -> None:
    world.services.forests[Forest.CORP].add_members(group, [world.everyday(name).sid])


# ------------------------------------------------------------------------------------------------ all accounts of a person


def test_no_code_is_sent_to_who_has_an_administrators_account_too(world: ResetWorld) -> None:
    world.register()
    join_admin(world)
    before = len(world.notifier.taken)
    world.begin("nina", ELSEWHERE)
    world.deliver()
    assert len(world.notifier.taken) == before


@pytest.mark.parametrize("choice", [Choice.SET, Choice.UNLOCK])
def test_an_administrators_account_that_is_joined_after_the_gates_ends_the_reset(
    world: ResetWorld, choice: Choice
) -> None:
    world.register()
    token = world.through("nina", ELSEWHERE)
    admin = join_admin(world)
    with pytest.raises(Conflict, match="over"):
        world.reset.journey.choose(token, choice, NEW, ELSEWHERE)
    world.deliver()
    assert world.systems.systems["adm"].account(admin.guid).password == SECRET


def test_a_gate_that_needs_no_message_is_not_passed_either() -> None:
    world = ResetWorld((Gate.TOTP,))
    uri = world.register()
    join_admin(world)
    token = world.begin("nina", ELSEWHERE)
    with pytest.raises(InvalidInput):
        world.reset.journey.answer(token, Gate.TOTP, {"code": app_code(uri, world.clock.now())}, ELSEWHERE)
    world.close()


@pytest.mark.parametrize("choice", [Choice.SET, Choice.UNLOCK])
def test_what_is_joined_between_look_and_commit_is_set_nowhere(
    world: ResetWorld, choice: Choice, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.register()
    token = world.through("nina", ELSEWHERE)
    real, joined = world.reset.journey._everywhere.changed_at, []

    def meanwhile(person: ObjectRef) -> Any:
        joined.append(join_admin(world))
        return real(person)

    monkeypatch.setattr(world.reset.journey._everywhere, "changed_at", meanwhile)
    with pytest.raises(Conflict, match="at this moment"):
        world.reset.journey.choose(token, choice, NEW, ELSEWHERE)
    world.deliver()
    assert world.systems.systems["adm"].account(joined[0].guid).password == SECRET
    assert world.password("nina") != NEW


def test_the_person_and_the_administrator_read_why(world: ResetWorld) -> None:
    join_admin(world)
    assert "AdminSDHolder" in world.reset.administration.rules(world.dave, "nina").excluded
    with pytest.raises(NotAuthorized, match="has more than that"):
        world.reset.registrations.standing(world.everyday("nina"))


# ------------------------------------------------------------------------------------------------ groups that give rights


def test_members_of_groups_that_give_rights_here_are_excluded() -> None:
    world = ResetWorld(guarded=("CORP\\Operators",))
    group = world.corp.add_group("Operators").ref
    world.register()
    assert world.reset.administration.rules(world.dave, "nina").excluded == ""
    add_to(world, group)
    world.clock.move(minutes=6)
    assert "gives rights" in world.reset.administration.rules(world.dave, "nina").excluded
    world.close()


def test_a_group_that_gives_rights_and_is_not_there_stops_everything() -> None:
    world = ResetWorld(guarded=("CORP\\Nobody knows",))
    with pytest.raises(Conflict, match="nobody resets"):
        world.begin("nina", ELSEWHERE)
    world.close()


def test_standing_members_of_a_group_that_pam_carries_are_excluded(world: ResetWorld) -> None:
    world.register()
    world.prepare_group()
    add_to(world, world.share.ref)
    world.clock.move(minutes=6)
    assert world.reset.administration.rules(world.dave, "nina").excluded


def test_who_comes_into_such_a_group_between_gate_and_choice_is_stopped(world: ResetWorld) -> None:
    world.register()
    token = world.through("nina", ELSEWHERE)
    world.prepare_group()
    add_to(world, world.share.ref)
    with pytest.raises(BastideError):
        world.finish(token)
    assert world.password("nina") != NEW


# --------------------------------------------------------------------------------------------------------- the rule of now


@pytest.mark.parametrize(
    "stricter",
    [
        NamedRule(gates=(Gate.MAIL, Gate.TOTP), groups=("Finance",)),
        NamedRule(gates=(Gate.MAIL,), groups=("Finance",), cooling=timedelta(hours=8)),
    ],
)
def test_a_rule_that_asks_for_more_by_now_ends_the_reset(stricter: NamedRule) -> None:
    world = ResetWorld(rules=(stricter, NamedRule(gates=(Gate.MAIL,))))
    finance = world.corp.add_group("Finance").ref
    world.clock.move(minutes=6)
    world.register("nina", Gate.MAIL)
    token = world.through("nina", ELSEWHERE)
    add_to(world, finance)
    with pytest.raises(Conflict, match="over"):
        world.finish(token)
    assert world.password("nina") != NEW
    world.close()


def rename(world: ResetWorld, group: ObjectRef, to: str) -> None:
    name, replica = next(iter(world.corp.reachable().items()))
    (found,) = [one for one in replica.groups() if one.ref.guid == group.guid]
    world.corp.write(name, "rename", {("group", group.guid): replace(found, ref=replace(found.ref, name=to))})
    world.clock.move(minutes=6)


@pytest.mark.parametrize(
    "settings",
    [
        {
            "rules": (
                NamedRule(gates=(Gate.MAIL, Gate.TOTP), groups=("Finance",)),
                NamedRule(gates=(Gate.MAIL,)),
            )
        },
        {"gates": (Gate.MAIL,), "excluded": ("Finance",)},
    ],
)
def test_a_group_that_was_renamed_lets_nobody_through_another_rule(settings: dict[str, Any]) -> None:
    """A breaker's: the members of the group of a rule went through the next one, with mail alone."""
    world = ResetWorld(**settings)
    finance = world.corp.add_group("Finance").ref
    world.register("nina", Gate.MAIL)
    token = world.through()
    rename(world, finance, "Finance and Control")
    with pytest.raises(NotConfigured, match="a group that is not there"):
        world.begin("nina", "192.0.2.8")
    with pytest.raises(NotConfigured):
        world.finish(token)
    assert world.password("nina") != NEW
    world.close()


def test_a_group_that_is_named_by_its_sid_may_be_renamed() -> None:
    world = ResetWorld()
    finance = world.corp.add_group("Finance").ref
    world.close()
    rules = (
        NamedRule(gates=(Gate.MAIL, Gate.TOTP), groups=(str(finance.sid),)),
        NamedRule(gates=(Gate.MAIL,)),
    )
    world = ResetWorld(rules=rules)
    finance = world.corp.add_group("Finance").ref
    add_to(world, finance)
    world.register("nina", Gate.MAIL, Gate.TOTP)
    rename(world, finance, "Finance and Control")
    assert world.row(world.begin()).gates == (Gate.MAIL, Gate.TOTP)
    world.close()


# ------------------------------------------------------------------------------------------ what the directory is asked


def test_every_name_costs_the_directory_the_same_questions(
    world: ResetWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.register()
    asked: list[str] = []
    find_person, find_everywhere = MemoryDirectory.find_person, MemoryDirectory.find_everywhere

    def person(self: Any, name: str) -> Person:
        asked.append("person")
        return find_person(self, name)

    def everywhere(self: Any, account: Sid) -> tuple[Person, frozenset[Sid]]:
        asked.append("groups")
        return find_everywhere(self, account)

    def others(*_: object, **__: object) -> None:
        asked.append("another")

    world.begin("yves", "192.0.2.9")  # names of groups are remembered from here on
    monkeypatch.setattr(MemoryDirectory, "find_person", person)
    monkeypatch.setattr(MemoryDirectory, "find_everywhere", everywhere)
    for question in ("find_caller", "find_group", "groups_above", "groups_everywhere", "names", "observe"):
        monkeypatch.setattr(MemoryDirectory, question, others)
    for name in ("nina", "olaf", "petra", "quinn", "zoe"):
        asked.clear()
        world.begin(name, ELSEWHERE)
        assert asked == ["person", "groups"], name


def test_whose_groups_cannot_be_read_looks_as_anybody(
    world: ResetWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    """AdminSDHolder cuts inheritance: the groups of an administrator are not shown to an account that may read those of OUs."""
    real = MemoryDirectory.find_everywhere

    def hidden(self: Any, account: Sid) -> tuple[Person, frozenset[Sid]]:
        person, groups = real(self, account)
        if person.protected:
            raise DirectoryDenied(f"the groups of {person.ref.sid} cannot be read")
        return person, groups

    monkeypatch.setattr(MemoryDirectory, "find_everywhere", hidden)
    for name in ("nina", "quinn", "zoe"):
        view = world.reset.journey.view(world.begin(name, ELSEWHERE))
        assert view is not None
        assert not view.reset.person
