"""What somebody waits for: change, unlock, look (services/passwords/at_once.py); the numbers are those of its docstring."""

from dataclasses import replace
from typing import Any

import pytest

from bastide.domain.errors import Conflict, InvalidInput, NotFound, TargetUnavailable
from bastide.domain.management_agents import CsId, MvId, Operation
from bastide.domain.passwords import Code, Purpose, State
from bastide.services.passwords.person import By
from bastide.services.passwords.ports import Look, Result, Security
from bastide.services.ports import UnitOfWork
from tests.support.sync_world import SyncWorld, guid_of

OLD, NEW = "Canary-1a-Old-Horse", "Canary-2b-New-Horse"
HAND = By("S-1-5-21-9-9-9-1200", "CORP\\hanna", "kerberos")
MV = MvId(guid_of("mv alice"))


def cs(*spaces: str, name: str = "alice") -> list[CsId]:
    return [CsId(guid_of(f"cs {space} {name}")) for space in spaces]


def account(world: SyncWorld, space: str) -> Any:
    return world.systems.systems[space].account(guid_of(f"{space} alice"))


@pytest.fixture
def world() -> SyncWorld:
    made = SyncWorld()
    made.ready("alice", "bob", operation=Operation.BOTH)
    for space in ("crm", "files"):
        account(made, space).password = OLD
    return made


def change(world: SyncWorld, *spaces: str, old: str = OLD, new: str = NEW, **more: Any) -> dict[str, Any]:
    """By agent: state and code."""
    accounts = more.pop("accounts", None) or cs(*spaces)
    id_ = world.passwords.at_once.change(MV, accounts, old, new, by=HAND, reason="", **more)
    done = world.passwords.person.operation(id_)
    assert done.over
    assert done.purpose is Purpose.CHANGE
    return {one.agent: (one.state, one.code) for one in done.outcomes}


def test_it_is_changed_where_the_old_one_is_right(world: SyncWorld) -> None:
    account(world, "files").password = "Something-Else-1"
    found = change(world, "crm", "files")
    assert found == {"crm": (State.DELIVERED, Code.SUCCESS), "files": (State.FAILED, Code.DENIED)}
    assert (world.password("alice", "crm"), world.password("alice", "files")) == (NEW, "Something-Else-1")


def test_1_what_can_be_no_password_and_whose_it_is_not_is_refused(world: SyncWorld) -> None:
    for old, new in (("", NEW), (OLD, ""), (OLD, "x" * 257)):
        with pytest.raises(InvalidInput):
            change(world, "crm", old=old, new=new)
    with pytest.raises(NotFound):
        change(world, accounts=cs("crm", name="bob"))
    world.change_agent(
        "crm", lambda one: replace(one, passwords=replace(one.passwords, operation=Operation.SET))
    )
    with pytest.raises(Conflict, match="nothing was changed"):
        change(world, "crm", "files")
    assert not world.deliveries()


def test_2_it_is_on_record_before_any_target_is_asked(world: SyncWorld) -> None:
    def refuse(_: UnitOfWork, __: str) -> None:
        raise Conflict("used up")

    with pytest.raises(Conflict, match="used up"):
        change(world, "crm", within=refuse)
    assert world.password("alice", "crm") == OLD
    change(world, "crm")
    assert [one.kind for one in world.audit()][-2:] == ["password.change-ordered", "password.delivered"]


def test_3_none_is_asked_twice(world: SyncWorld) -> None:
    world.systems.systems["crm"].faults.down = True
    assert change(world, "crm") == {"crm": (State.FAILED, Code.UNAVAILABLE)}
    world.systems.systems["crm"].faults.down = False
    world.clock.move(hours=1)
    world.work()
    assert world.password("alice", "crm") == OLD


def test_3_a_connection_that_is_not_known_to_be_secure_gets_no_password(world: SyncWorld) -> None:
    world.systems.systems["crm"].security = Security.UNKNOWN
    assert change(world, "crm") == {"crm": (State.FAILED, Code.INSECURE)}
    assert world.password("alice", "crm") == OLD


def test_4_an_older_password_on_its_way_does_not_come_after_it(world: SyncWorld) -> None:
    world.systems.systems["crm"].faults.down = True
    world.tell("alice", "On-Its-Way-1")
    world.work()
    world.systems.systems["crm"].faults.down = False
    world.clock.move(seconds=1)
    change(world, "crm")
    world.clock.move(minutes=5)
    world.work()
    assert world.password("alice", "crm") == NEW
    assert not world.vault.references()


def test_nothing_says_a_password(world: SyncWorld) -> None:
    loud = TargetUnavailable(f"broke while it sent {OLD} and {NEW}")
    world.systems.systems["crm"].faults.openings.append(loud)
    world.systems.systems["files"].faults.answers[guid_of("files alice")] = Result(
        Code.POLICY, f"{NEW} is bad"
    )
    change(world, "crm", "files")
    said = repr(world.audit()) + repr(world.events.written)
    said += repr(world.passwords.person.history(MV, limit=5))
    assert OLD not in said
    assert NEW not in said


def test_a_lock_is_taken_away_and_the_password_stays(world: SyncWorld) -> None:
    account(world, "crm").locked = True
    answers = world.passwords.at_once.unlock(MV, cs("crm", "files"), by=HAND, reason="called")
    assert [(one.agent, one.result.code) for one in answers] == [
        ("crm", Code.SUCCESS),
        ("files", Code.SUCCESS),
    ]
    assert (account(world, "crm").locked, world.password("alice", "crm")) == (False, OLD)
    assert [one.kind for one in world.audit()][-2:] == ["password.unlock-ordered", "password.unlock-ended"]
    assert not world.served("crm")


def test_a_system_that_is_down_or_belongs_to_another_hinders_alone(world: SyncWorld) -> None:
    world.systems.systems["crm"].faults.down = True
    account(world, "files").locked = True
    answers = world.passwords.at_once.unlock(MV, cs("crm", "files"), by=HAND, reason="")
    assert [one.result.code for one in answers] == [Code.UNAVAILABLE, Code.SUCCESS]
    with pytest.raises(NotFound):
        world.passwords.at_once.unlock(MV, cs("crm", name="bob"), by=HAND, reason="")
    world.change_agent("crm", lambda one: replace(one, passwords=replace(one.passwords, enabled=False)))
    with pytest.raises(Conflict, match="not enabled"):
        world.passwords.at_once.unlock(MV, cs("crm"), by=HAND, reason="")


def test_how_accounts_stand(world: SyncWorld) -> None:
    account(world, "crm").locked = True
    account(world, "files").must_change = True
    accounts = world.passwords.person.accounts(MV)
    found = world.passwords.at_once.look(accounts)
    assert found[cs("crm")[0]] == Look(locked=True, must_change=False)
    assert found[cs("files")[0]] == Look(locked=False, must_change=True)
    world.systems.systems["crm"].faults.down = True
    assert world.passwords.at_once.look(accounts)[cs("crm")[0]] == Look()
