"""The process that opens what only root may, and the rights that the other one gives up."""

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


@pytest.fixture
def told_to_be_root(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that whoever runs the tests meets the refusals that come after the first one."""
    monkeypatch.setattr(os, "geteuid", lambda: 0)


@pytest.mark.usefixtures("told_to_be_root")
@pytest.mark.parametrize(
    ("user", "said"), [("root", "refuses to stay it"), ("no-such-user", "there is no user no-such-user")]
)
def test_a_user_that_would_be_no_change_is_refused(tmp_path: Path, user: str, said: str) -> None:
    before = os.getresuid()
    with pytest.raises(Stop, match=said):
        privileges.drop(user, (tmp_path,))
    assert os.getresuid() == before


#: In a process of its own: without the refusal it would go on as nobody.
LINKED = """
import os, sys
from pathlib import Path
from bastide_agent import privileges
os.geteuid = lambda: 0
privileges.drop("nobody", (Path(sys.argv[1]),))
"""


def test_a_link_in_the_place_of_a_directory_is_refused(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.mkdir(0o755)
    (tmp_path / "state").symlink_to(victim)
    before = victim.stat()
    done = subprocess.run(
        [sys.executable, "-c", LINKED, str(tmp_path / "state")],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
    )
    assert done.returncode != 0
    assert f"{tmp_path}/state cannot be made for nobody: Not a directory" in done.stderr
    assert (victim.stat().st_uid, victim.stat().st_mode) == (before.st_uid, before.st_mode)
