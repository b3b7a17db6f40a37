"""Keys: what is refused, what is never shown, and that sealing, signing and hashing do what they say."""

import base64
import logging
import os
import re
import secrets
import stat
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bastide.domain.errors import StoreError, StoreUnavailable
from bastide.services.ports import CodeHasher, Random, Sealer, Signer
from bastide.store import keys
from tests.support.callers import make_anothers

GOOD = bytes(range(100, 132))
OTHER = bytes(range(32))


def key_file(folder: Path, content: bytes, mode: int = 0o600) -> Path:
    path = folder / "a.key"
    path.write_bytes(content)
    path.chmod(mode)
    return path


# ------------------------------------------------------------------------------------------------------------- key files


def test_generated_keys_load_and_differ(tmp_path: Path) -> None:
    folders = [tmp_path / "one", tmp_path / "two"]
    for folder in folders:
        folder.mkdir()
        keys.generate_key_files(folder)
        assert {path.name: stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()} == {
            "master.key": 0o600,
            "signing.key": 0o600,
            "signing.pub": 0o644,
        }
    one, two = (keys.load_signer(folder / "signing.key") for folder in folders)
    assert one.key_id != two.key_id
    sealed = keys.load_sealer([folders[0] / "master.key"]).seal(b"x", "row")
    with pytest.raises(StoreError):
        keys.load_sealer([folders[1] / "master.key"]).open(sealed, "row")


@pytest.mark.parametrize("existing", ["master.key", "signing.key", "signing.pub"])
def test_generating_overwrites_nothing_and_makes_nothing_else(tmp_path: Path, existing: str) -> None:
    (tmp_path / existing).write_bytes(b"precious")
    with pytest.raises(FileExistsError) as refused:
        keys.generate_key_files(tmp_path)
    assert refused.value.filename == str(tmp_path / existing)
    assert [path.read_bytes() for path in tmp_path.iterdir()] == [b"precious"]


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o620, 0o601])
def test_a_key_that_others_can_reach_is_refused(tmp_path: Path, mode: int) -> None:
    with pytest.raises(StoreUnavailable, match="others") as refused:
        keys.read_key(key_file(tmp_path, GOOD, mode))
    assert "chmod" in refused.value.remedy


def test_a_systemd_credential_may_have_group_bits_but_no_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = key_file(tmp_path, GOOD, 0o440)
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    assert keys.read_key(path) == GOOD
    for mode in (0o444, 0o460):
        path.chmod(mode)
        with pytest.raises(StoreUnavailable):
            keys.read_key(path)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        GOOD[:31],
        GOOD + b"\n",
        bytes(32),
        b"\xff" * 32,
        GOOD[:16] * 2,
        b"correct horse battery staple 012",
        secrets.token_hex(16).encode(),
        base64.b64encode(secrets.token_bytes(24)),
    ],
    ids=["empty", "short", "long", "zero", "ones", "half", "phrase", "hex", "base64"],
)
def test_a_key_that_cannot_be_random_is_refused_without_being_shown(tmp_path: Path, content: bytes) -> None:
    with pytest.raises(StoreUnavailable) as refused:
        keys.read_key(key_file(tmp_path, content))
    assert not content or repr(content)[2:-1] not in refused.value.message
    assert "keys generate" in refused.value.remedy


def test_random_keys_are_never_refused() -> None:
    for _ in range(2000):
        keys.AeadSealer([secrets.token_bytes(32)])


def test_what_is_missing_or_no_file_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo", 0o600)
    for name in ("missing", "fifo", "."):
        with pytest.raises(StoreUnavailable):
            keys.read_key(tmp_path / name)


def test_a_key_of_somebody_else_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = key_file(tmp_path, GOOD)
    assert keys.read_key(path) == GOOD
    make_anothers(path, monkeypatch)
    with pytest.raises(StoreUnavailable, match="another user"):
        keys.read_key(path)


# -------------------------------------------------------------------------------------------------------------- sealing


@given(st.binary(max_size=200), st.text(max_size=20))
def test_what_is_sealed_opens_in_its_context_only(plain: bytes, context: str) -> None:
    sealer: Sealer = keys.AeadSealer([GOOD])
    sealed = sealer.seal(plain, context)
    assert sealer.open(sealed, context) == plain
    assert len(plain) < 4 or plain not in sealed
    assert sealer.seal(plain, context) != sealed
    with pytest.raises(StoreError):
        sealer.open(sealed, context + "x")


def test_any_changed_byte_is_found() -> None:
    sealer = keys.AeadSealer([GOOD])
    sealed = sealer.seal(b"secret", "row")
    for place in range(len(sealed)):
        changed = bytearray(sealed)
        changed[place] ^= 1
        with pytest.raises(StoreError):
            sealer.open(bytes(changed), "row")
    for length in range(len(sealed)):
        with pytest.raises(StoreError):
            sealer.open(sealed[:length], "row")


def test_keys_can_be_changed() -> None:
    old, new = keys.AeadSealer([OTHER]), keys.AeadSealer([GOOD, OTHER])
    assert new.open(old.seal(b"x", "row"), "row") == b"x"
    sealed = new.seal(b"y", "row")
    assert keys.AeadSealer([GOOD]).open(sealed, "row") == b"y"
    with pytest.raises(StoreError, match="not at hand"):
        old.open(sealed, "row")


@pytest.mark.parametrize("bad", [[], [bytes(32)], [GOOD, b"short"]])
def test_a_sealer_needs_good_keys(bad: list[bytes]) -> None:
    with pytest.raises(StoreError):
        keys.AeadSealer(bad)


def test_no_repr_shows_a_key() -> None:
    shown = (
        repr(keys.AeadSealer([GOOD])) + repr(keys.Ed25519Signer(GOOD)) + repr(vars(keys.AeadSealer([GOOD])))
    )
    for form in (GOOD.hex(), repr(GOOD)[2:-1], base64.b64encode(GOOD).decode()):
        assert form not in shown


# -------------------------------------------------------------------------------------------------------------- signing


def test_signatures_verify_with_this_and_trusted_keys_only(tmp_path: Path) -> None:
    for name in ("old", "new", "foreign"):
        (tmp_path / name).mkdir()
        keys.generate_key_files(tmp_path / name)
    old = keys.load_signer(tmp_path / "old" / "signing.key")
    foreign = keys.load_signer(tmp_path / "foreign" / "signing.key")
    new: Signer = keys.load_signer(tmp_path / "new" / "signing.key", [tmp_path / "old" / "signing.pub"])
    assert new.verify(new.key_id, b"m", new.sign(b"m"))
    assert new.verify(old.key_id, b"m", old.sign(b"m"))
    assert not new.verify(foreign.key_id, b"m", foreign.sign(b"m"))
    assert not new.verify(new.key_id, b"m", old.sign(b"m"))
    assert not new.verify(new.key_id, b"M", new.sign(b"m"))
    assert not new.verify(new.key_id, b"m", b"")
    assert new.sign(b"m") == keys.load_signer(tmp_path / "new" / "signing.key").sign(b"m")


@pytest.mark.parametrize(
    "content", [b"", b"\xff", b"ssh-ed25519 AAAA", b"bastide-ed25519 AAAA", b"bastide-ed25519 !!!!"]
)
def test_what_is_no_public_key_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x.pub").write_bytes(content)
    with pytest.raises(StoreUnavailable, match="public key"):
        keys.read_public_key(tmp_path / "x.pub")


# ----------------------------------------------------------------------------------------------------- codes and chance


def test_codes_match_their_hash_only(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    hasher: CodeHasher = keys.Argon2Hasher()
    hashed = hasher.hash("K7P2-ÄÖ")
    assert hashed.startswith("$argon2id$")
    assert "K7P2" not in hashed + caplog.text
    assert hasher.matches(hashed, "K7P2-ÄÖ")
    assert not hasher.matches(hashed, "K7P2-ÄÖ ")
    assert not hasher.matches("not a hash", "K7P2-ÄÖ")
    assert not hasher.matches(hashed[:-3], "K7P2-ÄÖ")
    assert hasher.hash("K7P2-ÄÖ") != hashed


def test_passwords_have_all_four_classes() -> None:
    chance: Random = keys.SystemRandom()
    made = {chance.password(24) for _ in range(200)}
    assert len(made) == 200
    for password in made | {chance.password(4)}:
        for one in ("[A-Z]", "[a-z]", "[0-9]", "[^A-Za-z0-9]"):
            assert re.search(one, password), password
        assert password.isascii()
        assert password.isprintable()
        assert not set(password) & set("\"'\\`$&<>;|, ")
    assert len(chance.password(24)) == 24
    with pytest.raises(ValueError, match="four"):
        chance.password(3)


def test_uuids_and_tokens_do_not_repeat() -> None:
    chance = keys.SystemRandom()
    assert len({chance.uuid() for _ in range(1000)}) == 1000
    assert len({chance.token(16) for _ in range(1000)}) == 1000
    assert {len(chance.token(n)) for n in (0, 5, 32)} == {0, 5, 32}
