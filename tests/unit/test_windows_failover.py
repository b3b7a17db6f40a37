"""`bastide diagnose --windows`: recorded answers (tests/data/windows, none of them from Windows) through the parser, the rules and the walk; and what is never sent."""

import json
import re
import sys
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from bastide.cli.exits import Exit
from bastide.cli.main import app
from bastide.domain.errors import BadSource, TargetDenied, TargetUnavailable
from bastide.domain.failover import Question, judge, rows_of
from bastide.domain.health import Severity, first_cause
from bastide.health import windows
from bastide.health.diagnose import walk
from bastide.health.windows import SCRIPTS, PsrpNode, RecordedNode, steps
from tests.support.health import ToldNetwork

DATA = Path(__file__).parent.parent / "data" / "windows"
HOST = "node1.corp.example.com"


def answers(*cases: str) -> dict[Question, str]:
    found: dict[Question, str] = {}
    for case in ("healthy", *cases):
        said = json.loads((DATA / f"{case}.json").read_text(encoding="utf-8"))
        found |= {Question(name): text for name, text in said.items()}
    return found


def network() -> ToldNetwork:
    addresses = frozenset({"192.0.2.7"})
    return ToldNetwork(hosts={HOST: addresses, "node1": addresses}, names={"192.0.2.7": HOST})


def walked(*cases: str) -> Any:
    return [one.finding for one in walk(steps(network(), HOST, RecordedNode(answers(*cases))))]


@pytest.mark.parametrize("question", [Question.WMI, Question.NODES, Question.GROUPS, Question.LOG])
def test_what_every_cluster_has_and_this_one_does_not_name_is_not_fine(question: Question) -> None:
    assert judge(question, ()).severity is not Severity.OK


def test_a_cluster_in_good_order_has_no_cause() -> None:
    found = walked()
    assert [one.severity for one in found] == [Severity.OK] * (2 + len(Question))
    assert first_cause(found) is None


@pytest.mark.parametrize(
    ("case", "said", "remedy", "last"),
    [
        ("service-stopped", "the Cluster service (ClusSvc) is Stopped", "Start-Service ClusSvc", "services"),
        (
            "not-installed",
            "the Cluster service (ClusSvc) is not installed",
            "Install-WindowsFeature",
            "services",
        ),
        ("wmi-empty", r"root\MSCluster shows no group", "Cluster service runs", "wmi"),
        ("node-down", "1 of 2 nodes are not up", "UDP 3343", "nodes"),
        ("name-disabled", "the account of Cluster Name is disabled", "enable it", "names"),
        ("name-deleted", "Cluster Name has no account", "Repair Active Directory Object", "names"),
        ("name-dns", "DNS of Cluster Name has status 9005", "net helpmsg", "names"),
        ("resource-failed", "1 resources have failed", "event 1069", "resources"),
        ("group-failed", "1 groups are not online", "Start-ClusterGroup", "log"),
        ("events", "event 1207, 2 times", "Repair Active Directory Object", "log"),
        ("log", "1 errors in the last 2 lines", "Get-ClusterLog", "log"),
    ],
    ids=str,
)
def test_the_first_cause_is_named(case: str, said: str, remedy: str, last: str) -> None:
    """An error ends the walk; a warning is the cause only because nothing worse is found."""
    found = walked(case)
    cause = first_cause(found)
    assert cause is not None
    assert said in cause.text
    assert remedy in cause.remedy
    assert found[-1].key == last


def test_a_port_that_is_shut_ends_the_walk() -> None:
    shut = network()
    shut.shut[HOST, windows.WINRM] = "refused: nothing listens there"
    found = [one.finding for one in walk(steps(shut, HOST, RecordedNode({})))]
    assert "WinRM of node1.corp.example.com cannot be reached" in found[-1].text
    assert "5985 (WinRM): refused" in found[-1].evidence


def test_a_command_that_fails_there_says_which_right_is_needed() -> None:
    without = answers()
    del without[Question.NODES]
    found = [one.finding for one in walk(steps(network(), HOST, RecordedNode(without)))]
    assert "nodes: the command failed there" in found[-1].text
    assert "Grant-ClusterAccess" in found[-1].remedy


@pytest.mark.parametrize("text", ["{", "7", '["x"]', '[{"Name": "x"}]', "[" * 100_000], ids=lambda t: t[:9])
def test_what_cannot_be_read_is_no_health(text: str) -> None:
    with pytest.raises(BadSource, match="the answer to services cannot be read"):
        rows_of(Question.SERVICES, text)


def test_one_object_is_a_list_of_one() -> None:
    (row,) = rows_of(Question.WMI, '{"Name":"Cluster Group"}')
    assert judge(Question.WMI, [row]).severity is Severity.OK


CHANGING = re.compile(
    r"\b(Set|Stop|Start|Restart|Clear|Move|Suspend|Resume|Grant|Block|Enable|Disable|Invoke|Update|Repair|Reset|Write|Register|Add)-\w+"
)


@pytest.mark.parametrize("question", Question)
def test_nothing_that_is_asked_changes_anything(question: Question) -> None:
    """New-Item and Remove-Item are about the folder that Get-ClusterLog writes to, in the user's own temporary files."""
    script = SCRIPTS[question]
    assert not CHANGING.search(script)
    items = re.findall(r"\b(?:New|Remove|Out)-\w+ [^\n|]*", script)
    assert all("$folder" in one or one.startswith("Out-Null") for one in items)
    assert (question is Question.LOG) == bool(items)


def test_a_session_is_kerberos_sealed_and_takes_no_password(monkeypatch: pytest.MonkeyPatch) -> None:
    wsman = pytest.importorskip("pypsrp.wsman")
    given: dict[str, Any] = {}

    def made(_: object, server: str, **options: Any) -> None:
        given.update(options, server=server)
        raise ConnectionRefusedError

    monkeypatch.setattr(wsman.WSMan, "__init__", made)
    with pytest.raises(TargetUnavailable, match="does not answer over WinRM") as refused:
        PsrpNode(HOST).ask(Question.NODES)
    assert "Enable-PSRemoting" in refused.value.remedy
    assert (given["auth"], given["encryption"], given["server"]) == ("kerberos", "always", HOST)
    assert not {"username", "password"} & given.keys()
    assert given["negotiate_delegate"] is False


def test_a_ticket_that_is_refused_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    wsman, errors = pytest.importorskip("pypsrp.wsman"), pytest.importorskip("pypsrp.exceptions")

    def refuse(*_: object, **__: object) -> None:
        raise errors.AuthenticationError("said: secret-of-the-wire")

    monkeypatch.setattr(wsman.WSMan, "__init__", refuse)
    with pytest.raises(TargetDenied, match="does not let this ticket in") as refused:
        PsrpNode(HOST).ask(Question.NODES)
    assert "kinit" in refused.value.remedy
    assert "secret-of-the-wire" not in str(refused.value)


class Shell:
    """A command that ends after so many seconds; None: never."""

    ends_after: int | None = None

    def __init__(self, _: object) -> None:
        self.waited, self.output, self.had_errors = 0, ["[]"], False

    @property
    def state(self) -> int:
        from pypsrp.complex_objects import PSInvocationState

        ended = self.ends_after is not None and self.waited >= self.ends_after
        return int(PSInvocationState.COMPLETED if ended else PSInvocationState.RUNNING)

    def add_script(self, script: str) -> None: ...
    def begin_invoke(self) -> None: ...
    def poll_invoke(self, timeout: int) -> None:
        self.waited += timeout


@pytest.mark.parametrize("ends_after", [0, 15, None])
def test_a_command_that_hangs_is_given_up(monkeypatch: pytest.MonkeyPatch, ends_after: int | None) -> None:
    powershell = pytest.importorskip("pypsrp.powershell")
    monkeypatch.setattr(powershell, "PowerShell", Shell)
    monkeypatch.setattr(powershell, "RunspacePool", lambda _: nullcontext())
    monkeypatch.setattr(PsrpNode, "_connect", lambda _: nullcontext())
    monkeypatch.setattr(Shell, "ends_after", ends_after)
    if ends_after is not None:
        assert PsrpNode(HOST).ask(Question.WMI) == "[]"
        return
    with pytest.raises(TargetUnavailable, match="wmi: the command does not end there"):
        PsrpNode(HOST).ask(Question.WMI)


def test_without_the_extra_it_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [one for one in sys.modules if one.startswith("pypsrp")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "pypsrp", None)
    done = CliRunner().invoke(app, ["diagnose", "--windows", HOST])
    assert done.exit_code == Exit.USAGE
    assert "bastide[windows]" in done.stderr


def test_it_names_itself_a_preview_and_takes_one_name() -> None:
    said = CliRunner().invoke(app, ["diagnose", "--help"], env={"COLUMNS": "200"})
    assert "not verified on Windows" in said.output
    both = CliRunner().invoke(app, ["diagnose", "dc1", "--windows", HOST])
    assert both.exit_code == Exit.USAGE
    neither = CliRunner().invoke(app, ["diagnose"])
    assert neither.exit_code == Exit.USAGE
    done = CliRunner().invoke(app, ["diagnose", "--windows", "no-such-host.invalid", "--json"])
    assert done.exit_code == Exit.REFUSED
    assert "preview: not verified on Windows" in json.loads(done.stdout)["subject"]
