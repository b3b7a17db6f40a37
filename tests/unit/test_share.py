"""Backups on a share that fails: whatever happens, a name means a whole backup, and a second try costs only what is missing."""

import os
from collections.abc import Callable
from itertools import count
from pathlib import Path

import pytest

from bastide.backup import spool
from bastide.backup.place import Sink
from bastide.backup.remote import Lost
from bastide.backup.share import Patience, Share
from bastide.domain.errors import StoreUnavailable
from tests.support.memory_share import MemoryFile, MemoryFolder, MemoryServer

NAME = "node-1-20261121T210000Z.bastide.age"
PART = f".{NAME}.part"
CHUNKS = 5
DATA = os.urandom(4 * 64 + 7)


@pytest.fixture(autouse=True)
def _small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spool, "CHUNK", 64)
    monkeypatch.setattr("bastide.backup.share.CHUNK", 64)


@pytest.fixture
def server() -> MemoryServer:
    return MemoryServer()


class Time:
    """It passes while somebody waits."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def now(self) -> float:
        return self.seconds

    def sleep(self, seconds: float) -> None:
        self.seconds += seconds


def share(server: MemoryServer) -> Share[MemoryFile]:
    time = Time()
    return Share(MemoryFolder(server), Patience(10, 1, time.now, time.sleep))


def fill(target: Sink) -> None:
    for at in range(0, len(DATA), 50):
        target.write(DATA[at : at + 50])
    target.flush()


def once(verb: str, do: Callable[[], None], at: int = 1) -> Callable[[str, str], None]:
    """`do`, the `at`th time that this verb is asked."""
    numbers = count(1)

    def fault(asked: str, _name: str) -> None:
        if asked == verb and next(numbers) == at:
            do()

    return fault


def lose() -> None:
    raise Lost("the connection is gone", remedy="wait")


VERBS = ("create", "write", "read", "rename")


def test_written_read_back_and_named(server: MemoryServer) -> None:
    """(1) to (4)"""
    written = share(server).write(NAME, fill)
    assert server.files == {NAME: bytearray(DATA)}
    assert (written.size, written.path.name, written.lost) == (len(DATA), NAME, ())
    assert str(written.path) == f"memory://server/share/{NAME}"
    with written.path.open("rb") as file:
        assert file.read() == DATA
    order = [verb for verb in dict.fromkeys(server.verbs) if verb in VERBS]
    assert order == list(VERBS)


@pytest.mark.parametrize("keeps", [True, False], ids=["durable", "not-durable"])
@pytest.mark.parametrize("moment", [f"{verb}{when}" for verb in VERBS for when in ("", " done")])
def test_cut_at_any_moment(server: MemoryServer, moment: str, *, keeps: bool) -> None:
    """(5), (6), (7): also when it happened and the answer was lost, such as a rename's."""
    server.keeps = keeps
    server.faults.append(once(moment, lose))
    written = share(server).write(NAME, fill)
    assert server.files == {NAME: bytearray(DATA)}
    assert server.holders == {}, "nothing stays open"
    assert written.lost == ("the connection is gone",)


def test_a_resumed_file_is_not_written_again(server: MemoryServer) -> None:
    """(5)"""
    server.faults.append(once("write", lose, at=4))
    share(server).write(NAME, fill)
    assert server.verbs.count("write done") == CHUNKS
    assert "resume done" in server.verbs
    assert "reopen" not in server.verbs


def test_a_torn_chunk_is_written_anew_after_the_file_was_opened_again(server: MemoryServer) -> None:
    """(6) The server lost what it had said was on its disk."""
    server.keeps = False

    def tear() -> None:
        server.files[PART][64:128] = bytes(64)
        del server.files[PART][150:]
        lose()

    server.faults.append(once("write", tear, at=4))
    share(server).write(NAME, fill)
    assert server.files == {NAME: bytearray(DATA)}
    assert server.verbs.count("write done") == CHUNKS + 2, "the torn two, and no other"


def test_a_wrong_chunk_is_written_once_more(server: MemoryServer) -> None:
    """(3)"""
    server.faults.append(once("read", lambda: server.files[PART].__setitem__(70, server.files[PART][70] ^ 1)))
    share(server).write(NAME, fill)
    assert server.files == {NAME: bytearray(DATA)}
    assert server.verbs.count("write done") == CHUNKS + 1


def test_a_disk_that_lies_is_refused_and_nothing_of_it_stays(server: MemoryServer) -> None:
    """(3)"""

    def lie(verb: str, name: str) -> None:
        if verb == "write done":
            server.files[name][:1] = b"?" if server.files[name][:1] != b"?" else b"!"

    server.faults.append(lie)
    with pytest.raises(StoreUnavailable, match="something else than what was written") as refused:
        share(server).write(NAME, fill)
    assert "disk of the file server" in refused.value.remedy
    assert server.files == {}


def test_one_of_that_name_is_not_replaced(server: MemoryServer) -> None:
    """(4)"""
    server.files[NAME] = bytearray(b"older")
    with pytest.raises(StoreUnavailable, match="is there already") as refused:
        share(server).write(NAME, fill)
    assert "another backup runs" in refused.value.remedy
    assert server.files == {NAME: bytearray(b"older")}


def test_of_two_writers_one_is_refused_and_harms_nothing(server: MemoryServer) -> None:
    """(2)"""
    refused: list[str] = []

    def other(target: Sink) -> None:
        target.write(b"other")

    def second() -> None:
        with pytest.raises(StoreUnavailable, match="is there already") as told:
            share(server).write(NAME, other)
        refused.append(told.value.message)

    server.faults.append(once("write", second, at=3))
    share(server).write(NAME, fill)
    assert len(refused) == 1
    assert server.files == {NAME: bytearray(DATA)}


def test_what_somebody_else_took_away_in_between_is_written_from_the_beginning(server: MemoryServer) -> None:
    """(7) Another node's cleaning up met the file while nobody had it open."""
    server.keeps = False

    def away() -> None:
        del server.files[PART]
        lose()

    server.faults.append(once("write", away, at=4))
    share(server).write(NAME, fill)
    assert server.files == {NAME: bytearray(DATA)}


def test_a_share_that_is_full_says_so_and_nothing_of_it_stays(server: MemoryServer) -> None:
    server.room = 200
    with pytest.raises(StoreUnavailable, match="no room left"):
        share(server).write(NAME, fill)
    assert server.files == {}
    assert server.holders == {}


def test_a_server_that_is_not_there_is_told_at_once(server: MemoryServer) -> None:
    server.faults.append(lambda verb, _: lose() if verb == "connect" else None)
    with pytest.raises(Lost):
        share(server).write(NAME, fill)
    assert server.verbs == ["connect"]


def test_patience_ends_and_begins_anew_with_each_chunk(server: MemoryServer) -> None:
    """Seven seconds of nothing after every chunk are borne; nothing but refusals for more than ten are not."""
    down = [0]

    def fault(verb: str, _: str) -> None:
        if verb == "write" and server.verbs.count("write") % 2 == 0:
            down[0] = 7
            lose()
        if verb == "connect" and down[0]:
            down[0] -= 1
            # As of a server that is only just coming up.
            raise StoreUnavailable("the server did not take the sign-in")

    def for_good() -> None:
        down[0] = 50
        lose()

    server.faults.append(fault)
    share(server).write(NAME, fill)
    assert server.files == {NAME: bytearray(DATA)}
    server.files.clear()
    server.faults = [once("write", for_good), fault]
    with pytest.raises(StoreUnavailable, match="did not take the sign-in"):
        share(server).write(NAME, fill)


def test_a_connection_that_breaks_at_the_same_place_for_ever_ends(server: MemoryServer) -> None:
    def fault(verb: str, _: str) -> None:
        if verb == "rename":
            lose()

    server.faults.append(fault)
    with pytest.raises(Lost):
        share(server).write(NAME, fill)


def test_what_fills_it_fails(server: MemoryServer) -> None:
    def fails(target: Sink) -> None:
        target.write(b"x" * 500)
        raise StoreUnavailable("the database is gone")

    with pytest.raises(StoreUnavailable, match="the database is gone"):
        share(server).write(NAME, fails)
    assert server.verbs == [], "nobody was asked for a file yet"


def test_a_local_disk_that_is_full(server: MemoryServer) -> None:
    def fails(_target: Sink) -> None:
        raise OSError(28, "No space left on device")

    with pytest.raises(StoreUnavailable, match="spooled on this machine: No space left") as refused:
        share(server).write(NAME, fails)
    assert "$TMPDIR" in refused.value.remedy


def test_reading_goes_on_after_a_cut(server: MemoryServer) -> None:
    written = share(server).write(NAME, fill)
    server.verbs.clear()
    server.faults.append(once("read", lose, at=3))
    with written.path.open("rb") as file:
        assert file.read() == DATA
    assert server.verbs.count("read done") == CHUNKS + 1, "no chunk twice, and the end"


def test_one_that_is_not_there_cannot_be_read(server: MemoryServer) -> None:
    with pytest.raises(StoreUnavailable, match="is not there"):
        share(server).file(NAME).open("rb")


def test_the_oldest_of_this_node_go(server: MemoryServer) -> None:
    names = [f"node-1-2026010{day}T000000Z.bastide.age" for day in range(1, 6)]
    others = [
        "node-1-b-20200101T000000Z.bastide.age",
        "node-2-20200101T000000Z.bastide.age",
        "node-1-0-before-upgrade.bastide.age",  # put by: as long as a time, and none
        "node-1-20209901T000000Z.bastide.age",
        "notes.txt",
    ]
    left = ".node-1-20200101T000000Z.bastide.age.part"
    foreign = ".node-2-20200101T000000Z.bastide.age.part"
    for name in (*names, *others, left, foreign):
        server.files[name] = bytearray(b"x")
    writing = MemoryFolder(server)
    writing.connect()
    held = writing.create(".node-1-20260106T000000Z.bastide.age.part")
    server.faults.append(once("remove done", lose))
    removed = share(server).prune("node 1", 2, new=names[0])
    assert sorted(one.name for one in removed) == names[1:4], "the new one stays, whatever its name"
    assert sorted(server.files) == sorted([names[0], names[4], *others, foreign, held.name])


def test_nothing_of_it_lies_on_the_local_disk(
    server: MemoryServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    seen: list[int] = []
    server.faults.append(once("create", lambda: seen.append(len(list(tmp_path.iterdir())))))
    share(server).write(NAME, fill)
    assert seen == [0], "the spool has no name"
