"""The thin client: sign-in, second factor, errors to exit codes, and text of others on a terminal."""

import base64
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from typer.testing import CliRunner, Result

from bastide.cli import connection
from bastide.cli.exits import Exit, Stop
from bastide.cli.main import app
from bastide.cli.remote import Surroundings
from bastide.cli.ticket import Whose

SERVER = "https://bastide.priv.bastide.test:8443"
PASSWORD = "correct-horse-CANARY-1"
TOKEN = "session-CANARY-2"
CODE = "123456"
ID = "6f9c1a52-6c1e-4f0e-9f64-0b6a5d0d5d11"
REQUEST = {
    "id": ID,
    "role": "File administrator",
    "user": "priv.alice",
    "state": "Active",
    "created_at": "2026-11-20T09:00:00+00:00",
    "ends_at": "2026-11-20T10:00:00+00:00",
    "true_end": "2026-11-20T10:15:00+00:00",
    "ttl_seconds": 3600,
}
Handler = Callable[[httpx.Request], httpx.Response]


class Ticket:
    """A handshake that the server ends with `done`."""

    principal = "alice@PRIV.BASTIDE.TEST"

    def __init__(self, host: str) -> None:
        self.host = host

    def step(self, token: bytes | None = None) -> bytes | None:
        if token is None:
            return f"ticket for {self.host}".encode()
        assert token == b"done"
        return None

    def whose(self) -> Whose:
        return Whose(self.principal, self.host, "PRIV.BASTIDE.TEST")


class Asked:
    """Answers prompts and remembers them."""

    def __init__(self, **answers: str) -> None:
        self.answers = answers
        self.prompts: list[str] = []

    def __call__(self, prompt: str) -> str:
        self.prompts.append(prompt)
        return self.answers[prompt.partition(" ")[0].lower()]


def run(handler: Handler, *arguments: str, ask: Callable[[str], str] | None = None, **options: Any) -> Result:
    world = Surroundings(
        transport=httpx.MockTransport(handler),
        handshake=Ticket,
        ask=ask or Asked(password=PASSWORD, code=CODE),
        sleep=lambda _: None,
    )
    return CliRunner().invoke(app, [*arguments, "--server", SERVER], obj=world, **options)


def answer(body: object, status: int = 200, headers: dict[str, str] | None = None) -> httpx.Response:
    return httpx.Response(status, json=body, headers=headers)


def problem(
    status: int, code: str, detail: str = "it was refused", remedy: str = "ask again"
) -> httpx.Response:
    body = {
        "type": f"about:{code}",
        "title": "no",
        "status": status,
        "detail": detail,
        "code": code,
        "remedy": remedy,
    }
    return httpx.Response(status, json=body, headers={"Content-Type": "application/problem+json"})


# -------------------------------------------------------------------------------------------------------------- sign-in


def test_the_ticket_goes_with_each_call_and_the_answer_is_checked() -> None:
    seen = []

    def handler(request: httpx.Request) -> httpx.Response:
        seen.append(request.headers["Authorization"])
        done = base64.b64encode(b"done").decode()
        return answer([], headers={"WWW-Authenticate": f"Negotiate {done}"})

    assert run(handler, "request", "list").exit_code == 0
    assert base64.b64decode(seen[0].removeprefix("Negotiate ")) == b"ticket for bastide.priv.bastide.test"


def test_an_account_opens_a_session_uses_it_and_ends_it() -> None:
    calls = []

    def handler(request: httpx.Request) -> httpx.Response:
        calls.append((request.method, request.url.path, request.headers.get("Authorization", "")))
        if request.method == "POST":
            assert json.loads(request.content)["password"] == PASSWORD
            return answer({"token": TOKEN}, 201)
        return answer([])

    result = run(handler, "offers", "--account", "CORP\\alice")
    assert result.exit_code == 0
    assert calls == [
        ("POST", "/api/v1/sessions", ""),
        ("GET", "/api/v1/offers", f"Bearer {TOKEN}"),
        ("DELETE", "/api/v1/sessions/current", f"Bearer {TOKEN}"),
    ]


def test_the_session_is_ended_when_the_command_fails() -> None:
    calls = []

    def handler(request: httpx.Request) -> httpx.Response:
        calls.append(request.method)
        return answer({"token": TOKEN}) if request.method == "POST" else problem(403, "not-authorized")

    assert run(handler, "offers", "--account", "CORP\\alice").exit_code == 1
    assert calls == ["POST", "GET", "DELETE"]


def test_a_code_is_asked_for_once_when_the_server_wants_one() -> None:
    ask = Asked(code=CODE)
    codes = []

    def handler(request: httpx.Request) -> httpx.Response:
        codes.append(request.headers.get("Bastide-Code"))
        return answer(REQUEST) if codes[-1] == CODE else problem(403, "mfa-refused")

    assert run(handler, "approval", "approve", ID, ask=ask).exit_code == 0
    assert codes == [None, CODE]
    assert ask.prompts == ["Code"]


def test_a_wrong_code_is_not_asked_for_again() -> None:
    """Five wrong codes lock the factor: the client must not help with that."""
    ask = Asked(code="000000")
    result = run(
        lambda _: problem(403, "mfa-refused", "the code is wrong"), "approval", "approve", ID, ask=ask
    )
    assert result.exit_code == 1
    assert ask.prompts == ["Code"]


def test_without_a_terminal_secrets_are_lines_of_standard_input() -> None:
    def handler(request: httpx.Request) -> httpx.Response:
        if request.method == "POST":
            assert json.loads(request.content)["password"] == PASSWORD
            return answer({"token": TOKEN})
        return answer([]) if request.headers.get("Bastide-Code") == CODE else problem(403, "mfa-refused")

    world = Surroundings(transport=httpx.MockTransport(handler), handshake=Ticket)
    result = CliRunner().invoke(
        app,
        ["offers", "--account", "CORP\\alice", "--server", SERVER],
        obj=world,
        input=f"{PASSWORD}\n{CODE}\n",
    )
    assert result.exit_code == 0


def test_no_secret_is_shown() -> None:
    """Not in an answer, a message, a repr or a traceback, also when the network fails after the sign-in."""

    def handler(request: httpx.Request) -> httpx.Response:
        if request.method == "POST":
            return answer({"token": TOKEN})
        raise httpx.ReadTimeout("slow", request=request)

    result = run(handler, "offers", "--account", "CORP\\alice")
    assert result.exit_code == Exit.UNAVAILABLE
    everything = result.output + result.stderr + repr(result) + repr(result.exception)
    assert not [canary for canary in (PASSWORD, TOKEN, CODE) if canary in everything]


# ----------------------------------------------------------------------------------------------------------- exit codes


@pytest.mark.parametrize(
    ("status", "code", "wanted"),
    [
        (400, "invalid-input", Exit.REFUSED),
        (403, "not-authorized", Exit.REFUSED),
        (404, "not-found", Exit.REFUSED),
        (409, "conflict", Exit.REFUSED),
        (401, "not-authenticated", Exit.NOT_SIGNED_IN),
        (503, "directory-unavailable", Exit.UNAVAILABLE),
        (503, "store-busy", Exit.UNAVAILABLE),
        (502, "", Exit.UNAVAILABLE),
        (502, "directory-denied", Exit.REFUSED),
    ],
)
def test_a_problem_is_a_sentence_a_remedy_and_an_exit_code(status: int, code: str, wanted: Exit) -> None:
    result = run(lambda _: problem(status, code, "the answer is no", "do this"), "offers")
    assert result.exit_code == wanted
    sentence, remedy = result.stderr.splitlines()
    assert sentence.startswith("the answer is no")
    assert remedy.startswith("  -> do this")
    assert not result.stdout


@pytest.mark.parametrize("remedy", ["give the incident id to the operator", ""])
def test_the_id_of_an_incident_is_printed(remedy: str) -> None:
    """The log has what happened under it, and the remedy asks for it."""
    fields = {"detail": "something went wrong", "code": "internal", "remedy": remedy, "incident": "00ff00ff"}
    result = run(lambda _: httpx.Response(500, json=fields), "offers")
    said = "; ".join(filter(None, (remedy, "incident 00ff00ff")))
    assert f"  -> {said}" in result.stderr


def test_a_refusal_says_whose_ticket_was_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Ticket, "principal", "eve@OTHER.TEST")
    result = run(lambda _: problem(401, "not-authenticated", "the sign-in was not accepted", "x"), "offers")
    assert result.exit_code == Exit.NOT_SIGNED_IN
    assert result.stderr.splitlines()[0].endswith(": the ticket is that of eve@OTHER.TEST")
    assert "`kinit PERSON@PRIV.BASTIDE.TEST`" in result.stderr
    exported = run(lambda _: problem(403, "not-authorized"), "audit", "export")
    assert "you came with the ticket of eve@OTHER.TEST" in exported.stderr


def test_a_refused_password_names_no_ticket() -> None:
    result = run(lambda _: problem(401, "not-authenticated"), "offers", "--account", "CORP\\alice")
    assert "ticket" not in result.stderr


def test_a_server_that_is_gone_is_exit_code_3() -> None:
    def handler(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("connection refused", request=request)

    result = run(handler, "offers")
    assert result.exit_code == Exit.UNAVAILABLE
    assert "does not answer" in result.stderr


def test_something_else_than_a_bastide_is_said_to_be_so() -> None:
    result = run(lambda _: httpx.Response(200, text="<html>"), "offers")
    assert result.exit_code == Exit.UNAVAILABLE
    assert "not JSON" in result.stderr


def test_wrong_usage_is_exit_code_2(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("BASTIDE_SERVER", raising=False)
    assert CliRunner().invoke(app, ["request", "show"]).exit_code == Exit.USAGE
    assert run(lambda _: answer([]), "request", "extend", ID, "--for", "soon").exit_code == Exit.USAGE
    assert run(lambda _: answer([]), "kill", "--reason", "x").exit_code == Exit.USAGE
    assert run(lambda _: answer([]), "kill", "--role", "a", "--all", "--reason", "x").exit_code == Exit.USAGE
    both = ("kill", "--role", "a", "--user", "b", "--reason", "x", "--yes")
    assert run(lambda _: answer([]), *both).exit_code == Exit.OK


def test_the_kill_switch_asks_first() -> None:
    calls = []

    def handler(request: httpx.Request) -> httpx.Response:
        calls.append(json.loads(request.content))
        return answer([REQUEST])

    assert run(handler, "kill", "--all", "--reason", "incident").exit_code == Exit.USAGE
    assert not calls
    assert run(handler, "kill", "--all", "--reason", "incident", "--yes").exit_code == 0
    assert calls[0]["reason"] == "incident"


# --------------------------------------------------------------------------------------------------------------- output


def test_json_is_the_servers_own() -> None:
    raw = '{"id":"x","justification":"naïve","nested":{"a":[1,2]}}'
    result = run(lambda _: httpx.Response(200, text=raw), "request", "show", ID, "--json")
    assert result.stdout == raw + "\n"


def test_with_json_a_problem_goes_to_standard_error_as_json() -> None:
    result = run(lambda _: problem(409, "conflict"), "offers", "--json")
    assert json.loads(result.stderr)["code"] == "conflict"
    assert not result.stdout


@pytest.mark.parametrize(
    ("arguments", "code", "status"),
    [
        (("offers", "--account", "alice"), "usage", Exit.USAGE),
        (("request", "extend", ID, "--for", "soon"), "usage", Exit.USAGE),
        (("request", "show"), "usage", Exit.USAGE),
        (("offers", "--nonsense"), "usage", Exit.USAGE),
        (("nonsense",), "usage", Exit.USAGE),
        (("pam", "user", "remove", "priv.alice"), "usage", Exit.USAGE),
        (("audit", "verify", "--local", "--config", "/nowhere.toml"), "refused", Exit.REFUSED),
    ],
)
def test_with_json_the_commands_own_errors_are_json_too(
    arguments: tuple[str, ...], code: str, status: Exit
) -> None:
    result = run(lambda _: answer([]), *arguments, "--json")
    assert result.exit_code == status
    said = json.loads(result.stderr)
    assert (said["code"], said["type"]) == (code, f"urn:bastide:problem:{code}")
    assert said["detail"]
    assert not result.stdout


def test_with_json_a_server_that_is_gone_is_json_too() -> None:
    def handler(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("connection refused", request=request)

    result = run(handler, "offers", "--json")
    assert (result.exit_code, json.loads(result.stderr)["code"]) == (Exit.UNAVAILABLE, "unavailable")


def test_with_json_help_and_success_are_as_ever() -> None:
    assert run(lambda _: answer([]), "offers", "--json").exit_code == 0
    helped = CliRunner().invoke(app, ["offers", "--json", "--help"])
    assert (helped.exit_code, "Usage" in helped.output) == (0, True)


def _toml(tmp_path: Path, text: str) -> str:
    (tmp_path / "role.toml").write_text(text)
    return str(tmp_path / "role.toml")


@pytest.mark.parametrize(
    "arguments",
    [
        ("pam", "group", "add", "FileAdmins", "--carrier", "pigeon"),
        ("domain", "test", "--forest", "black"),
        ("role", "add", "R", "--floor", "none"),
        ("role", "add", "R", "--for", "soon"),
        ("role", "edit", "R", "--floor", "none"),
        ("role", "add", "R", "--factor", "sms"),
        ("role", "add", "--from-file", "FACTOR"),
        ("role", "edit", "R", "--max", "soon"),
        ("role", "edit", "R", "--window", "mon 08:00-25:00 UTC"),
        ("role", "edit", "R", "--window", "someday 08:00-18:00 UTC"),
        ("role", "edit", "R", "--from-file", "FLOOR"),
        ("role", "add", "--from-file", "TTL"),
        ("request", "new", "R", "--for", "1 fortnight"),
        ("request", "new", "R", "--for", "²"),
        ("request", "new", "R", "--for", "9" * 40),
        ("request", "new", "R", "--start", "tomorrow"),
        ("request", "new", "R", "--start", "+999999999d"),
        ("request", "extend", ID, "--for", "soon"),
        ("audit", "show", "--since", "yesterday"),
        ("audit", "who", "--until", "31.12.2026"),
    ],
    ids=" ".join,
)
def test_what_cannot_be_right_is_said_before_a_password_is_asked_for(
    arguments: tuple[str, ...], tmp_path: Path
) -> None:
    files = {
        "FLOOR": 'floor = "none"',
        "FACTOR": 'approval_factor = "sms"',
        "TTL": 'name = "R"\n[ttl]\ndefault = "soon"',
    }
    words = [_toml(tmp_path, files[word]) if word in files else word for word in arguments]
    ask, calls = Asked(password=PASSWORD, code=CODE), []

    def handler(request: httpx.Request) -> httpx.Response:
        calls.append(request)
        return answer({"token": TOKEN})

    result = run(handler, *words, "--account", "CORP\\alice", ask=ask)
    assert (result.exit_code, ask.prompts, calls) == (Exit.USAGE, [], []), result.stderr


HOSTILE = "[red]x[/red] \x1b[2J\x1b]0;owned\x07 \u202eexe.doc \x9b31m \u200bzero"


def test_hostile_text_is_neutralised_in_tables_and_fields() -> None:
    hostile = {**REQUEST, "role": HOSTILE, "justification": HOSTILE, "reason": HOSTILE}
    listing = run(lambda _: answer([hostile]), "request", "list")
    shown = run(lambda _: answer(hostile), "request", "show", ID)
    refused = run(lambda _: problem(409, "conflict", HOSTILE, HOSTILE), "offers")
    for output in (listing.stdout, shown.stdout, refused.stderr):
        assert "[red]x[/red]" in output
        assert "<U+001B>" in output
        assert "<U+202E>" in output
        assert not [c for c in "\x1b\x07\x9b\u202e\u200b" if c in output]


def test_hostile_text_is_neutralised_in_json() -> None:
    raw = json.dumps({"name": HOSTILE}, ensure_ascii=False).replace("\\u202e", "\u202e")
    result = run(lambda _: httpx.Response(200, text=raw), "request", "show", ID, "--json")
    assert json.loads(result.stdout) == {"name": HOSTILE}
    assert not [c for c in "\x1b\x07\x9b\u202e\u200b" if c in result.stdout]


def test_a_name_cannot_leave_its_part_of_the_path() -> None:
    paths = []

    def handler(request: httpx.Request) -> httpx.Response:
        paths.append(request.url.raw_path.decode())
        return answer({})

    run(handler, "role", "show", "../../kill?all=1#x")
    assert paths == ["/api/v1/roles/..%2F..%2Fkill%3Fall%3D1%23x"]


def test_no_colour_outside_of_a_terminal() -> None:
    assert "\x1b" not in run(lambda _: problem(409, "conflict"), "offers").stderr


def test_long_lines_are_whole_outside_of_a_terminal() -> None:
    long = {**REQUEST, "role": "R" * 300}
    assert "R" * 300 in run(lambda _: answer([long]), "request", "list").stdout


def test_wait_looks_until_access_is_there_and_says_the_true_end() -> None:
    states = iter(["Processing", "Processing", "Active"])

    def handler(request: httpx.Request) -> httpx.Response:
        if request.method == "POST":
            return answer({**REQUEST, "state": "PendingApproval"}, 201)
        return answer({**REQUEST, "state": next(states)})

    result = run(handler, "request", "new", "File administrator", "--for", "1h", "--wait")
    assert result.exit_code == 0
    assert "until 2026-11-20 10:00:00 UTC" in result.stdout
    assert "true end of access is 2026-11-20 10:15:00 UTC" in result.stdout


def test_wait_ends_with_1_when_the_request_is_rejected() -> None:
    def handler(request: httpx.Request) -> httpx.Response:
        return answer({**REQUEST, "state": "Rejected", "reason": "rejected by grace: no"})

    result = run(handler, "request", "new", "File administrator", "--wait")
    assert result.exit_code == 1
    assert "rejected by grace: no" in result.stderr


def test_a_request_that_wants_a_factor_is_proved_at_once() -> None:
    calls = []

    def handler(request: httpx.Request) -> httpx.Response:
        calls.append((request.url.path, request.headers.get("Bastide-Code")))
        if request.url.path.endswith("/requests"):
            return answer({**REQUEST, "state": "PendingMFA"}, 201)
        return answer(REQUEST) if calls[-1][1] else problem(403, "mfa-refused")

    assert run(handler, "request", "new", "R", "-j", "x").exit_code == 0
    assert calls[-1] == (f"/api/v1/requests/{ID}/mfa", CODE)


# ----------------------------------------------------------------------------------------------------- where the server is


def test_plain_http_only_to_loopback(tmp_path: Any) -> None:
    none = tmp_path / "client.toml"
    assert connection.resolve("http://127.0.0.1:8080", "", "", file=none).server == "http://127.0.0.1:8080"
    with pytest.raises(Stop, match="https only"):
        connection.resolve("http://bastide.test", "", "", file=none)


def test_the_file_is_the_last_to_be_asked(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "client.toml"
    file.write_text('server = "https://file"\nca = "/ca.pem"\n')
    monkeypatch.delenv("BASTIDE_SERVER", raising=False)
    monkeypatch.delenv("BASTIDE_CA", raising=False)
    assert connection.resolve("", "", "", file=file) == connection.Connection("https://file", "/ca.pem")
    monkeypatch.setenv("BASTIDE_SERVER", "https://env")
    assert connection.resolve("", "", "", file=file).server == "https://env"
    assert connection.resolve("https://option", "", "", file=file).server == "https://option"
    file.write_text('password = "x"\n')
    with pytest.raises(Stop, match="unknown: password"):
        connection.resolve("", "", "", file=file)
