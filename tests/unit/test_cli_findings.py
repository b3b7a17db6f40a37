"""Findings with evidence and remedy, and the delegation script with accounts looked up in the directory."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import httpx
import msgspec
import pytest
from typer.testing import CliRunner, Result

from bastide.cli import config_file, rights
from bastide.cli.exits import Exit
from bastide.cli.main import app
from bastide.cli.remote import Surroundings
from bastide.cli.ticket import Whose
from bastide.config import Account, Config, Corp, Keys, Priv, Rights
from bastide.directory.memory import MemoryDirectory
from bastide.directory.memory_forest import SAMBA_LIKE
from bastide.wiring import Services
from tests.support.world import World

WARNING = {
    "key": "sid-filtering",
    "forest": "corp",
    "severity": "warning",
    "text": "SID filtering is not there",
    "evidence": "trustAttributes 8",
    "remedy": "say so",
}
ERROR = {
    "key": "trust",
    "forest": "",
    "severity": "error",
    "text": "no trust",
    "evidence": "",
    "remedy": "make one",
}
WINDOWS_LIKE = replace(SAMBA_LIKE, link_ttl=True, shadow_principals=True, sid_filtering=True)
CONFIG = Config(
    keys=Keys(master="m", signing="s"),
    priv=Priv(
        domain="priv.bastide.test",
        principal="svc-bastide@PRIV.BASTIDE.TEST",
        keytab="k",
        users_container="OU=Users,DC=priv,DC=bastide,DC=test",
        groups_container="OU=Groups,DC=priv,DC=bastide,DC=test",
        preparer=Account(principal="svc-bastide-prepare", keytab="k"),
    ),
    corp=Corp(domain="corp.bastide.test"),
    rights=Rights(administrators=[], auditors=[], approvers=[]),
)


def run(found: object, *arguments: str) -> Result:
    def handler(request: httpx.Request) -> httpx.Response:
        assert request.method == "POST"
        assert request.url.path == f"/api/v1/directory/{arguments[0]}-tests"
        return httpx.Response(200, json={"items": found})

    world = Surroundings(transport=httpx.MockTransport(handler), handshake=lambda _: Nobody())
    return CliRunner().invoke(app, [*arguments, "--server", "https://b"], obj=world)


class Nobody:
    """A handshake without a ticket."""

    def step(self, token: bytes | None = None) -> bytes | None:
        return b"x" if token is None else None

    def whose(self) -> Whose:
        return Whose("", "b", "B")


@pytest.mark.parametrize("noun", ["trust", "domain"])
def test_a_finding_has_severity_evidence_and_remedy(noun: str) -> None:
    result = run([WARNING], noun, "test")
    assert result.exit_code == 0
    assert [line.strip() for line in result.stdout.splitlines()] == [
        "WARNING  CORP: SID filtering is not there",
        "trustAttributes 8",
        "-> say so",
    ]


@pytest.mark.parametrize("options", [(), ("--json",)])
def test_an_error_is_exit_code_1(options: tuple[str, ...]) -> None:
    result = run([WARNING, ERROR], "trust", "test", *options)
    assert result.exit_code == Exit.REFUSED
    if options:
        assert json.loads(result.stdout)["items"] == [WARNING, ERROR]


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    world = World()
    world.priv.add_person("svc-bastide")
    world.priv.add_person("svc-bastide-prepare")
    world.corp.add_person("svc-reset")

    @contextmanager
    def open_services(_: Path) -> Iterator[Services]:
        yield world.services

    monkeypatch.setattr(rights, "open_services", open_services)
    file = tmp_path / "bastide.toml"
    file.write_text(config_file.render(CONFIG))
    yield file
    world.close()


def script(settings: Path, *options: str) -> Result:
    return CliRunner().invoke(app, ["delegation", "script", "--config", str(settings), *options])


def test_the_script_for_priv_names_both_accounts(settings: Path) -> None:
    result = script(settings)
    assert result.exit_code == 0, result.stderr
    assert "svc-bastide@priv.bastide.test" in result.stdout
    assert "svc-bastide-prepare@priv.bastide.test" in result.stdout
    assert "samba-tool dsacl set" in result.stdout


def test_rights_on_shadow_principals_are_printed_where_the_forest_has_them(
    settings: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "Shadow Principal" not in script(settings, "--for", "windows").stdout
    monkeypatch.setattr(MemoryDirectory, "capabilities", lambda _: WINDOWS_LIKE)
    assert "Shadow Principal Configuration" in script(settings, "--for", "windows").stdout
    assert "Shadow Principal" not in script(settings, "--for", "windows", "--forest", "corp").stdout
    one = msgspec.structs.replace(CONFIG, corp=None)
    settings.write_text(config_file.render(one))
    assert "Shadow Principal" not in script(settings, "--for", "windows").stdout


def test_the_script_for_corp_names_groups_asked_for_and_groups_known(settings: Path) -> None:
    assert "FileAdmins" in script(settings, "--forest", "corp", "--corp-group", "FileAdmins").stdout
    assert (
        "dsacls"
        in script(settings, "--forest", "corp", "--corp-group", "DbAdmins", "--for", "windows").stdout
    )
    assert "FileAdmins" not in script(settings, "--forest", "corp", "--corp-group", "DbAdmins").stdout
    assert script(settings, "--forest", "corp", "--corp-group", "Nothing").exit_code == Exit.REFUSED


STAFF = "OU=Staff,DC=corp,DC=bastide,DC=test"


def test_the_script_for_corp_lets_an_account_of_its_own_reset_passwords_where_it_is_said(
    settings: Path,
) -> None:
    options = ("--forest", "corp", "--reset-container", STAFF)
    said = script(settings, *options, "--reset-account", "svc-reset", "--for", "windows")
    assert said.exit_code == 0, said.stderr
    assert f'dsacls "{STAFF}" /I:S /G "svc-reset@corp.bastide.test:CA;Reset Password;user"' in said.stdout
    assert script(settings, *options).exit_code == Exit.USAGE, "without the account"
    assert script(settings, "--forest", "corp", "--reset-account", "svc-reset").exit_code == Exit.USAGE
    assert script(settings, *options, "--reset-account", "nobody").exit_code == Exit.REFUSED
    assert STAFF not in script(settings, "--reset-container", STAFF, "--reset-account", "svc-reset").stdout, (
        "PRIV"
    )


def test_no_account_that_bastide_has_already_resets_passwords_of_people(settings: Path) -> None:
    one = msgspec.structs.replace(CONFIG, corp=None)
    settings.write_text(config_file.render(one))
    for name in ("svc-bastide", "svc-bastide-prepare"):
        result = script(settings, "--forest", "corp", "--reset-container", STAFF, "--reset-account", name)
        assert result.exit_code == Exit.REFUSED
        assert "sets no passwords of people" in result.stderr


def test_the_policy_is_ldif_with_the_cap(settings: Path) -> None:
    assert "msDS-UserTGTLifetime: 9000000000" in script(settings, "--for", "policy").stdout


def test_without_a_preparer_there_is_no_script(settings: Path) -> None:
    settings.write_text(
        config_file.render(
            msgspec.structs.replace(CONFIG, priv=msgspec.structs.replace(CONFIG.priv, preparer=None))
        )
    )
    result = script(settings)
    assert result.exit_code == Exit.REFUSED
    assert "preparer" in result.stderr


@pytest.mark.parametrize("options", [("--forest", "x"), ("--for", "x")])
def test_wrong_usage(settings: Path, options: tuple[str, str]) -> None:
    assert script(settings, *options).exit_code == Exit.USAGE
