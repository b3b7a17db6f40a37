"""Backups on SQLite and PostgreSQL: one of either goes back into either; what is damaged, foreign or not empty is refused; nothing clear is written."""

import gzip
import hashlib
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import cast

import pytest

from bastide.backup import backups, dump, sealed
from bastide.backup.folder import Folder
from bastide.backup.place import SUFFIX
from bastide.domain.audit import Event, Record, verify
from bastide.domain.errors import AuditBroken, Conflict, InvalidInput, StoreError, StoreUnavailable
from bastide.domain.ids import RequestId
from bastide.domain.requests import State
from bastide.services.pace import RECONCILE
from bastide.services.ports import AuditQuery
from bastide.services.recovery import reconciling
from bastide.store import migrations, tables
from bastide.store.session import Session
from bastide.store.unit_of_work import SqlStore
from tests.support import build
from tests.support.backups import make
from tests.support.stores import with_schema

pytest_plugins = ["tests.support.backups", "tests.support.postgres", "tests.support.stores"]
MARK = "a justification that nobody else may read"


def fill(url: str, requests: int = 3) -> None:
    store = SqlStore(url)
    try:
        with store.write() as uow:
            for number in range(requests):
                one = build.request(State.ACTIVE, id=RequestId(f"backup-{number}"), version=0)
                uow.requests.add(replace(one, justification=MARK))
                uow.audit.append(
                    Event(
                        "request.active", build.NOW, "S-1", "alice\u00e9", request=one.id, data={"why": MARK}
                    )
                )
            uow.work.poke("account", "someone", build.NOW)
            uow.switch.set(enabled=True)
            uow.commit()
    finally:
        store.close()


def fresh(tmp_path: Path, name: str = "restored") -> str:
    return with_schema(tmp_path / f"{name}.db")


def contents(url: str) -> tuple[object, ...]:
    store = SqlStore(url)
    try:
        with store.read() as uow:
            records = tuple(uow.audit.read(AuditQuery(limit=0)))
            requests = tuple(uow.requests.get(RequestId(f"backup-{number}")) for number in range(3))
            planned = [row["key"] for row in uow.work.listing() if row["kind"] != RECONCILE]
            return (records[:3], requests, uow.switch.enabled(), planned)
    finally:
        store.close()


def verified(url: str) -> list[Record]:
    store = SqlStore(url)
    try:
        with store.read() as uow:
            return list(verify(uow.audit.read(AuditQuery(limit=0))))
    finally:
        store.close()


def test_one_of_either_goes_into_either(
    shared_url: str, tmp_path: Path, key: tuple[str, Path], place: Path, new_url: Callable[[], str]
) -> None:
    """(1), (2), (4), (5)"""
    fill(shared_url)
    made = make(shared_url, place, key[0])
    assert made.written.path.parent == place
    assert made.written.path.stat().st_mode & 0o777 == 0o600
    assert made.written.size == made.written.path.stat().st_size
    store = SqlStore(shared_url)
    with store.read() as uow:
        record = uow.audit.last("backup.made", "")
    store.close()
    assert record is not None
    assert record.subject_name == made.written.path.name
    assert made.written.sha256 in record.data
    for target in (fresh(tmp_path), new_url()):
        content = backups.restore(target, made.written.path, key[1], build.NOW + timedelta(hours=1))
        assert content.header == made.header
        assert content.rows["requests"] == 3
        assert contents(target) == contents(shared_url)
        again = SqlStore(target)
        with again.read() as uow:
            *_, last, began = uow.audit.read(AuditQuery(limit=0))
            assert reconciling(uow) == began, "nothing is granted before the directory was compared with it"
            assert RECONCILE in [row["kind"] for row in uow.work.listing()]
        again.close()
        assert (last.kind, last.seq, last.previous) == (
            "database.restored",
            made.header.head[0] + 1,
            made.header.head[1],
        )
        assert len(verified(target)) == began.seq


@pytest.fixture
def new_url(request: pytest.FixtureRequest, shared_url: str, tmp_path: Path) -> Callable[[], str]:
    """Another empty database of the kind that the test is about."""

    def made() -> str:
        if shared_url.startswith("sqlite"):
            return fresh(tmp_path, "another")
        url: str = request.getfixturevalue("postgres_server").make_database("restored")
        migrations.upgrade(url)
        return url

    return made


@pytest.fixture
def url(tmp_path: Path) -> str:
    made = fresh(tmp_path, "origin")
    fill(made)
    return made


def test_a_look_leaves_everything_as_it_is(
    url: str, tmp_path: Path, key: tuple[str, Path], place: Path
) -> None:
    made = make(url, place, key[0])
    before = sorted(tmp_path.rglob("*"))
    content = backups.prove(made.written.path, key[1])
    assert content.rows["audit"] == 3
    assert sorted(tmp_path.rglob("*")) == before


def test_age_itself_opens_it_and_nobody_else(
    url: str, tmp_path: Path, key: tuple[str, Path], place: Path
) -> None:
    made = make(url, place, key[0])
    raw = made.written.path.read_bytes()
    assert raw.startswith(b"age-encryption.org/v1\n")
    assert MARK.encode() not in raw
    with made.written.path.open("rb") as source, sealed.opened(source, sealed.identities(key[1])) as clear:
        assert MARK.encode() in clear.read()
    (tmp_path / "other").mkdir()
    sealed.generate(tmp_path / "other")
    with pytest.raises(StoreError, match="cannot be opened"):
        backups.prove(made.written.path, tmp_path / "other" / sealed.KEY)


def test_several_may_open_it(url: str, tmp_path: Path, key: tuple[str, Path], place: Path) -> None:
    (tmp_path / "second").mkdir()
    second = sealed.generate(tmp_path / "second")
    made = backups.make(
        url, to=Folder(place), recipients=[key[0], second], keep=1, node="n", version="1", now=build.NOW
    )
    for path in (key[1], tmp_path / "second" / sealed.KEY):
        assert backups.prove(made.written.path, path).rows["requests"] == 3


def test_sessions_challenges_and_nodes_stay_behind() -> None:
    names = {table.name for table in dump.kept()}
    passing = {"sessions", "challenges", "nodes", "log_wishes", "log_answers", "traces"}
    assert names == set(tables.metadata.tables) - passing


def damaged(raw: bytes) -> Iterator[bytes]:
    yield raw[:-1]
    yield raw[: len(raw) // 2]
    yield raw[:200]
    yield b""
    yield raw + b"x"
    for at in (len(raw) // 2, len(raw) - 5, 230):
        yield raw[:at] + bytes([raw[at] ^ 1]) + raw[at + 1 :]


def test_what_was_cut_or_changed_is_refused_and_nothing_of_it_stays(
    url: str, tmp_path: Path, key: tuple[str, Path], place: Path
) -> None:
    """(4)"""
    raw = make(url, place, key[0]).written.path.read_bytes()
    target, broken = fresh(tmp_path), tmp_path / "broken"
    for one in damaged(raw):
        broken.write_bytes(one)
        with pytest.raises(StoreError):
            backups.restore(target, broken, key[1], build.NOW)
    broken.write_bytes(raw)
    backups.restore(target, broken, key[1], build.NOW)


def resealed(frames: bytes, tmp_path: Path, public: str) -> Path:
    """Written by somebody who has the public key, which is no secret."""
    path = tmp_path / "forged"
    with path.open("wb") as target:
        sealed.seal([frames], target, sealed.recipients([public]))
    return path


def test_frames_that_do_not_fit_are_refused(
    url: str, tmp_path: Path, key: tuple[str, Path], place: Path
) -> None:
    made = make(url, place, key[0])
    with made.written.path.open("rb") as source, sealed.opened(source, sealed.identities(key[1])) as clear:
        frames = clear.read()
    for forged in (
        frames.replace(MARK.encode(), MARK[::-1].encode(), 1),
        frames[:-40],
        frames + frames,
        b"\xff\xff\xff\xff" + frames,
        b"",
        b"\x00\x00\x00\x01\xc1",
        gzip.compress(b"x"),
    ):
        with pytest.raises(StoreError, match=r"damaged|no backup"):
            backups.prove(resealed(forged, tmp_path, key[0]), key[1])


def test_a_chain_that_was_changed_before_the_backup_is_found(
    url: str, tmp_path: Path, key: tuple[str, Path], place: Path
) -> None:
    """(5) Whoever can write into the database can make frames that fit."""
    with closing(sqlite3.connect(url.removeprefix("sqlite:///"), isolation_level=None)) as raw:
        raw.execute("DROP TRIGGER audit_no_update")
        raw.execute("UPDATE audit SET actor_name = 'mallory' WHERE seq = 2")
    made = make(url, place, key[0])
    with pytest.raises(AuditBroken, match="2"):
        backups.restore(fresh(tmp_path), made.written.path, key[1], build.NOW)


def test_only_into_an_empty_database_of_the_same_schema(
    url: str, tmp_path: Path, key: tuple[str, Path], place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = make(url, place, key[0])
    with pytest.raises(Conflict, match="not empty"):
        backups.restore(url, made.written.path, key[1], build.NOW)
    monkeypatch.setattr(tables, "SCHEMA", "9999")
    with pytest.raises(Conflict, match="has schema") as refused:
        backups.prove(made.written.path, key[1])
    assert "restore it with Bastide 0.1.0" in refused.value.remedy


def test_the_oldest_go_and_only_those_of_this_node(url: str, key: tuple[str, Path], place: Path) -> None:
    """(3)"""
    others = [
        place / f"node-1-b-20200101T000000Z{SUFFIX}",
        place / f"node-2-20200101T000000Z{SUFFIX}",
        place / "notes.txt",
    ]
    for one in others:
        one.write_text("mine")
    made = [make(url, place, key[0], keep=2, minutes=minute) for minute in range(4)]
    assert [one.removed for one in made] == [(), (), (made[0].written.path,), (made[1].written.path,)]
    assert sorted(place.iterdir()) == sorted([*others, made[2].written.path, made[3].written.path])


def test_one_that_is_there_is_not_replaced(url: str, key: tuple[str, Path], place: Path) -> None:
    first = make(url, place, key[0]).written
    with pytest.raises(StoreUnavailable, match="is there already"):
        make(url, place, key[0])
    assert hashlib.sha256(first.path.read_bytes()).hexdigest() == first.sha256
    assert list(place.iterdir()) == [first.path], "nothing is left over"


def test_a_folder_that_cannot_take_it(url: str, key: tuple[str, Path], tmp_path: Path) -> None:
    with pytest.raises(StoreUnavailable, match="No such file"):
        make(url, tmp_path / "nowhere", key[0])


def test_a_database_that_fails_in_the_middle_leaves_nothing(
    url: str, key: tuple[str, Path], place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: object) -> Iterator[bytes]:
        yield b"x" * 100_000
        raise StoreUnavailable("the database is gone")

    monkeypatch.setattr(dump, "frames", fails)
    with pytest.raises(StoreUnavailable, match="the database is gone"):
        make(url, place, key[0])
    assert list(place.iterdir()) == []


def test_keys_that_are_none(url: str, place: Path, tmp_path: Path) -> None:
    for names, reason in (
        ([], "is missing"),
        (["age1nonsense"], "no public key of age"),
        (["AGE-SECRET-KEY-1NONSENSE"], "the PRIVATE key"),
        (["age-secret-key-1nonsense"], "the PRIVATE key"),
    ):
        with pytest.raises(InvalidInput, match=reason) as refused:
            backups.make(
                url, to=Folder(place), recipients=names, keep=1, node="n", version="1", now=build.NOW
            )
        assert "nonsense" not in f"{refused.value} {refused.value.remedy}".lower(), "it may be a secret"
    empty = tmp_path / "empty"
    empty.write_text("AGE-SECRET-KEY-1NONSENSE\n")
    for path in (empty, tmp_path / "nowhere"):
        with pytest.raises(StoreUnavailable, match="cannot be used"):
            sealed.identities(path)


def test_a_large_one_streams(tmp_path: Path, key: tuple[str, Path], place: Path) -> None:
    """More rows than a chunk, and more bytes than a pipe holds."""
    url = fresh(tmp_path, "large")
    store = SqlStore(url)
    with store.write() as uow:
        uow.audit.append(
            *(Event("x", build.NOW, "S-1", f"p{n}", data={"text": f"{n} " * 200}) for n in range(2_300))
        )
        uow.commit()
    store.close()
    made = make(url, place, key[0])
    assert backups.prove(made.written.path, key[1]).rows["audit"] == 2_300


def test_what_is_read_goes_out_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """A database may be larger than the memory: nothing is gathered before the first frame leaves."""

    def contents(*_: object) -> Iterator[object]:
        raise AssertionError("rows are read before the header has left")
        yield

    monkeypatch.setattr(dump, "_contents", contents)
    header = dump.Header(dump.FORMAT, tables.SCHEMA, "1", "n", build.NOW, (0, ""))
    assert b"header" in next(dump.frames(cast("Session", None), header))
