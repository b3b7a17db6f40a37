"""A flood of notices is bounded, and none is lost or told twice unrecognizably when somebody dies."""

import pytest

from bastide.domain.audit import Event
from bastide.domain.errors import LostLease
from bastide.domain.notifications import SINGLY
from bastide.services.notifications import deliver
from bastide.services.notifications.plan import kind_of
from bastide.services.pace import NOTIFY
from bastide.workers.jobs import table
from tests.support.notification_world import HOUR, Held, ToldWorld, crowd, due, fail_many, pending

pytest_plugins = ["tests.support.notification_world"]


@pytest.mark.parametrize("number", [30])
def test_the_kill_switch_is_one_message_for_each_person_and_each_channel(
    world: ToldWorld, number: int
) -> None:
    crowd(world, number)
    world.add_role("Second", candidates=tuple(f"CORP\\user{n}" for n in range(number)), mfa=False, ttl=HOUR)
    with world.store.read() as uow:
        users, roles = uow.users.all(), uow.roles.all()
    world.notifications.plan.plant()
    with world.store.write() as uow:
        for user in users:
            for role in roles:
                uow.requests.add(pending(world, user.id, user.corp.sid, user.name, role))
        uow.commit()
    killed = world.services.requests.kill(world.dave, "incident 42", everything=True)
    assert len(killed) == 2 * number
    world.settle()
    assert len(world.sent("chat")) == 1
    assert sorted(m.to for m in world.sent("mail")) == sorted(
        f"user{n}@corp.bastide.test" for n in range(number)
    )
    assert "incident 42" in world.sent("chat")[0].body
    assert f"end: {2 * number}" in world.sent("chat")[0].body


def test_more_than_a_few_of_one_recipient_are_one_message(world: ToldWorld) -> None:
    world.prepare_group()
    world.add_role()
    fail_many(world, 40)
    world.settle()
    for channel in ("mail", "chat"):
        (message,) = world.sent(channel)
        assert message.subject == "Bastide: 40 messages"
        assert "40 failed" in message.body
    assert {one["told"]["failed"] for one in world.audited("notification.sent")} == {40}


def test_a_few_are_told_one_by_one(world: ToldWorld) -> None:
    world.prepare_group()
    world.add_role()
    fail_many(world, SINGLY)
    world.settle()
    assert len(world.sent("mail")) == SINGLY


def test_a_flood_of_other_records_is_read_over_in_one_step(world: ToldWorld) -> None:
    world.settle()
    with world.store.write() as uow:
        at = world.clock.now()
        uow.audit.append(*(Event("password.delivered", at, "bastide", "bastide") for _ in range(3000)))
        uow.commit()
    world.clock.move(seconds=2)
    (work,) = world.claimed(NOTIFY)
    world.notifications.plan.run([work])
    with world.store.read() as uow:
        assert uow.audit.cursor("notifications") == uow.audit.head()[0]
    assert world.claimed(NOTIFY) == ()


def test_more_records_than_one_step_takes_are_read_in_several(world: ToldWorld) -> None:
    world.prepare_group()
    world.add_role()
    fail_many(world, 501)
    world.clock.move(seconds=2)
    (work,) = world.claimed(NOTIFY)
    world.notifications.plan.run([work])
    assert len(world.waiting("chat")) == 500
    (work,) = world.claimed(NOTIFY)
    world.notifications.plan.run([work])
    assert len(world.waiting("chat")) == 501


def test_the_commit_that_holds_the_state_plans_the_notice(world: ToldWorld) -> None:
    world.approved_role("grace")
    world.settle()
    with world.store.read() as uow:
        assert next(row for row in uow.work.listing() if row["kind"] == NOTIFY)["due"] is None
    world.ask()
    with world.store.read() as uow:
        assert next(row for row in uow.work.listing() if row["kind"] == NOTIFY)["due"] is not None


def test_a_planner_that_dies_before_its_commit_plans_again_and_once(
    world: ToldWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.approved_role("grace")
    world.ask()
    world.clock.move(seconds=2)
    (work,) = world.claimed(NOTIFY)
    with world.store.read() as uow:
        before = uow.audit.cursor("notifications")

    def died(*_: object) -> None:
        raise RuntimeError("killed")

    monkeypatch.setattr("bastide.store.work.SqlWorkRows.finish", died)
    with pytest.raises(RuntimeError, match="killed"):
        world.notifications.plan.run([work])
    monkeypatch.undo()
    with world.store.read() as uow:
        assert uow.audit.cursor("notifications") == before
    assert world.waiting("chat") == []
    world.clock.move(seconds=11)
    world.settle()
    assert len(world.sent("chat")) == 1
    assert len(world.sent("mail")) == 1


def test_a_planner_that_lost_its_row_plans_nothing(world: ToldWorld) -> None:
    world.approved_role("grace")
    world.ask()
    world.clock.move(seconds=2)
    (work,) = world.claimed(NOTIFY)
    world.clock.move(seconds=11)
    world.claimed(NOTIFY)
    with pytest.raises(LostLease):
        world.notifications.plan.run([work])
    assert world.waiting("chat") == []


def test_a_worker_that_dies_after_sending_sends_again_with_the_same_id(
    world: ToldWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    """(5): at least once, and recognizable."""
    world.approved_role("grace")
    world.ask()
    works = due(world, "chat")
    chat = world.notifications.deliveries[1]

    def died(*_: object) -> None:
        raise RuntimeError("killed")

    monkeypatch.setattr(deliver.Deliver, "_settle", died)
    with pytest.raises(RuntimeError, match="killed"):
        chat.run(works, Held())
    monkeypatch.undo()
    world.clock.move(seconds=11)
    world.settle()
    first, second = world.sent("chat")
    assert first == second


def test_without_a_sure_lease_nothing_is_sent(world: ToldWorld) -> None:
    """(5)"""
    world.approved_role("grace")
    world.ask()
    works = due(world, "chat")
    with pytest.raises(LostLease):
        world.notifications.deliveries[1].run(works, Held(lost=True))
    assert world.sent("chat") == []
    assert len(world.waiting("chat")) == 1


def test_what_another_node_took_over_is_not_taken_away_by_the_late_one(world: ToldWorld) -> None:
    """(6)"""
    world.approved_role("grace")
    world.ask()
    works = due(world, "chat")
    world.clock.move(seconds=11)
    (again,) = world.claimed(kind_of("chat"))
    with pytest.raises(LostLease):
        world.notifications.deliveries[1].run(works, Held())
    assert len(world.waiting("chat")) == 1
    world.notifications.deliveries[1].run([again], Held())
    assert world.waiting("chat") == []


def test_each_channel_has_a_job_and_a_kind_of_work_of_its_own(world: ToldWorld) -> None:
    kinds = [job.kinds for job in table(world.services)]
    assert [k for k in kinds if k[0].startswith("notify")] == [
        ("notify",),
        ("notify:mail",),
        ("notify:chat",),
    ]
