"""Real lines of a real controller: what Samba 4.22 writes of a group and of passwords comes in through the door, and is judged."""

import socket
import ssl
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from bastide.directory.session import ADD, REPLACE
from bastide.domain.ids import ObjectRef
from bastide.domain.observed import Kind, Verdict
from bastide.domain.people import Forest
from bastide_lab.plan import CORPDC
from bastide_lab.samba_conf import AUDIT
from tests.support.directory_lab import CORP_BASE, DirectoryLab
from tests.support.intake_world import IntakeWorld
from tests.support.patience import PATIENCE
from tests.unit.test_intake_door import Doors

pytest_plugins = ["tests.support.lab", "tests.support.directory_fixtures"]
pytestmark = pytest.mark.lab

ADMINS = f"CN=Domain Admins,CN=Users,{CORP_BASE}"


@pytest.fixture
def audit_log(directory_lab: DirectoryLab) -> Path:
    """The controller of CORP writes its JSON audit there."""
    return directory_lab.lab.site.log(CORPDC) / AUDIT


@pytest.fixture
def person(directory_lab: DirectoryLab) -> ObjectRef:
    return directory_lab.add_user(Forest.CORP, directory_lab.new_name("ev"), settle=False)


def lines_of(written: Path, dn: str, wanted: int) -> list[bytes]:
    """Those that name the person, once there are so many."""
    deadline = time.monotonic() + PATIENCE
    while True:
        found = [
            line
            for line in (written.read_bytes() if written.exists() else b"").splitlines()
            if dn.encode() in line
        ]
        if len(found) >= wanted:
            return found
        assert time.monotonic() < deadline, f"{len(found)} of {wanted} lines"
        time.sleep(0.1)


def test_a_group_and_a_password_that_somebody_changed(
    directory_lab: DirectoryLab, audit_log: Path, person: ObjectRef, tmp_path: Path
) -> None:
    password = '"Kanarienvogel-2026-x"'.encode("utf-16-le")
    directory_lab.admin_modify(Forest.CORP, person.dn, [(REPLACE, "unicodePwd", [password])])
    directory_lab.admin_modify(Forest.CORP, ADMINS, [(ADD, "member", [person.dn.encode()])])
    written = lines_of(audit_log, person.dn, 2)
    world = IntakeWorld()
    world.clock.moment = datetime.now(UTC) + timedelta(seconds=1)
    with world.store.write() as uow:  # the person is a PAM user, so the password is one of ours
        alice = uow.users.all()[0]
        uow.users.save(replace(alice, corp=person))
        uow.commit()
    doors = Doors(world, tmp_path)
    try:
        with doors.connected(doors.pair("dc1.corp.bastide.test")) as channel:
            _send(channel, [*written, *written])
            doors.until(lambda: len(world.all()) == 2)
    finally:
        doors.door.stop()
    admin = directory_lab.admin_read(Forest.CORP, f"CN=Administrator,CN=Users,{CORP_BASE}").ref()
    judged = {one.change.kind: one for one in world.judged()}
    assert set(judged) == {Kind.PASSWORD_RESET, Kind.MEMBER_ADDED}
    assert {one.verdict for one in judged.values()} == {Verdict.UNEXPLAINED}
    assert {one.change.actor.sid for one in judged.values()} == {admin.sid}
    added = judged[Kind.MEMBER_ADDED].change
    assert (added.event, added.target.dn, added.group.dn) == (4728, person.dn, ADMINS)
    assert abs(added.at - datetime.now(UTC)) < timedelta(hours=1)
    world.close()


def _send(channel: ssl.SSLSocket | socket.socket, lines: list[bytes]) -> None:
    channel.sendall(b"".join(b"<13>1 - dc1 samba - - - " + line + b"\n" for line in lines))
