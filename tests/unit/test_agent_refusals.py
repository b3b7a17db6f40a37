"""What `run` refuses, `check` finds; and both say it in words."""

import io
import json
import os
import sys
from pathlib import Path
from typing import Any, cast

import pytest

from bastide_agent import commands, main
from bastide_agent.agent import Agent
from bastide_agent.commands import say_stop
from bastide_agent.events import JsonLog
from bastide_agent.failures import AgentError, Stop
from bastide_agent.settings import NAME, Settings, load
from bastide_agent.spool import KEY
from bastide_agent.spool_file import load_key
from tests.support.agent import ManualClock, MemoryLog
from tests.support.callers import make_anothers


def settings(folder: Path, text: str = "", mode: int = 0o644) -> Path:
    file = folder / "agent.toml"
    file.write_text(text or f'state = "{folder}/state"\nruntime = "{folder}/run"\n')
    file.chmod(mode)
    return file


class Opener:
    """Of a directory that is away."""

    def ldapi(self) -> int:
        raise AgentError("the directory does not answer")

    def close(self) -> None:
        """Nothing is open."""


@pytest.fixture
def checked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Any:
    """`check` once root's rights are given up, which a test cannot do."""
    (tmp_path / "state").mkdir()
    monkeypatch.setattr(commands, "become", lambda _settings: Opener())

    def run() -> list[str]:
        assert commands.perform("check", ["--config", str(settings(tmp_path))]) == commands.FAILED
        return capsys.readouterr().out.splitlines()

    return run


def test_check_finds_a_queue_key_that_run_refuses(tmp_path: Path, checked: Any) -> None:
    key = tmp_path / "state" / KEY
    assert f"ok    key of the queue {key}: made at the first start" in checked()
    assert not key.exists()
    load_key(key)
    assert f"ok    key of the queue {key}" in checked()
    key.chmod(0o644)
    with pytest.raises(Stop) as refused:
        load_key(key)
    said = checked()
    at = said.index(f"FAIL  key of the queue {key}: {refused.value}")
    assert f"`chmod 0600 {key}`" in said[at + 1]
    key.write_bytes(b"short")
    key.chmod(0o600)
    assert any("is no key" in line for line in checked())


def test_a_state_that_cannot_be_reached_is_a_finding(
    tmp_path: Path, checked: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def denied(_path: Path) -> bool:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "exists", denied)
    assert any("it cannot be reached: Permission denied" in line for line in checked())


@pytest.mark.parametrize("command", ["run", "check"])
def test_a_runtime_that_is_too_long_for_a_socket_is_refused_with_words(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], command: str
) -> None:
    room = 107 - len(f"/{NAME}")
    assert load(settings(tmp_path, f'runtime = "/{"r" * (room - 1)}"')).runtime
    for long in ("/" + "r" * room, "/" + "ü" * (room // 2 + 1)):
        file = settings(tmp_path, f'runtime = "{long}"')
        with pytest.raises(Stop, match="107 bytes") as refused:
            load(file)
        assert refused.value.number == 6007
    assert commands.perform(command, ["--config", str(file)]) == commands.FAILED
    said = capsys.readouterr()
    assert "`runtime` is too long" in said.out + said.err
    assert "unexpected" not in said.out + said.err


@pytest.mark.parametrize("mode", [0o666, 0o664, 0o646])
def test_settings_that_others_can_change_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], mode: int
) -> None:
    file = settings(tmp_path, mode=mode)
    assert commands.perform("check", ["--config", str(file)]) == commands.FAILED
    assert capsys.readouterr().err == (
        f"{file} can be changed by others (mode {mode:04o}): look at it, then `chmod 0644 {file}`\n"
    )
    file.chmod(0o644)
    assert load(file).state


def test_settings_of_another_user_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = settings(tmp_path)
    make_anothers(file, monkeypatch)
    with pytest.raises(Stop, match="belongs to another user"):
        load(file)


def test_a_second_agent_is_told_of_the_first(tmp_path: Path) -> None:
    """As the event that people read."""
    made = Settings(state=str(tmp_path), runtime=str(tmp_path))
    opener = cast("Any", Opener())
    first, second = (Agent(made, opener, MemoryLog(), ManualClock()) for _ in range(2))
    lock = first._take_lock()
    try:
        with pytest.raises(Stop) as refused:
            second.run()
    finally:
        os.close(lock)
    out = io.StringIO()
    say_stop(JsonLog(ManualClock(), 3, out), refused.value)
    said = json.loads(out.getvalue())
    assert said["event"] == 6013
    assert "another agent works with the queue" in said["detail"]
    assert "`systemctl stop bastide-agent`" in said["detail"]
    assert "unexpected" not in out.getvalue()


def test_help_names_only_options_that_are_taken(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert main.dispatch(["--help"]) == 0
    lines = capsys.readouterr().err.splitlines()
    assert "filter" not in lines[0]
    assert "--config" in lines[0]
    (usage,) = [line for line in lines if "bastide-agent filter" in line]
    options = [part.strip("[]") for part in usage.split() if "--" in part]
    assert [option.partition("=")[0] for option in options] == ["--when-down", "--socket"]
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"x")))
    given = [option.replace("allow|refuse", "refuse").replace("PATH", "/nowhere") for option in options]
    assert main.dispatch(["filter", *given]) == 1  # looked at, and refused: it is no good password
    assert main.dispatch(["filter", "--config", "x"]) == 64
