"""The LDAP family without a server: settings, marks, what an error means, and what is never read or sent."""

import base64
import html
import json
from collections.abc import Callable
from datetime import timedelta
from typing import Any
from urllib.parse import quote

import ldap
import msgspec
import pytest
from ldap.controls import AssertionControl

from bastide.directory.entries import Entry
from bastide.directory.session import Session
from bastide.domain.errors import BadSource, CapabilityMissing, InvalidInput, TargetDenied, TargetUnavailable
from bastide.domain.passwords import Code, Proof
from bastide.domain.spelling import repeats, spellings, spells, told
from bastide.services.passwords.ports import NewPassword
from bastide.targets import ldap_connection, ldap_lock
from bastide.targets.active_directory import AdTarget, _changes, _quoted, _result
from bastide.targets.ad_connection import ActiveDirectorySettings
from bastide.targets.kinds import read_settings
from bastide.targets.ldap import LdapConnector, LdapSettings, LdapTarget, _Abilities, _mark
from bastide.targets.ldap_connection import in_flight, result_of
from bastide.targets.spelling import unfit
from tests.support.target_systems import cs_object, opening

GOOD = "Correct-Horse-Battery-1"
LDAP: dict[str, Any] = {"host": "h", "base": "dc=x", "bind_name": "cn=b", "ca": "/ca.pem"}
AD: dict[str, Any] = {"domain": "d.test", "bind_name": "svc@d.test", "ca": "/ca.pem"}
GUID = "01020304-0506-0708-090a-0b0c0d0e0f10"


# ------------------------------------------------------------------------------------------------------------- settings


@pytest.mark.parametrize(
    ("kind", "given", "field"),
    [
        (LdapSettings, {**LDAP, "tls": "none"}, "settings.tls"),
        (LdapSettings, {**LDAP, "tls": "plain"}, "settings.tls"),
        (LdapSettings, {**LDAP, "ca": ""}, "settings.ca"),
        (LdapSettings, {**LDAP, "password": "x"}, "settings.password"),
        (LdapSettings, {k: v for k, v in LDAP.items() if k != "host"}, "settings.host"),
        (LdapSettings, {**LDAP, "attributes": ["mail", "userPassword"]}, "settings.attributes"),
        (LdapSettings, {**LDAP, "attributes": ["USERPASSWORD;binary"]}, "settings.attributes"),
        (LdapSettings, {**LDAP, "attributes": ["*"]}, "settings.attributes"),
        (LdapSettings, {**LDAP, "anchor": "x)(uid=*"}, "settings.attributes"),
        (LdapSettings, {**LDAP, "timeout": -1}, "settings.timeout"),
        (LdapSettings, {**LDAP, "port": "636"}, "settings.port"),
        (ActiveDirectorySettings, {"domain": "d.test"}, "settings.principal"),
        (ActiveDirectorySettings, {**AD, "ca": ""}, "settings.ca"),
        (ActiveDirectorySettings, {**AD, "principal": "x@D", "keytab": "/k"}, "settings.principal"),
        (ActiveDirectorySettings, {"domain": "d.test", "principal": "x@D"}, "settings.keytab"),
        (ActiveDirectorySettings, {**AD, "attributes": ["unicodePwd"]}, "settings.attributes"),
        (ActiveDirectorySettings, {**AD, "domain": ""}, "settings.domain"),
    ],
)
def test_settings_that_cannot_be_right_name_the_field(kind: type[Any], given: Any, field: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        read_settings(kind, given)
    assert refused.value.field == field


def test_there_is_no_setting_for_plain_ldap() -> None:
    """security-tests.md, row 11: nothing that an administrator can write turns the verification off."""
    assert set(ldap_connection.PORTS) == {"ldaps", "starttls"}
    names = set(LdapSettings.__struct_fields__) | set(ActiveDirectorySettings.__struct_fields__)
    assert not [name for name in names if "verify" in name or "insecure" in name or "check" in name]


# ----------------------------------------------------------------------------------------------------------------- marks


def test_the_mark_lies_before_whatever_was_written_while_we_read() -> None:
    assert msgspec.json.decode(_mark("20260102030405Z", timedelta(seconds=4))) == {
        "modified": "20260102030400Z"
    }
    assert msgspec.json.decode(_mark("20260102030405.123Z", timedelta(0))) == {"modified": "20260102030404Z"}
    with pytest.raises(BadSource):
        _mark("yesterday", timedelta(0))


def test_a_mark_that_would_change_the_filter_is_escaped() -> None:
    connector = LdapConnector(read_settings(LdapSettings, LDAP), opening("x"))
    condition = connector._condition(b'{"modified":"20260101000000Z)(uid=*"}')
    assert condition.endswith("(modifyTimestamp>=20260101000000Z\\29\\28uid=\\2a))")


# ---------------------------------------------------------------------------------------------------- what an error means


def error(kind: type[ldap.LDAPError], info: str = "") -> ldap.LDAPError:
    return kind({"desc": kind.__name__, "info": info})


@pytest.mark.parametrize(
    ("kind", "code"),
    [
        (ldap.CONSTRAINT_VIOLATION, Code.POLICY),
        (ldap.NO_SUCH_OBJECT, Code.OBJECT_MISSING),
        (ldap.INSUFFICIENT_ACCESS, Code.DENIED),
        (ldap.CONFIDENTIALITY_REQUIRED, Code.INSECURE),
        (ldap.BUSY, Code.UNAVAILABLE),
        (ldap.PROTOCOL_ERROR, Code.SET_UNSUPPORTED),
        (ldap.OTHER, Code.FAILED),
        (ldap.UNWILLING_TO_PERFORM, Code.FAILED),
    ],
)
def test_ldap_results(kind: type[ldap.LDAPError], code: Code) -> None:
    assert result_of(error(kind)).code is code
    assert result_of(None).code is Code.SUCCESS


@pytest.mark.parametrize(
    ("kind", "info", "code"),
    [
        (
            ldap.UNWILLING_TO_PERFORM,
            "0000052D: SvcErr: DSID-031A12D2, problem 5003 (WILL_NOT_PERFORM)",
            Code.POLICY,
        ),
        (
            ldap.CONSTRAINT_VIOLATION,
            "0000052D: Constraint violation - check_password_restrictions",
            Code.POLICY,
        ),
        (ldap.CONSTRAINT_VIOLATION, "00000056: AtrErr: DSID-03191083, #1:", Code.DENIED),
        (ldap.INSUFFICIENT_ACCESS, "00000005: SecErr: DSID-031A1256, problem 4003", Code.DENIED),
        (ldap.UNWILLING_TO_PERFORM, "0000001F: SvcErr: DSID-031A126C, problem 5003", Code.INSECURE),
        (ldap.NO_SUCH_OBJECT, "00002030: NameErr: DSID-0310028D", Code.OBJECT_MISSING),
        (ldap.UNWILLING_TO_PERFORM, "00002077: SvcErr: something else", Code.FAILED),
        (ldap.INSUFFICIENT_ACCESS, "error in module acl: insufficient access rights", Code.DENIED),
    ],
)
def test_active_directory_says_more_than_ldap(kind: type[ldap.LDAPError], info: str, code: Code) -> None:
    assert _result(error(kind, info), []).code is code


def test_a_server_that_repeats_the_password_is_not_quoted() -> None:
    for done in (
        result_of(error(ldap.OTHER, f"cannot store {GOOD}"), [GOOD]),
        _result(error(ldap.OTHER, f"cannot store {GOOD}"), [GOOD]),
    ):
        assert GOOD not in done.detail
    assert told("bad\r\n\x1b[31mred", []) == "bad [31mred"
    assert len(told("x" * 10_000, [])) == 300


AWKWARD = "p\"a\\ss'w0rd-Long\u00e9"
SPELLED: dict[str, Callable[[str], str]] = {
    "as it is": str,
    "JSON": json.dumps,
    "Python": repr,
    "Python bytes": lambda one: repr(one.encode()),
    "SQL": lambda one: one.replace("'", "''"),
    "URL": quote,
    "HTML": html.escape,
    "upper case": str.upper,
    "its beginning": lambda one: one[:8],
    "its end": lambda one: one[-8:],
    "hex": lambda one: one.encode().hex(),
    "hex of UTF-16": lambda one: one.encode("utf-16-le").hex(" "),
    "base64": lambda one: base64.b64encode(one.encode()).decode(),
    "base64 of UTF-16": lambda one: base64.urlsafe_b64encode(one.encode("utf-16-le")).decode(),
    "base64 within more": lambda one: base64.b64encode(f"x:{one}\n".encode()).decode(),
    "one sign at a time": " ".join,
    "backwards": lambda one: one[::-1],
}


#: A short password cannot be told from chance in most spellings.
_SHORT = [("x1-", "as it is"), ("x1-", "upper case"), ("x1-", "hex of UTF-16")]


@pytest.mark.parametrize(
    ("password", "spelled"), [*((one, spelled) for one in (AWKWARD, GOOD) for spelled in SPELLED), *_SHORT]
)
def test_a_password_is_found_in_any_spelling(password: str, spelled: str) -> None:
    text = f"bad request near {SPELLED[spelled](password)}"
    assert (
        told(text, ["", password]) == "what it said is not repeated here: it may hold a part of the password"
    )
    assert told("bad request near line 3, code 0000052D", [password]).endswith("code 0000052D")


@pytest.mark.parametrize(
    ("password", "spelled"),
    [*((one, spelled) for one in (AWKWARD, GOOD) for spelled in SPELLED if "its " not in spelled), *_SHORT],
)
def test_a_whole_password_is_found_in_any_spelling_too(password: str, spelled: str) -> None:
    assert spells(f"bad request near {SPELLED[spelled](password)}", spellings([password]))


def test_a_word_of_ours_is_a_part_of_many_passwords() -> None:
    said = "the password is longer than the 256 characters that this system takes"
    assert repeats(said, ["My-Password-2026"])
    assert not spells(said, spellings(["My-Password-2026", ""]))


def test_a_refused_sign_in_does_not_tell_the_password() -> None:
    class Telling(Raw):
        def simple_bind_s(self, *_: object) -> None:
            raise error(ldap.INVALID_CREDENTIALS, f"no user with {json.dumps(AWKWARD)}")

    with pytest.raises(TargetDenied) as refused:
        ldap_connection.bind(Session(Telling(), "h", 1.0), "cn=b", AWKWARD)
    assert "w0rd" not in f"{refused.value.message} {refused.value.__cause__!r}"
    assert refused.value.__suppress_context__


def test_a_connection_that_breaks_does_not_tell_the_password() -> None:
    raw = Raw(ldap.COMPARE_TRUE(), error(ldap.SERVER_DOWN, f"gone at {GOOD.upper()}"))
    with pytest.raises(TargetUnavailable) as broken:
        target(raw).set([NewPassword(cs_object("a", "uid=a"), GOOD)])
    assert "CORRECT" not in f"{broken.value.message} {broken.value.__cause__!r}"


# ------------------------------------------------------------------------------------------------------------- passwords


def test_what_is_sent_to_active_directory() -> None:
    assert _quoted('a"b') == '"a"b"'.encode("utf-16-le")
    plain = NewPassword(cs_object(GUID), GOOD)
    assert [change[1] for change in _changes(plain)] == ["unicodePwd"]
    both = NewPassword(cs_object(GUID), GOOD, must_change=True, unlock=True)
    assert _changes(both)[1:] == [
        (ldap.MOD_REPLACE, "pwdLastSet", [b"0"]),
        (ldap.MOD_REPLACE, "lockoutTime", [b"0"]),
    ]


@pytest.mark.parametrize(
    ("password", "without", "fits"),
    [
        (GOOD, "", True),
        ("x" * 256, "", True),
        ("x" * 257, "", False),
        ("", "", False),
        ("Aa1-\ud800", "", False),
        ("Aa1\x00x", "", True),
        ("Aa1\x00x", "\x00", False),
        ("Aa1\r\nx", "\r\n", False),
        ("\U0001f3f0" * 256, "", True),
    ],
)
def test_what_can_be_a_password(password: str, without: str, *, fits: bool) -> None:
    refused = unfit(password, without=without)
    assert (refused is None) is fits
    if refused is not None:
        assert refused.code is Code.POLICY
        assert not password or password not in refused.detail


class Raw:
    """What python-ldap's connection object does, as far as it is used here. Answers come in order."""

    def __init__(self, *answers: object) -> None:
        self.answers = list(answers)
        self.started: list[tuple[str, tuple[object, ...]]] = []

    def __getattr__(self, name: str) -> Any:
        def start(*arguments: object) -> int:
            self.started.append((name, arguments))
            return len(self.started)

        return start

    def result3(self, number: int, **_: object) -> tuple[int, object, int, list[object]]:
        answer = self.answers[number - 1]
        if isinstance(answer, Exception):
            raise answer
        return 0, answer, number, []


def target(
    raw: Raw, *, password_modify: bool = True, reset: bool = False, assertion: bool = False
) -> LdapTarget:
    made = LdapTarget(read_settings(LdapSettings, LDAP), opening("x"))
    made._session = Session(raw, "h", 1.0)
    made._able = _Abilities(password_modify=password_modify, reset=reset, assertion=assertion)
    return made


def guards(raw: Raw, operation: str) -> list[bytes]:
    """The assertions (RFC 4528: a filter in BER) with which each operation of a kind was sent; empty: none."""
    return [
        next((c.encodeControlValue() for a in arguments if isinstance(a, list) for c in a if isinstance(c, AssertionControl)), b"")
        for name, arguments in raw.started if name == operation
    ]  # fmt: skip


def test_where_assertions_are_offered_another_entry_under_the_name_gets_nothing() -> None:
    raw = Raw(ldap.COMPARE_TRUE(), error(ldap.ASSERTION_FAILED))
    (done,) = target(raw, assertion=True).set([NewPassword(cs_object("the-anchor", "uid=a"), GOOD)])
    assert done.code is Code.OBJECT_MISSING
    (guard,) = guards(raw, "passwd")
    assert b"entryUUID" in guard
    assert b"the-anchor" in guard


def test_a_server_that_takes_no_assertion_with_this_operation_is_asked_once_only() -> None:
    no = error(ldap.UNAVAILABLE_CRITICAL_EXTENSION)
    raw = Raw(ldap.COMPARE_TRUE(), no, [], [], ldap.COMPARE_TRUE(), [], [])
    made = target(raw, assertion=True, reset=True)
    for _ in range(2):
        (done,) = made.set([NewPassword(cs_object("x", "uid=a"), GOOD, must_change=True)])
        assert done.code is Code.SUCCESS
    assert [bool(one) for one in guards(raw, "passwd")] == [True, False, False]
    assert [bool(one) for one in guards(raw, "modify_ext")] == [True, True]


def test_without_assertions_on_offer_none_is_sent() -> None:
    raw = Raw(ldap.COMPARE_TRUE(), [])
    target(raw).set([NewPassword(cs_object("x", "uid=a"), GOOD)])
    assert guards(raw, "passwd") == [b""]


class State(Session):
    """An account's entry and its policy, and nothing else that can be read."""

    def __init__(self, raw: Raw, policy: dict[str, list[bytes]]) -> None:
        super().__init__(raw, "h", 1.0)
        self.policy = policy

    def read(self, dn: str, *_: object, **__: object) -> Entry | None:
        if dn == "uid=a":
            return Entry.read(dn, {"pwdPolicySubentry": [b"cn=policy"]} if self.policy else {})
        return Entry.read(dn, self.policy)


_NONE, _HIDDEN, _UNKNOWN = ldap.NO_SUCH_ATTRIBUTE, ldap.INSUFFICIENT_ACCESS, ldap.UNDEFINED_TYPE


@pytest.mark.parametrize(
    ("answers", "policy", "allowed"),
    [
        ((_NONE, _NONE, _UNKNOWN, _UNKNOWN), {}, True),
        ((_NONE, _NONE, _NONE, ldap.COMPARE_TRUE), {}, True),
        ((_NONE, _NONE, _NONE, ldap.COMPARE_FALSE), {}, False),
        ((_NONE, _NONE, ldap.COMPARE_TRUE, _NONE), {}, False),
        ((_NONE, _HIDDEN, _UNKNOWN, _UNKNOWN), {}, False),
        ((_HIDDEN, _NONE, _UNKNOWN, _UNKNOWN), {}, False),
        ((_NONE, ldap.COMPARE_FALSE, _UNKNOWN, _UNKNOWN), {}, False),
        ((_UNKNOWN, _UNKNOWN, _UNKNOWN, _UNKNOWN), {}, False),
        ((_HIDDEN, _HIDDEN, _UNKNOWN, _UNKNOWN), {"pwdLockout": [b"FALSE"]}, True),
        ((_HIDDEN, _HIDDEN, _UNKNOWN, _UNKNOWN), {"pwdLockout": [b"TRUE"]}, False),
        ((_HIDDEN, _HIDDEN, _UNKNOWN, _UNKNOWN), {"pwdMaxFailure": [b"3"]}, False),
        ((_NONE, _NONE, _UNKNOWN, _UNKNOWN), {"pwdMaxFailure": [b"1"]}, False),
    ],
)
def test_nobody_signs_in_where_it_is_not_known_whether_a_failure_is_on_record(
    answers: tuple[type[ldap.LDAPError], ...], policy: dict[str, list[bytes]], *, allowed: bool
) -> None:
    session = State(Raw(*(error(kind) for kind in answers)), policy)
    assert ldap_lock.may_bind(session, "uid=a") is allowed


def test_a_server_without_password_modify_is_sent_nothing() -> None:
    """Never userPassword raw: the server would store it as it comes."""
    raw = Raw()
    (done,) = target(raw, password_modify=False).set([NewPassword(cs_object("a"), GOOD)])
    assert done.code is Code.SET_UNSUPPORTED
    assert target(raw, password_modify=False).change(cs_object("a"), GOOD, GOOD).code is Code.SET_UNSUPPORTED
    assert raw.started == []


def test_must_change_where_the_server_cannot_is_sent_nothing() -> None:
    raw = Raw()
    (done,) = target(raw).set([NewPassword(cs_object("a"), GOOD, must_change=True)])
    assert done.code is Code.SET_UNSUPPORTED
    assert raw.started == []


def test_several_are_in_flight_and_results_are_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ldap_connection, "WINDOW", 2)
    answers = [ldap.COMPARE_TRUE()] * 3 + [[], error(ldap.CONSTRAINT_VIOLATION), []]
    raw = Raw(*answers)
    accounts = [cs_object(name, f"uid={name}") for name in "abc"]
    results = target(raw).set([NewPassword(one, GOOD) for one in accounts])
    assert [one.code for one in results] == [Code.SUCCESS, Code.POLICY, Code.SUCCESS]
    assert [name for name, _ in raw.started] == ["compare_ext"] * 3 + ["passwd"] * 3
    assert raw.started[3][1] == ("uid=a", None, GOOD)


@pytest.mark.parametrize("kind", [ldap.SERVER_DOWN, ldap.TIMEOUT, ldap.CONNECT_ERROR])
def test_a_connection_that_breaks_is_no_result(kind: type[ldap.LDAPError]) -> None:
    raw = Raw(ldap.COMPARE_TRUE(), error(kind, GOOD))
    with pytest.raises(TargetUnavailable):
        target(raw).set([NewPassword(cs_object("a", "uid=a"), GOOD)])


def test_an_operation_that_cannot_be_sent_is_unavailable() -> None:
    def start() -> int:
        raise error(ldap.SERVER_DOWN)

    with pytest.raises(TargetUnavailable):
        list(in_flight(Session(Raw(), "h", 1.0), [start]))


def test_no_name_or_no_password_is_no_bind() -> None:
    """RFC 4513 5.1.2: a server says yes to a name with an empty password."""
    raw = Raw()
    for name, password in (("", "x"), ("cn=b", "")):
        with pytest.raises(TargetDenied):
            ldap_connection.bind(Session(raw, "h", 1.0), name, password)
    assert raw.started == []


def test_closed_targets_do_nothing() -> None:
    for made in (
        LdapTarget(read_settings(LdapSettings, LDAP), opening("x")),
        AdTarget(read_settings(ActiveDirectorySettings, AD), opening("x")),
    ):
        with pytest.raises(TargetUnavailable):
            made.security()
        made.__exit__(None, None, None)


def test_active_directory_proves_nothing_without_an_authority() -> None:
    given = {"domain": "d.test", "principal": "x@D", "keytab": "/k"}
    made = AdTarget(read_settings(ActiveDirectorySettings, given), opening("x"))
    assert made.verify(cs_object(GUID), GOOD) is Proof.NOT_TRIED


def test_a_directory_that_is_told_to_read_no_changes() -> None:
    connector = LdapConnector(read_settings(LdapSettings, {**LDAP, "delta": "none"}), opening("x"))
    with pytest.raises(CapabilityMissing):
        next(connector.read(b"{}"))


def test_what_389_ds_refuses_is_not_tried_again() -> None:
    """Met on 389-ds 2.3: a NUL is a protocol error to it, and pwdReset is in its schema and cannot be written."""
    raw = Raw(ldap.COMPARE_TRUE(), error(ldap.PROTOCOL_ERROR))
    (done,) = target(raw).set([NewPassword(cs_object("a", "uid=a"), "Aa1-\0-x")])
    assert done.code is Code.POLICY
    raw = Raw(ldap.COMPARE_TRUE(), [], error(ldap.UNWILLING_TO_PERFORM))
    (done,) = target(raw, reset=True).set([NewPassword(cs_object("a", "uid=a"), GOOD, must_change=True)])
    assert done.code is Code.SET_UNSUPPORTED
    assert "was set" in done.detail
