"""The Samba lab as pytest fixtures. A test module says `pytest_plugins = ["tests.support.lab"]` and marks its tests `lab`.

One lab serves all tests of a process, so a test makes accounts and groups of its own and gives back what it cuts or stops. What is missing is a
failure that says what to run, never a skip.
"""

import os
import uuid
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import pytest

from bastide_lab.errors import LabError
from bastide_lab.lab import Lab
from tests.support.lanes import claimed, take_down_orphans

RUN_ID_LENGTH = 8


@pytest.fixture(scope="session")
def run_name() -> str:
    """Another one in each run and each of its processes. What dead runs have left is gone then."""
    with _failing_with_advice():
        take_down_orphans()
    run = os.environ.get("PYTEST_XDIST_TESTRUNUID", uuid.uuid4().hex)[:RUN_ID_LENGTH]
    return run + os.environ.get("PYTEST_XDIST_WORKER", "").removeprefix("gw")


@pytest.fixture(scope="session")
def lab(run_name: str) -> Iterator[Lab]:
    """This process's lab: CORP, PRIV with two controllers, the server's host and a client."""
    with ExitStack() as stack:
        with _failing_with_advice():
            shared = stack.enter_context(claimed(run_name))
            shared.up(second_dc=True)
        yield shared


@pytest.fixture
def own_lab(run_name: str) -> Iterator[Lab]:
    """A lab beside the shared one, not up yet, for the tests that break it. Equal addresses do not clash."""
    with ExitStack() as stack:
        with _failing_with_advice():
            own = stack.enter_context(claimed(f"{run_name}o"))
        yield own


@contextmanager
def _failing_with_advice() -> Iterator[None]:
    try:
        yield
    except LabError as error:
        pytest.fail(f"the Samba lab: {error}", pytrace=False)
