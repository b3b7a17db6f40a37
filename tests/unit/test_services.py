"""Preparing, protecting, proving, auditing: the use cases around a grant."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from threading import Barrier
from typing import Any

import pyotp
import pytest

from bastide.domain.errors import (
    AuditBroken,
    CapabilityMissing,
    Conflict,
    DirectoryDenied,
    InvalidInput,
    MfaRefused,
    NotAuthenticated,
    NotAuthorized,
    NotFound,
    ObjectExists,
)
from bastide.domain.people import Actor, Forest, Right
from bastide.domain.requests import Decision, State
from bastide.domain.roles import Carrier, Scope
from bastide.services.audit import Wanted
from bastide.services.ports import AuditQuery
from bastide.services.roles import StageDraft
from bastide.store import migrations
from tests.support.world import World


@pytest.fixture
def world() -> Iterator[World]:
    made = World()
    yield made
    made.close()


# ------------------------------------------------------------------------------------------------------------------ prepare


def test_a_prepared_account_is_dormant_protected_and_capped(world: World) -> None:
    (alice,) = world.prepare("alice")
    assert alice.priv.name == "priv.alice"
    assert not world.priv.can_buy_ticket(alice.priv.sid, world.clock.now())
    assert alice.ticket_cap == timedelta(minutes=15)
    assert world.priv.ticket_cap(alice.priv.sid) == timedelta(minutes=15)


def test_preparing_twice_a_stranger_or_a_taken_name_changes_nothing(world: World) -> None:
    world.prepare("alice")
    before = world.priv.writes
    with pytest.raises(Conflict, match="already"):
        world.prepare("alice")
    with pytest.raises(NotFound):
        world.prepare("nobody")
    with pytest.raises(InvalidInput, match="at most"):
        world.services.accounts.add_user(world.dave, "bob", priv_name="x" * 21)
    assert world.priv.writes == before
    world.priv.add_person("priv.bob")
    with pytest.raises(ObjectExists):
        world.prepare("bob")
    assert len(world.services.accounts.users(world.dave)) == 1


def test_a_dry_run_writes_nothing(world: World) -> None:
    before = (world.priv.writes, world.events())
    shown = world.services.accounts.add_user(world.dave, "alice", dry_run=True)
    group = world.services.accounts.add_group(
        world.dave, "FileAdmins", Carrier.FOREIGN_PRINCIPAL, dry_run=True
    )
    assert (shown.name, group.name) == ("priv.alice", "PAM-FileAdmins")
    assert (world.priv.writes, world.events()) == before
    assert world.services.accounts.users(world.dave) == ()


def test_what_was_made_is_taken_back_when_a_later_step_fails(world: World) -> None:
    def fail_late(_number: int, what: str) -> None:
        if what.split()[1] == "change":
            raise DirectoryDenied("insufficient access rights")

    world.priv.before_write = fail_late
    with pytest.raises(DirectoryDenied):
        world.prepare("alice")
    with pytest.raises(NotFound):
        world.services.forests[Forest.PRIV].find_person("priv.alice")


def test_an_existing_account_is_adopted_made_dormant_and_never_deleted(world: World) -> None:
    world.priv.add_person("old.alice", protected=True)
    alice = world.services.accounts.add_user(world.dave, "alice", priv_name="old.alice", adopt=True)
    assert not world.priv.can_buy_ticket(alice.priv.sid, world.clock.now())
    with pytest.raises(Conflict, match="only what it made"):
        world.services.accounts.remove_user(world.dave, alice.name, delete=True)
    world.services.accounts.remove_user(world.dave, alice.name)
    assert world.services.forests[Forest.PRIV].find_person("old.alice")


def test_a_user_that_a_role_names_is_not_removed(world: World) -> None:
    role = world.ready()
    with pytest.raises(Conflict, match=role.name):
        world.services.accounts.remove_user(world.dave, "priv.alice")
    with pytest.raises(Conflict, match=role.name):
        world.services.accounts.remove_group(world.dave, "PAM-FileAdmins")
    world.services.roles.remove(world.dave, role.name)
    world.services.accounts.remove_group(world.dave, "PAM-FileAdmins", delete=True)
    world.services.accounts.remove_user(world.dave, "priv.alice", delete=True)
    with pytest.raises(NotFound):
        world.services.forests[Forest.PRIV].find_person("priv.alice")


def test_a_group_that_cannot_be_carried_is_refused_with_what_to_use(world: World) -> None:
    world.corp.add_group("GlobalOps", scope=Scope.GLOBAL)
    with pytest.raises(Conflict) as refusal:
        world.prepare_group("GlobalOps")
    assert "domain-local" in refusal.value.remedy
    with pytest.raises(CapabilityMissing):
        world.services.accounts.add_group(world.dave, "GlobalOps", Carrier.SHADOW_PRINCIPAL)


# ------------------------------------------------------------------------------------------------------------------ protect


def test_a_role_needs_approvers_who_can_be_reached(world: World) -> None:
    world.prepare("alice")
    world.prepare_group()
    with pytest.raises(NotFound):
        world.add_role(stages=(StageDraft("owners", ("PRIV\\nobody",)),))
    with pytest.raises(InvalidInput, match="forest"):
        world.add_role(stages=(StageDraft("owners", ("grace",)),))
    with pytest.raises(InvalidInput, match="only 1 enabled"):
        world.add_role(stages=(StageDraft("network", ("PRIV\\Team Network",), 2),))
    with pytest.raises(InvalidInput, match="only candidate"):
        world.add_role(stages=(StageDraft("self", ("CORP\\alice",)),))
    assert world.services.roles.all(world.dave) == ()


def test_role_names_are_unique_and_edits_show_what_changed(world: World) -> None:
    role = world.ready()
    with pytest.raises(Conflict, match="already"):
        world.add_role(role.name.upper())
    assert world.services.roles.show(world.frank, role.name.upper()).id == role.id
    with pytest.raises(NotAuthorized):
        world.services.roles.remove(world.frank, role.name)


def test_owners_and_candidates_cannot_change_a_role(world: World) -> None:  # F2
    role = world.ready(stages=(StageDraft("owners", ("PRIV\\grace",)),))
    for actor in (world.sign_in("grace", mfa=True), world.alice(), world.frank):
        with pytest.raises(NotAuthorized):
            world.services.roles.remove(actor, role.name)


# ------------------------------------------------------------------------------------------------------------------ operate


def test_two_teams_must_agree(world: World) -> None:
    role = world.ready(
        stages=(StageDraft("owners", ("PRIV\\grace",)), StageDraft("network", ("PRIV\\Team Network",)))
    )
    request = world.ask(role.name)
    assert world.approve(request).state is State.PENDING_APPROVAL
    assert world.services.requests.to_approve(world.sign_in("heidi")) == ()
    assert [r.id for r in world.services.requests.to_approve(world.sign_in("ivan"))] == [request.id]
    assert world.approve(request, "ivan").state is State.PROCESSING


def test_one_persons_requests_do_not_exist_for_another(world: World) -> None:
    role = world.ready()
    world.prepare("bob")
    request = world.ask(role.name)
    bob = world.sign_in("bob", Forest.CORP, mfa=True)
    with pytest.raises(NotFound):
        world.services.requests.show(bob, request.id)
    with pytest.raises(NotFound):
        world.services.requests.close(bob, request.id)
    assert world.services.requests.mine(bob) == ()
    assert world.services.requests.show(world.frank, request.id) == world.get(request)


def test_a_corp_sign_in_alone_activates_nothing(world: World) -> None:
    role = world.ready()
    request = world.ask(role.name, world.sign_in("alice", Forest.CORP))
    assert request.state is State.PENDING_MFA
    world.work()
    assert not world.opens_share(world.services.accounts.users(world.dave)[0])
    with pytest.raises(MfaRefused):
        world.services.requests.prove(world.sign_in("alice", Forest.CORP), request.id)
    assert world.services.requests.prove(world.alice(), request.id).state is State.PROCESSING


def test_corp_groups_never_give_the_right_to_administer(world: World) -> None:
    world.corp.add_group(
        "Administrators", members=[world.services.forests[Forest.CORP].find_person("mallory").ref.sid]
    )
    mallory = world.sign_in("mallory", Forest.CORP, mfa=True)
    assert mallory.rights == {Right.USE}
    with pytest.raises(NotAuthorized):
        world.services.requests.kill(mallory, "mine now", everything=True)


def test_a_rejection_says_why(world: World) -> None:
    role = world.ready(stages=(StageDraft("owners", ("PRIV\\grace",)),))
    request = world.ask(role.name)
    with pytest.raises(InvalidInput):
        world.services.requests.decide(world.sign_in("grace", mfa=True), request.id, Decision.REJECT)
    rejected = world.services.requests.decide(
        world.sign_in("grace", mfa=True), request.id, Decision.REJECT, "not tonight"
    )
    assert rejected.state is State.REJECTED
    assert world.events().count("request.rejected") == 1


# --------------------------------------------------------------------------------------------------------------------- MFA


def _enrol(world: World) -> tuple[pyotp.TOTP, tuple[str, ...]]:
    world.prepare("alice")
    code = world.services.factors.invite(world.dave, "priv.alice")
    enrolment = world.services.factors.enrol(world.sign_in("alice", Forest.CORP), code)
    otp = pyotp.parse_uri(enrolment.uri)
    assert isinstance(otp, pyotp.TOTP)
    assert otp.secret not in repr(enrolment)
    world.services.factors.confirm(world.sign_in("alice", Forest.CORP), otp.at(world.clock.now()))
    world.clock.move(seconds=30)
    return otp, enrolment.recovery_codes


def test_a_corp_sign_in_enrols_only_with_an_invitation_and_only_once(world: World) -> None:
    world.prepare("alice")
    alice = world.sign_in("alice", Forest.CORP)
    with pytest.raises(NotAuthorized):
        world.services.factors.enrol(alice)
    code = world.services.factors.invite(world.dave, "priv.alice")
    with pytest.raises(NotAuthorized):
        world.services.factors.enrol(alice, "guess")
    with pytest.raises(NotAuthorized):
        world.services.factors.enrol(alice, code)  # trying used it up
    late = world.services.factors.invite(world.dave, "priv.alice")
    world.clock.move(hours=25)
    with pytest.raises(NotAuthorized):
        world.services.factors.enrol(alice, late)


def test_a_code_works_once(world: World) -> None:
    otp, _ = _enrol(world)
    alice = world.sign_in("alice", Forest.CORP)
    code = otp.at(world.clock.now())
    assert world.services.factors.prove(alice, code).method == "totp"
    with pytest.raises(MfaRefused):
        world.services.factors.prove(alice, code)


def test_five_wrong_codes_lock_for_a_quarter_of_an_hour(world: World) -> None:
    otp, _ = _enrol(world)
    alice = world.sign_in("alice", Forest.CORP)
    for _ in range(5):
        with pytest.raises(MfaRefused, match="wrong"):
            world.services.factors.prove(alice, "000000")
    with pytest.raises(MfaRefused, match="locked"):
        world.services.factors.prove(alice, otp.at(world.clock.now()))
    world.clock.move(minutes=15)
    assert world.services.factors.prove(alice, otp.at(world.clock.now()))
    assert world.events().count("mfa.refused") == 6


def test_a_recovery_code_works_once(world: World) -> None:
    _, codes = _enrol(world)
    alice = world.sign_in("alice", Forest.CORP)
    assert world.services.factors.prove(alice, codes[3]).method == "recovery"
    with pytest.raises(MfaRefused):
        world.services.factors.prove(alice, codes[3])
    assert world.services.factors.prove(alice, codes[4])


def test_a_lost_factor_is_reset_by_an_administrator(world: World) -> None:
    _enrol(world)
    with pytest.raises(NotAuthorized):
        world.services.factors.reset(world.frank, "priv.alice")
    assert world.services.factors.reset(world.dave, "priv.alice") == 1
    with pytest.raises(MfaRefused, match="set up"):
        world.services.factors.prove(world.sign_in("alice", Forest.CORP), "123456")


# ------------------------------------------------------------------------------------------------------------------ sign in


def test_every_failed_sign_in_gets_the_same_answer(world: World) -> None:
    world.prepare("alice")
    said = set()
    for account, password in (
        ("CORP\\alice", "wrong"),
        ("CORP\\nobody", "wrong"),
        ("PRIV\\priv.alice", "wrong"),
        ("alice", "x"),
        ("MARS\\alice", "x"),
        ("CORP\\alice", ""),
    ):
        with pytest.raises(NotAuthenticated) as refusal:
            world.services.authn.password(account, password)
        said.add((refusal.value.message, refusal.value.remedy))
    assert len(said) == 1
    assert world.events().count("session.refused") == 6
    assert world.services.authn.password("CORP\\alice", "alice-corp-pw").via == "password"


def test_a_session_ends_and_reads_rights_anew(world: World) -> None:
    token = world.services.authn.open_session(world.dave)
    assert Right.ADMINISTER in world.services.authn.session(token).rights
    world.services.forests[Forest.PRIV].remove_members(world.teams["Administrators"].ref, [world.dave.sid])
    assert Right.ADMINISTER not in world.services.authn.session(token).rights
    world.clock.move(minutes=16)
    with pytest.raises(NotAuthenticated):
        world.services.authn.session(token)


def test_a_ticket_whose_name_and_pac_differ_is_refused(world: World) -> None:
    class Lying:
        def accept(self, token: bytes) -> object:
            genuine = world.adapters.acceptor
            assert genuine is not None
            return replace(genuine.accept(token), rid=500)

    world.services.authn._acceptor = Lying()  # type: ignore[assignment]
    with pytest.raises(NotAuthenticated):
        world.sign_in("dave")


def test_a_password_of_another_account_of_that_name_is_refused(world: World) -> None:
    """What the KDC takes for `dave` need not be what the directory finds under that name."""

    class Other:
        def check(self, name: str, password: str) -> int:
            assert (name, password) == ("dave", "dave-priv-pw")
            return 500

    realm = world.services.authn._realms[Forest.PRIV]
    world.services.authn._realms = {Forest.PRIV: replace(realm, passwords=Other())}
    with pytest.raises(NotAuthenticated) as refused:
        world.services.authn.password("PRIV\\dave", "dave-priv-pw")
    assert refused.value.message == "the sign-in was not accepted"
    with world.store.read() as uow:
        (record,) = uow.audit.read(AuditQuery(kind="session.refused", limit=0))
    assert (record.actor_name, "another account" in record.data) == ("PRIV\\dave", True)


# -------------------------------------------------------------------------------------------------------------------- audit


def test_who_had_what_when(world: World) -> None:
    role = world.ready()
    world.ask(role.name)
    world.work()
    began = world.clock.now()
    world.clock.move(hours=1)
    world.work()

    def held(actor: Actor = world.frank, **wanted: Any) -> list[tuple[str, str]]:
        return [(h.person, h.group) for h in world.services.audit.who_had(actor, Wanted(**wanted))]

    assert held(person="priv.alice", group="PAM-FileAdmins") == [("priv.alice", "PAM-FileAdmins")]
    assert held(world.dave, role=role.name) == [("priv.alice", "PAM-FileAdmins")]
    assert held(until=began - timedelta(hours=1)) == []
    assert held(since=world.clock.now() + timedelta(hours=1)) == []
    with pytest.raises(NotAuthorized):
        world.services.audit.who_had(world.alice(), Wanted())


def test_a_cut_off_tail_is_found_by_the_checkpoint(world: World) -> None:
    world.ready()
    assert world.services.audit.checkpoint() is not None
    assert world.services.audit.checkpoint() is None
    verdict = world.services.audit.verify_chain()
    assert verdict.signed == verdict.seq
    with world.store.engine.begin() as connection:
        for row in connection.exec_driver_sql("SELECT name FROM sqlite_master WHERE type = 'trigger'").all():
            connection.exec_driver_sql(f'DROP TRIGGER "{row[0]}"')
        connection.exec_driver_sql("DELETE FROM audit WHERE seq = (SELECT max(seq) FROM audit)")
    with pytest.raises(AuditBroken, match="checkpoint"):
        world.services.audit.verify(world.frank)


def test_records_of_one_request_tell_its_story(world: World) -> None:
    role = world.ready()
    request = world.ask(role.name)
    world.work()
    kinds = [record.kind for record in world.services.audit.read(world.frank, AuditQuery(request=request.id))]
    assert kinds == ["request.submitted", "request.active"]


def test_a_ticket_made_with_the_key_of_the_other_forest_is_refused(world: World) -> None:
    """CORP's domain controllers know the CORP name's key; a ticket they write for adm.dave@PRIV is worth nothing."""

    class Forged:
        def accept(self, token: bytes) -> object:
            genuine = world.adapters.acceptor
            assert genuine is not None
            return replace(genuine.accept(token), key_realm=world.corp.dns_name.upper())

    world.services.authn._acceptor = Forged()  # type: ignore[assignment]
    with pytest.raises(NotAuthenticated):
        world.sign_in("dave")


@pytest.mark.parametrize(("needed", "refused"), [(1, 1), (2, 0)])
def test_two_approvals_at_once(tmp_path: Path, needed: int, refused: int) -> None:
    migrations.upgrade(f"sqlite:///{tmp_path}/bastide.db")
    world = World(url=f"sqlite:///{tmp_path}/bastide.db")
    try:
        role = world.ready(stages=(StageDraft("owners", ("PRIV\\grace", "PRIV\\heidi"), needed),))
        request = world.ask(role.name)
        voters = [world.sign_in(name, mfa=True) for name in ("grace", "heidi")]
        together = Barrier(2)

        def vote(voter: Actor) -> str:
            together.wait()
            try:
                return world.services.requests.decide(voter, request.id, Decision.APPROVE).state.value
            except Conflict:
                return "refused"

        with ThreadPoolExecutor(2) as threads:
            said = list(threads.map(vote, voters))
        assert said.count("refused") == refused
        after = world.get(request)
        assert after.state is State.PROCESSING
        assert len(after.votes) == needed
        world.services.audit.verify(world.frank)
    finally:
        world.close()


def test_a_ticket_cap_that_was_raised_behind_our_back_moves_the_true_end(world: World) -> None:
    role = world.ready()
    world.priv.policies = {dn: timedelta(hours=8) for dn in world.priv.policies}
    world.clock.move(minutes=2)
    request = world.ask(role.name)
    world.work()
    active = world.get(request)
    assert active.ends_at is not None
    assert active.true_end == active.ends_at + timedelta(hours=8)
    assert "pam-user.ticket-cap" in world.events()
