"""The password filter, the word list and the local socket."""

import os
import socket
import struct
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from bastide_agent import commands, local
from bastide_agent import filter as asking
from bastide_agent.complexity import objection
from bastide_agent.local import Asked, LocalServer, WordList
from tests.support.agent import MemoryLog
from tests.support.callers import as_nobody, passable

ROOT = Path(__file__).parents[2]
CANARY = "Canary-Pass-7391"


class Kernel:
    """What it says of callers, but that this user is root."""

    def __init__(self, said: struct.Struct) -> None:
        self.size = said.size
        self._said = said

    def unpack(self, raw: bytes) -> tuple[int, int, int]:
        pid, uid, gid = self._said.unpack(raw)
        return pid, 0 if uid == os.geteuid() else uid, gid


@pytest.fixture
def we_are_root(monkeypatch: pytest.MonkeyPatch) -> None:
    """The socket answers root alone: who runs the tests as somebody else is taken for root."""
    if os.geteuid() != 0:
        monkeypatch.setattr(local, "_PEER", Kernel(local._PEER))


# ----------------------------------------------------------------------------------------------- complexity [MS-SAMR] 3.1.1.7.2


@pytest.mark.parametrize(
    "password", ["Abcdefg1", "abcdef1!", "ABCDEF1!", "Abcdefg!", "漢字Ab", "ab1漢", "Aa1\n", "ΑβγΔ1"]
)
def test_three_kinds_are_enough(password: str) -> None:
    assert objection(password, "") == ""


@pytest.mark.parametrize(
    "password", ["", "abcdefgh", "ABCdefgh", "abcdef12", "12345!@#", "漢字漢字12", "١٢abc", "ab  cd"]
)
def test_fewer_are_not(password: str) -> None:
    assert "3 of 5" in objection(password, "")


def test_names_are_not_in_it() -> None:
    assert "account" in objection("xxALICEyy1!", "Alice")
    assert objection("xxALyy1!", "al") == ""
    assert "person" in objection("Archer-2026", "alice", "Alice Archer")
    assert "person" in objection("99mueller!A", "x", "Zoë-Mueller,Dr.")
    assert objection("Dr-Strong-1", "x", "Dr Zo") == ""


def test_what_is_said_holds_no_part_of_it() -> None:
    for said in (
        objection("canary", "canary"),
        objection("Canary1!", "canary"),
        objection("Canary1!", "x", "A Canary"),
    ):
        assert said
        assert "canary" not in said.casefold()


# ---------------------------------------------------------------------------------------------------------------- words


def test_the_word_list_is_read_again_when_it_changes(tmp_path: Path) -> None:
    path = tmp_path / "words"
    path.write_text("Summer\n\n  bastide \n")
    words = WordList(str(path))
    assert words.objection("mySUMMER2026") == "it holds a banned word"
    assert words.objection("Winter2026") == ""
    path.write_text("winter is coming\nwinter\n")
    assert words.objection("Winter2026") != ""
    assert words.objection("mySUMMER2026") == ""
    assert WordList("").objection("anything") == ""


def test_a_list_that_cannot_be_read_decides_nothing(tmp_path: Path) -> None:
    question = {"ask": "filter", "account": "x", "password": CANARY}
    found = local.answer(question, WordList(str(tmp_path / "none")), dict)
    assert found["verdict"] == "unknown"
    assert local.answer(question, None, dict)["verdict"] == "unknown"
    nonsense: object
    for nonsense in (1, [], {}, {"ask": "filter"}, {"ask": "filter", "password": 1}, {"ask": "x"}):
        assert local.answer(nonsense, WordList(""), dict)["verdict"] == "unknown"


# --------------------------------------------------------------------------------------------------------------- status

OURS = "/usr/bin/bastide-agent filter --when-down=refuse"


@pytest.mark.parametrize(
    ("enabled", "script", "used", "problem"),
    [
        (False, "", False, ""),
        (False, "/usr/bin/other", False, ""),
        (False, None, None, ""),
        (False, OURS, True, "filter.enabled is false"),
        (True, OURS, True, ""),
        (True, None, None, ""),
        (True, "", False, "has no `check password script`"),
        (True, "/usr/bin/other", False, "has another `check password script`"),
    ],
)
def test_status_says_whether_the_filter_is_used(
    enabled: bool, script: str | None, used: bool | None, problem: str
) -> None:
    found = local.filter_status(WordList("") if enabled else None, script, Asked())
    assert (found["enabled"], found["used_by_samba"]) == (enabled, used)
    assert problem in str(found["problem"])
    assert bool(found["problem"]) == bool(problem)
    (line, *problems) = commands._filter_for_people(dict(found))
    assert line.startswith(f"filter    {'on' if enabled else 'off'}, ")
    assert (", used by Samba" in line, "not used" in line, "not known" in line) == (
        used is True,
        used is False,
        used is None,
    )
    assert [one.startswith("PROBLEM   filter: ") for one in problems] == [True] * bool(problem)


def test_status_says_that_the_word_list_cannot_be_read(tmp_path: Path) -> None:
    found = local.filter_status(WordList(str(tmp_path / "none")), OURS, Asked())
    assert "cannot be read" in str(found["problem"])


@pytest.mark.usefixtures("we_are_root")
def test_what_the_filter_asked_is_counted(tmp_path: Path) -> None:
    words = tmp_path / "words"
    words.write_text("summer\n")
    server = LocalServer(tmp_path / "agent.sock", WordList(str(words)), dict, MemoryLog())
    server.start()
    try:
        for password in ("Winter-1", "Summer-1"):
            asking.ask(str(tmp_path / "agent.sock"), {"ask": "filter", "password": password})
        words.unlink()
        asking.ask(str(tmp_path / "agent.sock"), {"ask": "filter", "password": "Winter-1"})
        asking.ask(str(tmp_path / "agent.sock"), {"ask": "status"})
    finally:
        server.stop()
    assert server.asked == Asked(3, 1, 1)


# --------------------------------------------------------------------------------------------------------------- socket


@pytest.fixture
def served(tmp_path: Path) -> Iterator[tuple[Path, MemoryLog]]:
    words = tmp_path / "words"
    words.write_text("summer\n")
    log = MemoryLog()
    path = tmp_path / "agent.sock"
    server = LocalServer(path, WordList(str(words)), lambda: {"waiting": 3}, log)
    server.start()
    yield path, log
    server.stop()
    assert not path.exists()


@pytest.mark.usefixtures("we_are_root")
def test_root_is_answered(served: tuple[Path, MemoryLog]) -> None:
    assert asking.ask(str(served[0]), {"ask": "status"}) == {"waiting": 3}
    assert served[1].numbers() == []


def test_nobody_else_is(served: tuple[Path, MemoryLog]) -> None:
    """By what the kernel says: the caller is a process without root's rights."""
    path, log = served
    path.chmod(0o777)
    imports = "import encodings.idna, json, socket, sys\nfrom bastide_agent.filter import ask\n"
    with passable(path):
        done = as_nobody(imports, "print(ask(sys.argv[1], {'ask': 'status'}))", str(path))
    assert done.returncode != 0
    assert "waiting" not in done.stdout
    assert log.numbers() == [6002]


@pytest.mark.usefixtures("we_are_root")
def test_nonsense_and_silence_do_not_stop_it(
    served: tuple[Path, MemoryLog], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(local, "_PATIENCE", 0.1)
    for data in (b"\xff\xfe", b"[", b""):
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as caller:
            caller.connect(str(served[0]))
            caller.sendall(data)
    silent = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    silent.connect(str(served[0]))
    assert asking.ask(str(served[0]), {"ask": "status"})
    silent.close()


# --------------------------------------------------------------------------------------------------------------- filter


def filtered(
    password: bytes, *arguments: str, account: str = "alice", full_name: str = ""
) -> "subprocess.CompletedProcess[bytes]":
    environment = {
        **os.environ,
        "SAMBA_CPS_ACCOUNT_NAME": account,
        "SAMBA_CPS_FULL_NAME": full_name,
        "PYTHONPATH": str(ROOT / "src"),
    }
    return subprocess.run(
        [sys.executable, "-m", "bastide_agent.main", "filter", *arguments],
        input=password, env=environment, capture_output=True, check=False,
    )  # fmt: skip


@pytest.mark.usefixtures("we_are_root")
def test_the_filter_decides(served: tuple[Path, MemoryLog]) -> None:
    where = f"--socket={served[0]}"
    assert filtered(CANARY.encode(), "--when-down=refuse", where).returncode == 0
    refused = filtered(b"My-Summer-2026", "--when-down=allow", where)
    assert refused.returncode == 1
    assert b"banned word" in refused.stderr
    assert b"Summer-2026" not in refused.stderr


@pytest.mark.parametrize(("choice", "code", "said"), [("allow", 0, b"ALLOWED"), ("refuse", 1, b"REFUSED")])
def test_without_an_agent_the_setting_decides_loudly(
    tmp_path: Path, choice: str, code: int, said: bytes
) -> None:
    done = filtered(CANARY.encode(), f"--when-down={choice}", f"--socket={tmp_path}/none")
    assert done.returncode == code
    assert said in done.stderr
    assert CANARY.encode() not in done.stderr + done.stdout


def test_complexity_is_checked_without_an_agent_and_even_where_it_may_pass(tmp_path: Path) -> None:
    where = ("--when-down=allow", f"--socket={tmp_path}/none")
    assert filtered(b"simple", *where).returncode == 1
    assert filtered(b"xAlice123!", *where).returncode == 1
    assert filtered(b"Archer123!", *where, full_name="Alice Archer").returncode == 1
    assert filtered(b"\xff\xfeAbc123!", *where).returncode == 1


@pytest.mark.parametrize(
    "arguments", [(), ("--when-down=maybe",), ("--when-down",), ("--what=x", "--when-down=allow")]
)
def test_a_filter_that_is_set_up_wrongly_refuses(arguments: tuple[str, ...]) -> None:
    done = filtered(CANARY.encode(), *arguments)
    assert done.returncode == 64
    assert CANARY.encode() not in done.stderr


def test_the_filter_is_quick(tmp_path: Path) -> None:
    """Samba waits. What it imports is what takes time."""
    code = "import sys, bastide_agent.main, bastide_agent.filter; print(len(sys.modules), 'msgspec' in sys.modules, 'ldap' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-S", "-c", code],
        env={"PYTHONPATH": str(ROOT / "src")},
        capture_output=True,
        text=True,
        check=True,
    )
    count, *heavy = done.stdout.split()
    assert heavy == ["False", "False"]
    assert int(count) < 120
