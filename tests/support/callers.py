"""Who a test is, root or not: what only root can arrange, arranged for either, and processes that gave their rights up."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
NOBODY = 65534
STRANGER = 12345

_DROP = """
import os
if os.geteuid() == 0:
    os.setgroups([])
    os.setresgid({0}, {0}, {0})
    os.setuid({0})
assert os.geteuid() != 0
"""


def as_nobody(imports: str, code: str, *arguments: str) -> "subprocess.CompletedProcess[str]":
    """Run `code` in a process without root's rights: root's gives them up for good. `imports` come before, because nobody may not read the sources."""
    return subprocess.run(
        [sys.executable, "-c", imports + _DROP.format(NOBODY) + code, *arguments],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
    )


@contextmanager
def passable(path: Path) -> Iterator[None]:
    """Everybody gets to it through the folders above that pytest made for us alone."""
    private = [one for one in path.parents if one.stat().st_mode & 0o777 == 0o700]
    ours = [one for one in private if one.stat().st_uid == os.geteuid()]
    for one in ours:
        one.chmod(0o711)
    try:
        yield
    finally:
        for one in ours:
            one.chmod(0o700)


def make_anothers(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From here on the file is neither root's nor ours: root gives it away, and anybody else is told to be another."""
    if os.geteuid() == 0:
        os.chown(path, STRANGER, STRANGER)
    else:
        monkeypatch.setattr(os, "geteuid", lambda: STRANGER)
