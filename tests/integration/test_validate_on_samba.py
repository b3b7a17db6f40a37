"""`bastide validate` and `bastide diagnose` on the lab: a good world has no error, and each fault makes its own finding and no other.

A report of the good world is taken once; after each fault the next one is compared with it (`--since`), so that nothing else may have moved.
"""

import json
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest

from bastide.domain.health import Category, Change, Move, Report, Result, Severity, compare
from bastide.health import report as kept
from bastide.store import keys, migrations
from bastide_lab.lab import Lab
from tests.support.certificates import issue
from tests.support.clocks import off_by
from tests.support.directory_lab import CORP, GROUPS, PRIV, USERS, DirectoryLab

pytest_plugins = ["tests.support.lab", "tests.support.directory_fixtures"]
pytestmark = pytest.mark.lab

SECOND = f"privdc2.{PRIV}"
CONTROLLERS = (f"privdc.{PRIV}", SECOND, f"corpdc.{CORP}")
CHANGES = tuple[tuple[Move, str, str], ...]


class Node:
    """The server's host, with settings of its own."""

    def __init__(self, lab: Lab, work: Path) -> None:
        self.lab, self.work = lab, work
        self.keytab = work / "svc.keytab"
        lab.keytab("priv", ["svc-bastide"], self.keytab)
        keys.generate_key_files(work)
        migrations.upgrade(f"sqlite:///{work}/bastide.db")
        self.use(lab.site.tls / "server.crt", lab.site.tls / "server.key")

    @property
    def settings(self) -> Path:
        return self.work / "bastide.toml"

    def use(self, certificate: Path, key: Path) -> None:
        self.settings.write_text(f"""
[server]
url = "https://bastide.{PRIV}:8443"
certificate = "{certificate}"
key = "{key}"
[database]
url = "sqlite:///{self.work}/bastide.db"
[logs]
folder = "{self.work}/logs"
[keys]
master = "{self.work}/master.key"
signing = "{self.work}/signing.key"
[priv]
domain = "{PRIV}"
principal = "svc-bastide@{self.lab.realm("priv")}"
keytab = "{self.keytab}"
users_container = "{USERS}"
groups_container = "{GROUPS}"
[corp]
domain = "{CORP}"
[rights]
administrators = ["Bastide Administrators"]
auditors = ["Bastide Auditors"]
approvers = ["Bastide Approvers"]
""")

    def run(self, *words: str, env: Mapping[str, str] | None = None) -> subprocess.CompletedProcess[str]:
        program = [sys.executable, "-m", "bastide.cli.main", *words, "--config", str(self.settings)]
        return self.lab.exec("bastide", program, env=env, timeout=120)

    def validate(self, env: Mapping[str, str] | None = None) -> Report:
        done = self.run("validate", "--json", "--reports", str(self.work / "reports"), env=env)
        assert "Traceback" not in done.stderr, done.stderr
        found = kept.from_json(done.stdout)
        assert done.returncode == (1 if found.failed else 0), done.stderr
        return found


@pytest.fixture(scope="module")
def node(directory_lab: DirectoryLab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    """Where the controllers have reverse records, in the place of a reverse zone: the lab has none."""
    lab = directory_lab.lab
    with hosts(lab, *(f"{lab.address(name.partition('.')[0])} {name}" for name in CONTROLLERS)):
        yield Node(lab, tmp_path_factory.mktemp("validate"))


@contextmanager
def hosts(lab: Lab, *lines: str, without: str = "") -> Iterator[None]:
    """More lines in the /etc/hosts of the server's host; or without those that hold a word."""
    file = Path("/etc/netns") / lab.namespace("bastide") / "hosts"
    before = file.read_text()
    have = [line for line in before.splitlines() if not without or without not in line]
    file.write_text("\n".join([*have, *lines, ""]))
    try:
        yield
    finally:
        file.write_text(before)


@pytest.fixture(scope="module")
def good(node: Node) -> Report:
    return node.validate()


def changed(before: Report, after: Report) -> CHANGES:
    return tuple(sorted(map(told, compare(before, after))))


def told(change: Change) -> tuple[Move, str, str]:
    return change.move, change.shown.check, change.shown.subject


def unseen(*subjects: str) -> CHANGES:
    """What cannot be said of a controller that cannot be asked."""
    return tuple(
        (Move.UNKNOWN, check, subject)
        for check in ("directory.sign-in", "time.controllers")
        for subject in subjects
    )


def but_accounts(results: Iterable[Result]) -> list[Result]:
    """The lab's own administrators are as Samba makes them: the baseline has a lot to say of them."""
    return [one for one in results if one.check != "directory.baseline"]


def errors(report: Report) -> list[Result]:
    return [one for one in but_accounts(report.results) if one.severity.is_error]


def test_a_good_world_has_no_error(node: Node, good: Report) -> None:
    assert not errors(good)
    assert any("Administrator@" in one.subject for one in good.problems if one.check == "directory.baseline")
    assert {(one.check, one.subject) for one in but_accounts(good.problems)} == {
        ("directory.rights", "PRIV rights.user"),
        ("recovery.break-glass", "break-glass"),
        ("directory.rights", "PRIV rights.group"),
        ("directory.rights", "CORP rights.group"),
        ("trust.both-sides", "trust.sid-filtering"),
        ("service.listening", "API and portal"),
        ("recovery.backups", "backups"),
    }
    assert {one.category for one in good.results} == set(Category)
    for name in CONTROLLERS:
        done = node.run("diagnose", name, "--json")
        assert done.returncode == 0, done.stdout
        steps = [step["step"] for step in json.loads(done.stdout)["steps"]]
        assert steps == ["name", "service", "question", "clock", "firewall", "stale state", "performance"]


def test_a_controller_that_is_stopped(node: Node, good: Report) -> None:
    node.lab.stop_dc("privdc2")
    try:
        after = node.validate()
        done = node.run("diagnose", "privdc2", "--json")
    finally:
        node.lab.start_dc("privdc2")
    assert changed(good, after) == tuple(sorted(((Move.WORSE, "ports.controllers", SECOND), *unseen(SECOND))))
    (found,) = errors(after)
    assert "389 LDAP refused" in found.evidence
    assert done.returncode == 1
    assert json.loads(done.stdout)["cause"] == f"{SECOND} is up, and its service is not: port 88, 389 refused"


def standings(node: Node) -> dict[str, str]:
    """What `--recovery` says of each step."""
    return {
        one["step"]: one["standing"]
        for one in json.loads(node.run("validate", "--recovery", "--json").stdout)
    }


def test_after_an_outage_the_next_step_is_named(node: Node) -> None:
    """Controllers and database are there, and nothing listens here: the node is what is to be started next."""
    found = standings(node)
    assert [name for name, standing in found.items() if standing == "next"] == ["one Bastide node"]
    assert list(found.values())[:4] == ["done"] * 4


@contextmanager
def dropped(lab: Lab, host: str, port: int) -> Iterator[None]:
    """What the host answers from that port to the server goes nowhere, as with a firewall that drops."""
    rule = ["ipproto", "tcp", "sport", str(port), "to", lab.address("bastide"), "blackhole"]
    command = ["ip", "-n", lab.namespace(host), "rule"]
    subprocess.run([*command, "add", *rule], check=True)
    try:
        yield
    finally:
        subprocess.run([*command, "del", *rule], check=True)


def test_a_firewall_that_drops_one_port(node: Node, good: Report) -> None:
    with dropped(node.lab, "privdc2", 464):
        after = node.validate()
        done = node.run("diagnose", SECOND, "--json")
    assert changed(good, after) == ((Move.WORSE, "ports.controllers", SECOND),)
    (found,) = errors(after)
    assert found.evidence == "464 Kerberos password timed out: a firewall drops it, or the host is down"
    answer = json.loads(done.stdout)
    assert [step["step"] for step in answer["steps"] if step["severity"] == "error"] == ["firewall"]


def test_a_host_that_is_cut_off_is_told_from_a_service_that_is_not_there(node: Node) -> None:
    node.lab.cut("privdc2")
    try:
        done = node.run("diagnose", "privdc2", "--json")
    finally:
        node.lab.mend("privdc2")
    assert json.loads(done.stdout)["cause"] == f"{SECOND} does not answer at all: it is down, or cut off"


def test_a_clock_that_is_wrong(node: Node, good: Report) -> None:
    after = node.validate(env=off_by(10))
    wrong = {told(one) for one in compare(good, after) if one.move is not Move.UNKNOWN}
    assert wrong == {(Move.WORSE, "time.controllers", name) for name in CONTROLLERS}
    assert {one.check for one in after.results if one.severity.is_error} == {"time.controllers"}


def test_a_certificate_that_is_over(node: Node, good: Report, tmp_path: Path) -> None:
    pair = issue(tmp_path, "over", f"bastide.{PRIV}", ended=True)
    node.use(pair.certificate, pair.key)
    try:
        after = node.validate()
    finally:
        node.use(node.lab.site.tls / "server.crt", node.lab.site.tls / "server.key")
    worse = {told(one) for one in compare(good, after) if one.shown.severity.is_problem}
    assert worse == {(Move.WORSE, "certificates.server", "server: certificate")}
    assert after.worst is Severity.CRITICAL


def test_a_reverse_record_that_is_missing(node: Node, good: Report) -> None:
    with hosts(node.lab, without=SECOND):
        after = node.validate()
    assert changed(good, after) == ((Move.WORSE, "dns.names", SECOND),)
    (found,) = [one for one in after.results if one.check == "dns.names" and one.severity.is_problem]
    assert "reverse record" in found.text


def test_reports_are_kept_for_their_owner_alone(node: Node, good: Report) -> None:
    folder = node.work / "reports"
    assert folder.stat().st_mode & 0o777 == 0o700
    files = list(folder.iterdir())
    assert {file.suffix for file in files} == {".json", ".html"}
    assert {file.stat().st_mode & 0o777 for file in files} == {0o600}
    assert kept.read(min(file for file in files if file.suffix == ".json")).results == good.results
