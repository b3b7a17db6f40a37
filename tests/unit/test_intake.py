"""Events of domain controllers: matched to grants, each once; hostile ones are refused and counted. Gaps: test_intake_gaps.py."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from bastide.directory.memory import MemoryDirectory
from bastide.domain.audit import Event
from bastide.domain.break_glass import Envelope
from bastide.domain.errors import NotAuthorized
from bastide.domain.ids import Sid
from bastide.domain.observed import Judged, Kind, Named, Verdict
from bastide.domain.people import Forest
from bastide.store.observed import SqlObserved
from tests.support.build import NOW
from tests.support.intake_world import (
    STRANGER,
    WINDOWS,
    IntakeWorld,
    nxlog,
    samba_group,
    samba_password,
    samba_sign_in,
)

pytest_plugins = ["tests.support.intake_world"]
ADMINS = "CN=Domain Admins,CN=Users,DC=corp,DC=bastide,DC=test"
EVE = "CN=Eve,CN=Users,DC=corp,DC=bastide,DC=test"


@pytest.fixture
def world(intake_world: IntakeWorld) -> IntakeWorld:
    return intake_world


# -------------------------------------------------------------------------------------------------------------- verdicts


def test_what_bastide_did_is_explained_by_the_grant(world: IntakeWorld) -> None:
    request = world.ask()
    world.work()
    world.take(samba_group(world.own, world.user_dn(), world.group_dn()))
    (judged,) = world.judged()
    assert (judged.verdict, judged.request) == (Verdict.GRANT, request.id)
    assert world.audited("intake.unexplained") == []


def test_what_bastide_did_without_a_grant_is_its_own(world: IntakeWorld) -> None:
    world.take(samba_group(world.own, world.user_dn(), world.group_dn(), event=4729))
    (judged,) = world.judged()
    assert (judged.verdict, judged.request) == (Verdict.OWN, "")


def test_whom_bastide_adds_without_a_grant_nothing_explains(world: IntakeWorld) -> None:
    """Whoever has the keytab of the service account could add themselves."""
    world.take(samba_group(world.own, EVE, world.group_dn()), samba_group(world.own, EVE, ADMINS))
    assert [one.verdict for one in world.judged()] == [Verdict.UNEXPLAINED] * 2
    assert all("no grant" in one["reason"] for one in world.audited("intake.unexplained"))


def test_a_grant_explains_no_other_account_and_no_other_group(world: IntakeWorld) -> None:
    """(2): with its keytab, while the person has access."""
    world.ask()
    world.work()
    with world.store.read() as uow:
        user, group = uow.users.all()[0], uow.groups.all()[0]
    world.take(
        samba_group(world.own, user.corp.dn, group.priv.dn),
        samba_group(world.own, user.corp.dn, group.corp.dn),
        samba_group(world.own, user.priv.dn, group.corp.dn),
    )
    assert [one.verdict for one in world.judged()] == [Verdict.UNEXPLAINED] * 3


def test_the_link_of_a_group_is_bastides_own(world: IntakeWorld) -> None:
    with world.store.read() as uow:
        group = uow.groups.all()[0]
    foreign = f"CN={group.priv.sid},CN=ForeignSecurityPrincipals,DC=corp,DC=bastide,DC=test"
    world.take(samba_group(world.own, foreign, group.corp.dn), samba_group(world.own, foreign, ADMINS))
    found = {one.change.group.dn: one.verdict for one in world.judged()}
    assert found == {group.corp.dn: Verdict.OWN, ADMINS: Verdict.UNEXPLAINED}


def test_nobody_else_is_explained_by_a_grant(world: IntakeWorld) -> None:
    world.ask()
    world.work()
    world.take(samba_group(STRANGER, world.user_dn(), world.group_dn()), samba_group(STRANGER, EVE, ADMINS))
    assert [one.verdict for one in world.judged()] == [Verdict.UNEXPLAINED] * 2
    said = world.audited("intake.unexplained")
    assert {one["group"] for one in said} == {world.group_dn(), ADMINS}
    assert all(one["actor"] == STRANGER for one in said)


def test_nothing_is_judged_before_what_explains_it_may_have_come(world: IntakeWorld) -> None:
    world.take(samba_group(STRANGER, EVE, ADMINS))
    world.clock.move(minutes=4)
    world.work()
    assert [one.verdict for one in world.all()] == [Verdict.PENDING]
    assert [one.verdict for one in world.judged()] == [Verdict.UNEXPLAINED]


def test_what_is_told_of_twice_is_there_once(world: IntakeWorld) -> None:
    line = samba_group(STRANGER, EVE, ADMINS)
    world.take(line, line)
    assert len(world.judged()) == 1
    world.take(line)
    assert [one.verdict for one in world.judged()] == [Verdict.UNEXPLAINED]
    assert len(world.audited("intake.unexplained")) == 1


def test_what_concerns_nothing_privileged_goes_no_further(world: IntakeWorld) -> None:
    printers = "CN=Printers,CN=Users,DC=corp,DC=bastide,DC=test"
    world.take(
        samba_group(STRANGER, EVE, printers), samba_password(STRANGER, EVE), samba_sign_in(STRANGER, "eve")
    )
    assert world.judged() == []


def test_passwords_of_ours(world: IntakeWorld) -> None:
    with world.store.read() as uow:
        user = uow.users.all()[0]
    world.clock.move(hours=1)
    world.take(samba_password(STRANGER, user.priv.dn, at=world.clock.now().isoformat()))
    world.take(nxlog(1, 4723, TargetSid=user.corp.sid, SubjectUserSid=user.corp.sid), source=WINDOWS)
    verdicts = {one.change.kind: one.verdict for one in world.judged()}
    assert verdicts == {Kind.PASSWORD_RESET: Verdict.UNEXPLAINED, Kind.PASSWORD_CHANGED: Verdict.OWN}


def test_a_password_that_the_audit_announced_is_explained(world: IntakeWorld) -> None:
    world.clock.move(hours=1)
    world.services.accounts.set_password(world.sign_in("dave", mfa=True), "priv.alice", "Kanarienvogel-2026")
    at = world.clock.now().isoformat()
    world.take(samba_password(world.own, world.user_dn(), at=at))
    (judged,) = world.judged()
    assert (judged.verdict, judged.because) == (Verdict.OWN, "the audit says that it was going to be set")


def test_what_bastide_announced_explains_nobody_else(world: IntakeWorld) -> None:
    """(3): who waits for it to set a password sets another one over it."""
    world.clock.move(hours=1)
    world.services.accounts.set_password(world.sign_in("dave", mfa=True), "priv.alice", "Kanarienvogel-2026")
    world.clock.move(minutes=4)
    world.take(samba_password(STRANGER, world.user_dn(), at=world.clock.now().isoformat()))
    (judged,) = world.judged()
    assert (judged.verdict, judged.because) == (Verdict.UNEXPLAINED, f"{STRANGER} is not Bastide")


def emergency(account: str) -> Envelope:
    return Envelope(
        number=1,
        account=Sid(account),
        name="emergency-1",
        domain="priv.bastide.test",
        sealed_at=NOW,
        sealed_by="",
        sealer="",
        threshold=2,
        custodians=("Ann", "Ben"),
        verifier="x",
        baseline={},
        seen={},
    )


@pytest.mark.parametrize(
    ("actor", "verdict"), [("admin", Verdict.OWN), ("own", Verdict.OWN), ("stranger", Verdict.UNEXPLAINED)]
)
def test_who_seals_an_emergency_account_sets_its_password(
    world: IntakeWorld, actor: str, verdict: Verdict
) -> None:
    """(3): with a ticket of their own."""
    account, admin = "S-1-5-21-9-9-9-1600", "S-1-5-21-9-9-9-500"
    sealed = emergency(account)
    with world.store.write() as uow:
        uow.envelopes.add(sealed)
        uow.audit.append(
            Event("break-glass.sealing", world.clock.now(), admin, "root", account, "emergency-1")
        )
        uow.commit()
    by = {"admin": admin, "own": world.own, "stranger": STRANGER}[actor]
    world.take(nxlog(1, 4724, TargetSid=account, SubjectUserSid=by), source=WINDOWS)
    assert [one.verdict for one in world.judged()] == [verdict]


def test_a_sign_in_with_a_priv_account_outside_of_a_grant(world: IntakeWorld) -> None:
    with world.store.read() as uow:
        user = uow.users.all()[0]
    world.take(samba_sign_in(user.priv.sid, user.name))
    (judged,) = world.judged()
    assert (judged.verdict, judged.because) == (Verdict.UNEXPLAINED, "the person had no access then")
    world.ask()
    world.work()
    now = world.clock.now() + timedelta(minutes=1)
    world.take(samba_sign_in(user.priv.sid, user.name, at=now.isoformat()))
    assert [one.verdict for one in world.judged()][-1] is Verdict.GRANT


# ------------------------------------------------------------------------------------------------ groups by DN alone


def named_by(world: IntakeWorld, name: str, rid: int = 512) -> str:
    """A group of CORP with that RID, its DN; or with that name from now on."""
    sid = Sid(f"{world.corp.domain_sid}-{rid}")
    known = [one for one in world.corp.replica("corpdc").groups() if one.ref.sid == sid]
    if not known:
        return world.corp.add_group(name, sid=sid).ref.dn
    ref = replace(known[0].ref, name=name, dn=f"CN={name},CN=Users,{world.corp.base_dn}")
    world.corp.write("corpdc", "rename", {("group", ref.guid): replace(known[0], ref=ref)})
    return ref.dn


def test_a_privileged_group_of_any_name_is_one(world: IntakeWorld) -> None:
    """A German domain has another name; anybody with the right over the object gives it any."""
    german, other = named_by(world, "Domänen-Admins"), named_by(world, "Printers", 1512)
    world.take(samba_group(STRANGER, EVE, german), samba_group(STRANGER, EVE, other))
    assert len(world.all()) == 2
    report = world.intake.changes.report(world.sign_in("dave"), None, unexplained=False)
    assert report.changes == (), "of neither anybody can tell yet"
    (judged,) = world.judged()
    assert (judged.verdict, judged.change.group.dn, judged.unsure) == (Verdict.UNEXPLAINED, german, False)
    assert judged.change.group.sid.endswith("-512")


def test_a_line_of_the_time_before_a_rename_is_recognised(world: IntakeWorld) -> None:
    old = named_by(world, "Tier 0")
    world.work()
    new = named_by(world, "Tier 1")
    world.take(samba_group(STRANGER, EVE, old), samba_group(STRANGER, EVE, new))
    assert {one.change.group.dn for one in world.judged()} == {old, new}


def test_while_nobody_can_tell_it_waits_and_holds_up_no_other(
    world: IntakeWorld, caplog: pytest.LogCaptureFixture
) -> None:
    german = named_by(world, "Domänen-Admins")
    printers = german.replace("Domänen-Admins", "Printers")
    world.corp.cut("corpdc")
    world.take(*(samba_group(STRANGER, EVE, dn) for dn in (german, printers, world.group_dn())))
    verdicts = {one.change.group.dn: one.verdict for one in world.judged()}
    pending, unexplained = Verdict.PENDING, Verdict.UNEXPLAINED
    assert verdicts == {german: pending, printers: pending, world.group_dn(): unexplained}
    world.judged()
    assert caplog.text.count("privileged groups of CORP are not looked up") == 1
    world.corp.heal("corpdc")
    assert {one.change.group.dn: one.verdict for one in world.judged()} == {
        german: unexplained,
        world.group_dn(): unexplained,
    }


def test_a_renamed_group_of_a_forest_without_anybody_of_ours_is_privileged() -> None:
    """What is told of before the first PAM user is added is not lost."""
    world = IntakeWorld(prepared=False)
    with world.store.read() as uow:
        assert (uow.users.all(), uow.groups.all()) == ((), ())
    world.take(samba_group(STRANGER, EVE, named_by(world, "Domänen-Admins")))
    assert [one.verdict for one in world.judged()] == [Verdict.UNEXPLAINED]
    world.close()


def test_a_forest_that_never_said_of_which_domain_it_is_may_have_any_group(world: IntakeWorld) -> None:
    world.corp.cut("corpdc")
    inside, elsewhere = f"CN=Tier 0,{world.corp.base_dn}", "CN=Tier 0,DC=example"
    below, ours = f"CN=Tier 0,DC=child,{world.priv.base_dn}", f"CN=Tier 0,OU=x,{world.priv.base_dn}"
    world.take(*(samba_group(STRANGER, EVE, dn) for dn in (inside, elsewhere, below, ours)))
    assert {one.change.group.dn for one in world.judged()} == {inside, elsewhere, below}
    world.corp.heal("corpdc")
    assert world.judged() == []


def test_while_one_directory_is_down_it_is_told_of_the_other(world: IntakeWorld) -> None:
    world.work()
    world.corp.cut("corpdc")
    corp, priv = f"CN=Tier 0,{world.corp.base_dn}", f"CN=Tier 0,{world.priv.base_dn}"
    world.take(samba_group(STRANGER, EVE, corp), samba_group(STRANGER, EVE, priv))
    assert [one.change.group.dn for one in world.judged()] == [corp]


def test_all_of_which_nobody_can_tell_are_put_off_at_once_and_nobody_is_asked_for_names(
    world: IntakeWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A minute of each wrote a commit for each 200, with a look-up of names."""
    put_off: list[int] = []
    real = SqlObserved.put_off

    def counted(self: SqlObserved, many: Sequence[Judged], judge_at: datetime) -> None:
        put_off.append(len(many))
        real(self, many, judge_at)

    monkeypatch.setattr(SqlObserved, "put_off", counted)
    asked: list[Collection[Sid]] = []
    named = MemoryDirectory.names

    def names(self: MemoryDirectory, sids: Collection[Sid]) -> Mapping[Sid, str]:
        asked.append(sids)
        return named(self, sids)

    monkeypatch.setattr(MemoryDirectory, "names", names)
    world.work()
    groups = [f"CN=Group {number},{world.corp.base_dn}" for number in range(450)]
    world.take(*(samba_group(STRANGER, EVE, dn) for dn in groups))
    world.take(samba_group("S-1-5-21-9-9-9-1501", EVE, world.group_dn()))
    world.corp.cut("corpdc")
    assert sum(one.verdict is Verdict.PENDING for one in world.judged()) == len(groups)
    assert [one for one in put_off if one] == [len(groups)]
    assert asked == [["S-1-5-21-9-9-9-1501"]] * 2, "each directory, for the one that is judged"
    world.clock.move(minutes=1)
    world.work()
    assert [one for one in put_off if one] == [len(groups)] * 2


# ------------------------------------------------------------------------------------------------------ sources and gaps


def test_refused_lines_are_counted_and_said_once_an_hour(world: IntakeWorld) -> None:
    world.take(b"junk", samba_group(STRANGER, EVE, ADMINS))
    world.take(b"junk", b"more")
    assert world.audited("intake.refused") == [{"count": 1, "because": "it holds no JSON"}]
    with world.store.read() as uow:
        station = uow.observed.station("dc1")
    assert station is not None
    assert (station.taken, station.refused) == (1, 3)


def test_a_source_speaks_for_its_computers_alone(world: IntakeWorld) -> None:
    world.take(nxlog(1, 4728, computer="other.corp.bastide.test", TargetSid="S-1-5-32-544"), source=WINDOWS)
    assert world.judged() == []
    assert "does not speak for" in world.audited("intake.refused")[0]["because"]


def test_half_a_character_refuses_its_own_line_alone(world: IntakeWorld) -> None:
    """(2)."""
    world.take(samba_group(STRANGER, "CN=E\ud800ve,DC=corp", ADMINS), samba_group(STRANGER, EVE, ADMINS))
    world.take(nxlog(7, 4728, computer="w\ud800dc", TargetSid="S-1-5-32-544"), source=WINDOWS)
    assert [one.change.target.dn for one in world.judged()] == [EVE]
    assert {one["because"] for one in world.audited("intake.refused")} == {"it holds half a character"}


def test_a_change_that_cannot_be_judged_holds_up_no_other(world: IntakeWorld) -> None:
    """As one was kept by an earlier version: of the year 1, from which no time can be taken away."""
    world.take(samba_password(STRANGER, world.user_dn()), samba_group(STRANGER, EVE, ADMINS))
    with world.store.write() as uow:
        one = next(
            one
            for one in uow.observed.since(datetime.min.replace(tzinfo=UTC), tuple(Verdict), 9)
            if not one.change.group.shown
        )
        broken = replace(one, change=replace(one.change, record="1", at=datetime(1, 1, 1, tzinfo=UTC)))
        uow.observed.add(broken, world.clock.now())
        uow.commit()
    world.judged()
    said = {one["record"]: one["reason"] for one in world.audited("intake.unexplained")}
    assert len(said) == 3
    assert "could not be judged" in said["1"]


def test_a_change_of_which_nobody_can_tell_whose_it_is_holds_up_no_other(world: IntakeWorld) -> None:
    """As one was kept by an earlier version: a SID whose last part is no number."""
    world.take(samba_group(STRANGER, EVE, ADMINS))
    with world.store.write() as uow:
        (one,) = uow.observed.since(NOW - timedelta(days=1), tuple(Verdict), 9)
        change = replace(one.change, record="1", group=Named(sid="S-1-5-21-9-9-9-x"))
        uow.observed.add(replace(one, change=change, unsure=True), world.clock.now())
        uow.commit()
    world.judged()
    said = {one["record"]: one["reason"] for one in world.audited("intake.unexplained")}
    assert len(said) == 2
    assert "could not be judged" in said["1"]


def test_a_source_that_is_silent_is_a_gap_until_it_is_heard(world: IntakeWorld) -> None:
    world.take(samba_sign_in(STRANGER, "eve"))
    for _ in range(3):
        world.clock.move(minutes=31)
        world.work()
    assert [one["because"] for one in world.audited("intake.gap")] == ["silent"]
    world.take(b"junk")
    assert world.audited("intake.heard") == []
    world.take(samba_sign_in(STRANGER, "eve"))
    assert len(world.audited("intake.heard")) == 1


def test_a_clock_that_is_ahead_counts_as_now(world: IntakeWorld) -> None:
    world.take(samba_group(STRANGER, EVE, ADMINS, at="2030-01-01T00:00:00.000000+0000"))
    (judged,) = world.all()
    assert judged.change.at == world.clock.now()


# --------------------------------------------------------------------------------------------------------------- report


def test_the_report_says_what_it_could_not_see(world: IntakeWorld) -> None:
    world.take(
        b"junk",
        samba_group(STRANGER, EVE, ADMINS),
        samba_group(world.own, world.user_dn(), world.group_dn(), event=4729),
    )
    world.judged()
    dave = world.sign_in("dave")
    everything = world.intake.changes.report(dave, None, unexplained=False)
    assert len(everything.changes) == 2
    assert any("1 line of dc1 was refused" in note for note in everything.notes)
    assert "wec was never heard" in everything.notes
    (one,) = world.intake.changes.report(dave, None, unexplained=True).changes
    assert one.change.group.dn == ADMINS
    later = world.clock.now() + timedelta(days=1)
    assert world.intake.changes.report(dave, later, unexplained=False).changes == ()
    with pytest.raises(NotAuthorized):
        world.intake.changes.report(world.sign_in("alice", Forest.CORP), None, unexplained=False)
