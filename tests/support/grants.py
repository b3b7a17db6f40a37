"""For the tests of grants: a world with everything real but the directory, and how long roles last there. For modules with `pytest_plugins = ["tests.support.grants"]`."""

from collections.abc import Iterator
from datetime import timedelta

import pytest

from bastide.domain.errors import DirectoryDenied
from bastide.domain.roles import Ttl
from tests.support.world import World

SHORT = Ttl(timedelta(minutes=10), timedelta(minutes=5), timedelta(hours=1))
WIDE = Ttl(timedelta(minutes=10), timedelta(minutes=5), timedelta(hours=4))
CAP = timedelta(minutes=15)


@pytest.fixture
def world() -> Iterator[World]:
    made = World()
    yield made
    made.close()


def deny(_number: int, _what: str) -> None:
    """As `before_write` of a directory: it says no to everything."""
    raise DirectoryDenied("insufficient access rights")
