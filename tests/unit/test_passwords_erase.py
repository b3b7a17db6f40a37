"""The end of a password: nothing in the database, its log, its free pages or the vault shows it, and no copy can be opened afterwards.

Rows 4 and 19 of the list of known failures.
"""

import base64
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bastide.domain.errors import StoreError
from bastide.domain.passwords import Code, State, context_of
from bastide.services.ports import UnitOfWork
from bastide.store.keys import AeadSealer, SystemRandom
from bastide.store.md4 import Md4NtHasher
from bastide.store.vault import AesEnvelope
from tests.support.stores import with_schema
from tests.support.sync_world import SyncWorld, guid_of

CANARY = "Kanarienvogel-7Qx!é"
MASTER = AeadSealer([bytes(range(11, 43))])


@pytest.fixture
def world(tmp_path: Path) -> Iterator[SyncWorld]:
    url = with_schema(tmp_path / "bastide.db")
    made = SyncWorld(url=url, vault_url=f"sqlite:///{tmp_path / 'vault.db'}", sealer=MASTER)
    made.random.token = SystemRandom().token  # type: ignore[method-assign]  # real nonces and keys
    made.ready("alice", "bob")
    yield made
    made.close()


def forms(password: str) -> list[bytes]:
    """All shapes in which a password has leaked somewhere."""
    wide = password.encode("utf-16-le")
    hashed = Md4NtHasher().nt_hash(password)
    plain = [password.encode(), wide, hashed]
    shapes = [shape for raw in plain for shape in (raw, raw.hex().encode(), raw.hex().upper().encode())]
    return [*shapes, base64.b64encode(password.encode()), base64.b64encode(wide), *_inner(wide)]


def _inner(raw: bytes) -> list[bytes]:
    """The middle of a base64 text, wherever in a longer one it begins."""
    return [base64.b64encode(b"\0" * shift + raw)[4:-4] for shift in (0, 1, 2)]


def files(folder: Path) -> bytes:
    return b"".join(path.read_bytes() for path in sorted(folder.iterdir()) if path.is_file())


def test_no_file_shows_the_password_at_any_time(world: SyncWorld, tmp_path: Path) -> None:
    looks = []
    world.systems.systems["crm"].faults.down = True
    world.tell("alice", CANARY)
    looks.append(files(tmp_path))
    world.work()
    looks.append(files(tmp_path))
    world.systems.systems["crm"].faults.down = False
    world.clock.move(seconds=61)
    world.work()
    looks.append(files(tmp_path))
    world.tell("bob", CANARY, check=b"stale")
    world.passwords.queue.clear(world.dave)
    world.passwords.queue.clear_history(world.dave, world.clock.now())
    looks.append(files(tmp_path))
    assert world.password("alice", "crm") == CANARY
    for look in looks:
        assert len(look) > 100_000
        assert not [form for form in forms(CANARY) if form in look]


def test_the_scan_finds_what_is_there(world: SyncWorld, tmp_path: Path) -> None:
    with world.store.write() as uow:
        from bastide.services.events import by_worker

        uow.audit.append(by_worker("test", world.clock.now(), subject_name=CANARY))
        uow.commit()
    assert CANARY.encode() in files(tmp_path)


def test_a_destroyed_key_is_gone_from_the_file(world: SyncWorld, tmp_path: Path) -> None:
    """Not in the free space of its page, not in a free page, not in the journal."""
    vault = tmp_path / "vault.db"
    for number in range(60):
        world.vault.put({f"filler {number:03}": SystemRandom().token(32)})
    world.tell("alice", CANARY)
    with closing(sqlite3.connect(vault)) as raw:
        sealed = {row[0] for row in raw.execute("SELECT sealed FROM vault_keys")}
    assert len(sealed) == 61
    assert all(one in vault.read_bytes() for one in sealed)
    world.work()
    world.vault.destroy([f"filler {number:03}" for number in range(60)])
    content = vault.read_bytes()
    assert not [one for one in sealed if one in content or one[-32:] in content]
    assert b"filler" not in content
    assert not [path for path in tmp_path.glob("vault.db-*") if path.stat().st_size], (
        "the journal is cut to nothing"
    )


def test_the_vault_is_for_its_owner_alone_and_useless_alone(world: SyncWorld, tmp_path: Path) -> None:
    world.tell("alice", CANARY)
    vault = tmp_path / "vault.db"
    assert vault.stat().st_mode & 0o777 == 0o600
    (key,) = world.vault.get(world.vault.references()).values()
    assert key not in vault.read_bytes(), "a key is sealed with the master key"


def test_an_old_copy_of_the_database_and_todays_vault_open_nothing(world: SyncWorld, tmp_path: Path) -> None:
    world.tell("alice", CANARY)
    backup = tmp_path / "backup.db"
    with closing(sqlite3.connect(tmp_path / "bastide.db")) as one, closing(sqlite3.connect(backup)) as other:
        one.backup(other)
    with closing(sqlite3.connect(backup)) as raw:
        stolen = raw.execute("SELECT reference, sealed FROM password_deliveries").fetchall()
    assert len(stolen) == 2
    before = world.vault.get({reference for reference, _ in stolen})
    assert len(before) == 1, "while it is pending it can be opened: it has to be"
    world.work()
    assert world.vault.get({reference for reference, _ in stolen}) == {}


# ------------------------------------------------------------------------------------------------------------ tampering


def test_every_flipped_bit_is_refused(world: SyncWorld) -> None:
    world.tell("alice", CANARY)
    one = world.deliveries(State.PENDING)[0]
    (key,) = world.vault.get([one.reference]).values()
    envelope = AesEnvelope(SystemRandom())
    assert envelope.open(key, one.sealed, context_of(one)) == CANARY.encode()
    for bit in range(len(one.sealed) * 8):
        broken = bytearray(one.sealed)
        broken[bit // 8] ^= 1 << bit % 8
        with pytest.raises(StoreError):
            envelope.open(key, bytes(broken), context_of(one))
    with pytest.raises(StoreError):
        envelope.open(key, one.sealed[:7], context_of(one))


def _tamper(world: SyncWorld, act: Callable[[UnitOfWork], Any]) -> None:
    with world.store.write() as uow:
        act(uow)
        uow.commit()


def test_swapped_rows_are_refused(world: SyncWorld) -> None:
    """Alice's password in Bob's row, and that of one target in the row of another."""
    world.tell("alice", CANARY)
    world.tell("bob", "other")
    ones = world.deliveries(State.PENDING)
    turned = [*ones[1:], ones[0]]
    swapped = [replace(one, sealed=other.sealed) for one, other in zip(ones, turned, strict=True)]
    _tamper(world, lambda uow: uow.changes.save(swapped))
    world.work()
    assert {one.code for one in world.deliveries(State.FAILED)} == {Code.KEY_GONE}
    assert not world.served("crm")
    assert not world.served("files")


def test_a_row_moved_to_another_object_is_refused(world: SyncWorld) -> None:
    world.tell("alice", CANARY)
    one = next(d for d in world.deliveries(State.PENDING) if d.ma == "ma-crm")
    with pytest.raises(StoreError):
        AesEnvelope(SystemRandom()).open(
            next(iter(world.vault.get([one.reference]).values())),
            one.sealed,
            context_of(replace(one, object=guid_of("cs crm bob"))),  # type: ignore[arg-type]
        )


def test_a_row_that_was_rolled_back_is_refused(world: SyncWorld) -> None:
    world.tell("alice", "old one")
    old = [one for one in world.deliveries(State.PENDING) if one.ma == "ma-crm"]
    world.work()
    world.clock.move(minutes=1)
    world.tell("alice", "new one")
    world.work()
    _tamper(world, lambda uow: uow.changes.save(old))
    _tamper(
        world,
        lambda uow: uow.changes.mark_applied({old[0].object: replace(old[0].stamp, revision=0, source="")}),
    )
    world.passwords.switchboard.plant()
    world.clock.move(hours=1)
    world.work()
    assert world.password("alice", "crm") == "new one"


def test_a_key_moved_to_another_change_is_as_good_as_gone(world: SyncWorld, tmp_path: Path) -> None:
    world.tell("alice", CANARY)
    world.tell("bob", "other")
    with closing(sqlite3.connect(tmp_path / "vault.db")) as raw:
        (one, first), (other, second) = raw.execute("SELECT reference, sealed FROM vault_keys").fetchall()
        raw.execute("UPDATE vault_keys SET sealed = ? WHERE reference = ?", (second, one))
        raw.execute("UPDATE vault_keys SET sealed = ? WHERE reference = ?", (first, other))
        raw.commit()
    assert world.vault.get([one, other]) == {}
    world.work()
    assert not world.served("crm")
