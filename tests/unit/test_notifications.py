"""What people are told, from the moment it happens until it is sent: over the whole of Bastide in memory."""

from dataclasses import replace
from datetime import timedelta

from bastide.domain.notifications import Occasion
from bastide.domain.policy import Draft
from bastide.domain.requests import Decision
from bastide.domain.wording import Language
from bastide.services.events import by_worker
from bastide.services.notifications.ports import Channel
from bastide.services.roles import StageDraft
from tests.support.notification_world import ADDRESSES, HOUR, ToldWorld, begun
from tests.support.world import ADDRESS

pytest_plugins = ["tests.support.notification_world"]


def test_approvers_are_asked_each_by_name_and_the_chat_once(world: ToldWorld) -> None:
    world.approved_role("grace", "heidi")
    world.ask(justification="patch the server")
    world.settle()
    assert sorted(m.to for m in world.sent("mail")) == [ADDRESSES["grace"], ADDRESSES["heidi"]]
    (chat,) = world.sent("chat")
    for message in world.sent():
        assert message.subject == "Bastide: Approval needed: priv\uff0ealice asks for File administrators"
        assert f"\n{ADDRESS}/approvals\n" in message.body
        assert "patch the server" in message.body
    assert chat.to == ""
    assert len({m.id for m in world.sent()}) == 3


def test_the_person_hears_that_somebody_else_cancelled_what_they_asked_for(world: ToldWorld) -> None:
    world.approved_role("grace", ttl=HOUR)
    world.services.requests.close(world.alice(), world.ask().id)
    world.ask()
    world.services.switches.turn(world.dave, "priv.alice", "away until June", on=False)
    world.settle()
    (cancelled,) = [m for m in world.sent("mail") if "Cancelled" in m.subject]
    assert cancelled.to == ADDRESSES["alice"]
    assert "away until June" in cancelled.body


def test_a_group_of_approvers_is_asked_one_by_one_as_it_is_then(world: ToldWorld) -> None:
    world.approved_role("Approvers")
    world.notifier.down["mail"] = "down"
    world.ask()
    world.settle()
    world.set_mail("heidi", ADDRESSES["heidi"], enabled=False)
    world.notifier.down.clear()
    world.clock.move(minutes=10)
    world.settle()
    assert [m.to for m in world.sent("mail")] == [ADDRESSES["grace"]]


def test_nobody_is_asked_to_approve_a_request_of_their_own(world: ToldWorld) -> None:
    world.prepare("alice")
    world.prepare_group()
    world.add_role(stages=(StageDraft("owners", ("CORP\\alice", "PRIV\\grace")),))
    world.ask()
    world.settle()
    assert [m.to for m in world.sent("mail")] == [ADDRESSES["grace"]]


def test_an_approver_who_is_a_pam_user_is_asked_at_the_corp_address(world: ToldWorld) -> None:
    world.set_mail("bob", "bob@corp.bastide.test")
    world.prepare("bob", kept_alive=True)
    world.approved_role("priv.bob")
    world.ask()
    world.settle()
    assert [m.to for m in world.sent("mail")] == ["bob@corp.bastide.test"]


def test_the_person_hears_that_it_was_approved_or_rejected(world: ToldWorld) -> None:
    world.approved_role("grace", ttl=HOUR)
    world.approve(world.ask())
    world.settle()
    (approved,) = [m for m in world.sent("mail") if "Approved" in m.subject]
    assert approved.to == ADDRESSES["alice"]
    assert "PRIV\\grace" in approved.body
    for request in world.open():
        world.services.requests.close(world.alice(), request.id)
    world.settle()
    again = world.ask()
    world.services.requests.decide(
        world.sign_in("grace", mfa=True), again.id, Decision.REJECT, "not <b>today</b> @here"
    )
    world.settle()
    (rejected,) = [m for m in world.sent("mail") if "Rejected" in m.subject]
    assert rejected.to == ADDRESSES["alice"]
    assert "not \uff1cb\uff1etoday" in rejected.body
    assert f"\n{ADDRESS}/requests/{again.id}\n" in rejected.body


def test_a_request_that_nobody_answers_is_told(world: ToldWorld) -> None:
    world.approved_role("grace", pending_life=timedelta(minutes=30))
    world.ask()
    world.settle()
    world.clock.move(minutes=31)
    world.settle()
    assert world.subjects("mail")[-1].startswith("Bastide: Nobody answered")
    assert world.sent("mail")[-1].to == ADDRESSES["alice"]


def test_a_failed_activation_is_told(world: ToldWorld) -> None:
    world.ready()
    asked = world.ask()
    with world.store.write() as uow:
        user = uow.users.get(asked.user)
        uow.users.save(replace(user, enabled=False))
        uow.commit()
    world.settle()
    (told,) = world.sent("mail")
    assert told.subject == "Bastide: Failed: File administrators for priv\uff0ealice"
    assert "switched off" in told.body
    assert len(world.sent("chat")) == 1


def test_the_end_is_announced_once_and_told_when_it_came(world: ToldWorld) -> None:
    request = begun(world)
    world.clock.move(minutes=44)
    world.settle()
    assert world.sent() == []
    world.clock.move(minutes=1)
    world.settle()
    (ending,) = world.sent("mail")
    assert ending.subject == "Bastide: Ends soon: File administrators for priv\uff0ealice"
    assert f"\n{ADDRESS}/requests/{request.id}\n" in ending.body
    world.clock.move(minutes=15)
    world.settle()
    assert [s.split(": ")[1] for s in world.subjects("mail")] == ["Ends soon", "Ended"]
    assert world.waiting("mail") == []


def test_without_extension_the_announcement_has_no_link_to_one(world: ToldWorld) -> None:
    request = begun(world, extension=False)
    world.clock.move(minutes=45)
    world.settle()
    (ending,) = world.sent("mail")
    assert request.id not in ending.body
    assert "asks for the role again" in ending.body


def test_an_extended_end_is_announced_at_its_new_time(world: ToldWorld) -> None:
    request = begun(world)
    world.services.requests.extend(world.alice(), request.id, timedelta(hours=1))
    world.settle()
    world.clock.move(minutes=50)
    world.settle()
    assert world.sent() == []
    world.clock.move(minutes=60)
    world.settle()
    assert [s.split(": ")[1] for s in world.subjects("mail")] == ["Ends soon"]


def test_an_end_that_was_announced_and_then_moved_is_announced_again(world: ToldWorld) -> None:
    request = begun(world)
    world.clock.move(minutes=46)
    world.settle()
    world.services.requests.extend(world.alice(), request.id, timedelta(hours=1))
    world.settle()
    world.clock.move(minutes=60)
    world.settle()
    assert [s.split(": ")[1] for s in world.subjects("mail")] == ["Ends soon", "Ends soon"]
    assert len({m.id for m in world.sent("mail")}) == 2


def test_access_that_ended_early_is_not_announced(world: ToldWorld) -> None:
    request = begun(world)
    world.services.requests.close(world.alice(), request.id)
    world.settle()
    world.clock.move(hours=2)
    world.settle()
    assert [s.split(": ")[1] for s in world.subjects("mail")] == ["Ended"]
    assert world.waiting("mail") == []


def test_a_dry_run_tells_nobody(world: ToldWorld) -> None:
    world.approved_role("grace")
    world.services.requests.submit(
        world.alice(), "File administrators", Draft(justification="x"), dry_run=True
    )
    world.settle()
    assert world.sent() == []


def test_a_channel_hears_only_what_and_of_which_roles_it_is_to_hear() -> None:
    quiet = Channel(name="quiet", occasions=frozenset({Occasion.FAILED}))
    other = Channel(name="other", roles=frozenset({"another role"}))
    mine = Channel(name="mine", roles=frozenset({"file administrators"}))
    world = ToldWorld(channels=(quiet, other, mine))
    world.approved_role("grace")
    request = world.ask()
    world.settle()
    assert [name for name, _ in world.notifier.taken] == ["mine"]
    world.services.requests.kill(world.dave, "incident", request=request.id)
    world.settle()
    assert [name for name, _ in world.notifier.taken] == ["mine"]
    world.close()


def test_an_emergency_account_that_signed_in_is_told_to_channels_of_their_own(world: ToldWorld) -> None:
    with world.store.write() as uow:
        data: dict[str, object] = {"text": "signed in on dc1", "envelope": 7}
        uow.audit.append(
            by_worker("break-glass.used", world.clock.now(), subject_name="breakglass1", data=data)
        )
        said: dict[str, object] = {"by": "root (ben)", "host": "jump1", "reason": "PRIV is down"}
        uow.audit.append(
            by_worker("break-glass.opened", world.clock.now(), subject_name="breakglass1", data=said)
        )
        uow.commit()
    world.settle()
    assert world.sent("mail") == []
    used, opened = world.sent("chat")
    assert used.subject == "Bastide: Emergency account breakglass1: signed in on dc1"
    assert "treat it as an attack" in used.body
    assert "opened by root (ben) on jump1" in opened.body
    assert "PRIV is down" in opened.body


def test_in_german() -> None:
    world = ToldWorld(language=Language.GERMAN)
    world.approved_role("grace")
    world.ask()
    world.settle()
    assert world.subjects("mail") == [
        "Bastide: Freigabe nötig: priv\uff0ealice beantragt File administrators"
    ]
    world.close()
