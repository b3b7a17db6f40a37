"""Files on a share: the twin in memory, and Samba with CTDB alike."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from typing import Any

import pytest

from bastide.backup.remote import Busy, Lost, Missing, Taken
from bastide.backup.smb import SmbFolder
from tests.support.memory_share import MemoryFolder, MemoryServer

pytest_plugins = ["tests.support.lab", "tests.support.share_fixtures"]

#: Both kinds, with files of their kind.
Folder = Any
Connect = Callable[[], Folder]


@pytest.fixture(params=["memory", pytest.param("ctdb", marks=pytest.mark.lab)])
def connect(request: pytest.FixtureRequest) -> Iterator[Connect]:
    """Another connection to the same folder, each time."""
    server = MemoryServer()
    smb: SmbFolder | None = request.getfixturevalue("smb") if request.param == "ctdb" else None
    with ExitStack() as stack:

        def connected() -> Folder:
            made = stack.enter_context(
                closing(SmbFolder(smb.where, smb.login) if smb else MemoryFolder(server))
            )
            made.connect()
            return made

        yield connected


def test_what_is_written_at_its_offset_is_read_there(connect: Connect) -> None:
    folder = connect()
    file = folder.create("one")
    file.write(5, b"world")
    file.write(0, b"hello")
    assert file.read(0, 100) == b"helloworld"
    assert file.read(3, 4) == b"lowo"
    assert file.read(10, 5) == b""
    file.close()
    seen = folder.look("one")
    assert (seen.size(), seen.read(5, 5)) == (10, b"world")


def test_a_name_is_given_once(connect: Connect) -> None:
    folder = connect()
    folder.create("one").close()
    with pytest.raises(Taken, match="one"):
        folder.create("one")
    file = folder.create("two")
    with pytest.raises(Taken):
        file.rename("one")
    file.rename("three")
    file.close()
    assert sorted(folder.names()) == ["one", "three"]


def test_what_is_not_there_is_missing(connect: Connect) -> None:
    folder = connect()
    assert folder.names() == []
    for verb in (folder.look, folder.reopen):
        with pytest.raises(Missing, match="nothing"):
            verb("nothing")


def test_whoever_writes_is_alone(connect: Connect) -> None:
    folder = connect()
    file = folder.create("one")
    for verb in (folder.look, folder.reopen):
        with pytest.raises(Busy):
            verb("one")
    file.close()
    folder.reopen("one").close()


def test_one_that_is_removed_is_gone_when_it_is_closed(connect: Connect) -> None:
    folder = connect()
    folder.create("one").close()
    file = folder.reopen("one")
    file.remove()
    file.close()
    assert folder.names() == []


def test_an_open_file_outlives_its_connection(connect: Connect) -> None:
    folder = connect()
    file = folder.create("one")
    file.write(0, b"before ")
    folder.cut()
    with pytest.raises(Lost):
        file.write(7, b"never")
    file.close()
    folder.connect()
    again = folder.resume(file)
    again.write(7, b"after")
    assert again.read(0, 100) == b"before after"


def test_one_that_was_closed_is_not_resumed(connect: Connect) -> None:
    folder = connect()
    file = folder.create("one")
    file.close()
    folder.connect()
    with pytest.raises(Missing):
        folder.resume(file)


def test_a_kept_file_is_no_lock(connect: Connect) -> None:
    """Whoever opens it takes it away."""
    folder, other = connect(), connect()
    file = folder.create("one")
    folder.cut()
    other.reopen("one").close()
    folder.connect()
    with pytest.raises(Missing):
        folder.resume(file)


def test_without_a_connection_all_is_lost(connect: Connect) -> None:
    folder = connect()
    folder.close()
    for verb in (lambda: folder.create("one"), folder.names, lambda: folder.look("one")):
        with pytest.raises(Lost):
            verb()
    folder.close()
