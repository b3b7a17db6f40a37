"""Link values with an end ([MS-ADTS] 3.1.1.9.2) and shadow principals, against the recording controller: no free directory has them."""

from collections.abc import Iterator
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta

import pytest

from bastide.directory.active_directory import ActiveDirectory
from bastide.directory.constants import CONTROL_LINK_TTL
from bastide.directory.preparer import AdPreparer
from bastide.domain.errors import CapabilityMissing, DirectoryUnavailable, NoSuchObject
from bastide.domain.ids import Sid
from bastide.domain.people import Forest
from tests.support.recording_ldap import SHADOW, RecordingDc, connected

HOUR = timedelta(hours=1)


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as opened:
        yield opened


def directory(stack: ExitStack, *dcs: RecordingDc) -> ActiveDirectory:
    return ActiveDirectory(Forest.PRIV, stack.enter_context(connected(*dcs)))


def about(left: timedelta | None, wanted: timedelta) -> bool:
    return left is not None and timedelta(0) <= wanted - left <= timedelta(seconds=3)


def test_the_feature_is_proven_by_control_feature_and_level(stack: ExitStack) -> None:
    found = directory(stack, RecordingDc()).capabilities()
    assert (found.link_ttl, found.shadow_principals, found.sid_filtering) == (True, True, True)
    assert "enabled" in found.evidence["link_ttl"]


@pytest.mark.parametrize(
    ("feature", "control", "level"),
    [(False, True, 7), (True, False, 7), (True, True, 6)],
    ids=["feature", "control", "level"],
)
def test_what_lacks_one_proof_lacks_the_capability(
    stack: ExitStack, feature: bool, control: bool, level: int
) -> None:
    """F16: the feature is absent; an ordinary add would be permanent. Nothing is written at all."""
    dc = RecordingDc(feature=feature, control=control, level=level)
    group, user = dc.add_group("PAM-A"), dc.add_user("alice").ref()
    ad = directory(stack, dc)
    assert not ad.capabilities().link_ttl
    with pytest.raises(CapabilityMissing):
        ad.add_members(group.ref(), [user.sid], {user.sid: HOUR})
    assert group.links == {}
    assert not [op for op in dc.operations if op.kind == "modify"]


def test_a_limited_member_is_written_and_read_back_with_its_time(stack: ExitStack) -> None:
    dc = RecordingDc()
    group, a, b = dc.add_group("PAM-A").ref(), dc.add_user("alice").ref(), dc.add_user("bob").ref()
    ad = directory(stack, dc)
    ad.add_members(group, [a.sid, b.sid], {a.sid: timedelta(seconds=90.9)})
    (limited,) = [op for op in dc.operations if op.kind == "modify" and "TTL" in op.values[0]]
    assert limited.values == (f"<TTL=90,<SID={a.sid}>>",)
    assert about(ad.time_left(group, a.sid)["dc1"], timedelta(seconds=90))
    assert ad.time_left(group, b.sid) == {"dc1": None}
    assert CONTROL_LINK_TTL in dc.operations[-1].controls
    assert ad.observe([a.sid])["dc1"][a.sid].groups == {group.guid}


def test_without_the_control_no_ttl_is_shown(stack: ExitStack) -> None:
    """[MS-ADTS] 3.1.1.3.4.1.36: so it must be asked for; observe does not need it and is not confused by it."""
    dc = RecordingDc()
    group, a = dc.add_group("PAM-A").ref(), dc.add_user("alice").ref()
    ad = directory(stack, dc)
    ad.add_members(group, [a.sid], {a.sid: HOUR})
    raw = ad.connections.on("dc1", lambda session: session.values(group.dn, "member"))
    assert raw == [a.dn]


def test_it_ends_by_itself(stack: ExitStack) -> None:
    dc = RecordingDc()
    group, a = dc.add_group("PAM-A").ref(), dc.add_user("alice").ref()
    ad = directory(stack, dc)
    ad.add_members(group, [a.sid], {a.sid: HOUR})
    dc.clock_ahead = 3601
    assert ad.time_left(group, a.sid) == {}
    assert ad.observe([a.sid])["dc1"][a.sid].groups == frozenset()
    ad.remove_members(group, [a.sid])


def test_extending_and_cutting_short_leave_no_gap(stack: ExitStack) -> None:
    """A TTL is never laid over a link that is there: delete and add are one modify, so nobody sees the moment between."""
    dc = RecordingDc()
    group, a = dc.add_group("PAM-A").ref(), dc.add_user("alice").ref()
    ad = directory(stack, dc)
    for wanted in (HOUR, 2 * HOUR, timedelta(minutes=5)):
        ad.add_members(group, [a.sid], {a.sid: wanted})
        assert about(ad.time_left(group, a.sid)["dc1"], wanted)
    last = [op for op in dc.operations if op.kind == "modify"][-1]
    assert last.values == (f"<SID={a.sid}>", f"<TTL=300,<SID={a.sid}>>")


def test_a_standing_member_gets_an_end(stack: ExitStack) -> None:
    """F16: member already, for ever. It must not stay for ever under a grant that says one hour."""
    dc = RecordingDc()
    group, a, b = dc.add_group("PAM-A").ref(), dc.add_user("alice").ref(), dc.add_user("bob").ref()
    ad = directory(stack, dc)
    ad.add_members(group, [a.sid])
    ad.add_members(group, [a.sid, b.sid], {a.sid: HOUR, b.sid: HOUR})
    assert about(ad.time_left(group, a.sid)["dc1"], HOUR)
    assert about(ad.time_left(group, b.sid)["dc1"], HOUR)


def test_writing_the_same_limit_again_changes_nothing(stack: ExitStack) -> None:
    dc = RecordingDc()
    group, a = dc.add_group("PAM-A").ref(), dc.add_user("alice").ref()
    ad = directory(stack, dc)
    ad.add_members(group, [a.sid], {a.sid: HOUR})
    before = dict(dc.things[group.dn.lower()].links)
    ad.add_members(group, [a.sid], {a.sid: HOUR})
    assert dc.things[group.dn.lower()].links == before


def test_a_limit_that_is_not_there_on_reading_back_is_seen_and_undone(stack: ExitStack) -> None:
    """F16: the controller took the value and stored it for ever."""
    dc = RecordingDc()
    group, a = dc.add_group("PAM-A").ref(), dc.add_user("alice").ref()
    dc.forgets_ttl = True
    with pytest.raises(CapabilityMissing, match="without their time limit"):
        directory(stack, dc).add_members(group, [a.sid], {a.sid: HOUR})
    assert dc.things[group.dn.lower()].links == {}


def test_every_controller_is_written_and_read(stack: ExitStack) -> None:
    one = RecordingDc("dc1")
    group, a = one.add_group("PAM-A").ref(), one.add_user("alice").ref()
    two = RecordingDc("dc2").copy_of(one)
    ad = directory(stack, one, two)
    ad.add_members(group, [a.sid], {a.sid: HOUR})
    left = ad.time_left(group, a.sid)
    assert set(left) == {"dc1", "dc2"}
    assert all(about(one_left, HOUR) for one_left in left.values())


def test_a_controller_without_the_change_yet_is_seen(stack: ExitStack) -> None:
    """F16: dc2 does not know the group yet. The grant is written where it can be, and dc2 is missing from what is read back."""
    one = RecordingDc("dc1")
    a = one.add_user("alice").ref()
    two = RecordingDc("dc2").copy_of(one)
    group = one.add_group("PAM-A").ref()
    ad = directory(stack, one, two)
    ad.add_members(group, [a.sid], {a.sid: HOUR})
    assert set(ad.time_left(group, a.sid)) == {"dc1"}
    assert ad.observe_link(group, a.sid) == {"dc1": True, "dc2": None}
    assert ad.observe([a.sid])["dc2"][a.sid].groups == frozenset()


def test_removal_takes_limited_members_too(stack: ExitStack) -> None:
    dc = RecordingDc()
    group, a, b = dc.add_group("PAM-A").ref(), dc.add_user("alice").ref(), dc.add_user("bob").ref()
    ad = directory(stack, dc)
    ad.add_members(group, [a.sid], {a.sid: HOUR})
    ad.remove_members(group, [a.sid, b.sid])
    assert dc.things[group.dn.lower()].links == {}


# --------------------------------------------------------------------------------------------------- shadow principals


def test_a_shadow_principal_carries_a_corp_sid_and_takes_limited_members(stack: ExitStack) -> None:
    dc = RecordingDc()
    user, corp = dc.add_user("alice").ref(), Sid("S-1-5-21-7-8-9-1105")
    controllers = stack.enter_context(connected(dc))
    shadow = AdPreparer(controllers).create_shadow_principal("CORP.FileAdmins", corp)
    stored = dc.things[f"CN=CORP.FileAdmins,{SHADOW}".lower()]
    assert stored.attributes["msds-shadowprincipalsid"] == [corp.to_bytes()]
    assert stored.attributes["objectclass"] == [b"top", b"msDS-ShadowPrincipal"]
    assert (shadow.sid, shadow.guid) == (corp, stored.guid)
    ad = ActiveDirectory(Forest.PRIV, controllers)
    ad.add_members(shadow, [user.sid], {user.sid: HOUR})
    assert about(ad.time_left(shadow, user.sid)["dc1"], HOUR)
    # memberOf of the user does not show it: it is in another naming context.
    assert ad.observe([user.sid])["dc1"][user.sid].groups == {shadow.guid}
    assert ad.observe_link(shadow, user.sid) == {"dc1": True}
    ad.remove_members(shadow, [user.sid])
    assert ad.observe([user.sid])["dc1"][user.sid].groups == frozenset()


# --------------------------------------------------------------------------------------------------------- connections


def test_a_broken_connection_is_opened_again_once(stack: ExitStack) -> None:
    dc = RecordingDc()
    user = dc.add_user("alice").ref()
    ad = directory(stack, dc)
    assert ad.find_person("alice").ref.guid == user.guid
    dc.hang_up()
    assert ad.find_person("alice").ref.guid == user.guid


def test_a_dead_controller_is_tolerated_and_two_are_not(stack: ExitStack) -> None:
    one = RecordingDc("dc1")
    group, a = one.add_group("PAM-A").ref(), one.add_user("alice").ref()
    two = RecordingDc("dc2").copy_of(one)
    ad = directory(stack, one, two)
    ad.capabilities()
    two.close()
    ad.add_members(group, [a.sid])
    assert set(ad.observe([a.sid])) == {"dc1"}
    assert [c.reachable for c in ad.controllers()] == [True, False]
    one.close()
    for call in (
        lambda: ad.add_members(group, [a.sid]),
        lambda: ad.observe([a.sid]),
        lambda: ad.find_person("alice"),
    ):
        with pytest.raises(DirectoryUnavailable, match="no domain controller"):
            call()
    assert [c.reachable for c in ad.controllers()] == [False, False]


def test_an_end_is_refused_only_where_no_controller_knows_the_account(stack: ExitStack) -> None:
    one = RecordingDc("dc1")
    two = RecordingDc("dc2").copy_of(one)
    new = one.add_user("new").ref()
    ad = directory(stack, one, two)
    unknown = Sid(f"{new.sid.domain}-9999")
    end = datetime(2030, 1, 1, tzinfo=UTC)
    assert set(ad.set_ends({new.sid: end, unknown: end})) == {unknown}
    assert ad.observe([new.sid])["dc1"][new.sid].expires == end


def test_many_ends_are_written_also_where_dns_names_another_controller_meanwhile(
    stack: ExitStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = RecordingDc("dc1")
    users = [one.add_user(f"user{number}").ref().sid for number in range(70)]
    two, three = (RecordingDc(name).copy_of(one) for name in ("dc2", "dc3"))
    ad = directory(stack, one, two, three)
    known = iter([("dc1", "dc2")])
    names = ad.connections.names
    monkeypatch.setattr(ad.connections, "names", lambda: next(known, None) or names())
    ad.domain()
    known = iter([("dc1", "dc2")])
    end = datetime(2030, 1, 1, tzinfo=UTC)
    assert ad.set_ends(dict.fromkeys(users, end)) == {}
    states = ad.observe(users)
    assert states.keys() == {"dc1", "dc2", "dc3"}
    assert {one.expires for shown in states.values() for one in shown.values()} == {end}


def test_the_making_of_an_object_is_never_sent_twice(stack: ExitStack) -> None:
    """After a lost answer the object may be there: a second try would find its own name taken."""
    one, two = RecordingDc("dc1"), RecordingDc("dc2")
    preparer = AdPreparer(stack.enter_context(connected(one, two)))
    preparer.create_shadow_principal("first", Sid("S-1-5-21-7-8-9-1105"))
    one.loses_answer_of = "add"
    with pytest.raises(DirectoryUnavailable):
        preparer.create_shadow_principal("second", Sid("S-1-5-21-7-8-9-1106"))
    assert [op.dn.split(",")[0] for op in one.operations if op.kind == "add"] == ["CN=first", "CN=second"]
    assert not [op for op in two.operations if op.kind == "add"]


def test_a_desired_state_whose_answer_was_lost_is_sent_again(stack: ExitStack) -> None:
    dc = RecordingDc()
    group, a = dc.add_group("PAM-A").ref(), dc.add_user("alice").ref()
    ad = directory(stack, dc)
    ad.capabilities()
    dc.loses_answer_of = "modify"
    ad.add_members(group, [a.sid])
    assert ad.observe_link(group, a.sid) == {"dc1": True}


def test_what_is_gone_is_no_such_object(stack: ExitStack) -> None:
    dc = RecordingDc()
    group, a = dc.add_group("PAM-A").ref(), dc.add_user("alice").ref()
    ad = directory(stack, dc)
    del dc.things[group.dn.lower()]
    with pytest.raises(NoSuchObject):
        ad.add_members(group, [a.sid], {a.sid: HOUR})
    ad.remove_members(group, [a.sid])
