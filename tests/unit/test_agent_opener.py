"""The process that opens what only root may, and the rights that the other one gives up."""

import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from bastide_agent import privileges
from bastide_agent.failures import DirectoryGone, Stop
from bastide_agent.privileges import NotOpened, Opener, Thing, split_off

ROOT = Path(__file__).parents[2]


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
