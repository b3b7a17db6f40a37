"""The help desk (services/help_desk, domain/help_desk.py); the numbers are those of the docstrings."""

import json
from dataclasses import replace
from typing import Any

import pytest

from bastide.domain.break_glass import Envelope
from bastide.domain.errors import (
    Conflict,
    InvalidInput,
    MfaRefused,
    NotAuthorized,
    NotFound,
    TargetUnavailable,
    TooManyTries,
)
from bastide.domain.help_desk import LIFE, MOST, TRIES, Member, Method, Stage, Standing, why_above
from bastide.domain.ids import Sid
from bastide.domain.passwords import Code
from bastide.domain.people import Actor, Forest
from bastide.services.help_desk.desk import Given, SetOrder
from bastide.services.help_desk.pace import Act
from bastide.services.help_desk.rules import Rules
from bastide.services.ports import AuditQuery
from bastide.services.reset.ports import Corpus
from bastide.services.reset.rules import NewPasswords
from tests.support.help_desk import POLICY, SPACES, HelpDeskWorld

pytest_plugins = ["tests.support.help_desk"]
NEW = "Canary-7d-New-Horse-1"


@pytest.fixture
def world(help_desk_world: HelpDeskWorld) -> HelpDeskWorld:
    return help_desk_world


def proved(world: HelpDeskWorld, name: str = "alice", operator: Actor | None = None) -> str:
    """A verification of a caller, by a code that was sent."""
    who = operator or world.operator()
    world.set_mail(name, f"{name}@corp.bastide.test")
    made = world.desk.verify.begin(who, _mv(world, name), Method.SENT)
    world.desk.verify.prove(who, made.id, sent(world))
    return made.id


def sent(world: HelpDeskWorld) -> str:
    """The code in the newest message."""
    body = world.notifier.taken[-1][1].body
    return next(line.strip() for line in body.splitlines() if line.startswith("    "))


def _mv(world: HelpDeskWorld, name: str) -> Any:
    return world.person(name)


def set_it(world: HelpDeskWorld, name: str = "alice", operator: Actor | None = None, **more: Any) -> Given:
    fields: dict[str, Any] = {"accounts": world.accounts(name=name), "password": NEW}
    return world.desk.set(operator or world.operator(), world.person(name), SetOrder(**{**fields, **more}))


# ------------------------------------------------------------------------------------------------------------- who reaches whom


def test_2_a_pam_user_is_out_of_reach(world: HelpDeskWorld) -> None:
    world.prepare("alice")
    with pytest.raises(NotAuthorized, match="a PAM user"):
        world.desk.unlock(world.operator(), world.person("alice"), world.accounts())
    assert "PAM user" in world.desk.show(world.operator(), world.person("alice")).out_of_reach


def test_2_an_emergency_account_is_out_of_reach(world: HelpDeskWorld) -> None:
    made = Envelope(
        number=1,
        account=Sid(world.sid_of("alice")),
        name="alice",
        domain=world.corp.dns_name,
        sealed_at=world.clock.now(),
        sealed_by="S-1-5-21-1-2-3-500",
        sealer="Administrator",
        threshold=2,
        custodians=("Ann", "Ben", "Cy"),
        verifier="a hash",
        baseline={},
        seen={},
    )
    with world.store.write() as uow:
        uow.envelopes.add(made)
        uow.commit()
    with pytest.raises(NotAuthorized, match="emergency"):
        set_it(world)


def test_2_accounts_that_bastide_signs_in_with_are_out_of_reach(world: HelpDeskWorld) -> None:
    svc = world.corp.add_person("svc-bastide")
    world.add_accounts("svc-bastide", sid=str(svc.ref.sid))
    with pytest.raises(NotAuthorized, match="Bastide itself uses"):
        set_it(world, "svc-bastide")


def test_3_who_is_in_a_privileged_group_through_another_one_is_out_of_reach(world: HelpDeskWorld) -> None:
    inner = world.corp.add_group("Server team", members=[Sid(world.sid_of("alice"))])
    outer = world.corp.add_group("Domain Admins", members=[inner.ref.sid])
    group = Sid(f"{outer.ref.sid.domain}-512")
    found = world.corp.token_groups(Sid(world.sid_of("alice")))
    assert outer.ref.sid in found
    standing = Standing(
        sids=frozenset({Sid(world.sid_of("alice"))}),
        members=(Member(Sid(world.sid_of("alice")), frozenset(found) | {group}),),
    )
    assert "privileged" in why_above((), standing, ())


def test_3_and_4_what_the_directory_says_now_counts(world: HelpDeskWorld) -> None:
    set_it(world, verification=proved(world))
    inner = world.corp.add_group("Assistants", members=[Sid(world.sid_of("alice"))])
    world.services.forests[Forest.CORP].add_members(world.desks["Board"].ref, [inner.ref.sid])
    with pytest.raises(NotAuthorized, match="settings protect"):
        set_it(world, verification="")
    with pytest.raises(NotAuthorized, match="settings protect"):
        world.desk.verify.begin(world.operator(), _mv(world, "alice"), Method.SENT)


def test_4_other_operators_and_those_whom_a_role_reaches_are_out_of_reach(world: HelpDeskWorld) -> None:
    world.add_accounts("otto")
    with pytest.raises(NotAuthorized, match="gives rights here"):
        set_it(world, "otto")
    world.services.forests[Forest.CORP].add_members(world.share.ref, [Sid(world.sid_of("bob"))])
    world.desk.show(world.operator(), world.person("bob"))
    assert not world.desk.show(world.operator(), world.person("bob")).out_of_reach
    world.prepare_group()  # from now on a PAM group carries the rights of that group
    assert world.desk.show(world.operator(), world.person("bob")).out_of_reach


def test_1_nobody_helps_oneself(world: HelpDeskWorld) -> None:
    world.add_accounts("hanna")
    with pytest.raises(NotAuthorized, match="yourself"):
        set_it(world, "hanna")


def test_5_of_whom_no_directory_knows_anything_is_out_of_reach(world: HelpDeskWorld) -> None:
    world.add_accounts("ghost", sid="S-1-5-21-9-9-9-4711")
    world.add_accounts("contractor", sid="S-1-5-21-9-9-9-4712", spaces=("crm",))
    with pytest.raises(NotAuthorized, match="nobody could say"):
        set_it(world, "ghost")
    with pytest.raises(NotAuthorized, match="no account in a domain"):
        set_it(world, "contractor", accounts=world.accounts("crm", name="contractor"))


def test_a_protected_group_that_is_not_there_stops_everything() -> None:
    world = HelpDeskWorld(guarded=("CORP\\Nobody knows",))
    try:
        with pytest.raises(Conflict, match="reaches nobody"):
            set_it(world)
    finally:
        world.close()


# ------------------------------------------------------------------------------------------------------------- verification


def test_6_a_code_is_for_one_person_and_one_operator(world: HelpDeskWorld) -> None:
    verification = proved(world)
    with pytest.raises(MfaRefused, match="another operator"):
        set_it(world, operator=world.operator("otto"), verification=verification)
    with pytest.raises(MfaRefused, match="another person"):
        set_it(world, "bob", verification=verification)
    set_it(world, verification=verification)


def test_7_it_is_dead_after_a_while_and_after_wrong_codes(world: HelpDeskWorld) -> None:
    late = proved(world)
    world.clock.move(seconds=LIFE.total_seconds())
    with pytest.raises(MfaRefused, match="no more"):
        set_it(world, verification=late)
    hanna = world.operator()
    made = world.desk.verify.begin(hanna, _mv(world, "alice"), Method.SENT)
    for _ in range(TRIES):
        with pytest.raises(MfaRefused, match="wrong"):
            world.desk.verify.prove(hanna, made.id, "AAAA-AAAA")
    with pytest.raises(MfaRefused, match="over"):
        world.desk.verify.prove(hanna, made.id, sent(world))


def test_8_it_is_good_once(world: HelpDeskWorld) -> None:
    verification = proved(world)
    first = set_it(world, verification=verification)
    with pytest.raises(MfaRefused, match="not verified, or no more"):
        set_it(world, verification=verification)
    with world.store.read() as uow:
        kept = uow.verifications.get(verification)
    assert (kept.stage, kept.operation, kept.code_hash) == (Stage.USED, first.operation, "")


def test_8_what_is_refused_does_not_use_it_up(world: HelpDeskWorld) -> None:
    verification = proved(world)
    with pytest.raises(InvalidInput):
        set_it(world, verification=verification, password="x" * 300)
    set_it(world, verification=verification)


def test_a_code_of_the_authenticator_is_read_out(world: HelpDeskWorld) -> None:
    hanna = world.operator()
    with pytest.raises(Conflict, match="no authenticator"):
        world.desk.verify.begin(hanna, _mv(world, "alice"), Method.TOTP)
    code = world.code("alice")
    made = world.desk.verify.begin(hanna, _mv(world, "alice"), Method.TOTP)
    with pytest.raises(MfaRefused):
        world.desk.verify.prove(hanna, made.id, f"{(int(code) + 1) % 1_000_000:06}")
    done = world.desk.verify.prove(hanna, made.id, code)
    assert (done.stage, done.factor) == (Stage.PROVED, "factor-alice")
    again = world.desk.verify.begin(hanna, _mv(world, "alice"), Method.TOTP)
    with pytest.raises(MfaRefused):  # a code works once
        world.desk.verify.prove(hanna, again.id, code)


def test_a_recovery_code_is_for_nobodys_ears(world: HelpDeskWorld) -> None:
    world.give_authenticator("alice")
    recovery = "abcde-fghjk-mnpqr-s"
    with world.store.write() as uow:
        (factor,) = uow.factors.of(Sid(world.sid_of("alice")))
        uow.factors.save(replace(factor, recovery_hashes=(world.adapters.hasher.hash(recovery),)))
        uow.commit()
    hanna = world.operator()
    made = world.desk.verify.begin(hanna, _mv(world, "alice"), Method.TOTP)
    with pytest.raises(MfaRefused):
        world.desk.verify.prove(hanna, made.id, recovery)


def test_a_code_goes_to_the_address_of_the_directory_alone_and_few_do(world: HelpDeskWorld) -> None:
    hanna = world.operator()
    with pytest.raises(Conflict, match="no mail address"):
        world.desk.verify.begin(hanna, _mv(world, "alice"), Method.SENT)
    world.set_mail("alice", "alice@corp.bastide.test")
    for _ in range(MOST):
        world.desk.verify.begin(hanna, _mv(world, "alice"), Method.SENT)
    with pytest.raises(TooManyTries):
        world.desk.verify.begin(world.operator("otto"), _mv(world, "alice"), Method.SENT)
    assert {message.to for _, message in world.notifier.taken} == {"alice@corp.bastide.test"}
    assert len(world.notifier.taken) == MOST
    assert "CORP\\hanna" in world.notifier.taken[0][1].body
    world.clock.move(hours=1, seconds=1)
    world.desk.verify.begin(hanna, _mv(world, "alice"), Method.SENT)


def test_a_code_that_could_not_be_sent_proves_nothing(world: HelpDeskWorld) -> None:
    world.set_mail("alice", "alice@corp.bastide.test")
    world.notifier.down["mail"] = "it is down"
    with pytest.raises(TargetUnavailable, match="it is down"):
        world.desk.verify.begin(world.operator(), _mv(world, "alice"), Method.SENT)
    assert world.kinds() == ["help-desk.verification-begun", "help-desk.verification-unsent"]


def test_a_verification_says_nothing_of_its_code(world: HelpDeskWorld) -> None:
    verification = proved(world)
    with world.store.read() as uow:
        assert repr(uow.verifications.get(verification)) == f"Verification({verification}, proved)"
    assert sent(world) not in world.whole_audit()


# -------------------------------------------------------------------------------------------------------------------- writing


def test_1_each_right_opens_its_own(world: HelpDeskWorld) -> None:
    wanda, nobody = world.operator("wanda"), world.sign_in("mallory", Forest.CORP, mfa=True)
    assert world.desk.find(wanda, "alice")
    assert world.desk.show(wanda, world.person("alice")).seats
    for actor in (wanda, nobody):
        with pytest.raises(NotAuthorized):
            set_it(world, operator=actor)
        with pytest.raises(NotAuthorized):
            world.desk.unlock(actor, world.person("alice"), world.accounts())
        with pytest.raises(NotAuthorized):
            world.desk.change(actor, world.person("alice"), world.accounts(), "a", "b")
        with pytest.raises(NotAuthorized):
            world.desk.verify.begin(actor, _mv(world, "alice"), Method.SENT)
    for look in (world.desk.find, world.desk.show, world.desk.history):
        with pytest.raises(NotAuthorized):
            look(nobody, world.person("alice"))


def test_1_a_corp_ticket_without_a_second_factor_sets_nothing(world: HelpDeskWorld) -> None:
    with pytest.raises(MfaRefused):
        set_it(world, operator=world.sign_in("hanna", Forest.CORP))


def test_2_an_operator_is_slowed_down(world: HelpDeskWorld) -> None:
    hanna = world.operator()
    for _ in range(Act.WRITE.value[0]):
        world.desk.unlock(hanna, world.person("alice"), world.accounts("crm"))
    with pytest.raises(TooManyTries):
        world.desk.unlock(hanna, world.person("bob"), world.accounts("crm", name="bob"))
    world.desk.unlock(world.operator("otto"), world.person("bob"), world.accounts("crm", name="bob"))
    world.clock.move(minutes=10)
    world.desk.unlock(hanna, world.person("alice"), world.accounts("crm"))


def test_4_without_a_verified_caller_nothing_is_set(world: HelpDeskWorld) -> None:
    with pytest.raises(MfaRefused, match="not verified"):
        set_it(world, reason="she sounded nice")
    assert world.there("crm").password == "Old-Horse-1"


def test_4_only_where_the_settings_say_so_a_reason_does() -> None:
    world = HelpDeskWorld(unverified=True)
    try:
        with pytest.raises(InvalidInput, match="reason"):
            set_it(world)
        given = set_it(world, reason="badge seen at the counter")
        world.work()
        assert world.there("crm").password == NEW
        (said,) = _events(world, "help-desk.ordered")
        assert (said["verified"], said["what"]) == ("no", "set")
        assert world.desk.operation(world.operator(), given.operation).reason == "badge seen at the counter"
    finally:
        world.close()


@pytest.mark.parametrize(
    ("password", "why"),
    [
        ("Short-1", "shorter than 8"),
        ("only small letters", "kinds of characters"),
        ("Alice-in-Chains-1", "account's name"),
        ("Aa1-with-a-\x07-bell", "control characters"),
    ],
)
def test_5_what_the_domain_would_refuse_is_said_before_any_system_is_asked(
    world: HelpDeskWorld, password: str, why: str
) -> None:
    verification = proved(world)
    with pytest.raises(InvalidInput, match=why) as refused:
        set_it(world, verification=verification, password=password)
    with pytest.raises(InvalidInput, match=why):
        world.desk.change(
            world.operator(), world.person("alice"), world.accounts("corp"), "Old-Horse-1", password
        )
    world.work()
    assert password not in str(refused.value) + world.whole_audit()
    assert {world.there(space).password for space in SPACES} == {"Old-Horse-1"}
    assert world.kinds("password.") == []
    set_it(world, verification=verification)  # it is not used up


def test_5_the_policy_is_that_of_the_account_and_asked_for_accounts_in_a_domain_alone(
    world: HelpDeskWorld,
) -> None:
    world.policies.own[Sid(world.sid_of("alice"))] = replace(POLICY, length=30)
    with pytest.raises(InvalidInput, match="shorter than 30"):
        set_it(world, verification=proved(world))
    set_it(world, "bob", verification=proved(world, "bob"))
    set_it(world, verification=proved(world), accounts=world.accounts("crm"))
    made = set_it(world, verification=proved(world), password="")
    assert len(made.password) == 30
    world.policies.domain = None  # what the directory does not show, it decides alone
    world.policies.own.clear()
    set_it(world, verification=proved(world), password="simple")


def test_5_banned_words_and_lost_passwords_of_the_reset_count_here_too(world: HelpDeskWorld) -> None:
    class Lost:
        def times(self, password: str) -> int:
            return int(password == NEW)

        def corpus(self) -> Corpus:
            raise AssertionError("nobody asks how old it is")

    judge = NewPasswords(
        directory=world.services.forests[Forest.CORP],
        policies=world.policies,
        breached=Lost(),
        banned=("bastide",),
    )
    rules, alice = Rules([judge]), [Sid(world.sid_of("alice"))]
    with pytest.raises(InvalidInput, match="others lost"):
        rules.check(NEW, alice)
    with pytest.raises(InvalidInput, match="banned"):
        rules.check("My-B4st1de-77", alice)
    rules.check("Correct-Horse-77", alice)


def test_6_the_audit_has_who_for_whom_which_verified_how_and_what_came_of_it(world: HelpDeskWorld) -> None:
    verification = proved(world)
    given = set_it(world, verification=verification)
    world.work()
    with world.store.read() as uow:
        records = [one for one in uow.audit.read(AuditQuery(limit=0)) if one.request == given.operation]
    assert [one.kind for one in records] == [
        "password.ordered",
        "help-desk.ordered",
        *["password.delivered"] * 3,
    ]
    assert (records[1].actor_name, records[1].subject_name) == ("CORP\\hanna", "Alice")
    assert json.loads(records[1].data) | {"via": ""} == {
        "verification": verification,
        "verified": "sent",
        "what": "set",
        "via": "",
    }


def test_it_is_set_everywhere_and_shown_as_it_arrives(world: HelpDeskWorld) -> None:
    world.systems.systems["crm"].faults.down = True
    world.there("files").locked = True
    given = set_it(world, verification=proved(world))
    world.work()
    done = world.desk.operation(world.operator("wanda"), given.operation)
    assert {one.agent: one.code for one in done.outcomes} == {
        "corp": Code.SUCCESS,
        "crm": Code.UNAVAILABLE,
        "files": Code.SUCCESS,
    }
    assert not done.over
    assert (world.there("files").password, world.there("files").locked, world.there("files").must_change) == (
        NEW,
        False,
        True,
    )


def test_a_password_that_is_made_is_shown_once_and_kept_nowhere(world: HelpDeskWorld) -> None:
    given = set_it(world, verification=proved(world), password="")
    world.work()
    assert len(given.password) >= 16
    assert world.there("crm").password == given.password
    assert given.password not in repr(given) + world.whole_audit() + repr(world.numbered.written)
    assert NEW not in repr(SetOrder(accounts=(), password=NEW))
    assert set_it(world, verification=proved(world)).password == ""


def test_a_change_takes_the_old_password_and_no_code(world: HelpDeskWorld) -> None:
    hanna = world.operator()
    done = world.desk.change(hanna, world.person("alice"), world.accounts("crm"), "Old-Horse-1", NEW)
    assert (done.over, world.there("crm").password) == (True, NEW)
    wrong = world.desk.change(hanna, world.person("alice"), world.accounts("files"), "Wrong-Horse", NEW)
    assert [one.code for one in wrong.outcomes] == [Code.DENIED]
    assert {one.id for one in world.desk.history(hanna, world.person("alice"))} == {wrong.id, done.id}


# -------------------------------------------------------------------------------------------------------------------- looking


def test_a_search_finds_a_person_and_lists_nobody(world: HelpDeskWorld) -> None:
    wanda = world.operator("wanda")
    (found,) = world.desk.find(wanda, "alic")
    assert found.name == "Alice"
    assert [agent for agent, _ in found.accounts] == ["corp", "crm", "files"]
    for text in ("", " ", "a"):
        with pytest.raises(InvalidInput):
            world.desk.find(wanda, text)
    with pytest.raises(InvalidInput):
        world.desk.find(wanda, "alice", limit=1000)
    for _ in range(Act.LOOK.value[0]):
        try:
            world.desk.find(wanda, "alice")
        except TooManyTries:
            break
    else:
        raise AssertionError("nobody is slowed down")


def test_what_finds_nobody_is_not_written_down(world: HelpDeskWorld) -> None:
    assert not world.desk.find(world.operator(), NEW)
    assert NEW not in world.whole_audit()
    assert world.kinds() == ["help-desk.searched"]


def test_a_person_is_shown_with_how_the_accounts_stand(world: HelpDeskWorld) -> None:
    world.there("crm").locked = True
    world.systems.systems["files"].faults.down = True
    world.set_mail("alice", "alice@corp.bastide.test")
    shown = world.desk.show(world.operator(), world.person("alice"))
    looks = {seat.account.agent: seat.look.locked for seat in shown.seats}
    assert looks == {"corp": False, "crm": True, "files": None}
    assert shown.methods == (Method.SENT,)
    with pytest.raises(NotFound):
        world.desk.show(world.operator(), "00000000-0000-4000-8000-000000000000")


def test_a_verification_of_somebody_else_does_not_open(world: HelpDeskWorld) -> None:
    with pytest.raises(NotFound):
        set_it(world, verification="00000000-0000-4000-8000-000000000000")


def _events(world: HelpDeskWorld, kind: str) -> list[dict[str, Any]]:
    with world.store.read() as uow:
        return [json.loads(one.data) for one in uow.audit.read(AuditQuery(kind=kind, limit=0))]
