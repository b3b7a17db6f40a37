"""May this person ask? One test or more for each number of policy.py."""

from dataclasses import replace
from datetime import UTC, datetime, time, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bastide.domain import carriers, policy, roles
from bastide.domain.errors import CapabilityMissing, Conflict, InvalidInput, NotAuthorized, Refused
from bastide.domain.ids import RequestId, Sid, parse_name, parse_text
from bastide.domain.people import Demand, Forest
from bastide.domain.policy import Draft
from bastide.domain.requests import Request, State
from bastide.domain.roles import Carrier, Role, Scope, Ttl, Window
from tests.support import build
from tests.support.build import NOW

NIGHTS = Window(frozenset({4}), time(22), time(6), "Europe/Zurich")  # Friday night into Saturday


def submit(draft: Draft | None = None, **changes: Any) -> Request:
    fields: dict[str, Any] = {
        "id": RequestId(build.uid("new")),
        "role": build.role(),
        "groups": (build.group(),),
        "user": build.user(),
        "actor": build.actor(),
        "open_requests": (),
        "now": NOW,
    }
    return policy.submit(draft or Draft(justification="patch the server"), **fields | changes)


def test_a_role_without_gates_goes_straight_on() -> None:
    request = submit()
    assert request.state is State.PROCESSING
    assert request.ttl == timedelta(hours=1)


@pytest.mark.parametrize(
    "changes",
    [
        {"role": build.role(enabled=False)},
        {"user": build.user(enabled=False)},
        {"groups": ()},
        {"groups": (build.group(enabled=False),)},
    ],
)
def test_1_nothing_switched_off_or_missing(changes: dict[str, Any]) -> None:
    with pytest.raises(Conflict):
        submit(**changes)


def test_2_only_the_person_and_only_a_candidate() -> None:
    with pytest.raises(NotAuthorized, match="subject"):
        submit(actor=build.actor("mallory", 1666))
    with pytest.raises(NotAuthorized, match="candidate"):
        submit(role=build.role(candidates=(build.subject("bob", 1102),)))


def test_2_a_group_of_the_caller_makes_a_candidate() -> None:
    role = build.role(candidates=(build.subject("Operators", 3001, Forest.PRIV, is_group=True),))
    assert submit(role=role, actor=build.actor(groups=frozenset({build.sid(3001)}))).state is State.PROCESSING


@pytest.mark.parametrize("seconds", [0, -1, 299, 28_801, 10**9])
def test_3_time_to_live_within_bounds(seconds: int) -> None:
    with pytest.raises(InvalidInput, match="ttl"):
        submit(Draft(ttl=timedelta(seconds=seconds), justification="x"))


def test_3_a_start_is_neither_past_nor_far_away() -> None:
    for start in (NOW - timedelta(minutes=6), NOW + timedelta(days=91)):
        with pytest.raises(InvalidInput, match="start_at"):
            submit(Draft(start_at=start, justification="x"))
    later = NOW + timedelta(hours=2)
    request = submit(Draft(start_at=later, justification="x"))
    assert (request.state, request.start_at) == (State.SCHEDULED, later)
    assert submit(Draft(start_at=NOW - timedelta(minutes=1), justification="x")).state is State.PROCESSING


def test_3_the_window_counts_at_the_start() -> None:
    role = build.role(window=NIGHTS)
    with pytest.raises(Conflict) as refusal:
        submit(role=role)
    assert "Friday from 22:00 to 06:00 the next day" in refusal.value.remedy
    friday_night = datetime(2026, 11, 27, 21, 30, tzinfo=UTC)
    assert submit(Draft(start_at=friday_night, justification="x"), role=role).state is State.SCHEDULED


@pytest.mark.parametrize(
    ("moment", "is_open"),
    [
        (datetime(2026, 11, 27, 20, 59, tzinfo=UTC), False),
        (datetime(2026, 11, 27, 21, 0, tzinfo=UTC), True),
        (datetime(2026, 11, 28, 4, 59, tzinfo=UTC), True),
        (datetime(2026, 11, 28, 5, 0, tzinfo=UTC), False),
        (datetime(2026, 11, 28, 21, 30, tzinfo=UTC), False),
        (datetime(2026, 7, 3, 20, 0, tzinfo=UTC), True),  # summer time
    ],
)
def test_3_a_window_over_midnight_belongs_to_the_day_it_opened(moment: datetime, *, is_open: bool) -> None:
    assert NIGHTS.contains(moment) is is_open


@pytest.mark.parametrize(
    ("now", "opens"),
    [
        (datetime(2026, 11, 20, 9, tzinfo=UTC), datetime(2026, 11, 20, 21, tzinfo=UTC)),  # a Friday
        (datetime(2026, 11, 20, 21, tzinfo=UTC), None),
        (datetime(2026, 11, 21, 5, tzinfo=UTC), datetime(2026, 11, 27, 21, tzinfo=UTC)),
        (datetime(2026, 6, 20, 5, tzinfo=UTC), datetime(2026, 6, 26, 20, tzinfo=UTC)),
    ],
)
def test_3_a_closed_window_says_when_it_opens(now: datetime, opens: datetime | None) -> None:
    assert policy.opens_again(build.role(window=NIGHTS), now) == opens
    assert policy.opens_again(build.role(), now) is None


def test_3_an_hour_that_the_clocks_leave_out_is_taken_by_the_next() -> None:
    sundays = Window(frozenset({6}), time(2, 30), time(4), "Europe/Zurich")
    opens = sundays.next_opening(datetime(2026, 3, 28, 12, tzinfo=UTC))
    assert opens == datetime(2026, 3, 29, 1, 30, tzinfo=UTC)
    assert sundays.contains(opens)


@given(
    st.timedeltas(timedelta(0), timedelta(days=730)).map(lambda later: NOW + later),
    st.frozensets(st.integers(0, 6), min_size=1),
    st.times(),
    st.sampled_from(["UTC", "Europe/Zurich", "America/New_York", "Pacific/Auckland"]),
)
def test_3_the_next_opening_lies_ahead_within_a_week(
    now: datetime, days: frozenset[int], opens: time, zone: str
) -> None:
    window = Window(days, opens.replace(second=0, microsecond=0), time(12), zone)
    found = window.next_opening(now)
    assert found is not None
    assert timedelta(0) < found - now <= timedelta(days=8)


@pytest.mark.parametrize(
    ("role", "methods", "says"),
    [
        (build.role(mfa=True), (), "a second factor"),
        (build.role(mfa=True), ("totp",), ""),
        (build.role(mfa=True, factor=Demand.WEBAUTHN), ("totp",), "a security key"),
        (build.role(mfa=True, factor=Demand.WEBAUTHN), ("totp", "webauthn"), ""),
        (build.role(), (), ""),
    ],
)
def test_6_what_must_be_set_up_first_is_said(role: Role, methods: tuple[str, ...], says: str) -> None:
    said = policy.lacks(role, build.user(), build.actor(), methods)
    assert bool(said) == bool(says)
    assert says in said
    everyday = policy.lacks(role, build.user(), build.actor(forest=Forest.CORP), ())
    assert everyday, "the everyday account shows a second factor whatever the role says"


def test_3_a_window_within_the_day() -> None:
    office = Window(frozenset(range(5)), time(8), time(18), "UTC")
    assert not office.contains(NOW)  # a Saturday
    assert office.contains(NOW + timedelta(days=2))


def test_4_words() -> None:
    with pytest.raises(InvalidInput, match="justification"):
        submit(Draft())
    with pytest.raises(InvalidInput, match="401"):
        submit(Draft(justification="x" * 401))
    with pytest.raises(InvalidInput, match="control"):
        submit(Draft(justification="evil\x1b[31m"))
    ticketed = build.role(ticket_pattern=r"CHG\d{7}")
    with pytest.raises(InvalidInput, match="ticket"):
        submit(Draft(justification="x", ticket="CHG1"), role=ticketed)
    assert submit(Draft(justification="x", ticket="CHG0012345"), role=ticketed).ticket == "CHG0012345"


def test_5_not_too_many() -> None:
    pending = build.request(State.PENDING_APPROVAL)
    with pytest.raises(Conflict, match="pending already"):
        submit(open_requests=(pending,))
    many = [build.request(State.ACTIVE, role=build.uid(str(i))) for i in range(policy.OPEN_LIMIT)]
    with pytest.raises(Conflict, match="limit"):
        submit(open_requests=many)
    assert (
        submit(open_requests=[build.request(State.ACTIVE)]).state is State.PROCESSING
    )  # overlapping grants are counted


def test_6_corp_alone_never_activates() -> None:
    assert submit(actor=build.actor(forest=Forest.CORP)).state is State.PENDING_MFA
    assert submit(role=build.role(mfa=True)).state is State.PENDING_MFA


def test_why_not_says_what_submit_would() -> None:
    fields: dict[str, Any] = {
        "groups": (build.group(),),
        "user": build.user(),
        "actor": build.actor(),
        "open_requests": (),
        "now": NOW,
    }
    assert policy.why_not(role=build.role(), **fields) == ""
    assert "switched off" in policy.why_not(role=build.role(enabled=False), **fields)


BAD_ROLES: list[dict[str, Any]] = [
    {"privileges": ()},
    {"privileges": (build.group().id, build.group().id)},
    {"candidates": ()},
    {"name": ""},
    {"name": "x" * 257},
    {"description": "x" * 1001},
    {"ttl": Ttl(minimum=timedelta(0))},
    {"ttl": Ttl(minimum=timedelta(hours=2))},
    {"ttl": Ttl(maximum=timedelta(days=31))},
    {"pending_life": timedelta(0)},
    {"stages": (build.stage(needed=0),)},
    {"stages": (build.stage(needed=3),)},
    {"stages": (build.stage(rids=(1201, 1201)),)},
    {"stages": (build.stage("a"), build.stage("a"))},
    {"ticket_pattern": "("},
    {"ticket_pattern": "(a+)+$"},
    {"ticket_pattern": r"(a)\1"},
    {"ticket_pattern": "a" * 201},
    {"window": replace(NIGHTS, days=frozenset())},
    {"window": replace(NIGHTS, days=frozenset({7}))},
    {"window": replace(NIGHTS, closes=NIGHTS.opens)},
    {"window": replace(NIGHTS, zone="Mars/Olympus")},
    {"window": replace(NIGHTS, zone="../../etc/passwd")},
]


@pytest.mark.parametrize("changes", BAD_ROLES)
def test_a_role_that_can_never_work_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput):
        roles.check(build.role(**changes))


def test_a_sound_role_is_taken() -> None:
    role = build.role(stages=(build.stage(),), window=NIGHTS, ticket_pattern=r"(CHG|INC)\d{7}")
    assert roles.check(role) == role


@pytest.mark.parametrize(
    ("carrier", "scope", "single", "shadow", "error"),
    [
        (Carrier.FOREIGN_PRINCIPAL, Scope.DOMAIN_LOCAL, False, False, None),
        (Carrier.FOREIGN_PRINCIPAL, Scope.BUILTIN, False, False, None),
        (Carrier.FOREIGN_PRINCIPAL, Scope.GLOBAL, False, False, Conflict),
        (Carrier.FOREIGN_PRINCIPAL, Scope.UNIVERSAL, False, True, Conflict),
        (Carrier.FOREIGN_PRINCIPAL, Scope.DOMAIN_LOCAL, True, False, Conflict),
        (Carrier.SHADOW_PRINCIPAL, Scope.GLOBAL, False, True, None),
        (Carrier.SHADOW_PRINCIPAL, Scope.GLOBAL, False, False, CapabilityMissing),
        (Carrier.DIRECT, Scope.GLOBAL, True, False, None),
        (Carrier.DIRECT, Scope.GLOBAL, False, False, Conflict),
    ],
)
def test_which_carrier_carries_which_group(
    carrier: Carrier, scope: Scope, *, single: bool, shadow: bool, error: type[Exception] | None
) -> None:
    def check() -> None:
        carriers.check("G", scope, carrier, security=True, shadow_principals=shadow, single_forest=single)

    if error is None:
        check()
    else:
        with pytest.raises(error) as refusal:
            check()
        assert isinstance(refusal.value, Refused | CapabilityMissing)
        assert refusal.value.remedy


@given(st.binary(min_size=0, max_size=80))
def test_a_binary_sid_is_read_or_refused_and_comes_back_the_same(raw: bytes) -> None:
    try:
        sid = Sid.from_bytes(raw)
    except InvalidInput:
        return
    assert sid.to_bytes()[1:] == raw[1:]


@pytest.mark.parametrize(
    "text", ["", "S-1", "S-1-5", "S-1-5-21-4294967296", "s-1-5-21-1", "S-1-5-21-1)(objectClass=*"]
)
def test_what_is_no_sid_is_refused(text: str) -> None:
    with pytest.raises(InvalidInput):
        Sid.parse(text)


@pytest.mark.parametrize("text", ["", "  ", "a\x00b", "a\nb", "x" * 257, "evil\u202egnp.exe"])
def test_names_that_hide_or_do_not_fit_are_refused(text: str) -> None:
    with pytest.raises(InvalidInput):
        parse_name("name", text)


def test_names_with_metacharacters_and_other_scripts_are_names() -> None:
    for text in ("Zoë Müller-Łukasz", "a,b+c=d<e>;(*)\\", "名前", "x" * 256):
        assert parse_name("name", f" {text} ") == text
    assert parse_text("text", "line\r\nnext\ttab", 20) == "line\nnext\ttab"
