"""What lines of domain controllers say: Samba's JSON audit, Windows events as forwarders send them, and hostile ones."""

import json
from datetime import UTC, datetime

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bastide.domain.observed import Kind, Named, is_privileged
from bastide.domain.observed_lines import LINE_LIMIT, BadLineError, Format, read
from tests.support.intake_world import STRANGER, nxlog, samba_group, samba_password, samba_sign_in, winlogbeat

ADMINS = "CN=Domain Admins,CN=Users,DC=corp,DC=bastide,DC=test"
EVE = "CN=Eve,CN=Users,DC=corp,DC=bastide,DC=test"


@pytest.mark.parametrize("year", ["0001", "0002", "1999", "9999"])
def test_a_time_that_nothing_can_be_reckoned_from_refuses_its_line(year: str) -> None:
    line = samba_group(STRANGER, EVE, ADMINS, at=f"{year}-01-01T00:00:00.000000+0000")
    with pytest.raises(BadLineError, match="no time"):
        read(Format.SAMBA, "dc1", line)


def test_samba_lines() -> None:
    change = read(Format.SAMBA, "dc1", samba_group(STRANGER, EVE, ADMINS)).change
    assert change is not None
    assert (change.kind, change.event, change.actor.sid, change.target.dn, change.group.dn) == (
        Kind.MEMBER_ADDED,
        4728,
        STRANGER,
        EVE,
        ADMINS,
    )
    assert change.at == datetime(2026, 11, 20, 9, 0, 0, 1, UTC)
    password = read(Format.SAMBA, "dc1", samba_password(STRANGER, EVE, event=4723)).change
    assert password is not None
    assert (password.kind, password.target.dn) == (Kind.PASSWORD_CHANGED, EVE)
    sign_in = read(Format.SAMBA, "dc1", samba_sign_in(STRANGER, "eve")).change
    assert sign_in is not None
    assert (sign_in.kind, sign_in.target) == (Kind.SIGN_IN, Named(sid=STRANGER, name="eve"))


@pytest.mark.parametrize("write", [nxlog, winlogbeat])
@pytest.mark.parametrize("event", [4728, 4732, 4756])
def test_windows_members(write: object, event: int) -> None:
    said = write(  # type: ignore[operator]
        77, event, TargetUserName="Domain Admins", TargetSid="S-1-5-21-1-2-3-512", SubjectUserSid=STRANGER, SubjectUserName="eve",
        MemberSid="S-1-5-21-1-2-3-1105", MemberName=EVE,
    )  # fmt: skip
    heard = read(Format.WINDOWS, "wec", said)
    assert (heard.number, heard.computer) == (77, "windc.corp.bastide.test")
    change = heard.change
    assert change is not None
    assert change.record.startswith("77/")
    assert (change.actor.sid, change.target.sid, change.target.dn, change.group.name) == (
        STRANGER,
        "S-1-5-21-1-2-3-1105",
        EVE,
        "Domain Admins",
    )


def test_windows_passwords_and_sign_ins() -> None:
    said = winlogbeat(
        5, 4724, TargetUserName="alice", TargetSid=STRANGER, SubjectUserSid="S-1-5-18", SubjectUserName="x"
    )
    change = read(Format.WINDOWS, "wec", said).change
    assert change is not None
    assert (change.kind, change.target.sid, change.actor.sid) == (Kind.PASSWORD_RESET, STRANGER, "S-1-5-18")
    person = nxlog(6, 4624, TargetUserSid=STRANGER, TargetUserName="alice", LogonType=3, IpAddress="10.0.0.7")
    found = read(Format.WINDOWS, "wec", person).change
    assert found is not None
    assert (found.kind, found.address) == (Kind.SIGN_IN, "10.0.0.7")
    assert read(Format.WINDOWS, "wec", nxlog(7, 4624, TargetUserSid=STRANGER, LogonType=5)).change is None


def test_a_syslog_header_is_passed_over() -> None:
    line = b"<13>1 2026-11-20T09:00:00Z dc1 samba - - - \xef\xbb\xbf" + samba_group(STRANGER, EVE, ADMINS)
    assert read(Format.SAMBA, "dc1", line).change is not None


@pytest.mark.parametrize(
    "line",
    [
        samba_group(STRANGER, EVE, ADMINS, statusCode=50, status="insufficient access rights"),
        samba_group(STRANGER, EVE, ADMINS, event=4799),
        b'{"type":"dsdbChange","dsdbChange":{"statusCode":0},"timestamp":"2026-11-20T09:00:00.000001+0000"}',
    ],
)
def test_what_did_not_happen_or_is_none_of_ours_is_no_change(line: bytes) -> None:
    assert read(Format.SAMBA, "dc1", line).change is None


@pytest.mark.parametrize(
    ("format_", "line"),
    [
        (Format.SAMBA, b""),
        (Format.SAMBA, b"hello"),
        (Format.SAMBA, b"\xff\xfe"),
        (Format.SAMBA, b"[1]"),
        (Format.SAMBA, b"{}"),
        (Format.SAMBA, b"[" * 60_000),
        (Format.SAMBA, b'{"a":' + b"9" * 5000 + b"}"),
        (Format.SAMBA, b" " * (LINE_LIMIT + 1)),
        (Format.SAMBA, samba_group(STRANGER, EVE, ADMINS, at="yesterday")),
        (Format.SAMBA, samba_group(STRANGER, EVE, ADMINS, at="2026-13-40T09:00:00+0000")),
        (Format.SAMBA, samba_group(STRANGER, EVE, ADMINS, at="9999-12-31T23:59:59-1200")),
        (Format.WINDOWS, samba_group(STRANGER, EVE, ADMINS)),
        (Format.WINDOWS, nxlog(-1, 4728)),
        (Format.WINDOWS, nxlog(2**70, 4728)),
        (Format.WINDOWS, nxlog(1, 4728, Channel="Application")),
        (Format.WINDOWS, nxlog(1, 4728, computer="")),
    ],
)
def test_hostile_lines_are_refused_and_not_repeated(format_: Format, line: bytes) -> None:
    with pytest.raises(BadLineError) as refused:
        read(format_, "dc1", line)
    assert "yesterday" not in str(refused.value)


@given(st.binary(max_size=300), st.sampled_from(list(Format)))
def test_no_line_does_more_than_be_refused(line: bytes, format_: Format) -> None:
    for one in (line, b'{"type":' + line, b'{"winlog":{"event_data":' + line + b"}}"):
        try:
            read(format_, "dc1", one)
        except BadLineError:
            continue


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8), lambda inner: st.lists(inner, max_size=3)
)


# In a new folder Hypothesis makes its table of Unicode first: that is no fault of what is made.
@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.dictionaries(
        st.sampled_from(
            ["eventId", "statusCode", "status", "userSid", "user", "group", "dn", "remoteAddress"]
        ),
        JSON,
    )
)
def test_no_value_of_a_field_does_more_than_be_refused(body: dict[str, object]) -> None:
    for kind in ("groupChange", "passwordChange", "Authentication"):
        line = json.dumps(
            {
                "type": kind,
                kind: {"eventId": 4728, "statusCode": 0, **body},
                "timestamp": body.get("user", ""),
            }
        )
        try:
            read(Format.SAMBA, "dc1", line.encode())
        except BadLineError:
            continue
    windows = {
        "Channel": "Security",
        "Hostname": "x",
        "RecordNumber": 1,
        "EventID": 4728,
        "EventTime": "2026-01-01T00:00:00Z",
    }
    for said in (
        windows | {"MemberSid": body.get("user"), "EventType": body.get("status", "AUDIT_SUCCESS")},
        {
            "winlog": {**windows, "event_data": body, "record_id": body.get("dn")},
            "event": {"outcome": body.get("group")},
        },
    ):
        try:
            read(Format.WINDOWS, "wec", json.dumps(said).encode())
        except BadLineError:
            continue


def test_privileged_groups_by_sid_or_name() -> None:
    assert is_privileged(Named(sid="S-1-5-32-544"))
    assert is_privileged(Named(sid="S-1-5-21-1-2-3-519", name="anything"))
    assert not is_privileged(Named(sid="S-1-5-21-1-2-3-1512", name="Domain Admins"))
    assert is_privileged(Named(dn=ADMINS))
    assert not is_privileged(Named(dn="CN=Printers,DC=x"))
