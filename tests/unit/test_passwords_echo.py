"""A change that we made ourselves is not passed on, a person's always is, and no older password is set over a newer one where a system is target and source."""

from dataclasses import replace
from datetime import timedelta

import pytest

from bastide.domain.management_agents import CsId
from bastide.domain.passwords import Code, Receipt, State
from bastide.wire import Verdict
from tests.support.sync_world import SyncWorld, guid_of


@pytest.fixture
def ring() -> SyncWorld:
    """CORP and LAB are sources and targets of each other: what refuse_cycles would refuse, saved all the same. A change of each is known."""
    world = SyncWorld()
    world.add_source("corp", "lab", settable=True)
    world.add_source("lab", "corp", settable=True)
    for name in ("corp", "lab"):
        world.change_agent(name, lambda a: replace(a, passwords=replace(a.passwords, enabled=False)))
    world.add_user("alice", "corp", "lab")
    for name in ("corp", "lab"):
        world.tell("alice", "before", domain=name)
        world.work()
        world.clock.move(hours=1)
    for name in ("corp", "lab"):
        world.change_agent(name, lambda a: replace(a, passwords=replace(a.passwords, enabled=True)))
    return world


def test_a_to_b_to_a_is_exactly_one_write(ring: SyncWorld) -> None:
    assert ring.tell("alice", "first", domain="corp").receipt is Receipt.STAGED
    ring.work()
    assert ring.password("alice", "lab") == "first"
    ring.clock.move(seconds=1)
    echo = ring.tell("alice", "first", domain="lab", at=ring.clock.now() - timedelta(milliseconds=900))
    assert (echo.verdict, echo.receipt) == (Verdict.DISCARD, Receipt.ECHO)
    assert ring.events.numbers()[-1] == 6912
    ring.work()
    assert (ring.served("lab"), ring.served("corp")) == (1, 0)


def test_a_faster_echo_than_our_commit_comes_later(ring: SyncWorld) -> None:
    ring.tell("alice", "first", domain="corp")
    early = ring.notification("alice", "first", domain="lab")
    assert ring.passwords.accept.notification(ring.caller("lab"), early).verdict is Verdict.LATER
    ring.work()
    assert ring.passwords.accept.notification(ring.caller("lab"), early).receipt is Receipt.ECHO
    ring.work()
    assert ring.served("corp") == 0


def test_a_person_in_the_other_domain_is_heard_after_the_echo(ring: SyncWorld) -> None:
    ring.tell("alice", "first", domain="corp")
    ring.work()
    assert ring.tell("alice", "first", domain="lab").receipt is Receipt.ECHO
    ring.clock.move(seconds=20)
    assert ring.tell("alice", "own idea", domain="lab").receipt is Receipt.STAGED
    ring.work()
    assert ring.password("alice", "corp") == "own idea"
    ring.clock.move(seconds=1)
    assert ring.tell("alice", "own idea", domain="corp").receipt is Receipt.ECHO
    ring.work()
    assert (ring.served("lab"), ring.served("corp")) == (1, 1)


def test_a_persons_change_that_swallowed_the_echo_is_heard(ring: SyncWorld) -> None:
    """The agent saw only the newest of two quick changes; AD counted both, so one of them is not ours."""
    ring.tell("alice", "base", domain="lab", revision=5)
    ring.work()
    ring.tell("alice", "base", domain="corp", revision=5)
    ring.clock.move(hours=1)
    ring.tell("alice", "first", domain="corp", revision=6)
    ring.work()
    ring.clock.move(seconds=5)
    assert ring.tell("alice", "own idea", domain="lab", revision=7).receipt is Receipt.STAGED
    ring.work()
    assert ring.password("alice", "corp") == "own idea"


def test_a_change_long_after_our_write_is_a_persons(ring: SyncWorld) -> None:
    ring.tell("alice", "first", domain="corp")
    ring.work()
    ring.clock.move(minutes=6)
    assert ring.tell("alice", "own idea", domain="lab").receipt is Receipt.STAGED


def test_the_same_account_in_two_spaces_is_known_by_its_anchor() -> None:
    """One agent reads LAB, another one writes to it: the echo is told of the first one's object, the write was to the second one's."""
    world = SyncWorld()
    world.add_target("writer")
    world.add_target("crm")
    world.add_source("corp", "writer")
    world.add_source("lab", "crm")
    world.add_user("alice", "corp", "lab", "writer", "crm")
    with world.store.write() as uow:
        written = uow.space.get(CsId(guid_of("cs writer alice")))
        uow.space.put([replace(written, anchor=guid_of("lab alice"))])
        uow.commit()
    world.systems.systems["writer"].put(guid_of("lab alice"))
    world.tell("alice", "before", domain="lab")
    world.work()
    world.clock.move(hours=1)
    world.tell("alice", "first", domain="corp")
    world.work()
    assert world.tell("alice", "first", domain="lab").receipt is Receipt.ECHO
    assert world.served("crm") == 1


@pytest.fixture
def chain() -> SyncWorld:
    """CORP tells MID, and MID tells CRM."""
    world = SyncWorld()
    world.add_target("crm")
    world.add_source("mid", "crm", settable=True)
    world.add_source("corp", "mid")
    world.add_user("alice", "corp", "mid", "crm")
    return world


@pytest.mark.parametrize("wait", [timedelta(seconds=30), timedelta(minutes=10)])
def test_a_newer_change_of_an_account_ends_what_is_on_its_way_to_it(
    chain: SyncWorld, wait: timedelta
) -> None:
    """MID is down while CORP tells it a password; then the person changes it in MID itself."""
    chain.tell("alice", "first", domain="mid")
    chain.work()
    chain.clock.move(hours=1)
    slow = timedelta(hours=1)
    chain.change_agent("mid", lambda a: replace(a, passwords=replace(a.passwords, retry_interval=slow)))
    chain.systems.systems["mid"].faults.down = True
    chain.tell("alice", "old from corp")
    chain.work()
    chain.clock.move(seconds=wait.total_seconds())
    assert chain.tell("alice", "new in mid", domain="mid").receipt is Receipt.STAGED
    assert 6919 in chain.events.numbers()
    assert [one.code for one in chain.deliveries(State.FAILED)] == [Code.OUT_OF_DATE]
    assert len(chain.vault.references()) == 1, "the key of what is over is destroyed"
    chain.systems.systems["mid"].faults.down = False
    chain.clock.move(hours=2)
    chain.work()
    assert chain.served("mid") == 0
    assert chain.password("alice", "crm") == "new in mid"


def test_an_older_change_that_comes_later_is_not_set_over_a_newer_one(chain: SyncWorld) -> None:
    early = chain.clock.now()
    chain.clock.move(hours=1)
    chain.tell("alice", "new in mid", domain="mid")
    chain.work()
    chain.tell("alice", "old from corp", at=early)
    chain.work()
    assert chain.served("mid") == 0


def test_a_newer_one_that_goes_nowhere_ends_the_older_ones_too(chain: SyncWorld) -> None:
    """Only a hash was set in MID: nothing can be passed on, but the old password must not come back."""
    chain.systems.systems["mid"].faults.down = True
    chain.tell("alice", "old from corp")
    chain.work()
    chain.clock.move(minutes=10)
    told = chain.notification("alice", "stale", domain="mid", check=b"wrong")
    chain.clock.move(seconds=-chain.clock.now().microsecond / 1e6)
    with chain.store.write() as uow:
        waiting = uow.changes.pending([CsId(guid_of("cs mid alice"))])
        uow.changes.save([replace(one, due=chain.clock.now() + timedelta(hours=1)) for one in waiting])
        uow.commit()
    answer = chain.passwords.accept.notification(chain.caller("mid"), told)
    assert answer.receipt is Receipt.STALE_SECRET
    chain.systems.systems["mid"].faults.down = False
    chain.clock.move(hours=2)
    chain.work()
    assert chain.served("mid") == 0


def test_without_a_known_count_a_persons_change_is_never_taken_for_ours(chain: SyncWorld) -> None:
    """Nothing was known of the account in MID; AD counted our write and the person's, the agent tells of the newest only."""
    chain.tell("alice", "from corp")
    chain.work()
    chain.clock.move(minutes=2)
    assert chain.tell("alice", "person", domain="mid", revision=8).receipt is Receipt.STAGED
    chain.work()
    assert chain.password("alice", "crm") == "person"
    chain.clock.move(minutes=1)
    assert chain.tell("alice", "again", domain="mid", revision=9).receipt is Receipt.STAGED


def test_a_source_without_revisions_loses_no_change_of_a_person(chain: SyncWorld) -> None:
    chain.tell("alice", "first", domain="mid", revision=0)
    chain.work()
    chain.clock.move(hours=1)
    chain.tell("alice", "from corp")
    chain.work()
    ours = chain.clock.now()
    chain.clock.move(minutes=1)
    assert chain.tell("alice", "person", domain="mid", revision=0).receipt is Receipt.STAGED
    late = chain.tell("alice", "from corp", domain="mid", revision=0, at=ours)
    assert late.receipt is Receipt.OUT_OF_DATE
    chain.work()
    assert chain.password("alice", "crm") == "person"


def test_a_write_that_only_may_have_happened_is_known_by_its_password(chain: SyncWorld) -> None:
    """MID took the password, and then the connection broke: as long as the delivery waits, its password is there to compare."""
    chain.tell("alice", "first", domain="mid")
    chain.work()
    chain.clock.move(hours=1)
    chain.systems.systems["mid"].faults.down = True
    chain.tell("alice", "from corp")
    chain.work()
    chain.clock.move(seconds=20)
    assert chain.tell("alice", "from corp", domain="mid").receipt is Receipt.ECHO
    chain.work()
    assert chain.password("alice", "crm") == "first"
