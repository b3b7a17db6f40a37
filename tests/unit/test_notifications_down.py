"""Channels, people and directories that do not answer; and how notifications begin."""

import threading
from collections.abc import Sequence
from datetime import timedelta

import pytest

from bastide.domain.notifications import APPROVERS, GIVE_UP
from bastide.domain.requests import State
from bastide.notify.memory import MemoryNotifier
from bastide.services.notifications import deliver
from bastide.services.notifications.plan import kind_of
from bastide.services.notifications.ports import Fate, Message, Outcome
from bastide.services.ports import Work
from bastide.services.roles import StageDraft
from bastide.workers.jobs import table
from bastide.workers.runner import Runner
from tests.support.notification_world import (
    ADDRESSES,
    CHAT,
    HOUR,
    Held,
    ToldWorld,
    begun,
    due,
    fail_many,
)

pytest_plugins = ["tests.support.notification_world"]


def test_a_channel_that_is_down_is_tried_again_and_holds_up_no_other(world: ToldWorld) -> None:
    """(1)"""
    world.approved_role("grace")
    world.notifier.down["mail"] = "connection refused"
    world.ask()
    world.settle()
    assert len(world.sent("chat")) == 1
    assert world.sent("mail") == []
    standing = {one.channel.name: one for one in world.notifications.channels.all(world.dave)}
    assert standing["mail"].waiting == 1
    assert standing["mail"].problem == "connection refused"
    assert standing["mail"].failing_since is not None
    assert standing["chat"].failing_since is None
    assert standing["chat"].sent_at is not None
    for _ in range(5):
        world.clock.move(minutes=2)
        world.settle()
    assert len(world.audited("notification.failing")) == 1
    world.notifier.down.clear()
    world.clock.move(minutes=7)
    world.settle()
    assert [m.to for m in world.sent("mail")] == [ADDRESSES["grace"]]
    standing = {one.channel.name: one for one in world.notifications.channels.all(world.dave)}
    assert (standing["mail"].waiting, standing["mail"].failing_since, standing["mail"].problem) == (
        0,
        None,
        "",
    )


def test_while_it_is_known_to_be_down_nothing_is_tried(
    world: ToldWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    """(1)"""
    world.approved_role("grace", "heidi")
    world.notifier.down["mail"] = "down"
    world.ask()
    world.settle()
    tried: list[int] = []

    def count(_: object, channel: str, messages: Sequence[Message]) -> tuple[Outcome, ...]:
        tried.append(len(messages))
        return tuple(Outcome(Fate.REFUSED, "down") for _ in messages)

    monkeypatch.setattr(MemoryNotifier, "send", count)
    works = [Work(kind_of("mail"), "x", 1, 1, 0, world.clock.now())]
    monkeypatch.setattr(deliver.Deliver, "_put_off", lambda _self, given, _until: tried.append(-len(given)))
    world.notifications.deliveries[0].run(works, Held())
    assert tried == [-1]


def test_an_address_that_is_refused_holds_up_nobody_else(world: ToldWorld) -> None:
    world.approved_role("grace", "heidi")
    world.notifier.refuses.add(ADDRESSES["grace"])
    world.ask()
    world.settle()
    assert [m.to for m in world.sent("mail")] == [ADDRESSES["heidi"]]
    assert len(world.waiting("mail")) == 1


def test_a_recipient_who_is_always_refused_alone_holds_up_nobody_either(world: ToldWorld) -> None:
    """One refusal does not tell a channel that is down from a mailbox that is gone."""
    world.approved_role("grace")
    world.notifier.refuses.add(ADDRESSES["grace"])
    world.ask()
    for _ in range(4):
        world.settle()
        world.clock.move(minutes=6)
    assert world.sent("mail") == []
    world.add_role("Other", stages=(StageDraft("owners", ("PRIV\\heidi",)),))
    world.ask("Other")
    world.settle()
    assert [m.to for m in world.sent("mail")] == [ADDRESSES["heidi"]]


def test_what_was_not_sent_within_a_day_is_given_up_and_the_audit_says_so(world: ToldWorld) -> None:
    """(2)"""
    request = begun(world)
    world.notifier.down["chat"] = "down"
    world.services.requests.close(world.alice(), request.id)
    world.settle()
    world.clock.moment += GIVE_UP + timedelta(minutes=1)
    world.settle()
    assert world.waiting("chat") == []
    (given_up,) = world.audited("notification.given-up")
    assert given_up == {"because": "not sent within a day", "count": 1, "told": {"ended": 1}}


def test_a_decided_request_is_not_asked_about_when_the_channel_is_back(world: ToldWorld) -> None:
    """(2)"""
    world.approved_role("grace")
    world.notifier.down |= {"mail": "down", "chat": "down"}
    world.approve(world.ask())
    world.settle()
    world.notifier.down.clear()
    world.clock.move(minutes=6)
    world.settle()
    assert [s.split(": ")[1] for s in world.subjects("chat")] == ["Approved"]


@pytest.mark.parametrize(
    "mail",
    [
        "",
        "alice@corp.test, mallory@evil.test",
        "alice@corp.test\r\nBcc: mallory@evil.test",
        "Alice <alice@corp.test>",
        "alice@corp.test mallory@evil.test",
        '"x"@corp.test',
        "alice@corp",
        "älice@corp.test",
    ],
)
def test_who_has_no_plain_address_is_not_told_and_the_audit_says_so(world: ToldWorld, mail: str) -> None:
    world.set_mail("grace", mail)
    world.approved_role("grace")
    world.ask()
    world.settle()
    assert world.sent("mail") == []
    assert world.audited("notification.given-up") == [
        {"because": "no mail address", "count": 1, "told": {"asked": 1}}
    ]


def test_a_directory_that_does_not_answer_is_asked_again(world: ToldWorld) -> None:
    world.approved_role("grace")
    world.ask()
    world.priv.cut("privdc")
    world.settle()
    assert world.sent("mail") == []
    assert len(world.sent("chat")) == 1
    world.priv.heal("privdc")
    world.clock.move(minutes=1)
    world.settle()
    assert [m.to for m in world.sent("mail")] == [ADDRESSES["grace"]]


def test_a_role_that_was_removed_meanwhile_asks_nobody(world: ToldWorld) -> None:
    world.approved_role("grace")
    request = world.ask()
    works = due(world, "mail")
    assert [work.key.split("/")[0] for work in works] == [APPROVERS]
    with world.store.write() as uow:
        uow.roles.remove(request.role)
        uow.commit()
    world.notifications.deliveries[0].run(works, Held())
    assert world.waiting("mail") == []


def test_where_notifications_begin_the_past_is_not_told() -> None:
    world = ToldWorld(channels=(CHAT,))
    world.ready()
    fail_many(world, 3, "bob")
    with world.store.write() as uow:
        uow.audit.move_cursor("notifications", 0)
        uow.commit()
    world.notifications.plan.plant()
    world.settle()
    assert world.sent() == []
    world.close()


def test_a_restart_forgets_nothing(world: ToldWorld) -> None:
    world.approved_role("grace")
    world.ask()
    world.notifications.plan.plant()
    world.settle()
    assert len(world.sent("chat")) == 1


def test_rows_of_a_channel_that_is_gone_go_with_it(world: ToldWorld) -> None:
    with world.store.write() as uow:
        uow.work.poke(kind_of("gone"), "channel/ended/1", world.clock.now())
        uow.work.poke(kind_of("mail"), "channel/ended/1", world.clock.now())
        uow.commit()
    world.notifications.plan.plant()
    assert world.waiting("gone") == []
    assert len(world.waiting("mail")) == 1


def test_a_mail_server_that_hangs_delays_neither_access_nor_its_end(
    world: ToldWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While one message is being sent, nothing is locked that an activation needs."""
    hanging, answered = threading.Event(), threading.Event()

    def hang(_: object, _channel: str, messages: Sequence[Message]) -> tuple[Outcome, ...]:
        hanging.set()
        assert answered.wait(30)
        return tuple(Outcome(Fate.TAKEN) for _ in messages)

    monkeypatch.setattr(MemoryNotifier, "send", hang)
    world.approved_role("grace")
    world.add_role("Plain", ttl=HOUR)
    world.ask()
    works = due(world, "chat")
    sender = threading.Thread(target=world.notifications.deliveries[1].run, args=(works, Held()))
    sender.start()
    assert hanging.wait(10)
    access = tuple(job for job in table(world.services) if job.kinds[0] in {"account", "link"})
    world.runner = Runner(store=world.store, jobs=access, owner="node-1", clock=world.clock)
    request = world.ask("Plain")
    world.work()
    assert world.get(request).state is State.ACTIVE
    world.clock.move(hours=1)
    world.work()
    assert world.get(request).state is State.EXPIRED
    assert sender.is_alive()
    answered.set()
    sender.join(10)
    assert world.waiting("chat") == []


def test_many_recipients_who_are_always_refused_hold_up_nobody(world: ToldWorld) -> None:
    """Three in a row end a run: those who were refused the last time come last."""
    gone = [f"gone{n}" for n in range(24)]
    for name in gone:
        world.priv.add_person(name, mail=f"{name}@priv.bastide.test")
        world.notifier.refuses.add(f"{name}@priv.bastide.test")
    world.approved_role(*gone, "heidi", pending_life=timedelta(days=1))
    world.ask()
    for _ in range(14):
        world.settle()
        world.clock.move(minutes=7)
    assert [m.to for m in world.sent("mail")] == [ADDRESSES["heidi"]]
    world.add_role("Other", stages=(StageDraft("owners", tuple(f"PRIV\\{n}" for n in (*gone, "grace"))),))
    world.ask("Other")
    for _ in range(2):
        world.clock.move(minutes=7)
        world.settle()
    assert [m.to for m in world.sent("mail")] == [ADDRESSES["heidi"], ADDRESSES["grace"]]
