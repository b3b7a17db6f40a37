"""Where audit records go: nothing is lost in silence, and nothing in a record can forge another."""

import json
import os
import re
import resource
import signal
import socket
import ssl
import stat
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from hypothesis import given
from hypothesis import strategies as st

from bastide.audit.export import SYSLOG_LIMIT, from_json, json_line, json_object, syslog_message
from bastide.audit.file import FileSink
from bastide.audit.syslog import SyslogSink
from bastide.config import ConfigError
from bastide.domain.audit import GENESIS, Event, Record, chain, verify
from bastide.services.ports import AuditSink
from tests.support.build import NOW

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
HOSTILE = 'a"b]c\\d\r\n<109>1 2026-01-01T00:00:00Z evil bastide - forged\0\x85\u2028\u202e'


def records(number: int = 3, **changes: Any) -> list[Record]:
    made: list[Record] = []
    for n in range(number):
        fields: dict[str, Any] = {
            "at": NOW + timedelta(seconds=n),
            "actor": "S-1-5-21-1",
            "actor_name": "CORP\\dave",
        }
        event = Event("request.active", **fields | {"data": {"n": n}} | changes)
        made.append(chain(event, n + 1, made[-1].hash if made else GENESIS))
    return made


# --------------------------------------------------------------------------------------------------------------- formats


@given(
    data=st.dictionaries(
        texts,
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | texts, st.lists
        ),
    ),
    name=texts,
)
def test_an_exported_record_comes_back_and_verifies(data: dict[str, object], name: str) -> None:
    (record,) = records(1, data=data, actor_name=name)
    line = json_line(record)
    assert from_json(line) == record
    assert list(verify([from_json(line)])) == [record]
    assert len(line.splitlines()) == 1


def test_data_is_an_object_for_other_programs() -> None:
    (record,) = records(1, data={"ttl": 60})
    assert json.loads(json_line(record)) == json_object(record)
    assert json_object(record)["data"] == {"ttl": 60}
    assert json_object(record)["at"] == "2026-11-21T09:00:00.000000+00:00"


@pytest.mark.parametrize("data", ["not json", '{"a": 1}', '{"b":1,"a":2}', "[1]", '{"a":1,"a":2}', ""])
def test_tampered_data_is_exported_as_it_is(data: str) -> None:
    (record,) = records(1)
    tampered = Record(**{name: getattr(record, name) for name in Record.__slots__} | {"data": data})
    assert from_json(json_line(tampered)) == tampered


@pytest.mark.parametrize("line", ["", "x", "[]", "{}", '{"data": 1}', "null"])
def test_what_is_no_export_is_refused(line: str) -> None:
    with pytest.raises(ValueError, match=r"audit record|Expecting value"):
        from_json(line)


def test_a_syslog_message_has_the_form_of_rfc_5424() -> None:
    (record,) = records(1, subject="S-1-5-21-2", subject_name="priv.alice", request="r1", data={"why": "x"})
    assert syslog_message(record, "pam1.example.org").decode() == (
        "<109>1 2026-11-21T09:00:00.000000Z pam1.example.org bastide - request.active "
        '[bastide@32473 seq="1" actor="S-1-5-21-1" actorName="CORP\\\\dave" subject="S-1-5-21-2" '
        f'subjectName="priv.alice" request="r1" hash="{record.hash}" data="{{\\"why\\":\\"x\\"}}"] '
        "\ufeffrequest.active CORP\\dave priv.alice"
    )


def parsed(message: bytes) -> tuple[list[str], dict[str, str], str]:
    """A small RFC 5424 parser, written from the ABNF and not from the code under test."""
    *header, rest = message.decode().split(" ", 6)
    values: dict[str, str] = {}
    assert rest.startswith("[bastide@32473 ")
    rest = rest.removeprefix("[bastide@32473 ")
    while not rest.startswith("]"):
        found = re.match(r'([^ ="\]]+)="((?:\\["\\\]]|[^"\\\]])*)" ?', rest)
        assert found, rest
        values[found[1]] = re.sub(r'\\(["\\\]])', r"\1", found[2])
        rest = rest[found.end() :]
    return header, values, rest[2:]


@given(st.one_of(texts, st.just(HOSTILE)), st.one_of(texts, st.just(HOSTILE)), texts)
def test_nothing_in_a_record_can_forge_another(name: str, kind: str, host: str) -> None:
    (record,) = records(1, actor_name=name, subject_name=name, data={"why": name})
    hostile = Record(**{n: getattr(record, n) for n in Record.__slots__} | {"kind": kind})
    message = syslog_message(hostile, host)
    assert not re.search(rb"[\x00-\x1f\x7f]", message)
    assert len(message.decode().splitlines()) == 1
    header, values, _ = parsed(message)
    assert len(header) == 6
    assert (header[0], header[3], values["seq"], values["hash"]) == ("<109>1", "bastide", "1", record.hash)


def test_a_long_record_is_cut_and_says_so() -> None:
    (record,) = records(1, actor_name="n" * 30_000, data={"x": "y" * 30_000})
    message = syslog_message(record, "h")
    assert len(message) <= SYSLOG_LIMIT
    _, values, _ = parsed(message)
    assert values["truncated"] == "1"
    assert values["hash"] == record.hash
    assert "data" not in values


# ------------------------------------------------------------------------------------------------------------------ file


def test_the_file_grows_by_lines_that_verify(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    sink: AuditSink = FileSink(path)
    made = records(5)
    sink.write(made[:2])
    sink.write([])
    sink.write(made[2:])
    assert [from_json(line) for line in path.read_text(encoding="utf-8").splitlines()] == made
    assert stat.S_IMODE(path.stat().st_mode) & 0o027 == 0
    assert sink.name == f"file:{path}"


def test_a_rotated_file_is_made_anew(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    sink, made = FileSink(path), records(3)
    sink.write(made[:1])
    path.rename(tmp_path / "audit.jsonl.1")
    sink.write(made[1:2])
    os.truncate(path, 0)
    sink.write(made[2:])
    assert [from_json(line).seq for line in path.read_text().splitlines()] == [3]
    assert [from_json(line).seq for line in (tmp_path / "audit.jsonl.1").read_text().splitlines()] == [1]


def test_a_torn_line_does_not_spoil_the_next(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    path.write_text('{"seq":1,"at')
    FileSink(path).write(records(1))
    assert from_json(path.read_text().splitlines()[1]).seq == 1


def test_a_full_disk_raises_and_leaves_no_half_batch(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    sink, made = FileSink(path), records(50)
    sink.write(made[:1])
    before = path.read_bytes()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) + 700, hard))
    try:
        with pytest.raises(OSError, match="large"):
            sink.write(made[1:])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, ignored)
    assert path.read_bytes() == before
    sink.write(made[1:])
    assert len(path.read_text().splitlines()) == 50


def test_a_missing_directory_or_a_link_raises(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
    for name, message in (("missing/audit.jsonl", "No such file"), ("link", "symbolic links")):
        with pytest.raises(OSError, match=message):
            FileSink(tmp_path / name).write(records(1))


# ---------------------------------------------------------------------------------------------------------------- syslog


@contextmanager
def receiver(serve: Callable[[socket.socket], bytes]) -> Iterator[tuple[int, list[bytes]]]:
    """A TCP receiver for one connection; what it got."""
    got: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.settimeout(10)

        def run() -> None:
            connection, _ = listening.accept()
            with connection:
                got.append(serve(connection))

        thread = threading.Thread(target=run)
        thread.start()
        yield listening.getsockname()[1], got
        thread.join(10)
        assert not thread.is_alive()


def everything(connection: socket.socket) -> bytes:
    data = b""
    while chunk := connection.recv(65536):
        data += chunk
    return data


def frames(data: bytes) -> list[bytes]:
    """RFC 6587, 3.4.1: MSG-LEN SP SYSLOG-MSG."""
    found = []
    while data:
        length, _, rest = data.partition(b" ")
        found.append(rest[: int(length)])
        data = rest[int(length) :]
    return found


def test_tcp_counts_octets(tmp_path: Path) -> None:
    made = records(300, actor_name="Größe\n")
    with receiver(everything) as (port, got):
        sink = SyslogSink(f"tcp://127.0.0.1:{port}", host="pam1")
        sink.write(made)
    assert frames(got[0]) == [syslog_message(record, "pam1") for record in made]
    assert sink.name == f"syslog:tcp://127.0.0.1:{port}"


def test_a_receiver_that_drops_the_connection_has_not_taken_the_records() -> None:
    def drop(connection: socket.socket) -> bytes:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        return b""

    # ENOTCONN, when the reset came before we said that this is all, is no ConnectionError to Python.
    with receiver(drop) as (port, _), pytest.raises(OSError, match=r"reset|Broken pipe|not connected"):
        SyslogSink(f"tcp://127.0.0.1:{port}").write(records(500))


def test_a_receiver_that_keeps_the_connection_open_has_taken_them() -> None:
    done = threading.Event()

    def keep(connection: socket.socket) -> bytes:
        data = everything(connection)
        done.wait(5)
        return data

    with receiver(keep) as (port, got):
        SyslogSink(f"tcp://127.0.0.1:{port}", timeout=0.3).write(records(2))
        done.set()
    assert len(frames(got[0])) == 2


def test_a_receiver_that_stops_reading_has_not() -> None:
    done = threading.Event()

    def stall(_: socket.socket) -> bytes:
        done.wait(10)
        return b""

    with receiver(stall) as (port, _):
        with pytest.raises(OSError, match="timed out"):
            SyslogSink(f"tcp://127.0.0.1:{port}", timeout=0.3).write(records(20_000))
        done.set()


def test_nobody_listening_raises() -> None:
    for address in (
        "tcp://127.0.0.1:1",
        "tls://127.0.0.1:1",
        "unix:/nonexistent/log",
        "tcp://no-such-host.invalid",
    ):
        with pytest.raises((ConnectionRefusedError, FileNotFoundError, socket.gaierror)):
            SyslogSink(address).write(records(1))


def test_a_socket_that_is_not_there_is_named() -> None:
    with pytest.raises(FileNotFoundError, match="/nonexistent/log"):
        SyslogSink("unix:/nonexistent/log").write(records(1))


def test_unix_and_udp_send_one_datagram_each(tmp_path: Path) -> None:
    made = records(3)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as local:
        local.bind(str(tmp_path / "log"))
        SyslogSink(f"unix:{tmp_path}/log", host="h").write(made)
        assert [local.recv(65536) for _ in made] == [syslog_message(record, "h") for record in made]
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
        udp.bind(("127.0.0.1", 0))
        udp.settimeout(5)
        SyslogSink(f"udp://127.0.0.1:{udp.getsockname()[1]}", host="h").write(made)
        assert [udp.recv(65536) for _ in made] == [syslog_message(record, "h") for record in made]


def test_udp_never_leaves_this_host() -> None:
    with pytest.raises(OSError, match="loses records"):
        SyslogSink("udp://192.0.2.1:514").write(records(1))


@pytest.mark.parametrize(
    "address",
    ["", "syslog", "http://h:1", "tcp://", "tcp://h:x", "tcp://h:99999", "unix:relative", "tcp://h/path"],
)
def test_what_is_no_receiver_is_refused(address: str) -> None:
    with pytest.raises(ConfigError, match="no receiver"):
        SyslogSink(address)


def test_a_ca_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="syslog_ca"):
        SyslogSink("tls://h", ca=str(tmp_path / "missing"))


def certificate(folder: Path, name: str) -> Path:
    """Self-signed, with its key, for a DNS name."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    path = folder / f"{name}.pem"
    path.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        + made.public_bytes(serialization.Encoding.PEM)
    )
    return path


def over_tls(path: Path) -> Callable[[socket.socket], bytes]:
    def serve(connection: socket.socket) -> bytes:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(path)
        try:
            with context.wrap_socket(connection, server_side=True) as secured:
                return everything(secured)
        except ssl.SSLError:
            return b"refused"

    return serve


def test_tls_verifies_the_name_and_counts_octets(tmp_path: Path) -> None:
    path = certificate(tmp_path, "localhost")
    made = records(50)
    with receiver(over_tls(path)) as (port, got):
        SyslogSink(f"tls://localhost:{port}", ca=str(path), host="h").write(made)
    assert frames(got[0]) == [syslog_message(record, "h") for record in made]


@pytest.mark.parametrize("right_ca", [True, False])
def test_tls_refuses_a_wrong_name_or_an_unknown_ca(tmp_path: Path, right_ca: bool) -> None:
    path = certificate(tmp_path, "other.example.org" if right_ca else "localhost")
    ca = str(path) if right_ca else ""
    with receiver(over_tls(path)) as (port, got), pytest.raises(ssl.SSLCertVerificationError):
        SyslogSink(f"tls://localhost:{port}", ca=ca).write(records(1))
    assert got == [b"refused"]
