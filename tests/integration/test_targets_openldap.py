"""OpenLDAP as a connected system: who may be talked to at all (security-tests.md, row 11), import, passwords, and how fast."""

import os
import select
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import ldap
import pytest

from bastide.domain.errors import BadSource, CapabilityMissing, TargetDenied, TargetUnavailable
from bastide.domain.passwords import Code, Proof
from bastide.services.passwords.ports import Look, NewPassword, Security
from bastide.targets.ldap import LdapSettings, LdapTarget, what_it_is
from bastide_lab.lab import Lab
from bastide_lab.targets import slapd
from tests.support.certificates import issue
from tests.support.inside import inside
from tests.support.target_systems import Slapd, now, opening

pytest_plugins = ["tests.support.lab"]
pytestmark = pytest.mark.lab

GOOD = "Correct-Horse-Battery-1"


@pytest.fixture(scope="module")
def server(lab: Lab) -> Iterator[Slapd]:
    with inside(lab.namespace("bastide")):
        yield Slapd(lab, lab.start_target("slapd"))


def binds(server: Slapd) -> int:
    """How many binds slapd has seen, this one too."""
    raw = server.admin()
    ((_, found),) = raw.search_s(
        "cn=Bind,cn=Operations,cn=Monitor", ldap.SCOPE_BASE, "(objectClass=*)", ["monitorOpInitiated"]
    )
    raw.unbind_s()
    return int(found["monitorOpInitiated"][0])


# ----------------------------------------------------------------------------------------------------------- what it is


def test_a_directory_is_the_same_under_every_name_and_port_and_another_one_is_not(
    server: Slapd, lab: Lab
) -> None:
    first = what_it_is(server.settings(), server.opening())
    plain = server.settings(tls="starttls", port=server.endpoint.port, base=server.people)
    assert set(first) < set(what_it_is(plain, server.opening())), "one more: the entry of its base"
    second = Slapd(lab, lab.start_target("slapd", "slapd-second"))
    try:
        other = what_it_is(second.settings(), second.opening())
    finally:
        lab.stop_target("slapd-second", forget=True)
    assert other
    assert not set(first) & set(other)


def test_without_a_secret_nobody_is_asked() -> None:
    settings = LdapSettings(host="nowhere.invalid", base="dc=x", bind_name="cn=x", ca="/nowhere")
    with pytest.raises(TargetDenied, match="no secret yet"):
        what_it_is(settings, opening(""))


# ------------------------------------------------------------------------------------------------------ whom we talk to


@pytest.mark.parametrize("tls", ["ldaps", "starttls"])
def test_a_good_certificate_is_accepted(server: Slapd, tls: str) -> None:
    port = server.endpoint.tls_port if tls == "ldaps" else server.endpoint.port
    with server.target(tls=tls, port=port) as target:
        assert target.security() is Security.SECURE


@pytest.mark.parametrize("tls", ["ldaps", "starttls"])
@pytest.mark.parametrize("flaw", ["wrong authority", "wrong host", "expired"])
def test_a_bad_certificate_is_refused_and_nobody_signs_in(
    server: Slapd, tmp_path: Path, tls: str, flaw: str
) -> None:
    tested, changes = server, {}
    if flaw == "wrong authority":
        changes = {"ca": str(issue(tmp_path, "other", "other-authority").certificate)}
    elif flaw == "wrong host":
        changes = {"host": server.lab.address("targets")}
    else:
        ca_key = server.lab.site.tls / "ca.key"
        old = issue(tmp_path, "old", server.endpoint.host, ca=server.lab.ca, ca_key=ca_key, ended=True)
        tested = Slapd(server.lab, server.lab.start_target("slapd", "slapd-expired", pair=old))
    port = tested.endpoint.tls_port if tls == "ldaps" else tested.endpoint.port
    before = 0 if flaw == "expired" else binds(server)
    with pytest.raises(TargetUnavailable) as refused, tested.target(tls=tls, port=port, **changes):
        pytest.fail("it was opened")
    assert (
        tested.endpoint.password not in f"{refused.value} {refused.value.remedy} {refused.value.__cause__!r}"
    )
    if flaw == "expired":
        server.lab.stop_target("slapd-expired", forget=True)
        good = issue(
            tmp_path, "new", server.endpoint.host, ca=server.lab.ca, ca_key=server.lab.site.tls / "ca.key"
        )
        renewed = Slapd(server.lab, server.lab.start_target("slapd", "slapd-renewed", pair=good))
        with renewed.target(
            tls=tls, port=renewed.endpoint.tls_port if tls == "ldaps" else renewed.endpoint.port
        ):
            pass  # the date alone was wrong
        server.lab.stop_target("slapd-renewed", forget=True)
    else:
        assert binds(server) == before + 1, "only our own question"


class Eavesdropper:
    """A server that has no TLS: it hears everything, and refuses StartTLS (RFC 4511 4.14.2)."""

    #: ExtendedResponse to message 1 with resultCode 2, protocolError.
    REFUSAL = bytes.fromhex("300c 020101 7807 0a0102 0400 0400")

    def __init__(self) -> None:
        self.heard = bytearray()
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self.listener.getsockname()[1]
        self.thread = threading.Thread(target=self._serve)
        self.thread.start()

    def _serve(self) -> None:
        connection, _ = self.listener.accept()
        with connection:
            connection.settimeout(5)
            try:
                while data := connection.recv(4096):
                    self.heard += data
                    connection.sendall(self.REFUSAL)
            except OSError:
                return

    def close(self) -> None:
        self.thread.join()
        self.listener.close()


@pytest.mark.parametrize("tls", ["ldaps", "starttls"])
def test_a_server_without_tls_hears_no_name_and_no_password(server: Slapd, tls: str) -> None:
    eavesdropper = Eavesdropper()
    with (
        pytest.raises(TargetUnavailable if tls == "ldaps" else (TargetUnavailable, BadSource)),
        server.target(host="localhost", port=eavesdropper.port, tls=tls, network_timeout=2.0, timeout=2.0),
    ):
        pytest.fail("it was opened")
    eavesdropper.close()
    assert eavesdropper.heard, "it was spoken to"
    assert server.endpoint.password.encode() not in eavesdropper.heard
    assert slapd.SERVICE.encode() not in eavesdropper.heard


@pytest.mark.parametrize(
    ("version", "refusal"), [("tls1_1", "TLS1.1, which is not secure"), ("tls1_2", "TIMEOUT")]
)
def test_tls_before_1_2_is_refused(server: Slapd, tmp_path: Path, version: str, refusal: str) -> None:
    """openssl answers the handshake and nothing else. It hears a name only if the handshake was good enough."""
    host = server.lab.fqdn("bastide")
    ca_key = server.lab.site.tls / "ca.key"
    pair = issue(tmp_path, "listener", host, ca=server.lab.ca, ca_key=ca_key)
    listen: list[str | Path] = ["openssl", "s_server", "-quiet", "-accept", "16636", f"-{version}"]
    listen += ["-cert", pair.certificate, "-key", pair.key, "-cipher", "ALL:@SECLEVEL=0"]
    listener = server.lab.popen(
        "bastide", listen, stdin=subprocess.PIPE, stdout=subprocess.PIPE, errors="replace"
    )
    try:
        wait_for_port(host, 16636)
        opened = server.target(host=host, port=16636, network_timeout=2.0, timeout=2.0)
        with pytest.raises(TargetUnavailable, match=refusal), opened:
            pytest.fail("it was opened")
        heard = said_until(listener, slapd.SERVICE if version == "tls1_2" else "objectClass")
    finally:
        listener.terminate()
        listener.communicate(timeout=10)
    assert "objectClass" in heard
    assert (slapd.SERVICE in heard) is (version == "tls1_2")


def said_until(program: subprocess.Popen[str], word: str) -> str:
    """All that a program says until it says that: on a busy machine it has read less than was sent, and terminated it reads no more."""
    assert program.stdout is not None
    said, end = "", time.monotonic() + 10
    while word not in said and select.select([program.stdout], [], [], max(end - time.monotonic(), 0))[0]:
        said += os.read(program.stdout.fileno(), 65536).decode(errors="replace")
    return said


def wait_for_port(host: str, port: int) -> None:
    """A connection of its own would end openssl's first one: the kernel's table is asked."""
    deadline = time.monotonic() + 10
    while f":{port:04X} 00000000:0000 0A" not in Path("/proc/thread-self/net/tcp").read_text() and (
        f":{port:04X} 00000000000000000000000000000000:0000 0A"
        not in Path("/proc/thread-self/net/tcp6").read_text()
    ):
        assert time.monotonic() < deadline, f"nobody listens at {host}:{port}"
        time.sleep(0.02)


def test_a_wrong_secret_is_denied(server: Slapd) -> None:
    wrong = replace(server.opening(), secret="not-it")
    with pytest.raises(TargetDenied), type(server.target())(server.settings(), wrong):
        pytest.fail("it was opened")
    empty = replace(server.opening(), secret="")
    with (
        pytest.raises(TargetDenied, match="no name or no password"),
        type(server.target())(server.settings(), empty),
    ):
        pytest.fail("an anonymous bind was made")


# --------------------------------------------------------------------------------------------------------------- import


def test_import_all_in_pages_and_then_what_changed(server: Slapd) -> None:
    raw = server.admin()
    for number in range(520):
        uid = f"many{number}"
        values = {"objectClass": "inetOrgPerson", "cn": uid, "sn": "Many", "uid": uid, "userPassword": GOOD}
        raw.add_s(f"uid={uid},{slapd.PEOPLE}", [(name, [value.encode()]) for name, value in values.items()])
    hostile = server.add_person(cn="<script>alert(1)</script>", sn="Zoë *)(uid=*", mail="zoe@example.test")
    everybody, cookie = server.read(b"")
    assert len(everybody) > 520
    assert everybody[hostile.anchor].attributes["cn"] == ("<script>alert(1)</script>",)
    assert everybody[hostile.anchor].attributes["sn"] == ("Zoë *)(uid=*",)
    assert not [one for one in everybody.values() if "userPassword" in one.attributes]
    time.sleep(3.1)  # modifyTimestamp counts seconds, and the mark lies up to two before the newest
    raw.modify_s(hostile.dn, [(ldap.MOD_REPLACE, "mail", [b"new@example.test"])])
    changed, later = server.read(cookie)
    assert changed[hostile.anchor].attributes["mail"] == ("new@example.test",)
    time.sleep(2.1)
    added = server.add_person()
    again, _ = server.read(later)
    assert added.anchor in again
    assert len(again) < 10, "only what changed"
    raw.unbind_s()


def test_a_directory_that_tells_no_changes_and_a_spoiled_mark(server: Slapd) -> None:
    with pytest.raises(CapabilityMissing):
        server.read(b"{}", delta="none")
    with pytest.raises(BadSource):
        server.read(b"not a mark")


# ------------------------------------------------------------------------------------------------------------ passwords


def test_a_moved_person_is_found_and_nobody_in_his_place_is_touched(server: Slapd) -> None:
    person = server.add_person()
    raw = server.admin()
    raw.rename_s(person.dn, "uid=moved-away")
    usurper = {"objectClass": "inetOrgPerson", "cn": "x", "sn": "x", "uid": person.dn.split(",")[0][4:]}
    raw.add_s(person.dn, [(name, [value.encode()]) for name, value in usurper.items()])
    with server.target() as target:
        assert [one.code for one in target.set([NewPassword(person, GOOD)])] == [Code.SUCCESS]
        assert target.verify(person, GOOD) is Proof.PROVED
    ((_, found),) = raw.search_s(person.dn, ldap.SCOPE_BASE, "(objectClass=*)", ["userPassword"])
    assert found == {}, "the one who has his name now"
    assert server.signs_in(f"uid=moved-away,{slapd.PEOPLE}", GOOD)
    raw.delete_s(f"uid=moved-away,{slapd.PEOPLE}")
    with server.target() as target:
        assert target.set([NewPassword(person, GOOD)])[0].code is Code.OBJECT_MISSING
    raw.unbind_s()


def test_policy_rights_and_must_change(server: Slapd) -> None:
    person = server.add_person()
    with server.target() as target:
        assert target.set([NewPassword(person, "short1!")])[0].code is Code.POLICY
        assert target.set([NewPassword(person, GOOD, must_change=True)])[0].code is Code.SUCCESS
        raw = server.admin()
        ((_, found),) = raw.search_s(person.dn, ldap.SCOPE_BASE, "(objectClass=*)", ["pwdReset"])
        raw.unbind_s()
        assert found["pwdReset"] == [b"TRUE"]
        assert target.set([NewPassword(person, GOOD)])[0].code is Code.SUCCESS
    reader = server.add_person(userPassword="Reader-Password-1")
    settings = server.settings(bind_name=reader.dn)
    with type(server.target())(settings, replace(server.opening(), secret="Reader-Password-1")) as target:
        assert target.set([NewPassword(reader, GOOD)])[0].code is Code.SUCCESS, "his own he may"
        assert target.set([NewPassword(person, GOOD)])[0].code is Code.OBJECT_MISSING, "what he cannot see"


def test_proof_makes_one_bind_and_none_after_a_failure(server: Slapd) -> None:
    """security-tests.md, row 27: a proof never locks anybody out."""
    person = server.add_person()
    with server.target() as target:
        target.set([NewPassword(person, GOOD)])
        before = binds(server)
        assert target.verify(person, GOOD) is Proof.PROVED
        assert binds(server) == before + 2, "its one, and our question"
        assert target.verify(person, "wrong-password-1") is Proof.NOT_PROVED
        before = binds(server)
        for _ in range(5):
            assert target.verify(person, GOOD) is Proof.NOT_TRIED
        assert binds(server) == before + 1
        assert target.set([NewPassword(person, GOOD, unlock=True)])[0].code is Code.SUCCESS
        assert target.verify(person, GOOD) is Proof.PROVED


def test_a_lock_of_an_administrator_stays_and_one_that_is_hidden_is_not_called_taken_away(
    server: Slapd,
) -> None:
    """The lock of failed sign-ins is in the contract of targets."""
    person, raw = server.add_person(userPassword=GOOD), server.admin()
    raw.modify_s(person.dn, [(ldap.MOD_REPLACE, "pwdAccountLockedTime", [b"000001010000Z"])])
    with server.target() as target:
        (shown,), (done,) = target.look([person]), target.unlock([person])
    assert (shown.locked, shown.disabled) == (False, True)
    assert (done.code, "administrator" in done.detail) == (Code.DENIED, True)
    ((_, kept),) = raw.search_s(person.dn, ldap.SCOPE_BASE, "(objectClass=*)", ["pwdAccountLockedTime"])
    assert kept["pwdAccountLockedTime"] == [b"000001010000Z"]
    raw.unbind_s()
    reader = server.add_person(userPassword="Reader-Password-1")
    weak = LdapTarget(
        server.settings(bind_name=reader.dn), replace(server.opening(), secret="Reader-Password-1")
    )
    with weak as target:
        assert target.look([person]) == [Look()]
        assert [one.code for one in target.unlock([person])] == [Code.OBJECT_MISSING]


def test_the_date_of_a_password_and_who_must_change_it_are_shown(server: Slapd) -> None:
    person = server.add_person()
    with server.target() as target:
        assert target.look([person]) == [Look(locked=False, disabled=False, must_change=False)]
        target.set([NewPassword(person, GOOD, must_change=True)])
        (shown,) = target.look([person])
    assert shown.must_change
    assert shown.set_at is not None
    assert abs((now() - shown.set_at).total_seconds()) < 60


def test_a_server_that_dies_is_unavailable_and_serves_again(lab: Lab, server: Slapd) -> None:
    other = Slapd(lab, lab.start_target("slapd", "slapd-mortal"))
    people = [other.add_person() for _ in range(20)]
    batch = [NewPassword(one, GOOD) for one in people]
    with other.target() as target:
        lab.stop_target("slapd-mortal", kill=True)
        with pytest.raises(TargetUnavailable):
            target.set(batch)
    with pytest.raises(TargetUnavailable), other.target():
        pytest.fail("it was opened")
    lab.start_target("slapd", "slapd-mortal")
    with other.target() as target:
        assert {one.code for one in target.set(batch)} == {Code.SUCCESS}
    lab.stop_target("slapd-mortal", forget=True)


def test_sets_keep_up_with_a_bare_script(server: Slapd, record_property: Any) -> None:
    """Which does not ask first who has the name: several in flight make up for it. The best of three rounds of each, taken in turns."""
    people = [server.add_person() for _ in range(300)]
    bare, ours = [], []
    raw = server.bare(slapd.SERVICE, server.endpoint.password)
    with server.target() as target:
        for _ in range(3):
            began = time.perf_counter()
            for person in people:
                raw.passwd_s(person.dn, None, GOOD)
            bare.append(len(people) / (time.perf_counter() - began))
            began = time.perf_counter()
            assert {one.code for one in target.set([NewPassword(one, GOOD) for one in people])} == {
                Code.SUCCESS
            }
            ours.append(len(people) / (time.perf_counter() - began))
    raw.unbind_s()
    record_property("sets_per_second", f"bare {max(bare):.0f}, Bastide {max(ours):.0f}")
    print(f"sets/s: bare {max(bare):.0f}, Bastide {max(ours):.0f}")
    assert max(ours) >= 0.7 * max(bare)
