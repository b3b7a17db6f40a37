"""MD4, the OpenPGP key, and what opens with it."""

import os
import shutil
import struct
import subprocess
import sys
import zlib
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from pysequoia import Cert, encrypt

from bastide.domain.errors import StoreError, StoreUnavailable
from bastide.store import openpgp
from bastide.store.md4 import Md4NtHasher, md4
from bastide.store.openpgp import (
    MESSAGE_LIMIT,
    PASSWORD_LIMIT,
    PRIVATE,
    PUBLIC,
    OpenPgpOpener,
    generate_openpgp,
    load_opener,
    read_certificate,
)

#: RFC 1320, A.5.
VECTORS = {
    b"": "31d6cfe0d16ae931b73c59d7e0c089c0",
    b"a": "bde52cb31de33e46245e05fbdbd6fb24",
    b"abc": "a448017aaf21d8525fc10ae87aa6729d",
    b"message digest": "d9130a8164549fe818874806e1c7014b",
    b"abcdefghijklmnopqrstuvwxyz": "d79e1c308aa5bbcdeea8ed63df412da9",
    b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789": "043f8582f241db351ce627e153e7f0e4",
    b"1234567890" * 8: "e33b4ddc9c38f2199c3e7b164fcc0536",
}
PASSWORD = "Grüße 🐟 pass"


@pytest.mark.parametrize("message", VECTORS, ids=lambda m: str(len(m)))
def test_md4(message: bytes) -> None:
    assert md4(message).hex() == VECTORS[message]


@pytest.mark.parametrize("size", [54, 55, 56, 57, 63, 64, 65, 119, 120, 512])
def test_md4_at_the_edges_of_blocks(size: int) -> None:
    assert len(md4(b"x" * size)) == 16
    assert md4(b"x" * size) != md4(b"x" * (size - 1))


def test_nt_hash() -> None:
    """[MS-NLMP] 4.2.2.1.2: the password `Password`."""
    assert Md4NtHasher().nt_hash("Password").hex() == "a4f49c406510bdcab6824ee7c30fd852"


def test_a_key_is_made_once_and_for_its_owner(tmp_path: Path) -> None:
    fingerprint = generate_openpgp(tmp_path)
    assert (tmp_path / PRIVATE).stat().st_mode & 0o777 == 0o600
    certificate = read_certificate(tmp_path / PUBLIC)
    found = Cert.from_bytes(certificate)
    assert found.fingerprint.upper() == fingerprint
    assert len(certificate) < len((tmp_path / PRIVATE).read_bytes())
    (tmp_path / "copy").write_bytes(certificate)
    (tmp_path / "copy").chmod(0o600)
    with pytest.raises(StoreUnavailable, match="not a private"):
        load_opener([tmp_path / "copy"])
    assert found.expiration is None, "Samba refuses every password change while it cannot encrypt"
    with pytest.raises(FileExistsError):
        generate_openpgp(tmp_path)
    with pytest.raises(StoreUnavailable, match="private"):
        read_certificate(tmp_path / PRIVATE)


def _one(opener: OpenPgpOpener, message: bytes) -> bytes:
    """What was in it. Raises what it says of it."""
    (answer,) = opener.open([message])
    if isinstance(answer, StoreError):
        raise answer
    return answer


def test_what_was_encrypted_opens_with_any_of_the_keys(tmp_path: Path) -> None:
    old, new = tmp_path / "old", tmp_path / "new"
    for folder in (old, new):
        folder.mkdir()
        generate_openpgp(folder)
    opener = load_opener([new / PRIVATE, old / PRIVATE])
    for folder in (old, new):
        certificate = Cert.from_bytes(read_certificate(folder / PUBLIC))
        message = encrypt(PASSWORD.encode("utf-16-le"), [certificate], armor=False)
        assert _one(opener, message).decode("utf-16-le") == PASSWORD
    with pytest.raises(StoreError) as refused:
        _one(load_opener([new / PRIVATE]), message[:-9] + b"damaged!!")
    assert "Stack" not in refused.value.message
    with pytest.raises(StoreError):
        _one(load_opener([old / PRIVATE]), message)
    with pytest.raises(StoreError):
        _one(opener, b"")
    assert repr(opener) == "OpenPgpOpener(2 keys)"


def test_gnupg_writes_what_we_open(tmp_path: Path) -> None:
    """Samba encrypts through GnuPG's library, with the keyring of root on the domain controller."""
    if shutil.which("gpg") is None:
        pytest.skip("gpg is not installed")
    generate_openpgp(tmp_path)
    home = tmp_path / "home"
    home.mkdir(mode=0o700)
    environment = {**os.environ, "GNUPGHOME": str(home)}
    subprocess.run(["gpg", "--batch", "--quiet", "--import", tmp_path / PUBLIC], env=environment, check=True)
    arguments = ["--trust-model", "always", "--encrypt", "--recipient", "Bastide password synchronization"]
    made = subprocess.run(
        ["gpg", "--batch", "--quiet", *arguments],
        input=PASSWORD.encode("utf-16-le"),
        env=environment,
        capture_output=True,
        check=True,
    )
    subprocess.run(["gpgconf", "--kill", "all"], env=environment, check=False)
    assert _one(load_opener([tmp_path / PRIVATE]), made.stdout).decode("utf-16-le") == PASSWORD


def _packet(tag: int, body: bytes) -> bytes:
    """RFC 9580, 4.2.1."""
    return bytes([0xC0 | tag, 255]) + struct.pack(">I", len(body)) + body


def _compressed(pieces: Iterator[bytes], layers: int) -> bytes:
    """Packets, compressed so many times over (RFC 9580, 5.6)."""
    squeeze = zlib.compressobj(9)
    body = b"".join(map(squeeze.compress, pieces)) + squeeze.flush()
    for _ in range(layers - 1):
        body = zlib.compress(_packet(8, b"\x02" + body), 9)
    return _packet(8, b"\x02" + body)


def _huge_literal(size: int) -> Iterator[bytes]:
    head = b"b\0" + bytes(4)
    yield bytes([0xCB, 255]) + struct.pack(">I", size + len(head)) + head
    for _ in range(size >> 20):
        yield bytes(1 << 20)


def _endless(count: int) -> Iterator[bytes]:
    """Marker packets, which are skipped, and then a password."""
    for _ in range(count >> 16):
        yield _packet(10, b"PGP") * (1 << 16)
    yield _packet(11, b"b\0" + bytes(4) + PASSWORD.encode("utf-16-le"))


def _encrypted(folder: Path, packets: bytes) -> bytes:
    if shutil.which("gpg") is None:
        pytest.skip("gpg is not installed")
    home = folder / "home"
    home.mkdir(mode=0o700)
    environment = {**os.environ, "GNUPGHOME": str(home)}
    subprocess.run(["gpg", "--batch", "--quiet", "--import", folder / PUBLIC], env=environment, check=True)
    arguments = ["--trust-model", "always", "--no-literal", "-z", "0", "--encrypt"]
    made = subprocess.run(
        ["gpg", "--batch", "--quiet", *arguments, "--recipient", "Bastide password synchronization"],
        input=packets,
        env=environment,
        capture_output=True,
        check=True,
    )
    subprocess.run(["gpgconf", "--kill", "all"], env=environment, check=False)
    return made.stdout


def test_a_small_message_that_becomes_a_huge_one_is_refused(tmp_path: Path) -> None:
    generate_openpgp(tmp_path)
    bomb = _encrypted(tmp_path, _compressed(_huge_literal(200 << 20), 3))
    assert len(bomb) < 1000
    opener = load_opener([tmp_path / PRIVATE])
    good = encrypt(b"x\0", [Cert.from_bytes(read_certificate(tmp_path / PUBLIC))], armor=False)
    for _ in range(2):
        with pytest.raises(StoreError, match="more than a password"):
            _one(opener, bomb)
        assert _one(opener, good) == b"x\0", "the next message is opened"


def test_a_message_that_takes_too_long_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    generate_openpgp(tmp_path)
    bomb = _encrypted(tmp_path, _compressed(_endless(1 << 25), 3))
    assert len(bomb) < MESSAGE_LIMIT
    opener = load_opener([tmp_path / PRIVATE])
    good = encrypt(b"x\0", [Cert.from_bytes(read_certificate(tmp_path / PUBLIC))], armor=False)
    assert _one(opener, good) == b"x\0"
    monkeypatch.setattr(openpgp, "_TIME", 0.5)
    with pytest.raises(StoreError, match="more than a password"):
        _one(opener, bomb)
    monkeypatch.setattr(openpgp, "_TIME", 30.0)
    assert _one(opener, good) == b"x\0"


def _said(opener: OpenPgpOpener, messages: Sequence[bytes]) -> list[bytes | str]:
    return [one.message if isinstance(one, StoreError) else one for one in opener.open(messages)]


def test_several_are_opened_in_their_order_and_a_bad_one_ends_itself_alone(tmp_path: Path) -> None:
    generate_openpgp(tmp_path)
    certificate = Cert.from_bytes(read_certificate(tmp_path / PUBLIC))
    opener = load_opener([tmp_path / PRIVATE])
    good = [encrypt(f"pass {number}".encode(), [certificate], armor=False) for number in range(5)]
    bomb = _encrypted(tmp_path, _compressed(_huge_literal(200 << 20), 3))
    long = "an OpenPGP message holds more than a password"
    bad = "a message was encrypted to another OpenPGP key, or is damaged"
    several = [good[0], bomb, good[1], b"", good[2], bytes(MESSAGE_LIMIT + 1), bomb, good[3], good[4], bomb]
    wanted = [b"pass 0", long, b"pass 1", bad, b"pass 2", long, long, b"pass 3", b"pass 4", long]
    assert _said(opener, several) == wanted
    assert _said(opener, good[:1]) == [b"pass 0"]
    assert _said(opener, []) == []


def test_each_has_its_own_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Many may take longer together than one may; what waits behind one that takes too long is opened by another process."""
    generate_openpgp(tmp_path)
    slow = _encrypted(tmp_path, _compressed(_endless(1 << 25), 3))
    good = encrypt(b"x\0", [Cert.from_bytes(read_certificate(tmp_path / PUBLIC))], armor=False)
    opener = load_opener([tmp_path / PRIVATE])
    assert _said(opener, [good]) == [b"x\0"]
    first = opener._child
    assert _said(opener, [good] * 200) == [b"x\0"] * 200
    assert opener._child is first, "one process for all"
    monkeypatch.setattr(openpgp, "_TIME", 0.5)
    assert _said(opener, [good, slow, good, good])[2:] == [b"x\0"] * 2
    assert opener._child is not first


def test_more_than_a_pipe_holds_is_opened_together(tmp_path: Path) -> None:
    generate_openpgp(tmp_path)
    certificate = Cert.from_bytes(read_certificate(tmp_path / PUBLIC))
    opener = load_opener([tmp_path / PRIVATE])
    longest = [f"{number:03}".encode().ljust(PASSWORD_LIMIT, b".") for number in range(150)]
    messages = [encrypt(one, [certificate], armor=False) for one in longest]
    padded = [b"\0" * MESSAGE_LIMIT if number % 3 else one for number, one in enumerate(messages)]
    assert sum(map(len, padded)) > 4 * 65536
    assert list(opener.open(messages)) == longest
    assert _said(opener, padded)[::3] == longest[::3]


def test_answers_that_nobody_took_are_not_taken_for_others(tmp_path: Path) -> None:
    generate_openpgp(tmp_path)
    certificate = Cert.from_bytes(read_certificate(tmp_path / PUBLIC))
    opener = load_opener([tmp_path / PRIVATE])
    first, second = (encrypt(one, [certificate], armor=False) for one in (b"first", b"second"))
    answers = opener.open([first] * 20)
    assert next(answers) == b"first"
    process = opener._child
    answers.close()
    assert process is None, "it was in use"
    assert _said(opener, [second]) == [b"second"]


def test_several_threads_share_the_process(tmp_path: Path) -> None:
    generate_openpgp(tmp_path)
    certificate = Cert.from_bytes(read_certificate(tmp_path / PUBLIC))
    opener = load_opener([tmp_path / PRIVATE])
    messages = [
        [encrypt(f"{thread} {n}".encode(), [certificate], armor=False) for n in range(20)]
        for thread in range(4)
    ]
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda one: _said(opener, one), messages))
    assert found == [[f"{thread} {n}".encode() for n in range(20)] for thread in range(4)]


def test_the_longest_password_opens_and_a_longer_one_does_not(tmp_path: Path) -> None:
    generate_openpgp(tmp_path)
    certificate = Cert.from_bytes(read_certificate(tmp_path / PUBLIC))
    opener = load_opener([tmp_path / PRIVATE])
    longest = "é".encode("utf-16-le") * 256
    assert len(longest) == PASSWORD_LIMIT
    message = encrypt(longest, [certificate], armor=False)
    assert _one(opener, message) == longest
    for wrong in (encrypt(longest + b"x\0", [certificate], armor=False), message + bytes(MESSAGE_LIMIT)):
        with pytest.raises(StoreError, match="more than a password"):
            _one(opener, wrong)


def test_the_process_has_neither_keys_in_its_arguments_nor_an_environment(tmp_path: Path) -> None:
    generate_openpgp(tmp_path)
    opener = load_opener([tmp_path / PRIVATE])
    assert len(_said(opener, [b""])) == 1
    assert opener._child is not None
    process = opener._child._process
    there = Path(f"/proc/{process.pid}")
    assert there.joinpath("environ").read_bytes() == b""
    assert len(there.joinpath("cmdline").read_bytes().split(b"\0")) == 4
    del opener
    assert process.poll() is not None, "it ends with its opener"


def test_without_a_process_the_message_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    generate_openpgp(tmp_path)
    monkeypatch.setattr(sys, "executable", str(tmp_path / "missing"))
    with pytest.raises(StoreUnavailable):
        _one(load_opener([tmp_path / PRIVATE]), b"x")


def test_a_key_that_others_can_read_is_refused(tmp_path: Path) -> None:
    generate_openpgp(tmp_path)
    (tmp_path / PRIVATE).chmod(0o644)
    with pytest.raises(StoreUnavailable, match="others"):
        load_opener([tmp_path / PRIVATE])
    with pytest.raises(StoreUnavailable):
        load_opener([tmp_path / "missing"])
    (tmp_path / "text").write_bytes(b"no key")
    (tmp_path / "text").chmod(0o600)
    with pytest.raises(StoreUnavailable):
        load_opener([tmp_path / "text"])
    with pytest.raises(StoreUnavailable):
        read_certificate(tmp_path / "text")


def test_the_command_makes_it_and_prints_the_fingerprint(tmp_path: Path) -> None:
    from typer.testing import CliRunner

    from bastide.cli.main import app

    folder = tmp_path / "keys"
    arguments = ["keys", "generate", "--openpgp", "--to", str(folder)]
    made = CliRunner().invoke(app, arguments)
    assert made.exit_code == 0, made.stderr
    fingerprint = str(Cert.from_bytes(read_certificate(folder / PUBLIC)).fingerprint).upper()
    assert f"fingerprint {fingerprint}\n" in made.output
    assert not (folder / "master.key").exists()
    again = CliRunner().invoke(app, arguments)
    assert again.exit_code != 0
    assert "exists" in again.stderr
