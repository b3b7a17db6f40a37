"""`bastide cluster` on the twins: what is asked, what is printed, what is recorded, and what a refusal looks like."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace

import pytest
from typer.testing import CliRunner, Result

from bastide.cli import cluster as cluster_cli
from bastide.cli.exits import Exit
from bastide.cli.main import app
from bastide.directory.memory_alias import MemoryAliasDirectory, MemoryKeyFile, MemoryNames, MemoryProof
from bastide.domain import cluster
from bastide.domain.cluster import Alias
from bastide.domain.errors import StoreUnavailable
from bastide.domain.health import Finding
from bastide.services.cluster import looks
from bastide.services.cluster.account import AliasAccount
from bastide.services.cluster.node import AliasNode
from bastide.services.cluster.ports import Certificate
from bastide.services.cluster.recorder import AuditRecorder
from bastide.services.ports import AuditQuery, Store
from bastide.store import migrations
from bastide.store.unit_of_work import SqlStore
from bastide.wiring import cluster as wiring
from tests.support.certificates import issue
from tests.support.world import SeededRandom

DOMAIN = "priv.bastide.test"
OU = "OU=Clusters,DC=priv"
ALIAS = Alias.parse("bastide", DOMAIN)
NOW = datetime(2026, 3, 1, 9, tzinfo=UTC)
CREATE = ("create", "bastide", "--ou", OU, "--keytab", "alias.keytab")
NOWHERE = ("--config", "/nowhere/bastide.toml")
"""Without settings of a node."""


class Tools:
    """As wiring.cluster.AliasTools, in memory."""

    def __init__(self) -> None:
        self.now = NOW
        self.directory = MemoryAliasDirectory(DOMAIN, lambda: self.now, {OU: (True, True)})
        self.files: dict[Path, MemoryKeyFile] = {}
        hosts = {name: frozenset({"192.0.2.1"}) for name in (ALIAS.name, ALIAS.fqdn)}
        self.names = MemoryNames(hosts)

    def alias(self, text: str) -> Alias:
        return Alias.parse(text, DOMAIN)

    def file(self, path: Path) -> MemoryKeyFile:
        return self.files.setdefault(path, MemoryKeyFile(str(path)))

    def account(self, keytab: Path, store: Store | None) -> AliasAccount:
        return AliasAccount(
            directory=self.directory,
            keys=self.file(keytab),
            proof=MemoryProof(self.directory),
            random=SeededRandom(),
            recorder=AuditRecorder(store) if store else None,
            now=lambda: self.now,
            wait=lambda _: None,
        )

    def ahead(self, alias: Alias, certificate: Path | None) -> tuple[Finding, ...]:
        return looks.ahead(alias, self.names, self._shown(certificate), self.now)

    @staticmethod
    def _shown(certificate: Path | None) -> Certificate | None:
        return Certificate(frozenset({ALIAS.fqdn}), NOW + timedelta(days=90)) if certificate else None

    def node(self, keytab: Path, certificate: Path | None, store: Store | None) -> AliasNode:
        return AliasNode(
            directory=self.directory,
            own=self.file(keytab),
            proof=MemoryProof(self.directory),
            names=self.names,
            shown=self._shown(certificate),
            recorder=AuditRecorder(store) if store else None,
            now=lambda: self.now,
        )


@pytest.fixture
def tools(monkeypatch: pytest.MonkeyPatch) -> Tools:
    made = Tools()

    @contextmanager
    def opened(domain: str, controller: str) -> Iterator[Tools]:
        assert (domain, controller) == ("", "")
        yield made

    monkeypatch.setattr(cluster_cli, "_opened", opened)
    return made


def run(*words: str, config: tuple[str, str] = NOWHERE) -> Result:
    return CliRunner().invoke(app, ["cluster", *words, *config])


def held(tools: Tools, name: str) -> tuple[int, ...]:
    return cluster.versions(tools.file(Path(name)).read())


def test_a_dry_run_shows_all_and_changes_nothing(tools: Tools) -> None:
    done = run(*CREATE, "--dry-run")
    assert done.exit_code == Exit.OK
    assert "would make CN=bastide,OU=Clusters,DC=priv" in done.stdout
    assert "the name BASTIDE$ is free" in done.stdout
    assert (tools.directory.accounts, held(tools, "alias.keytab")) == ({}, ())


def test_a_dry_run_looks_ahead_at_dns_and_certificate_which_stop_nothing(tools: Tools) -> None:
    good = run(*CREATE, "--dry-run", "--certificate", "node.crt").stdout
    assert "bastide.priv.bastide.test" in good
    assert "WARNING" not in good
    tools.names = MemoryNames({})
    bad = run(*CREATE, "--dry-run")
    assert bad.exit_code == Exit.OK
    assert "has no address" in bad.stdout
    assert "no certificate was looked at" in bad.stdout
    assert "ERROR" not in bad.stdout
    shown = json.loads(run(*CREATE, "--dry-run", "--json").stdout)["findings"]
    assert {one["severity"] for one in shown if one["key"] == "cluster.dns"} == {"warning"}
    assert run(*CREATE, "--yes").exit_code == Exit.OK


def test_a_refusal_says_each_error_once(tools: Tools) -> None:
    tools.directory.places = {}
    tools.names = MemoryNames({})
    refused = run(*CREATE, "--dry-run")
    said = refused.stdout + refused.stderr
    assert refused.exit_code == Exit.REFUSED
    assert said.count(f"there is no {OU}") == 1
    assert "refused: 1 of what was looked at is an error, see above" in said
    assert "has no address" in said, "and what is ahead is seen as well"
    as_json = run(*CREATE, "--dry-run", "--json")
    assert f"there is no {OU}" in json.loads(as_json.stderr)["detail"]


def test_settings_that_cannot_be_read_keep_nobody_from_looking(tools: Tools, tmp_path: Path) -> None:
    broken = tmp_path / "bastide.toml"
    broken.write_text("[")
    done = run(*CREATE, "--dry-run", config=("--config", str(broken)))
    assert done.exit_code == Exit.OK
    assert tools.directory.accounts == {}


def test_a_certificate_that_cannot_be_read_is_a_warning_of_what_is_ahead(tmp_path: Path) -> None:
    tools = wiring.AliasTools(MemoryAliasDirectory(DOMAIN, lambda: NOW, {}), MemoryProof(None))  # type: ignore[arg-type]
    found = tools.ahead(Alias.parse("bastide", "priv.invalid"), tmp_path / "none.crt")
    (one,) = [finding for finding in found if finding.key == "cluster.certificate"]
    assert (one.severity.value, "cannot be read" in one.text) == ("warning", True)


def test_create_asks_does_and_says_that_nobody_recorded_it(tools: Tools) -> None:
    refused = run(*CREATE)
    assert (refused.exit_code, tools.directory.accounts) == (Exit.USAGE, {})  # no terminal, and no --yes
    done = run(*CREATE, "--yes")
    assert done.exit_code == Exit.OK
    assert "(version 2)" in done.stdout
    assert "Not recorded in an audit of Bastide: this machine has no settings of a node" in done.stderr
    assert "bastide cluster join bastide --from alias.keytab" in done.stderr
    assert held(tools, "alias.keytab") == (2,)
    (password,) = tools.directory.passwords[f"CN=bastide,{OU}"].values()
    assert password not in done.stdout + done.stderr


def test_a_refusal_shows_everything_that_is_in_the_way(tools: Tools) -> None:
    tools.directory.others[ALIAS.spns[0]] = ("CN=other",)
    tools.directory.places[OU] = (True, False)
    done = run(*CREATE, "--yes")
    assert done.exit_code == Exit.REFUSED
    assert "HTTP/bastide is held by CN=other" in done.stdout
    assert "CC;computer" in done.stdout
    told = run(*CREATE, "--yes", "--json")
    assert told.exit_code == Exit.REFUSED
    wrong = {one["key"] for one in json.loads(told.stdout) if one["severity"] == "error"}
    assert wrong == {"cluster.spn", "cluster.ou-create"}
    assert json.loads(told.stderr)["code"] == "conflict"


def test_join_status_and_leave(tools: Tools) -> None:
    run(*CREATE, "--yes")
    node = ("--keytab", "http.keytab")
    assert "name it with --keytab" in run("join", "bastide", "--from", "alias.keytab").stderr
    shown = (*node, "--certificate", "server.crt")
    assert run("join", "bastide", "--from", "alias.keytab", *shown, "--dry-run").exit_code == Exit.OK
    assert held(tools, "http.keytab") == ()
    joined = run("join", "bastide", "--from", "alias.keytab", *shown)
    assert joined.exit_code == Exit.OK
    assert "answers under the alias" in joined.stdout
    assert held(tools, "http.keytab") == (2,)
    assert run("status", "bastide", *shown).exit_code == Exit.OK
    both = run("status", "bastide", *node, "--keytab", "other.keytab", "--json")
    assert both.exit_code == Exit.REFUSED
    assert [one["severity"] for one in json.loads(both.stdout) if one["key"] == "cluster.keytab"] == [
        "ok",
        "error",
    ]
    assert run("leave", "bastide", *node).exit_code == Exit.USAGE
    assert run("leave", "bastide", *node, "--yes").exit_code == Exit.OK
    assert held(tools, "http.keytab") == ()


def test_a_rotation_says_what_a_late_node_does(tools: Tools) -> None:
    run(*CREATE, "--yes")
    rotate = ("rotate", "bastide", "--keytab", "alias.keytab")
    assert "would give" in run(*rotate, "--dry-run").stdout
    assert held(tools, "alias.keytab") == (2,)
    done = run(*rotate, "--yes")
    assert done.exit_code == Exit.OK
    assert "refuses those bought from now on" in done.stderr
    assert held(tools, "alias.keytab") == (2, 3)
    early = run(*rotate, "--prune")
    assert early.exit_code == Exit.REFUSED
    assert "may still be open" in early.stderr
    assert run(*rotate, "--prune", "--dry-run").exit_code == Exit.USAGE
    tools.now += timedelta(hours=3)
    assert "removed version 2" in run(*rotate, "--prune", "--ticket-life", "2h").stdout
    assert held(tools, "alias.keytab") == (3,)
    assert "has no older key" in run(*rotate, "--prune", "--ticket-life", "0").stdout


@pytest.fixture
def node(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[tuple[str, str], SqlStore]:
    """A machine with settings and a database."""
    url = f"sqlite:///{tmp_path}/bastide.db"
    migrations.upgrade(url)
    store = SqlStore(url)
    file = tmp_path / "bastide.toml"
    file.write_text(
        f"""
        [database]
        url = "{url}"
        [keys]
        master = "{tmp_path}/master.key"
        signing = "{tmp_path}/signing.key"
        [priv]
        domain = "{DOMAIN}"
        principal = "svc"
        keytab = "svc.keytab"
        users_container = "OU=U"
        groups_container = "OU=G"
        [http]
        keytab = "http.keytab"
        [rights]
        administrators = []
        auditors = []
        approvers = []
        """
    )

    @contextmanager
    def services(path: Path) -> Iterator[SimpleNamespace]:
        assert path == file
        yield SimpleNamespace(store=store)

    monkeypatch.setattr("bastide.cli.server.open_services", services)
    return ("--config", str(file)), store


def kinds(store: SqlStore) -> list[tuple[str, str, str]]:
    with store.read() as uow:
        return [
            (record.kind, record.actor_name, record.subject_name) for record in uow.audit.read(AuditQuery())
        ]


def test_on_a_node_it_is_recorded(tools: Tools, node: tuple[tuple[str, str], SqlStore]) -> None:
    config, store = node
    done = run(*CREATE, "--yes", config=config)
    assert done.exit_code == Exit.OK
    assert "Not recorded" not in done.stderr
    run("join", "bastide", "--from", "alias.keytab", config=config)
    assert held(tools, "http.keytab") == (2,)  # http.keytab of the settings
    said = [
        (kind, "Administrator", ALIAS.fqdn) for kind in ("cluster.asked", "cluster.created", "cluster.joined")
    ]
    assert kinds(store) == said


def test_offline_is_not_and_says_so(tools: Tools, node: tuple[tuple[str, str], SqlStore]) -> None:
    config, store = node
    done = run(*CREATE, "--yes", "--offline", config=config)
    assert done.exit_code == Exit.OK
    assert "--offline was said" in done.stderr
    assert kinds(store) == []
    assert tools.directory.accounts


def test_a_keytab_that_is_a_copy_is_not_written_to(
    tools: Tools, node: tuple[tuple[str, str], SqlStore]
) -> None:
    config, _ = node
    file = Path(config[1])
    file.write_text(file.read_text().replace('"http.keytab"', '"credential:http.keytab"'))
    done = run("leave", "bastide", "--yes", config=config)
    assert (done.exit_code, "LoadCredential" in done.stderr) == (Exit.USAGE, True)
    assert tools.files == {}


def test_the_names_of_a_certificate(tmp_path: Path) -> None:
    shown = wiring.read_certificate(issue(tmp_path, "server", "Bastide.priv.bastide.test").certificate)
    assert shown.names == {"bastide.priv.bastide.test"}
    assert shown.ends > NOW
    for path, said in ((tmp_path / "none.crt", "no such file"), (Path(__file__), "no certificate in PEM")):
        with pytest.raises(StoreUnavailable, match=said):
            wiring.read_certificate(path)
