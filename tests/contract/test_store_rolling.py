"""A rolling upgrade: nodes of the schema before go on beside the new one. Their statements run on the new schema as they are, no step takes away what they use without raising the
floor, and a program says whether a newer database carries it.
"""

import json
import uuid
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from alembic import command
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, inspect, text

from bastide.domain.errors import StoreUnavailable
from bastide.services.registry import Seat
from bastide.store import migrations, tables
from bastide.store.codec import micros
from bastide.store.engine import open_database
from bastide.store.unit_of_work import SqlStore
from bastide.store.work import Claimer
from tests.support.stores import POSTGRES

pytest_plugins = ["tests.support.postgres"]
#: The first schema that says its floor; programs from here on may meet a newer database.
FIRST = "0004"
#: What programs of 0004 send, as SQLAlchemy compiled it then.
OLD: dict[str, dict[str, str]] = json.loads(
    (Path(__file__).parent.parent / "data" / "statements-0004.json").read_text(encoding="utf-8")
)
MINUTE = timedelta(minutes=1)


@pytest.fixture(params=["sqlite", POSTGRES])
def empty_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'rolling.db'}"
    return str(request.getfixturevalue("postgres_server").make_database(f"r_{uuid.uuid4().hex}"))


def upgrade_to(url: str, version: str) -> None:
    if url.startswith("sqlite:"):
        Path(url.removeprefix("sqlite:///")).touch()
    database = open_database(url, busy=MINUTE, pool=1)
    with database.writing.connect() as connection:
        config = migrations._config()
        config.attributes["connection"] = connection
        command.upgrade(config, version)
        connection.commit()
    database.close()


def run(url: str, statement: str, **parameters: Any) -> list[Any]:
    database = open_database(url, busy=MINUTE, pool=1)
    try:
        with database.writing.connect() as connection:
            found = connection.execute(text(statement), parameters)
            rows = list(found.all()) if found.returns_rows else []
            connection.commit()
            return rows
    finally:
        database.close()


def old(url: str, name: str, **parameters: Any) -> list[Any]:
    """As a program of 0004 does it."""
    return run(url, OLD["sqlite" if url.startswith("sqlite:") else "postgresql"][name], **parameters)


def now() -> int:
    return micros(datetime.now(UTC))


def old_claim(url: str) -> list[Any]:
    times: dict[str, Any] = {"now_": now()} if url.startswith("sqlite:") else {}
    return old(url, "claim", kind_1="account", owner_="old:1", lease_=30_000_000, limit=10, **times)


# ----------------------------------------------------------------------------------------------------- statements of before


def test_what_a_node_of_the_version_before_plans_is_done_by_both(empty_url: str) -> None:
    migrations.upgrade(empty_url)
    for key in ("1", "2"):
        old(empty_url, "poke", kind="account", key=key, ready=now())
    ((kind, key, fence, pokes, attempts, _),) = [row for row in old_claim(empty_url) if row[1] == "1"]
    assert (kind, key, fence, pokes, attempts) == ("account", "1", 1, 1, 0)
    held = {"kind_": "account", "key_": "1", "fence_": 1}
    times: dict[str, Any] = {"now_": now()} if empty_url.startswith("sqlite:") else {}
    old(empty_url, "renew", owner_="old:1", lease_=30_000_000, **held, **times)
    old(empty_url, "finish", next_=now(), **held)
    old(empty_url, "retry", next_=now(), error_="no answer", kind_="account", key_="2", fence_=1)
    assert [row.owner for row in old(empty_url, "listing")] == [None, None]
    store = SqlStore(empty_url)
    works = store.claim(["account"], owner="new:1", lease=MINUTE, limit=10, now=datetime.now(UTC))
    assert {work.key for work in works} == {"1", "2"}
    assert store.next_due(["account"]) is not None
    store.close()


def test_what_a_new_node_plans_is_done_by_one_of_the_version_before(empty_url: str) -> None:
    migrations.upgrade(empty_url)
    store = SqlStore(empty_url)
    with store.write() as uow:
        uow.work.poke("account", "1", datetime.now(UTC))
        uow.work.poke("checkpoint", "audit", datetime.now(UTC))
        uow.commit()
    assert old(empty_url, "next_due", kind_1="checkpoint")[0][0] is not None
    assert [row[1] for row in old_claim(empty_url)] == ["1"]
    assert store.claim(["account"], owner="new:1", lease=MINUTE, limit=1, now=datetime.now(UTC)) == ()
    held = {"kind_": "account", "key_": "1", "fence_": 1}
    old(empty_url, "finish", next_=None, **held)
    old(empty_url, "remove", kind_="account", key_="1")
    old(empty_url, "forget", kind_="checkpoint")
    with store.read() as uow:
        assert uow.work.listing() == ()
    store.close()


def test_planned_work_has_its_partition_after_the_upgrade(empty_url: str) -> None:
    upgrade_to(empty_url, FIRST)
    for kind in ("account", "checkpoint", "notify", "notify:mail", "watch", "password"):
        old(empty_url, "poke", kind=kind, key="x", ready=now())
    migrations.upgrade(empty_url)
    rows = run(empty_url, "SELECT kind, partition FROM work")
    assert {row[0] for row in rows if row[1] == ""} == {"checkpoint", "notify", "watch"}
    assert {row[0] for row in rows if row[1] == "default"} == {"account", "notify:mail", "password"}
    lyon = SqlStore(empty_url, claimer=Claimer("lyon", Seat("l", "nobody")))
    assert lyon.next_due(["account", "checkpoint"]) is None, "it is not registered"
    lyon.close()


# ------------------------------------------------------------------------------------------------------------ steps and floor


def shape(connection: Connection) -> dict[str, tuple[dict[str, Any], set[str]]]:
    """Tables: their columns, and what must be unique."""
    seen = inspect(connection)
    return {
        name: (
            {column["name"]: column for column in seen.get_columns(name)},
            {
                *(str(one["column_names"]) for one in seen.get_unique_constraints(name)),
                str(seen.get_pk_constraint(name)["constrained_columns"]),
            },
        )
        for name in seen.get_table_names()
    }


def shape_of(url: str) -> dict[str, tuple[dict[str, Any], set[str]]]:
    database = open_database(url, busy=MINUTE, pool=1)
    try:
        with database.reading.connect() as connection:
            return shape(connection)
    finally:
        database.close()


def taken_away(before: dict[str, Any], after: dict[str, Any]) -> list[str]:
    """What a program of before would miss, or would have to say and does not."""
    missing = []
    for table, (columns, unique) in before.items():
        if table not in after:
            missing.append(table)
            continue
        new, new_unique = after[table]
        for name, column in columns.items():
            same = name in new and all(str(new[name][k]) == str(column[k]) for k in ("type", "nullable"))
            missing += [] if same else [f"{table}.{name}"]
        missing += [f"{table} {one}" for one in unique ^ new_unique]
        for name in new.keys() - columns.keys():
            if not new[name]["nullable"] and new[name]["default"] is None:
                missing.append(f"{table}.{name} has no default")
    return missing


def test_a_step_that_takes_something_away_raises_the_floor(empty_url: str) -> None:
    script = ScriptDirectory.from_config(migrations._config())
    versions = [one.revision for one in script.walk_revisions()][::-1]
    steps = versions[versions.index(FIRST) :]
    upgrade_to(empty_url, FIRST)
    floor, before = FIRST, shape_of(empty_url)
    for version in steps[1:]:
        upgrade_to(empty_url, version)
        after = shape_of(empty_url)
        ((now_floor,),) = run(empty_url, "SELECT version FROM schema_floor")
        assert now_floor == (version if taken_away(before, after) else floor), taken_away(before, after)
        floor, before = now_floor, after
    assert (floor, steps[-1]) == ("0004", tables.SCHEMA)


def test_the_comparison_sees_what_is_taken_away(empty_url: str) -> None:
    upgrade_to(empty_url, FIRST)
    before = shape_of(empty_url)
    assert taken_away(before, before) == []
    run(empty_url, "ALTER TABLE sessions ADD COLUMN extra TEXT NOT NULL DEFAULT ''")
    assert taken_away(before, shape_of(empty_url)) == []
    run(empty_url, "ALTER TABLE work RENAME COLUMN error TO problem")
    assert taken_away(before, shape_of(empty_url)) == ["work.error", "work.problem has no default"]


def test_versions_are_numbers_that_compare_as_text() -> None:
    assert migrations.newest() == tables.SCHEMA
    script = ScriptDirectory.from_config(migrations._config())
    versions = [one.revision for one in script.walk_revisions()]
    assert all(len(one) == 4 and one.isdecimal() for one in versions)
    assert versions == sorted(versions, reverse=True)


# -------------------------------------------------------------------------------------------------------------------- check


def test_a_newer_database_that_carries_this_program_is_taken(empty_url: str) -> None:
    migrations.upgrade(empty_url)
    assert migrations.check(empty_url) == migrations.Fit(tables.SCHEMA, tables.SCHEMA, "0004")
    run(empty_url, "UPDATE alembic_version SET version_num = '0999'")
    assert migrations.check(empty_url) == migrations.Fit("0999", tables.SCHEMA, "0004")
    assert migrations.upgrade(empty_url) == "0999", "a node that restarts meanwhile changes nothing"
    assert migrations.current(empty_url) == "0999"
    run(empty_url, "UPDATE schema_floor SET version = '0998'")
    said = f"version 0999 and carries programs from 0998 on, this program needs {tables.SCHEMA}"
    with pytest.raises(StoreUnavailable, match=said):
        migrations.check(empty_url)


def test_an_older_database_is_refused_until_it_is_upgraded(empty_url: str) -> None:
    upgrade_to(empty_url, FIRST)
    with pytest.raises(StoreUnavailable, match="version 0004, this program needs") as refused:
        migrations.check(empty_url)
    assert "db upgrade" in refused.value.remedy
    assert migrations.upgrade(empty_url) == tables.SCHEMA
    migrations.check(empty_url)
