"""Several notifications at once: one commit and few statements, and each is judged as if those before it had come alone."""

from collections.abc import Collection, Generator, Sequence
from dataclasses import replace
from datetime import timedelta

import pytest
from sqlalchemy import event

from bastide.domain.errors import StoreError, StoreUnavailable
from bastide.domain.passwords import Change, Delivery, Receipt
from bastide.services.passwords.opening import Opening, Secret
from bastide.services.passwords.told import Case
from bastide.wire import Notification, Verdict
from tests.support.sync_world import SyncWorld

SECRET = "Grüße 🐟 pass"


@pytest.fixture
def world() -> SyncWorld:
    made = SyncWorld()
    made.ready("alice", "bob")
    return made


def test_several_are_taken_in_with_one_commit_each_judged_after_the_one_before(world: SyncWorld) -> None:
    world.change_agent("corp", lambda a: replace(a, source=replace(a.source, daily_limit=2)))  # type: ignore[type-var]
    first = world.notification("alice", "a1")
    several = [
        first,
        world.notification("nobody", SECRET),
        world.notification("bob", "b1"),
        first,
        world.notification("alice", "a0", revision=1, at=world.clock.now() - timedelta(minutes=1)),
        world.notification("alice", "a2", at=world.clock.now() + timedelta(seconds=1)),
        world.notification("alice", "a3", at=world.clock.now() + timedelta(seconds=2)),
        world.notification("bob", SECRET, secret=b"damaged"),
    ]
    commits = len(world.audit())
    told = world.passwords.accept.notifications(world.caller(), several)
    assert [one.receipt for one in told] == [
        Receipt.STAGED,
        Receipt.NOT_IN_CS,
        Receipt.STAGED,
        Receipt.DUPLICATE,
        Receipt.OUT_OF_DATE,
        Receipt.STAGED,
        Receipt.DAILY_LIMIT,
        Receipt.UNREADABLE,
    ]
    assert len(world.audit()) == commits + 7
    assert len(world.vault.references()) == 3
    world.work()
    assert (world.password("alice", "crm"), world.password("bob", "crm")) == ("a2", "b1")
    assert world.served("crm") == 2


def test_one_that_the_database_cannot_hold_does_not_hold_up_the_others(world: SyncWorld) -> None:
    from bastide.store.passwords import SqlChanges

    plain = SqlChanges.add

    def add(self: SqlChanges, changes: Collection[Change], deliveries: Collection[Delivery]) -> None:
        if any(one.account == "bob" for one in changes):
            raise StoreError("the database refused a statement")
        plain(self, changes, deliveries)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(SqlChanges, "add", add)
        several = [world.notification(name, SECRET) for name in ("bob", "alice")]
        told = world.passwords.accept.notifications(world.caller(), several)
    assert [one.verdict for one in told] == [Verdict.REFUSED, Verdict.ACCEPTED]
    assert len(world.vault.references()) == 1


def test_a_database_that_is_away_leaves_it_with_the_agent(world: SyncWorld) -> None:
    from bastide.store.unit_of_work import SqlUnitOfWork

    def away(_: SqlUnitOfWork) -> None:
        raise StoreUnavailable("the disk of the database is full")

    told = world.notification("alice", SECRET)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(SqlUnitOfWork, "commit", away)
        with pytest.raises(StoreUnavailable):
            world.passwords.accept.notification(world.caller(), told)
    assert not world.deliveries()
    assert world.passwords.accept.notification(world.caller(), told).receipt is Receipt.STAGED
    world.work()
    assert world.password("alice", "crm") == SECRET


def test_after_being_answered_nothing_of_the_secret_is_held(
    world: SyncWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[Secret] = []
    plain = Opening.secrets

    def watched(self: Opening, cases: Sequence[Case]) -> tuple[Secret, ...]:
        found = plain(self, cases)
        assert all(bytes(one.password or b"") == SECRET.encode() for one in found)
        opened.extend(found)
        return found

    monkeypatch.setattr(Opening, "secrets", watched)
    several = [world.notification(name, SECRET) for name in ("alice", "bob")]
    world.passwords.accept.notifications(world.caller(), several)
    assert len(opened) == 2
    assert not any(byte for one in opened for byte in one.password or b"x")


def test_what_was_opened_before_the_process_went_away_is_wiped(
    world: SyncWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[bytearray] = []

    def fill(secret: Secret, told: Notification, answer: bytes | StoreError) -> None:
        plain(opening, secret, told, answer)
        assert secret.password
        made.append(secret.password)

    def away(messages: Sequence[bytes]) -> Generator[bytes | StoreError, None, None]:
        yield from whole(messages[:1])
        raise StoreUnavailable("no process can be started")

    opening, plain = world.passwords.accept._opening, Opening._fill
    whole = world.adapters.opener.open
    monkeypatch.setattr(opening, "_fill", fill)
    monkeypatch.setattr(world.adapters.opener, "open", away)
    several = [world.notification(name, SECRET) for name in ("alice", "bob")]
    with pytest.raises(StoreUnavailable):
        world.passwords.accept.notifications(world.caller(), several)
    assert len(made) == 1
    assert not any(made[0])
    assert not world.vault.references()


def test_a_batch_costs_as_many_statements_as_one(world: SyncWorld) -> None:
    """However many are told, and of whatever kind."""
    names = [f"user{number:02}" for number in range(20)]
    for name in names:
        world.add_user(name, "corp", "crm", "files")
    counted: list[object] = []
    event.listen(world.store.engine, "before_cursor_execute", lambda *seen: counted.append(seen[2]))

    def told(several: Sequence[str]) -> int:
        world.clock.move(seconds=1)
        good = [world.notification(name, SECRET) for name in several]
        bad = [world.notification(name, SECRET, secret=b"x") for name in several]
        gone = [world.notification(f"no {name}", SECRET) for name in several]
        counted.clear()
        answers = world.passwords.accept.notifications(world.caller(), [*good, *bad, *gone])
        assert [one.receipt for one in answers[: len(good)]] == [Receipt.STAGED] * len(good)
        return len(counted)

    assert told(names[:1]) == told(names) < 30
