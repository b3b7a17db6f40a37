"""A private PostgreSQL as a connected system: TLS from a throw-away authority, SCRAM for everyone, every statement in its log, gone after the run.

Another server than the one of postgres.py, which holds our own store. A test module says `pytest_plugins = ["tests.support.postgres_target"]`
and marks its tests `postgres`.
"""

import os
import shutil
import socket
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psycopg
import pytest

from bastide_lab import tls
from tests.support.postgres_programs import binaries, run, stop_orphans

_PREFIX = "bastide-pgtarget-"
_HBA = """\
local all postgres trust
hostssl all all 127.0.0.1/32 scram-sha-256
local all all scram-sha-256
"""


@dataclass(slots=True)
class Postgres:
    """One server. It answers on a Unix socket in `folder` and, with TLS for the name "localhost", on a port of the loopback."""

    folder: Path
    binaries: Path
    port: int = 0

    @property
    def ca(self) -> Path:
        """The certificate of the authority that signed the server's."""
        return self.folder / "ca.crt"

    def start(self) -> None:
        """Make the cluster if there is none, and start it."""
        data = self.folder / "data"
        if not data.exists():
            tls.issue(self.folder, "ca", "ca", ["throw-away CA"])
            tls.issue(self.folder, "server", "server", ["localhost"])
            if os.geteuid() == 0:
                for path in (self.folder, *self.folder.iterdir()):
                    shutil.chown(path, "postgres", "postgres")
            self._run("initdb", "-D", str(data), "-U", "postgres", "-A", "trust", "--no-sync", "-E", "UTF8")
            (data / "pg_hba.conf").write_text(_HBA)
        self.port = self.port or _free_port()
        options = (
            f"-k {self.folder} -c listen_addresses=127.0.0.1 -c port={self.port} -c fsync=off -c ssl=on "
            f"-c ssl_cert_file={self.folder}/server.crt -c ssl_key_file={self.folder}/server.key "
            "-c password_encryption=scram-sha-256 -c log_statement=all -c log_min_error_statement=debug5 -c log_connections=on"
        )
        log = str(self.folder / "log")
        self._run("pg_ctl", "-D", str(data), "-l", log, "-o", options, "-w", "-t", "60", "start")

    def stop(self) -> None:
        """Stop at once."""
        self._run("pg_ctl", "-D", str(self.folder / "data"), "-w", "-m", "immediate", "stop")

    def root(self, database: str = "postgres") -> psycopg.Connection:
        """A connection that may do everything."""
        return psycopg.connect(
            host=str(self.folder), port=self.port, user="postgres", dbname=database, autocommit=True
        )

    def bare(self, user: str, password: str) -> psycopg.Connection:
        """A connection as anybody else would make it: TCP, TLS, verified."""
        return psycopg.connect(
            host="localhost",
            port=self.port,
            user=user,
            password=password,
            dbname="postgres",
            sslmode="verify-full",
            sslrootcert=str(self.ca),
            autocommit=True,
        )

    def opens(self, user: str, password: str) -> bool:
        """Whether the server lets that user in with that password."""
        try:
            self.bare(user, password).close()
        except psycopg.OperationalError as error:
            if "password authentication failed" in str(error):
                return False
            raise
        return True

    def logs(self) -> bytes:
        """Everything that the server has written into its log."""
        return (self.folder / "log").read_bytes()

    def _run(self, program: str, *arguments: str) -> None:
        run(self.binaries, self.folder, program, *arguments)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(scope="session")
def postgres_target() -> Iterator[Postgres]:
    """A server for this run (with xdist: for this worker)."""
    stop_orphans(_PREFIX, Postgres)
    # /tmp, not pytest's folder: the path of a Unix socket has at most 107 bytes, and user postgres must reach it.
    folder = Path(tempfile.mkdtemp(prefix=f"{_PREFIX}{os.getpid()}-", dir="/tmp"))
    server = Postgres(folder, binaries())
    try:
        server.start()
        try:
            yield server
        finally:
            server.stop()
    finally:
        shutil.rmtree(folder)
