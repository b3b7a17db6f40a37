"""Several domain controllers: clocks that differ, replication that is late, a domain that was put back. The numbers are those of domain/passwords.py."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from bastide.domain.passwords import OLDEST, Receipt, Stamp
from bastide.services.passwords.person import By
from tests.support.sync_world import SyncWorld, guid_of
from tests.unit.test_passwords_of_a_person import cs, mv

HAND = By("S-1-5-21-9-9-9-1200", "CORP\\hanna", "kerberos")
NOON = datetime(2026, 8, 7, 12, 0, tzinfo=UTC)
BEHIND = timedelta(minutes=3)
DC1, DC2 = guid_of("invocation corp"), guid_of("invocation of dc2")
ORDERED, OWN = "Desk-Horse-1", "her own"


@pytest.fixture
def world() -> Iterator[SyncWorld]:
    """CORP can be set too, and writes go to DC1. Revision 5 of alice is known; an hour has passed."""
    made = SyncWorld()
    made.ready("alice")
    made.change_agent("corp", lambda one: replace(one, passwords=replace(one.passwords, enabled=True)))
    made.systems.systems["corp"].origin = DC1
    made.tell("alice", "before", revision=5)
    made.work()
    made.clock.move(hours=1)
    yield made
    made.close()


def order(world: SyncWorld, *spaces: str, new: str = ORDERED) -> None:
    world.passwords.person.set_for(
        mv(), cs(*spaces), new, must_change=True, unlock=True, by=HAND, reason="called at the desk"
    )
    world.work()


def told(
    world: SyncWorld, password: str, revision: int, *, behind: timedelta = timedelta(0), origin: str = DC1
) -> Receipt | None:
    """And passed on."""
    at = world.clock.now() - behind
    answer = world.tell("alice", password, revision=revision, at=at, origin=origin)
    world.work()
    return answer.receipt


# --------------------------------------------------------------------------------------------------- which one is newer (Stamp)


@pytest.mark.parametrize(
    ("newer", "older"),
    [
        pytest.param(Stamp(NOON, 8, "a"), Stamp(NOON + timedelta(hours=1), 7, "a"), id="1 by the counter"),
        pytest.param(Stamp(NOON + OLDEST, 7, "a"), Stamp(NOON, 8, "a"), id="2 too far apart"),
        pytest.param(
            Stamp(NOON + OLDEST - timedelta(seconds=1), 7, "b"), Stamp(NOON, 8, "a"), id="3 of another object"
        ),
        pytest.param(Stamp(NOON + timedelta(hours=1)), Stamp(NOON, 8, "a"), id="3 of an order"),
        pytest.param(Stamp(NOON + timedelta(hours=1), 8, "a"), Stamp(NOON, 8, "a"), id="3 counted alike"),
    ],
)
def test_which_of_two_changes_is_newer(newer: Stamp, older: Stamp) -> None:
    assert newer.newer_than(older)
    assert not older.newer_than(newer)


LOW, HIGH = "00000000-0000-4000-8000-000000000000", "ffffffff-ffff-4fff-8fff-ffffffffffff"


@pytest.mark.parametrize("one_by_one", [True, False], ids=["one by one", "together"])
@pytest.mark.parametrize("lower_first", [True, False], ids=["lower first", "higher first"])
def test_3_within_one_second_the_higher_id_of_a_controller_stays(
    world: SyncWorld, one_by_one: bool, lower_first: bool
) -> None:
    """Whatever the parts of the second are, and whoever is told of first: AD keeps no parts."""
    second = world.clock.now().replace(microsecond=0)
    world.clock.move(seconds=3)
    lost, kept = (
        world.notification("alice", password, revision=6, at=second + timedelta(milliseconds=part), origin=by)
        for password, part, by in (("lost in AD", 900, LOW), ("what AD has", 100, HIGH))
    )
    several = [lost, kept] if lower_first else [kept, lost]
    accept, caller = world.passwords.accept, world.caller()
    for part in [[one] for one in several] if one_by_one else [several]:
        receipts = [one.receipt for one in accept.notifications(caller, part)]
        world.work()
    assert receipts[-1] is (Receipt.STAGED if lower_first else Receipt.OUT_OF_DATE)
    assert world.password("alice", "crm") == "what AD has"
    assert told(world, "the next", 7) is Receipt.STAGED


@pytest.mark.parametrize(("part", "origin"), [(1.5, LOW), (0.9, "nowhere"), (0.9, HIGH)])
def test_3_in_another_second_or_where_the_other_is_not_known_time_decides(
    world: SyncWorld, part: float, origin: str
) -> None:
    second = world.clock.now().replace(microsecond=0)
    world.clock.move(seconds=3)
    world.tell("alice", "the first", revision=6, at=second, origin=HIGH)
    later = second + timedelta(seconds=part)
    assert world.tell("alice", "the later", revision=6, at=later, origin=origin).receipt is Receipt.STAGED


def test_2_a_domain_that_was_put_back_counts_from_below(world: SyncWorld) -> None:
    """The backup is of revision 6. Bastide knows 9 when the domain is put back."""
    for revision in (7, 8, 9):
        told(world, f"lost with the domain {revision}", revision)
    world.clock.move(seconds=OLDEST.total_seconds())
    assert told(world, "after it was put back", 7, origin=DC2) is Receipt.STAGED
    assert world.password("alice", "crm") == "after it was put back"
    world.clock.move(minutes=1)
    assert told(world, "and once more", 8, origin=DC2) is Receipt.STAGED


def test_1_a_controller_that_was_cut_off_does_not_overwrite_by_its_clock(world: SyncWorld) -> None:
    """AD throws its change away when it hears of the other one: it counted less."""
    told(world, "what the domain has", 7)
    world.clock.move(seconds=OLDEST.total_seconds() - 1)
    assert told(world, "of the one cut off", 6, origin=DC2) is Receipt.OUT_OF_DATE
    assert world.password("alice", "crm") == "what the domain has"


def test_1_before_that_an_order_goes_by_time_and_arrives_everywhere(world: SyncWorld) -> None:
    """What backup.md tells the help desk to do after a domain was put back to revision 6."""
    told(world, "lost with the domain", 9)
    world.clock.move(hours=2)
    assert told(world, "after it was put back", 7, origin=DC2) is Receipt.OUT_OF_DATE
    order(world, "corp", "crm", "files")
    assert told(world, ORDERED, 8, origin=DC2) is not Receipt.STAGED
    assert {world.password("alice", space) for space in ("corp", "crm", "files")} == {ORDERED}


# ----------------------------------------------------------------------------------------------------------- is it ours (echo)


def test_4_after_a_counter_went_back_a_persons_change_is_not_taken_for_ours(world: SyncWorld) -> None:
    """Put back to revision 6; we write 7, the person 8; the agent tells of the newest only, and 9 is known."""
    told(world, "lost with the domain", 9)
    world.clock.move(seconds=OLDEST.total_seconds())
    order(world, "corp")
    world.clock.move(minutes=1)
    assert told(world, OWN, 8) is Receipt.STAGED
    assert world.password("alice", "crm") == OWN


def test_6_a_persons_change_on_a_controller_that_has_not_heard_of_our_write(world: SyncWorld) -> None:
    """Both are revision 6. AD keeps the later one, hers; her next one is hers as well, although a write of ours was made within minutes."""
    order(world, "corp", "crm")
    world.clock.move(minutes=2)
    assert told(world, OWN, 6, origin=DC2) is Receipt.STAGED
    assert world.password("alice", "crm") == OWN
    assert told(world, ORDERED, 6, behind=timedelta(minutes=2)) is not Receipt.STAGED
    world.clock.move(minutes=1)
    assert told(world, "her second", 7) is Receipt.STAGED
    assert world.password("alice", "crm") == "her second"


def test_6_our_write_is_ours_whichever_agent_tells_of_it(world: SyncWorld) -> None:
    order(world, "corp")
    assert told(world, ORDERED, 6) is Receipt.ECHO


def test_6_an_earlier_try_may_have_been_on_another_controller(world: SyncWorld) -> None:
    """The answer of DC2 was lost, and the next try went to DC1: which of them wrote is not known, so AD's count decides as ever."""
    system = world.systems.systems["corp"]
    system.faults.down = True
    order(world, "corp")
    system.faults.down = False
    world.clock.move(minutes=1)
    world.work()
    assert world.password("alice", "corp") == ORDERED
    assert told(world, ORDERED, 6, origin=DC2) is Receipt.ECHO


def test_6_the_passwords_decide_while_ours_is_there(world: SyncWorld) -> None:
    """A domain may show our write as that of another controller."""
    world.systems.systems["crm"].faults.down = True
    order(world, "corp", "crm")
    assert told(world, ORDERED, 6, origin=DC2) is Receipt.ECHO
    assert world.password("alice", "files") == "before"


@pytest.mark.parametrize("unknown", ["target", "agent"])
def test_6_where_either_controller_is_not_known_the_count_decides(world: SyncWorld, unknown: str) -> None:
    if unknown == "target":
        world.systems.systems["corp"].origin = ""
    order(world, "corp")
    assert told(world, ORDERED, 6, origin=DC2 if unknown == "target" else "nowhere") is Receipt.ECHO


def test_7_our_write_with_the_number_of_a_persons_change_explains_no_other(world: SyncWorld) -> None:
    """She changed it on DC2 a minute before we wrote on DC1, which had not heard of it: 6, twice. AD keeps ours, the later one."""
    assert told(world, OWN, 6, origin=DC2) is Receipt.STAGED
    world.clock.move(minutes=1)
    order(world, "corp", "crm")
    assert told(world, ORDERED, 6) is Receipt.ECHO
    world.clock.move(minutes=1)
    assert told(world, "her second", 7) is Receipt.STAGED
    assert world.password("alice", "crm") == "her second"


# -------------------------------------------------------------------------------- the clock of a controller is behind (in_turn)


def test_1_a_change_after_an_order_is_passed_on_though_the_controllers_clock_is_behind(
    world: SyncWorld,
) -> None:
    order(world, "corp", "crm")
    assert told(world, ORDERED, 6, behind=BEHIND) is Receipt.ECHO
    world.clock.move(minutes=1)
    assert told(world, OWN, 7, behind=BEHIND) is Receipt.STAGED
    assert (world.password("alice", "crm"), world.password("alice", "files")) == (OWN, OWN)


def test_1_nor_does_an_order_that_waits_come_over_it(world: SyncWorld) -> None:
    crm = world.systems.systems["crm"].faults
    crm.down = True
    order(world, "corp", "crm")
    assert told(world, ORDERED, 6, behind=BEHIND) is Receipt.ECHO
    world.clock.move(minutes=1)
    assert told(world, OWN, 7, behind=BEHIND) is Receipt.STAGED
    crm.down = False
    world.clock.move(minutes=5)
    world.work()
    assert world.password("alice", "crm") == OWN


def test_1_an_order_counts_with_the_time_of_its_latest_account(world: SyncWorld) -> None:
    """CRM took a change of a controller whose clock is ahead, so the order's time there is later still."""
    assert told(world, "of a fast clock", 6, behind=-timedelta(minutes=4)) is Receipt.STAGED
    order(world, "corp", "crm")
    assert told(world, ORDERED, 7) is Receipt.ECHO
    world.clock.move(minutes=1)
    assert told(world, OWN, 8) is Receipt.STAGED
    assert world.password("alice", "crm") == OWN


def test_1_a_later_order_is_still_the_newer_one(world: SyncWorld) -> None:
    """Her change was told late: CRM has another password from the desk by then."""
    order(world, "corp", "crm")
    told(world, ORDERED, 6, behind=BEHIND)
    world.clock.move(minutes=2)
    order(world, "crm", new="Desk-Horse-2")
    assert told(world, OWN, 7, behind=BEHIND + timedelta(minutes=1)) is Receipt.STAGED
    assert (world.password("alice", "crm"), world.password("alice", "files")) == ("Desk-Horse-2", OWN)


def test_1_the_first_change_that_is_known_of_an_account(world: SyncWorld) -> None:
    """Nothing was known of bob before the order, so its echo is not recognized; his own change after it is passed on all the same."""
    world.add_user("bob", "corp", "crm")
    world.passwords.person.set_for(
        mv("bob"),
        cs("corp", "crm", name="bob"),
        ORDERED,
        must_change=True,
        unlock=False,
        by=HAND,
        reason="new",
    )
    world.work()
    world.tell("bob", ORDERED, revision=2, at=world.clock.now() - BEHIND)
    world.work()
    world.clock.move(minutes=1)
    world.tell("bob", OWN, revision=3, at=world.clock.now() - BEHIND)
    world.work()
    assert world.password("bob", "crm") == OWN


def test_2_the_agent_told_of_the_persons_change_alone(world: SyncWorld) -> None:
    """AD counted our write and hers: hers is the newest."""
    order(world, "corp", "crm")
    world.clock.move(minutes=1)
    assert told(world, OWN, 7, behind=BEHIND) is Receipt.STAGED
    assert world.password("alice", "crm") == OWN


def test_without_a_counter_time_decides(world: SyncWorld) -> None:
    order(world, "corp", "crm")
    told(world, ORDERED, 0, behind=BEHIND)
    world.clock.move(minutes=1)
    assert told(world, OWN, 0, behind=BEHIND) is Receipt.STAGED
    assert world.password("alice", "crm") == ORDERED


def test_1_a_domain_that_another_one_tells_and_that_tells_the_same_target() -> None:
    """CORP told MID and CRM; then the person changes it in MID, whose clock is behind."""
    world = SyncWorld()
    world.add_target("crm")
    world.add_source("mid", "crm", settable=True)
    world.add_source("corp", "mid", "crm")
    world.add_user("alice", "corp", "mid", "crm")
    world.tell("alice", "before", domain="mid", revision=5)
    world.work()
    world.clock.move(hours=1)
    world.tell("alice", "of corp")
    world.work()
    late = world.clock.now() - BEHIND
    assert world.tell("alice", "of corp", domain="mid", revision=6, at=late).receipt is Receipt.ECHO
    world.clock.move(minutes=1)
    late = world.clock.now() - BEHIND
    assert world.tell("alice", OWN, domain="mid", revision=7, at=late).receipt is Receipt.STAGED
    world.work()
    assert world.password("alice", "crm") == OWN
    world.close()
