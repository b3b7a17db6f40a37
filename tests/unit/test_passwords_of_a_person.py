"""A password ordered for several accounts of one person (services/passwords/person.py); the numbers are those of its docstring."""

import json
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from bastide.domain.errors import Conflict, InvalidInput, NotFound, StoreUnavailable
from bastide.domain.management_agents import CsId, MvId, Operation
from bastide.domain.passwords import Code, Purpose, Receipt, State
from bastide.services.passwords.person import By, Ordered
from bastide.services.passwords.ports import Result
from bastide.services.ports import UnitOfWork
from bastide.wire import Verdict
from tests.support.sync_world import SyncWorld, guid_of

NEW = "Canary-3b1e-New-Horse-1"
HAND = By("S-1-5-21-9-9-9-1200", "CORP\\hanna", "kerberos")


def mv(name: str = "alice") -> MvId:
    return MvId(guid_of(f"mv {name}"))


def cs(*spaces: str, name: str = "alice") -> list[CsId]:
    return [CsId(guid_of(f"cs {space} {name}")) for space in spaces]


@pytest.fixture
def world() -> SyncWorld:
    made = SyncWorld()
    made.ready("alice", "bob")
    made.change_agent("corp", lambda one: replace(one, passwords=replace(one.passwords, enabled=True)))
    return made


def order(world: SyncWorld, *spaces: str, new: str = NEW, **more: Any) -> str:
    fields: dict[str, Any] = {
        "must_change": False,
        "unlock": False,
        "by": HAND,
        "reason": "called at the desk",
    }
    return world.passwords.person.set_for(
        mv(), more.pop("accounts", None) or cs(*spaces), new, **{**fields, **more}
    )


def seen(world: SyncWorld, id: str) -> Ordered:  # noqa: A002  # what it is
    return world.passwords.person.operation(id)


def account(world: SyncWorld, space: str, name: str = "alice") -> Any:
    return world.systems.systems[space].account(guid_of(f"{space} {name}"))


def test_it_is_set_in_all_accounts_that_were_chosen_and_in_no_other(world: SyncWorld) -> None:
    before = account(world, "files").password
    id_ = order(world, "corp", "crm")
    assert [one.state for one in seen(world, id_).outcomes] == [State.PENDING] * 2
    assert not seen(world, id_).over
    world.work()
    assert (world.password("alice", "corp"), world.password("alice", "crm")) == (NEW, NEW)
    assert account(world, "files").password == before
    done = seen(world, id_)
    assert done.over
    assert [(one.agent, one.code) for one in done.outcomes] == [("corp", Code.SUCCESS), ("crm", Code.SUCCESS)]
    assert (done.by, done.reason, done.purpose) == (HAND.name, "called at the desk", Purpose.SET)


def test_what_the_domain_tells_of_it_goes_no_further(world: SyncWorld) -> None:
    world.tell("alice", "Before-Horse-1")
    world.work()
    world.clock.move(minutes=1)
    order(world, "corp")
    world.work()
    world.clock.move(seconds=1)
    told = world.tell("alice", NEW)
    world.work()
    assert told.verdict is Verdict.DISCARD
    with world.store.read() as uow:
        newest = uow.changes.history(user="alice", before=None, limit=1)[0][0]
    assert newest.receipt is Receipt.ECHO
    assert world.password("alice", "files") == "Before-Horse-1"


def test_the_targets_that_do_not_answer_are_tried_again_and_the_others_are_not(world: SyncWorld) -> None:
    world.systems.systems["crm"].faults.down = True
    id_ = order(world, "crm", "files")
    world.work()
    crm, files = seen(world, id_).outcomes
    assert (crm.state, crm.code, files.state) == (State.PENDING, Code.UNAVAILABLE, State.DELIVERED)
    world.systems.systems["crm"].faults.down = False
    world.clock.move(minutes=2)
    world.work()
    assert seen(world, id_).over
    assert (world.password("alice", "crm"), world.served("files")) == (NEW, 1)


def test_each_target_says_itself_what_it_thinks_of_the_password(world: SyncWorld) -> None:
    refused = Result(Code.POLICY, "too short for us")
    world.systems.systems["crm"].faults.answers[guid_of("crm alice")] = refused
    id_ = order(world, "crm", "files")
    world.work()
    crm, files = seen(world, id_).outcomes
    assert (crm.state, crm.code, files.state) == (State.FAILED, Code.POLICY, State.DELIVERED)
    assert "too short for us" in crm.words


@pytest.mark.parametrize("wanted", [True, False])
def test_must_change_and_unlock_are_those_of_the_order(world: SyncWorld, wanted: bool) -> None:
    world.change_agent(
        "crm",
        lambda one: replace(one, passwords=replace(one.passwords, must_change=not wanted, unlock=False)),
    )
    account(world, "crm").locked = True
    order(world, "crm", must_change=wanted, unlock=wanted)
    world.work()
    assert (account(world, "crm").must_change, account(world, "crm").locked) == (wanted, not wanted)


def test_an_older_change_of_a_domain_does_not_overwrite_it(world: SyncWorld) -> None:
    late = world.notification("alice", "Older-Horse-1")
    world.clock.move(minutes=1)
    order(world, "crm")
    world.work()
    world.passwords.accept.notification(world.caller(), late)
    world.work()
    assert (world.password("alice", "crm"), world.password("alice", "files")) == (NEW, "Older-Horse-1")


def test_it_is_newer_than_what_a_controller_with_a_fast_clock_told(world: SyncWorld) -> None:
    world.tell("alice", "From-The-Future-1", at=world.clock.now() + timedelta(minutes=4))
    world.systems.systems["files"].faults.down = True
    world.work()
    order(world, "crm", "files")
    world.systems.systems["files"].faults.down = False
    world.clock.move(minutes=2)
    world.work()
    assert (world.password("alice", "crm"), world.password("alice", "files")) == (NEW, NEW)


def test_1_a_password_that_can_be_none_is_refused_without_a_word_of_it(world: SyncWorld) -> None:
    for wrong in ("", "x" * 257, "half-\ud83d"):
        with pytest.raises(InvalidInput) as refused:
            order(world, "crm", new=wrong)
        assert not wrong or wrong not in refused.value.message
    assert not world.deliveries()


def test_2_an_account_of_somebody_else_and_none_at_all_are_refused(world: SyncWorld) -> None:
    with pytest.raises(NotFound):
        order(world, accounts=[*cs("crm"), *cs("crm", name="bob")])
    with pytest.raises(InvalidInput):
        order(world)
    with pytest.raises(NotFound):
        world.passwords.person.set_for(
            MvId("nobody"), cs("crm"), NEW, must_change=False, unlock=False, by=HAND, reason=""
        )
    assert not world.deliveries()


@pytest.mark.parametrize(
    ("rules", "why"),
    [
        ({"enabled": False}, "not enabled"),
        ({"shadow": True}, "shadow mode"),
        ({"operation": Operation.CHANGE}, "sets none"),
    ],
)
def test_2_where_one_cannot_be_set_none_is(world: SyncWorld, rules: dict[str, Any], why: str) -> None:
    world.change_agent("crm", lambda one: replace(one, passwords=replace(one.passwords, **rules)))
    (crm,) = [one for one in world.passwords.person.accounts(mv()) if one.agent == "crm"]
    assert why in crm.hindrance
    with pytest.raises(Conflict, match=why):
        order(world, "crm", "files")
    assert not world.deliveries()


def test_3_nothing_is_ordered_while_synchronization_is_off(world: SyncWorld) -> None:
    world.passwords.switchboard.disable(world.dave)
    with pytest.raises(Conflict, match="switched off"):
        order(world, "crm")


def test_3_nor_with_a_vault_of_another_database(world: SyncWorld) -> None:
    with world.store.write() as uow:
        uow.switch.belong("another")
        uow.commit()
    with pytest.raises(StoreUnavailable):
        order(world, "crm")


def test_4_what_the_caller_adds_is_in_the_same_commit_or_nothing_is(world: SyncWorld) -> None:
    def refuse(_: UnitOfWork, __: str) -> None:
        raise Conflict("used up")

    with pytest.raises(Conflict, match="used up"):
        order(world, "crm", within=refuse)
    assert not world.deliveries()
    assert not world.vault.references()
    assert not world.audit("password.ordered")
    heard: list[str] = []
    id_ = order(world, "crm", within=lambda _, id_: heard.append(id_))
    assert heard == [id_]


def test_4_the_audit_says_who_for_whom_and_where_and_the_key_is_destroyed_at_the_end(
    world: SyncWorld,
) -> None:
    id_ = order(world, "crm", "files", unlock=True)
    assert world.vault.references() == {id_}
    world.work()
    assert not world.vault.references()
    (record,) = world.audit("password.ordered")
    assert (record.actor, record.actor_name, record.subject) == (HAND.id, HAND.name, mv())
    assert record.request == id_
    assert json.loads(record.data) == {
        "accounts": ["crm: CN=alice,OU=crm", "files: CN=alice,OU=files"],
        "reason": "called at the desk",
        "must_change": False,
        "unlock": True,
        "via": "kerberos",
    }
    assert len(world.audit("password.delivered")) == 2


def test_the_history_of_a_person_has_all_orders_and_no_password(world: SyncWorld) -> None:
    first = order(world, "crm")
    world.clock.move(minutes=1)
    second = order(world, "files")
    world.tell("alice", "Domain-Horse-1")
    world.work()
    found = world.passwords.person.history(mv(), limit=10)
    assert [one.id for one in found] == [second, first]
    assert NEW not in repr(found) + repr(world.audit())
    assert not world.passwords.person.history(mv("bob"), limit=10)


def test_a_change_that_a_domain_told_of_is_no_order(world: SyncWorld) -> None:
    told = world.notification("alice", "Domain-Horse-1")
    world.passwords.accept.notification(world.caller(), told)
    with pytest.raises(NotFound):
        seen(world, told.reference)
