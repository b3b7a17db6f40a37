"""What `make demo` (tools/demo) decides by itself: which code is typed, where a password would be found, what its time-line shows. The play itself needs the lab."""

import base64
import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from tools.demo.__main__ import main as play
from tools.demo.access import SLOWNESS, STEP, Authenticator
from tools.demo.search import search, shapes
from tools.demo.stage import Stage, Timeline
from tools.demo.systems import TITLES, System, source_document

from bastide.cli import ma_document
from bastide_lab.lab import Lab
from bastide_lab.targets import Endpoint

PASSWORD = "Correct-Horse-7 ü"
CHANGES = {
    "clear": PASSWORD.encode(),
    "UTF-16": PASSWORD.encode("utf-16-le"),
    "hex": PASSWORD.encode().hex().encode(),
    "HEX": PASSWORD.encode().hex().upper().encode(),
    "base64 0": base64.b64encode(PASSWORD.encode() + b"?"),
    "base64 1": base64.b64encode(b"x" + PASSWORD.encode() + b"?"),
    "base64 2": base64.b64encode(b"xy" + PASSWORD.encode()),
    "base64 of UTF-16": base64.b64encode(b'"\0' + PASSWORD.encode("utf-16-le") + b'"\0'),
}


@pytest.mark.parametrize("left", CHANGES.values(), ids=CHANGES)
def test_a_password_is_found_in_whatever_shape(tmp_path: Path, left: bytes) -> None:
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "database").write_bytes(b"\0" * 5000 + left + b"\0" * 5000)
    (tmp_path / "empty").touch()
    found = search(tmp_path, [], shapes(PASSWORD))
    assert any(hit.startswith("deep/database (") for hit in found.hits)
    assert PASSWORD not in str(found)
    assert (found.files, found.size) == (2, 10000 + len(left))


def test_the_nt_hash_is_found(tmp_path: Path) -> None:
    """Of "Password", as every cracker knows it."""
    (tmp_path / "log").write_bytes(b"nt=a4f49c406510bdcab6824ee7c30fd852\n")
    assert search(tmp_path, [], shapes("Password")).hits == ("log (NT hash, hex)",)


def test_another_password_is_not_found(tmp_path: Path) -> None:
    (tmp_path / "log").write_bytes(b"".join(CHANGES.values()))
    assert search(tmp_path, [], shapes("Correct-Horse-8 x")).hits == ()


def test_arguments_and_environment_are_looked_at(tmp_path: Path) -> None:
    program = [sys.executable, "-c", "input('ready')", "argument-7391"]
    with subprocess.Popen(
        program, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env={"SECRET": "environment-7391"}
    ) as started:
        assert started.stdout is not None
        assert started.stdout.read(5) == b"ready"
        hits = [
            search(tmp_path, [started.pid], {"it": word}).hits
            for word in (b"argument-7391", b"environment-7391")
        ]
        gone = started
        started.communicate(b"\n")
    assert hits == [(f"/proc/{gone.pid}/cmdline (it)",), (f"/proc/{gone.pid}/environ (it)",)]
    assert search(tmp_path, [gone.pid], {"it": b"7391"}).hits == ()


@pytest.mark.parametrize("second", range(STEP))
def test_a_code_is_still_good_when_it_arrives(second: int) -> None:
    """The server takes the present one and its neighbours."""
    now = 1_800_000_000.0 + second
    code = Authenticator.earliest(now)
    assert all(abs(int(now + late) // STEP - code) <= 1 for late in range(SLOWNESS + 1))


def test_commands_are_printed_as_typed_in_the_folder_of_the_demo() -> None:
    stage = Stage(Lab(prefix="shown"))
    typed = stage.shown("bastide", "ma", "add", stage.work / "corp.toml", "--set", "a b")
    assert typed == "$ bastide ma add corp.toml --set 'a b'"


def test_the_time_line_shows_times_and_outcomes(capsys: pytest.CaptureFixture[str]) -> None:
    line = Timeline()
    line.act("ACT")
    line.do("a step", lambda: "$ command\nsaid")
    printed = capsys.readouterr().out.splitlines()
    assert printed[:2] == ["", f"{'':11}ACT"]
    assert printed[2].endswith(" s  a step")
    assert printed[3:] == [f"{'':11}$ command", f"{'':11}said"]


@pytest.mark.parametrize("name", TITLES)
def test_management_agents_are_well_formed(tmp_path: Path, name: str) -> None:
    endpoint = Endpoint(
        kind="", host="targets.example", port=1, tls_port=2, admin="", base="people", password="hidden-7391"
    )
    system = System(name, endpoint)
    text = system.document(tmp_path / "ca.crt")
    assert not any(secret in text for secret in (endpoint.password, system.secret, system.password))
    file = tmp_path / "agent.toml"
    file.write_text(text)
    document = ma_document.from_file(file)
    assert (document["name"], document["passwords"]) == (name, {"verify": True})
    assert document["settings"]["host"] == "targets.example"


def test_the_source_names_its_targets() -> None:
    source = tomllib.loads(source_document(Stage(Lab(prefix="shown"))))
    assert source["source"]["targets"] == list(TITLES)


def test_help_is_usage_and_plays_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        play(["--help"])
    assert ended.value.code == 0
    assert "usage: python -m tools.demo" in capsys.readouterr().out


def test_who_is_not_root_is_told_so_before_anything_is_installed(tmp_path: Path) -> None:
    (tmp_path / "id").write_text("#!/bin/sh\necho 1000\n")
    (tmp_path / "id").chmod(0o755)
    done = subprocess.run(
        ["make", "demo", "PYTHON=echo installing"],
        cwd=Path(__file__).parents[2],
        env={**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode != 0
    assert "needs root: sudo make demo" in done.stderr
    assert "installing" not in done.stdout
