"""PostgreSQL's programs of Debian's package, run as the user that they insist on. For the servers of postgres.py and postgres_target.py."""

import os
import shutil
import subprocess
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Protocol

import pytest


class Stoppable(Protocol):
    """A server in a folder."""

    def stop(self) -> None: ...


def binaries() -> Path:
    """Where they are; a failure that says what to run if they are missing."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    if not found:
        pytest.fail("PostgreSQL is missing; run: apt-get install -y postgresql", pytrace=False)
    return found[-1].parent


def run(where: Path, folder: Path, program: str, *arguments: str) -> None:
    """To its end, in the folder; not as root, which PostgreSQL refuses."""
    user = "postgres" if os.geteuid() == 0 else None
    done = subprocess.run(
        [where / program, *arguments],
        user=user,
        group=user,
        extra_groups=[] if user else None,
        cwd=folder,
        env={"PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        check=False,
    )
    if done.returncode:
        pytest.fail(f"{program}: {done.stderr.decode()}", pytrace=False)


def stop_orphans(prefix: str, server: Callable[[Path, Path], Stoppable]) -> None:
    """Servers of runs that were killed; the name of a server's folder holds the run's process id."""
    for folder in Path("/tmp").glob(f"{prefix}*-*"):
        if not Path(f"/proc/{folder.name.removeprefix(prefix).partition('-')[0]}").exists():
            with suppress(pytest.fail.Exception):
                server(folder, binaries()).stop()
            shutil.rmtree(folder, ignore_errors=True)
