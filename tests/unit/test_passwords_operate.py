"""What people do and see: the switch, the restored database, queue and history, explain, coverage, a standby."""

import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import msgspec
import pytest

from bastide.config import Passwords
from bastide.domain.alerts import CATALOGUE, Signal
from bastide.domain.contacts import Contact
from bastide.domain.errors import CapabilityMissing, Conflict, NotAuthorized, NotFound
from bastide.domain.health import Severity
from bastide.domain.passwords import Receipt, State
from bastide.domain.people import Right
from bastide.health.checks import agents
from bastide.services.alerts.measures import coverage
from bastide.services.passwords.coverage import FRESH
from bastide.services.passwords.explain import outcome
from bastide.services.passwords.ports import PasswordDate
from bastide.store import migrations
from tests.support.health import MINIMAL, looking_at
from tests.support.sync_world import SyncWorld, actor, guid_of

SECRET = "Grüße 🐟 pass"
NOBODY = actor(Right.USE, name="PRIV\\mallory")
AUDITOR = actor(Right.AUDIT, name="PRIV\\frank")


@pytest.fixture
def world() -> SyncWorld:
    made = SyncWorld()
    made.ready("alice", "bob")
    return made


# ---------------------------------------------------------------------------------------------------------------- switch


def test_it_is_off_until_a_person_says_so() -> None:
    world = SyncWorld(enabled=False)
    switch = world.passwords.switchboard
    assert not switch.status(AUDITOR).enabled
    with pytest.raises(NotAuthorized):
        switch.enable(AUDITOR)
    switch.enable(world.dave)
    switch.enable(world.dave)
    assert world.events.numbers() == [6910]
    switch.disable(world.dave)
    switch.disable(world.dave)
    assert world.events.numbers() == [6910, 6911]
    assert [record.kind for record in world.audit()] == ["passwords.enabled", "passwords.disabled"]
    with pytest.raises(NotAuthorized):
        switch.status(NOBODY)


def test_a_restored_database_switches_itself_off(tmp_path: Path) -> None:
    database, backup = tmp_path / "bastide.db", tmp_path / "backup.db"
    url, vault_url = f"sqlite:///{database}", f"sqlite:///{tmp_path / 'vault.db'}"
    migrations.upgrade(url)
    world = SyncWorld(url=url, vault_url=vault_url)
    world.ready("alice")
    world.tell("alice", "old")
    _copy(database, backup)
    world.work()
    world.clock.move(minutes=1)
    world.tell("alice", "new")
    world.work()
    world.close()

    for leftover in (database, *tmp_path.glob("bastide.db-*")):
        leftover.unlink()
    shutil.copy(backup, database)
    restored = SyncWorld(url=url, vault_url=vault_url, enabled=False, clock=world.clock)
    restored.passwords.switchboard.plant()
    assert restored.events.numbers() == [6916]
    status = restored.passwords.switchboard.status(AUDITOR)
    assert (status.enabled, status.restored, status.waiting) == (False, True, 2)
    assert [record.kind for record in restored.audit()][-1] == "passwords.restored"
    restored.systems.systems["crm"].put(guid_of("crm alice"), password="new")
    restored.work()
    assert restored.password("alice", "crm") == "new", "the old password is pending again, and is not set"

    restored.passwords.switchboard.enable(restored.dave)
    restored.work()
    assert restored.password("alice", "crm") == "new", "its key is gone for ever"
    assert not restored.passwords.switchboard.status(AUDITOR).restored
    restored.passwords.switchboard.plant()
    assert restored.events.numbers().count(6916) == 1
    restored.close()


def test_a_restore_that_lost_what_was_only_taken_in_is_noticed(tmp_path: Path) -> None:
    """No delivery has ended since the backup: the vault knows from the next change that came in."""
    database, backup = tmp_path / "bastide.db", tmp_path / "backup.db"
    url, vault_url = f"sqlite:///{database}", f"sqlite:///{tmp_path / 'vault.db'}"
    migrations.upgrade(url)
    world = SyncWorld(url=url, vault_url=vault_url)
    world.ready("alice", "bob")
    _copy(database, backup)
    world.tell("alice", SECRET)
    world.tell("bob", SECRET)
    world.close()
    for leftover in (database, *tmp_path.glob("bastide.db-*")):
        leftover.unlink()
    shutil.copy(backup, database)
    restored = SyncWorld(url=url, vault_url=vault_url, enabled=False, clock=world.clock)
    restored.passwords.switchboard.plant()
    assert restored.events.numbers() == [6916]
    assert len(restored.vault.references()) == 2, "the keys are kept for whoever puts the right database back"
    restored.close()


def test_a_kill_between_vault_and_commit_is_no_restore(world: SyncWorld) -> None:
    with world.store.read() as uow:
        head = uow.audit.head()
    world.vault.put({"never committed": b"k" * 32}, head)
    world.passwords.switchboard.plant()
    assert 6916 not in world.events.numbers()
    assert world.passwords.switchboard.status(AUDITOR).enabled


def test_a_database_restored_under_a_running_node_is_noticed_with_the_next_work(world: SyncWorld) -> None:
    world.tell("alice", SECRET)
    world.vault.set_mark(10_000, "f" * 64)
    world.work()
    assert not world.served("crm")
    assert not world.passwords.switchboard.status(AUDITOR).enabled


def _copy(source: Path, target: Path) -> None:
    """As `sqlite3 .backup` does, while the service runs."""
    with closing(sqlite3.connect(source)) as one, closing(sqlite3.connect(target)) as other:
        one.backup(other)


def test_a_start_sweeps_keys_that_nobody_needs(world: SyncWorld) -> None:
    world.tell("alice", SECRET)
    (needed,) = world.vault.references()
    world.vault.put({"orphan": b"k" * 32})
    world.passwords.switchboard.plant()
    assert world.vault.references() == {needed}
    world.work()
    assert world.password("alice", "crm") == SECRET


def test_a_standby_takes_over_without_loss(tmp_path: Path) -> None:
    """Same database, same vault. The first node dies with claimed work; what the agent had no answer to, it sends to the standby."""
    url, vault_url = f"sqlite:///{tmp_path / 'b.db'}", f"sqlite:///{tmp_path / 'v.db'}"
    migrations.upgrade(url)
    first = SyncWorld(url=url, vault_url=vault_url)
    first.ready("alice", "bob")
    first.tell("alice", "one")
    claimed = first.store.claim(
        ["password"], owner="node-1", lease=timedelta(seconds=10), limit=9, now=first.clock.now()
    )
    assert len(claimed) == 2
    unanswered = first.notification("bob", "two")
    first.passwords.accept.notification(first.caller(), unanswered)

    standby = SyncWorld(url=url, vault_url=vault_url, enabled=False, clock=first.clock)
    standby.systems = first.systems
    standby.passwords = standby.assemble()
    standby.runner = standby.new_runner("node-2")
    standby.passwords.switchboard.plant()
    again = standby.passwords.accept.notification(standby.caller(), unanswered)
    assert again.receipt is Receipt.DUPLICATE
    standby.work()
    assert standby.password("bob", "crm") == "two"
    assert standby.password("alice", "crm") == "", "still leased to the dead node"
    standby.clock.move(seconds=11)
    standby.work()
    assert standby.password("alice", "crm") == standby.password("alice", "files") == "one"
    assert (standby.served("crm"), standby.served("files")) == (2, 2)
    assert len(standby.vault.references()) == 1, "the dead node may only have stalled"
    standby.clock.move(hours=1)
    standby.work()
    assert (standby.served("crm"), standby.served("files")) == (2, 2)
    assert not standby.vault.references()
    first.close()
    standby.close()


# ------------------------------------------------------------------------------------------------------ queue and history


def test_the_queue_names_what_waits(world: SyncWorld) -> None:
    world.tell("alice", SECRET)
    items = world.passwords.queue.list(AUDITOR)
    assert {(item.agent, item.account) for item in items} == {("crm", "alice"), ("files", "alice")}
    assert not any(item.delivery.sealed for item in items)
    assert world.passwords.queue.length(AUDITOR) == 2
    assert world.passwords.queue.length(AUDITOR, agent="crm") == 1
    assert len(world.passwords.queue.list(AUDITOR, agent="crm")) == 1
    shown = world.passwords.queue.show(AUDITOR, items[0].delivery.reference)
    assert (shown.source, shown.change.controller) == ("corp", "dc1.corp.test")
    with pytest.raises(NotFound):
        world.passwords.queue.list(AUDITOR, agent="nowhere")
    with pytest.raises(NotFound):
        world.passwords.queue.show(AUDITOR, "nothing")


@pytest.mark.parametrize("use", ["list", "length", "history", "clear", "show", "clear_history"])
def test_the_queue_is_not_for_everybody(world: SyncWorld, use: str) -> None:
    arguments = {"show": ("x",), "clear_history": (world.clock.now(),)}.get(use, ())
    with pytest.raises(NotAuthorized):
        getattr(world.passwords.queue, use)(NOBODY, *arguments)
    if use.startswith("clear"):
        with pytest.raises(NotAuthorized):
            getattr(world.passwords.queue, use)(AUDITOR, *arguments)


def test_clearing_the_queue_makes_history_and_destroys_the_keys(world: SyncWorld) -> None:
    world.tell("alice", SECRET)
    world.tell("bob", SECRET)
    assert world.passwords.queue.clear(world.dave) == 2
    assert len(world.deliveries(State.CLEARED)) == 4
    assert not any(one.sealed for one in world.deliveries())
    assert not world.vault.references()
    assert world.events.written[-1] == (6925, {"Count": 2, "User": "PRIV\\dave"})
    assert '"count":2' in world.audit("passwords.queue-cleared")[0].data
    world.work()
    assert not world.served("crm")
    assert world.passwords.queue.clear(world.dave) == 0


def test_history_is_cleared_after_the_queue(world: SyncWorld) -> None:
    world.tell("alice", SECRET)
    world.clock.move(hours=1)
    with pytest.raises(Conflict):
        world.passwords.queue.clear_history(world.dave, world.clock.now())
    assert world.passwords.queue.clear_history(world.dave, world.clock.now() - timedelta(hours=2)) == 0
    world.passwords.queue.clear(world.dave)
    assert world.passwords.queue.clear_history(world.dave, world.clock.now()) == 1
    assert world.events.written[-1] == (6924, {"Count": 1, "User": "PRIV\\dave"})
    assert world.passwords.queue.history(AUDITOR) == ()
    assert world.tell("alice", "after").receipt is Receipt.STAGED


def test_an_order_outlives_the_history(world: SyncWorld) -> None:
    """Who clears the history must not open the door for old changes."""
    world.tell("alice", "new", revision=9)
    world.work()
    world.clock.move(seconds=1)
    world.passwords.queue.clear_history(world.dave, world.clock.now())
    assert world.tell("alice", "old", revision=8).receipt is Receipt.OUT_OF_DATE


def test_history_by_user(world: SyncWorld) -> None:
    for name in ("alice", "bob", "alice"):
        world.clock.move(minutes=1)
        world.tell(name, SECRET)
    queue = world.passwords.queue
    assert [one.change.account for one in queue.history(AUDITOR)] == ["alice", "bob", "alice"]
    assert len(queue.history(AUDITOR, user="ALICE")) == 2
    assert len(queue.history(AUDITOR, user=guid_of("corp bob"))) == 1
    assert len(queue.history(AUDITOR, before=world.clock.now())) == 2
    assert len(queue.history(AUDITOR, limit=1)) == 1


# --------------------------------------------------------------------------------------------------------------- explain


def test_explain_says_what_happened_at_each_target(world: SyncWorld) -> None:
    world.systems.systems["crm"].faults.down = True
    world.tell("alice", SECRET)
    world.work()
    told = world.passwords.explain.user(AUDITOR, "alice")
    (story,) = told.stories
    assert "delivered to 1 of 2 targets" in story.summary
    text = "\n".join(story.targets)
    assert "files: CN=alice,OU=files has the password since 2026-11-20T09:00:00" in text
    assert "the target did not answer" in text
    assert "Next try at 2026-11-20T09:01:00" in text
    assert any("joined to a person" in line for line in told.standing)
    assert any(line.startswith("crm: the next change is set for CN=alice,OU=crm") for line in told.standing)
    assert SECRET not in str(told)


def test_explain_says_what_has_not_come_in(world: SyncWorld) -> None:
    standing = world.passwords.explain.user(AUDITOR, "alice").standing
    assert standing[-1] == "No change of this user has come in yet."
    waits = Contact(
        domain="corp.test", account="corpdc$", host="corpdc", heard_at=world.clock.now(), waiting=3
    )
    with world.store.write() as uow:
        uow.contacts.put(waits)
        uow.commit()
    assert world.passwords.explain.user(AUDITOR, "alice").standing[-1].startswith("corpdc had 3 changes")
    world.tell("alice", SECRET)
    assert "come in yet" not in " ".join(world.passwords.explain.user(AUDITOR, "alice").standing)


def test_explain_says_that_no_target_knows_the_person(world: SyncWorld) -> None:
    world.add_user("erin", "corp")
    standing = world.passwords.explain.user(AUDITOR, "erin").standing
    assert any(line.startswith("No target of corp has an account") for line in standing)


def test_explain_says_why_nothing_was_passed_on(world: SyncWorld) -> None:
    world.add_user("carol", "corp", joined=False)
    world.tell("carol", SECRET)
    told = world.passwords.explain.user(AUDITOR, "carol")
    assert any("joined to nobody" in line for line in told.standing)
    assert "not joined" in told.stories[0].summary
    world.passwords.switchboard.disable(world.dave)
    assert "switched off" in world.passwords.explain.user(AUDITOR, "carol").standing[0]
    with pytest.raises(NotFound):
        world.passwords.explain.user(AUDITOR, "unheard of")
    with pytest.raises(NotAuthorized):
        world.passwords.explain.user(NOBODY, "carol")


def test_each_state_has_words(world: SyncWorld) -> None:
    world.tell("alice", SECRET)
    one = world.deliveries(State.PENDING)[0]
    now = world.clock.now()
    assert outcome(one, now).startswith("on its way")
    assert "cleared the queue" in outcome(replace(one, state=State.CLEARED), now)
    shadow = replace(one, state=State.DELIVERED, shadow=True)
    assert "nothing was written" in outcome(shadow, now)
    failed = replace(one, state=State.FAILED, attempts=11, retry_limit_reached=True)
    assert "No try is left" in outcome(failed, now)


# -------------------------------------------------------------------------------------------------------------- coverage


class Dates:
    """A domain as it is now."""

    def __init__(self) -> None:
        self.rows: list[PasswordDate] = []

    def since(self, domain: str, moment: datetime) -> Iterator[PasswordDate]:
        assert domain == "corp.test"
        return iter([row for row in self.rows if row.changed_at >= moment])


def test_coverage_names_whom_no_notification_came_for() -> None:
    dates = Dates()
    world = SyncWorld(dates=dates)
    world.ready("alice", "bob", "carol", "dora")
    start = world.clock.now()
    world.tell("alice", SECRET)
    world.tell("nobody", SECRET)
    dates.rows = [
        PasswordDate(guid_of("corp alice"), "alice", start, "dc1"),
        PasswordDate(guid_of("corp nobody"), "nobody", start, "dc1"),
        PasswordDate(guid_of("corp bob"), "bob", start, "dc2"),
        PasswordDate(guid_of("corp carol"), "carol", start + timedelta(seconds=1), "dc2"),
        PasswordDate(guid_of("corp dora"), "dora", start + timedelta(hours=1), "dc1"),
    ]
    world.clock.moment = start + timedelta(hours=1) + FRESH
    (found,) = world.passwords.coverage.measure(AUDITOR)
    assert (found.users, found.covered, found.fresh) == (5, 2, 0)
    assert [one.account for one in found.uncovered] == ["bob", "carol", "dora"]
    assert found.by_controller == (("dc2", 2), ("dc1", 1))
    world.clock.move(seconds=-30)
    (found,) = world.passwords.coverage.measure(AUDITOR, "CORP.test")
    assert found.fresh == 1, "a change of this minute may still be on its way"


@pytest.mark.parametrize(("minutes", "alarm"), [(2, True), (180, False)])
def test_a_change_that_has_not_replicated_to_an_agent_is_no_alarm_where_the_settings_wait_for_it(
    *, minutes: int, alarm: bool
) -> None:
    """(3) One agent, on dc1. A change on dc2, a quarter of an hour of replication away; coverage reads dc2."""
    dates = Dates()
    world = SyncWorld(dates=dates)
    world.adapters = replace(world.adapters, fresh=timedelta(minutes=minutes))
    world.passwords = world.assemble()
    world.ready()
    changed = world.clock.now()
    dates.rows = [PasswordDate(guid_of("corp alice"), "alice", changed, "dc2")]
    settings = Passwords(openpgp=[], keytab="/k", coverage_minutes=minutes)
    looking = looking_at(
        msgspec.structs.replace(MINIMAL, passwords=settings),
        clock=world.clock,
        store=world.store,
        dates=dates,
    )
    measure = coverage(world.passwords.coverage, world.store)
    (rule,) = (one for one in CATALOGUE if one.signal is Signal.COVERAGE)

    def said() -> list[bool]:
        (finding,) = agents.coverage(looking)
        return [bool(measure(rule, world.clock.now())), finding.severity is not Severity.OK]

    world.clock.move(minutes=10)
    assert said() == [alarm, alarm]
    world.clock.move(minutes=5)
    world.tell("alice", SECRET, at=changed)
    assert said() == [False, False]
    dates.rows = [PasswordDate(guid_of("corp alice"), "alice", changed + timedelta(minutes=1), "dc2")]
    world.clock.move(minutes=minutes)
    assert said() == [True, True], "one that never comes is said once the time is over"


def test_what_another_domain_says_of_a_user_covers_nobody() -> None:
    dates = Dates()
    world = SyncWorld(dates=dates)
    world.ready("alice")
    world.add_source("lab", "crm")
    told = world.notification("alice", SECRET)
    world.passwords.accept.notification(world.caller("lab"), told)
    dates.rows = [PasswordDate(guid_of("corp alice"), "alice", world.clock.now(), "dc1")]
    world.clock.move(hours=1)
    (found,) = world.passwords.coverage.measure(AUDITOR, "corp.test")
    assert (found.users, found.covered) == (1, 0)


def test_a_later_change_without_a_notification_is_uncovered() -> None:
    dates = Dates()
    world = SyncWorld(dates=dates)
    world.ready("alice")
    world.tell("alice", SECRET)
    world.clock.move(hours=1)
    dates.rows = [
        PasswordDate(guid_of("corp alice"), "alice", world.clock.now() - timedelta(minutes=30), "dc1")
    ]
    (found,) = world.passwords.coverage.measure(AUDITOR)
    assert found.covered == 0


def test_coverage_of_what_is_no_source(world: SyncWorld) -> None:
    with pytest.raises(CapabilityMissing):
        world.passwords.coverage.measure(AUDITOR)
    with pytest.raises(Conflict):
        SyncWorld(dates=Dates()).passwords.coverage.measure(AUDITOR)
    with pytest.raises(NotAuthorized):
        world.passwords.coverage.measure(NOBODY)
