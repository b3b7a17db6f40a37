"""Several writes of ours before the first of their echoes: each echo explains one write, so that none of the later ones is taken for a person's."""

from collections.abc import Iterator, Sequence

import pytest

from bastide.domain.passwords import Receipt
from bastide.services.passwords.ports import NewPassword, Result
from bastide.targets.memory import MemoryTarget
from tests.support.sync_world import LEASE, SyncWorld


@pytest.fixture
def chain() -> Iterator[SyncWorld]:
    """CORP goes to LAB and to CRM, and LAB, a source too, to CRM. Everything that LAB told so far is known."""
    world = SyncWorld()
    world.add_target("crm")
    world.add_source("corp", "lab", "crm")
    world.add_source("lab", "crm", settable=True)
    world.add_user("alice", "corp", "lab", "crm")
    world.tell("alice", "before", domain="lab", revision=5)
    world.work()
    world.clock.move(hours=1)
    yield world
    world.close()


def test_each_of_two_quick_writes_has_its_own_echo(chain: SyncWorld) -> None:
    """Found on Samba: the second echo was passed on, with the time of our write, and so an old password could come over a newer one."""
    for password in ("first", "second"):
        chain.tell("alice", password, domain="corp")
        chain.work()
        chain.clock.move(seconds=1)
    written = chain.served("crm")
    assert chain.tell("alice", "first", domain="lab", revision=6).receipt is Receipt.ECHO
    assert chain.tell("alice", "second", domain="lab", revision=7).receipt is Receipt.ECHO
    chain.work()
    assert chain.served("crm") == written
    assert chain.password("alice", "crm") == "second"


def test_one_echo_for_two_writes_explains_both(chain: SyncWorld) -> None:
    """The agent saw the newest of them only; then a person changes the password, and is heard."""
    for password in ("first", "second"):
        chain.tell("alice", password, domain="corp")
        chain.work()
    assert chain.tell("alice", "second", domain="lab", revision=7).receipt is Receipt.ECHO
    chain.clock.move(seconds=20)
    assert chain.tell("alice", "own idea", domain="lab", revision=8).receipt is Receipt.STAGED


def test_an_echo_that_comes_again_late_uses_up_no_other(chain: SyncWorld) -> None:
    chain.tell("alice", "first", domain="corp")
    chain.work()
    assert chain.tell("alice", "before", domain="lab", revision=5).receipt is not Receipt.STAGED
    assert chain.tell("alice", "first", domain="lab", revision=6).receipt is Receipt.ECHO


@pytest.mark.parametrize("one_by_one", [True, False], ids=["two echoes", "one for both"])
def test_a_write_that_was_made_again_after_a_kill_has_two_echoes(
    chain: SyncWorld, monkeypatch: pytest.MonkeyPatch, one_by_one: bool
) -> None:
    """Found on Samba, by chance: LAB told of the repeated write after CORP's next change had been made, and so the older password came over the newer one."""
    chain.tell("alice", "first", domain="corp")
    killed_after_writing(chain, monkeypatch)
    chain.clock.move(seconds=LEASE.total_seconds() + 1)
    chain.work()
    told = (
        [chain.tell("alice", "first", domain="lab", revision=at) for at in (6, 7)]
        if one_by_one
        else [chain.tell("alice", "first", domain="lab", revision=7)]
    )
    assert {one.receipt for one in told} == {Receipt.ECHO}
    assert chain.tell("alice", "own idea", domain="lab", revision=8).receipt is Receipt.STAGED


def killed_after_writing(world: SyncWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    """kill -9 between the write and its commit: no handler runs."""
    plain = MemoryTarget.set

    def dies(target: MemoryTarget, passwords: Sequence[NewPassword]) -> Sequence[Result]:
        done = plain(target, passwords)
        if world.password("alice", "lab") == "first":
            raise Killed
        return done

    with monkeypatch.context() as patch:
        patch.setattr(MemoryTarget, "set", dies)
        with pytest.raises(Killed):
            world.work()


class Killed(BaseException):
    """No handler of the product may catch it."""
