"""Backups that somebody forged, with the public key, which is no secret; clocks that were set back; backups that were killed."""

import hashlib
import logging
import os
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from bastide.backup import backups, dump, sealed
from bastide.backup.folder import Folder
from bastide.backup.place import SUFFIX, Sink, name_of
from bastide.domain.audit import Event
from bastide.domain.errors import AuditBroken, BastideError, StoreError
from bastide.store.session import Session
from bastide.store.unit_of_work import SqlStore
from tests.support import build
from tests.support.backups import make
from tests.support.stores import with_schema

pytest_plugins = ["tests.support.backups"]
Frames = list[Any]
LENGTH = struct.Struct(">I")


@pytest.fixture
def url(tmp_path: Path) -> str:
    made = with_schema(tmp_path / "origin.db")
    store = SqlStore(made)
    with store.write() as uow:
        uow.audit.append(*(Event("x", build.NOW, "S-1", f"p{n}") for n in range(3)))
        uow.commit()
    store.close()
    return made


def taken_apart(file: Path, key: Path) -> Frames:
    """All but the footer."""
    with file.open("rb") as source, sealed.opened(source, sealed.identities(key)) as clear:
        raw = clear.read()
    values, at = [], 0
    while at < len(raw):
        (length,) = LENGTH.unpack_from(raw, at)
        values.append(msgspec.msgpack.decode(raw[at + 4 : at + 4 + length]))
        at += 4 + length
    return values[:-1]


def put_together(values: Frames) -> bytes:
    """With a footer that fits. Bytes are a frame as they are."""
    out, rows, table = b"", dict[str, int](), ""
    for value in values:
        body = value if isinstance(value, bytes) else msgspec.msgpack.encode(value)
        out += LENGTH.pack(len(body)) + body
        if isinstance(value, dict) and value["type"] == "table":
            table = value["name"]
            rows.setdefault(table, 0)
        elif isinstance(value, list):
            rows[table] += 1
    footer = msgspec.msgpack.encode({"type": "footer", "rows": rows, "digest": hashlib.sha256(out).digest()})
    return out + LENGTH.pack(len(footer)) + footer


def start_of(values: Frames, table: str) -> int:
    return next(n for n, value in enumerate(values) if isinstance(value, dict) and value.get("name") == table)


def cell(table: str, column: str, value: object) -> Callable[[Frames], None]:
    """Another value in the first row."""

    def change(values: Frames) -> None:
        at = start_of(values, table)
        values[at + 1][values[at]["columns"].index(column)] = value

    return change


def columns(table: str, number: int, name: str) -> Callable[[Frames], None]:
    def change(values: Frames) -> None:
        values[start_of(values, table)]["columns"][number] = name

    return change


def without(table: str, *, rows: int) -> Callable[[Frames], None]:
    def change(values: Frames) -> None:
        at = start_of(values, table)
        del values[at : at + 1 + rows]

    return change


def deep(values: Frames) -> None:
    values.insert(2, b"\x91" * 100_000 + b"\xc0")


def deep_in_a_map(values: Frames) -> None:
    values.insert(2, b"\x82\xa1a" + b"\x91" * 100_000 + b"\xc0" + b"\xa4type\xa5table")


def only_a_header(values: Frames) -> None:
    del values[1:]


def no_end(values: Frames) -> None:
    values[0]["head"] = [0, ""]


def refused(change: Callable[[Frames], None], url: str, place: Path, key: tuple[str, Path]) -> BastideError:
    values = taken_apart(make(url, place, key[0]).written.path, key[1])
    change(values)
    forged = place / "forged"
    with forged.open("wb") as target:
        sealed.seal([put_together(values)], target, sealed.recipients([key[0]]))
    with pytest.raises(BastideError) as caught:
        backups.prove(forged, key[1])
    return caught.value


@pytest.mark.parametrize(
    "change",
    [
        cell("audit", "seq", 2**63),
        cell("audit", "seq", True),
        cell("audit", "at", "x"),
        cell("audit", "at", 2**62),
        cell("audit", "kind", b"\xff"),
        cell("audit", "data", {"a": 1}),
        cell("audit_head", "seq", 77),
        cell("schema_floor", "version", 4),
        columns("audit", 1, "at) VALUES (1); DROP TABLE audit; --"),
        columns("audit", 1, "seq"),
        without("audit_head", rows=1),
        without("schema_floor", rows=1),
        without("roles", rows=0),
        deep,
        deep_in_a_map,
        only_a_header,
        no_end,
    ],
)
def test_what_was_forged_is_refused_in_words(
    change: Callable[[Frames], None], url: str, place: Path, key: tuple[str, Path]
) -> None:
    error = refused(change, url, place, key)
    assert isinstance(error, StoreError)
    assert "damaged" in error.message
    assert "another one" in error.remedy


def test_the_same_frames_put_together_again_are_taken(url: str, place: Path, key: tuple[str, Path]) -> None:
    """So the tests above refuse for what was changed."""
    with pytest.raises(pytest.fail.Exception, match="DID NOT RAISE"):
        refused(lambda _values: None, url, place, key)


def test_large_rows_do_not_fill_the_memory(
    url: str, place: Path, key: tuple[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    made = make(url, place, key[0]).written.path
    written: list[int] = []
    run = Session.run

    def counted(self: Any, statement: Any, parameters: Any = None) -> Any:
        if isinstance(parameters, list):
            written.append(len(parameters))
        return run(self, statement, parameters)

    monkeypatch.setattr(dump, "_HEAP", 1)
    monkeypatch.setattr(Session, "run", counted)
    backups.prove(made, key[1])
    assert set(written) == {1}, "each row goes to the database before the next one is read"


def test_a_damaged_frame_before_much_else_is_what_the_person_hears(
    place: Path, key: tuple[str, Path]
) -> None:
    """Not that a pipe broke, nor that the key may be another one."""
    forged = place / "forged"
    with forged.open("wb") as target:
        sealed.seal([b"\0\0\0\1\xc1", os.urandom(1_000_000)], target, sealed.recipients([key[0]]))
    with pytest.raises(StoreError, match="a frame cannot be read"):
        backups.prove(forged, key[1])


def test_a_broken_chain_leaves_no_noise(
    url: str, place: Path, key: tuple[str, Path], caplog: pytest.LogCaptureFixture
) -> None:
    error = refused(cell("audit", "actor_name", "mallory"), url, place, key)
    assert isinstance(error, AuditBroken)
    assert [one for one in caplog.records if one.levelno >= logging.ERROR] == []


def test_a_clock_that_was_set_back_does_not_cost_the_new_one(
    url: str, place: Path, key: tuple[str, Path]
) -> None:
    ahead = [make(url, place, key[0], keep=2, minutes=600_000 + n).written.path for n in range(2)]
    made = make(url, place, key[0], keep=2)
    assert made.removed == (ahead[0],)
    assert sorted(place.iterdir()) == sorted([made.written.path, ahead[1]])
    alone = make(url, place, key[0], keep=1, minutes=1)
    assert list(place.iterdir()) == [alone.written.path]


def test_what_a_killed_backup_left_goes_and_what_one_writes_stays(
    url: str, place: Path, key: tuple[str, Path]
) -> None:
    left = place / f".node-1-20200101T000000Z{SUFFIX}.part"
    foreign = place / f".node-2-20200101T000000Z{SUFFIX}.part"
    for one in (left, foreign):
        one.write_bytes(b"x" * 1000)
    link, loop = (place / f".node-1-2020010{day}T000000Z{SUFFIX}.part" for day in (2, 3))
    link.symlink_to(foreign)
    loop.mkdir()

    def beside(target: Sink) -> None:
        target.write(b"half")
        make(url, place, key[0], minutes=1)

    written = Folder(place).write(name_of("node 1", build.NOW), beside)
    assert written.path.read_bytes() == b"half"
    assert not left.exists()
    assert all(one.exists() for one in (foreign, link, loop))
