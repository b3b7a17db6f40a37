"""People and groups are called by name in what monitoring and events tell, with their SID; who has none stays a SID, and a directory that is down stops nothing."""

from collections.abc import Callable, Collection, Iterator, Mapping
from datetime import timedelta

import pytest

from bastide.directory.memory import MemoryDirectory
from bastide.domain import names
from bastide.domain.drift import Rule
from bastide.domain.errors import DirectoryUnavailable
from bastide.domain.ids import Sid
from bastide.domain.monitored import Kind
from bastide.domain.observed import Verdict
from bastide.domain.people import Forest
from bastide.services.names import MOST, Names
from tests.support.build import NOW
from tests.support.intake_world import IntakeWorld, samba_group
from tests.support.monitored import MonitoredWorld

pytest_plugins = ["tests.support.intake_world"]
CORP, PRIV = Forest.CORP, Forest.PRIV
NINA, NOBODY = Sid("S-1-5-21-1-2-3-1104"), Sid("S-1-5-21-1-2-3-9999")


# ----------------------------------------------------------------------------------------------------------------- words


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (f"{NINA} joined", f"CORP\\nina ({NINA}) joined"),
        (f"allow 0x20 to {NINA}; deny to {NOBODY}", f"allow 0x20 to CORP\\nina ({NINA}); deny to {NOBODY}"),
        (f"CORP\\nina ({NINA}) joined", f"CORP\\nina ({NINA}) joined"),
        (f"CN={NINA},CN=ForeignSecurityPrincipals", f"CN={NINA},CN=ForeignSecurityPrincipals"),
        (f"{NINA}0 and {NINA}-7", f"{NINA}0 and {NINA}-7"),
    ],
)
def test_a_sid_without_a_name_gets_it_once(text: str, said: str) -> None:
    assert names.spelled(text, {NINA: "CORP\\nina"}) == said
    assert names.spelled(said, {NINA: "CORP\\nina"}) == said


@pytest.mark.parametrize("hostile", ["S-1-999999999999999-1", "S-1-5-21-9999999999-1", "S-1-", "nina", ""])
def test_what_no_directory_can_be_asked_for_is_no_sid(hostile: str) -> None:
    """A number too long raises on its way into a filter: what events say must not stop those who judge them."""
    assert names.sid_of(hostile) is None
    assert names.sids_in(f"{hostile} joined") == frozenset()


def test_so_many_are_asked_for_and_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    world = MonitoredWorld()
    asked: list[int] = []
    real = MemoryDirectory.names

    def counted(self: MemoryDirectory, sids: frozenset[Sid]) -> object:
        asked.append(len(sids))
        return real(self, sids)

    monkeypatch.setattr(MemoryDirectory, "names", counted)
    many = {Sid(f"S-1-5-21-1-2-3-{number}") for number in range(2 * MOST)}
    assert Names(world.services.forests).of(many, NOW) == {}
    assert asked == [MOST, MOST], "each directory once"
    assert Names(world.services.forests).of((), NOW) == {}
    assert len(asked) == 2
    world.close()


class Asked:
    """What the directories were asked for, in order; one of them may be down."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.questions: list[tuple[Forest, frozenset[Sid]]] = []
        self.down: Forest | None = None
        self.before: Callable[[Forest], None] = lambda _: None
        real, asked = MemoryDirectory.names, self

        def names(self: MemoryDirectory, sids: Collection[Sid]) -> Mapping[Sid, str]:
            asked.before(self.forest)
            asked.questions.append((self.forest, frozenset(sids)))
            return _down() if asked.down is self.forest else real(self, sids)

        monkeypatch.setattr(MemoryDirectory, "names", names)

    def of(self, forest: Forest) -> int:
        return sum(one is forest for one, _ in self.questions)


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Asked:
    return Asked(monkeypatch)


def test_whom_nobody_knows_is_not_asked_for_again_for_a_while(world: MonitoredWorld, asked: Asked) -> None:
    looked_up = Names(world.services.forests)
    bob = world.directory(CORP).find_person("bob").ref.sid
    for minutes in (0, 1, 4):
        assert looked_up.of({NOBODY, bob}, NOW + timedelta(minutes=minutes)) == {bob: "CORP\\bob"}
    assert len(asked.questions) == 2, "each directory once"
    assert looked_up.of({NOBODY}, NOW + timedelta(minutes=5)) == {}
    assert asked.questions[2:] == [(PRIV, frozenset({NOBODY})), (CORP, frozenset({NOBODY}))]


def test_a_directory_that_did_not_answer_is_not_asked_for_a_minute(
    world: MonitoredWorld, asked: Asked
) -> None:
    looked_up = Names(world.services.forests)
    bob = world.directory(CORP).find_person("bob").ref.sid
    asked.down = CORP
    for seconds in (0, 20, 59):
        assert looked_up.of({bob}, NOW + timedelta(seconds=seconds)) == {}
    assert asked.of(CORP) == 1
    asked.down = None
    assert looked_up.of({bob}, NOW + timedelta(seconds=60)) == {bob: "CORP\\bob"}


def test_answers_are_remembered_within_a_bound(
    world: MonitoredWorld, asked: Asked, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bastide.services.names._REMEMBERED", 4)
    looked_up = Names(world.services.forests)
    for number in range(3):
        looked_up.of({Sid(f"S-1-5-21-1-2-3-{number}")}, NOW)
    before = len(asked.questions)
    looked_up.of({Sid("S-1-5-21-1-2-3-2")}, NOW)
    assert len(asked.questions) == before, "the newest are remembered"
    looked_up.of({Sid("S-1-5-21-1-2-3-0")}, NOW)
    assert len(asked.questions) == before + 2, "the oldest went"


def test_what_no_directory_has_is_not_asked_for(world: MonitoredWorld, asked: Asked) -> None:
    everybody = {Sid("S-1-1-0"), Sid("S-1-5-11"), Sid("S-1-5-10"), Sid("S-1-5-80-1-2-3-4-5")}
    assert Names(world.services.forests).of(everybody, NOW) == {}
    assert asked.questions == []
    Names(world.services.forests).of({Sid("S-1-5-32-544")}, NOW)
    assert asked.of(PRIV) == 1


# ----------------------------------------------------------------------------------------------------------------- drift


@pytest.fixture
def world() -> Iterator[MonitoredWorld]:
    made = MonitoredWorld()
    made.ready()
    made.look()
    yield made
    made.close()


def bob_joins(world: MonitoredWorld) -> Sid:
    bob = world.directory(CORP).find_person("bob").ref.sid
    with world.store.read() as uow:
        group = uow.groups.all()[0].corp
    world.add_by_hand(CORP, group, bob)
    return bob


def test_a_member_is_called_by_name_in_the_drift_and_in_the_audit(world: MonitoredWorld) -> None:
    bob = bob_joins(world)
    world.look()
    reason = world.standing()[Rule.OTHER_MEMBER].drift.reason
    assert reason.startswith(f"CORP\\bob ({bob}) became a member of ")
    (said,) = world.told("drift.found")
    assert said["reason"] == reason


def test_one_of_the_other_forest_is_found_there(world: MonitoredWorld) -> None:
    stranger = world.priv.add_person("mallory2").ref.sid
    with world.store.read() as uow:
        group = uow.groups.all()[0].corp
    world.add_by_hand(CORP, group, stranger)
    world.look()
    assert world.standing()[Rule.OTHER_MEMBER].drift.reason.startswith(str(stranger)), "told without it"
    world.look(seconds=61)
    assert f"PRIV\\mallory2 ({stranger})" in world.standing()[Rule.OTHER_MEMBER].drift.reason
    assert len(world.told("drift.found")) == 1


def test_permissions_name_who_has_them_and_an_unknown_sid_stays_one(world: MonitoredWorld) -> None:
    bob = world.directory(CORP).find_person("bob").ref.sid
    with world.store.read() as uow:
        group = uow.groups.all()[0].priv
    world.permit(PRIV, group, Kind.GROUP, f"allow 0x20 to {bob}", f"allow 0x20 to {NOBODY}")
    world.look()
    world.look(seconds=61)
    reason = world.standing()[Rule.RIGHTS_CHANGED].drift.reason
    assert f"allow 0x20 to CORP\\bob ({bob})" in reason
    assert f"allow 0x20 to {NOBODY}" in reason


def test_drift_of_priv_is_told_before_corp_is_asked_for_a_name(world: MonitoredWorld, asked: Asked) -> None:
    """One that hangs costs seconds, and who broke in may be the one who makes it hang."""
    bob = world.directory(CORP).find_person("bob").ref.sid
    with world.store.read() as uow:
        group = uow.groups.all()[0].priv
    told: list[bool] = []

    def before(forest: Forest) -> None:
        if forest is CORP:
            told.append(Rule.RIGHTS_CHANGED in world.standing())

    asked.before, asked.down = before, CORP
    world.permit(PRIV, group, Kind.GROUP, f"allow 0x20 to {bob}")
    world.look()
    assert told == [True]
    asked.down = None
    world.look(seconds=61)
    world.look(seconds=61)
    assert f"CORP\\bob ({bob})" in world.standing()[Rule.RIGHTS_CHANGED].drift.reason


def test_a_name_that_was_known_goes_on_and_nobody_asks_again(
    world: MonitoredWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    bob_joins(world)
    world.look()
    before = world.standing()
    monkeypatch.setattr(MemoryDirectory, "names", _never)
    for _ in range(3):
        world.look(seconds=61)
    assert world.standing() == before


def test_a_directory_that_is_down_stops_no_drift_and_the_name_comes_later(
    world: MonitoredWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as down:
        down.setattr(MemoryDirectory, "names", _down)
        bob = bob_joins(world)
        world.look()
        assert world.standing()[Rule.OTHER_MEMBER].drift.reason.startswith(str(bob))
    world.look(seconds=61)
    assert world.standing()[Rule.OTHER_MEMBER].drift.reason.startswith(f"CORP\\bob ({bob})")
    assert len(world.told("drift.found")) == 1


# ---------------------------------------------------------------------------------------------------------------- events


def test_who_did_it_is_called_by_name_where_the_event_has_a_sid(intake_world: IntakeWorld) -> None:
    bob = MemoryDirectory(intake_world.corp).find_person("bob").ref.sid
    alice = intake_world.services.accounts.users(intake_world.dave)[0].priv
    intake_world.take(samba_group(str(bob), alice.dn, intake_world.group_dn()))
    (judged,) = intake_world.judged()
    assert judged.verdict is Verdict.UNEXPLAINED
    assert (judged.change.actor.sid, judged.change.actor.shown) == (bob, "CORP\\bob")
    assert judged.because == "CORP\\bob is not Bastide"
    (said,) = intake_world.audited("intake.unexplained")
    assert (said["actor"], said["reason"]) == ("CORP\\bob", "CORP\\bob is not Bastide")


def test_a_foreign_member_is_called_by_name(intake_world: IntakeWorld) -> None:
    alice = intake_world.services.accounts.users(intake_world.dave)[0].priv
    foreign = f"CN={alice.sid},CN=ForeignSecurityPrincipals,DC=corp,DC=bastide,DC=test"
    intake_world.take(samba_group(str(NOBODY), foreign, intake_world.group_dn()))
    (judged,) = intake_world.judged()
    assert judged.change.target.shown == "PRIV\\priv.alice"
    assert judged.change.actor.shown == NOBODY, "nobody knows it"


@pytest.mark.parametrize("hostile", ["S-1-999999999999999-1", "S-1-5-21-9999999999-1"])
def test_an_event_with_no_sid_at_all_is_judged(intake_world: IntakeWorld, hostile: str) -> None:
    intake_world.take(samba_group(hostile, intake_world.user_dn(), intake_world.group_dn()))
    assert [one.verdict for one in intake_world.judged()] == [Verdict.UNEXPLAINED]


def test_events_are_judged_while_no_directory_answers(
    intake_world: IntakeWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(MemoryDirectory, "names", _down)
    intake_world.take(samba_group(str(NOBODY), intake_world.user_dn(), intake_world.group_dn()))
    (judged,) = intake_world.judged()
    assert (judged.verdict, judged.change.actor.shown) == (Verdict.UNEXPLAINED, NOBODY)


def _down(*_: object) -> dict[Sid, str]:
    raise DirectoryUnavailable("no controller answers")


def _never(*_: object) -> dict[Sid, str]:
    raise AssertionError("nobody is to be asked")
