"""`bastide ma`, `cs`, `mv`, `join`: whole commands against the whole API in memory."""

import json
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from typer.testing import CliRunner, Result

from bastide.cli import ma_document
from bastide.cli.exits import Exit, Stop
from bastide.cli.main import app
from bastide.cli.remote import Surroundings
from bastide.cli.ticket import Whose
from bastide.targets.memory import MemorySystem
from tests.support.api import ApiWorld, served

SERVER = "https://bastide.test"
CANARY = "canary-SECRET-0815"
HR = """
name = "hr"
connector = "memory"
project = "person"
joins = ["employeeNumber = employeeNumber"]
flows = ["employeeNumber -> employeeNumber", "cn -> cn 5"]
filters = ["employeeType equals robot", "userAccountControl bit-on 2, mail absent"]
[settings]
system = "hr"
[passwords]
retry_interval = "1m"
[source]
domain = "corp.test"
targets = ["ldap"]
[imports]
every = "1h"
"""
LDAP = {
    "name": "ldap", "connector": "memory", "settings": {"system": "ldap"}, "joins": ["employeeNumber=employeeNumber"],
}  # fmt: skip


class Dave:
    """A Kerberos ticket of an administrator."""

    def __init__(self, host: str) -> None:
        self.host = host

    def step(self, token: bytes | None = None) -> bytes | None:
        return None if token else b"dave@PRIV.BASTIDE.TEST"

    def whose(self) -> Whose:
        return Whose("dave@PRIV.BASTIDE.TEST", self.host, "PRIV.BASTIDE.TEST")


class Shell:
    """Runs commands; `asked` are the prompts that were answered."""

    def __init__(self, api: ApiWorld, folder: Path) -> None:
        self.api = api
        self.folder = folder
        self.asked: list[str] = []
        #: What the server says of all synchronization; None: as it is.
        self.status: dict[str, Any] | None = None

    def run(self, *words: str, **options: Any) -> Result:
        world = Surroundings(transport=httpx.MockTransport(self._forward), handshake=Dave, ask=self._ask)
        return CliRunner().invoke(app, [*words, "--server", SERVER], obj=world, **options)

    def did(self, *words: str) -> str:
        result = self.run(*words)
        assert result.exit_code == 0, result.output + result.stderr
        return result.stdout

    def said(self, *words: str) -> Any:
        return json.loads(self.did(*words, "--json"))

    def file(self, name: str, content: str | dict[str, Any]) -> str:
        path = self.folder / name
        path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
        return str(path)

    def _ask(self, prompt: str) -> str:
        self.asked.append(prompt)
        return CANARY

    def _forward(self, request: httpx.Request) -> httpx.Response:
        if self.status is not None and request.url.path == "/api/v1/passwords":
            return httpx.Response(200, json=self.status)
        answer = self.api.client.request(
            request.method,
            request.url.raw_path.decode(),
            content=request.content,
            headers={n: v for n, v in request.headers.items() if n.lower() != "host"},
        )
        return httpx.Response(answer.status_code, headers=dict(answer.headers), content=answer.content)


@pytest.fixture
def shell(tmp_path: Path) -> Iterator[Shell]:
    with served(prepared=False) as api:
        for name in ("hr", "ldap"):
            api.systems.systems[name] = MemorySystem()
            api.systems.systems[name].put(
                "uid=ann,dc=x/y", dn="uid=ann,dc=x/y", employeeNumber="7", cn="Ann Lee"
            )
        yield Shell(api, tmp_path)


@pytest.fixture
def ready(shell: Shell) -> Shell:
    shell.did("ma", "add", shell.file("ldap.json", LDAP))
    shell.did("ma", "add", shell.file("hr.toml", HR))
    shell.did("ma", "import", "hr")
    shell.did("ma", "import", "ldap")
    return shell


def test_agents_are_made_from_files(ready: Shell) -> None:
    hr = ready.said("ma", "show", "hr")
    assert hr["flows"] == [
        {"source": "employeeNumber", "target": "employeeNumber", "rank": 100},
        {"source": "cn", "target": "cn", "rank": 5},
    ]
    assert [len(one["conditions"]) for one in hr["filters"]] == [1, 2]
    assert (hr["passwords"]["retry_interval"], hr["imports"]["every"]) == (60, 3600)
    assert hr["source"]["targets"] == ["ldap"]
    shown = ready.did("ma", "show", "hr")
    for words in (
        "userAccountControl bit-on 2 and mail absent",
        "employeeNumber = employeeNumber",
        "every 1h",
        "corp.test",
    ):
        assert words in shown
    listed = ready.did("ma", "list")
    assert "corp.test (disabled)" in listed


def test_a_secret_comes_from_a_file_or_a_prompt_and_goes_nowhere_else(shell: Shell) -> None:
    file = shell.file("hr.secret", f"{CANARY}\nsecond line\n")
    made = shell.run(
        "ma", "add", shell.file("hr.toml", HR.replace('targets = ["ldap"]', "")), "--secret-file", file
    )
    assert made.exit_code == 0
    asked = shell.run("ma", "secret", "hr")
    from_file = shell.run("ma", "secret", "hr", "--secret-file", file, "--json")
    assert shell.asked == ["Secret of hr"]
    assert shell.said("ma", "show", "hr")["secret"] is True
    gone = shell.run("ma", "secret", "hr", "--remove")
    assert shell.said("ma", "show", "hr")["secret"] is False
    for result in (made, asked, from_file, gone):
        assert (result.exit_code, CANARY in result.output + result.stderr) == (0, False)
    shell.api.systems.systems["hr"].secret = CANARY
    assert shell.run("ma", "import", "hr").exit_code == Exit.REFUSED
    shell.did("ma", "secret", "hr", "--secret-file", file)
    shell.did("ma", "import", "hr")


def test_the_secret_is_forgotten_and_may_be_given_again_at_once(shell: Shell) -> None:
    shell.did("ma", "add", shell.file("ldap.json", LDAP), "--secret-file", shell.file("s", CANARY))
    edited = shell.run("ma", "edit", "ldap", "--set", "settings.system=hr", "--yes")
    assert "its secret is forgotten" in edited.stderr
    assert shell.said("ma", "show", "ldap")["secret"] is False
    shell.did(
        "ma",
        "edit",
        "ldap",
        "--set",
        "settings.system=ldap",
        "--yes",
        "--secret-file",
        str(shell.folder / "s"),
    )
    assert shell.said("ma", "show", "ldap")["secret"] is True


def test_a_target_whose_new_system_is_not_known_is_disabled_and_the_person_is_told(shell: Shell) -> None:
    for number, name in enumerate(("ldap", "hr")):
        shell.api.systems.systems[name].says = (f"directory {number}",)
    shell.api.systems.systems["hr"].secret = CANARY
    shell.did("ma", "add", shell.file("ldap.json", LDAP))
    shell.did("ma", "enable", "ldap", "--target")
    change = ("ma", "edit", "ldap", "--set", "settings.system=hr", "--yes")
    told = "it is disabled as a target: `bastide ma enable ldap --target` asks it"
    assert told in " ".join(shell.run(*change, "--dry-run").stderr.split())
    edited = shell.run(*change, "--secret-file", shell.file("s", CANARY))
    assert (edited.exit_code, told in " ".join(edited.stderr.split())) == (0, True)
    assert shell.said("ma", "show", "ldap")["passwords"]["enabled"] is False
    shell.did("ma", "enable", "ldap", "--target")
    shown = shell.said("ma", "show", "ldap")
    assert (shown["passwords"]["enabled"], shown["system"]) == (True, ["directory 1"])


def test_what_is_said_changes_and_the_rest_stays(ready: Shell) -> None:
    before = ready.said("ma", "show", "hr")
    result = ready.run(
        "ma", "edit", "hr", "--set", "passwords.verify=true", "--set", "imports.every=30m", "--set", 'joins=["cn = cn, sn = sn"]',
        "--yes",
    )  # fmt: skip
    assert result.exit_code == 0, result.stderr
    for words in ("passwords.verify", "  - false", "  + true", "imports.every", "  + 1800"):
        assert words in result.stderr
    after = ready.said("ma", "show", "hr")
    assert (after["passwords"], after["imports"]) == (
        {**before["passwords"], "verify": True}, {**before["imports"], "every": 1800},
    )  # fmt: skip
    assert after["joins"] == [{"pairs": [{"cs": "cn", "mv": "cn"}, {"cs": "sn", "mv": "sn"}]}]
    assert (after["source"], after["settings"], after["flows"]) == (
        before["source"],
        before["settings"],
        before["flows"],
    )
    ready.did("ma", "edit", "hr", "--no-source", "--yes")
    assert ready.said("ma", "show", "hr")["source"] is None


def test_a_file_changes_what_it_names(ready: Shell) -> None:
    file = ready.file("part.toml", 'project = "robot"\n[source]\ndaily_limit = 3\n')
    ready.did("ma", "edit", "hr", "--from-file", file, "--yes")
    hr = ready.said("ma", "show", "hr")
    assert (hr["project"], hr["source"]["daily_limit"], hr["source"]["domain"]) == ("robot", 3, "corp.test")


def test_it_asks_before_it_changes_and_a_dry_run_does_not(ready: Shell) -> None:
    assert ready.run("ma", "edit", "hr", "--set", "project=x").exit_code == Exit.USAGE
    assert ready.run("ma", "remove", "hr").exit_code == Exit.USAGE
    ready.did("ma", "edit", "hr", "--set", "project=x", "--dry-run")
    assert "could be removed, with 1 objects" in ready.did("ma", "remove", "hr", "--dry-run")
    ready.did("ma", "add", ready.file("new.json", {**LDAP, "name": "new"}), "--dry-run")
    assert ready.said("ma", "show", "hr")["project"] == "person"
    assert len(ready.said("ma", "list")["items"]) == 2
    assert "is removed, with 1 objects" in ready.did("ma", "remove", "hr", "--yes")


def test_passwords_are_switched(ready: Shell) -> None:
    assert "as target and source" in ready.did("ma", "enable", "hr", "--target", "--source")
    assert "as source" in ready.did("ma", "disable", "hr", "--source")
    hr = ready.said("ma", "show", "hr")
    assert (hr["passwords"]["enabled"], hr["source"]["enabled"]) == (True, False)
    assert ready.run("ma", "enable", "hr").exit_code == Exit.USAGE


def test_enabling_says_what_is_still_missing_and_what_ends_it(shell: Shell) -> None:
    """Each remedy is followed as it stands, until nothing is missing."""
    shell.status = {"enabled": False, "restored": False, "waiting": 0}
    shell.did("ma", "add", shell.file("ldap.json", LDAP))
    alone = shell.did("ma", "enable", "ldap", "--target")
    assert "there is no source" in alone
    shell.did("ma", "add", shell.file("hr.toml", HR.replace('targets = ["ldap"]', "")))
    shell.did("ma", "disable", "ldap", "--target")
    followed = []
    said = shell.did("ma", "enable", "ldap", "--target")
    while remedies := [line.strip()[3:] for line in said.splitlines() if line.startswith("  -> ")]:
        followed.append(remedies[0])
        if remedies[0] == "bastide passwords enable":
            shell.status = {**shell.status, "enabled": True}
        else:
            shell.did(*shlex.split(remedies[0])[1:], *(["--yes"] if "edit" in remedies[0] else []))
        shell.did("ma", "disable", "ldap", "--target")
        said = shell.did("ma", "enable", "ldap", "--target")
    assert followed == [
        "bastide ma import ldap",
        "bastide ma edit hr --set 'source.targets=[\"ldap\"]'",
        "bastide ma import hr",
        "bastide ma enable hr --source",
        "bastide passwords enable",
    ]
    assert "a password that is changed in corp.test goes to ldap from now on" in said
    assert "and is not kept for later" in shell.did("ma", "disable", "hr", "--source")


def test_enabling_a_source_names_its_targets_that_are_not(ready: Shell) -> None:
    ready.status = {"enabled": True}
    said = ready.did("ma", "enable", "hr", "--source")
    assert "not yet: the target ldap is disabled\n  -> bastide ma enable ldap --target" in said
    ready.did("ma", "edit", "ldap", "--set", "passwords.shadow=true", "--yes")
    shadow = "not yet: the target ldap is in shadow mode: everything is done but the write\n"
    assert shadow in ready.did("ma", "enable", "ldap", "--target")
    ready.did("ma", "disable", "hr", "--source")
    said = ready.did("ma", "enable", "hr", "--source")
    assert shadow in said
    assert "from now on" not in said


def test_enabling_on_a_server_that_does_not_synchronize_says_so(ready: Shell) -> None:
    said = ready.did("ma", "enable", "hr", "--source")
    assert "not yet: this server does not synchronize passwords" in said
    assert "the target ldap is disabled" in said
    assert "from now on" not in said
    assert "waits" not in ready.did("ma", "disable", "hr", "--source")


def test_what_to_know_of_a_kind_is_shown(ready: Shell) -> None:
    assert "Note" not in ready.did("ma", "show", "hr")
    ready.api.systems.notes["memory"] = "not run by us"
    assert "not run by us" in ready.did("ma", "show", "hr")
    assert ready.said("ma", "show", "hr")["note"] == "not run by us"


@pytest.mark.parametrize(
    ("name", "content", "message", "remedy"),
    [
        ("", None, "there is no file", "connector = "),
        ("x.toml", b"name = ", "x.toml is not TOML: ", "a file in JSON ends in .json"),
        ("x.json", b"{", "x.json is not JSON: ", "a file in TOML has another ending"),
        ("x.toml", b"\xff", "x.toml is no text in UTF-8", "save it as UTF-8"),
        (".", None, "cannot be read: is a directory", "a file that you may read"),
    ],
)
def test_a_file_that_cannot_be_used_is_one_line_and_a_remedy(
    shell: Shell, name: str, content: bytes | None, message: str, remedy: str
) -> None:
    path = shell.folder / (name or "nonexistent.toml")
    if content is not None:
        path.write_bytes(content)
    result = shell.run("ma", "add", str(path))
    first, second = result.stderr.splitlines()
    assert (result.exit_code, result.stdout, message in first) == (Exit.USAGE, "", True)
    assert second.startswith("  -> ")
    assert remedy in second
    assert "Errno" not in result.stderr


def test_an_import_and_its_preview(shell: Shell) -> None:
    shell.did("ma", "add", shell.file("hr.toml", HR.replace('targets = ["ldap"]', "")))
    tried = shell.run("ma", "import", "hr", "--dry-run")
    assert "uid=ann,dc=x/y" in tried.stdout
    assert "dry run: nothing was changed" in tried.stderr
    assert "full import of hr: 1 read, 1 added, 1 projected, 1 people added" in shell.did(
        "ma", "import", "hr"
    )
    assert "delta import of hr: nothing new" in shell.did("ma", "import", "hr", "--delta")
    assert "a worker imports hr" in shell.did("ma", "import", "hr", "--background")
    shell.api.systems.systems["hr"].delete("uid=ann,dc=x/y")
    assert "the fuse would stop it: 1 of 1" in shell.did("ma", "import", "hr", "--full", "--dry-run")
    stopped = shell.run("ma", "import", "hr", "--full")
    assert (stopped.exit_code, "--force" in stopped.stderr) == (Exit.REFUSED, True)
    assert "1 deleted" in shell.did("ma", "import", "hr", "--full", "--force")
    assert shell.run("ma", "import", "hr", "--full", "--delta").exit_code == Exit.USAGE
    shell.api.systems.systems["hr"].faults.down = True
    assert shell.run("ma", "import", "hr").exit_code == Exit.UNAVAILABLE


def test_objects_people_and_joins(ready: Shell) -> None:
    anchor = ("uid=ann,dc=x/y", "--agent", "ldap")
    one = ready.said("cs", "show", *anchor)
    assert "join rule 1" in ready.did("cs", "show", *anchor)
    assert one["link"] == "joined"
    assert "uid=ann" in ready.did("cs", "search", "ann", "--link", "joined")
    assert "Ann Lee" in ready.did("mv", "search", "ann")
    person = ready.did("mv", "show", one["person"])
    assert "Ann Lee (hr)" in person
    assert "joined" in person
    said = ready.did("join", "explain", *anchor)
    for words in (
        "looks for employeeNumber = 7",
        f"finds {one['person']}",
        ": this one decides",
        "it would be: joined",
    ):
        assert words in said
    assert "and is kept apart" in ready.did("join", "remove", *anchor, "--keep-apart")
    assert "is joined with" in ready.did("join", "set", anchor[0], one["person"], "--agent", "ldap")
    assert "is joined no more" in ready.did("join", "remove", *anchor)
    assert "is projected to" in ready.did("cs", "project", *anchor, "--type", "robot")
    assert ready.run("cs", "show", anchor[0]).exit_code == Exit.REFUSED
    assert "no such objects" in ready.run("cs", "search", "nobody").stderr


@pytest.mark.parametrize(
    ("words", "content"),
    [
        (("ma", "add", "FILE"), 'nmae = "x"'),
        (("ma", "add", "FILE"), "name = "),
        (("ma", "add", "FILE"), 'joins = ["a"]'),
        (("ma", "add", "FILE"), 'flows = ["a b"]'),
        (("ma", "add", "FILE"), 'filters = ["a like b"]'),
        (("ma", "add", "FILE"), '[imports]\nevery = "soon"'),
        (("ma", "add", "/nowhere"), ""),
        (("ma", "edit", "hr", "--from-file", "FILE"), 'secret = "x"'),
        (("ma", "edit", "hr", "--set", "nothing"), ""),
        (("ma", "edit", "hr", "--set", "a.b=1", "--set", "a=1", "--set", "a.b.c=1"), ""),
        (("ma", "edit", "hr", "--secret-file", "FILE", "--set", "project=x"), ""),
        (("ma", "secret", "hr", "--secret-file", "/nowhere"), ""),
    ],
    ids=str,
)
def test_what_cannot_be_right_is_said_before_anybody_is_asked(
    shell: Shell, words: tuple[str, ...], content: str
) -> None:
    file = shell.file("x.toml", content)
    result = shell.run(*(file if word == "FILE" else word for word in words), "--account", "PRIV\\dave")
    assert (result.exit_code, shell.asked) == (Exit.USAGE, []), result.stderr


def test_a_json_file_and_a_toml_file_say_the_same(tmp_path: Path) -> None:
    import tomllib

    (tmp_path / "a.toml").write_text(HR)
    (tmp_path / "a.json").write_text(json.dumps(tomllib.loads(HR)))
    assert ma_document.from_file(tmp_path / "a.toml") == ma_document.from_file(tmp_path / "a.json")
    (tmp_path / "list.json").write_text("[]")
    with pytest.raises(Stop, match="holds no table of settings"):
        ma_document.from_file(tmp_path / "list.json")


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("settings.port=636", {"settings": {"port": 636}}),
        ("settings.host=a.b", {"settings": {"host": "a.b"}}),
        ("settings.list=['a','b']", {"settings": {"list": ["a", "b"]}}),
        ("name=", {"name": ""}),
        ("passwords.retry_interval=2m", {"passwords": {"retry_interval": 120}}),
    ],
)
def test_settings_on_the_command_line(text: str, wanted: dict[str, Any]) -> None:
    assert ma_document.from_settings([text]) == wanted
