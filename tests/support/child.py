"""Another process that works on a store, to be killed at will."""

import subprocess
import sys
from pathlib import Path
from typing import IO, Self, cast

import psycopg

ROOT = Path(__file__).parents[2]


class Child:
    """Another process that runs a piece of Python with `url` and `say` at hand. Left in pieces, never half alive."""

    _PRELUDE = (
        "import sys\n"
        "url = sys.argv[1]\n"
        "def say(text):\n"
        "    print(text, flush=True)\n"
        "from bastide.store.unit_of_work import SqlStore\n"
    )

    def __init__(self, code: str, url: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-W", "error", "-c", self._PRELUDE + code, url],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=ROOT,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout):
            cast("IO[bytes]", pipe).close()

    def heard(self) -> str:
        """The next line it says."""
        return cast("IO[bytes]", self.process.stdout).readline().decode().strip()

    def kill(self) -> None:
        """SIGKILL: no handler runs."""
        self.process.kill()
        self.process.wait()

    def ended_well(self) -> bool:
        """Wait for its end."""
        return self.process.wait(30) == 0


def end_backends(url: str) -> None:
    """Cut every other connection to a PostgreSQL database, as a failover would."""
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
