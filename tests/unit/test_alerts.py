"""Alerts from the audit record to the destination: raised once, counted, told, escalated, acknowledged, settled; and what goes wrong on the way."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import time, timedelta

import pytest

from bastide.domain.alerts import Policy, Quiet, Severity, Signal, State
from bastide.domain.errors import Conflict, NotAuthorized, NotFound, StoreUnavailable, TargetUnavailable
from bastide.domain.people import Right
from bastide.notify.memory import MemoryNotifier
from bastide.services.alerts import measures
from bastide.services.alerts.people import PeopleOutlet
from bastide.services.pace import ALERT
from bastide.services.roles import StageDraft
from bastide.store.unit_of_work import SqlUnitOfWork
from tests.support.alert_world import AlertWorld, only, rule

pytest_plugins = ["tests.support.alert_world"]


@pytest.fixture
def world(alert_world: AlertWorld) -> AlertWorld:
    return alert_world


@contextmanager
def made(policy: Policy) -> Iterator[AlertWorld]:
    world = AlertWorld(policy)
    yield world
    world.close()


# ------------------------------------------------------------------------------------------------------- raised and told


def test_what_happened_becomes_an_alert_and_all_destinations_are_told(world: AlertWorld) -> None:
    world.happen("break-glass.used", data={"text": "it signed in at 09:00", "what": "sign-in"})
    world.settle()
    (alert,) = world.found()
    assert (alert.signal, alert.severity, alert.state) == (Signal.BREAK_GLASS, Severity.CRITICAL, State.OPEN)
    assert alert.title == "The emergency account alice signed in"
    assert "it signed in at 09:00" in alert.text
    assert world.told(world.people) == world.told(world.program) == [("raised", "break-glass")]
    (raised,) = world.audited("alert.raised")
    assert (raised["alert"], raised["record"]) == (alert.id, alert.record)
    assert sorted(one["alerts"][0] for one in world.audited("alert.told")) == [f"{alert.id}-raised"] * 2


def test_alert_record_and_work_are_one_commit(world: AlertWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    world.happen("kill-switch")
    world.clock.move(seconds=2)
    real, fails = SqlUnitOfWork.commit, [True]

    def commit(uow: SqlUnitOfWork) -> None:
        if fails and uow.work.listing() and uow.alerts.newest(tuple(State), 1):
            fails.clear()
            raise StoreUnavailable("the disk is full")
        real(uow)

    monkeypatch.setattr(SqlUnitOfWork, "commit", commit)
    with pytest.raises(StoreUnavailable):
        world.work()
    assert (fails, world.found(), world.audited("alert.raised"), world.people.taken) == ([], (), [], [])
    world.clock.move(seconds=20)
    world.settle()
    assert len(world.found()) == len(world.audited("alert.raised")) == len(world.people.taken) == 1


def test_what_was_there_before_alerts_is_history() -> None:
    world = AlertWorld()
    with world.store.write() as uow:
        uow.audit.move_cursor("alerts", 0)
        uow.commit()
    world.happen("kill-switch")
    world.alerts.reader.plant()
    world.settle()
    assert world.found() == ()
    world.close()


def test_the_same_within_the_window_counts_on_and_nobody_is_told_anew(world: AlertWorld) -> None:
    for _ in range(3):
        world.happen("drift.found", name="PAM-Files", data={"text": "a member nobody granted"})
        world.settle()
    (alert,) = world.found()
    assert (alert.count, len(world.people.taken)) == (3, 1)
    world.clock.move(hours=2)
    world.happen("drift.found", name="PAM-Files")
    world.settle()
    assert [one.count for one in world.found()] == [1, 3]
    assert len(world.people.taken) == 2


def test_drift_that_is_put_right_without_a_word_is_none(world: AlertWorld) -> None:
    world.happen("drift.found", data={"action": "repair", "drift": "a"})
    world.happen("drift.found", data={"action": "repair and alert", "drift": "b"})
    world.happen("drift.found", data={"action": "report", "drift": "c"})
    world.happen("drift.repaired", data={"action": "repair and alert", "drift": "b"})
    world.settle()
    assert sorted((one.key[-1], one.state.value) for one in world.found()) == [("b", "over"), ("c", "open")]


def test_two_things_are_two_alerts(world: AlertWorld) -> None:
    world.happen("drift.found", subject="S-1-5-21-1-2-3-1", name="one")
    world.happen("drift.found", subject="S-1-5-21-1-2-3-2", name="two")
    world.settle()
    assert sorted(one.subject_name for one in world.found()) == ["one", "two"]


@pytest.mark.parametrize("kind", ["drift.repaired", "drift.gone", "drift.accepted"])
def test_what_is_right_again_is_over_and_programs_are_told(world: AlertWorld, kind: str) -> None:
    world.happen("drift.found", name="PAM-Files")
    world.settle()
    world.happen(kind, name="PAM-Files")
    world.settle()
    (alert,) = world.found()
    assert (alert.state, bool(alert.over_because)) == (State.OVER, True)
    assert world.told(world.program) == [("raised", "drift"), ("over", "drift")]
    assert world.told(world.people) == [("raised", "drift")]
    assert world.audited("alert.over")[0]["alert"] == alert.id


def test_a_rule_that_is_off_says_nothing_and_one_with_destinations_tells_those() -> None:
    with made(only(rule("drift", enabled=False), rule("kill-switch", to=frozenset({"program"})))) as world:
        world.happen("drift.found")
        world.happen("kill-switch")
        world.settle()
        assert [one.rule for one in world.found()] == ["kill-switch"]
        assert (world.people.taken, len(world.program.taken)) == ([], 1)


# -------------------------------------------------------------------------------------------------- counted and compared


def test_failing_gates_of_one_and_of_many() -> None:
    policy = only(rule("failing-gates-of-one", threshold=3), rule("failing-gates-of-many", threshold=6))
    with made(policy) as world:
        for name in ("bob", "carol", "bob", "bob"):
            world.happen("mfa.refused", subject=f"S-1-5-21-{name}", name=name)
        world.settle()
        assert [(one.rule, one.subject_name) for one in world.found()] == [("failing-gates-of-one", "bob")]
        for name in ("dave", "erin"):
            world.happen("session.refused", subject="", name=name)
        world.settle()
        many = next(one for one in world.found() if one.rule == "failing-gates-of-many")
        assert "6 failed sign-ins and codes within 15 min" in many.text
        assert "people: 4" in many.text


def test_failures_that_are_far_apart_are_none() -> None:
    with made(only(rule("failing-gates-of-one", threshold=3))) as world:
        for _ in range(6):
            world.happen("mfa.refused")
            world.clock.move(minutes=8)
            world.work()
        assert world.found() == ()


def test_many_activations_by_person_role_and_all() -> None:
    rules = (
        rule("many-activations-of-one", threshold=3),
        rule("many-activations-of-a-role", threshold=4),
        rule("many-activations", threshold=5),
    )
    with made(only(*rules)) as world:
        for name, role in (("a", "Files"), ("a", "SQL"), ("a", "Files"), ("b", "Files"), ("c", "Files")):
            world.happen("request.active", subject=f"S-1-5-21-{name}", name=name, data={"role": role})
        world.settle()
        found = {one.rule: one.subject_name for one in world.found()}
        assert found == {
            "many-activations-of-one": "a",
            "many-activations-of-a-role": "Files",
            "many-activations": "",
        }


def test_an_unusual_hour_is_one_that_was_never_near() -> None:
    with made(only(rule("unusual-hour", threshold=5))) as world:
        for _ in range(6):
            world.happen("request.submitted")
            world.settle()
            world.clock.move(hours=23, minutes=59)
        assert world.found() == ()
        world.clock.move(hours=12)
        world.happen("request.submitted")
        world.settle()
        (alert,) = world.found()
        assert alert.title == "alice asks at an unusual hour"
        assert "is not near any hour before (08, 09), among 6 in the last 30 days" in alert.text


def test_of_whom_little_is_known_no_hour_is_unusual() -> None:
    with made(only(rule("unusual-hour", threshold=5))) as world:
        for _ in range(5):
            world.happen("request.submitted")
            world.clock.move(hours=5)
            world.settle()
        assert world.found() == ()


def test_an_unusual_host() -> None:
    with made(only(rule("unusual-host", threshold=3))) as world:
        for _ in range(4):
            world.happen("session.opened", data={"via": "kerberos", "address": "10.0.0.7"})
        world.happen("session.opened", data={"via": "kerberos"})
        world.settle()
        assert world.found() == ()
        world.happen("session.opened", data={"via": "password", "address": "198.51.100.9"})
        world.settle()
        assert "198.51.100.9 is none of the places before (10.0.0.7)" in world.found()[0].text


# ------------------------------------------------------------------------------------------------------ quiet hours


NIGHT = Quiet(time(20), time(6))


def test_in_quiet_hours_low_ones_wait_for_people_and_not_for_programs() -> None:
    with made(only(rule("agent-silent"), rule("kill-switch"), quiet=NIGHT)) as world:
        world.clock.move(hours=13)  # 22:00
        world.happen("passwords.controller-silent", name="dc1")
        world.happen("kill-switch")
        world.settle()
        assert world.told(world.people) == [("raised", "kill-switch")]
        assert sorted(world.told(world.program)) == [("raised", "agent-silent"), ("raised", "kill-switch")]
        world.clock.move(hours=8)
        world.settle()
        assert world.told(world.people)[1:] == [("raised", "agent-silent")]


def test_what_is_over_by_the_morning_wakes_nobody() -> None:
    with made(only(rule("agent-silent"), quiet=NIGHT)) as world:
        world.clock.move(hours=13)
        world.happen("passwords.controller-silent", name="dc1")
        world.settle()
        world.happen("passwords.controller-heard", name="dc1")
        world.settle()
        world.clock.move(hours=8)
        world.settle()
        assert (world.people.taken, world.told(world.program)[-1]) == ([], ("over", "agent-silent"))


# ------------------------------------------------------------------------------------- escalated and acknowledged


ESCALATING = {
    "escalate_after": timedelta(minutes=30),
    "escalate_to": frozenset({"people"}),
    "to": frozenset({"program"}),
}


def test_what_nobody_takes_in_hand_goes_to_the_next_ones() -> None:
    with made(only(rule("drift", **ESCALATING))) as world:
        world.happen("drift.found")
        world.settle()
        world.clock.move(minutes=29)
        world.settle()
        assert world.people.taken == []
        world.clock.move(minutes=2)
        world.settle()
        assert world.told(world.people) == [("escalated", "drift")]
        assert world.audited("alert.escalated")[0]["to"] == ["people"]
        assert world.found()[0].escalated_at is not None


def test_what_was_acknowledged_does_not() -> None:
    with made(only(rule("drift", **ESCALATING))) as world:
        world.happen("drift.found")
        world.settle()
        (alert,) = world.found()
        dave = world.sign_in("dave")
        after = world.alerts.desk.acknowledge(dave, alert.id, "looking at it")
        assert (after.state, after.acknowledged_by, after.note) == (
            State.ACKNOWLEDGED,
            dave.name,
            "looking at it",
        )
        world.clock.move(minutes=40)
        world.settle()
        assert world.people.taken == []
        assert world.told(world.program) == [("raised", "drift"), ("acknowledged", "drift")]
        assert world.audited("alert.acknowledged")[0]["note"] == "looking at it"
        with pytest.raises(Conflict, match="acknowledged it already"):
            world.alerts.desk.acknowledge(dave, alert.id, "")


def test_who_may(world: AlertWorld) -> None:
    world.happen("kill-switch")
    world.settle()
    (alert,) = world.found()
    everything = world.sign_in("dave")
    auditor = replace(everything, rights=frozenset({Right.AUDIT}))
    nobody = replace(everything, rights=frozenset({Right.USE, Right.APPROVE}))
    assert world.alerts.desk.show(auditor, alert.id) == alert
    with pytest.raises(NotAuthorized):
        world.alerts.desk.acknowledge(auditor, alert.id, "")
    with pytest.raises(NotAuthorized):
        world.alerts.desk.list(nobody, [State.OPEN], 5)
    with pytest.raises(NotFound):
        world.alerts.desk.show(auditor, "00000000-0000-4000-8000-000000000000")


# ------------------------------------------------------------------------------------------------------- going wrong


def test_a_destination_that_is_down_holds_up_nobody_and_gets_it_later_with_the_same_id(
    world: AlertWorld,
) -> None:
    world.program.down = "connection refused"
    world.happen("kill-switch")
    world.settle()
    assert (len(world.people.taken), world.program.taken) == (1, [])
    (failing,) = world.audited("alert.failing")
    assert failing["problem"] == "connection refused"
    standing = {one.name: one for one in world.alerts.desk.destinations(world.sign_in("dave"))}
    assert (standing["program"].waiting, standing["program"].problem) == (1, "connection refused")
    assert standing["program"].failing_since is not None
    world.clock.move(minutes=10)
    world.settle()
    assert len(world.audited("alert.failing")) == 1
    world.program.down = ""
    world.clock.move(minutes=10)
    world.settle()
    assert [one.id for one in world.program.taken] == [one.id for one in world.people.taken]
    after = {one.name: one for one in world.alerts.desk.destinations(world.sign_in("dave"))}
    assert (after["program"].failing_since, after["program"].waiting) == (None, 0)


def test_after_a_day_it_is_given_up_and_said(world: AlertWorld) -> None:
    world.program.down = "no route"
    world.happen("kill-switch")
    world.settle()
    world.clock.move(hours=25)
    world.settle()
    world.program.down = ""
    world.clock.move(minutes=10)
    world.settle()
    assert (world.program.taken, world.audited("alert.given-up")[0]["title"]) == (
        [],
        "The kill switch was used by bastide",
    )


def test_a_destination_that_is_gone_leaves_no_rows(world: AlertWorld) -> None:
    with world.store.write() as uow:
        uow.work.poke(f"{ALERT}:gone", "raised/x", world.clock.now())
        uow.commit()
    world.alerts.reader.plant()
    with world.store.read() as uow:
        assert not any(row["kind"] == f"{ALERT}:gone" for row in uow.work.listing())


def test_a_test_says_what_came_back(world: AlertWorld) -> None:
    dave = world.sign_in("dave")
    assert world.alerts.desk.test(dave, "program") == "program"
    assert (world.program.taken[0].alert.title, world.found()) == ("Test", ())
    world.program.down = "certificate verify failed"
    with pytest.raises(TargetUnavailable, match="certificate verify failed"):
        world.alerts.desk.test(dave, "program")
    assert [one["taken"] for one in world.audited("alert.tested")] == [True, False]
    with pytest.raises(NotFound, match="there is no destination"):
        world.alerts.desk.test(dave, "nobody")


# --------------------------------------------------------------------------------------------------------- measured


def test_a_broken_chain_is_found_and_no_other_state_is_touched(world: AlertWorld) -> None:
    world.happen("kill-switch")
    world.settle()
    with world.store.engine.begin() as connection:
        connection.exec_driver_sql("DROP TRIGGER audit_no_update")
        connection.exec_driver_sql("UPDATE audit SET actor_name = 'somebody else' WHERE seq = 1")
    world.clock.move(hours=7)
    world.settle()
    broken = next(one for one in world.found() if one.rule == "chain-broken")
    assert (broken.severity, broken.record) == (Severity.CRITICAL, 0)
    assert "was changed after it was written" in broken.text


def test_a_role_nobody_can_approve_is_found_and_over_when_somebody_can(world: AlertWorld) -> None:
    world.prepare("alice")
    world.prepare_group()
    world.add_role(stages=(StageDraft("owners", ("PRIV\\grace",)),))
    world.clock.move(hours=2)
    world.settle()
    alert = next(one for one in world.found() if one.rule == "approvers")
    assert "1 approvers are needed" in alert.text
    world.services.roles.remove(world.sign_in("dave"), "File administrators")
    world.clock.move(hours=2)
    world.settle()
    assert next(one for one in world.found() if one.rule == "approvers").state is State.OVER


def test_what_cannot_be_measured_settles_nothing_and_is_tried_again(
    world: AlertWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: object) -> list[object]:
        raise NotFound("no answer")

    monkeypatch.setattr(measures, "_short", fails)
    world.clock.move(hours=2)
    world.settle()
    with world.store.read() as uow:
        row = next(row for row in uow.work.listing() if row["key"] == "approvers")
    assert (row["error"], bool(row["attempts"])) == ("no answer", True)


# --------------------------------------------------------------------------------------------------------- as messages


def test_people_are_told_in_neutral_words_and_a_crowd_at_once(world: AlertWorld) -> None:
    notifier = MemoryNotifier()
    outlet = PeopleOutlet("people", notifier, home="https://bastide.test")
    for number in range(7):
        world.happen("drift.found", subject=f"S-1-5-21-{number}", name=f"<b>{number}</b>\nBcc: x@evil.test")
    world.settle()
    parcels = world.program.taken
    (one,) = outlet.send(parcels[:1])
    assert one.problem == ""
    (_, message) = notifier.taken.pop()
    assert message.id == parcels[0].id
    assert "<b>" not in message.subject + message.body
    assert "x@evil.test" not in message.subject + message.body
    assert "bastide alert acknowledge" in message.body
    assert "\nhttps://bastide.test/admin/alerts\n" in message.body
    assert len(outlet.send(parcels)) == len(parcels) == 7
    ((_, several),) = notifier.taken
    assert several.subject == "7 alerts, the worst high"
    outlet.send(parcels[::-1])
    assert notifier.taken[-1][1].id == several.id


def test_old_alerts_go_and_open_ones_stay(world: AlertWorld) -> None:
    world.happen("kill-switch")
    world.happen("drift.found")
    world.settle()
    drift = next(one for one in world.found() if one.rule == "drift")
    world.alerts.desk.acknowledge(world.sign_in("dave"), drift.id, "")
    world.clock.move(days=181)
    world.happen("agent")
    world.settle()
    assert [one.rule for one in world.found()] == ["kill-switch"]
