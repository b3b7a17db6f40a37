"""The commands against the real API in-process: real use cases, real runner, forests in memory."""

import base64
import json
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import httpx
import pyotp
import pytest
from litestar.testing import TestClient
from typer.testing import CliRunner, Result

from bastide.cli.exits import Exit
from bastide.cli.main import app
from bastide.cli.remote import Surroundings
from bastide.cli.ticket import Whose
from bastide.web import create_app
from tests.support.world import World

SERVER = "http://127.0.0.1:8000"


class Desk:
    """One person after the other at a terminal, in front of one server."""

    def __init__(self, world: World, transport: httpx.BaseTransport) -> None:
        self.world = world
        self.transport = transport
        self.secrets: dict[str, str] = {}
        self.invitation = ""
        self.by_password: set[str] = set()
        self.codes = 0

    def run(self, who: str, *arguments: str, wanted: int = 0) -> Result:
        """`who`: `PRIV-backslash-name` comes with a ticket unless it is in `by_password`, `CORP-backslash-name` with a password."""
        forest, name = who.split("\\")
        account = ["--account", who] if forest == "CORP" or who in self.by_password else []
        surroundings = Surroundings(
            transport=self.transport,
            handshake=lambda _: Ticket(f"{name}@PRIV.BASTIDE.TEST"),
            ask=lambda prompt: self.answer(who, prompt),
            now=self.world.clock.now,
            sleep=lambda _: self.world.work(),
        )
        result = CliRunner().invoke(app, [*arguments, "--server", SERVER, *account], obj=surroundings)
        assert result.exit_code == wanted, (arguments, result.output, result.stderr, result.exception)
        return result

    def answer(self, who: str, prompt: str) -> str:
        """What the person types."""
        if prompt.startswith("Password"):
            forest, name = who.split("\\")
            return f"{name}-{forest.lower()}-pw"
        if prompt == "Invitation":
            return self.invitation
        self.codes += 1
        self.world.clock.move(seconds=30)
        return pyotp.TOTP(self.secrets[who]).at(self.world.clock.now())

    def set_up_factor(self, who: str, *options: str) -> None:
        enrolment = json.loads(self.run(who, "mfa", "enrol", *options, "--json").stdout)
        self.secrets[who] = parse_qs(urlsplit(enrolment["uri"]).query)["secret"][0]
        self.run(who, "mfa", "confirm")


class Ticket:
    """What tests.support.world.NamedTicket accepts."""

    def __init__(self, principal: str) -> None:
        self.principal = principal

    def step(self, token: bytes | None = None) -> bytes | None:
        return self.principal.encode() if token is None else None

    def whose(self) -> Whose:
        return Whose(self.principal, "bastide.test", self.principal.rpartition("@")[2])


class InProcess(httpx.BaseTransport):
    """The test client's transport, which a command may close without ending the app."""

    def __init__(self, inner: httpx.BaseTransport) -> None:
        self._inner = inner

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        return self._inner.handle_request(request)


@pytest.fixture
def desk() -> Iterator[Desk]:
    world = World()
    with TestClient(create_app(world.services), base_url=SERVER) as client:
        yield Desk(world, InProcess(client._transport))
    world.close()


def test_the_main_job(desk: Desk, tmp_path: Path) -> None:
    admin, alice, grace, frank = "PRIV\\dave", "CORP\\alice", "PRIV\\grace", "PRIV\\frank"
    assert "(new) priv.alice" in desk.run(admin, "pam", "user", "add", "alice", "--dry-run").stdout
    desk.run(admin, "pam", "user", "add", "alice")
    desk.run(admin, "pam", "group", "add", "FileAdmins")
    desk.run(
        admin, "role", "add", "File admin", "--gives", "PAM-FileAdmins", "--candidate", alice,
        "--approver", grace, "--for", "1h", "--max", "4h",
    )  # fmt: skip
    desk.invitation = desk.run(admin, "mfa", "invite", "priv.alice").stdout.strip()
    desk.set_up_factor(alice, "--invited")
    desk.set_up_factor(grace)
    assert "File admin" in desk.run(alice, "offers").stdout
    asked = json.loads(desk.run(alice, "request", "new", "File admin", "-j", "INC-42", "--json").stdout)
    assert asked["state"] == "PendingApproval"
    assert "INC-42" in desk.run(grace, "approval", "list").stdout
    desk.run(grace, "approval", "approve", asked["id"], "--reason", "agreed")
    shown = desk.run(alice, "request", "show", asked["id"], "--wait")
    assert "the true end of access is" in " ".join(shown.stdout.split())
    assert "the directory ends it by" in shown.stdout
    assert "priv.alice" in desk.run(admin, "request", "list", "--all").stdout
    refused = desk.run(alice, "request", "extend", asked["id"], "--for", "30m", wanted=Exit.REFUSED)
    assert "ask for the role again" in refused.stderr
    desk.run(admin, "kill", "--role", "File admin", "--reason", "incident", "--yes")
    desk.world.work()
    assert json.loads(desk.run(alice, "request", "show", asked["id"], "--json").stdout)["state"] == "Closed"
    assert "The audit is whole" in desk.run(frank, "audit", "verify").stdout
    assert "PAM-FileAdmins" in desk.run(frank, "audit", "who", "--person", "priv.alice").stdout
    assert "kill-switch" in desk.run(frank, "audit", "tail").stdout
    assert "request.vote.approve" in desk.run(frank, "audit", "show", "--kind", "request.vote.approve").stdout
    exported = tmp_path / "audit.jsonl"
    desk.run(frank, "audit", "export", "--to", str(exported))
    assert exported.stat().st_mode & 0o777 == 0o600
    assert [json.loads(line)["seq"] for line in exported.read_text().splitlines()][:2] == [1, 2]
    desk.run(frank, "audit", "export", "--to", str(exported), wanted=Exit.USAGE)
    messages = tmp_path / "audit.syslog"
    desk.run(frank, "audit", "export", "--syslog", "--to", str(messages))
    assert all(line.startswith("<") and " bastide - " in line for line in messages.read_text().splitlines())
    desk.run(admin, "work", "list")
    desk.run(admin, "mfa", "reset", "priv.alice", "--yes")


def test_extend_and_close(desk: Desk) -> None:
    desk.world.ready()
    desk.invitation = desk.run("PRIV\\dave", "mfa", "invite", "priv.alice").stdout.strip()
    desk.set_up_factor("CORP\\alice", "--invited")
    asked = desk.world.ask()
    desk.world.work()
    extended = json.loads(
        desk.run("CORP\\alice", "request", "extend", asked.id, "--for", "30m", "--json").stdout
    )
    assert extended["extend_to"] > extended["ends_at"]
    desk.world.work()
    closed = desk.run("CORP\\alice", "request", "close", asked.id, "--reason", "done")
    assert "Closing" in closed.stdout


def test_preparation_and_its_end(desk: Desk) -> None:
    admin = "PRIV\\dave"
    desk.run(admin, "pam", "user", "add", "alice")
    desk.run(admin, "pam", "group", "add", "FileAdmins")
    assert "15m" in desk.run(admin, "pam", "user", "show", "priv.alice").stdout
    assert "foreign-principal" in desk.run(admin, "pam", "group", "list").stdout
    desk.run(admin, "pam", "group", "show", "PAM-FileAdmins")
    refused = desk.run(admin, "pam", "user", "show", "nobody", wanted=Exit.REFUSED)
    assert "no PAM user 'nobody'" in refused.stderr
    assert "bastide pam user list" in refused.stderr
    desk.run(admin, "pam", "user", "remove", "priv.alice", "--dry-run")
    desk.run(admin, "pam", "user", "remove", "priv.alice", "--delete", "--yes")
    desk.run(admin, "pam", "group", "remove", "PAM-FileAdmins", "--yes")
    assert desk.run(admin, "pam", "user", "list").stdout == ""


def test_a_role_by_file_and_its_edit_shows_the_difference(desk: Desk, tmp_path: Path) -> None:
    admin = "PRIV\\dave"
    desk.run(admin, "pam", "user", "add", "alice")
    desk.run(admin, "pam", "group", "add", "FileAdmins")
    file = tmp_path / "role.toml"
    file.write_text(
        """
        name = "Night shift"
        privileges = ["PAM-FileAdmins"]
        candidates = ['CORP\\alice']
        window = "mon-fri 22:00-06:00 Europe/Zurich"
        pending_life = "2h"
        [ttl]
        default = "30m"
        maximum = "2h"
        [[stages]]
        name = "lead"
        approvers = ['PRIV\\grace', 'PRIV\\heidi']
        needed = 2
        """
    )
    desk.run(admin, "role", "add", "--from-file", str(file), "--dry-run")
    assert desk.run(admin, "role", "list").stdout == ""
    desk.run(admin, "role", "add", "--from-file", str(file))
    assert "lead: 2 of PRIV\\grace, PRIV\\heidi" in desk.run(admin, "role", "show", "Night shift").stdout
    edit = desk.run(admin, "role", "edit", "Night shift", "--max", "3h", "--window", "", "--yes")
    assert "- {'days'" in edit.stderr
    assert "+ (none)" in edit.stderr
    role = json.loads(desk.run(admin, "role", "show", "Night shift", "--json").stdout)
    assert role["ttl"] == {"default": 1800, "minimum": 300, "maximum": 10800}
    assert role["window"] is None
    assert role["pending_life"] == 7200
    desk.run(admin, "role", "edit", "Night shift", "--max", "3h", "--yes", wanted=Exit.USAGE)
    desk.run(admin, "role", "edit", "Night shift", "--max", "2h", wanted=Exit.USAGE)
    desk.run(admin, "role", "remove", "Night shift", "--yes")


def test_who_is_not_signed_in(desk: Desk) -> None:
    desk.run("CORP\\nobody", "offers", wanted=Exit.NOT_SIGNED_IN)
    desk.run("PRIV\\grace", "pam", "user", "list", wanted=Exit.REFUSED)


def test_an_administrator_with_a_password_is_asked_for_a_code_once(desk: Desk, tmp_path: Path) -> None:
    for who in ("PRIV\\dave", "PRIV\\frank"):
        desk.set_up_factor(who)
        desk.by_password.add(who)
    desk.codes = 0
    desk.run("PRIV\\dave", "pam", "user", "add", "alice")
    assert desk.codes == 1
    desk.run("PRIV\\dave", "whoami")
    assert desk.codes == 1
    target = tmp_path / "records"
    desk.run("PRIV\\frank", "audit", "export", "--to", str(target))
    assert desk.codes == 2


def test_whoami(desk: Desk) -> None:
    shown = desk.run("PRIV\\dave", "whoami").stdout
    assert "PRIV\\dave" in shown
    assert "administer" in shown
    assert base64.b64encode(b"dave@").decode() not in shown
