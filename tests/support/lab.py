"""The Samba lab as pytest fixtures. A test module says `pytest_plugins = ["tests.support.lab"]` and marks its tests `lab`.

One lab serves the whole run, all xdist workers included: the first to ask brings it up, the last to leave takes it down.
So a test makes accounts and groups of its own and gives back what it cuts or stops. A lab left by a run that was killed
is taken down by the next run. What is missing is a failure that says what to run, never a skip.
"""

import fcntl
import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

import pytest

from bastide_lab.errors import LabError
from bastide_lab.lab import Lab
from bastide_lab.plan import STATE_ROOT

USERS = Path("/run/bastide-lab-tests")
RUN_PREFIX = "t-"
RUN_ID_LENGTH = 8


@pytest.fixture(scope="session")
def lab() -> Iterator[Lab]:
    """The run's own lab: CORP, PRIV, the server's host and a client."""
    run = os.environ.get("PYTEST_XDIST_TESTRUNUID", uuid.uuid4().hex)[:RUN_ID_LENGTH]
    _take_down_orphans()
    with _lab_of_run(RUN_PREFIX + run) as shared:
        yield shared


@pytest.fixture(scope="session")
def lab_two_dcs(lab: Lab) -> Lab:
    """The same lab, with privdc2 joined."""
    with _failing_with_advice():
        lab.add_second_dc()
    return lab


@contextmanager
def _lab_of_run(prefix: str) -> Iterator[Lab]:
    shared = Lab(prefix)
    with _failing_with_advice():
        users = _join_users(prefix)
        try:
            shared.up()
        except BaseException:
            users.close()
            raise
    try:
        yield shared
    finally:
        _leave(shared, users)


def _open_users(prefix: str) -> TextIO:
    """Whoever uses the lab holds a shared lock on this file; the kernel lets go when a process dies."""
    if os.geteuid() != 0:
        raise LabError(
            "the lab needs root. Run as root: make test (or, without the lab: pytest -m 'not lab')"
        )
    USERS.mkdir(exist_ok=True)
    return (USERS / prefix).open("w")


def _join_users(prefix: str) -> TextIO:
    """Hold the shared lock. One on a file that `_leave` has unlinked meanwhile would protect nothing: then again."""
    while True:
        users = _open_users(prefix)
        fcntl.flock(users, fcntl.LOCK_SH)
        path = USERS / prefix
        if path.exists() and path.stat().st_ino == os.fstat(users.fileno()).st_ino:
            return users
        users.close()


def _leave(shared: Lab, users: TextIO) -> None:
    """Take the lab down if nobody else uses it."""
    with users:
        try:
            fcntl.flock(users, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return
        shared.down()
        (USERS / shared.prefix).unlink(missing_ok=True)


def _take_down_orphans() -> None:
    """Labs of runs that were killed: nobody holds their lock."""
    if os.geteuid() != 0 or not STATE_ROOT.exists():
        return
    for root in STATE_ROOT.glob(f"{RUN_PREFIX}*"):
        with _open_users(root.name) as users:
            try:
                fcntl.flock(users, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                continue
            Lab(root.name).down()
            (USERS / root.name).unlink(missing_ok=True)


@contextmanager
def _failing_with_advice() -> Iterator[None]:
    try:
        yield
    except LabError as error:
        pytest.fail(f"the Samba lab: {error}", pytrace=False)
