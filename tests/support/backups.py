"""Backups in tests: a pair of keys, a folder, and one made at a given minute. Fixtures for modules with `pytest_plugins = ["tests.support.backups"]`."""

from datetime import timedelta
from pathlib import Path

import pytest

from bastide.backup import backups, sealed
from bastide.backup.folder import Folder
from tests.support import build


@pytest.fixture
def key(tmp_path: Path) -> tuple[str, Path]:
    """Public and private."""
    return sealed.generate(tmp_path), tmp_path / sealed.KEY


@pytest.fixture
def place(tmp_path: Path) -> Path:
    made = tmp_path / "backups"
    made.mkdir()
    return made


def make(url: str, place: Path, public: str, *, keep: int = 3, minutes: int = 0) -> backups.Made[Path]:
    now = build.NOW + timedelta(minutes=minutes)
    return backups.make(
        url, to=Folder(place), recipients=[public], keep=keep, node="node 1", version="0.1.0", now=now
    )
