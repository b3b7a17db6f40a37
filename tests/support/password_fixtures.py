"""The password scene as a fixture. A test module says `pytest_plugins = ["tests.support.lab", "tests.support.password_fixtures"]`."""

from collections.abc import Iterator

import pytest

from bastide_lab.lab import Lab
from tests.support.inside import inside
from tests.support.password_lab import PasswordLab


@pytest.fixture(scope="session")
def _scenes(lab: Lab) -> Iterator[dict[str, PasswordLab]]:
    """Ended before the lab is: a process that it kills is nobody's child any more."""
    made: dict[str, PasswordLab] = {}
    yield made
    for scene in made.values():
        scene.close()


@pytest.fixture(scope="module")
def scene(lab: Lab, _scenes: dict[str, PasswordLab]) -> Iterator[PasswordLab]:
    """One for all modules of a process. While a module uses it, its tests are inside the server's namespace."""
    with inside(lab.namespace("bastide")):
        if not _scenes:
            made = PasswordLab(lab)
            _scenes[lab.prefix] = made
            made.build()
        yield _scenes[lab.prefix]
