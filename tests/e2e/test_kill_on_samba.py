"""kill -9 of the real worker process while it works on real domain controllers, then another takes over."""

import secrets
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from bastide.domain.requests import State
from bastide.services.ports import AuditQuery
from tests.support.directory_lab import DirectoryLab
from tests.support.samba_node import SambaNode
from tests.support.samba_world import SambaWorld

pytest_plugins = ["tests.support.lab", "tests.support.directory_fixtures"]
pytestmark = pytest.mark.lab

#: Milliseconds from asking to the kill: before the claim, while writing, while reading back, after.
MOMENTS = (0, 15, 40, 80, 150)


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("kill")


@pytest.fixture(scope="module")
def world(directory_lab: DirectoryLab, work: Path) -> Iterator[SambaWorld]:
    made = SambaWorld(directory_lab, work, prefix="kill.")
    yield made
    made.close()


@pytest.fixture(scope="module")
def node(world: SambaWorld, work: Path) -> SambaNode:
    return SambaNode(world, work)


def test_killed_at_any_moment_nothing_is_lost_or_granted_twice(world: SambaWorld, node: SambaNode) -> None:
    user = world.prepare("mallory", f"{secrets.token_urlsafe(12)}!1aA")
    role = world.prepare_role("Files of Mallory", "FileAdmins", ("mallory",))
    asked = []
    worker = node.start_worker()
    time.sleep(2)
    for moment in MOMENTS:
        request = world.ask("mallory", role.name, ttl=timedelta(minutes=30))
        asked.append(request)
        time.sleep(moment / 1000)
        worker.kill()
        worker.wait()
        worker = node.start_worker()
    for request in asked:
        active = world.wait_for(request, State.ACTIVE)
        assert active.ends_at is not None
        assert active.ends_at <= active.created_at + timedelta(minutes=30, seconds=90)
    world.services.requests.kill(world.dave, "exercise", user=user.name)
    time.sleep(0.03)
    worker.kill()
    worker.wait()
    worker = node.start_worker()
    for request in asked:
        world.wait_for(request, State.CLOSED)
    time.sleep(3)  # the last one may still be starting, and what is not started has no clean end
    worker.terminate()
    assert worker.wait(20) == 0
    for states in world.forests.priv.observe([user.priv.sid]).values():
        assert not states[user.priv.sid].open_at(world.clock.now())
        assert not states[user.priv.sid].groups & {
            world.services.accounts.group(world.dave, f"{world.group_prefix}FileAdmins").priv.guid
        }
    with world.store.read() as uow:
        kinds = [r.kind for r in uow.audit.read(AuditQuery(kind="request.active", limit=0))]
    assert len(kinds) == len(MOMENTS)
    verified = node.run("audit", "verify", "--local")
    assert verified.returncode == 0, verified.stdout + verified.stderr
    assert "Traceback" not in node.log.read_text()
