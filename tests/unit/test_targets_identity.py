"""What a directory says it is: only what no person can choose, place by place, and whatever it answers."""

from collections.abc import Mapping, Sequence
from typing import Any

import ldap
import pytest

from bastide.directory.session import Session
from bastide.domain.errors import BadSource, InvalidInput, TargetDenied, TargetUnavailable
from bastide.targets import active_directory, ldap_connection
from bastide.targets import ldap as ldap_target
from bastide.targets.ad_connection import ActiveDirectorySettings
from bastide.targets.kinds import read_settings
from bastide.targets.ldap import LdapSettings
from tests.support.target_systems import opening

UUID = "0a1b2c3d-1111-2222-3333-444455556666"
OTHER = "99998888-1111-2222-3333-444455556666"
UNIQUE = "3c5d5e81-1dd211b2-8eabfcc2-fb9d0000"
GUID = bytes(range(16))
GUID_TEXT = "03020100-0504-0706-0809-0a0b0c0d0e0f"
Answers = Mapping[str, Mapping[str, Sequence[bytes]] | ldap.LDAPError]


class Directory:
    """What python-ldap's connection object does for searches of one entry. A DN without an answer is shown to nobody."""

    def __init__(self, answers: Answers, *, at_the_end: Exception | None = None) -> None:
        self.answers = answers
        self.at_the_end = at_the_end
        self.asked: list[str] = []

    def simple_bind_s(self, *_: object) -> None:
        pass

    def search_ext(self, base: str, *_: object, **__: object) -> int:
        self.asked.append(base)
        return len(self.asked)

    def result3(self, number: int, **_: object) -> tuple[int, list[Any], int, list[Any]]:
        dn = self.asked[number - 1]
        found = self.answers.get(dn)
        if isinstance(found, ldap.LDAPError):
            raise found
        return 0, [] if found is None else [(dn, dict(found))], number, []

    def unbind_ext_s(self) -> None:
        if self.at_the_end is not None:
            raise self.at_the_end


def ids(
    monkeypatch: pytest.MonkeyPatch, directory: Directory, *, base: str = "dc=x", bind_name: str = "cn=b"
) -> tuple[str, ...]:
    settings = {"host": "h", "base": base, "bind_name": bind_name, "ca": "/ca.pem"}
    monkeypatch.setattr(ldap_target, "connect", lambda *_, **__: Session(directory, "h", 1.0))
    return ldap_target.what_it_is(read_settings(LdapSettings, settings), opening("x"))


ROOT = {"namingContexts": [b"dc=x"]}
SHOWN = {"entryUUID": [UUID.encode()]}


def test_all_places_say_what_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    directory = Directory({"": ROOT, "ou=a,dc=x": SHOWN, "dc=x": {"nsUniqueId": [UNIQUE.upper().encode()]}})
    found = ids(monkeypatch, directory, base="ou=a,dc=x")
    assert found == (f"directory {UUID}", f"directory {UNIQUE}")
    assert directory.asked == ["", "ou=a,dc=x", "dc=x", "cn=b"]


@pytest.mark.parametrize(
    "value", [b"", b"1", b"x" * 1000, b"\xf1\xf2", b"dc=x", UUID.encode() + b"\n", b"%s"]
)
def test_what_is_no_id_is_no_label(monkeypatch: pytest.MonkeyPatch, value: bytes) -> None:
    """Whoever may write the attribute of a server that lets it be written would choose with whom it is one."""
    said = {"entryUUID": [value, OTHER.encode()]}
    assert ids(monkeypatch, Directory({"": ROOT, "dc=x": said})) == (f"directory {OTHER}",)
    assert ids(monkeypatch, Directory({"": ROOT, "dc=x": {"entryUUID": [value]}})) == ()


@pytest.mark.parametrize(
    "answers",
    [
        {"": ROOT, "ou=a,dc=x": SHOWN, "dc=x": ldap.INSUFFICIENT_ACCESS({"desc": "no"})},
        {"": ROOT, "ou=a,dc=x": SHOWN, "cn=b": ldap.INVALID_DN_SYNTAX({"desc": "bad"})},
        {"": ROOT, "ou=a,dc=x": SHOWN, "dc=x": ldap.SERVER_DOWN({"desc": "gone"})},
        {"": ROOT, "ou=a,dc=x": ldap.OTHER({"desc": "hm"}), "dc=x": SHOWN},
        {"": ldap.INSUFFICIENT_ACCESS({"desc": "no"}), "ou=a,dc=x": SHOWN},
        {"": {"namingContexts": [b"\xff garbage,,="]}, "ou=a,dc=x": SHOWN},
        {"ou=a,dc=x": SHOWN},
    ],
)
def test_one_place_that_fails_hides_no_other(monkeypatch: pytest.MonkeyPatch, answers: Answers) -> None:
    assert ids(monkeypatch, Directory(answers), base="ou=a,dc=x") == (f"directory {UUID}",)


def test_a_base_that_is_no_dn_is_not_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    answers = {"": ROOT, "not a dn": ldap.INVALID_DN_SYNTAX({"desc": "bad"}), "cn=b": SHOWN}
    assert ids(monkeypatch, Directory(answers), base="not a dn") == (f"directory {UUID}",)


@pytest.mark.parametrize("kind", [ldap.NO_SUCH_OBJECT, ldap.INSUFFICIENT_ACCESS])
def test_what_is_not_shown_is_an_answer(monkeypatch: pytest.MonkeyPatch, kind: type[ldap.LDAPError]) -> None:
    refused = kind({"desc": "no"})
    assert ids(monkeypatch, Directory({"": ROOT, "dc=x": refused, "cn=b": refused})) == ()


@pytest.mark.parametrize(("kind", "raised"), [(ldap.SERVER_DOWN, TargetUnavailable), (ldap.OTHER, BadSource)])
def test_a_directory_that_could_not_be_asked_has_not_said_nothing(
    monkeypatch: pytest.MonkeyPatch, kind: type[ldap.LDAPError], raised: type[Exception]
) -> None:
    with pytest.raises(raised):
        ids(monkeypatch, Directory({"": ROOT, "dc=x": kind({"desc": "gone"})}))


def test_a_connection_that_is_gone_at_the_end_takes_nothing_back(monkeypatch: pytest.MonkeyPatch) -> None:
    directory = Directory({"": ROOT, "dc=x": SHOWN}, at_the_end=ldap.SERVER_DOWN({"desc": "gone"}))
    assert ids(monkeypatch, directory) == (f"directory {UUID}",)
    with pytest.raises(ValueError, match="a bug"):
        ldap_connection.hang_up(Session(Directory({}, at_the_end=ValueError("a bug")), "h", 1.0))


# ------------------------------------------------------------------------------------------------------ Active Directory

DOMAIN = "DC=corp,DC=test"


def domain_ids(monkeypatch: pytest.MonkeyPatch, answers: Answers, **more: Any) -> tuple[str, ...]:
    directory = Directory(answers, **more)
    monkeypatch.setattr(active_directory, "open_session", lambda *_: Session(directory, "dc1", 1.0))
    given = {"domain": "corp.test", "bind_name": "svc", "ca": "/ca.pem"}
    return active_directory.what_it_is(read_settings(ActiveDirectorySettings, given), opening("x"))


def named(name: bytes) -> Mapping[str, Sequence[bytes]]:
    return {"defaultNamingContext": [name]}


def test_a_domain_says_its_name_and_its_guid(monkeypatch: pytest.MonkeyPatch) -> None:
    answers = {"": named(DOMAIN.encode()), DOMAIN: {"objectGUID": [GUID]}}
    gone = ldap.SERVER_DOWN({"desc": "gone"})
    for at_the_end in (None, gone):
        found = domain_ids(monkeypatch, answers, at_the_end=at_the_end)
        assert found == ("domain corp.test", f"directory {GUID_TEXT}")


@pytest.mark.parametrize(
    "root",
    [
        {"objectGUID": [b"1"]},
        {"objectGUID": [b""]},
        {"objectGUID": [GUID + b"1"]},
        {},
        None,
        ldap.INSUFFICIENT_ACCESS({"desc": "no"}),
        ldap.SERVER_DOWN({"desc": "gone"}),
    ],
)
def test_a_domain_whose_guid_cannot_be_read_still_has_its_name(
    monkeypatch: pytest.MonkeyPatch, root: Any
) -> None:
    answers = {"": named(DOMAIN.encode())} | ({} if root is None else {DOMAIN: root})
    assert domain_ids(monkeypatch, answers) == ("domain corp.test",)


@pytest.mark.parametrize("name", [b"", b"no dn at all", b"\xff"])
def test_a_controller_that_names_no_domain_is_no_domain(monkeypatch: pytest.MonkeyPatch, name: bytes) -> None:
    with pytest.raises(BadSource):
        domain_ids(monkeypatch, {"": named(name)})


def test_nobody_is_asked_without_a_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ldap_target, "connect", None)
    given = {"host": "h", "base": "dc=x", "bind_name": "cn=b", "ca": "/ca.pem"}
    with pytest.raises(TargetDenied, match="no secret yet"):
        ldap_target.what_it_is(read_settings(LdapSettings, given), opening(""))


@pytest.mark.parametrize("keytab", ["/k\0x", "credential:a\0b", "/" + "k" * 4095])
def test_a_keytab_that_no_path_can_be_is_refused_as_a_setting(keytab: str) -> None:
    given = {"domain": "corp.test", "principal": "svc@CORP.TEST", "keytab": keytab}
    with pytest.raises(InvalidInput) as refused:
        read_settings(ActiveDirectorySettings, given)
    assert refused.value.field == "settings.keytab"
    assert read_settings(ActiveDirectorySettings, {**given, "keytab": "/" + "k" * 4094}).keytab
