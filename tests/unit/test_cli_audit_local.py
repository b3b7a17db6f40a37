"""`bastide audit verify --local` on a database with records in it: whole, and after somebody who owns the file was at it."""

import json
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from bastide.cli.exits import Exit
from bastide.cli.main import app
from bastide.config import load
from bastide.domain.audit import Event
from bastide.services.audit import Audit
from bastide.store import migrations
from bastide.store.keys import load_signer
from bastide.store.unit_of_work import SqlStore
from bastide.wiring.database import database_url

pytest.importorskip("ldap")
pytest.importorskip("gssapi")

NOW = datetime(2026, 11, 21, 9, 0, tzinfo=UTC)
RECORDS = 7


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """As an administrator makes it, with a database of the newest schema."""
    answers, config = tmp_path / "answers.toml", tmp_path / "bastide.toml"
    answers.write_text(
        f'[priv]\ndomain = "priv.invalid"\n[database]\nurl = "sqlite:///{tmp_path}/bastide.db"\n'
    )
    made = CliRunner().invoke(app, ["init", "--answers", str(answers), "--output", str(config), "--offline"])
    assert made.exit_code == 0, made.output
    migrations.upgrade(database_url(load(config)))
    return config


@pytest.fixture
def store(config: Path) -> Iterator[SqlStore]:
    """Records, and a checkpoint signed with the server's own key."""
    settings = load(config)
    made = SqlStore(database_url(settings))
    with made.write() as uow:
        people = [f"PRIV\\dave{number}" for number in range(RECORDS)]
        uow.audit.append(*(Event("session.opened", NOW, "S-1-5-21-1", name) for name in people))
        uow.commit()
    signer = load_signer(Path(settings.keys.signing))
    assert Audit(store=made, signer=signer, now=lambda: NOW).checkpoint() is not None
    yield made
    made.close()


def verify(config: Path, *options: str) -> Result:
    return CliRunner().invoke(app, ["audit", "verify", "--local", "--config", str(config), *options])


def tamper(store: SqlStore, statement: str) -> None:
    """Past the triggers, as somebody who owns the database."""
    with store.engine.begin() as connection:
        for row in connection.exec_driver_sql("SELECT name FROM sqlite_master WHERE type = 'trigger'").all():
            connection.exec_driver_sql(f'DROP TRIGGER "{row[0]}"')
        connection.exec_driver_sql(statement)


@pytest.mark.usefixtures("store")
def test_a_whole_audit(config: Path) -> None:
    done = verify(config)
    assert done.exit_code == 0, done.output
    assert f"The audit is whole: {RECORDS} records, 1 signed checkpoint" in done.stdout
    assert f"signed up to record {RECORDS}" in done.stdout
    verdict = json.loads(verify(config, "--json").stdout)
    assert (verdict["seq"], verdict["checkpoints"], verdict["signed"]) == (RECORDS, 1, RECORDS)


def test_an_audit_that_is_not_signed_yet_says_when_it_is(config: Path, store: SqlStore) -> None:
    tamper(store, "DELETE FROM audit_checkpoints")
    done = verify(config)
    assert done.exit_code == 0, done.output
    assert "record 0" not in done.stdout
    assert (
        f"{RECORDS} records, none signed yet: the service signs the end every audit.checkpoint_minutes"
        in done.stdout
    )


@pytest.mark.parametrize(
    ("statement", "record", "said"),
    [
        ("UPDATE audit SET actor_name = 'nobody' WHERE seq = 3", 3, "was changed after it was written"),
        ("DELETE FROM audit WHERE seq = 4", 4, "missing"),
        ("DELETE FROM audit WHERE seq > 5", 6, "a signed checkpoint says"),
        ("UPDATE audit_checkpoints SET signature = zeroblob(64)", RECORDS, "signature is not ours"),
    ],
    ids=["changed", "taken out", "cut off", "signed by another"],
)
def test_a_tampered_audit(config: Path, store: SqlStore, statement: str, record: int, said: str) -> None:
    tamper(store, statement)
    done = verify(config)
    assert (done.exit_code, done.stdout) == (Exit.REFUSED, "")
    assert f"audit record {record}: " in done.stderr
    assert said in done.stderr
    assert "keep the database as it is" in done.stderr
    problem = json.loads(verify(config, "--json").stderr)
    assert (problem["code"], said in problem["detail"]) == ("audit-broken", True)


def test_a_tampered_audit_ends_cleanly(config: Path, store: SqlStore) -> None:
    """What was left unread used to be closed at the end of the process, by a connection that was closed already."""
    tamper(store, "UPDATE audit SET actor_name = 'nobody' WHERE seq = 3")
    done = subprocess.run(
        [sys.executable, "-m", "bastide.cli.main", "audit", "verify", "--local", "--config", str(config)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == Exit.REFUSED
    sentence, remedy = done.stderr.splitlines()
    assert "audit record 3: " in sentence
    assert remedy.startswith("  -> keep the database as it is")
