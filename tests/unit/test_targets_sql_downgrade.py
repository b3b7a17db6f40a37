"""Servers that lie: who stands in the middle and offers no TLS, or asks for the password itself, gets no byte of it (security-tests.md, row 11)."""

import socket
import struct
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from bastide.domain.errors import NotConfigured, TargetError, TargetUnavailable
from bastide.domain.management_agents import ManagementAgent, PasswordManagement
from bastide.services.passwords.ports import NewPassword, Security
from bastide_lab import tls
from tests.support.target_files import agent, registry
from tests.support.target_systems import cs_object

SECRET = "service-secret-of-the-agent"
Script = Callable[[socket.socket], bytes]

_PROTOCOL_41, _SECURE, _PLUGIN_AUTH = 0x200, 0x8000, 0x80000


def _packet(number: int, payload: bytes) -> bytes:
    return struct.pack("<I", len(payload))[:3] + bytes([number]) + payload


def _greeting() -> bytes:
    """HandshakeV10 without CLIENT_SSL: no TLS here, it says."""
    flags = _PROTOCOL_41 | _SECURE | _PLUGIN_AUTH
    return _packet(
        0,
        b"\x0a5.5.5-10.11.19-MariaDB\0" + struct.pack("<I", 1) + b"saltsalt\0" + struct.pack("<H", flags & 0xFFFF)
        + b"\x2d" + struct.pack("<H", 2) + struct.pack("<H", flags >> 16) + b"\x15" + bytes(10)
        + b"saltsaltsalt\0mysql_native_password\0",
    )  # fmt: skip


def _mariadb_without_tls(peer: socket.socket) -> bytes:
    peer.sendall(_greeting())
    return _rest(peer)


def _mariadb_asking(plugin: bytes) -> Script:
    def script(peer: socket.socket) -> bytes:
        peer.sendall(_greeting())
        heard = peer.recv(65536)
        peer.sendall(_packet(heard[3] + 1, b"\xfe" + plugin + b"\0Password: \0"))
        return heard + _rest(peer)

    return script


def _mariadb_with_a_key(plugin: bytes, *, in_greeting: bool) -> Script:
    """Asks for the password, encrypted to a key that it brings itself (MySQL's RSA exchange). What it hears is the ciphertext."""
    key = rsa.generate_private_key(65537, 2048).public_key()
    pem = key.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    full = b"\x01\x04"  # perform full authentication

    def script(peer: socket.socket) -> bytes:
        greeting = _greeting()
        if in_greeting:
            greeting = _packet(0, greeting[4:].replace(b"mysql_native_password", plugin))
        peer.sendall(greeting)
        heard = last = peer.recv(65536)
        if not in_greeting:
            peer.sendall(_packet(last[3] + 1, b"\xfe" + plugin + b"\0" + b"salt" * 5 + b"\0"))
            last = peer.recv(65536)
        for said in [full] * (plugin == b"caching_sha2_password") + [b"\x01" + pem]:
            if not last:
                return heard
            peer.sendall(_packet(last[3] + 1, said))
            last = peer.recv(65536)
            heard += last
        return heard

    return script


def _postgres_without_tls(peer: socket.socket) -> bytes:
    heard = peer.recv(8)
    peer.sendall(b"N")
    return heard + _rest(peer)


def _postgres_asking(request: int) -> Script:
    """5: MD5, which is as good as the password to whoever has it; 3: the clear text."""

    def script(peer: socket.socket) -> bytes:
        heard = peer.recv(65536)
        peer.sendall(
            b"R" + struct.pack(">II", 8 if request == 3 else 12, request) + (b"" if request == 3 else b"salt")
        )
        return heard + _rest(peer)

    return script


def _waived(made: ManagementAgent) -> ManagementAgent:
    return replace(made, passwords=PasswordManagement(require_secure=False))


def _rest(peer: socket.socket) -> bytes:
    peer.settimeout(5)
    heard = b""
    while part := peer.recv(65536):
        heard += part
    return heard


def _heard(kind: str, script: Script, folder: Path, mode: str) -> bytes:
    """What a lying server hears. The agent must have given up."""
    heard: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            peer, _ = server.accept()
            with peer:
                heard.append(script(peer))

        thread = threading.Thread(target=serve)
        thread.start()
        if not (folder / "ca.crt").exists():
            tls.issue(folder, "ca", "ca", ["throw-away CA"])
        settings = {
            "host": "127.0.0.1", "port": server.getsockname()[1], "database": "d", "user": "svc", "tls": mode,
            "ca": str(folder / "ca.crt"), "passwords": {"kind": "role"},
        }  # fmt: skip
        with pytest.raises(TargetError), registry().target(_waived(agent(kind, settings)), SECRET):
            pass
        thread.join(10)
    (said,) = heard
    return said


def test_no_tls_no_word(tmp_path: Path) -> None:
    assert _heard("mariadb", _mariadb_without_tls, tmp_path, "verify") == b""
    asked_for_tls = _heard("postgresql", _postgres_without_tls, tmp_path, "verify")
    assert asked_for_tls == struct.pack(">II", 8, 80877103)


@pytest.mark.parametrize(
    ("kind", "script"),
    [
        ("mariadb", _mariadb_asking(b"mysql_clear_password")),
        ("mariadb", _mariadb_asking(b"mysql_old_password")),
        ("mariadb", _mariadb_asking(b"dialog")),
        ("postgresql", _postgres_asking(3)),
        ("postgresql", _postgres_asking(5)),
    ],
    ids=["clear", "old", "dialog", "pg-clear", "pg-md5"],
)
def test_without_tls_nobody_gets_the_secret_by_asking(kind: str, script: Script, tmp_path: Path) -> None:
    heard = _heard(kind, script, tmp_path, "off")
    assert b"svc" in heard  # it did speak to us
    assert SECRET.encode() not in heard
    assert b"md5" not in heard


@pytest.mark.parametrize("in_greeting", [False, True], ids=["switched", "greeted"])
@pytest.mark.parametrize("plugin", [b"sha256_password", b"caching_sha2_password"], ids=bytes.decode)
def test_without_tls_nobody_gets_the_secret_by_bringing_a_key(
    plugin: bytes, tmp_path: Path, *, in_greeting: bool
) -> None:
    heard = _heard("mariadb", _mariadb_with_a_key(plugin, in_greeting=in_greeting), tmp_path, "off")
    assert b"svc" in heard
    assert len(heard) < 256, "an RSA-2048 ciphertext of the secret has 256 bytes"


@pytest.mark.parametrize("kind", ["mariadb", "postgresql"])
def test_without_tls_and_without_a_waiver_nobody_is_called(kind: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.2)
        settings = {
            "host": "127.0.0.1", "port": server.getsockname()[1], "database": "d", "user": "svc", "tls": "off",
            "passwords": {"kind": "role"}, "read": {"table": "people", "anchor": "id"},
        }  # fmt: skip
        strict = agent(kind, settings)
        with registry().target(strict, SECRET) as target:
            assert target.security() is Security.NOT_SECURE
            with pytest.raises(TargetUnavailable, match="tls is off"):
                target.set([NewPassword(cs_object("alice"), "new-one")])
            with pytest.raises(TargetUnavailable, match="tls is off"):
                target.change(cs_object("alice"), "old-one", "new-one")
            with pytest.raises(TargetUnavailable, match="tls is off"):
                target.verify(cs_object("alice"), "new-one")
        with pytest.raises(NotConfigured, match="tls is off"):
            next(registry().connector(strict, SECRET).read(b""))
        with pytest.raises(TimeoutError):
            server.accept()
