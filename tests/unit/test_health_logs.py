"""The check of a node's log files."""

import logging
import os
import stat
from pathlib import Path

import msgspec
import pytest

from bastide.config import Logs
from bastide.domain.health import Finding, Severity
from bastide.health.checks import logs
from bastide.journal.files import open_files
from tests.support.health import MINIMAL, by_key, looking_at

MIB = 1 << 20


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """As a service leaves it: one file in use, one full."""
    made = tmp_path / "logs"
    handler = open_files(made, "n1", "serve", 8)
    assert handler is not None
    handler.emit(logging.LogRecord("bastide", logging.INFO, "", 0, "it began", (), None))
    handler.close()
    (made / "n1.serve.jsonl.1").write_bytes(b"x" * MIB)
    (made / "n1.serve.jsonl.1").chmod(0o600)
    return made


def found(folder: Path | str, megabytes: int = 8) -> dict[str, Finding]:
    config = msgspec.structs.replace(MINIMAL, logs=Logs(folder=str(folder), megabytes=megabytes))
    return by_key(logs.files(looking_at(config)))


def test_what_the_service_made_is_good_and_stays_as_it_is(folder: Path) -> None:
    before = {one: one.stat() for one in (folder, *folder.iterdir())}
    said = found(folder)
    assert {one.severity for one in said.values()} == {Severity.OK}
    assert said["n1.serve.jsonl"].text == "n1.serve.jsonl and the full files before it hold 1 MiB of 8"
    assert "2 log files, for their owner alone" in said[f"files in {folder}"].text
    assert {one: one.stat() for one in (folder, *folder.iterdir())} == before


def test_no_files_are_wanted() -> None:
    (said,) = found("").values()
    assert (said.severity, "logs.folder is empty" in said.text) == (Severity.SKIPPED, True)


def test_a_folder_that_the_service_can_make_and_one_that_it_cannot(tmp_path: Path) -> None:
    (later,) = found(tmp_path / "logs").values()
    assert (later.severity, "makes it when it starts" in later.text) == (Severity.SKIPPED, True)
    (never,) = found(tmp_path / "no" / "logs").values()
    assert (never.severity, "standard error alone" in never.text) == (Severity.WARNING, True)
    assert f"install -d -m 0700 -o USER {tmp_path}/no/logs" in never.remedy
    assert list(tmp_path.iterdir()) == []


def test_a_file_in_the_place_of_the_folder(tmp_path: Path) -> None:
    (tmp_path / "logs").touch()
    (said,) = found(tmp_path / "logs").values()
    assert (said.severity, "is no folder" in said.text) == (Severity.WARNING, True)


@pytest.mark.parametrize("mode", [0o755, 0o710, 0o720])
def test_a_folder_that_others_may_use(folder: Path, mode: int) -> None:
    folder.chmod(mode)
    said = found(folder)[str(folder)]
    assert (said.severity, said.remedy) == (Severity.ERROR, f"chmod 0700 {folder}")


def test_files_that_others_may_read_are_told_together(folder: Path) -> None:
    for number in range(2, 9):
        (folder / f"n1.serve.jsonl.{number}").touch(0o600)
        (folder / f"n1.serve.jsonl.{number}").chmod(0o640)
    said = found(folder)[f"files in {folder}"]
    assert (said.severity, said.remedy) == (Severity.ERROR, f"chmod go= {folder}/*")
    assert "7 of 9 log files" in said.text
    assert said.evidence.endswith("n1.serve.jsonl.6 and 2 more")


def test_a_file_that_the_service_could_not_go_on_in(folder: Path) -> None:
    (folder / "n1.worker.jsonl").symlink_to("/dev/null")
    said = found(folder)[f"owner of {folder}"]
    assert (said.severity, said.evidence) == (Severity.ERROR, "n1.worker.jsonl")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_a_file_that_root_made_by_hand(folder: Path) -> None:
    for one in (folder, *folder.iterdir()):
        os.chown(one, 12345, 12345)
    assert found(folder)[f"owner of {folder}"].ok
    (folder / "n2.serve.jsonl").touch(0o600)
    said = found(folder)[f"owner of {folder}"]
    assert (said.severity, said.evidence) == (Severity.ERROR, "n2.serve.jsonl")
    assert "chown" in said.remedy


def test_who_asks_is_not_who_owns_it(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.geteuid", lambda: folder.stat().st_uid + 4711)
    said = found(folder)[f"owner of {folder}"]
    assert (said.severity, "ask as the service's user" in said.remedy) == (Severity.WARNING, True)


def test_more_than_the_settings_allow(folder: Path) -> None:
    (folder / "n1.serve.jsonl.9").write_bytes(b"x" * 3 * MIB)
    said = found(folder, megabytes=2)["n1.serve.jsonl"]
    assert (said.severity, "4 MiB of 2: the oldest do not go" in said.text) == (Severity.WARNING, True)


def test_room_to_grow() -> None:
    little = logs.judge_room(Path("/x/logs"), 10 * MIB, 32 * MIB)
    assert (little.severity, "10 MiB left; log files may grow by 32" in little.text) == (
        Severity.WARNING,
        True,
    )
    assert logs.judge_room(Path("/x/logs"), 64 * MIB, 32 * MIB).severity is Severity.OK


def test_files_of_somebody_else_are_no_log_files(folder: Path) -> None:
    (folder / "notes.txt").touch(0o666)
    mode = stat.S_IMODE((folder / "notes.txt").stat().st_mode)
    assert mode & stat.S_IROTH
    assert found(folder)[f"files in {folder}"].ok
