"""`bastide keys generate` where it cannot: each remedy says what to do instead."""

import errno
import os
from pathlib import Path

import pytest
from typer.testing import CliRunner

from bastide.cli import setup
from bastide.cli.exits import Exit, Stop
from bastide.cli.main import app
from bastide.store import keys, openpgp


def refused(*words: str) -> str:
    result = CliRunner().invoke(app, ["keys", "generate", *words])
    assert result.exit_code == Exit.REFUSED
    message, _, remedy = result.stderr.partition("  -> ")
    assert remedy
    return f"{' '.join(message.split())}|{' '.join(remedy.split())}"


def test_keys_that_are_there_are_named_and_the_way_to_others_too(tmp_path: Path) -> None:
    (tmp_path / "signing.key").write_text("x")
    message, remedy = refused("--to", str(tmp_path)).split("|")
    assert message == f"{tmp_path}/signing.key exists, and keys are never overwritten"
    assert "`bastide config check` says whether the service can use what is there" in remedy
    assert "`bastide keys generate --to DIR` makes others in another directory" in remedy
    assert "`bastide keys generate --openpgp` makes the key of password synchronization" in remedy
    assert [one.name for one in tmp_path.iterdir()] == ["signing.key"]


def test_an_openpgp_key_that_is_there_is_changed_by_one_beside_it(tmp_path: Path) -> None:
    (tmp_path / "openpgp.pgp").write_text("x")
    message, remedy = refused("--openpgp", "--to", str(tmp_path)).split("|")
    assert message == f"{tmp_path}/openpgp.pgp exists, and keys are never overwritten"
    assert "`bastide keys generate --openpgp --to DIR` makes one in another directory" in remedy
    assert "passwords.openpgp names both, the new one first" in remedy


@pytest.mark.parametrize("below", ["", "/keys"])
def test_a_file_in_the_place_of_the_directory_is_no_key(tmp_path: Path, below: str) -> None:
    (tmp_path / "taken").write_text("x")
    message, remedy = refused("--to", f"{tmp_path}/taken{below}").split("|")
    assert message == f"{tmp_path}/taken{below} cannot be a directory: a file is in its place"
    assert remedy == "`bastide keys generate --to DIR` with another directory"


def failing(number: int, name: str | None) -> OSError:
    return OSError(number, os.strerror(number), name)


@pytest.mark.parametrize(
    ("option", "module", "function"),
    [((), keys, "generate_key_files"), (("--openpgp",), openpgp, "generate_openpgp")],
)
def test_who_may_not_write_there_is_told_both_ways(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    option: tuple[str, ...],
    module: object,
    function: str,
) -> None:
    def denied(directory: Path) -> None:
        raise failing(errno.EACCES, f"{directory}/master.key")

    monkeypatch.setattr(module, function, denied)
    message, remedy = refused(*option, "--to", f"{tmp_path}/my keys").split("|")
    command = " ".join(["bastide keys generate", *option, "--to"])
    assert message == f"{tmp_path}/my keys/master.key cannot be made by this user"
    assert remedy == f"`sudo {command} '{tmp_path}/my keys'`, or `{command} DIR` with a directory of yours"


def test_another_error_of_the_disk_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: Path) -> None:
        raise failing(errno.ENOSPC, None)

    monkeypatch.setattr(keys, "generate_key_files", full)
    message, remedy = refused("--to", str(tmp_path)).split("|")
    assert message == f"{tmp_path}: no space left on device"
    assert remedy == "mend that, or `bastide keys generate --to DIR` with a directory elsewhere"


def test_init_speaks_of_its_own_option(tmp_path: Path) -> None:
    (tmp_path / "signing.pub").write_text("x")
    with pytest.raises(Stop) as stopped:
        setup.make_keys(tmp_path, "bastide init --keys")
    assert "`bastide init --keys DIR` makes others in another directory" in stopped.value.remedy
