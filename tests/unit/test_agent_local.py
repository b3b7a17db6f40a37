"""The password filter, the word list, the local socket, the key that Samba encrypts to, and the opener."""

import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from bastide_agent import commands, local, privileges
from bastide_agent import filter as asking
from bastide_agent.complexity import objection
from bastide_agent.failures import DirectoryGone, Stop
from bastide_agent.keyring import CannotTell, KeyRing, ids_in, judge
from bastide_agent.ldapi import request_value, response_value
from bastide_agent.local import Asked, LocalServer, WordList
from bastide_agent.privileges import NotOpened, Opener, Thing, split_off
from tests.support.agent import NOON, MemoryLog

ROOT = Path(__file__).parents[2]
CANARY = "Canary-Pass-7391"

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
    assert server.asked == (Asked(3, 1, 1) if os.geteuid() == 0 else Asked())


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


def test_root_is_answered(served: tuple[Path, MemoryLog]) -> None:
    if os.geteuid() == 0:
        assert asking.ask(str(served[0]), {"ask": "status"}) == {"waiting": 3}
    else:
        with pytest.raises(ValueError, match="Expecting"):
            asking.ask(str(served[0]), {"ask": "status"})


def test_nobody_else_is(served: tuple[Path, MemoryLog]) -> None:
    path, log = served
    if os.geteuid() == 0:
        path.chmod(0o777)
        opened = [one for one in path.parents if one.stat().st_mode & 0o777 == 0o700]
        for one in opened:
            one.chmod(0o711)
        code = "import os, sys\nos.setuid(65534)\nfrom bastide_agent.filter import ask\nprint(ask(sys.argv[1], {'ask': 'status'}))"
        done = subprocess.run(
            [sys.executable, "-c", f"import encodings.idna, json, socket\nimport bastide_agent.filter\n{code}", str(path)],
            capture_output=True, text=True, check=False, cwd=ROOT,
        )  # fmt: skip
        for one in opened:
            one.chmod(0o700)
        assert done.returncode != 0
        assert "waiting" not in done.stdout
    else:
        with pytest.raises(ValueError, match="Expecting"):
            asking.ask(str(path), {"ask": "status"})
    assert log.numbers() == [6002]


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
    if os.geteuid() == 0:
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


def test_the_filter_decides(served: tuple[Path, MemoryLog]) -> None:
    if os.geteuid() != 0:
        pytest.skip("the socket answers root alone")
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


# ------------------------------------------------------------------------------------------------------------------ key

PUB, SUB = (
    "pub:{}:255:22:AF7714C33D640FD5:1600000000:{}::u:::{}:::::ed25519:::0:",
    "sub:{}:255:18:AA:1600000000:{}:::::{}:::::cv25519::",
)


def listing(sub: str = "u", expires: str = "", capabilities: str = "e", pub: str = "u") -> str:
    return "\n".join(
        [
            "tru::1:1:0:3:1:5",
            PUB.format(pub, "", "cSC"),
            "fpr:::::::::54CD:",
            SUB.format(sub, expires, capabilities),
            "",
        ]
    )


def test_a_good_key() -> None:
    state = judge(["54CD"], lambda _id: listing(), NOON)
    assert (state.ids, state.fatal, state.warnings) == (("54CD",), (), ())


@pytest.mark.parametrize(
    "found",
    [
        "",
        listing(sub="e"),
        listing(sub="r"),
        listing(sub="d"),
        listing(sub="i"),
        listing(capabilities="s"),
        listing(expires="1700000000"),
    ],
    ids=["unknown", "expired", "revoked", "disabled", "invalid", "signs only", "past"],
)
def test_a_key_with_which_every_change_fails(found: str) -> None:
    (said,) = judge(["54CD"], lambda _id: found, NOON).fatal
    assert "54CD" in said
    assert "every change of a password fails" in said


def test_a_key_that_ends_soon_is_said_before() -> None:
    soon = str(int((NOON + timedelta(days=13)).timestamp()))
    later = str(int((NOON + timedelta(days=15)).timestamp()))
    assert judge(["X"], lambda _id: listing(expires=soon), NOON).warnings
    assert not judge(["X"], lambda _id: listing(expires=later), NOON).warnings
    assert not judge(["X"], lambda _id: listing(expires=soon), NOON).fatal


def test_no_key_at_all_is_said() -> None:
    (said,) = judge([], lambda _id: listing(), NOON).fatal
    assert "nothing is encrypted" in said
    assert ids_in(" AA, BB\tCC\n") == ("AA", "BB", "CC")


def test_one_of_two_keys_is_enough_to_fail() -> None:
    assert len(judge(["A", "B"], lambda name: listing() if name == "A" else "", NOON).fatal) == 1


def test_a_machine_without_samba_cannot_tell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    ring = KeyRing(lambda: os.open("/dev/null", os.O_RDONLY), tmp_path / "smb.conf", tmp_path / "gnupg")
    with pytest.raises(CannotTell, match="testparm is not installed"):
        ring.look(datetime.now(UTC))


# --------------------------------------------------------------------------------------------------------------- opener


@pytest.fixture
def things(tmp_path: Path) -> Iterator[tuple[Opener, dict[Thing, Path]]]:
    paths = {
        Thing.LDAPI: tmp_path / "ldapi",
        Thing.KEYTAB: tmp_path / "keytab",
        Thing.KEYRING: tmp_path / "ring",
    }
    paths[Thing.KEYTAB].write_bytes(b"the keytab")
    opener = split_off(paths)
    yield opener, paths
    opener.close()


def test_the_opener_hands_over_one_descriptor(things: tuple[Opener, dict[Thing, Path]]) -> None:
    opener, paths = things
    with os.fdopen(opener.open(Thing.KEYTAB), "rb") as file:
        assert file.read() == b"the keytab"
    paths[Thing.KEYTAB].unlink()
    paths[Thing.KEYTAB].write_bytes(b"a newer one")
    descriptor, name = privileges.machine_keytab(opener)
    assert Path(name.removeprefix("FILE:")).read_bytes() == b"a newer one"
    os.close(descriptor)


def test_the_opener_connects_to_the_socket(things: tuple[Opener, dict[Thing, Path]]) -> None:
    opener, paths = things
    with pytest.raises(DirectoryGone, match="could not be opened"):
        opener.ldapi()
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(paths[Thing.LDAPI]))
        listener.listen()
        with socket.socket(fileno=opener.ldapi()) as connection:
            other, _ = listener.accept()
            connection.sendall(b"hello")
            assert other.recv(5) == b"hello"
            other.close()


def test_the_opener_opens_nothing_else(things: tuple[Opener, dict[Thing, Path]]) -> None:
    opener, paths = things
    with pytest.raises(NotOpened, match="No such file"):
        opener.open(Thing.KEYRING)
    for nonsense in (b"X", b"\0", b"/etc/shadow"):
        opener._end.sendall(nonsense)
        answer, descriptors, _, _ = socket.recv_fds(opener._end, 2, 4)
        assert answer[:1] == nonsense[:1]
        assert answer[1] != 0
        assert descriptors == []
    assert paths[Thing.KEYTAB].exists()
    os.close(opener.open(Thing.KEYTAB))


def test_a_late_answer_is_not_taken_for_another(things: tuple[Opener, dict[Thing, Path]]) -> None:
    opener, paths = things
    paths[Thing.KEYRING].write_bytes(b"the ring")
    opener._end.sendall(Thing.KEYRING.value)
    with os.fdopen(opener.open(Thing.KEYTAB), "rb") as file:
        assert file.read() == b"the keytab"


def test_the_opener_ends_with_the_agent_and_holds_nothing(things: tuple[Opener, dict[Thing, Path]]) -> None:
    opener, _ = things
    os.close(opener.open(Thing.KEYTAB))
    deadline = time.monotonic() + 5  # it closes what it has sent after it has sent it
    while len(held := os.listdir(f"/proc/{opener.pid}/fd")) != 4:  # noqa: PTH208  # names are enough
        assert time.monotonic() < deadline, held
    opener.close()
    with pytest.raises(ProcessLookupError):
        os.kill(opener.pid, 0)
    with pytest.raises(NotOpened):
        opener.open(Thing.KEYTAB)


def test_many_threads_ask_the_opener(things: tuple[Opener, dict[Thing, Path]]) -> None:
    opener, _ = things
    seen: list[bytes] = []

    def ask() -> None:
        for _ in range(20):
            with os.fdopen(opener.open(Thing.KEYTAB), "rb") as file:
                seen.append(file.read())

    threads = [threading.Thread(target=ask) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert seen == [b"the keytab"] * 100


DROP = """
import os, sys, json
from pathlib import Path
from bastide_agent import privileges
privileges.drop(sys.argv[1], (Path(sys.argv[2]),))
again = []
for name, call in (("setuid", lambda: os.setuid(0)), ("setgid", lambda: os.setgid(0)), ("groups", lambda: os.setgroups([0]))):
    try:
        call()
        again.append(name)
    except PermissionError:
        pass
print(json.dumps([os.getresuid(), os.getgroups(), again]))
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="only root has rights to give up")
def test_rights_are_given_up_for_good(tmp_path: Path) -> None:
    state = tmp_path / "state"
    done = subprocess.run(
        [sys.executable, "-c", DROP, "nobody", str(state)],
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT,
    )
    ids, groups, again = json.loads(done.stdout)
    assert ids == [65534] * 3
    assert groups == []
    assert again == []
    assert state.stat().st_uid == 65534
    assert state.stat().st_mode & 0o777 == 0o700


@pytest.mark.skipif(os.geteuid() != 0, reason="only root has rights to give up")
@pytest.mark.parametrize("user", ["root", "no-such-user"])
def test_a_user_that_would_be_no_change_is_refused(tmp_path: Path, user: str) -> None:
    with pytest.raises(Stop):
        privileges.drop(user, (tmp_path,))
    assert os.geteuid() == 0


@pytest.mark.skipif(os.geteuid() != 0, reason="only root has rights to give up")
def test_a_link_in_the_place_of_a_directory_is_refused(tmp_path: Path) -> None:
    (tmp_path / "victim").mkdir()
    (tmp_path / "state").symlink_to(tmp_path / "victim")
    done = subprocess.run(
        [sys.executable, "-c", DROP, "nobody", str(tmp_path / "state")],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
    )
    assert done.returncode != 0
    assert (tmp_path / "victim").stat().st_uid == 0


# ------------------------------------------------------------------------------------------------------------------ BER


@pytest.mark.parametrize("size", [0, 1, 108, 118, 119, 127, 128, 255, 256, 65_535, 70_000])
def test_the_control_is_read_as_it_was_written(size: int) -> None:
    cookie = bytes(range(256)) * (size // 256) + bytes(size % 256)
    raw = request_value(cookie)
    assert response_value(raw) == (False, cookie)
    more = raw.replace(b"\x02\x01\x00\x02\x01\x00", b"\x02\x01\x01\x02\x01\x00", 1)
    assert response_value(more) == (True, cookie)


def test_the_control_is_what_pyasn1_makes_of_it() -> None:
    from pyasn1.codec.ber import encoder
    from pyasn1.type import univ

    made = univ.Sequence()
    for number, value in enumerate((univ.Integer(0), univ.Integer(0), univ.OctetString(b"c" * 300))):
        made[number] = value
    assert request_value(b"c" * 300) == encoder.encode(made)


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"\x30",
        b"\x30\x05\x02\x01\x00",
        request_value(b"x")[:-1],
        request_value(b"x") + b"\0",
        b"\x31\x00",
        b"\x30\x84\xff\xff\xff\xff",
    ],
)
def test_a_control_that_is_none_is_refused(raw: bytes) -> None:
    with pytest.raises(ValueError, match=r"element|control"):
        response_value(raw)
