"""Canaries: every password of the scene was planted, and after all of it none is found anywhere it should not be. This module ends the scene: it is the last."""

import os
import resource
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
from contextlib import closing
from pathlib import Path

import pytest

from tests.support.canary import beginnings, in_files
from tests.support.password_lab import PasswordLab
from tests.support.password_node import until
from tests.support.password_systems import MARIADB, POSTGRES, PRIV, RECORDER

pytest_plugins = ["tests.support.lab", "tests.support.password_fixtures"]
pytestmark = pytest.mark.lab

LARGEST = 64 * 1024 * 1024


def cores(folder: Path) -> list[Path]:
    return list(folder.glob("core*"))


def test_a_worker_that_aborts_leaves_no_core(scene: PasswordLab) -> None:
    """Row 7. Its limit is as high as it can be before it starts; the control shows that a core would lie there."""
    before = resource.getrlimit(resource.RLIMIT_CORE)
    resource.setrlimit(resource.RLIMIT_CORE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    try:
        worker = scene.node.start("worker")
        until(lambda: no_core_limit(worker.pid), scene.node.tail)
        os.kill(worker.pid, signal.SIGABRT)
        assert worker.wait(20) == -signal.SIGABRT
        assert cores(scene.server) == []
        control = scene.server / "control"
        control.mkdir()
        subprocess.run([sys.executable, "-c", "import os; os.abort()"], cwd=control, check=False)
        assert cores(control), "this machine writes no cores at all, and so this test shows nothing"
        shutil.rmtree(control)
    finally:
        resource.setrlimit(resource.RLIMIT_CORE, before)


def no_core_limit(pid: int) -> bool:
    limits = Path(f"/proc/{pid}/limits").read_text()
    return next(line for line in limits.splitlines() if "core file" in line).split()[4:6] == ["0", "0"]


def back_up(scene: PasswordLab) -> Path:
    """As docs/operations/backup.md says, while a password waits for a system that is down."""
    folder = scene.work / "backup"
    folder.mkdir(mode=0o700)
    made = folder / "bastide.db"
    command = f".backup '{made}'"
    subprocess.run(["sqlite3", str(scene.server / "database" / "bastide.db"), command], check=True)
    with closing(sqlite3.connect(made)) as raw:
        question = "SELECT count(*) FROM password_deliveries WHERE length(sealed) > 0"
        assert raw.execute(question).fetchone()[0] >= 1, "it holds a sealed password"
    return made


def test_nothing_that_was_planted_is_found_anywhere(scene: PasswordLab) -> None:
    person = scene.people["p7"]
    scene.lab.stop_target("slapd", kill=True)
    assert scene.kpasswd(person, scene.new_password()).returncode == 0
    scene.arrives(person, (POSTGRES, MARIADB, PRIV, RECORDER))
    backup = back_up(scene)
    scene.auditor_cli("audit", "export", "--to", scene.work / "exported.jsonl")
    for pid in [scene.node.pid(), *(agent.pid() for agent in scene.agents.values() if agent.process)]:
        assert no_core_limit(pid)
    scene.close()

    assert len(scene.planted) > 15
    assert scene.traces() == {}
    assert backup in set(scene.work.rglob("*"))
    marks = beginnings(scene.mark)
    assert in_files([scene.lab.root / "hosts" / "targets"], marks) == {}, "logs and files of the targets"
    temporary = {Path(tempfile.gettempdir()), Path("/tmp"), Path("/var/tmp")}
    assert in_files(temporary, marks, newer_than=scene.began, largest=LARGEST) == {}
    assert not cores(scene.server)
    assert scene.watch.found == []
    assert len(scene.watch.seen) >= 5, "server, worker, agents and commands were looked at"

    control = scene.work / "control"
    control.write_bytes(b"..." + scene.planted[-1].encode("utf-16-le"))
    assert scene.traces() == {control: ["UTF-16LE"]}
    control.unlink()
