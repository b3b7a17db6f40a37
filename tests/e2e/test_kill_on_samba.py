"""kill -9 of the real worker process while it works on real domain controllers, then another takes over."""

import secrets
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from bastide.domain.requests import State
from bastide.services.ports import AuditQuery
from bastide.store import keys
from tests.support import directory_lab as plan
from tests.support.directory_lab import DirectoryLab
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
def settings(world: SambaWorld, directory_lab: DirectoryLab, work: Path) -> Path:
    """The file a real node would have."""
    keys.generate_key_files(work)
    keytab = directory_lab.identity("svc-bastide", "priv").keytab
    path = work / "bastide.toml"
    path.write_text(f"""
[database]
url = "sqlite:///{work}/bastide.db"
[keys]
master = "{work}/master.key"
signing = "{work}/signing.key"
[priv]
domain = "{plan.PRIV}"
principal = "svc-bastide@{directory_lab.lab.realm("priv")}"
keytab = "{keytab}"
users_container = "{plan.USERS}"
groups_container = "{plan.GROUPS}"
[corp]
domain = "{plan.CORP}"
[rights]
administrators = ["Bastide Administrators"]
auditors = ["Bastide Auditors"]
approvers = ["Bastide Approvers"]
""")
    return path


def _bastide(world: SambaWorld, *arguments: str | Path) -> list[str | Path]:
    return [sys.executable, "-m", "bastide.cli.main", *arguments]


def _worker(world: SambaWorld, settings: Path, log: Path) -> subprocess.Popen[str]:
    with log.open("a") as output:
        return world.lab.popen(
            "bastide", _bastide(world, "worker", "--config", settings), stdout=output, stderr=output
        )


def test_killed_at_any_moment_nothing_is_lost_or_granted_twice(
    world: SambaWorld, settings: Path, work: Path
) -> None:
    user = world.prepare("mallory", f"{secrets.token_urlsafe(12)}!1aA")
    role = world.prepare_role("Files of Mallory", "FileAdmins", ("mallory",))
    log = work / "worker.log"
    asked = []
    worker = _worker(world, settings, log)
    time.sleep(2)
    for moment in MOMENTS:
        request = world.ask("mallory", role.name, ttl=timedelta(minutes=30))
        asked.append(request)
        time.sleep(moment / 1000)
        worker.kill()
        worker.wait()
        worker = _worker(world, settings, log)
    for request in asked:
        active = world.wait_for(request, State.ACTIVE, 90)
        assert active.ends_at is not None
        assert active.ends_at <= active.created_at + timedelta(minutes=30, seconds=90)
    world.services.requests.kill(world.dave, "exercise", user=user.name)
    time.sleep(0.03)
    worker.kill()
    worker.wait()
    worker = _worker(world, settings, log)
    for request in asked:
        world.wait_for(request, State.CLOSED, 90)
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
    verified = world.lab.exec("bastide", _bastide(world, "audit", "verify", "--local", "--config", settings))
    assert verified.returncode == 0, verified.stdout + verified.stderr
    assert "Traceback" not in log.read_text()
