"""The commands against the real API in-process: real use cases, real runner, forests in memory."""

import base64
import json
from collections.abc import Iterator
from dataclasses import replace
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
from bastide.domain.people import MfaProof
from bastide.services.roles import StageDraft
from tests.support.api import app_over
from tests.support.authenticator import Authenticator
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
    with app_over(world.services) as app, TestClient(app, base_url=SERVER) as client:
        yield Desk(world, InProcess(client._transport))
    world.close()


def test_a_token_for_a_ticket(desk: Desk) -> None:
    shown = desk.run(
        "PRIV\\dave", "token", "--minutes", "5", "--right", "use", "--right", "administer", "--json"
    )
    made = json.loads(shown.stdout)
    assert (made["rights"], len(made["token"])) == (["administer", "use"], 64)
    assert "token" in desk.run("PRIV\\dave", "session", "list").stdout
    assert len(json.loads(desk.run("PRIV\\dave", "token", "--json").stdout)["rights"]) == 1
    refused = desk.run("CORP\\alice", "token", wanted=Exit.REFUSED)
    assert "Kerberos ticket" in refused.stderr
    desk.run("PRIV\\dave", "token", "--minutes", "61", wanted=Exit.USAGE)


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
    assert "  - mon,tue,wed,thu,fri 22:00-06:00 Europe/Zurich" in edit.stderr
    assert "  - 30m (5m to 2h)\n  + 30m (5m to 3h)" in edit.stderr
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


# ------------------------------------------------------------------------------------------- the errors of a first use


def _ready(desk: Desk) -> None:
    """Alice may ask for a role, and has her authenticator."""
    admin, alice = "PRIV\\dave", "CORP\\alice"
    desk.run(admin, "pam", "user", "add", "alice")
    desk.run(admin, "pam", "group", "add", "FileAdmins")
    desk.run(admin, "role", "add", "File admin", "--gives", "PAM-FileAdmins", "--candidate", alice)
    desk.invitation = desk.run(admin, "mfa", "invite", "priv.alice").stdout.strip()


def test_a_wrong_first_code_says_so_and_the_right_one_confirms_then(desk: Desk) -> None:
    _ready(desk)
    alice = "CORP\\alice"
    enrolment = json.loads(desk.run(alice, "mfa", "enrol", "--invited", "--json").stdout)
    desk.secrets[alice] = pyotp.random_base32()
    desk.codes = 0
    refused = desk.run(alice, "mfa", "confirm", wanted=Exit.REFUSED)
    assert desk.codes == 1, "asked again without a word why"
    assert "the code is wrong" in refused.stderr
    assert "wait for the next code" in refused.stderr
    desk.secrets[alice] = parse_qs(urlsplit(enrolment["uri"]).query)["secret"][0]
    assert "the authenticator is set up" in desk.run(alice, "mfa", "confirm").stdout


def test_a_wrong_code_leaves_a_request_that_is_named_with_the_ways_on(desk: Desk) -> None:
    _ready(desk)
    alice = "CORP\\alice"
    desk.set_up_factor(alice, "--invited")
    right, desk.secrets[alice] = desk.secrets[alice], pyotp.random_base32()
    refused = desk.run(alice, "request", "new", "File admin", "-j", "x", wanted=Exit.REFUSED)
    (waiting,) = json.loads(desk.run(alice, "request", "list", "--json").stdout)["items"]
    for way in (f"`bastide request prove {waiting['id']}`", f"`bastide request close {waiting['id']}`"):
        assert way in refused.stderr
        again = desk.run(alice, "request", "new", "File admin", "-j", "x", wanted=Exit.REFUSED)
        assert "is pending already" in again.stderr
        assert way in again.stderr
    desk.secrets[alice] = right
    desk.run(alice, "request", "prove", waiting["id"])
    desk.world.work()
    shown = desk.run(alice, "request", "show", waiting["id"], "--wait").stdout
    assert "Will be ended by" in shown
    desk.run(alice, "request", "close", waiting["id"])
    desk.world.work()
    over = desk.run(alice, "request", "show", waiting["id"]).stdout
    assert "Ended by" in over
    assert "Will be" not in over


def test_with_json_a_request_that_waits_is_named_in_the_remedy(desk: Desk) -> None:
    _ready(desk)
    alice = "CORP\\alice"
    desk.set_up_factor(alice, "--invited")
    desk.secrets[alice] = pyotp.random_base32()
    refused = desk.run(alice, "request", "new", "File admin", "-j", "x", "--json", wanted=Exit.REFUSED)
    (waiting,) = json.loads(desk.run(alice, "request", "list", "--json").stdout)["items"]
    said = json.loads(refused.stderr)
    assert (said["code"], said["status"]) == ("mfa-refused", 403)
    assert f"`bastide request close {waiting['id']}`" in said["remedy"]


def test_who_leaves_at_the_prompt_is_told_of_the_request_that_waits(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    _ready(desk)
    typing = desk.answer

    def leave(who: str, prompt: str) -> str:
        if prompt == "Code":
            raise KeyboardInterrupt
        return typing(who, prompt)

    monkeypatch.setattr(desk, "answer", leave)
    left = desk.run("CORP\\alice", "request", "new", "File admin", "-j", "x", wanted=130)
    monkeypatch.undo()
    (waiting,) = json.loads(desk.run("CORP\\alice", "request", "list", "--json").stdout)["items"]
    assert f"`bastide request close {waiting['id']}`" in left.stderr


def test_who_may_ask_is_told_of_offers_and_who_may_list_of_the_list(desk: Desk) -> None:
    _ready(desk)
    asked = desk.run("CORP\\alice", "request", "new", "Nonsense", "-j", "x", wanted=Exit.REFUSED)
    assert "no role 'Nonsense'" in asked.stderr
    assert "`bastide offers`" in asked.stderr
    assert "role list" not in asked.stderr
    shown = desk.run("PRIV\\dave", "role", "show", "Nonsense", wanted=Exit.REFUSED)
    assert "`bastide role list`" in shown.stderr


def test_a_group_that_is_prepared_already_is_named(desk: Desk) -> None:
    desk.run("PRIV\\dave", "pam", "group", "add", "FileAdmins")
    refused = desk.run("PRIV\\dave", "pam", "group", "add", "FileAdmins", wanted=Exit.REFUSED)
    assert "PAM-FileAdmins is a PAM group already; it carries FileAdmins" in refused.stderr
    assert "`bastide pam group show PAM-FileAdmins`" in refused.stderr


def test_a_mistyped_person_is_no_question_of_the_forest(desk: Desk) -> None:
    _ready(desk)
    for words in (("mfa", "invite", "priv.alcie"), ("mfa", "reset", "priv.alcie", "--yes")):
        refused = desk.run("PRIV\\dave", *words, wanted=Exit.REFUSED)
        assert "no PAM user 'priv.alcie'" in refused.stderr
        assert "written CORP\\name or PRIV\\name" in refused.stderr


def test_what_was_typed_is_shown_as_it_was_typed(desk: Desk) -> None:
    refused = desk.run("PRIV\\dave", "mfa", "invite", "PRIV\\x", wanted=Exit.REFUSED)
    assert "'PRIV\\x'" in refused.stderr
    assert "\\\\" not in refused.stderr


def test_lengths_are_said_as_people_type_them(desk: Desk) -> None:
    _ready(desk)
    rules = ("--gives", "PAM-FileAdmins", "--candidate", "CORP\\alice")
    made = desk.run("PRIV\\dave", "role", "add", "Other", *rules, "--for", "30", wanted=Exit.REFUSED)
    assert "--for: the shortest length is 5m, the usual one 30s, the longest 8h" in made.stderr
    assert "--min 5m --for 1h --max 8h" in made.stderr
    asked = desk.run(
        "CORP\\alice", "request", "new", "File admin", "-j", "x", "--for", "1m", wanted=Exit.REFUSED
    )
    assert "--for: 1m is not possible; File admin allows 5m to 8h" in asked.stderr


def test_an_extension_that_is_too_long_says_what_is_left(desk: Desk) -> None:
    desk.world.ready()
    asked = desk.world.ask()
    desk.world.work()
    desk.invitation = desk.run("PRIV\\dave", "mfa", "invite", "priv.alice").stdout.strip()
    desk.set_up_factor("CORP\\alice", "--invited")
    refused = desk.run("CORP\\alice", "request", "extend", asked.id, "--for", "2d", wanted=Exit.REFUSED)
    assert "the role allows 8h in all" in refused.stderr
    assert "extend by at most 7h, or ask for the role again" in refused.stderr


def test_options_that_a_role_needs_are_named_before_anything_is_asked(desk: Desk) -> None:
    refused = desk.run("PRIV\\dave", "role", "add", "Other", wanted=Exit.USAGE)
    assert "--gives and --candidate are needed for a new role" in refused.stderr


def test_what_is_no_id_says_where_ids_are(desk: Desk) -> None:
    _ready(desk)
    refused = desk.run("CORP\\alice", "request", "show", "nonsense", wanted=Exit.REFUSED)
    assert "'nonsense' is not an identifier" in refused.stderr
    assert "`bastide request list`" in refused.stderr


def test_whoami_says_which_rights_come_after_a_code(desk: Desk) -> None:
    desk.by_password.add("PRIV\\dave")
    lines = {
        line.split()[0]: line for line in desk.run("PRIV\\dave", "whoami").stdout.splitlines() if line.strip()
    }
    assert "administer" not in lines["Rights"]
    assert "administer" in lines["After"]
    assert "After a code" not in desk.run("PRIV\\frank", "whoami").stdout


def test_a_role_that_demands_a_security_key_says_so_and_asks_for_no_code(desk: Desk) -> None:
    _ready(desk)
    admin, alice, grace = "PRIV\\dave", "CORP\\alice", "PRIV\\grace"
    rules = ("--factor", "webauthn", "--approval-factor", "webauthn", "--approver", grace)
    desk.run(admin, "role", "edit", "File admin", *rules, "--yes")
    shown = " ".join(desk.run(admin, "role", "show", "File admin").stdout.split())
    assert "Second factor a security key" in shown
    assert "Approvals signed with a security key" in shown
    desk.set_up_factor(alice, "--invited")
    desk.codes = 0
    refused = desk.run(alice, "request", "new", "File admin", "-j", "x", wanted=Exit.REFUSED)
    assert "a security key is demanded here" in refused.stderr
    assert "in the portal" in refused.stderr
    assert desk.codes == 0
    desk.run(admin, "role", "edit", "File admin", "--factor", "any", "--yes")
    (waiting,) = json.loads(desk.run(alice, "request", "list", "--json").stdout)["items"]
    desk.run(alice, "request", "close", waiting["id"])
    asked = json.loads(desk.run(alice, "request", "new", "File admin", "-j", "x", "--json").stdout)
    desk.set_up_factor(grace)
    refused = desk.run(grace, "approval", "approve", asked["id"], wanted=Exit.REFUSED)
    assert "must be signed with a security key" in refused.stderr
    desk.run(grace, "approval", "reject", asked["id"], "--reason", "not now")


def test_security_keys_are_listed_and_removed(desk: Desk) -> None:
    use, grace = desk.world.services.security_keys, desk.world.sign_in("grace")
    desk.set_up_factor("PRIV\\grace")
    held = desk.world.services.factors.status(grace)[0].id
    grace = replace(grace, mfa=MfaProof("totp", held, desk.world.clock.now()))
    use.register(grace, "", "blue key", Authenticator().make(use.ask_to_register(grace, "")))
    assert "blue key" in desk.run("PRIV\\grace", "mfa", "status").stdout
    removed = desk.run("PRIV\\grace", "mfa", "remove", "blue key", "--yes")
    assert "is removed" in removed.stdout + removed.stderr
    assert use.mine(grace) == ()


def test_own_sessions_are_listed_and_ended(desk: Desk) -> None:
    authn = desk.world.services.authn
    dave = desk.world.dave
    first, second = (
        authn.open_session(dave, address=f"192.0.2.{n}", agent="Firefox on Linux") for n in (1, 2)
    )
    listed = json.loads(desk.run("PRIV\\dave", "session", "list", "--json").stdout)["items"]
    assert {one["address"] for one in listed} == {"192.0.2.1", "192.0.2.2"}
    assert "Firefox on Linux" in desk.run("PRIV\\dave", "session", "list").stdout
    one = next(one["id"] for one in listed if one["address"] == "192.0.2.1")
    desk.run("PRIV\\dave", "session", "end", one)
    sessions = desk.world.services.sessions
    assert (sessions.is_open(first), sessions.is_open(second)) == (False, True)
    assert "no such session" in desk.run("PRIV\\dave", "session", "end", one, wanted=Exit.REFUSED).stderr
    assert "ended: 1" in desk.run("PRIV\\dave", "session", "end-others", "--yes").stdout
    assert not sessions.is_open(second)


def test_an_approver_asks_what_a_request_would_give(desk: Desk) -> None:
    world = desk.world
    world.prepare("alice")
    world.prepare_group()
    world.add_role(stages=(StageDraft("owners", ("PRIV\\grace",)),))
    world.corp.add_group("Backup Operators", protected=True, members=[world.share.ref.sid])
    request = world.ask()
    said = desk.run("PRIV\\grace", "approval", "gives", request.id).stdout
    assert [line.split() for line in said.splitlines()[1:]] == [
        ["FileAdmins", "CORP", "itself", "PAM-FileAdmins"],
        ["Backup", "Operators", "CORP", "PROTECTED", "with", "it", "PAM-FileAdmins"],
    ]
    desk.run("PRIV\\ivan", "approval", "gives", request.id, wanted=Exit.REFUSED)
    world.clock.move(minutes=2)
    world.corp.cut("corpdc")
    result = desk.run("PRIV\\grace", "approval", "gives", request.id)
    assert "not all is shown: PAM-FileAdmins: what it opens in CORP could not be found out" in result.stderr
