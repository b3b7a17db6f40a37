"""Having a server watched: what is told cuts the connection, and a witness that is slow, gone or broken holds nothing up."""

import logging
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from bastide.backup import smb
from bastide.backup.lookout import Lookout
from bastide.backup.remote import Lost
from bastide.backup.smb import SmbFolder, address
from bastide.backup.smb_login import ByPassword
from bastide.backup.witness import Notice, Unwatched
from tests.support.memory_witness import MemoryWatch, MemoryWitness
from tests.support.patience import PATIENCE

GONE = Notice("RESOURCE_CHANGE")


def until(question: Callable[[], object]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not question():
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.fixture
def told() -> list[Notice]:
    return []


@pytest.fixture(autouse=True)
def _no_thread_stays() -> Iterator[None]:
    yield
    until(lambda: not any(one.name == "witness" for one in threading.enumerate()))


def watch_of(witness: MemoryWitness, number: int = 0) -> MemoryWatch:
    until(lambda: len(witness.watches) > number)
    return witness.watches[number]


def test_what_is_told_is_told_on_once(told: list[Notice]) -> None:
    witness = MemoryWitness()
    lookout = Lookout(witness, "files", "192.0.2.1", told.append)
    watch_of(witness).said.put(GONE)
    until(lambda: told)
    lookout.end()
    assert told == [GONE]
    assert witness.asked == [("files", "192.0.2.1")]


def test_after_its_end_nothing_is_told(told: list[Notice]) -> None:
    witness = MemoryWitness()
    lookout = Lookout(witness, "files", "192.0.2.1", told.append)
    watch = watch_of(witness)
    until(lambda: lookout._watch is watch)
    lookout.end()
    watch.said.put(GONE)
    lookout.end()
    assert (told, watch.closed) == ([], 1)


def test_a_slow_witness_holds_nothing_up(told: list[Notice]) -> None:
    """Whoever is done meanwhile goes; what is registered after that is given back."""
    answers = threading.Event()
    witness = MemoryWitness(before=lambda: answers.wait(PATIENCE))
    lookout = Lookout(witness, "files", "192.0.2.1", told.append)
    lookout.end()
    assert witness.watches == []
    answers.set()
    until(lambda: watch_of(witness).closed)
    assert told == []


def test_nobody_watches_is_logged_with_the_reason(
    told: list[Notice], caplog: pytest.LogCaptureFixture
) -> None:
    witness = MemoryWitness(refuses=Unwatched("the Witness service at 192.0.2.2: access is denied"))
    Lookout(witness, "files", "192.0.2.1", told.append)
    until(lambda: caplog.records)
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert "nobody tells early when files is gone" in record.getMessage()
    assert "access is denied" in record.getMessage()
    assert told == []


def test_a_witness_that_is_gone_is_replaced(told: list[Notice]) -> None:
    witness = MemoryWitness()
    Lookout(witness, "files", "192.0.2.1", told.append)
    watch_of(witness).said.put(Unwatched("it is gone"))
    watch_of(witness, 1).said.put(GONE)
    until(lambda: told)
    assert told == [GONE]


# ------------------------------------------------------------------------------------------------------------- connection


class Connection(SimpleNamespace):
    """What a folder needs of one."""

    share_capabilities = 0x40

    def peer(self) -> str:
        return "192.0.2.1"

    def cut(self) -> None:
        self.is_cut = True


def connected(witness: MemoryWitness, tmp_path: Path) -> tuple[SmbFolder, Connection]:
    folder = SmbFolder(address("smb://files.test/backups"), ByPassword("w", tmp_path), witness)
    folder._connection = connection = Connection(is_cut=False, notice=None)
    return folder, connection


def test_a_notice_cuts_the_connection_and_is_why_it_is_lost(tmp_path: Path) -> None:
    witness = MemoryWitness()
    folder, connection = connected(witness, tmp_path)
    folder._look_out()
    watch_of(witness).said.put(Notice("CLIENT_MOVE", ("192.0.2.2", "192.0.2.3")))
    until(lambda: connection.is_cut)
    with pytest.raises(Lost, match="the witness says CLIENT_MOVE") as lost, folder.asked("one"):
        raise OSError("closed")
    assert lost.value.remedy
    assert folder._elsewhere == "192.0.2.2"


def test_who_tells_too_often_is_not_listened_to(tmp_path: Path) -> None:
    witness = MemoryWitness()
    folder, connection = connected(witness, tmp_path)
    for number in range(smb._NOTICES):
        connection.is_cut = False
        folder._look_out()
        watch_of(witness, number).said.put(GONE)
        until(lambda: connection.is_cut)
    folder._look_out()
    assert len(witness.asked) == smb._NOTICES


def test_a_share_that_does_not_offer_it_has_nobody_asked(tmp_path: Path) -> None:
    witness = MemoryWitness()
    folder, connection = connected(witness, tmp_path)
    connection.share_capabilities = 0x10
    folder._look_out()
    assert witness.asked == []
