"""The file of the queue: nobody reads it without the key, and damage is named, set aside and survived."""

from collections.abc import Callable
from pathlib import Path

import pytest

from bastide_agent.failures import SpoolFull, Stop
from bastide_agent.spool import KEY, QUEUE, Spool
from bastide_agent.spool_file import SealedFile, load_key, read
from tests.support.agent import MemoryLog
from tests.support.agent_spool import SECRET, A, change, opened, references


def test_nothing_can_be_read_in_the_file(tmp_path: Path) -> None:
    spool = opened(tmp_path)
    spool.add([(change("1"), [A])], 1)
    spool.close()
    for path in tmp_path.iterdir():
        raw = path.read_bytes()
        assert SECRET not in raw
        assert b"name-u1" not in raw
        assert path.stat().st_mode & 0o077 == 0


def test_the_key_is_random_and_never_a_default(tmp_path: Path) -> None:
    one, other = tmp_path / "1", tmp_path / "2"
    one.mkdir()
    other.mkdir()
    assert load_key(one / KEY) != load_key(other / KEY)
    assert load_key(one / KEY) == load_key(one / KEY)
    for bad in (b"short", bytes(32), b"x" * 33):
        (one / KEY).write_bytes(bad)
        with pytest.raises(Stop, match="no key") as stop:
            load_key(one / KEY)
        assert stop.value.number == 6022
    (other / KEY).chmod(0o640)
    with pytest.raises(Stop, match="open to others"):
        load_key(other / KEY)


def damaged(tmp_path: Path, spoil: Callable[[bytes], bytes]) -> tuple[Spool, MemoryLog]:
    spool = opened(tmp_path)
    for number in range(3):
        spool.add([(change(str(number), f"u{number}"), [A])], 1)
    spool.close()
    path = tmp_path / QUEUE
    path.write_bytes(spoil(path.read_bytes()))
    log = MemoryLog()
    return opened(tmp_path, log), log


def entry_starts(raw: bytes) -> list[int]:
    """Where entries begin; the first holds the known references."""
    at, found = 56, []
    while at < len(raw):
        found.append(at)
        at += 4 + int.from_bytes(raw[at : at + 4], "big")
    return found


def flipped(raw: bytes, at: int) -> bytes:
    return raw[:at] + bytes([raw[at] ^ 1]) + raw[at + 1 :]


@pytest.mark.parametrize(
    ("spoil", "number", "left"),
    [
        (lambda raw: raw[:-5], 6011, 2),
        (lambda raw: raw + b"\0\0", 6011, 3),
        (lambda raw: b"X" + raw[1:], 6014, 0),
        (lambda _raw: b"", 6014, 0),
        (lambda raw: raw[:20], 6016, 0),
        (lambda raw: flipped(raw, 11), 6015, 0),
        (lambda raw: flipped(raw, 9), 6016, 0),
        (lambda raw: flipped(raw, 15), 6016, 0),
        (lambda raw: flipped(raw, entry_starts(raw)[2] + 40), 6017, 1),
        (lambda raw: flipped(raw, entry_starts(raw)[3]), 6017, 2),
        (lambda raw: raw[: entry_starts(raw)[2]] + raw[entry_starts(raw)[3] :], 6017, 1),
        (lambda raw: raw[: entry_starts(raw)[1]] + raw[entry_starts(raw)[2] :] * 2, 6017, 0),
    ],
    ids=[
        "torn",
        "torn-length",
        "other-file",
        "empty",
        "cut-header",
        "tag-length",
        "format",
        "identity",
        "bit",
        "length",
        "missing",
        "repeated",
    ],
)
def test_damage_is_named_set_aside_and_survived(
    tmp_path: Path, spoil: Callable[[bytes], bytes], number: int, left: int
) -> None:
    spool, log = damaged(tmp_path, spoil)
    assert log.numbers() == [number]
    assert references(spool, A) == [str(one) for one in range(left)]
    assert spool.saved_as == "queue.corrupt-now.dat"
    assert (tmp_path / spool.saved_as).exists()
    spool.add([(change("new"), [A])], 1)
    assert opened(tmp_path).waiting() == left + 1


def test_entries_of_another_queue_do_not_fit(tmp_path: Path) -> None:
    spool, log = damaged(tmp_path, lambda raw: raw)
    assert log.numbers() == []
    first = (tmp_path / QUEUE).read_bytes()
    spool.close()
    second = opened(tmp_path)
    second.close()
    raw = (tmp_path / QUEUE).read_bytes()
    (tmp_path / QUEUE).write_bytes(raw[:56] + first[56:])
    opened(tmp_path, log)
    assert log.numbers() == [6017]


def test_another_key_reads_nothing(tmp_path: Path) -> None:
    opened(tmp_path).add([(change("1"), [A])], 1)
    (tmp_path / KEY).unlink()
    log = MemoryLog()
    assert opened(tmp_path, log).waiting() == 0
    assert log.numbers() == [6016]


def test_a_file_that_cannot_be_read_stops_us_untouched(tmp_path: Path) -> None:
    opened(tmp_path).close()
    (tmp_path / QUEUE).unlink()
    (tmp_path / QUEUE).mkdir()
    with pytest.raises(Stop) as stop:
        opened(tmp_path)
    assert stop.value.number == 6013


def test_a_sealed_file_says_when_it_is_broken(tmp_path: Path) -> None:
    file = SealedFile(tmp_path / "q", bytes(range(32)), 1 << 20)
    assert file.broken
    with pytest.raises(SpoolFull, match="not open"):
        file.append([b"x"], sync=True)
    file.rewrite([b"a", b"b"])
    file.append([b"c"], sync=False)
    file.sync()
    found = read(tmp_path / "q", bytes(range(32)))
    assert found is not None
    assert found.entries == (b"a", b"b", b"c")
