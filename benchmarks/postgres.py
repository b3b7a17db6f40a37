"""A PostgreSQL of the run's own: Debian's package, a socket in a directory that only root and the server can enter, and the count of statements.

It runs inside the lab, so that taking the lab down ends it whatever happened.
"""

import os
import shutil
import subprocess
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Protocol

import psycopg

PATIENCE = 30.0
SETTINGS = {
    "listen_addresses": "",
    "shared_preload_libraries": "pg_stat_statements",
    "pg_stat_statements.track_utility": "on",
    "autovacuum": "off",
}


class Starter(Protocol):
    """Starts a process on a host, and ends it when the run is over: the lab does."""

    def popen(self, host: str, command: Sequence[str | Path], **options: Any) -> "subprocess.Popen[str]": ...


class Postgres:
    """Started by the constructor; `url` is what Bastide gets."""

    def __init__(self, starter: Starter, host: str, home: Path) -> None:
        programs = max(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: int(path.parent.name))
        home.mkdir(mode=0o700)
        shutil.chown(home, "postgres", "postgres")
        data = home / "data"
        as_postgres: list[str | Path] = ["setpriv", "--reuid=postgres", "--regid=postgres", "--init-groups"]
        initdb: list[str | Path] = [
            programs / "initdb",
            "-D",
            data,
            "-A",
            "trust",
            "-U",
            "postgres",
            "-E",
            "UTF8",
            "--no-sync",
        ]
        subprocess.run([*as_postgres, *initdb], check=True, capture_output=True, cwd="/", timeout=60)
        options = [f"-c{name}={value}" for name, value in SETTINGS.items()]
        server: list[str | Path] = [programs / "postgres", "-D", data, "-k", home, *options]
        log = os.open(home / "log", os.O_WRONLY | os.O_CREAT, 0o600)
        starter.popen(host, [*as_postgres, *server], stdout=log, stderr=log, cwd="/")
        os.close(log)
        self.url = f"postgresql://postgres@/postgres?host={home}"
        self._wait()

    def _wait(self) -> None:
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            with suppress(psycopg.OperationalError), psycopg.connect(self.url) as connection:
                connection.execute("CREATE EXTENSION pg_stat_statements")
                return
            time.sleep(0.1)
        raise TimeoutError("PostgreSQL does not answer")

    def statements(self) -> Counter[str]:
        """How often each statement ran since the start, as the database counted; not this question."""
        query = "SELECT query, sum(calls)::bigint FROM pg_stat_statements GROUP BY query"
        with psycopg.connect(self.url, autocommit=True) as connection:
            rows = connection.execute(query).fetchall()
        return Counter({" ".join(text.split()): int(calls) for text, calls in rows if text != query})
