"""What goes over the wire as values: times, SIDs, TTL-DNs, names, errors."""

from datetime import UTC, datetime, timedelta

import ldap
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bastide.directory import entries, names
from bastide.directory.entries import Entry, from_filetime, read_ttl, to_filetime
from bastide.directory.session import Unsaid, door, translate
from bastide.domain.errors import (
    CapabilityMissing,
    DirectoryDenied,
    DirectoryError,
    DirectoryUnavailable,
    InvalidInput,
    NoSuchObject,
    NotFound,
    ObjectExists,
)
from bastide.domain.ids import Sid
from bastide.domain.roles import Scope

#: Seconds and microseconds after 1602.
MOMENTS = st.builds(
    lambda seconds, micros: (
        datetime(1602, 1, 1, tzinfo=UTC) + timedelta(seconds=seconds, microseconds=micros)
    ),
    st.integers(0, 8000 * 365 * 86400),
    st.integers(0, 999_999),
)


@settings(deadline=None)
@given(MOMENTS)
def test_account_expires_goes_there_and_back(moment: datetime) -> None:
    assert from_filetime(to_filetime(moment)) == moment


def test_account_expires_by_hand() -> None:
    """The value that ldifde shows for the first second of 2020."""
    assert to_filetime(datetime(2020, 1, 1, tzinfo=UTC)) == 132223104000000000
    assert from_filetime(0) is None
    assert from_filetime(0x7FFFFFFFFFFFFFFF) is None
    assert to_filetime(datetime(1601, 1, 1, tzinfo=UTC)) not in {0, 0x7FFFFFFFFFFFFFFF}
    assert from_filetime(0x7FFFFFFFFFFFFFFE) == datetime.max.replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "dn", "left"),
    [
        ("<TTL=59>,CN=a,DC=x", "CN=a,DC=x", 59),
        ("<TTL=59,CN=a,DC=x>", "CN=a,DC=x", 59),
        ("<TTL=0>,CN=a\nb", "CN=a\nb", 0),
        ("CN=<TTL=5>\\,x,DC=x", "CN=<TTL=5>\\,x,DC=x", None),
        ("CN=a", "CN=a", None),
    ],
)
def test_ttl_dns_are_read(text: str, dn: str, left: int | None) -> None:
    assert read_ttl(text) == (dn, None if left is None else timedelta(seconds=left))


def test_a_ttl_is_never_longer_than_asked_and_never_nothing() -> None:
    sid = Sid("S-1-5-21-1-2-3-4")
    assert entries.member_value(sid, timedelta(seconds=59.999)) == b"<TTL=59,<SID=S-1-5-21-1-2-3-4>>"
    assert entries.member_value(sid, timedelta(milliseconds=3)) == b"<TTL=1,<SID=S-1-5-21-1-2-3-4>>"
    assert entries.member_value(sid, None) == b"<SID=S-1-5-21-1-2-3-4>"


@settings(deadline=None)
@given(st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=40))
def test_any_name_is_one_rdn(name: str) -> None:
    dn = entries.child(name, "OU=x,DC=y")
    parsed = ldap.dn.str2dn(dn)
    assert len(parsed) == 3
    assert parsed[0][0][1] == name


@pytest.mark.parametrize(
    ("group_type", "scope"),
    [
        (-2147483646, Scope.GLOBAL),
        (-2147483644, Scope.DOMAIN_LOCAL),
        (-2147483640, Scope.UNIVERSAL),
        (-2147483643, Scope.BUILTIN),
        (2, Scope.GLOBAL),
    ],
)
def test_scopes(group_type: int, scope: Scope) -> None:
    assert entries.scope_of(group_type) is scope


def test_state_that_is_not_shown_is_no_state() -> None:
    """A PRIV account saw CORP people as enabled for ever, because CORP showed neither attribute."""
    entry = Entry.read(
        "CN=alice",
        {
            "objectSid": [Sid("S-1-5-21-1-2-3-4").to_bytes()],
            "sAMAccountName": [b"alice"],
            "objectGUID": [b"0" * 16],
        },
    )
    with pytest.raises(DirectoryDenied, match="userAccountControl"):
        entries.person(entry, "corp.example")
    half = Entry(entry.dn, {**entry.attributes, "useraccountcontrol": [b"512"]})
    with pytest.raises(DirectoryDenied, match="accountExpires"):
        entries.person(half, "corp.example")


@pytest.mark.parametrize(
    ("typed", "field", "value"),
    [
        ("alice", "account", "alice"),
        (" PRIV\\alice ", "account", "alice"),
        ("PRIV\\alice", "domain", "PRIV"),
        ("alice@x.y", "upn", "alice@x.y"),
        ("s-1-5-21-1-2-3-4", "sid", "S-1-5-21-1-2-3-4"),
    ],
)
def test_names_are_told_apart(typed: str, field: str, value: str) -> None:
    assert getattr(names.read_name(typed), field) == value


def test_a_domain_is_its_own_by_both_names() -> None:
    for typed in ("PRIV\\a", "priv\\a", "Priv.Example\\a", "a"):
        names.require_domain(names.read_name(typed), "PRIV", "priv.example")
    with pytest.raises(NotFound):
        names.require_domain(names.read_name("CORP\\a"), "PRIV", "priv.example")


@pytest.mark.parametrize("bad", [*names.FORBIDDEN, "x.", "x" * 65, ""])
def test_names_that_ad_refuses_are_refused_here(bad: str) -> None:
    with pytest.raises(InvalidInput):
        names.check_account_name(bad)


@pytest.mark.parametrize(
    ("raised", "expected"),
    [
        (ldap.SERVER_DOWN, DirectoryUnavailable),
        (ldap.TIMEOUT, DirectoryUnavailable),
        (ldap.UNAVAILABLE, DirectoryUnavailable),
        (ldap.BUSY, DirectoryUnavailable),
        (ldap.LOCAL_ERROR, DirectoryUnavailable),
        (ldap.INSUFFICIENT_ACCESS, DirectoryDenied),
        (ldap.INVALID_CREDENTIALS, DirectoryDenied),
        (ldap.STRONG_AUTH_REQUIRED, DirectoryDenied),
        (ldap.NO_SUCH_OBJECT, NoSuchObject),
        (ldap.ALREADY_EXISTS, ObjectExists),
        (ldap.UNAVAILABLE_CRITICAL_EXTENSION, CapabilityMissing),
        (ldap.UNWILLING_TO_PERFORM, Unsaid),
        (ldap.CONSTRAINT_VIOLATION, Unsaid),
        (ldap.LDAPError, Unsaid),
    ],
)
def test_one_door_for_ldap_errors(raised: type[ldap.LDAPError], expected: type[DirectoryError]) -> None:
    cause = raised({"desc": "No", "info": "000020D6: because\n  it   is\x00so " + "x" * 500})
    with pytest.raises(DirectoryError) as caught, door("write CN=a", "dc1"):
        raise cause
    assert type(caught.value) is expected
    assert caught.value.__cause__ is cause
    assert "cannot write CN=a on dc1: No (000020D6: because it is" in caught.value.message
    assert caught.value.remedy
    assert len(caught.value.message) < 300


def test_an_error_without_details_is_one_too() -> None:
    assert "SERVER_DOWN" in translate(ldap.SERVER_DOWN(), "read", "dc1").message
    assert translate(ldap.SERVER_DOWN("text"), "read", "dc1").message
