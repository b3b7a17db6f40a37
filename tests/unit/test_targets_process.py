"""Programs as connected systems: which are run, what they get to see, and what becomes of one that misbehaves."""

import json
import os
import time
from pathlib import Path

import pytest

from bastide.domain.errors import BadSource, CapabilityMissing, InvalidInput, TargetDenied, TargetUnavailable
from bastide.domain.passwords import Code, Proof
from bastide.services.passwords.ports import NewPassword, Result, Security
from bastide.targets.kinds import read_settings
from bastide.targets.process import ProcessConnector, ProcessSettings, ProcessTarget
from bastide.targets.process_child import Child, check_program
from tests.support.callers import make_anothers
from tests.support.target_systems import cs_object, install_program, opening, process_signs_in, process_target

OWNERS = {0, os.geteuid()}
GOOD = "Correct-Horse-Battery-1"
FIRST, SECOND = cs_object("first"), cs_object("second")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    install_program(tmp_path)
    return tmp_path


# -------------------------------------------------------------------------------------------------- (1) whether it is run


def refusal(path: Path | str) -> str:
    with pytest.raises(TargetDenied) as refused:
        check_program(str(path), OWNERS)
    return refused.value.message


def test_a_program_that_others_may_write_is_not_run(folder: Path) -> None:
    program = folder / "program"
    check_program(str(program), OWNERS)
    for mode in (0o775, 0o757):
        program.chmod(mode)
        assert "nobody else may write it" in refusal(program)
    program.chmod(0o755)
    folder.chmod(0o777)
    assert str(folder) in refusal(program)
    folder.chmod(0o1777)
    check_program(str(program), OWNERS)


def test_a_program_of_somebody_else_is_not_run(folder: Path) -> None:
    with pytest.raises(TargetDenied, match="must belong to root"):
        check_program(str(folder / "program"), {12345})


def test_root_alone_owns_what_is_run(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where it is run by the one whose it is."""
    check_program(str(Path("/usr/bin/env").resolve()))
    make_anothers(folder / "program", monkeypatch)
    with pytest.raises(TargetDenied, match="must belong to root"):
        check_program(str(folder / "program"))


def test_links_relative_paths_directories_and_texts_are_not_run(folder: Path) -> None:
    link = folder / "link"
    link.symlink_to(folder / "program")
    assert "without links" in refusal(link)
    assert "without links" in refusal(f"{folder}/../{folder.name}/program")
    assert "full path" in refusal("program")
    assert "no program" in refusal(folder)
    assert "no program" in refusal(folder / "accounts.json")
    assert "No such file" in refusal(folder / "nothing")


def test_it_is_asked_before_each_start(folder: Path) -> None:
    target = process_target(folder)
    with target:
        pass
    (folder / "program").chmod(0o777)
    with pytest.raises(TargetDenied), target:
        pytest.fail("it was started")


def test_settings_name_a_full_path_and_hold_no_nul() -> None:
    for given, field in (
        ({"program": "sh"}, "settings.program"),
        ({"program": "/bin/sh", "arguments": ["a\x00b"]}, "settings.arguments"),
        ({"program": "/bin/sh", "timeout": 0}, "settings.timeout"),
        ({}, "settings.program"),
        ({"program": "/bin/sh", "shell": True}, "settings.shell"),
    ):
        with pytest.raises(InvalidInput) as refused:
            read_settings(ProcessSettings, given)
        assert refused.value.field == field


# --------------------------------------------------------------------------- (2) (3) (4) what it sees, and what others see


def test_no_shell_a_clean_environment_and_only_two_pipes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The program tells what it was given: an argument is one argument, and nothing of ours came along."""
    monkeypatch.setenv("CANARY_OF_THE_WORKER", "canary")
    program = tmp_path / "tell"
    program.write_text(
        "#!/usr/bin/python3 -I\n"
        "import json, os, sys\n"
        "files = {n: os.readlink(f'/proc/self/fd/{n}') for n in os.listdir('/proc/self/fd') if os.path.exists(f'/proc/self/fd/{n}')}\n"
        "print(json.dumps([sys.argv[1:], dict(os.environ), os.getcwd(), files, os.getsid(0) == os.getpid()]))\n"
    )
    program.chmod(0o755)
    hostile = "$(touch /tmp/x); `id` | cat"
    with (tmp_path / "a file of ours").open("w"):
        child = Child([str(program), hostile], timeout=10, monotonic=time.monotonic, owners=OWNERS)
        arguments, environment, directory, files, leads_session = json.loads(next(child.lines()))
        child.close()
    assert arguments == [hostile]
    assert set(environment) - {"LC_CTYPE"} == {"PATH", "LANG", "HOME"}
    assert directory == "/"
    assert leads_session
    assert set(files) == {"0", "1", "2"}
    assert files["2"] == "/dev/null"


def test_secrets_go_to_standard_input_alone(folder: Path) -> None:
    canary = "Canary-Password-7f3a9c"
    with process_target(folder) as target:
        assert [one.code for one in target.set([NewPassword(FIRST, canary)])] == [Code.SUCCESS]
        (pid,) = children(folder)
        for name in ("cmdline", "environ"):
            seen = (pid / name).read_bytes()
            assert canary.encode() not in seen
            assert b"the-secret-of-the-agent" not in seen
    assert canary not in (folder / "accounts.json").read_text()
    assert children(folder) == []


def test_one_child_serves_as_long_as_the_target_is_open(folder: Path) -> None:
    with process_target(folder) as target:
        before = children(folder)
        for _ in range(3):
            target.set([NewPassword(FIRST, GOOD)])
        assert children(folder) == before
        assert len(before) == 1


def children(folder: Path) -> list[Path]:
    """Those of ours that run the sample; other tests have children too."""
    own = (Path("/proc", pid) for pid in Path(f"/proc/self/task/{os.getpid()}/children").read_text().split())
    return [child for child in own if str(folder).encode() in (child / "cmdline").read_bytes()]


def test_standard_error_is_dropped(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with process_target(folder, fault="noise") as target:
        assert target.set([NewPassword(FIRST, GOOD)])[0].code is Code.SUCCESS
    assert capfd.readouterr() == ("", "")


# --------------------------------------------------------------------------------------------------- (5) when it misbehaves


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        ("die", "ended"),
        ("silent", "gave no answer in 0.5 s"),
        ("nonsense", "no answer"),
        ("stranger", "no answer"),
        ("flood", "wrote a line of more than"),
    ],
)
def test_a_program_that_misbehaves_is_killed(folder: Path, fault: str, said: str) -> None:
    with process_target(folder, timeout=0.5 if fault == "silent" else 10.0, fault=fault) as target:
        with pytest.raises(TargetUnavailable, match=said) as broken:
            target.set([NewPassword(FIRST, GOOD)])
        assert GOOD not in f"{broken.value}{broken.value.remedy}"
        assert children(folder) == []
        with pytest.raises(TargetUnavailable):
            target.set([NewPassword(FIRST, GOOD)])


def test_what_it_started_ends_with_it(folder: Path) -> None:
    program = folder / "parent"
    program.write_text('#!/bin/sh\nsleep 1000 &\necho "$!"\nwait\n')
    program.chmod(0o755)
    child = Child([str(program)], timeout=10, monotonic=time.monotonic, owners=OWNERS)
    grandchild = Path("/proc", next(child.lines()).decode())
    assert grandchild.exists()
    child._kill()
    deadline = time.monotonic() + 5
    while grandchild.exists() and b"sleep" in (grandchild / "cmdline").read_bytes():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_detail_that_repeats_a_secret_is_left_out(folder: Path) -> None:
    with process_target(folder, fault="echo") as target:
        (result,) = target.set([NewPassword(FIRST, GOOD)])
    assert result.code is Code.FAILED
    assert GOOD not in result.detail
    with pytest.raises(TargetDenied) as refused, process_target(folder, fault="refuse"):
        pytest.fail("it was opened")
    assert "the-secret-of-the-agent" not in refused.value.message


def test_none_of_a_programs_words_are_kept(folder: Path) -> None:
    """It has had the password: there are more ways to spell one than we could look for."""
    absent = cs_object("nobody")
    with process_target(folder) as target:
        (missing,) = target.set([NewPassword(absent, GOOD)])
        changed = target.change(FIRST, "not-the-old-one", GOOD)
    assert missing == Result(Code.OBJECT_MISSING, "it answered object-missing; its own words are not kept")
    assert changed == Result(Code.DENIED, "it answered access-denied; its own words are not kept")
    with pytest.raises(TargetDenied) as refused, process_target(folder, fault="refuse"):
        pytest.fail("it was opened")
    assert refused.value.message.endswith(": it answered access-denied; its own words are not kept")


def test_a_large_batch_goes_through_with_several_in_flight(folder: Path) -> None:
    long = "Aa1-" + "\u20ac" * 252
    batch = [
        NewPassword(SECOND if number % 2 else FIRST, f"{number:03}{long}"[:256]) for number in range(300)
    ]
    with process_target(folder) as target:
        assert {one.code for one in target.set(batch)} == {Code.SUCCESS}
    assert process_signs_in(folder, "first", batch[298].password)
    assert process_signs_in(folder, "second", batch[299].password)


def test_what_it_does_not_offer_is_refused_without_asking(folder: Path) -> None:
    with process_target(folder, operations=["read"]) as target:
        assert target.security() is Security.SECURE
        assert target.set([NewPassword(FIRST, GOOD)])[0].code is Code.SET_UNSUPPORTED
        assert target.change(FIRST, GOOD, GOOD + "2").code is Code.SET_UNSUPPORTED
        assert target.verify(FIRST, GOOD) is Proof.NOT_TRIED
    assert not process_signs_in(folder, "first", GOOD)


# --------------------------------------------------------------------------------------------------------------- import


def connector(folder: Path, **settings: object) -> ProcessConnector:
    given = {"accounts": str(folder / "accounts.json"), **settings}
    program = ProcessSettings(program=str(folder / "program"), settings=given)
    return ProcessConnector(program, opening("x"), owners=OWNERS)


def test_import_page_by_page(folder: Path) -> None:
    pages = list(connector(folder).read(b""))
    assert [[one.anchor for one in page.objects] for page in pages] == [["first"], ["second"]]
    assert [page.cookie for page in pages] == [b"", b"mark-1"], "the mark comes with the last page"
    assert pages[0].objects[0].attributes == {"mail": ("first@example.test",)}
    assert children(folder) == []


def test_a_program_that_shows_nothing_and_a_foreign_mark(folder: Path) -> None:
    with pytest.raises(CapabilityMissing):
        list(connector(folder, operations=["set"]).read(b""))
    with pytest.raises(BadSource):
        list(connector(folder).read(b"\xff\xfe"))
    assert children(folder) == []


def test_a_closed_target_starts_nothing(folder: Path) -> None:
    target = ProcessTarget(ProcessSettings(program=str(folder / "program")), opening("x"), owners=OWNERS)
    with pytest.raises(TargetUnavailable):
        target.set([NewPassword(FIRST, GOOD)])


def test_a_setting_that_is_misspelt_names_the_nearest_and_all() -> None:
    with pytest.raises(InvalidInput) as refused:
        read_settings(ProcessSettings, {"progam": "/bin/true"})
    assert refused.value.field == "settings.progam"
    assert refused.value.remedy.startswith("did you mean program? There are arguments, ")
