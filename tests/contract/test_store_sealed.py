"""Which keys sealed what is there, on SQLite and PostgreSQL; and that the look changes nothing."""

import shutil
import sqlite3
from collections import Counter
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import psycopg
import pytest

from bastide.domain.ids import Sid
from bastide.domain.management_agents import MaId
from bastide.services.signin import Factor, SecurityKey
from bastide.store.keys import AeadSealer
from bastide.store.sealed import sealed_by, waiting
from bastide.store.unit_of_work import SqlStore
from bastide.store.vault import SqlVault
from tests.support import build
from tests.support.postgres import Server
from tests.support.spaces import draft

pytest_plugins = ["tests.support.postgres", "tests.support.stores"]
ONE, TWO = AeadSealer([bytes(range(32))]), AeadSealer([bytes(range(100, 132))])


SID = Sid("S-1-5-21-1-2-3-1001")


def id_of(sealer: AeadSealer) -> str:
    (id_,) = sealer.ids
    return id_


def test_factors_and_secrets_of_agents_count(shared_url: str) -> None:
    """A secret that was taken away was sealed with nothing."""
    assert sealed_by(shared_url) == Counter()
    store = SqlStore(shared_url)
    try:
        with store.write() as uow:
            for number, sealer in enumerate((ONE, ONE, TWO)):
                uow.factors.add(
                    Factor(
                        id=f"f{number}",
                        person=SID,
                        method="totp",
                        secret_encrypted=sealer.seal(b"secret", "row"),
                        created_at=build.NOW,
                    )
                )
            uow.factors.add_key(
                SecurityKey("k", SID, "key", b"id", TWO.seal(b"k", "k"), 0, (), "", False, build.NOW)
            )
            for name, sealed in (("hr", TWO.seal(b"x", "hr")), ("crm", ONE.seal(b"", "crm")), ("web", b"")):
                agent = replace(draft(name).agent, id=MaId(name))
                uow.agents.add(agent)
                uow.agents.set_secret(agent.id, sealed)
            uow.commit()
    finally:
        store.close()
    assert sealed_by(shared_url) == Counter({id_of(ONE): 3, id_of(TWO): 3})
    assert waiting(shared_url) is None


@pytest.mark.postgres
def test_a_vault_on_postgresql_counts_and_is_not_made(postgres_server: Server) -> None:
    url = postgres_server.make_database("sealed_vault")
    assert sealed_by(url) == Counter()
    assert waiting(url) is None
    with psycopg.connect(url) as connection:
        assert connection.execute(
            "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'"
        ).fetchone() == (0,)
    vault = SqlVault(url, ONE)
    vault.put({"r": bytes(32), "s": bytes(32)})
    vault.close()
    assert sealed_by(url) == Counter({id_of(ONE): waiting(url)})
    assert waiting(url) == 2


def test_a_commit_that_a_killed_process_left_unfinished_is_taken_back(tmp_path: Path) -> None:
    """Its rollback journal lies beside the vault. A server that only may look could not read it, and refused to start for as long as nobody else had opened it."""
    made, left = tmp_path / "vault.db", tmp_path / "left.db"
    vault = SqlVault(f"sqlite:///{made}", ONE)
    vault.put({str(number): bytes(32) for number in range(500)})
    vault.close()
    with closing(sqlite3.connect(made, isolation_level=None)) as raw:
        raw.execute("PRAGMA journal_mode=TRUNCATE")
        raw.execute("PRAGMA cache_size=2")
        raw.execute("BEGIN IMMEDIATE")
        raw.execute("DELETE FROM vault_keys")
        shutil.copy(made, left)
        shutil.copy(f"{made}-journal", f"{left}-journal")
        raw.execute("ROLLBACK")
    with (
        closing(sqlite3.connect(f"file:{left}?mode=ro", uri=True)) as control,
        pytest.raises(sqlite3.OperationalError, match="readonly"),
    ):
        control.execute("SELECT count(*) FROM vault_keys")
    assert waiting(f"sqlite:///{left}") == 500
    assert sealed_by(f"sqlite:///{left}") == Counter({id_of(ONE): 500})
