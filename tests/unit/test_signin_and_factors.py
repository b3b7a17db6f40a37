"""What a sign-in is worth, how factors are registered and locked, and what happens when preparing or removing goes wrong half way."""

import json
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta

import pyotp
import pytest

from bastide.authn import UNKNOWN_ACCOUNT, unearned
from bastide.directory.memory import MemoryDirectory, MemoryPreparer
from bastide.domain.errors import (
    Conflict,
    DirectoryDenied,
    InvalidInput,
    MfaRefused,
    NotAuthenticated,
    NotAuthorized,
    NotFound,
    StoreUnavailable,
)
from bastide.domain.ids import ObjectRef, Sid
from bastide.domain.people import KERBEROS, PASSWORD, Actor, Forest, Right, require
from bastide.domain.roles import Carrier, Scope
from bastide.services.factors import LOCK, LONGEST_LOCK, Enrolment, lock_after
from bastide.services.ports import AuditQuery, UnitOfWork
from bastide.services.roles import StageDraft
from bastide.store.unit_of_work import SqlUnitOfWork
from tests.support.api import ApiWorld
from tests.support.world import QuickHasher, World

pytest_plugins = ["tests.support.api"]
ALL = frozenset(Right)


@pytest.fixture
def world() -> Iterator[World]:
    made = World()
    yield made
    made.close()


def alice(world: World) -> Actor:
    return world.sign_in("alice", Forest.CORP)


def priv_sid(world: World) -> Sid:
    return world.services.accounts.user(world.dave, "priv.alice").priv.sid


def invite(world: World) -> str:
    if not world.services.accounts.users(world.dave):
        world.prepare("alice")
    return world.services.factors.invite(world.dave, "priv.alice")


def set_up(world: World) -> tuple[pyotp.TOTP, Enrolment]:
    enrolment = world.services.factors.enrol(alice(world), invite(world))
    otp = pyotp.parse_uri(enrolment.uri)
    assert isinstance(otp, pyotp.TOTP)
    world.services.factors.confirm(alice(world), otp.at(world.clock.now()))
    world.clock.move(seconds=30)
    return otp, enrolment


def expire(world: World, name: str) -> None:
    person = world.services.forests[Forest.PRIV].find_person(name)
    world.services.forests[Forest.PRIV].set_ends({person.ref.sid: world.clock.now() - timedelta(hours=1)})


# --------------------------------------------------------------------------------------------- what a password is worth


@pytest.mark.parametrize(
    ("via", "rights", "wanted"),
    [
        (KERBEROS, ALL, frozenset()),
        (PASSWORD, ALL, ALL - {Right.USE}),
        (PASSWORD, {Right.USE}, frozenset()),
        ("", ALL, ALL - {Right.USE}),
    ],
)
def test_what_a_sign_in_has_not_earned(via: str, rights: frozenset[Right], wanted: frozenset[Right]) -> None:
    assert unearned(rights, via, Forest.PRIV) == wanted


def test_a_corp_ticket_alone_sets_nobodys_password() -> None:
    assert unearned(ALL, KERBEROS, Forest.CORP) == {Right.SET}
    assert unearned({Right.USE, Right.BROWSE}, KERBEROS, Forest.CORP) == frozenset()


def test_a_password_alone_gives_the_right_to_use(world: World) -> None:
    dave = world.services.authn.password("PRIV\\dave", "dave-priv-pw")
    assert dave.rights == {Right.USE}
    assert dave.proved(None) == dave
    with pytest.raises(MfaRefused):
        require(dave, Right.ADMINISTER)
    with pytest.raises(NotAuthorized):
        require(dave, Right.AUDIT)
    frank = world.services.authn.password("PRIV\\frank", "frank-priv-pw")
    with pytest.raises(MfaRefused):
        require(frank, Right.AUDIT)
    assert Right.ADMINISTER in world.dave.rights


def test_a_session_by_password_administers_with_a_code_only(api: ApiWorld) -> None:
    body = {"account": "PRIV\\dave", "password": "dave-priv-pw"}
    opened = api.anonymous().post("/sessions", body).json()
    assert opened["actor"]["rights"] == ["use"]
    headers = {"Authorization": f"Bearer {opened['token']}"}
    call = api.anonymous().call
    for path in ("/work", "/roles", "/pam-users"):
        refused = call("GET", path, headers=headers)
        assert (refused.status_code, refused.json()["code"]) == (403, "mfa-refused"), path
    code = api.code("dave")
    refused = call("GET", "/audit", headers={**headers, "Bastide-Code": code})
    assert (refused.status_code, refused.json()["code"]) == (403, "not-authorized")
    assert call("GET", "/work", headers={**headers, "Bastide-Code": code}).status_code == 200, "not used up"
    assert call("GET", "/roles", headers=headers).status_code == 200, "the session holds the proof"
    again = api.anonymous().post("/sessions", {**body, "code": api.code("dave")})
    assert "administer" in again.json()["actor"]["rights"]


def test_an_approver_with_a_password_needs_a_code(api: ApiWorld) -> None:
    opened = api.anonymous().post("/sessions", {"account": "PRIV\\grace", "password": "grace-priv-pw"})
    headers = {"Authorization": f"Bearer {opened.json()['token']}"}
    call = api.anonymous().call
    assert call("GET", "/approvals", headers=headers).json()["code"] == "mfa-refused"
    with_code = {**headers, "Bastide-Code": api.code("grace")}
    assert call("GET", "/approvals", headers=with_code).status_code == 200


def test_a_session_without_its_factor_holds_no_proof(world: World) -> None:
    otp, _ = set_up(world)
    proof = world.services.factors.prove(alice(world), otp.at(world.clock.now()))
    token = world.services.authn.open_session(alice(world).proved(proof))
    assert world.services.authn.session(token).mfa == proof
    world.services.factors.reset(world.dave, "priv.alice")
    assert world.services.authn.session(token).mfa is None
    world.services.authn.keep_proof("over", proof)


def test_a_factor_that_is_not_confirmed_is_no_proof(world: World) -> None:
    otp, enrolment = set_up(world)
    proof = world.services.factors.prove(alice(world), otp.at(world.clock.now()))
    token = world.services.authn.open_session(alice(world).proved(proof))
    person = priv_sid(world)
    with world.store.write() as uow:
        (factor,) = uow.factors.of(person)
        uow.factors.save(replace(factor, confirmed=False))
        uow.commit()
    assert factor.id == enrolment.factor
    assert world.services.authn.session(token).mfa is None


# ------------------------------------------------------------------------------------------------- who may sign in at all


def test_an_expired_account_neither_signs_in_nor_keeps_a_session(world: World) -> None:
    token = world.services.authn.open_session(world.dave)
    expire(world, "dave")
    with pytest.raises(NotAuthenticated):
        world.services.authn.session(token)
    with pytest.raises(NotAuthenticated):
        world.sign_in("dave")


def test_a_sleeping_priv_account_does_not_sign_in(world: World) -> None:
    world.ready()
    with pytest.raises(NotAuthenticated):
        world.sign_in("priv.alice")
    world.ask()
    world.work()
    assert world.sign_in("priv.alice").rights == {Right.USE}


def test_an_expired_approver_does_not_count(world: World) -> None:
    world.prepare("alice")
    world.prepare_group()
    expire(world, "grace")
    for named in ("PRIV\\grace", "PRIV\\Approvers"):
        expire(world, "heidi")
        expire(world, "ivan")
        with pytest.raises((Conflict, InvalidInput)):
            world.add_role(f"By {named[5:]}", stages=(StageDraft("owners", (named,)),))


@pytest.mark.parametrize(
    ("typed", "written"),
    [
        ("CORP\\alice", "CORP\\alice"),
        ("corp\\ALICE", "CORP\\alice"),
        ("my-Secret-1!", UNKNOWN_ACCOUNT),
        ("CORP\\my-Secret-1!", UNKNOWN_ACCOUNT),
        ("MARS\\my-Secret-1!", UNKNOWN_ACCOUNT),
        ("PRIV\\" + "x" * 300, UNKNOWN_ACCOUNT),
        ("CORP\\", UNKNOWN_ACCOUNT),
    ],
)
def test_what_was_typed_is_written_only_if_it_names_somebody(world: World, typed: str, written: str) -> None:
    with pytest.raises(NotAuthenticated):
        world.services.authn.password(typed, "wrong")
    with world.store.read() as uow:
        (record,) = uow.audit.read(AuditQuery(kind="session.refused", limit=0))
    assert record.actor_name == written
    assert "Secret" not in json.dumps(record.data)


# -------------------------------------------------------------------------------------------------- factors and invitations


def test_asking_without_a_code_leaves_the_invitation_alone(world: World) -> None:
    code = invite(world)
    before = world.events()
    with pytest.raises(NotAuthorized):
        world.services.factors.enrol(alice(world))
    assert world.events() == before
    assert world.services.factors.enrol(alice(world), code)


def test_a_wrong_invitation_is_recorded_and_uses_it_up(world: World) -> None:
    code = invite(world)
    for attempt in ("guess", code):
        with pytest.raises(NotAuthorized):
            world.services.factors.enrol(alice(world), attempt)
    assert world.events().count("mfa.invitation-refused") == 2


def test_each_lock_is_twice_as_long_until_a_good_code(world: World) -> None:
    otp, _ = set_up(world)
    for minutes in (15, 30, 60):
        for _ in range(5):
            with pytest.raises(MfaRefused, match="wrong"):
                world.services.factors.prove(alice(world), "000000")
        world.clock.move(minutes=minutes, seconds=-1)
        with pytest.raises(MfaRefused, match="locked"):
            world.services.factors.prove(alice(world), otp.at(world.clock.now()))
        world.clock.move(seconds=1)
    assert world.services.factors.prove(alice(world), otp.at(world.clock.now()))
    (factor,) = world.services.factors.status(alice(world))
    assert (factor.locks, factor.failures, factor.locked_until) == (0, 0, None)


def test_no_lock_is_longer_than_a_day() -> None:
    assert [lock_after(n) for n in range(3)] == [LOCK, LOCK * 2, LOCK * 4]
    assert lock_after(7) == lock_after(10_000) == LONGEST_LOCK


class OutsideOnly(QuickHasher):
    """Fails where somebody hashes inside a write transaction."""

    inside = 0

    def hash(self, code: str) -> str:
        assert not self.inside
        return super().hash(code)


def test_argon2_never_runs_inside_a_write(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    hasher = OutsideOnly()
    world.services.factors._hasher = world.services.factors._admission._hasher = hasher
    write = world.store.write

    class Watched:
        def __init__(self) -> None:
            self._uow = write()

        def __enter__(self) -> UnitOfWork:
            hasher.inside += 1
            return self._uow.__enter__()

        def __exit__(self, *error: object) -> None:
            hasher.inside -= 1
            self._uow.__exit__(*error)

    monkeypatch.setattr(world.store, "write", Watched)
    invite(world)
    with pytest.raises(NotAuthorized):
        world.services.factors.enrol(alice(world), "guess")
    _, enrolment = set_up(world)
    assert world.services.factors.prove(alice(world), enrolment.recovery_codes[0]).method == "recovery"
    with pytest.raises(MfaRefused):
        world.services.factors.prove(alice(world), enrolment.recovery_codes[0])


def test_a_recovery_code_that_another_call_used_up_meanwhile(world: World) -> None:
    _, enrolment = set_up(world)
    real, person = world.services.factors._hasher, priv_sid(world)

    class Late(QuickHasher):
        def matches(self, hashed: str, code: str) -> bool:
            with world.store.write() as uow:
                (factor,) = uow.factors.of(person)
                uow.factors.save(replace(factor, recovery_hashes=()))
                uow.commit()
            return real.matches(hashed, code)

    world.services.factors._hasher = Late()
    with pytest.raises(MfaRefused):
        world.services.factors.prove(alice(world), enrolment.recovery_codes[0])


# ------------------------------------------------------------------------------------------------- preparing and removing


def test_a_group_with_standing_members_is_not_adopted(world: World) -> None:
    off = world.priv.add_person("off", enabled=False)
    inner = world.priv.add_group("Inner")
    for name, member in (("WithOff", off.ref.sid), ("WithGroup", inner.ref.sid)):
        full = world.priv.add_group(name, scope=Scope.GLOBAL, members=[member])
        with pytest.raises(Conflict, match="standing members") as refused:
            world.prepare_group(priv_name=name, adopt=True)
        assert refused.value.remedy == "empty it first"
        world.services.forests[Forest.PRIV].remove_members(full.ref, [member])
    assert world.prepare_group(priv_name="WithOff", adopt=True).adopted


def one_forest(world: World) -> None:
    """As with [corp] left out, for the groups."""
    world.services.accounts._plan = replace(world.services.accounts._plan, single_forest=True)


def test_who_stands_in_a_group_of_the_one_forest_is_named_and_refused_later(api: ApiWorld) -> None:
    one_forest(api)
    off = api.priv.add_person("off", enabled=False)
    alice = priv_sid(api)
    api.priv.add_group("FileOps", members=[off.ref.sid, alice, api.dave.sid])
    body = {"corp": "FileOps", "carrier": "direct"}
    shown = api.caller("dave").post("/pam-groups", body, params={"dry_run": "true"}).json()
    made = api.caller("dave").post("/pam-groups", body)
    assert made.status_code == 201
    (finding,) = made.json()["findings"]
    assert shown["findings"] == [finding]
    assert (finding["key"], finding["severity"]) == ("pam-group.standing-members", "warning")
    assert finding["evidence"] == ", ".join(sorted(["dave", "priv.alice", off.ref.sid]))
    assert "take them out" in finding["remedy"]
    assert "findings" not in api.caller("dave").get("/pam-groups/FileOps").json()
    api.add_role("Ops", privileges=("FileOps",))
    with pytest.raises(Conflict, match="standing member of FileOps"):
        api.ask("Ops")


def test_an_empty_group_of_the_one_forest_warns_of_nothing_and_one_that_hides_its_members_does(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    one_forest(world)
    world.priv.add_group("Empty")
    group = world.services.accounts.add_group(world.dave, "Empty", Carrier.DIRECT)
    assert world.services.accounts.standing(world.dave, group) == ()
    with pytest.raises(NotAuthorized):
        world.services.accounts.standing(world.frank, group)

    def hidden(_self: MemoryDirectory, _group: ObjectRef) -> frozenset[Sid]:
        raise DirectoryDenied("member cannot be read")

    monkeypatch.setattr(MemoryDirectory, "members_of", hidden)
    (finding,) = world.services.accounts.standing(world.dave, group)
    assert finding.evidence == "member cannot be read"


def test_a_long_list_of_standing_members_is_cut(world: World) -> None:
    one_forest(world)
    everybody = [world.priv.add_person(f"p{number:02}").ref.sid for number in range(25)]
    world.priv.add_group("Many", members=everybody)
    group = world.services.accounts.add_group(world.dave, "Many", Carrier.DIRECT)
    (finding,) = world.services.accounts.standing(world.dave, group)
    assert "(25)" in finding.text
    assert finding.evidence.endswith("p19 and 5 more")


def kinds_of_password(world: World) -> list[str]:
    return [kind for kind in world.events() if kind.startswith("pam-user.password")]


def test_the_audit_knows_of_a_password_before_the_directory_does(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.prepare("alice")
    seen: list[list[str]] = []
    real = MemoryPreparer.set_password

    def watch(self: MemoryPreparer, account: ObjectRef, password: str) -> None:
        seen.append(kinds_of_password(world))
        real(self, account, password)

    monkeypatch.setattr(MemoryPreparer, "set_password", watch)
    world.services.accounts.set_password(world.dave, "priv.alice", "CANARY-Pw-1")
    assert seen == [["pam-user.password-asked"]]
    assert kinds_of_password(world) == ["pam-user.password-asked", "pam-user.password-set"]


def test_a_password_that_the_directory_refuses_is_recorded_as_failed(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.prepare("alice")

    def refuse(_self: MemoryPreparer, _account: ObjectRef, password: str) -> None:
        raise InvalidInput("password", f"refused: {password}")

    monkeypatch.setattr(MemoryPreparer, "set_password", refuse)
    with pytest.raises(InvalidInput):
        world.services.accounts.set_password(world.dave, "priv.alice", "CANARY-Pw-1")
    assert kinds_of_password(world) == ["pam-user.password-asked", "pam-user.password-failed"]
    with world.store.read() as uow:
        record = list(uow.audit.read(AuditQuery(limit=0)))[-1]
    assert json.loads(record.data) == {"error": "invalid-input", "via": "kerberos"}


def test_without_its_record_no_password_is_set(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.prepare("alice")
    broken_commit(monkeypatch, lost=False)
    before = world.priv.writes
    with pytest.raises(StoreUnavailable):
        world.services.accounts.set_password(world.dave, "priv.alice", "CANARY-Pw-1")
    assert world.priv.writes == before


def broken_commit(monkeypatch: pytest.MonkeyPatch, *, lost: bool) -> None:
    """The commit fails; `lost`: only its answer does."""
    commit = SqlUnitOfWork.commit

    def fail(self: SqlUnitOfWork) -> None:
        if lost:
            commit(self)
        raise StoreUnavailable("the database went away")

    monkeypatch.setattr(SqlUnitOfWork, "commit", fail)


@pytest.mark.parametrize("lost", [False, True])
def test_what_was_registered_after_all_is_not_taken_back(
    world: World, monkeypatch: pytest.MonkeyPatch, lost: bool
) -> None:
    broken_commit(monkeypatch, lost=lost)
    with pytest.raises(StoreUnavailable):
        world.prepare("alice")
    with pytest.raises(StoreUnavailable):
        world.prepare_group()
    monkeypatch.undo()
    assert len(world.services.accounts.users(world.dave)) == int(lost)
    priv = world.services.forests[Forest.PRIV]
    found = 0
    with suppress(NotFound):
        found += bool(priv.find_person("priv.alice"))
        found += bool(priv.find_group("PAM-FileAdmins"))
    assert found == (2 if lost else 0)


def refuse_delete(self: MemoryPreparer, ref: ObjectRef) -> None:
    raise DirectoryDenied(f"may not delete {ref.name}")


def test_a_delete_that_fails_does_not_hide_the_first_error(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken_commit(monkeypatch, lost=False)
    monkeypatch.setattr(MemoryPreparer, "delete", refuse_delete)
    with pytest.raises(StoreUnavailable) as first:
        world.prepare("alice")
    assert isinstance(first.value.__cause__, DirectoryDenied)


def test_what_could_not_be_removed_is_on_again(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.prepare("alice")
    world.services.accounts.add_group(world.dave, "FileAdmins", Carrier.FOREIGN_PRINCIPAL)
    accounts = world.services.accounts
    monkeypatch.setattr(MemoryPreparer, "delete", refuse_delete)
    with pytest.raises(DirectoryDenied):
        accounts.remove_user(world.dave, "priv.alice", delete=True)
    with pytest.raises(DirectoryDenied):
        accounts.remove_group(world.dave, "PAM-FileAdmins", delete=True)
    assert accounts.user(world.dave, "priv.alice").enabled
    assert accounts.group(world.dave, "PAM-FileAdmins").enabled
    assert not any(kind.endswith(".removed") for kind in world.events())
    monkeypatch.undo()
    accounts.remove_user(world.dave, "priv.alice", delete=True)
    accounts.remove_group(world.dave, "PAM-FileAdmins", delete=True)
