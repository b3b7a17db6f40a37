"""A private PostgreSQL of Debian's package: Unix socket only, no fsync, gone after the run.

A test module says `pytest_plugins = ["tests.support.postgres"]` and marks its tests `postgres`. `postgres_url` gives each test an empty
database with the schema. What is missing is a failure that says what to run, never a skip.
"""

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from bastide.store import migrations
from bastide.store.tables import metadata
from tests.support.postgres_programs import binaries, run, stop_orphans

_COMMON = "bastide"
_PREFIX = "bastide-pg-"


class Server:
    """One PostgreSQL server. `dsn` is the URI of one of its databases."""

    def __init__(self, folder: Path, binaries: Path) -> None:
        self.folder = folder
        self._data = folder / "data"
        self._binaries = binaries

    def start(self) -> None:
        """Make the cluster if there is none, and start it."""
        if not self._data.exists():
            self._run(
                "initdb", "-D", str(self._data), "-U", "bastide", "-A", "trust", "--no-sync", "-E", "UTF8"
            )
        options = (
            f"-k {self.folder} -c listen_addresses= -c fsync=off -c full_page_writes=off -c max_connections=100 "
            "-c log_min_messages=fatal"
        )
        log = str(self.folder / "log")
        self._run("pg_ctl", "-D", str(self._data), "-l", log, "-o", options, "-w", "-t", "60", "start")

    def stop(self) -> None:
        """Stop at once."""
        self._run("pg_ctl", "-D", str(self._data), "-w", "-m", "immediate", "stop")

    def dsn(self, database: str) -> str:
        """The URI of a database."""
        return f"postgresql://bastide@/{database}?host={self.folder}"

    def make_database(self, name: str) -> str:
        """A new, empty database; its URI."""
        with psycopg.connect(self.dsn("postgres"), autocommit=True) as connection:
            connection.execute(f'CREATE DATABASE "{name}"'.encode())
        return self.dsn(name)

    def _run(self, program: str, *arguments: str) -> None:
        run(self._binaries, self.folder, program, *arguments)


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[Server]:
    """A server for this run (with xdist: for this worker)."""
    # /tmp, not pytest's folder: the path of a Unix socket has at most 107 bytes, and user postgres must reach it.
    stop_orphans(_PREFIX, Server)
    folder = Path(tempfile.mkdtemp(prefix=f"{_PREFIX}{os.getpid()}-", dir="/tmp"))
    try:
        if os.geteuid() == 0:
            shutil.chown(folder, "postgres", "postgres")
        server = Server(folder, binaries())
        server.start()
        try:
            migrations.upgrade(server.make_database(_COMMON))
            yield server
        finally:
            server.stop()
    finally:
        shutil.rmtree(folder)


@pytest.fixture
def postgres_url(postgres_server: Server) -> str:
    """An empty database with the schema. One for all tests of a worker, emptied before each: making one takes half a second."""
    url = postgres_server.dsn(_COMMON)
    tables = ", ".join(
        table for table in metadata.tables if table not in {"audit_head", "password_switch", "schema_floor"}
    )
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
        # The role of a replica fires no triggers: so the append-only tables can be emptied too.
        connection.execute("SET session_replication_role = replica")
        connection.execute(f"TRUNCATE {tables} RESTART IDENTITY".encode())
        connection.execute("UPDATE audit_head SET seq = 0, hash = repeat('0', 64)")
        connection.execute("UPDATE password_switch SET enabled = false, vault = ''")
    return url
