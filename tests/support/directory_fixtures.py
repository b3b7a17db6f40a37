"""The directory lab as a fixture. A test module says `pytest_plugins = ["tests.support.lab", "tests.support.directory_fixtures"]`."""

from collections.abc import Iterator

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


@pytest.fixture(scope="module")
def directory_lab(lab: Lab, _directory_labs: None) -> Iterator[DirectoryLab]:
    """The delegated lab. While a module uses it, its tests are inside the server's namespace."""
    with inside(lab.namespace("bastide")):
        if lab.prefix not in _open:
            # Keytabs lie there: they go when the lab goes, however that comes about.
            work = lab.root / "tests"
            work.mkdir(mode=0o700)
            _open[lab.prefix] = DirectoryLab(lab, work)
        yield _open[lab.prefix]
