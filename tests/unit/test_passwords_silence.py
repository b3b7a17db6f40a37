"""Controllers that are heard, that fall silent and that come back: each step of silence.py."""

import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from bastide.domain.contacts import EVERY, KEPT, Contact, fell_silent
from bastide.domain.errors import StoreUnavailable
from bastide.services.pace import WATCH
from bastide.store.unit_of_work import SqlStore
from bastide.workers.jobs import Job
from bastide.workers.runner import Runner
from tests.support.sync_world import LEASE, SyncWorld, filetime

AFTER = timedelta(minutes=15)
NOW = datetime(2026, 1, 5, 9, tzinfo=UTC)


@pytest.fixture
def world() -> Iterator[SyncWorld]:
    made = SyncWorld()
    made.ready("alice")
    made.passwords.silence.plant()
    yield made
    made.close()


def watch(world: SyncWorld) -> None:
    job = Job((WATCH,), lambda works, _: world.passwords.silence.watch(works), 1, LEASE)
    Runner(store=world.store, jobs=(job,), owner="node-1", clock=world.clock).run_due()


def contacts(world: SyncWorld) -> list[Contact]:
    with world.store.read() as uow:
        return list(uow.contacts.all())


def said(world: SyncWorld, number: int) -> list[dict[str, object]]:
    return [fields for found, fields in world.events.written if found == number]


def audited(world: SyncWorld, kind: str) -> list[dict[str, Any]]:
    return [json.loads(record.data) for record in world.audit(f"passwords.controller-{kind}")]


class Counting:
    """How often somebody wrote; and a database that is away."""

    def __init__(self, store: SqlStore) -> None:
        self.store = store
        self.writes = 0
        self.away = False

    def write(self) -> Any:
        self.writes += 1
        if self.away:
            raise StoreUnavailable("the database is gone")
        return self.store.write()


def test_1_what_a_controller_says_is_a_contact_at_most_once_a_minute(
    world: SyncWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    silence, caller = world.passwords.silence, world.caller()
    counting = Counting(world.store)
    monkeypatch.setattr(silence, "_store", counting)
    start = world.clock.now()
    oldest = start - timedelta(hours=2)
    silence.heard(caller, 3, filetime(oldest))
    for _ in range(11):
        world.clock.move(seconds=5)
        silence.heard(caller, 4, filetime(oldest))
        silence.heard(caller)
    assert counting.writes == 1
    first = Contact(domain="corp.test", host="dc1.corp.test", heard_at=start, waiting=3, oldest=oldest)
    assert contacts(world) == [first]
    world.clock.move(seconds=5)
    silence.heard(caller)
    assert counting.writes == 2
    assert contacts(world) == [replace(first, heard_at=start + EVERY, waiting=4)], (
        "as the last heartbeat said"
    )
    silence.heard(world.caller("lab"))
    assert counting.writes == 3, "each controller has its own minute"


def test_1_a_notification_of_a_fresh_process_keeps_what_the_heartbeat_said(world: SyncWorld) -> None:
    world.passwords.silence.heard(world.caller(), 7, filetime(NOW))
    world.clock.move(minutes=2)
    world.assemble().silence.heard(world.caller())
    (found,) = contacts(world)
    assert (found.waiting, found.oldest, found.heard_at) == (7, NOW, world.clock.now())


def test_1_what_is_no_time_is_none(world: SyncWorld) -> None:
    world.passwords.silence.heard(world.caller(), 1, 2**63 - 1)
    assert contacts(world)[0].oldest is None


def test_2_a_contact_that_cannot_be_written_holds_up_nothing(
    world: SyncWorld, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    counting = Counting(world.store)
    counting.away = True
    monkeypatch.setattr(world.passwords.silence, "_store", counting)
    world.passwords.silence.heard(world.caller(), 1)
    assert "is not on record" in caplog.text
    counting.away = False
    world.clock.move(minutes=1)
    world.passwords.silence.heard(world.caller(), 2)
    assert [one.waiting for one in contacts(world)] == [2]


def test_3_silence_is_said_once(world: SyncWorld) -> None:
    world.passwords.silence.heard(world.caller(), 5)
    world.passwords.silence.heard(world.caller("lab"), 1)
    heard_at = world.clock.now()
    world.clock.move(minutes=15)
    watch(world)
    assert not said(world, 6929)
    world.clock.move(minutes=1, seconds=1)
    watch(world)
    (event,) = said(world, 6929)
    assert event == {
        "Domain": "corp.test",
        "Server": "dc1.corp.test",
        "Last contact": heard_at.isoformat(),
        "Waiting": 5,
    }
    (record,) = audited(world, "silent")
    assert record == {"domain": "corp.test", "last_contact": heard_at.isoformat(), "waiting": 5}
    world.clock.move(hours=8)
    watch(world)
    assert len(said(world, 6929)) == len(audited(world, "silent")) == 1
    assert [one.silent for one in contacts(world)] == [True, False], "lab is no source"


def test_3_a_source_that_is_disabled_may_be_silent(world: SyncWorld) -> None:
    world.passwords.silence.heard(world.caller())

    def off(agent: Any) -> Any:
        return replace(agent, source=replace(agent.source, enabled=False))

    world.change_agent("corp", off)
    world.clock.move(hours=1)
    watch(world)
    assert not said(world, 6929)


def test_3_who_was_not_heard_while_this_node_was_down_is_not_silent_for_that(world: SyncWorld) -> None:
    world.passwords.silence.heard(world.caller())
    world.clock.move(days=1)
    world.passwords = world.assemble()
    world.passwords.silence.plant()
    watch(world)
    assert not said(world, 6929)
    world.clock.move(minutes=17)
    watch(world)
    assert len(said(world, 6929)) == 1


def test_3_zero_turns_it_off(world: SyncWorld) -> None:
    world.adapters = replace(world.adapters, silence=timedelta(0))
    world.passwords = world.assemble()
    world.passwords.silence.heard(world.caller())
    world.clock.move(days=2)
    watch(world)
    assert not said(world, 6929)


@pytest.mark.parametrize(
    ("minutes", "since", "silent", "news"),
    [(16, 99, False, False), (17, 99, False, True), (17, 99, True, False), (99, 10, False, False)],
)
def test_3_the_decision(minutes: int, since: int, silent: bool, news: bool) -> None:
    one = Contact(domain="d", host="h", heard_at=NOW - timedelta(minutes=minutes), silent=silent)
    assert fell_silent(one, NOW, NOW - timedelta(minutes=since), AFTER) is news


def test_4_who_comes_back_is_said_and_may_fall_silent_again(world: SyncWorld) -> None:
    silence = world.passwords.silence
    silence.heard(world.caller(), 5)
    heard_at = world.clock.now()
    world.clock.move(minutes=20)
    watch(world)
    silence.heard(world.caller())
    (event,) = said(world, 6930)
    assert event == {"Domain": "corp.test", "Server": "dc1.corp.test", "Silent since": heard_at.isoformat()}
    assert audited(world, "heard") == [{"domain": "corp.test", "silent_since": heard_at.isoformat()}]
    world.clock.move(minutes=1)
    silence.heard(world.caller())
    assert len(said(world, 6930)) == 1
    world.clock.move(minutes=20)
    watch(world)
    assert len(said(world, 6929)) == 2


def test_5_who_is_silent_for_long_is_forgotten(world: SyncWorld) -> None:
    world.passwords.silence.heard(world.caller())
    world.clock.move(minutes=20)
    watch(world)
    world.clock.moment += KEPT
    watch(world)
    assert contacts(world) == []
    world.passwords.silence.heard(world.caller())
    assert not said(world, 6930), "nobody remembers that it was silent"
