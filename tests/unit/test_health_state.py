"""Checks of database, agents, targets, approvers, audit and work."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest

from bastide.config import AuditSettings, Database
from bastide.domain.audit import Event
from bastide.domain.contacts import Contact
from bastide.domain.errors import StoreUnavailable, TargetUnavailable
from bastide.domain.health import Finding, Severity
from bastide.health.checks import (
    agents,
    approvers,
    audit,
    database,
    inventory,
    recovery,
    targets,
    work,
)
from bastide.health.checks.work import Row
from bastide.services.benches import Bench
from bastide.services.passwords.coverage import Coverage
from bastide.services.passwords.ports import PasswordDate
from bastide.services.roles import StageDraft
from bastide.store import migrations
from bastide.store.inspect import DatabaseFacts, ServerFacts, SqliteFacts, StandbyFacts, inspect
from bastide.store.migrations import Fit
from bastide.store.unit_of_work import SqlStore
from tests.support.health import MINIMAL, ToldNetwork, by_key, looking_at
from tests.support.world import TestClock as Clock
from tests.support.world import World

NOW = datetime(2026, 1, 5, 12, 0, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


def severities(found: Any) -> dict[str, Severity]:
    return {name: one.severity for name, one in by_key(found).items()}


# ------------------------------------------------------------------------------------------------------------- database


def test_a_file_is_inspected_and_left_alone(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/x.db"
    with pytest.raises(StoreUnavailable, match="there is no database"):
        inspect(url)
    migrations.upgrade(url)
    before = (tmp_path / "x.db").read_bytes()
    facts = inspect(url)
    assert facts.fit is not None
    assert facts.fit.good
    assert facts.sqlite == SqliteFacts(f"{tmp_path}/x.db", "wal", (), 0)
    assert (tmp_path / "x.db").read_bytes() == before
    config = msgspec.structs.replace(MINIMAL, database=Database(url=url))
    world = looking_at(config, database=facts)
    assert severities([*database.schema(world), *database.sqlite(world), *database.servers(world)]) == {
        "database": Severity.OK,
        "integrity": Severity.OK,
        "journal": Severity.OK,
        "write-ahead log": Severity.OK,
    }


def test_a_damaged_page_is_found(tmp_path: Path) -> None:
    url, file = f"sqlite:///{tmp_path}/x.db", tmp_path / "x.db"
    migrations.upgrade(url)
    with closing(sqlite3.connect(file)) as connection:
        (page,) = connection.execute("SELECT rootpage FROM sqlite_master WHERE name = 'work'").fetchone()
    raw = bytearray(file.read_bytes())
    raw[4096 * (page - 1) : 4096 * page] = bytes(4096)
    file.write_bytes(raw)
    facts = inspect(url).sqlite
    assert facts is not None
    assert facts.complaints
    assert severities(database.judge_file(facts))["integrity"] is Severity.CRITICAL


@pytest.mark.parametrize(
    ("facts", "problem"),
    [
        (SqliteFacts("/x", "delete", (), 0), "journal"),
        (SqliteFacts("/x", "wal", ("row 1 missing",), 0), "integrity"),
        (SqliteFacts("/x", "wal", (), 1 << 30), "write-ahead log"),
    ],
)
def test_what_is_wrong_with_a_file(facts: SqliteFacts, problem: str) -> None:
    assert [name for name, one in by_key(database.judge_file(facts)).items() if not one.ok] == [problem]


@pytest.mark.parametrize(
    ("fit", "severity"),
    [
        (Fit("0005", "0005", ""), Severity.OK),
        (Fit("0001", "0005", ""), Severity.ERROR),
        (None, Severity.ERROR),
    ],
)
def test_the_schema(fit: Fit | None, severity: Severity) -> None:
    (found,) = database.schema(looking_at(database=DatabaseFacts("3", fit, problem="nobody leads")))
    assert found.severity is severity
    assert found.ok or found.remedy


STANDBY = StandbyFacts("db2", "streaming", "sync", 0)
LEADER = ServerFacts("db1", 5432, "", "16.4", True, 3, "ANY 1 (db2)", (STANDBY,))
FOLLOWER = ServerFacts("db2", 5432, "", "16.4", False, 3, lag=timedelta(0))


def of_servers(*servers: ServerFacts, **options: str) -> dict[str, Finding]:
    facts = DatabaseFacts("16.4", Fit("1", "1", ""), servers=servers, options=options)
    return by_key(database.judge_servers(facts))


def test_a_good_pair_has_nothing_wrong() -> None:
    found = of_servers(LEADER, FOLLOWER)
    assert {one.severity for one in found.values()} == {Severity.OK}
    assert set(found) == {
        "db1:5432", "db2:5432", "writable", "replication", "synchronous", "alike", "dsn",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("servers", "options", "problems"),
    [
        ((FOLLOWER, replace(FOLLOWER, host="db3")), {}, {"writable": Severity.CRITICAL}),
        ((LEADER, replace(LEADER, host="db3")), {}, {"writable": Severity.CRITICAL}),
        ((LEADER, replace(FOLLOWER, problem="connection refused")), {}, {"db2:5432": Severity.ERROR}),
        ((LEADER, replace(FOLLOWER, lag=timedelta(seconds=30))), {}, {"db2:5432": Severity.WARNING}),
        ((LEADER, replace(FOLLOWER, lag=timedelta(hours=1))), {}, {"db2:5432": Severity.ERROR}),
        ((LEADER, replace(FOLLOWER, timeline=2)), {}, {}),
        (
            (replace(LEADER, standbys=()), replace(FOLLOWER, timeline=2)),
            {},
            {"replication": Severity.ERROR, "alike": Severity.ERROR},
        ),
        (
            (replace(LEADER, standbys=(replace(STANDBY, state="", sync=""),)), FOLLOWER),
            {},
            {"replication": Severity.WARNING},
        ),
        ((LEADER, replace(FOLLOWER, version="16.3")), {}, {"alike": Severity.WARNING}),
        ((replace(LEADER, standbys=()), FOLLOWER), {}, {"replication": Severity.ERROR}),
        (
            (replace(LEADER, standbys=(replace(STANDBY, state="catchup"),)), FOLLOWER),
            {},
            {"replication": Severity.WARNING},
        ),
        ((replace(LEADER, synchronous=""), FOLLOWER), {}, {"synchronous": Severity.WARNING}),
        ((LEADER,), {}, {"dsn": Severity.WARNING}),
        ((LEADER, FOLLOWER), {"target_session_attrs": "any"}, {"dsn": Severity.ERROR}),
        ((replace(LEADER, version="12.1"), replace(FOLLOWER, version="12.1")), {}, {"db1:5432": Severity.ERROR, "db2:5432": Severity.ERROR}),
    ],
)  # fmt: skip
def test_what_is_wrong_with_servers(
    servers: tuple[ServerFacts, ...], options: dict[str, str], problems: dict[str, Severity]
) -> None:
    found = of_servers(*servers, **options)
    assert {name: one.severity for name, one in found.items() if not one.ok} == problems
    assert all(one.remedy for one in found.values() if not one.ok)


def test_a_server_whose_port_is_shut_is_the_port_s_finding() -> None:
    config = msgspec.structs.replace(MINIMAL, database=Database(url="postgresql://a@db1,db2/c"))
    down = replace(FOLLOWER, problem="connection timeout expired")
    facts = DatabaseFacts("16.4", Fit("1", "1", ""), servers=(LEADER, down))
    for why, severity in (("", Severity.ERROR), ("timed out", Severity.SKIPPED)):
        network = ToldNetwork(shut={("db2", 5432): why})
        found = severities(database.servers(looking_at(config, database=facts, network=network)))
        assert found["db2:5432"] is severity
        assert found["db1:5432"] is Severity.OK


def test_a_database_that_cannot_be_asked_is_one_problem() -> None:
    for url in ("sqlite:////x.db", "postgresql://a@b/c"):
        world = looking_at(msgspec.structs.replace(MINIMAL, database=Database(url=url)))
        found = [*database.schema(world), *database.sqlite(world), *database.servers(world)]
        assert [one.severity for one in found] == [Severity.ERROR, Severity.SKIPPED]


# ------------------------------------------------------------------------------------------------------ agents and targets

CONTACT = Contact(domain="corp.test", account="dc1$", host="dc1", heard_at=NOW)


@pytest.mark.parametrize(
    ("contact", "severity"),
    [
        (CONTACT, Severity.OK),
        (replace(CONTACT, silent=True), Severity.ERROR),
        (replace(CONTACT, waiting=3, oldest=NOW - MINUTE), Severity.OK),
        (replace(CONTACT, waiting=3, oldest=NOW - 30 * MINUTE), Severity.WARNING),
    ],
)
def test_agents_are_judged(contact: Contact, severity: Severity) -> None:
    assert agents.judge(contact, None, NOW).severity is severity


def test_missed_passwords_are_an_error() -> None:
    missed = PasswordDate("guid", "alice", NOW, "dc1")
    whole = Coverage("corp.test", NOW, 5, 5, 0, (), (), ())
    assert agents.covered(whole).severity is Severity.OK
    found = agents.covered(replace(whole, covered=4, uncovered=(missed,), by_controller=(("dc1", 1),)))
    assert (found.severity, "dc1: 1" in found.evidence) == (Severity.ERROR, True)


def test_no_agent_yet_is_no_proof(store: SqlStore) -> None:
    assert [one.severity for one in agents.heard(looking_at(store=store))] == [Severity.SKIPPED]


@pytest.fixture
def store() -> Iterator[SqlStore]:
    made = SqlStore("sqlite://")
    yield made
    made.close()


class Answering:
    """Connected systems of which the one called `down` does not answer."""

    def identity(self, agent: Any, secret: str) -> tuple[str, ...]:
        assert secret == ""
        if agent.name == "down":
            raise TargetUnavailable("no answer", remedy="start it")
        return ("its name",)

    def note(self, _connector: str) -> str:
        return ""


def test_each_target_is_asked(store: SqlStore) -> None:
    from tests.support.sync_world import SyncWorld

    world = SyncWorld()
    world.add_target("up")
    world.add_target("down")
    looking = looking_at(store=world.store, sealer=None, systems=Answering())
    found = by_key(targets.answering(looking))
    assert (found["up"].severity, found["down"].severity) == (Severity.OK, Severity.ERROR)
    assert found["down"].remedy == "start it"
    world.close()


# ------------------------------------------------------------------------------------------------------------ approvers


@pytest.mark.parametrize(
    ("needed", "people", "ready", "severity"),
    [
        (1, 0, 0, Severity.ERROR),
        (1, 3, 0, Severity.ERROR),
        (2, 2, 2, Severity.WARNING),
        (1, 3, 2, Severity.OK),
    ],
)
def test_a_bench(needed: int, people: int, ready: int, severity: Severity) -> None:
    assert approvers.judge(Bench("Files", "first", needed, people, ready)).severity is severity


def test_approvers_are_counted_in_the_directory() -> None:
    world = World()
    world.ready(stages=(StageDraft("first", ("PRIV\\Approvers",), 1),))
    looking = looking_at(store=world.store, forests=world.services.forests, clock=world.clock)
    (found,) = approvers.reachable(looking)
    assert (found.severity, found.evidence) == (
        Severity.ERROR,
        "1 needed, 3 can sign in, 0 have a second factor",
    )
    world.close()


# ------------------------------------------------------------------------------------------------------- audit and work


def test_the_chain_and_what_is_unsigned() -> None:
    world = World()
    world.ready()
    looking = looking_at(store=world.store, signer=world.adapters.signer, clock=world.clock)
    (whole,) = audit.chain(looking)
    assert whole.ok
    (fresh,) = audit.checkpoint(looking)
    assert fresh.ok
    world.clock.move(minutes=30)
    (late,) = audit.checkpoint(looking)
    assert late.severity is Severity.ERROR
    world.services.audit.checkpoint()
    (signed,) = audit.checkpoint(looking)
    assert signed.text == "every record is signed"
    world.close()


def test_a_changed_record_is_critical() -> None:
    world = World()
    world.ready()
    with world.store.engine.begin() as connection:
        triggers = connection.exec_driver_sql("SELECT name FROM sqlite_master WHERE type = 'trigger'")
        for (name,) in triggers.all():  # who owns the file can do that
            connection.exec_driver_sql(f'DROP TRIGGER "{name}"')
        connection.exec_driver_sql("UPDATE audit SET data = '{}' WHERE seq = 1")
    (found,) = audit.chain(looking_at(store=world.store, signer=world.adapters.signer, clock=world.clock))
    assert (found.severity, "record 1" in found.text) == (Severity.CRITICAL, True)
    world.close()


def test_a_receiver_that_is_behind(store: SqlStore, tmp_path: Path) -> None:
    config = msgspec.structs.replace(MINIMAL, audit=AuditSettings(file=str(tmp_path / "audit.log")))
    with store.write() as uow:
        uow.audit.append(Event(at=NOW, kind="role.added", actor="dave", actor_name="dave"))
        uow.commit()

    class Clock:
        def __init__(self, at: datetime) -> None:
            self.at = at

        def now(self) -> datetime:
            return self.at

        def monotonic(self) -> float:
            return 0.0

    for later, severity in ((MINUTE, Severity.OK), (60 * MINUTE, Severity.ERROR)):
        (found,) = audit.sinks(looking_at(config, store=store, clock=Clock(NOW + later)))
        assert found.severity is severity
    (none,) = audit.sinks(looking_at(store=store))
    assert none.severity is Severity.SKIPPED


ROW = Row("expire", "1", NOW, 0, "", None, "")


@pytest.mark.parametrize(
    ("row", "overdue", "lease", "failing"),
    [
        (replace(ROW, due=NOW - MINUTE), Severity.OK, Severity.OK, Severity.OK),
        (replace(ROW, due=NOW - 5 * MINUTE), Severity.WARNING, Severity.OK, Severity.OK),
        (replace(ROW, due=NOW - 60 * MINUTE), Severity.ERROR, Severity.OK, Severity.OK),
        (replace(ROW, due=None), Severity.OK, Severity.OK, Severity.OK),
        (replace(ROW, owner="n1", lease=NOW + MINUTE), Severity.OK, Severity.OK, Severity.OK),
        (
            replace(ROW, due=NOW - 60 * MINUTE, owner="n1", lease=NOW - 2 * MINUTE),
            Severity.OK,
            Severity.ERROR,
            Severity.OK,
        ),
        (replace(ROW, due=NOW + MINUTE, attempts=3, error="no"), Severity.OK, Severity.OK, Severity.WARNING),
    ],
    ids=["soon", "late", "too late", "at rest", "in hand", "stuck", "failing"],
)
def test_work(row: Row, overdue: Severity, lease: Severity, failing: Severity) -> None:
    rows = (replace(ROW, due=NOW + MINUTE), row)
    assert (
        work.judge_overdue(rows, NOW).severity,
        work.judge_leases(rows, NOW).severity,
        work.judge_failing(rows).severity,
    ) == (overdue, lease, failing)


def test_rows_are_read_as_the_store_lists_them(store: SqlStore) -> None:
    with store.write() as uow:
        uow.work.poke("expire", "k", NOW)
        uow.commit()
    assert work.rows_of(looking_at(store=store)) == (replace(ROW, key="k"),)
    store.claim({"expire"}, owner="n1", lease=MINUTE, limit=1, now=NOW)
    (row,) = work.rows_of(looking_at(store=store))
    assert (row.owner, row.lease) == ("n1", NOW + MINUTE)


def test_the_newest_backup_is_looked_up_in_the_audit(store: SqlStore) -> None:
    (none,) = recovery.backups(looking_at(store=store))
    assert none.severity is Severity.WARNING
    assert "bastide backup" in none.remedy
    made = NOW - timedelta(days=30)
    with store.write() as uow:
        for name, at in (("a.age", made), ("b.age", made + timedelta(days=22))):
            data = {"sha256": f"digest-of-{name}"}
            uow.audit.append(Event("backup.made", at, "", "bastide", subject_name=name, data=data))
        uow.commit()
    clock = Clock()
    for late, severity in ((timedelta(0), Severity.OK), (timedelta(minutes=1), Severity.WARNING)):
        clock.moment = NOW + late
        (found,) = recovery.backups(looking_at(store=store, clock=clock))
        assert found.severity is severity
        assert "8 days ago" in found.text
        assert found.evidence == "b.age, sha256 digest-of-b.age"


def test_the_inventory_counts(store: SqlStore) -> None:
    (found,) = inventory.objects(looking_at(store=store))
    assert found.text == "0 PAM users, 0 PAM groups, 0 PAM roles, 0 management agents, 0 audit records"
