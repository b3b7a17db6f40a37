"""389 Directory Server where it differs from OpenLDAP: its anchor, its lockout, and what it lets nobody write. The contract is in tests/contract."""

import time
from collections.abc import Iterator

import ldap
import pytest

from bastide.domain.passwords import Code, Proof
from bastide.services.passwords.ports import Look, NewPassword
from bastide.targets.ldap import what_it_is
from bastide_lab.lab import Lab
from tests.support.inside import inside
from tests.support.target_systems import Slapd, directory_389

pytest_plugins = ["tests.support.lab"]
pytestmark = pytest.mark.lab

GOOD = "Correct-Horse-Battery-1"


@pytest.fixture(scope="module")
def server(lab: Lab) -> Iterator[Slapd]:
    with inside(lab.namespace("bastide")):
        yield directory_389(lab)


def test_a_directory_is_the_same_over_both_ways_to_it(server: Slapd) -> None:
    """Its account sees the people alone, so the base is all that it can say."""
    found = what_it_is(server.settings(base=server.people), server.opening())
    assert found
    plain = server.settings(tls="starttls", port=server.endpoint.port, base=server.people)
    assert what_it_is(plain, server.opening()) == found
    assert what_it_is(server.settings(), server.opening()) == ()


def test_import_all_and_then_what_changed(server: Slapd) -> None:
    people = [server.add_person(mail=f"p{number}@example.test") for number in range(30)]
    everybody, cookie = server.read(b"")
    assert {one.anchor for one in people} <= everybody.keys()
    assert not [one for one in everybody.values() if "userPassword" in one.attributes]
    time.sleep(3.1)  # modifyTimestamp counts seconds, and the mark lies up to two before the newest
    raw = server.admin()
    raw.modify_s(people[0].dn, [(ldap.MOD_REPLACE, "mail", [b"new@example.test"])])
    raw.unbind_s()
    changed, later = server.read(cookie)
    assert changed[people[0].anchor].attributes["mail"] == ("new@example.test",)
    time.sleep(2.1)
    added = server.add_person()
    again, _ = server.read(later)
    assert added.anchor in again
    assert len(again) < 10, "only what changed"


def test_a_password_that_must_be_changed_is_set_and_said_not_to_be(server: Slapd) -> None:
    person = server.add_person()
    with server.target() as target:
        assert target.set([NewPassword(person, GOOD, must_change=True)])[0].code is Code.SET_UNSUPPORTED
    assert server.signs_in(person.dn, GOOD)


def test_a_set_that_unlocks_leaves_nothing_that_looks_like_a_lock(server: Slapd) -> None:
    """The server itself leaves accountUnlockTime: the next failure was shown as a lock, and no password was proved any more."""
    person = server.add_person(userPassword=GOOD)
    server.lock(person.dn)
    with server.target() as target:
        assert target.set([NewPassword(person, GOOD, unlock=True)])[0].code is Code.SUCCESS
        assert target.verify(person, GOOD) is Proof.PROVED
        assert target.verify(person, "wrong-password-1") is Proof.NOT_PROVED
        assert target.look([person])[0].locked is False


def test_an_inactive_account_is_disabled_and_no_unlock_makes_it_active(server: Slapd) -> None:
    person, raw = server.add_person(userPassword=GOOD), server.admin()
    raw.modify_s(person.dn, [(ldap.MOD_REPLACE, "nsAccountLock", [b"true"])])
    with server.target() as target:
        assert target.unlock([person])[0].code is Code.SUCCESS
        assert target.look([person]) == [Look(locked=False, disabled=True)]
    raw.modify_s(person.dn, [(ldap.MOD_REPLACE, "nsAccountLock", [b"false"])])
    raw.unbind_s()


def test_a_lock_that_is_not_shown_and_one_that_may_not_be_written_are_said_to_be(server: Slapd) -> None:
    """What stands here are the rights that docs/how-to/password-targets.md names, without that of unlocking, then without that of reading."""
    person, raw = server.add_person(userPassword=GOOD), server.admin()
    ((_, kept),) = raw.search_s(server.people, ldap.SCOPE_BASE, "(objectClass=*)", ["aci"])
    rights: list[bytes] = kept["aci"]
    reads = b"accountUnlockTime || passwordRetryCount || userPassword"
    try:
        server.lock(person.dn)
        without = [one for one in rights if b"unlocks" not in one]
        raw.modify_s(server.people, [(ldap.MOD_REPLACE, "aci", without)])
        with server.target() as target:
            assert target.look([person])[0].locked
            assert target.unlock([person])[0].code is Code.DENIED
        hidden = [one.replace(b'!="userPassword"', b'!="' + reads + b'"') for one in without]
        raw.modify_s(server.people, [(ldap.MOD_REPLACE, "aci", hidden)])
        with server.target() as target:
            assert target.look([person])[0].locked is None
            (done,) = target.unlock([person])
        assert (done.code, "not shown" in done.detail) == (Code.DENIED, True)
    finally:
        raw.modify_s(server.people, [(ldap.MOD_REPLACE, "aci", rights)])
    with server.target() as target:
        assert target.look([person])[0].locked
        assert target.unlock([person])[0].code is Code.SUCCESS
    raw.unbind_s()
    server.bare(person.dn, GOOD).unbind_s()


def test_proof_makes_no_bind_after_a_failure(server: Slapd) -> None:
    """security-tests.md, row 27: a proof never locks anybody out."""
    person = server.add_person()
    with server.target() as target:
        assert target.set([NewPassword(person, GOOD)])[0].code is Code.SUCCESS
        assert target.verify(person, GOOD) is Proof.PROVED
        assert target.verify(person, "wrong-password-1") is Proof.NOT_PROVED
        for _ in range(5):
            assert target.verify(person, GOOD) is Proof.NOT_TRIED
    raw = server.admin()
    ((_, found),) = raw.search_s(person.dn, ldap.SCOPE_BASE, "(objectClass=*)", ["passwordRetryCount"])
    raw.unbind_s()
    assert found["passwordRetryCount"] == [b"1"]
