"""An order that waited is delivered only to whom it could still be given (services/help_desk/orders.py, services/passwords/still_allowed.py)."""

import json
from collections.abc import Callable
from dataclasses import replace

import pytest

from bastide.directory.memory import MemoryDirectory
from bastide.domain.errors import DirectoryUnavailable
from bastide.domain.ids import Sid
from bastide.domain.management_agents import CsId, MaId, MvId
from bastide.domain.passwords import Code, State
from bastide.domain.people import Forest
from bastide.services.passwords.person import Outcome
from bastide.services.ports import AuditQuery
from bastide.services.reset.everywhere import ORDERED_BY
from tests.support.help_desk import HelpDeskWorld
from tests.support.reset_world import NEW as RESET_TO
from tests.support.reset_world import ResetWorld
from tests.support.sync_world import guid_of
from tests.unit.test_help_desk import NEW, proved, set_it

pytest_plugins = ["tests.support.help_desk"]
OLD = "Old-Horse-1"


@pytest.fixture
def world(help_desk_world: HelpDeskWorld) -> HelpDeskWorld:
    return help_desk_world


def waiting(world: HelpDeskWorld) -> str:
    """An order of an operator for the account in CORP, which is down."""
    world.systems.systems["corp"].faults.down = True
    given = set_it(world, accounts=world.accounts("corp"), verification=proved(world))
    world.runner.run_due()
    assert world.there("corp").password == OLD
    return given.operation


def comes_up(world: HelpDeskWorld, operation: str) -> Outcome:
    """What became of it."""
    world.systems.systems["corp"].faults.down = False
    for _ in range(5):
        world.clock.move(minutes=2)
        world.runner.run_due()
    (outcome,) = world.desk.operation(world.operator("otto"), operation).outcomes
    return outcome


def _no_answer(*_: object) -> None:
    raise DirectoryUnavailable("no controller answers")


def on_the_board(world: HelpDeskWorld) -> None:
    world.services.forests[Forest.CORP].add_members(world.desks["Board"].ref, [Sid(world.sid_of("alice"))])


def a_pam_user(world: HelpDeskWorld) -> None:
    world.prepare("alice")


@pytest.mark.parametrize(
    ("becomes", "why"), [(on_the_board, "that the settings protect"), (a_pam_user, "a PAM user")]
)
def test_1_who_is_privileged_by_then_does_not_get_it(
    world: HelpDeskWorld, becomes: Callable[[HelpDeskWorld], None], why: str
) -> None:
    operation = waiting(world)
    becomes(world)
    outcome = comes_up(world, operation)
    assert world.there("corp").password == OLD
    assert (outcome.state, outcome.code) == (State.FAILED, Code.OUT_OF_REACH)
    assert why in outcome.words
    with world.store.read() as uow:
        (told,) = uow.audit.read(AuditQuery(kind="password.failed", limit=0))
    assert json.loads(told.data)["code"] == "out-of-reach"


def test_1_who_is_in_reach_still_gets_it(world: HelpDeskWorld) -> None:
    outcome = comes_up(world, waiting(world))
    assert (outcome.code, world.there("corp").password) == (Code.SUCCESS, NEW)


def test_1_where_nobody_can_say_it_waits(world: HelpDeskWorld) -> None:
    operation = waiting(world)
    world.systems.systems["corp"].faults.down = False
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(MemoryDirectory, "find_everywhere", _no_answer)
        world.clock.move(minutes=2)
        world.runner.run_due()
    (outcome,) = world.desk.operation(world.operator("otto"), operation).outcomes
    assert (outcome.state, world.there("corp").password) == (State.PENDING, OLD)
    assert comes_up(world, operation).code is Code.SUCCESS


def test_2_a_reset_that_waited_sets_nothing_for_who_may_not_reset_any_more() -> None:
    world = ResetWorld(excluded=("Executives",))
    try:
        group = world.corp.add_group("Executives").ref
        nina = world.services.forests[Forest.CORP].find_person("nina").ref
        system, anchor = world.systems.systems["corp"], _anchor(world)
        before = system.account(anchor).password
        system.faults.down = True
        reference = _ordered(world)
        world.runner.run_due()
        world.services.forests[Forest.CORP].add_members(group, [nina.sid])
        world.clock.move(minutes=10)  # names of groups are remembered no longer
        system.faults.down = False
        world.runner.run_due()
        passwords = world.services.passwords
        assert passwords is not None
        (outcome,) = passwords.person.operation(reference).outcomes
        assert (outcome.code, system.account(anchor).password) == (Code.OUT_OF_REACH, before)
    finally:
        world.close()


def disabled(world: ResetWorld) -> None:
    account = world.corp.account(world.everyday("nina").sid)
    closed = replace(account, person=replace(account.person, enabled=False))
    world.corp.change(closed, world.corp.expires(account.person.ref.sid))


def expired(world: ResetWorld) -> None:
    account = world.corp.account(world.everyday("nina").sid)
    world.corp.change(account, world.clock.now())


def gone(world: ResetWorld) -> None:
    world.corp.remove(world.services.forests[Forest.CORP].find_person("nina").ref)


@pytest.mark.parametrize("becomes", [disabled, expired, gone])
def test_2_a_reset_that_waited_is_not_delivered_to_an_account_that_was_closed(
    becomes: Callable[[ResetWorld], None],
) -> None:
    """A breaker's: a thief resets while a system is down, the help desk disables the account, the system took the thief's password."""
    world = ResetWorld()
    world.register()
    token = world.through()
    crm, before = world.systems.systems["crm"], world.password("nina")
    crm.faults.down = True
    world.finish(token)
    becomes(world)
    crm.faults.down = False
    for _ in range(6):
        world.clock.move(minutes=5)
        world.deliver()
    assert crm.account(guid_of("crm nina")).password == before
    states = {one.system: one for one in world.reset.journey._everywhere.states(world.row(token).reference)}
    assert (states["crm"].good, states["crm"].settled) == (False, True)
    assert "privileges" not in states["crm"].outcome
    assert "out of reach" in states["crm"].outcome
    assert "the account that was reset was closed" in states["crm"].outcome
    world.close()


@pytest.mark.parametrize("becomes", [disabled, expired, gone])
def test_2_nor_where_the_person_has_another_account_that_is_open(
    becomes: Callable[[ResetWorld], None],
) -> None:
    """Of two accounts in the domain, the one that was reset was closed: the other one is no reason to go on."""
    world = ResetWorld()
    world.register()
    second = world.corp.add_person("nina2", password=NEW).ref
    with world.store.write() as uow:
        (corp,) = [one for one in uow.space.of_mv(MvId(guid_of("mv nina"))) if one.ma == MaId("ma-corp")]
        account = {"sAMAccountName": ("nina2",), "objectSid": (str(second.sid),)}
        joined = replace(corp, id=CsId(guid_of("cs corp nina2")), anchor=second.guid, dn="CN=nina2,OU=corp", attributes=account)  # fmt: skip
        uow.space.put([joined])
        uow.commit()
    world.systems.systems["corp"].put(second.guid, dn="CN=nina2,OU=corp")
    token = world.through()
    crm, before = world.systems.systems["crm"], world.password("nina")
    crm.faults.down = True
    world.finish(token)
    becomes(world)
    crm.faults.down = False
    for _ in range(6):
        world.clock.move(minutes=5)
        world.deliver()
    assert crm.account(guid_of("crm nina")).password == before
    world.close()


def test_2_and_another_account_that_was_closed_before_holds_up_nothing() -> None:
    world = ResetWorld()
    world.register()
    old = world.corp.add_person("nina2", password=NEW, enabled=False).ref
    with world.store.write() as uow:
        (crm,) = [one for one in uow.space.of_mv(MvId(guid_of("mv nina"))) if one.ma == MaId("ma-crm")]
        uow.space.put([replace(crm, attributes={**crm.attributes, "objectSid": (str(old.sid),)})])
        uow.commit()
    world.finish(world.through())
    assert world.password("nina") == world.password("nina", "corp") == RESET_TO
    world.close()


def test_2_a_reset_waits_while_the_settings_name_a_group_that_is_not_there() -> None:
    """And what is to be delivered to others goes on."""
    world = ResetWorld(excluded=("Executives",))
    world.corp.add_group("Executives")
    world.register()
    token = world.through()
    crm = world.systems.systems["crm"]
    crm.faults.down = True
    world.finish(token)
    crm.faults.down = False
    for replica in world.corp.reachable().values():
        world.corp.remove(next(one for one in replica.groups() if one.ref.name == "Executives").ref)
    world.clock.move(minutes=10)
    world.deliver()
    (state,) = [
        one
        for one in world.reset.journey._everywhere.states(world.row(token).reference)
        if one.system == "crm"
    ]
    assert not state.settled
    world.corp.add_group("Executives")
    world.clock.move(minutes=10)
    world.deliver()
    assert world.password("nina") == RESET_TO
    world.close()


def test_2_an_account_elsewhere_does_not_hold_up_a_reset() -> None:
    """The other domain's account is none that a reset could begin with; the person's own is open."""
    world = ResetWorld()
    world.register()
    other = world.priv.add_person("nina2", password=NEW).ref  # of a test
    with world.store.write() as uow:
        (crm,) = [one for one in uow.space.of_mv(MvId(guid_of("mv nina"))) if one.ma == MaId("ma-crm")]
        uow.space.put([replace(crm, attributes={**crm.attributes, "objectSid": (str(other.sid),)})])
        uow.commit()
    world.finish(world.through())
    assert world.password("nina") == world.password("nina", "corp") == RESET_TO
    world.close()


def _ordered(world: ResetWorld) -> str:
    passwords = world.services.passwords
    assert passwords is not None
    owner = MvId(guid_of("mv nina"))
    (account,) = [one.object.id for one in passwords.person.accounts(owner) if one.agent == "corp"]
    return passwords.person.set_for(
        owner, [account], NEW, must_change=False, unlock=True, by=ORDERED_BY, reason="a reset"
    )


def _anchor(world: ResetWorld) -> str:
    with world.store.read() as uow:
        return next(
            one.anchor for one in uow.space.of_mv(MvId(guid_of("mv nina"))) if one.ma == MaId("ma-corp")
        )
