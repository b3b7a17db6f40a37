"""`bastide init` writes settings that load, `config check` looks at them, and nothing is overwritten."""

import json
import re
import sys
import tomllib
from pathlib import Path
from typing import Any

import msgspec
import pytest
from typer.testing import CliRunner, Result

from bastide.cli import ask, config_file, exits, setup
from bastide.cli.console import Screen
from bastide.cli.exits import Exit
from bastide.cli.main import app
from bastide.clock import SystemClock
from bastide.config import (
    Account,
    Config,
    ConfigError,
    Corp,
    Database,
    Keys,
    Metrics,
    Passwords,
    Priv,
    Rights,
    SourceDomain,
    load,
    source_domains,
)
from bastide.domain.health import Category, Finding, Severity
from bastide.health import opened, registry
from bastide.health.check import Check
from bastide.health.checks import certificates, configuration, kerberos
from bastide.health.checks.kerberos import Identity
from bastide.health.look import Problem, look, secret
from bastide.store.keys import generate_key_files, load_sealer
from bastide.store.openpgp import generate_openpgp
from bastide.store.vault import SqlVault
from tests.support.health import by_key, looking_at

ANSWERS = """
[server]
url = "https://bastide.priv.example.com:8443"
certificate = "/etc/bastide/tls/server.crt"
key = "credential:server.key"

[priv]
domain = "priv.example.com"
keytab = "/etc/bastide/bastide.keytab"

[priv.preparer]
principal = "svc-bastide-prepare@PRIV.EXAMPLE.COM"
keytab = "/etc/bastide/preparer.keytab"

[corp]
domain = "corp.example.com"

[http]
keytab = "/etc/bastide/http.keytab"

[rights]
approvers = ["PRIV\\\\Bastide Approvers", 'CORP\\Team "Leads"']
"""


@pytest.fixture(autouse=True)
def quick_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    """Key files have tests of their own in the store."""

    def make(directory: Path, _: str) -> tuple[Path, ...]:
        directory.mkdir(parents=True, exist_ok=True)
        for name in ("master.key", "signing.key"):
            with (directory / name).open("x") as file:
                file.write("key")
            (directory / name).chmod(0o600)
        return (directory / "master.key", directory / "signing.key")

    monkeypatch.setattr(setup, "make_keys", make)


def init(tmp_path: Path, *options: str, answers: str = ANSWERS) -> tuple[Result, Path]:
    file, output = tmp_path / "answers.toml", tmp_path / "etc" / "bastide.toml"
    file.write_text(answers)
    arguments = ["init", "--answers", str(file), "--output", str(output), "--offline", *options]
    return CliRunner().invoke(app, arguments), output


#: Tables that init does not write.
LEFT_OUT = (
    "passwords", "oidc", "notifications", "metrics", "telemetry", "smb", "alerts", "help_desk", "intake", "monitoring", "reset",
)  # fmt: skip


def test_what_init_writes_is_loaded_field_by_field(tmp_path: Path) -> None:
    result, output = init(tmp_path)
    assert result.exit_code == 0, result.stderr
    config = load(output)
    wanted = msgspec.to_builtins(config)
    assert not any(map(wanted.pop, LEFT_OUT))
    assert tomllib.loads(output.read_text()) == wanted
    assert config.priv.principal == "svc-bastide@PRIV.EXAMPLE.COM"
    assert config.priv.users_container == "OU=Users,OU=PAM Objects,DC=priv,DC=example,DC=com"
    assert config.corp == Corp(domain="corp.example.com")
    assert config.http.priv_host == "bastide.priv.example.com"
    assert config.http.corp_host == "bastide.corp.example.com"
    assert config.rights.approvers == ["PRIV\\Bastide Approvers", 'CORP\\Team "Leads"']
    assert Path(config.keys.master).read_text() == "key"
    assert output.stat().st_mode & 0o777 == 0o644


def test_next_steps_are_printed(tmp_path: Path) -> None:
    result, output = init(tmp_path)
    for step in ("bastide db upgrade", "bastide delegation script", "systemctl enable --now bastide.service"):
        assert step in result.stdout
    assert str(output) in result.stdout


def test_next_steps_are_what_a_shell_takes(tmp_path: Path) -> None:
    (tmp_path / "my etc").mkdir()
    result, _ = init(tmp_path / "my etc")
    assert f"bastide config check --config '{tmp_path}/my etc/etc/bastide.toml'" in result.stdout


def test_nothing_is_overwritten_without_force(tmp_path: Path) -> None:
    _, output = init(tmp_path)
    output.write_text("precious")
    again, _ = init(tmp_path)
    assert again.exit_code == Exit.REFUSED
    assert "--force" in again.stderr
    assert output.read_text() == "precious"
    forced, _ = init(tmp_path, "--force")
    assert forced.exit_code == 0
    assert load(output).priv.domain == "priv.example.com"
    assert (output.parent / "keys" / "master.key").read_text() == "key"


@pytest.mark.parametrize(
    ("answers", "said"),
    [
        ("", "do not name the PRIV forest"),
        ('[priv]\ndomain = "x"\nkeytabs = "y"\n', "unknown field `keytabs`"),
        ("[priv", "answers.toml"),
        ('[priv]\ndomain = "x"\n[server]\nport = "many"\n', "port"),
        (f"{ANSWERS}[help_desk]\nset = ['Desk']\n", "help_desk needs the table [passwords]"),
        (f"{ANSWERS}[reset]\nmail = 'm'\nrules = []\n", "[reset] needs [passwords]"),
    ],
)
def test_wrong_answers_are_named(tmp_path: Path, answers: str, said: str) -> None:
    result, output = init(tmp_path, answers=answers)
    assert result.exit_code == Exit.USAGE
    assert said in result.stderr
    assert not output.parent.exists()


def test_without_a_terminal_nobody_is_asked(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["init", "--output", str(tmp_path / "bastide.toml")])
    assert result.exit_code == Exit.USAGE
    assert "--answers" in result.stderr


def test_questions_are_answered_and_looked_at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    looked: list[str] = []

    def network(domain: str) -> list[Finding]:
        looked.append(domain)
        return []

    def identity(whose: Identity, _: object) -> list[Finding]:
        looked.append(whose.principal)
        return []

    monkeypatch.setattr(ask, "line", lambda question, default="": default or _typed(question))
    monkeypatch.setattr(sys, "stdin", type("Tty", (), {"isatty": staticmethod(lambda: True)})())
    monkeypatch.setattr(opened, "first_look", network)
    monkeypatch.setattr(opened, "account", identity)
    given: dict[str, Any] = {}
    checks: list[Finding] = []
    setup._ask_all(Screen(), given, checks, offline=False)
    setup._fill(given, tmp_path / "keys")
    config = setup._convert(given)
    assert looked == [
        "priv.example.com",
        "svc-bastide@PRIV.EXAMPLE.COM",
        "svc-bastide-prepare@PRIV.EXAMPLE.COM",
        "corp.example.com",
    ]
    assert config.priv.preparer == Account(
        principal="svc-bastide-prepare@PRIV.EXAMPLE.COM", keytab="/etc/bastide/preparer.keytab"
    )
    assert config.rights.administrators == ["Bastide Administrators"]
    assert config.server.url == "https://bastide.priv.example.com:8443"
    assert [check.about for check in checks if not check.ok] == ["http.keytab", "server.key"]


def _typed(question: str) -> str:
    return "corp.example.com" if "CORP" in question else "priv.example.com"


# ------------------------------------------------------------------------------------------------------------- the file


FULL = Config(
    database=Database(url="postgresql://bastide@db1,db2/bastide", password="credential:db"),
    keys=Keys(
        master="/k/master.key", signing="/k/signing.key", trusted=["/k/old.pub"], lost=["0123456789abcdef"]
    ),
    priv=Priv(
        domain="priv.example.com",
        principal="svc",
        keytab="/k",
        controllers=["dc1.priv.example.com"],
        users_container='OU="Users" \\, Zürich,DC=priv',
        groups_container="OU=\u007fodd\tname",
        preparer=Account(principal="p", keytab="k"),
    ),
    corp=Corp(domain="corp.example.com"),
    passwords=Passwords(openpgp=["/k/new.key", "/k/old.key"], keytab="credential:pcns", event_level=3),
    rights=Rights(administrators=["A"], auditors=[], approvers=["CORP\\B 😀"]),
)


def test_every_setting_has_a_comment_and_every_comment_a_setting() -> None:
    assert set(config_file.settings()) == set(config_file.COMMENTS)


@pytest.mark.parametrize(
    "config",
    [FULL, msgspec.structs.replace(FULL, corp=None, priv=msgspec.structs.replace(FULL.priv, preparer=None))],
)
def test_render_and_load_are_inverse(config: Config, tmp_path: Path) -> None:
    file = tmp_path / "bastide.toml"
    file.write_text(config_file.render(config), encoding="utf-8")
    assert load(file) == config


def test_a_table_that_is_left_out_can_be_uncommented(tmp_path: Path) -> None:
    alone = msgspec.structs.replace(FULL.priv, preparer=None)
    server = msgspec.structs.replace(
        FULL.server, url="https://bastide.priv.example.com:8443", certificate="/c.pem", key="/k.pem"
    )
    without = msgspec.structs.replace(FULL, server=server, corp=None, passwords=None, priv=alone)
    text = config_file.render(without)
    names = "corp|priv\\.preparer|oidc|metrics|telemetry|smb|passwords|notifications|alerts|intake"
    lists = (
        "passwords\\.source_domains|notifications\\.channels|alerts\\.(?:destinations|rules)|intake\\.sources"
    )
    known = rf"^# (\[(?:{names}|\[(?:{lists})\])\])"
    blocks = [
        one
        for one in text.split("\n\n")
        if not re.search(r"^# \[", one, re.MULTILINE) or re.search(known, one, re.MULTILINE)
    ]
    tables = re.sub(known, r"\1", "\n\n".join(blocks), flags=re.MULTILINE)
    file = tmp_path / "bastide.toml"
    file.write_text(re.sub(r"^# (\w+ = )", r"\1", tables, flags=re.MULTILINE))
    assert load(file).corp == Corp(domain="corp.example.com")
    issuer = load(file).oidc
    assert issuer is not None
    assert (issuer.claim, issuer.account, issuer.forest) == ("onprem_sid", "sid", "corp")
    assert load(file).metrics == Metrics(token="/etc/bastide/metrics.token")
    assert load(file).smb is not None
    assert load(file).telemetry is not None
    assert load(file).alerts is not None
    assert load(file).intake is not None
    assert load(file).passwords == Passwords(
        openpgp=["/etc/bastide/keys/openpgp.key"],
        keytab="/etc/bastide/pcnsclnt.keytab",
        source_domains=[SourceDomain(domain="sales.example.com")],
    )


SALES = SourceDomain(domain="Sales.Example.com", controllers=["127.0.0.1"])
LAB = SourceDomain(domain="lab.test", principal="svc-ask@LAB.TEST", keytab="/etc/bastide/lab.keytab")


def with_sources(*domains: SourceDomain) -> Config:
    table = Passwords(openpgp=["/k"], keytab="/t", source_domains=list(domains))
    return msgspec.structs.replace(FULL, passwords=table)


def test_further_source_domains_are_asked_with_the_service_account_or_their_own(tmp_path: Path) -> None:
    file = tmp_path / "bastide.toml"
    file.write_text(config_file.render(with_sources(SALES, LAB)), encoding="utf-8")
    assert load(file) == with_sources(SALES, LAB)
    found = source_domains(load(file))
    assert set(found) == {"priv.example.com", "corp.example.com", "sales.example.com", "lab.test"}
    assert {name: one.principal for name, one in found.items()} == {
        "priv.example.com": FULL.priv.principal,
        "corp.example.com": FULL.priv.principal,
        "sales.example.com": FULL.priv.principal,
        "lab.test": "svc-ask@LAB.TEST",
    }
    assert found["sales.example.com"].keytab == FULL.priv.keytab
    assert found["lab.test"].keytab == "/etc/bastide/lab.keytab"
    alone = msgspec.structs.replace(FULL, corp=None, passwords=None)
    assert set(source_domains(alone)) == {"priv.example.com"}


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (SourceDomain(domain=" "), "no DNS name"),
        (SourceDomain(domain="lab.test."), "no DNS name"),
        (SourceDomain(domain="CORP.example.com"), "named twice"),
        (SourceDomain(domain="sales.example.COM"), "named twice"),
        (SourceDomain(domain="lab.test", principal="svc@LAB.TEST"), "go together"),
        (SourceDomain(domain="lab.test", keytab="/x"), "go together"),
    ],
)
def test_a_source_domain_that_cannot_be_is_refused(tmp_path: Path, wrong: SourceDomain, said: str) -> None:
    file = tmp_path / "bastide.toml"
    file.write_text(config_file.render(with_sources(SALES, wrong)), encoding="utf-8")
    with pytest.raises(ConfigError, match=said):
        load(file)


def test_further_source_domains_are_looked_at(tmp_path: Path) -> None:
    config = with_sources(SALES, LAB)
    with opened.opened(config, tmp_path / "bastide.toml", SystemClock()) as world:
        assert set(world.domains()) == {
            "priv.example.com",
            "corp.example.com",
            "sales.example.com",
            "lab.test",
        }
        found = by_key(kerberos.keytabs(world))
    assert not found["svc-ask@LAB.TEST: keytab"].ok


# ------------------------------------------------------------------------------------------------------------ the probes


def test_a_secret_that_others_may_read_is_a_problem(tmp_path: Path) -> None:
    file = tmp_path / "key"
    assert not secret("key", str(file)).ok
    file.write_text("x")
    file.chmod(0o640)
    check = secret("key", str(file))
    assert "others may read" in check.text
    assert check.remedy == f"chmod 600 {file}"
    file.chmod(0o600)
    assert secret("key", str(file)).ok
    file.write_text("")
    assert "empty" in secret("key", str(file)).text


def test_no_certificate_only_on_loopback() -> None:
    for address, ok in (("127.0.0.1", True), ("::1", True), ("localhost", True), ("0.0.0.0", False)):
        config = msgspec.structs.replace(FULL, server=msgspec.structs.replace(FULL.server, address=address))
        assert [found.ok for found in certificates.server(looking_at(config))] == [ok]


def test_config_check_names_each_problem(tmp_path: Path) -> None:
    file = tmp_path / "bastide.toml"
    file.write_text(
        config_file.render(msgspec.structs.replace(FULL, database=Database(url=f"sqlite:///{tmp_path}/x.db")))
    )
    result = CliRunner().invoke(app, ["config", "check", "--config", str(file), "--json"])
    assert result.exit_code == Exit.REFUSED
    found = {check["subject"]: check for check in json.loads(result.stdout)}
    assert found["settings"]["severity"] == "ok"
    assert found["keys: master"]["severity"] == "error"
    assert "db upgrade" in found["database"]["remedy"]


def test_what_password_synchronization_needs_is_looked_at_and_nothing_is_made(tmp_path: Path) -> None:
    generate_key_files(tmp_path)
    generate_openpgp(tmp_path)
    vault = tmp_path / "vault.db"
    table = Passwords(
        vault=f"sqlite:///{vault}", openpgp=[str(tmp_path / "openpgp.key")], keytab=str(tmp_path / "none")
    )
    keys = Keys(master=str(tmp_path / "master.key"), signing=str(tmp_path / "signing.key"))
    config = msgspec.structs.replace(FULL, keys=keys, passwords=table)
    found = by_key(configuration.passwords(looking_at(config)))
    assert found["passwords: OpenPGP"].ok
    assert not by_key(kerberos.keytabs(looking_at(config)))["passwords: keytab"].ok
    assert "is made when the service starts" in found["passwords: vault"].text
    assert not vault.exists()
    SqlVault(f"sqlite:///{vault}", load_sealer([tmp_path / "master.key"])).put({"r": bytes(32)})
    assert "1 changes" in by_key(configuration.passwords(looking_at(config)))["passwords: vault"].text
    damaged = msgspec.structs.replace(table, openpgp=[str(tmp_path / "master.key")])
    wrong = by_key(configuration.passwords(looking_at(msgspec.structs.replace(config, passwords=damaged))))
    assert not wrong["passwords: OpenPGP"].ok
    assert list(configuration.passwords(looking_at(msgspec.structs.replace(FULL, passwords=None)))) == []


def test_config_check_says_what_is_wrong_with_a_file(tmp_path: Path) -> None:
    file = tmp_path / "bastide.toml"
    file.write_text("[priv]\ndomian = 'x'\n")
    result = CliRunner().invoke(app, ["config", "check", "--config", str(file)])
    assert result.exit_code == Exit.REFUSED
    assert str(file) in result.stderr


def test_db_upgrade_and_check(tmp_path: Path) -> None:
    file = tmp_path / "bastide.toml"
    file.write_text(
        config_file.render(msgspec.structs.replace(FULL, database=Database(url=f"sqlite:///{tmp_path}/x.db")))
    )
    before = CliRunner().invoke(app, ["db", "check", "--config", str(file)])
    assert before.exit_code == Exit.UNAVAILABLE
    assert CliRunner().invoke(app, ["db", "upgrade", "--config", str(file)]).exit_code == 0
    assert CliRunner().invoke(app, ["db", "check", "--config", str(file)]).exit_code == 0
    assert (tmp_path / "x.db").stat().st_mode & 0o777 == 0o600


def test_what_looks_fails_as_a_problem_not_as_a_crash() -> None:
    def broken() -> str:
        raise Problem("no", remedy="yes")

    assert look("it", broken) == Finding("it", Severity.ERROR, "no", remedy="yes")


# ------------------------------------------------------------------------------------------------- what an operator met


def settings_with(tmp_path: Path, url: str) -> Path:
    file = tmp_path / "bastide.toml"
    alone = msgspec.structs.replace(FULL.priv, preparer=None)
    file.write_text(config_file.render(msgspec.structs.replace(FULL, priv=alone, database=Database(url=url))))
    return file


def test_a_relative_database_is_refused(tmp_path: Path) -> None:
    file = settings_with(tmp_path, "sqlite:///x.db")
    result = CliRunner().invoke(app, ["db", "upgrade", "--config", str(file)])
    assert result.exit_code == Exit.REFUSED
    assert "four slashes" in result.stderr
    assert "set database.url. " in result.stderr


def test_a_database_without_its_directory_says_what_to_run(tmp_path: Path) -> None:
    file = settings_with(tmp_path, f"sqlite:///{tmp_path}/lib/x.db")
    result = CliRunner().invoke(app, ["db", "upgrade", "--config", str(file)])
    assert result.exit_code == Exit.UNAVAILABLE
    assert f"install -d -m 0700 {tmp_path}/lib" in result.stderr


def test_the_ticket_cap_needs_no_preparer(tmp_path: Path) -> None:
    file = settings_with(tmp_path, "sqlite:////nowhere/x.db")
    arguments = ["delegation", "script", "--config", str(file), "--for", "policy"]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.stderr
    assert "msDS-AuthNPolicy" in result.stdout


def test_single_forest_mode_is_said(tmp_path: Path) -> None:
    result, _ = init(tmp_path, answers='[priv]\ndomain = "priv.example.com"\n')
    assert "single-forest mode: no [corp]" in result.stdout


def test_init_ends_with_1_after_a_problem(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def gone(_: object) -> list[Finding]:
        return [Finding("dc", Severity.ERROR, "gone")]

    check = Check(id="directory.sign-in", category=Category.DIRECTORY, subject="", why="", run=gone)
    monkeypatch.setattr(registry, "CHECKS", (check,))
    file, output = tmp_path / "answers.toml", tmp_path / "etc" / "bastide.toml"
    file.write_text(ANSWERS)
    result = CliRunner().invoke(app, ["init", "--answers", str(file), "--output", str(output)])
    assert result.exit_code == Exit.REFUSED
    assert load(output).priv.domain == "priv.example.com"


def test_a_credential_is_not_called_ok(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CREDENTIALS_DIRECTORY", raising=False)
    assert secret("key", "credential:master.key").severity is Severity.SKIPPED


def test_a_missing_extra_is_one_sentence() -> None:
    for name, extra in (("ldap", "bastide[ad]"), ("dns.resolver", "bastide[ad]"), ("psycopg", "postgres")):
        stop = exits.as_stop(ModuleNotFoundError("no", name=name))
        assert stop is not None
        assert stop.remedy.startswith(f"`{sys.prefix}/bin/pip install '")
        assert extra in stop.remedy
        assert stop.status == Exit.USAGE
    assert exits.as_stop(ModuleNotFoundError("no", name="bastide.typo")) is None


@pytest.mark.parametrize("url", ["https://[x", "https://host:many", "https://ho st\x01"])
def test_what_is_no_address_is_said(url: str) -> None:
    result = CliRunner().invoke(app, ["offers", "--server", url, "--account", "CORP\\alice"], input="x\n")
    assert result.exit_code == Exit.USAGE
    assert "is not the address of a server" in result.stderr


@pytest.mark.parametrize("account", ["alice", "CORPalice", "CORP\\", "alice@CORP.EXAMPLE"])
def test_an_account_needs_its_forest(account: str) -> None:
    result = CliRunner().invoke(app, ["offers", "--server", "https://h", "--account", account])
    assert result.exit_code == Exit.USAGE
    assert "it needs the forest in front" in result.stderr


def test_version() -> None:
    assert CliRunner().invoke(app, ["--version"]).stdout.startswith("bastide ")
