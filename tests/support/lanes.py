"""Lanes: tests on labs, side by side.

Each pytest process has a lab of its own, and with `--dist loadgroup` the tests of a lane stay on one xdist worker. A lane needs time more than
processors, so a few of them fit beside the unit tests. A process holds the lock of its labs as long as it lives; labs whose lock nobody holds
are taken down by the next run, and by the process that started the workers when they are gone (tests/conftest.py).
"""

import os
import re
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from xdist.scheduler.loadscope import LoadScopeScheduling

from bastide_lab.errors import LabError
from bastide_lab.lab import Lab
from bastide_lab.locks import exclusive
from bastide_lab.plan import STATE_ROOT

CLAIMS = Path("/run/bastide-lab-tests")
RUN_PREFIX = "t-"


#: Which tests run one after the other, on one lab: the first pattern counts. Each lane should take about as long as the others.
LANES = {
    "passwords": r"tests/e2e/test_passwords_",
    "cluster": r"tests/(e2e/test_cluster_on_samba|integration/test_lab_cluster|chaos/)",
    "grants": r"tests/e2e/test_(grants|kill|monitoring|wrong_clock)_on_samba",
    "agent": r"tests/integration/test_(agent|receiver)_on_",
    "contract": r"tests/(contract/.*\[(samba|slapd|389-ds|postgresql|mariadb|ctdb)|integration/test_share_on_)",
    "windows-browser": r"tests/(integration/test_windows_|browser/)",
    "forests": r"tests/(integration|e2e)/",
}


def lane_of(nodeid: str) -> str:
    """The lane of a test; empty: it is in none."""
    return next((name for name, pattern in LANES.items() if re.match(pattern, nodeid)), "")


class Lanes(LoadScopeScheduling):  # type: ignore[misc]  # xdist has no types
    """Lanes go first, each to a worker; then the others test by test. xdist's own `loadgroup` does nothing with pytest 9.2 (xdist #1386)."""

    def _split_scope(self, nodeid: str) -> str:
        return lane_of(nodeid) or nodeid


@contextmanager
def claimed(name: str) -> Iterator[Lab]:
    """A lab, not up yet, that is this process's alone; down at the end."""
    if os.geteuid() != 0:
        raise LabError(
            "the lab needs root. Run as root: make test (or, without the lab: pytest -m 'not lab')"
        )
    mine = Lab(f"{RUN_PREFIX}{name}")
    with exclusive(mine.prefix, CLAIMS):
        try:
            yield mine
        finally:
            with _undisturbed():
                mine.down()


def take_down_orphans() -> None:
    """Labs of processes that were killed: nobody holds their lock."""
    if os.geteuid() != 0:
        return
    for root in STATE_ROOT.glob(f"{RUN_PREFIX}*"):
        with suppress(BlockingIOError), exclusive(root.name, CLAIMS, wait=False), _undisturbed():
            Lab(root.name).down()


@contextmanager
def _undisturbed() -> Iterator[None]:
    """A second Ctrl-C, or the interrupt that xdist sends to a worker that took five seconds to end, comes when this is done."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
