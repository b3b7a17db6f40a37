"""A machine whose clock is ten minutes wrong: Bastide says so and changes nothing. libfaketime gives its process another wall clock.

Kerberos alone would not stop it: MIT's library takes over the KDC's time, and the end of a grant would be written ten minutes late.
"""

import secrets
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from bastide.directory.entries import by_guid
from bastide.domain.people import Forest, PamUser
from bastide.domain.requests import Request, State
from tests.support.clocks import off_by
from tests.support.directory_lab import DirectoryLab
from tests.support.samba_node import SambaNode
from tests.support.samba_world import SambaWorld

pytest_plugins = ["tests.support.lab", "tests.support.directory_fixtures"]
pytestmark = pytest.mark.lab


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("clock")


@pytest.fixture(scope="module")
def world(directory_lab: DirectoryLab, work: Path) -> Iterator[SambaWorld]:
    made = SambaWorld(directory_lab, work, prefix="clock.")
    yield made
    made.close()


@pytest.fixture(scope="module")
def node(world: SambaWorld, work: Path) -> SambaNode:
    return SambaNode(world, work)


def nothing_changed(world: SambaWorld, user: PamUser, request: Request) -> None:
    """Neither here nor in any directory."""
    found = world.get(request)
    assert found.state is State.PROCESSING
    assert found.ends_at is None
    for states in world.forests.priv.observe([user.priv.sid]).values():
        assert not states[user.priv.sid].open_at(world.clock.now())
        assert (
            world.services.accounts.group(world.dave, f"{world.group_prefix}FileAdmins").priv.guid
            not in states[user.priv.sid].groups
        )


def about_clocks(said: str) -> list[str]:
    """The lines of `config check` about the clock of each controller of both forests. Where all are off by the same second, they are one line."""
    found = [line for line in said.splitlines() if " the clock of " in line]
    for controller in ("privdc.priv.", "corpdc.corp."):
        assert any(controller in line for line in found), said
    return found


@pytest.mark.parametrize(("minutes", "said"), [(10, "differs by -"), (-10, "differs by ")])
def test_the_check_of_the_settings_names_the_clock(node: SambaNode, minutes: int, said: str) -> None:
    """And nothing else for it: that nobody signs in with such a clock is its consequence."""
    done = node.run("config", "check", env=off_by(minutes))
    assert done.returncode == 1
    for line in about_clocks(done.stdout):
        assert line.startswith("ERROR")
        assert said in line
    assert "-> run a time service on both" in done.stdout
    assert "no sealed connection" not in done.stdout
    assert "Traceback" not in done.stdout + done.stderr


def test_two_minutes_are_a_warning(node: SambaNode) -> None:
    done = node.run("config", "check", env=off_by(2))
    assert all(line.startswith("WARNING") for line in about_clocks(done.stdout)), done.stdout


def test_a_worker_with_a_wrong_clock_grants_nothing(world: SambaWorld, node: SambaNode) -> None:
    user = world.prepare("carol", f"{secrets.token_urlsafe(12)}!1aA")
    world.forests.settle(Forest.PRIV, by_guid(user.priv.guid))
    role = world.prepare_role("Files of Carol", "FileAdmins", ("carol",))
    request = world.ask("carol", role.name)
    worker = node.start_worker(off_by(10))
    try:
        deadline = time.monotonic() + 30
        while "ahead of the clock of" not in node.log.read_text():
            assert time.monotonic() < deadline, node.log.read_text()
            assert worker.poll() is None, node.log.read_text()
            time.sleep(0.1)
        nothing_changed(world, user, request)
    finally:
        worker.terminate()
        assert worker.wait(20) == 0
    assert "Traceback" not in node.log.read_text()
    nothing_changed(world, user, request)
