"""The directory lab as a fixture. A test module says `pytest_plugins = ["tests.support.lab", "tests.support.directory_fixtures"]`."""

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from bastide_lab.lab import Lab
from tests.support.directory_lab import DirectoryLab
from tests.support.inside import inside

_open: dict[str, DirectoryLab] = {}


@pytest.fixture(scope="session")
def _directory_labs() -> Iterator[None]:
    yield
    while _open:
        _, made = _open.popitem()
        made.close()
        shutil.rmtree(made.work)


@pytest.fixture(scope="module")
def directory_lab(lab_two_dcs: Lab, _directory_labs: None) -> Iterator[DirectoryLab]:
    """The delegated lab. While a module uses it, its tests are inside the server's namespace."""
    with inside(lab_two_dcs.namespace("bastide")):
        if lab_two_dcs.prefix not in _open:
            work = Path(tempfile.mkdtemp(prefix="bastide-directory-"))
            _open[lab_two_dcs.prefix] = DirectoryLab(lab_two_dcs, work)
        yield _open[lab_two_dcs.prefix]
