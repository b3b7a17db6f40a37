"""Monitoring on twins in memory: what changes behind our back is followed, found, and put right where the rules say so."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta

import pytest

from bastide.domain.drift import Action, Rule
from bastide.domain.errors import Conflict, InvalidInput, NotAuthorized, NotFound
from bastide.domain.ids import Sid
from bastide.domain.monitored import Kind, Seen
from bastide.domain.people import Forest
from bastide.domain.requests import State
from bastide.domain.roles import Scope
from bastide.services.monitor.reading import LOOK_EVERY
from bastide.store.unit_of_work import SqlStore
from bastide.wiring import Adapters
from tests.support.monitored import OWNER, MonitoredWorld, of

PRIV, CORP = Forest.PRIV, Forest.CORP
MINUTE = LOOK_EVERY.total_seconds() + 1


@pytest.fixture
def world() -> Iterator[MonitoredWorld]:
    made = MonitoredWorld()
    made.ready()
    made.look()
    yield made
    made.close()


# ------------------------------------------------------------------------------------------------------------- first read


def test_the_first_read_is_silent_and_is_said_once(world: MonitoredWorld) -> None:
    assert world.standing() == {}
    assert {one["domain"] for one in world.told("monitor.loaded")} == {
        "priv.bastide.test",
        "corp.bastide.test",
    }
    world.look(seconds=MINUTE)
    assert len(world.told("monitor.loaded")) == 2
    assert world.events("drift.found") == []


def test_drift_that_stands_is_found_at_the_first_read() -> None:
    world = MonitoredWorld(actions={Rule.STRANGER: Action.REPORT})
    world.ready()
    mallory = world.priv.add_person("mallory2").ref
    world.add_by_hand(PRIV, of(world)[1].priv, mallory.sid)
    world.look()
    found = world.standing()[Rule.STRANGER]
    assert found.drift.detail == mallory.sid
    world.close()


def test_while_nothing_happens_the_database_is_left_alone(world: MonitoredWorld) -> None:
    before = world.domain(PRIV)
    for _ in range(5):
        world.look(seconds=1)
    assert world.domain(PRIV) == before


# --------------------------------------------------------------------------------------------------------------- members


def test_a_stranger_in_our_group_is_taken_out_and_said(world: MonitoredWorld) -> None:
    group = of(world)[1]
    mallory = world.priv.add_person("mallory2").ref
    world.add_by_hand(PRIV, group.priv, mallory.sid)
    world.look()
    assert world.directory(PRIV).members_of(group.priv) == frozenset()
    (found,), (repaired,) = world.told("drift.found"), world.told("drift.repaired")
    assert (found["rule"], found["owner"], found["object"]) == ("stranger", OWNER, group.name)
    assert "no request explains it" in found["reason"]
    assert found["action"] == "repair and alert"
    assert repaired["drift"] == found["drift"]
    assert world.standing() == {}


def test_a_rule_that_reports_touches_nothing() -> None:
    world = MonitoredWorld(actions={Rule.STRANGER: Action.REPORT})
    world.ready()
    world.look()
    group = of(world)[1]
    mallory = world.priv.add_person("mallory2").ref
    world.add_by_hand(PRIV, group.priv, mallory.sid)
    world.look()
    assert world.directory(PRIV).members_of(group.priv) == {mallory.sid}
    assert world.standing()[Rule.STRANGER].tried is None
    world.remove_by_hand(PRIV, group.priv, mallory.sid)
    world.look()
    assert world.standing() == {}
    assert len(world.told("drift.gone")) == 1
    world.close()


def test_a_grant_explains_its_member_from_beginning_to_end(world: MonitoredWorld) -> None:
    request = world.ask()
    for _ in range(20):
        world.work()
        world.look(seconds=1)
    assert world.get(request).state is State.ACTIVE
    world.services.requests.close(world.alice(), request.id, "done")
    for _ in range(10):
        world.look(seconds=1)
    assert world.get(request).state is State.CLOSED
    assert world.events("drift.found") == []


def test_a_member_that_was_taken_away_is_put_back(world: MonitoredWorld) -> None:
    world.ask()
    world.look()
    user, group = of(world)
    world.remove_by_hand(PRIV, group.priv, user.priv.sid)
    world.look()
    assert world.directory(PRIV).members_of(group.priv) == {user.priv.sid}
    assert [one["rule"] for one in world.told("drift.repaired")] == ["missing-member"]


def test_a_link_of_corp_that_was_taken_away_is_put_back_and_one_too_many_is_taken_out(
    world: MonitoredWorld,
) -> None:
    group = of(world)[1]
    world.add_by_hand(CORP, group.corp, group.priv.sid)
    world.look()
    assert group.priv.sid not in world.directory(CORP).members_of(group.corp)
    world.ask()
    world.look()
    world.remove_by_hand(CORP, group.corp, group.priv.sid)
    world.look()
    assert group.priv.sid in world.directory(CORP).members_of(group.corp)
    assert [one["rule"] for one in world.told("drift.repaired")] == ["stranger", "missing-member"]


def test_a_member_of_the_corp_group_is_reported_and_can_be_accepted(world: MonitoredWorld) -> None:
    group = of(world)[1]
    bob = world.directory(CORP).find_person("bob").ref
    world.add_by_hand(CORP, group.corp, bob.sid)
    world.look()
    found = world.standing()[Rule.OTHER_MEMBER]
    assert bob.sid in found.drift.reason
    assert f"`bastide monitor accept {found.key} --reason TEXT`" in found.drift.remedy
    world.monitoring.control.accept(world.dave, found.key, "he is the owner")
    world.look(seconds=MINUTE)
    assert world.standing() == {}
    assert world.directory(CORP).members_of(group.corp) == {bob.sid}
    (told,) = world.told("drift.accepted")
    assert (told["rule"], told["reason"]) == ("other-member", "he is the owner")


# ---------------------------------------------------------------------------------------------------------------- people


@pytest.mark.parametrize("how", ["disabled", "expired", "gone"])
def test_access_of_who_left_ends_at_once(world: MonitoredWorld, how: str) -> None:
    request = world.ask()
    world.look()
    assert world.get(request).state is State.ACTIVE
    user, group = of(world)
    if how == "disabled":
        world.change_person(CORP, user.corp.sid, enabled=False)
    elif how == "expired":
        world.change_person(CORP, user.corp.sid, expires=world.clock.now())
    else:
        world.corp.remove(user.corp)
    world.look()
    assert world.get(request).state is State.CLOSED
    assert how in world.get(request).reason
    assert world.directory(PRIV).members_of(group.priv) == frozenset()
    assert of(world)[0].enabled is (how != "gone")


def test_an_account_of_who_left_that_is_kept_open_is_closed() -> None:
    world = MonitoredWorld()
    (user,) = world.prepare("alice", kept_alive=True)
    world.look()
    assert world.priv.can_buy_ticket(user.priv.sid, world.clock.now())
    world.change_person(CORP, user.corp.sid, enabled=False)
    world.look(seconds=MINUTE)
    world.look(seconds=MINUTE)
    assert not world.priv.can_buy_ticket(user.priv.sid, world.clock.now())
    assert [one["rule"] for one in world.told("drift.repaired")] == ["open-account"]
    world.close()


def test_an_account_that_somebody_opened_is_closed(world: MonitoredWorld) -> None:
    user = of(world)[0]
    world.change_person(PRIV, user.priv.sid, expires=None)
    world.look()
    assert not world.priv.can_buy_ticket(user.priv.sid, world.clock.now())
    assert [one["rule"] for one in world.told("drift.repaired")] == ["open-account"]


def test_a_person_with_another_name_or_address_is_followed(world: MonitoredWorld) -> None:
    user = of(world)[0]
    moved = replace(user.corp, name="alice2", dn="CN=alice2,OU=Else,DC=corp")
    world.change_person(CORP, user.corp.sid, ref=moved, mail="new@example.test")
    world.look()
    assert of(world)[0].corp == moved
    told = {one["what"]: one for one in world.told("monitor.followed")}
    assert told["moved"]["was"] == "alice"
    assert told["person"]["changed"] == ["mail"]
    assert "new@example.test" not in str(told), "an address is the person's own"
    assert world.standing() == {}


def test_a_priv_account_that_is_renamed_is_followed_and_reported(world: MonitoredWorld) -> None:
    user = of(world)[0]
    world.change_person(PRIV, user.priv.sid, ref=replace(user.priv, name="other"))
    world.look()
    assert of(world)[0].priv.name == "other"
    assert "name was priv.alice, is other" in world.standing()[Rule.ACCOUNT_CHANGED].drift.reason


# ---------------------------------------------------------------------------------------------------------------- groups


def test_a_corp_group_that_moves_is_followed(world: MonitoredWorld) -> None:
    group = of(world)[1]
    moved = replace(group.corp, name="FileAdmins2", dn="CN=FileAdmins2,OU=Else,DC=corp")
    world.change_group(CORP, group.corp, ref=moved)
    world.look()
    assert of(world)[1].corp == moved
    assert world.standing() == {}


def test_a_corp_group_that_no_carrier_carries_gives_nothing_until_it_does_again(
    world: MonitoredWorld,
) -> None:
    group = of(world)[1]
    waiting = world.ask(start_at=world.clock.now() + timedelta(minutes=5))
    world.change_group(CORP, group.corp, scope=Scope.GLOBAL)
    world.look()
    assert of(world)[1].enabled is False
    assert "scope was domain-local, is global" in world.standing()[Rule.GROUP_CHANGED].drift.reason
    with pytest.raises(Conflict, match="switched off"):
        world.ask()
    world.clock.move(minutes=5)
    world.look()
    assert world.get(waiting).state is State.FAILED
    assert "switched off" in world.get(waiting).reason
    world.change_group(CORP, group.corp, scope=Scope.DOMAIN_LOCAL)
    world.look()
    assert of(world)[1].enabled
    assert world.standing() == {}
    assert [one["what"] for one in world.told("monitor.followed")] == ["group-off", "group-on"]


def test_a_corp_group_that_is_gone_gives_nothing(world: MonitoredWorld) -> None:
    world.corp.remove(of(world)[1].corp)
    world.look(seconds=MINUTE)
    assert of(world)[1].enabled is False
    assert "deleted" in world.standing()[Rule.GROUP_CHANGED].drift.reason


def test_a_pam_group_that_is_renamed_is_reported_and_can_be_accepted(world: MonitoredWorld) -> None:
    group = of(world)[1]
    world.change_group(PRIV, group.priv, ref=replace(group.priv, name="Harmless"))
    world.look()
    found = world.standing()[Rule.GROUP_CHANGED]
    assert "name was PAM-FileAdmins, is Harmless" in found.drift.reason
    world.monitoring.control.accept(world.dave, found.key, "we renamed it")
    world.look(seconds=MINUTE)
    assert world.standing() == {}


# -------------------------------------------------------------------------------------------------- rights, trusts, use


def test_permissions_that_changed_are_reported_until_they_are_back(world: MonitoredWorld) -> None:
    group = of(world)[1]
    world.permit(PRIV, group.priv, Kind.GROUP, "allow 0x20 to S-1-5-21-9-9-9-9")
    world.look()
    found = world.standing()[Rule.RIGHTS_CHANGED]
    assert "added allow 0x20 to S-1-5-21-9-9-9-9" in found.drift.reason
    world.permit(PRIV, group.priv, Kind.GROUP)
    world.look()
    assert world.standing() == {}


def test_adminsdholder_is_watched(world: MonitoredWorld) -> None:
    name = "place CN=AdminSDHolder,CN=System,"
    holder = world.feeds[CORP].look("corpdc", [name])[name]
    world.feeds[CORP].add(replace(holder, rights=("allow 0xf01ff to S-1-5-21-9-9-9-9",)))
    world.look()
    assert "AdminSDHolder" in world.standing()[Rule.RIGHTS_CHANGED].drift.reason


def test_a_trust_that_changed_or_is_gone_is_reported_to_its_owner(world: MonitoredWorld) -> None:
    trust = Seen("trust", Kind.TRUST, Sid(""), "priv.bastide.test", "CN=priv", {"trustAttributes": "8"})
    world.feeds[CORP].add(trust)
    world.look(seconds=MINUTE)
    found = world.standing()[Rule.TRUST_CHANGED]
    assert "trustAttributes was , is 8" in found.drift.reason, "one that is new was accepted by nobody"
    world.monitoring.control.accept(world.dave, found.key, "it is ours")
    world.look(seconds=MINUTE)
    assert world.standing() == {}
    world.feeds[CORP].add(replace(trust, facts={"trustAttributes": "72"}))
    world.look()
    found = world.standing()[Rule.TRUST_CHANGED]
    assert (found.owner, found.action) == ("Team Trust", Action.REPORT)
    assert "trustAttributes was 8, is 72" in found.drift.reason


def test_a_priv_account_that_is_used_outside_of_a_request_is_reported_until_accepted(
    world: MonitoredWorld,
) -> None:
    user = of(world)[0]
    world.ask()
    world.look()
    world.feeds[PRIV].sign_in(user.priv.sid, world.clock.now())
    world.look(seconds=MINUTE)
    assert world.standing() == {}, "the request covers it"
    world.clock.move(hours=10)
    world.look(seconds=MINUTE)
    world.feeds[PRIV].sign_in(user.priv.sid, world.clock.now())
    world.look(seconds=MINUTE)
    world.look(seconds=MINUTE)
    found = world.standing()[Rule.USED_OUTSIDE]
    assert "signed in at privdc" in found.drift.reason
    world.monitoring.control.accept(world.dave, found.key, "it was a drill")
    world.look(seconds=MINUTE)
    assert world.standing() == {}


# ------------------------------------------------------------------------------------------------------ pause and resync


def test_what_happens_while_it_is_paused_is_found_when_it_goes_on(world: MonitoredWorld) -> None:
    control, group = world.monitoring.control, of(world)[1]
    control.turn(world.dave, "maintenance", on=False)
    world.look()
    mallory = world.priv.add_person("mallory2").ref
    world.add_by_hand(PRIV, group.priv, mallory.sid)
    world.look(seconds=MINUTE)
    assert world.events("drift.found") == []
    with pytest.raises(Conflict, match="paused already"):
        control.turn(world.dave, "again", on=False)
    with pytest.raises(Conflict, match="paused"):
        control.resync(world.dave)
    cookie = world.domain(PRIV).cookie
    control.turn(world.dave, "done", on=True)
    world.look()
    assert world.domain(PRIV).cookie != cookie
    assert world.events("drift.found") == ["drift.found"]
    assert world.told("monitor.resynced") == [], "it goes on by its cookie"
    assert [one["reason"] for kind in ("monitor.paused", "monitor.resumed") for one in world.told(kind)] == ["maintenance", "done"]  # fmt: skip


def test_who_pauses_between_two_reads_of_one_claim_has_no_other_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """A node holds its row for a minute."""

    class Holding(MonitoredWorld):
        def _adapters(self) -> Adapters:
            made = super()._adapters()
            assert made.monitoring is not None
            return replace(made, monitoring=replace(made.monitoring, hold=timedelta(minutes=1)))

    def wait(_: SqlStore, __: float) -> bool:
        """Whether somebody poked a row, which ends the claim."""
        if not to_do:
            return True
        to_do.pop()()
        return False

    def pause_and_add() -> None:
        world.monitoring.control.turn(world.dave, "maintenance", on=False)
        world.add_by_hand(PRIV, of(world)[1].priv, world.priv.add_person("mallory2").ref.sid)

    to_do: list[Callable[[], None]] = []
    monkeypatch.setattr(SqlStore, "wait", wait)
    world = Holding()
    world.ready()
    world.look()
    to_do.append(pause_and_add)
    world.look()
    assert to_do == []
    assert world.events("drift.found") == []
    world.close()


def test_another_controller_or_database_means_all_is_read_anew() -> None:
    world = MonitoredWorld(priv_controllers=("dc1", "dc2"))
    world.ready()
    world.look()
    first = world.domain(PRIV).mark.controller
    world.priv.cut(first)
    mallory = world.priv.add_person("mallory2").ref
    world.add_by_hand(PRIV, of(world)[1].priv, mallory.sid)
    world.look()
    assert world.domain(PRIV).mark.controller != first
    assert world.events("drift.found") == ["drift.found"]
    world.feeds[PRIV].restore(world.domain(PRIV).mark.controller)
    world.priv.add_person("somebody")
    world.look()
    whys = [one["why"] for one in world.told("monitor.resynced")]
    assert "does not answer" in whys[0]
    assert "invocationId" in whys[1]
    world.close()


def test_a_domain_that_does_not_answer_is_said_and_read_again(world: MonitoredWorld) -> None:
    world.priv.cut("privdc")
    world.look()
    assert "no domain controller" in world.domain(PRIV).problem
    world.priv.heal("privdc")
    world.look(seconds=60)
    assert world.domain(PRIV).problem == ""


def test_a_resync_tells_what_no_change_had_told(world: MonitoredWorld) -> None:
    user = of(world)[0]
    account = world.corp.account(user.corp.sid)
    changed = replace(account, person=replace(account.person, mail="silent@example.test"))
    rows = world.corp.replica("corpdc").rows
    rows["account", user.corp.sid] = (rows["account", user.corp.sid][0], changed)
    world.monitoring.control.resync(world.dave)
    world.look()
    found = world.standing()[Rule.MISSED_CHANGE]
    assert "no change had told: facts" in found.drift.reason
    assert [one["why"] for one in world.told("monitor.resynced")] == ["asked for", "asked for"]
    world.look(seconds=MINUTE)
    assert Rule.MISSED_CHANGE in world.standing(), "it stands until it is accepted"


def test_what_a_change_tells_in_the_read_of_a_resync_was_not_missed(world: MonitoredWorld) -> None:
    user = of(world)[0]
    world.change_person(CORP, user.corp.sid, mail="new@example.test")
    world.monitoring.control.resync(world.dave)
    world.look()
    assert world.standing() == {}
    assert world.told("drift.found") == []


def test_a_domain_that_hides_nearly_everything_is_not_believed(world: MonitoredWorld) -> None:
    names = [f"p{n}" for n in range(14)]
    for name in names:
        world.corp.add_person(name)
    users = world.prepare(*names)
    world.look(seconds=MINUTE)
    request = world.ask()
    world.look()
    replica = world.corp.replica("corpdc")
    kept = {key: row for key, row in replica.rows.items() if key[0] == "account"}
    for key in kept:
        del replica.rows[key]
    replica.usn += 1
    world.look(seconds=MINUTE)
    assert Rule.UNREADABLE in world.standing()
    assert world.get(request).state is State.ACTIVE
    with world.store.read() as uow:
        assert all(uow.users.get(user.id).enabled for user in users)
    replica.rows |= kept
    world.look(seconds=MINUTE)
    assert world.standing() == {}


# ---------------------------------------------------------------------------------------------------------------- people


def test_only_administrators_steer_it_and_auditors_see_it(world: MonitoredWorld) -> None:
    control = world.monitoring.control
    assert {one.side for one in control.status(world.frank).domains} == {PRIV, CORP}
    assert control.drift(world.frank) == ()
    for act in (
        lambda who: control.turn(who, "x", on=False),
        control.resync,
        lambda who: control.accept(who, "x", "y"),
    ):
        with pytest.raises(NotAuthorized):
            act(world.frank)
    with pytest.raises(NotAuthorized):
        control.status(world.alice())
    with pytest.raises(InvalidInput):
        control.turn(world.dave, " ", on=False)
    with pytest.raises(NotFound):
        control.accept(world.dave, "priv.stranger.x", "why not")


def test_what_is_put_right_cannot_be_accepted() -> None:
    world = MonitoredWorld(actions={Rule.STRANGER: Action.REPORT})
    world.ready()
    world.look()
    world.add_by_hand(PRIV, of(world)[1].priv, world.priv.add_person("mallory2").ref.sid)
    world.look()
    with pytest.raises(Conflict, match="cannot be accepted"):
        world.monitoring.control.accept(world.dave, world.standing()[Rule.STRANGER].key, "leave it")
    world.close()
