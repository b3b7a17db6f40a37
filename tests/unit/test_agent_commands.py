"""`bastide-agent check` and `status`, for the person who types them: one sentence each, and what to do, on which side."""

import re
import subprocess
import sys
from pathlib import Path
from typing import Any, cast
from uuid import UUID

import pytest

from bastide.pcns import Target
from bastide.wire import WireError
from bastide_agent import commands, remedies
from bastide_agent.agent import keytab
from bastide_agent.channel import GssChannel
from bastide_agent.failures import (
    AgentError,
    HungUp,
    NoKeytab,
    Refused,
    SealBroken,
    Stop,
    Unreachable,
    Unusable,
)
from bastide_agent.privileges import NotOpened, Thing

TARGET = Target(
    name="Bastide",
    guid=UUID(int=1),
    server="bastide.corp.test",
    spn="PCNSCLNT/bastide.corp.test",
    inclusion="",
)


class Broken:
    """A connector that fails so."""

    def __init__(self, error: Exception) -> None:
        self._error = error

    def connect(self, target: Target) -> GssChannel:
        assert target == TARGET
        raise self._error


@pytest.mark.parametrize(
    ("error", "side", "said"),
    [
        (HungUp("the target hung up"), "on the server: ", "6915"),
        (Unreachable("bastide.corp.test:8446 does not answer"), "on this controller: ", "`nc -vz bastide.corp.test 8446`"),
        (NoKeytab("no ticket without the machine account's keytab"), "on this controller, as root: ", "`klist -k secrets.keytab`"),
        (Refused("turned away: no controller"), "on the server: ", "6914: dc1 is no controller"),
        (Refused("turned away: later", 60), "on the server: ", "then try again"),
        (Unusable("the server is neither"), "in the directory: ", "`bastide pcns target edit Bastide`"),
        (SealBroken("Kerberos cannot authenticate"), "Kerberos, on both sides: ", "PCNSCLNT/bastide.corp.test"),
        (WireError("another language"), "on the server: ", "same version"),
        (AgentError("keytab could not be opened"), "on this controller: ", "samba"),
    ],
    ids=lambda one: type(one).__name__ if isinstance(one, Exception) else "",
)  # fmt: skip
def test_a_target_that_is_not_reached_has_a_next_step_and_its_side(
    capsys: pytest.CaptureFixture[str], error: Exception, side: str, said: str
) -> None:
    findings = commands._Findings()
    findings.reach(TARGET, Broken(error), "dc1")
    problem, remedy = capsys.readouterr().out.splitlines()
    assert problem == f"FAIL  target Bastide at bastide.corp.test: {error}"
    assert remedy.startswith(f"      -> {side}")
    assert said in remedy
    assert findings.bad == 1


def test_an_error_that_nobody_foresaw_is_one_finding_and_shows_no_value(
    capsys: pytest.CaptureFixture[str],
) -> None:
    findings = commands._Findings()
    findings.reach(TARGET, Broken(UnicodeError("CANARY")), "dc1")
    problem, remedy = capsys.readouterr().out.splitlines()
    assert problem.startswith(
        "FAIL  target Bastide at bastide.corp.test: UnicodeError at test_agent_commands.py:"
    )
    assert "CANARY" not in problem
    assert "a defect of Bastide" in remedy
    assert findings.bad == 1


class Closed:
    """An opener that opens nothing."""

    def __init__(self, error: Exception) -> None:
        self._error = error

    def open(self, thing: object) -> int:
        assert thing is Thing.KEYTAB
        raise self._error

    def close(self) -> None:
        """Nothing is open."""


@pytest.mark.parametrize(
    "error",
    [
        NotOpened("keytab could not be opened: No such file or directory"),
        OSError(5, "No such file or directory"),
    ],
)
def test_a_controller_without_its_keytab_is_not_told_to_look_at_the_network(error: Exception) -> None:
    """Not that the target does not answer: nobody asked it."""
    with pytest.raises(NoKeytab, match=r"machine account's keytab: .*No such file or directory") as raised:
        keytab(cast("Any", Closed(error)))
    remedy = remedies.of_target(raised.value, TARGET, "dc1")
    assert "`samba.private`" in remedy
    assert "nc -vz" not in remedy


def test_a_directory_that_cannot_be_made_is_one_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Here a file is in its way; `drop` must come no further than that."""

    def too_far(_groups: object) -> None:
        raise AssertionError

    (tmp_path / "file").touch()
    settings = tmp_path / "agent.toml"
    settings.write_text(f'user = "nobody"\nstate = "{tmp_path}/file/state"\nruntime = "{tmp_path}/run"')
    monkeypatch.setattr(commands, "close_memory", lambda: None)
    monkeypatch.setattr(commands, "split_off", lambda _paths: Closed(OSError()))
    monkeypatch.setattr("os.geteuid", lambda: 0)
    monkeypatch.setattr("os.setgroups", too_far)
    assert commands.perform("check", ["--config", str(settings)]) == commands.FAILED
    said = capsys.readouterr().err
    assert said.startswith(
        f"the directory {tmp_path}/file/state cannot be made for nobody: Not a directory\n"
    )
    assert "  -> mend it" in said


def test_a_port_of_its_own_is_tried(capsys: pytest.CaptureFixture[str]) -> None:
    target = Target(name="x", guid=UUID(int=1), server="h.test:99", spn="PCNSCLNT/h.test", inclusion="")
    assert "`nc -vz h.test 99`" in remedies.of_target(Unreachable("no"), target, "dc1")


def test_what_is_well_has_no_remedy(capsys: pytest.CaptureFixture[str]) -> None:
    findings = commands._Findings()
    findings.tell("the key")
    assert (capsys.readouterr().out, findings.bad) == ("ok    the key\n", 0)


@pytest.mark.parametrize("command", ["check", "status"])
@pytest.mark.parametrize(
    ("content", "sentence"),
    [(None, "does not exist"), ("x = 1", "unknown field `x`"), ("x = ", "Invalid value")],
)
def test_settings_that_cannot_be_used_are_one_sentence_and_a_remedy(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], command: str, content: str | None, sentence: str
) -> None:
    file = tmp_path / "agent.toml"
    if content is not None:
        file.write_text(content)
    assert commands.perform(command, ["--config", str(file)]) == commands.FAILED
    first, second = capsys.readouterr().err.splitlines()
    assert first.startswith(f"{file}")
    assert sentence in first
    assert "{" not in first + second
    assert second.startswith("  -> mend it, or name another with --config")


def test_the_service_says_the_same_as_an_event(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The journal is read by programs."""
    assert commands.perform("run", ["--config", str(tmp_path / "none.toml")]) == commands.FAILED
    assert '"event": 6006' in capsys.readouterr().err


def test_who_may_not_is_told_who_may(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "agent.toml"
    file.write_text("")
    monkeypatch.setattr(commands, "close_memory", lambda: None)
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    assert commands.perform("check", ["--config", str(file)]) == commands.FAILED
    assert capsys.readouterr().err.startswith("start it as root: ")


def test_an_agent_that_does_not_run_says_how_to_find_out(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "agent.toml"
    file.write_text(f'runtime = "{tmp_path}"')
    assert commands.perform("status", ["--config", str(file)]) == commands.FAILED
    first, second = capsys.readouterr().err.splitlines()
    assert first == "the agent does not answer (FileNotFoundError)"
    assert "`systemctl status bastide-agent`" in second


def test_each_stop_and_finding_leads_on() -> None:
    """A command to type, wherever there is one."""
    shown = [
        remedies.of_stop(Stop(6000, "none")),
        remedies.of_stop(Stop(6029, "51")),
        remedies.of_configuration(there=True),
        remedies.of_configuration(there=False),
        remedies.of_nobody(any_target=True),
        remedies.of_nobody(any_target=False),
        remedies.of_key(),
        remedies.of_directory(),
    ]
    for remedy in shown:
        assert re.search(r"`[a-z][a-z-]+ [^`]+`", remedy), remedy
    assert "writable" in remedies.of_stop(Stop(6026, "no"))
    assert remedies.of_stop(Stop(6007, "there is no user x: useradd --system x")) == ""


def test_a_reader_that_has_gone_is_no_traceback() -> None:
    """`bastide-agent check | head -1`."""
    program = (
        "import sys; from bastide_agent import main\n"
        "def talk(_): sys.stdout.write('x' * 100000)\n"
        "main.dispatch = talk; sys.exit(main.main())"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as talking:
        assert talking.stdout is not None
        assert talking.stderr is not None
        talking.stdout.close()
        said = talking.stderr.read()
    assert (talking.returncode, said) == (1, "")
