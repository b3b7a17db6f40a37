"""Real lines of a real controller: what Samba 4.22 writes of a group, of passwords and of sign-ins is read and judged."""

import json
import socket
import ssl
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from bastide.directory.changes import AdChangeFeed
from bastide.directory.entries import by_guid, to_filetime
from bastide.directory.session import ADD, DELETE, REPLACE
from bastide.domain.drift import Action, Finding, Rule, Rules
from bastide.domain.ids import ObjectRef
from bastide.domain.observed import Judged, Kind, Named, Verdict
from bastide.domain.observed_lines import Format
from bastide.domain.people import Forest, PamUser
from bastide.domain.requests import State
from bastide.services.intake.guarded import Guarded
from bastide.services.intake.ports import Source
from bastide.services.ports import AuditQuery
from bastide.wiring import Adapters
from bastide.wiring.intake import IntakeAdapters
from bastide.wiring.monitor import MonitorAdapters
from bastide_lab.plan import CORPDC, PRIVDC, PRIVDC2
from bastide_lab.samba_conf import AUDIT
from tests.support.directory_lab import CORP_BASE, GROUPS, PRIV_BASE, USERS, DirectoryLab
from tests.support.intake_world import IntakeWorld
from tests.support.patience import PATIENCE
from tests.support.samba_world import SambaWorld
from tests.unit.test_intake_door import Doors

pytest_plugins = ["tests.support.lab", "tests.support.directory_fixtures"]
pytestmark = pytest.mark.lab

PRIV = Forest.PRIV
DOORS = {"Kerberos KDC", "LDAP", "SMB2"}
CONTROLLER = Source(name="priv", format=Format.SAMBA, subject="privdc.priv.bastide.test")
PASSWORD = "Correct-Horse-Battery-1"
PROTECTED = f"CN=Protected Users,CN=Users,{PRIV_BASE}"
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
            # Beside them there is the person's first group, of which nobody can tell yet.
            doors.until(lambda: sum(not one.unsure for one in world.all()) == 2)
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
    guarded = Guarded({Forest.CORP: directory_lab.corp})
    guarded.look(datetime.now(UTC))
    builtin = replace(added, group=Named(dn=f"CN=Administrators,CN=Builtin,{CORP_BASE}"))
    found = [guarded.recognised(one).group.sid for one in (added, builtin)]
    assert found == [f"{admin.sid.domain}-512", "S-1-5-32-544"], "a DN says nothing, the directory does"
    world.close()


def _send(channel: ssl.SSLSocket | socket.socket, lines: list[bytes]) -> None:
    channel.sendall(b"".join(b"<13>1 - dc1 samba - - - " + line + b"\n" for line in lines))


# ------------------------------------------------------------------------------------------------------------- sign-ins


class Watched(SambaWorld):
    """Takes events in at once, and monitors; who opens an account by hand is reported and nothing is put right, so that there is time to use it."""

    def _adapters(self) -> Adapters:
        feeds = {
            PRIV: AdChangeFeed(self.forests.priv.connections, (USERS, GROUPS)),
            Forest.CORP: AdChangeFeed(self.forests.corp.connections),
        }
        rules = Rules({Rule.OPEN_ACCOUNT: Action.REPORT}, {}, "Team Directory")
        own = {PRIV: ("svc-bastide", "svc-bastide-prepare")}
        return replace(
            super()._adapters(),
            monitoring=MonitorAdapters(feeds, rules, timedelta(seconds=0.5)),
            intake=IntakeAdapters((CONTROLLER,), timedelta(0), own),
        )

    def signs_in_by(self, user: PamUser) -> dict[str, str]:
        """By a ticket, by a bind that shows the password, and by NTLM: what refused each; empty: nothing did."""
        return {
            "ticket": self.fresh_ticket(user, PASSWORD),
            "bind": self._said(
                ["ldapwhoami", "-N", "-x", "-D", f"PRIV\\{user.priv.name}", "-y", "/dev/stdin", "-H", "ldaps://privdc.priv.bastide.test"],
                PASSWORD,
            ),
            "ntlm": self._said(
                ["smbclient", "--use-kerberos=off", "-A", "/dev/stdin", "//privdc.priv.bastide.test/sysvol", "-c", "exit"],
                f"username={user.priv.name}\npassword={PASSWORD}\ndomain=PRIV\n",
            ),
        }  # fmt: skip

    def _said(self, command: Sequence[str], said: str) -> str:
        done = self.lab.exec("client", command, input=said, env={"LDAPTLS_CACERT": str(self.lab.ca)})
        return (done.stdout + done.stderr).strip() or "refused" if done.returncode else ""

    def written_of(self, user: PamUser) -> list[bytes]:
        """What both controllers wrote of the account."""
        logs = [self.lab.site.log(host) / AUDIT for host in (PRIVDC, PRIVDC2)]
        lines = [line for log in logs if log.exists() for line in log.read_bytes().splitlines()]
        return [line for line in lines if user.priv.sid.encode() in line or user.priv.dn.encode() in line]

    def take(self, *users: PamUser) -> None:
        assert self.services.intake is not None
        self.services.intake.accept.lines(
            CONTROLLER, [line for user in users for line in self.written_of(user)]
        )

    def judged(self, user: PamUser) -> list[Judged]:
        """What is known of the account, oldest first."""
        with self.store.read() as uow:
            found = uow.observed.since(self.clock.now() - timedelta(days=1), tuple(Verdict), 1000)
        return [
            one
            for one in found[::-1]
            if one.change.target.known_as() & {user.priv.sid.casefold(), user.priv.dn.casefold()}
        ]

    def signs(self, user: PamUser) -> list[Judged]:
        return [one for one in self.judged(user) if one.change.kind is Kind.SIGN_IN]

    def passwords(self, *users: PamUser) -> list[Judged]:
        return [one for user in users for one in self.judged(user) if one.change.kind is Kind.PASSWORD_RESET]

    def told(self, kind: str) -> int:
        with self.store.read() as uow:
            return sum(1 for _ in uow.audit.read(AuditQuery(kind=kind, limit=0)))

    def used_outside(self) -> list[Finding]:
        with self.store.read() as uow:
            return [one for one in uow.monitored.findings() if one.drift.rule is Rule.USED_OUTSIDE]


def _until(true: Callable[[], object], what: str) -> None:
    deadline = time.monotonic() + PATIENCE
    while not true():
        assert time.monotonic() < deadline, what
        time.sleep(0.1)


@pytest.fixture
def watched(directory_lab: DirectoryLab, tmp_path: Path) -> Iterator[Watched]:
    made = Watched(directory_lab, tmp_path, prefix="si.")
    yield made
    made.close()


def _pair(world: Watched) -> tuple[PamUser, PamUser, str]:
    """Somebody who will have access, and somebody who never had; the name of the first."""
    names = [world.forests.new_name("si") for _ in range(2)]
    for name in names:
        world.forests.add_user(Forest.CORP, name, settle=False)
    first, second = (world.prepare(name, PASSWORD) for name in names)
    world.prepare_role("Watched files", "FileAdmins", (names[0],))
    return first, second, names[0]


def test_sign_ins_inside_and_outside_of_a_grant(watched: Watched) -> None:
    granted, outsider, name = _pair(watched)
    assert watched.services.monitoring is not None
    watched.services.monitoring.watch.plant()
    watched.start()
    _until(lambda: watched.told("monitor.loaded") == 2, "both domains are read")
    assert all(watched.signs_in_by(outsider).values()), "a dormant account is let in nowhere"

    request = watched.ask(name, "Watched files", ttl=timedelta(minutes=30))
    _open_by_hand(watched, outsider)
    watched.wait_for(request, State.ACTIVE)
    _until(lambda: not watched.fresh_ticket(granted, PASSWORD), "who has access is let in")
    refused = {how for how, why in watched.signs_in_by(granted).items() if why}
    assert refused == {"bind", "ntlm"}, "a Protected User is let in by ticket alone"
    _until(lambda: not any(watched.signs_in_by(outsider).values()), "who is none is let in by all three")

    _until(lambda: set(_let_in(watched.written_of(outsider))) == DOORS, "all three are written down")
    watched.take(granted, outsider)
    _until(lambda: _are_judged(watched, granted, outsider), "all are judged")
    inside, outside = watched.signs(granted), watched.signs(outsider)
    assert {(one.verdict, one.request) for one in inside} == {(Verdict.GRANT, request.id)}
    assert {(one.verdict, one.because) for one in outside} == {
        (Verdict.UNEXPLAINED, "the person had no access then")
    }
    assert len(outside) == len(_let_in(watched.written_of(outsider))), "what was refused is none"
    assert watched.told("intake.unexplained") == len(outside)
    assert {one.verdict for one in watched.passwords(granted, outsider)} == {Verdict.OWN}

    watched.services.monitoring.control.resync(watched.dave)
    _until(watched.used_outside, "the directory counts it too")
    assert {one.drift.guid for one in watched.used_outside()} == {outsider.priv.guid}


def _open_by_hand(world: Watched, user: PamUser) -> None:
    """As somebody does who may: for an hour, and no Protected User any more, which would be let in by ticket alone."""
    end = str(to_filetime(world.clock.now() + timedelta(hours=1))).encode()
    world.forests.admin_modify(PRIV, by_guid(user.priv.guid), [(REPLACE, "accountExpires", [end])])
    world.forests.admin_modify(PRIV, PROTECTED, [(DELETE, "member", [user.priv.dn.encode()])])


def _are_judged(world: Watched, *users: PamUser) -> bool:
    found = [one for user in users for one in world.judged(user)]
    return bool(found) and all(one.verdict is not Verdict.PENDING for one in found)


def _let_in(lines: Sequence[bytes]) -> list[str]:
    """Through which doors of the controllers somebody came in, each time."""
    said = [json.loads(line).get("Authentication", {}) for line in lines]
    return [one["serviceDescription"] for one in said if one.get("status") == "NT_STATUS_OK"]
