"""A database that came back from the past is noticed, and grants nothing until it was compared (services/recovery.py). One test per number and more."""

import errno
import json
import logging
from collections.abc import Collection, Iterator, Mapping
from datetime import timedelta
from pathlib import Path

import pytest

from bastide.backup import backups
from bastide.domain.errors import Conflict, StoreUnavailable
from bastide.domain.ids import Sid
from bastide.domain.people import Forest
from bastide.domain.requests import Decision, State
from bastide.services.ports import AccountState
from bastide.services.recovery import BEGAN, Place, Recovery, begin
from bastide.services.roles import StageDraft
from bastide.store import migrations
from bastide.store.mark import DAMAGED, FileMark, MemoryMark
from bastide.store.unit_of_work import SqlStore
from tests.support import build
from tests.support.backups import make
from tests.support.grants import SHORT
from tests.support.restored import RestoredWorld

pytest_plugins = ["tests.support.backups"]
REFUSED = "came back from an earlier time"


@pytest.fixture
def world(tmp_path: Path) -> Iterator[RestoredWorld]:
    made = RestoredWorld(tmp_path)
    yield made
    made.close()


def test_1_the_mark_knows_of_a_plan_before_the_directory_does(world: RestoredWorld) -> None:
    role = world.ready()
    seen: list[bool] = []

    def look(_number: int, what: str) -> None:
        if "add to" in what:
            with world.store.read() as uow:
                seen.append(world.adapters.mark.read() == uow.audit.head())

    world.priv.before_write = look
    request = world.ask(role.name)
    world.work()
    assert world.get(request).state is State.ACTIVE
    assert seen
    assert all(seen)


def test_1_the_mark_follows_with_each_heartbeat(world: RestoredWorld) -> None:
    world.ready()
    world.services.recovery.follow()
    with world.store.read() as uow:
        assert world.adapters.mark.read() == uow.audit.head()


def test_2_a_database_that_lacks_the_marked_record_is_compared(world: RestoredWorld) -> None:
    role = world.ready()
    world.keep()
    world.ask(role.name)
    world.work()
    world.services.recovery.follow()
    mark = world.adapters.mark.read()
    world.put_back()
    world.services.recovery.plant()
    assert mark is not None
    assert [json.loads(one) for one in world.said(BEGAN)] == [
        {"cause": "an older database", "missing": mark[0]}
    ]
    with world.store.read() as uow:
        assert "reconcile" in [row["kind"] for row in uow.work.listing()]


def test_2_a_chain_that_took_another_way_is_an_older_database_too(world: RestoredWorld) -> None:
    """The numbers of the lost records are given again, to other records."""
    role = world.ready()
    world.keep()
    world.ask(role.name)
    world.work()
    mark = world.adapters.mark
    world.adapters.mark.write(mark.read() or DAMAGED)
    lost = mark.read()
    assert lost is not None
    other = MemoryMark()
    other.write((lost[0], "0" * 64))
    Recovery(store=world.store, mark=other, now=world.clock.now).follow()
    assert world.compares()


def test_2_it_is_noticed_while_the_service_runs(world: RestoredWorld) -> None:
    """A failover that lost commits: no node started, and the first grant is what finds out."""
    role = world.ready()
    world.adapters.mark.write((10_000, "0" * 64))
    request = world.ask(role.name)
    writes: list[str] = []
    world.priv.before_write = lambda _number, what: writes.append(what)
    world.work()
    assert world.get(request).state is State.FAILED
    assert REFUSED in world.get(request).reason
    assert not any("add to" in what for what in writes)


def test_2_a_primary_that_lost_its_place_cancels_nothing(
    world: RestoredWorld, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """It still answers a reader, without what the new one committed; the look under the writers' lock is at the one that leads."""
    world.ready()
    world.keep()
    stale = tmp_copy(world)
    waiting = world.ask(start_at=world.clock.now() + timedelta(hours=1))
    world.services.recovery.follow()
    mark = world.adapters.mark.read()
    with monkeypatch.context() as partitioned:
        partitioned.setattr(world.store, "read", stale.read)
        world.services.recovery.follow()
    stale.close()
    assert not world.compares()
    assert "lacks" not in caplog.text
    assert world.get(waiting).state is State.SCHEDULED
    assert world.adapters.mark.read() == mark


def test_2_each_node_that_misses_a_record_says_so_also_while_it_is_compared(world: RestoredWorld) -> None:
    """What it wrote to the directory may have come after that was read."""
    world.ready()
    marks = [MemoryMark(), MemoryMark()]
    for seq, mark in enumerate(marks, 10_000):
        mark.write((seq, "0" * 64))
        Recovery(store=world.store, mark=mark, now=world.clock.now).follow()
    assert [json.loads(one)["missing"] for one in world.said(BEGAN)] == [10_000, 10_001]


def test_2_bastide_restore_says_so_itself(tmp_path: Path, key: tuple[str, Path], place: Path) -> None:
    source, target = (f"sqlite:///{tmp_path}/{name}.db" for name in ("source", "target"))
    for url in (source, target):
        migrations.upgrade(url)
    public, private = key
    made = make(source, place, public)
    backups.restore(target, made.written.path, private, build.NOW)
    store = SqlStore(target)
    with store.read() as uow:
        record = uow.audit.last(BEGAN, "database")
        assert record is not None
        assert json.loads(record.data) == {"cause": "restored from a backup"}
        assert [row["kind"] for row in uow.work.listing()] == ["reconcile"]
    store.close()


def test_3_nothing_is_granted_meanwhile_and_ends_go_on(world: RestoredWorld) -> None:
    world.prepare("alice", "bob")
    world.prepare_group()
    world.prepare_group("DbAdmins")
    role = world.add_role(candidates=("CORP\\alice", "CORP\\bob"), extension=True, ttl=SHORT)
    staged = world.add_role(
        "Databases",
        privileges=("PAM-DbAdmins",),
        stages=(StageDraft("owners", ("PRIV\\grace", "PRIV\\heidi")),),
    )
    proving = world.add_role("Keys", privileges=("PAM-DbAdmins",), mfa=True)
    active = world.ask(role.name)
    world.work()
    waiting = world.ask(staged.name)
    unproved = world.ask(proving.name, world.sign_in("alice", world.corp.forest))
    assert unproved.state is State.PENDING_MFA
    with world.store.write() as uow:
        begin(uow, world.clock.now(), cause="a test")
        uow.commit()
    use = world.services.requests
    with pytest.raises(Conflict, match=REFUSED):
        world.ask(role.name)
    with pytest.raises(Conflict, match=REFUSED):
        use.extend(world.alice(), active.id, timedelta(minutes=1))
    with pytest.raises(Conflict, match=REFUSED):
        use.decide(world.sign_in("grace", mfa=True), waiting.id, Decision.APPROVE)
    with pytest.raises(Conflict, match=REFUSED):
        use.prove(world.alice(), unproved.id)
    rejected = use.decide(world.sign_in("grace", mfa=True), waiting.id, Decision.REJECT, "not now")
    assert rejected.state is State.REJECTED
    assert use.close(world.alice(), active.id).state is State.CLOSING
    assert use.kill(world.dave, "incident", request=unproved.id)[0].state is State.CANCELLED


def test_3_what_was_asked_as_it_began_is_refused(
    world: RestoredWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between the look at the directory and the commit."""
    role = world.ready()
    priv = world.services.forests[Forest.PRIV]
    observe = priv.observe

    def meanwhile(accounts: Collection[Sid]) -> Mapping[str, Mapping[Sid, AccountState]]:
        with world.store.write() as uow:
            begin(uow, world.clock.now(), cause="a test")
            uow.commit()
        return observe(accounts)

    monkeypatch.setattr(priv, "observe", meanwhile)
    with pytest.raises(Conflict, match=REFUSED):
        world.ask(role.name)


def test_3_a_database_that_goes_away_in_between_opens_nothing_and_ends_all_the_same(
    world: RestoredWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.prepare("alice", "bob")
    world.prepare_group()
    role = world.add_role(candidates=("CORP\\alice", "CORP\\bob"), ttl=SHORT)
    first = world.ask(role.name, ttl=timedelta(minutes=5))
    world.work()
    world.clock.move(minutes=5)
    later = world.ask(role.name, world.sign_in("bob", world.corp.forest, mfa=True))

    def away(_recovery: Recovery) -> None:
        raise StoreUnavailable("the database does not answer")

    writes: list[str] = []
    world.priv.before_write = lambda _number, what: writes.append(what)
    with monkeypatch.context() as down:
        down.setattr(Recovery, "held", away)
        world.runner.run_due()
    assert world.get(later).state is State.PROCESSING
    assert not any("add to" in what for what in writes)
    assert any("remove from" in what for what in writes)
    world.work()
    assert (world.get(first).state, world.get(later).state) == (State.EXPIRED, State.ACTIVE)


def test_4_a_damaged_mark_is_one_that_the_database_lacks(world: RestoredWorld, tmp_path: Path) -> None:
    world.ready()
    file = tmp_path / "mark"
    file.write_bytes(b"12")
    recovery = Recovery(store=world.store, mark=FileMark(file), now=world.clock.now)
    recovery.follow()
    assert world.compares()
    place: Place | None = FileMark(file).read()
    with world.store.read() as uow:
        assert place == uow.audit.head()


def test_4_a_mark_that_cannot_be_written_stays_behind_and_says_so_once(
    world: RestoredWorld, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    role = world.ready()
    mark = FileMark(tmp_path / "no such folder" / "mark")
    recovery = Recovery(store=world.store, mark=mark, now=world.clock.now)
    with caplog.at_level(logging.WARNING):
        recovery.follow()
        recovery.follow()
    assert sum("stays behind" in record.message for record in caplog.records) == 1
    assert recovery.held() is None
    assert world.ask(role.name).state is State.PROCESSING


def test_4_a_mark_that_cannot_be_replaced_does_not_begin_again_with_each_heartbeat(
    world: RestoredWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A disk that is full would hold up all grants for ever."""
    world.ready()
    mark = MemoryMark()
    mark.write(DAMAGED)
    recovery = Recovery(store=world.store, mark=mark, now=world.clock.now)

    def full(_place: Place) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as disk:
        disk.setattr(mark, "write", full)
        recovery.follow()
        assert world.compare()
        assert recovery.held() is None
        assert len(world.said(BEGAN)) == 1
    recovery.follow()
    with world.store.read() as uow:
        assert mark.read() == uow.audit.head()
    assert len(world.said(BEGAN)) == 1


def tmp_copy(world: RestoredWorld) -> SqlStore:
    """The database as it was kept, for those who still read there."""
    return SqlStore(f"sqlite:///{world._kept}")
