"""People on a controller of the lab whose passwords change, an agent that tells of it, and the server it tells. For modules with `pytest_plugins = ["tests.support.agent_changes"]`."""

import itertools
from collections.abc import Iterator
from pathlib import Path

import pytest

from bastide import wire
from bastide.directory.session import REPLACE, Session
from bastide.wire import Notification
from bastide_agent.ldapi import Directory
from bastide_agent.metadata import origin_of
from bastide_lab import plan
from bastide_lab.lab import Lab
from tests.support.agent_lab import AgentLab, AgentOnDc
from tests.support.gss_server import accept_all
from tests.support.inside import inside
from tests.support.patience import PATIENCE

_numbers = itertools.count(1)


@pytest.fixture(scope="module")
def corp(lab: Lab) -> Iterator[AgentLab]:
    work = lab.root / "agent-corp"
    work.mkdir(mode=0o755, exist_ok=True)
    with inside(lab.namespace("bastide")):
        made = AgentLab(lab, work)
        yield made
        made.close()


@pytest.fixture
def agent(corp: AgentLab) -> Iterator[AgentOnDc]:
    """With a state of its own, running."""
    # Short: the path of a Unix socket has 107 bytes at most.
    made = AgentOnDc(corp.lab, "corpdc", corp.work / f"a{next(_numbers)}")
    corp.server.notifications.clear()
    corp.server.decide = accept_all
    made.start()
    yield made
    made.kill()


def user(corp: AgentLab, name: str, *, machine: bool = False) -> str:
    """A new account; its DN."""
    dn = f"CN={name},CN=Users,{corp.lab.base_dn(corp.forest)}"
    values = {
        "objectClass": [b"computer" if machine else b"user"],
        "sAMAccountName": [name.encode() + (b"$" if machine else b"")],
    }

    def make(session: Session) -> None:
        session.add(dn, values)
        session.modify(dn, [(REPLACE, "unicodePwd", [quoted(f"First-Pass-1-{name}")])])
        session.modify(dn, [(REPLACE, "userAccountControl", [b"4096" if machine else b"512"])])

    corp.admin(make)
    return dn


def quoted(password: str) -> bytes:
    return f'"{password}"'.encode("utf-16-le")


def reset(corp: AgentLab, dn: str, password: str) -> None:
    """An administrator's set over sealed LDAP."""
    corp.admin(lambda session: session.modify(dn, [(REPLACE, "unicodePwd", [quoted(password)])]))


def tool(corp: AgentLab, *arguments: str, host: str = "corpdc") -> None:
    done = corp.lab.exec(host, ["samba-tool", *arguments])
    assert done.returncode == 0, done.stdout + done.stderr


def told(corp: AgentLab, account: str) -> list[Notification]:
    return [one for one in corp.server.notifications if one.account == account]


def await_told(
    corp: AgentLab, agent: AgentOnDc, account: str, count: int = 1, seconds: float = PATIENCE
) -> list[Notification]:
    agent.until(lambda: len(told(corp, account)) >= count, seconds)
    return told(corp, account)


def as_the_controller_has_it(
    corp: AgentLab, notification: Notification, host: str = "corpdc"
) -> tuple[str, int, bytes, int]:
    """Reference, revision, check and time, made from the database itself."""
    path = corp.lab.site.data(plan.host(host)) / "private" / "ldap_priv" / "ldapi"
    directory = Directory(lambda: connected(path))
    found = directory.read_guid(notification.user_guid, ["unicodePwd", "replPropertyMetaData", "pwdLastSet"])
    directory.close()
    origin = origin_of(found["replPropertyMetaData"][0])
    assert origin is not None
    reference = wire.reference_of(notification.user_guid, origin.invocation, origin.usn)
    changed_at = int(found["pwdLastSet"][0]) or origin.changed_at
    return reference, origin.version, wire.check_of(reference, found["unicodePwd"][0]), changed_at


def connected(path: Path) -> int:
    import socket

    with socket.socket(socket.AF_UNIX) as made:
        made.connect(str(path))
        return made.detach()
