"""`bastide config check` on a machine that has nothing yet: every problem has a command or a setting that ends it."""

import json
import re
import sys
from pathlib import Path

import msgspec
import pytest
from typer.testing import CliRunner

from bastide.cli import config_file
from bastide.cli.exits import Exit
from bastide.cli.main import app
from bastide.config import (
    Account,
    Config,
    Corp,
    Database,
    Http,
    Keys,
    Passwords,
    Priv,
    Rights,
    Server,
    SourceDomain,
)
from bastide.directory import ldap
from bastide.directory.network import RealNetwork
from bastide.domain.errors import DirectoryUnavailable
from bastide.domain.health import Finding, Severity
from bastide.health.checks import configuration, kerberos
from bastide.health.checks.kerberos import Identity
from bastide.health.look import look, secret
from bastide.wiring import production
from tests.support.health import by_key, looking_at


def nothing_is_there(folder: Path) -> Config:
    def at(name: str) -> str:
        return str(folder / "nowhere" / name)

    return Config(
        server=Server(url="https://bastide.priv.test:8443", certificate=at("tls.crt"), key=at("tls.key")),
        database=Database(url=f"sqlite:///{folder}/nowhere/bastide.db"),
        keys=Keys(master=at("master.key"), signing=at("signing.key")),
        priv=Priv(
            domain="priv.test",
            principal="svc@PRIV.TEST",
            keytab=at("svc.keytab"),
            users_container="OU=U,DC=priv,DC=test",
            groups_container="OU=G,DC=priv,DC=test",
            preparer=Account(principal="prep@PRIV.TEST", keytab=at("prep.keytab")),
        ),
        corp=Corp(domain="corp.test"),
        rights=Rights(administrators=["A"], auditors=[], approvers=[]),
        http=Http(keytab=at("http.keytab"), priv_host="bastide.priv.test", corp_host="bastide.corp.test"),
        passwords=Passwords(
            openpgp=[at("openpgp.key")],
            keytab=at("pcns.keytab"),
            vault="sqlite://vault",
            source_domains=[SourceDomain(domain="Sales.test")],
        ),
    )


def _nobody(domain: str) -> None:
    raise DirectoryUnavailable(
        f"nobody answers for {domain}", remedy="set `controllers` beside that domain in bastide.toml"
    )


@pytest.fixture
def checked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, dict[str, str]]:
    def nobody(_network: object, question: str) -> None:
        raise OSError(f"nobody answers for {question}")

    monkeypatch.setattr(RealNetwork, "services", nobody)
    monkeypatch.setattr(ldap, "discover", lambda domain: lambda: _nobody(domain))
    monkeypatch.setattr(production, "discover", lambda domain: lambda: _nobody(domain))
    file = tmp_path / "bastide.toml"
    file.write_text(config_file.render(nothing_is_there(tmp_path)), encoding="utf-8")
    result = CliRunner().invoke(app, ["config", "check", "--config", str(file), "--json"])
    assert result.exit_code == Exit.REFUSED
    return {one["subject"]: one for one in json.loads(result.stdout)}


def test_each_problem_has_a_command_or_a_setting_as_its_remedy(checked: dict[str, dict[str, str]]) -> None:
    problems = [one for one in checked.values() if Severity(one["severity"]).is_problem]
    assert len(problems) >= 12
    names = "|".join(re.escape(path) for path in config_file.settings())
    for one in problems:
        assert re.search(rf"`[a-z][^`]* [^`]+`|\b({names})\b|`controllers`", one["remedy"]), one
        assert "Errno" not in one["text"]
        assert "docs/" not in one["remedy"]


def test_the_remedies_make_what_is_missing(checked: dict[str, dict[str, str]], tmp_path: Path) -> None:
    """Followed as they stand."""
    for name in ("keys: master", f"passwords: OpenPGP key {tmp_path}/nowhere/openpgp.key"):
        command = checked[name]["remedy"].split("`")[1].split()
        assert CliRunner().invoke(app, command[1:]).exit_code == 0
    assert {path.name for path in (tmp_path / "nowhere").iterdir()} >= {
        "master.key",
        "signing.key",
        "openpgp.key",
    }
    assert "exportkeytab svc.keytab --principal=svc@PRIV.TEST" in checked["svc@PRIV.TEST: keytab"]["remedy"]


def commands(check: dict[str, str]) -> list[tuple[str, ...]]:
    return re.findall(r"on a domain controller of (\S+) `([^`]+)` once, `([^`]+)`", check["remedy"])


def test_a_name_of_the_server_is_registered_and_exported_in_each_forest(
    checked: dict[str, dict[str, str]],
) -> None:
    """A trust of one way gives CORP no ticket for a name in PRIV."""
    assert commands(checked["http: keytab"]) == [
        (
            "priv.test",
            "samba-tool spn add HTTP/bastide.priv.test svc",
            "samba-tool domain exportkeytab http.keytab --principal=HTTP/bastide.priv.test",
        ),
        (
            "corp.test",
            "samba-tool spn add HTTP/bastide.corp.test svc-bastide-http",
            "samba-tool domain exportkeytab http.keytab --principal=HTTP/bastide.corp.test",
        ),
    ]


def test_agents_ask_for_the_name_in_their_own_domain(checked: dict[str, dict[str, str]]) -> None:
    """That is the one in CORP, not the one in the server's address."""
    assert commands(checked["passwords: keytab"]) == [
        (
            domain,
            f"samba-tool spn add PCNSCLNT/bastide.{domain.lower()} svc-bastide-pcns",
            f"samba-tool domain exportkeytab pcns.keytab --principal=PCNSCLNT/bastide.{domain.lower()}",
        )
        for domain in ("corp.test", "Sales.test")
    ]


def test_a_forest_alone_has_one_name(tmp_path: Path) -> None:
    alone = msgspec.structs.replace(nothing_is_there(tmp_path), corp=None, http=Http())
    found = by_key(kerberos.keytabs(looking_at(alone)))
    assert "add PCNSCLNT/bastide.priv.test " in found["passwords: keytab"].remedy


def test_a_keytab_that_is_a_credential_goes_where_the_unit_looks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    keytab = Identity("priv.test", "my svc@PRIV.TEST", "credential:svc.keytab").file()
    assert "exportkeytab svc.keytab --principal='my svc@PRIV.TEST'`" in keytab.remedy
    assert "put it where LoadCredential=svc.keytab of the unit looks" in keytab.remedy


def test_the_command_that_makes_a_key_works_where_others_are_already(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`bastide keys generate` overwrites nothing, and gives its own names."""

    def remedies(master: str, signing: str) -> list[str]:
        config = msgspec.structs.replace(
            nothing_is_there(tmp_path), keys=Keys(master=master, signing=signing)
        )
        return [found.remedy for found in configuration.keys(looking_at(config))]

    to = "`bastide keys generate --to"
    assert remedies(f"{tmp_path}/my keys/master.key", f"{tmp_path}/k/audit.key") == [
        f"{to} '{tmp_path}/my keys'` makes it, or set keys.master",
        f"{to} {tmp_path}/k` makes signing.key: rename it audit.key, or set keys.signing",
    ]
    (tmp_path / "signing.key").touch()
    assert remedies(f"{tmp_path}/master.key", f"{tmp_path}/k/signing.key")[0] == (
        f"{to} NEW-DIR` makes master.key: put it at {tmp_path}/master.key, or set keys.master"
    )
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path / "credentials"))
    assert remedies("credential:a", "credential:b")[1] == (
        f"{to} DIR` makes signing.key: put it where LoadCredential=b of the unit looks, or set keys.signing"
    )


@pytest.mark.parametrize(
    ("text", "remedy"),
    [
        ('[priv]\ndomani = "x"', "did you mean domain?"),
        ("[server]\nqqq = 1", "there are url, address, port"),
        ("x = 1", "there are server, database"),
        ('[server]\nport = "x"', "set server.port. The port it listens on."),
        ("[server]\ntrusted_proxies = [1]", "set server.trusted_proxies. "),
        ('[passwords]\nkeytab = "x"', "set passwords.openpgp. "),
        ("[server", "mend it, then `bastide config check` looks again"),
        ("x = " + "[" * 5000 + "]" * 5000, "mend it, then `bastide config check` looks again"),
        ("[server]\nport = " + "9" * 5000, "mend it, then `bastide config check` looks again"),
        (None, "`bastide init` makes it"),
    ],
)
def test_settings_that_cannot_be_used_say_which_and_what_it_is(
    tmp_path: Path, text: str | None, remedy: str
) -> None:
    file = tmp_path / "bastide.toml"
    if text is not None:
        file.write_text(text, encoding="utf-8")
    result = CliRunner().invoke(app, ["config", "check", "--config", str(file)])
    assert result.exit_code == Exit.REFUSED
    assert remedy in result.stderr.partition("  -> ")[2]


def test_a_file_of_another_user_is_said_to_be_so() -> None:
    def probe() -> str:
        raise PermissionError(13, "no", "/x")

    check = look("key", probe)
    assert (check.text, "config check" in check.remedy) == ("/x cannot be read by this user", True)


def test_a_library_that_is_missing_is_installed_by_a_command() -> None:
    def probe() -> str:
        raise ModuleNotFoundError("No module named 'gssapi'", name="gssapi")

    assert look("ticket", probe).remedy == f"`{sys.prefix}/bin/pip install 'bastide[ad]'`"


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (PermissionError(1, "Operation not permitted"), "operation not permitted"),
        (FileNotFoundError(2, "No such file or directory"), "no such file or directory"),
        (OSError("without a number"), "without a number"),
        (IsADirectoryError(21, "Is a directory", "/x"), "/x: is a directory"),
    ],
)
def test_an_error_without_a_file_names_none(error: OSError, said: str) -> None:
    def probe() -> str:
        raise error

    assert look("socket", probe, "do") == Finding("socket", Severity.ERROR, said, remedy="do")


def test_an_empty_file_says_what_makes_a_good_one(tmp_path: Path) -> None:
    (tmp_path / "key").touch(0o600)
    assert secret("key", str(tmp_path / "key"), "`make it`").remedy == "`make it`"


def test_answers_that_are_looked_at_as_settings_say_what_makes_settings_of_them(tmp_path: Path) -> None:
    file = tmp_path / "answers.toml"
    for answers in (
        '[priv]\ndomain = "x"\nkeytab = "/x"\n',
        '[rights]\napprovers = ["A"]\n[priv]\ndomain = "x"\n',
        "[rights]\n",
    ):
        file.write_text(answers)
        result = CliRunner().invoke(app, ["config", "check", "--config", str(file)])
        assert result.exit_code == Exit.REFUSED
        assert "`bastide init --answers FILE`" in result.stderr
