"""Grants are counted: no end takes from another grant, and no claim is earlier than the directory allows."""

from datetime import timedelta

from hypothesis import given
from hypothesis import strategies as st

from bastide.domain import audit, grants, totp
from bastide.domain.errors import AuditBroken
from bastide.domain.ids import GroupId, RequestId
from bastide.domain.requests import GRANTING, Request, State
from bastide.domain.roles import Enforcer
from tests.support import build
from tests.support.build import NOW

GROUPS = [GroupId(build.uid(f"g{i}")) for i in range(3)]
LIVE_STATES = [State.PROCESSING, State.ACTIVE, State.CLOSING, State.CLOSED]

a_request = st.builds(
    lambda n, state, minutes, groups: build.request(
        state,
        id=RequestId(build.uid(f"r{n}")),
        ends_at=NOW + timedelta(minutes=minutes),
        privileges=tuple(sorted(groups)),
    ),
    st.integers(0, 10**6),
    st.sampled_from(LIVE_STATES),
    st.integers(-30, 90),
    st.sets(st.sampled_from(GROUPS), min_size=1),
)


def _wants(request: Request) -> bool:
    return request.state in GRANTING and request.ends_at is not None and request.ends_at > NOW


@given(st.lists(a_request, max_size=8))
def test_a_group_is_present_exactly_while_somebody_wants_it(requests: list[Request]) -> None:
    wanted = grants.desired(build.user(), requests, NOW)
    for group in GROUPS:
        holders = [r for r in requests if _wants(r) and group in r.privileges]
        assert (group in wanted.present) is bool(holders)
        if holders:
            assert wanted.present[group] == max(r.last_end() for r in holders)
            assert group not in wanted.absent


@given(st.lists(a_request, max_size=8))
def test_the_account_is_open_to_the_end_of_the_latest_grant_and_no_longer(requests: list[Request]) -> None:
    wanted = grants.desired(build.user(), requests, NOW)
    ends = [r.last_end() for r in requests if _wants(r)]
    assert wanted.opens_until == max(ends, default=None)
    if wanted.closes_now:
        assert not ends


def test_an_account_kept_alive_is_never_opened_or_closed() -> None:
    alive = build.user(kept_alive=True)
    for state in (State.ACTIVE, State.CLOSING):
        wanted = grants.desired(alive, [build.request(state, ends_at=NOW + timedelta(hours=1))], NOW)
        assert (wanted.opens_until, wanted.closes_now) == (None, False)
    assert grants.enforcer_for(alive, link_ttl=False) is Enforcer.REMOVAL
    assert grants.enforcer_for(build.user(), link_ttl=False) is Enforcer.DORMANT_ACCOUNT
    assert grants.enforcer_for(alive, link_ttl=True) is Enforcer.LINK_TTL


def test_what_the_directory_ends_alone() -> None:
    end, cap = NOW + timedelta(hours=1), timedelta(minutes=15)
    later = end + timedelta(hours=3)
    assert grants.directory_end(Enforcer.LINK_TTL, end, later, cap) == end + cap
    assert grants.directory_end(Enforcer.DORMANT_ACCOUNT, end, later, cap) == later + cap
    assert grants.directory_end(Enforcer.REMOVAL, end, later, cap) is None


def _records(count: int) -> list[audit.Record]:
    records: list[audit.Record] = []
    for seq in range(1, count + 1):
        event = audit.Event("test", NOW, "S-1-5-1", "ä\u2028", data={"n": seq, "x": "ü"})
        records.append(audit.chain(event, seq, records[-1].hash if records else audit.GENESIS))
    return records


@given(st.integers(1, 6), st.data())
def test_any_change_to_the_chain_is_found(count: int, data: st.DataObject) -> None:
    records = _records(count)
    assert len(list(audit.verify(records))) == count
    at = data.draw(st.integers(0, count - 1))
    field = data.draw(
        st.sampled_from(
            ["kind", "actor", "actor_name", "subject", "subject_name", "request", "data", "hash", "previous"]
        )
    )
    values = {name: getattr(records[at], name) for name in audit.Record.__slots__}
    tampered = [*records[:at], audit.Record(**{**values, field: values[field] + "x"}), *records[at + 1 :]]
    _must_break(tampered, at + 1)
    _must_break(
        [*records[:at], *records[at + 1 :]] if at < count - 1 else [*records, records[0]],
        at + 1 if at < count - 1 else count + 1,
    )


def _must_break(records: list[audit.Record], seq: int) -> None:
    try:
        list(audit.verify(records))
    except AuditBroken as error:
        assert error.seq == seq
        return
    raise AssertionError("the change was not found")


def test_rfc_6238_vectors_and_the_skew_of_one_step() -> None:
    secret = b"12345678901234567890"
    moment = NOW.fromtimestamp(1111111109, tz=NOW.tzinfo)
    assert totp.matching_step(secret, "081804", moment) == 0x23523EC
    assert totp.matching_step(secret, "081804", moment + timedelta(seconds=30)) == 0x23523EC
    assert totp.matching_step(secret, "081804", moment + timedelta(seconds=61)) is None
    assert totp.matching_step(secret, "", moment) is None
    assert totp.matching_step(secret, "０８１８０４", moment) is None
