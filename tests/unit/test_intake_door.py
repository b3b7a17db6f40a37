"""The door for forwarders: TLS with a certificate that names a source, lines bounded, a database that is down waits; and the way from there to the report."""

import json
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from litestar.testing import TestClient

from bastide.config import ConfigError
from bastide.domain.errors import StoreBusy
from bastide.domain.observed_lines import LINE_LIMIT
from bastide.intake import server
from bastide.intake.frames import BadFrameError, Frames
from bastide.intake.server import Intake
from bastide.listener import STRANGERS_OF_ONE_ADDRESS
from bastide.sections import Intake as Table
from bastide.services.intake.accept import Accept
from bastide.wiring.intake import intake_adapters, intake_tls
from bastide_lab.targets import Pair
from tests.support.api import ApiWorld, app_over
from tests.support.certificates import issue
from tests.support.intake_world import STRANGER, IntakeWorld, samba_group
from tests.support.patience import PATIENCE
from tests.unit.test_config import read

ADMINS = "CN=Domain Admins,CN=Users,DC=corp,DC=bastide,DC=test"


def line(number: int = 0) -> bytes:
    return samba_group(STRANGER, f"CN=eve{number},DC=x", ADMINS)


# --------------------------------------------------------------------------------------------------------------- frames


def test_lines_that_end_with_a_line_feed_in_any_pieces() -> None:
    frames, found = Frames(), []
    for place in range(0, 20, 3):
        found += frames.feed(b'{"a":1}\r\n\n{"b":2}\n'[place : place + 3])
    assert found == [b'{"a":1}', b'{"b":2}']


def test_lines_by_octet_counting_in_any_pieces() -> None:
    frames, found = Frames(), []
    for byte in b'7 {"a":1}8 {"b":\n2}':
        found += frames.feed(bytes([byte]))
    assert found == [b'{"a":1}', b'{"b":\n2}']


@pytest.mark.parametrize(
    "said", [b"x" * (LINE_LIMIT + 1), b"9999999 ", b"99999999", b"70000 x", b"12x{", b"7 {}     {x 1"]
)
def test_what_cannot_be_told_apart_ends_it(said: bytes) -> None:
    frames = Frames()
    with pytest.raises(BadFrameError):
        frames.feed(said)


# ----------------------------------------------------------------------------------------------------------------- door


class Doors:
    """A door, and certificates for who comes."""

    def __init__(self, world: IntakeWorld, folder: Path) -> None:
        self.world = world
        self._folder = folder
        self.ours = issue(folder, "server", "localhost")
        self.ca = issue(folder, "ca", "ca.test")
        table = Table(ca=str(self.ca.certificate), sources=[])
        self.door = Intake(
            "127.0.0.1",
            0,
            tls=intake_tls(table, str(self.ours.certificate), str(self.ours.key)),
            sources={one.subject: one for one in world.intake.sources},
            accept=world.intake.accept,
            monotonic=time.monotonic,
        )
        self.door.start()

    def pair(self, host: str, *, ca: Pair | None = None) -> Pair:
        ca = ca or self.ca
        return issue(self._folder, f"client-{host}", host, ca=ca.certificate, ca_key=ca.key)

    @contextmanager
    def connected(self, pair: Pair | None) -> Iterator[ssl.SSLSocket]:
        context = ssl.create_default_context(cafile=str(self.ours.certificate))
        if pair is not None:
            context.load_cert_chain(pair.certificate, pair.key)
        plain = socket.create_connection(("127.0.0.1", self.door.port), PATIENCE)
        with context.wrap_socket(plain, server_hostname="localhost") as channel:
            yield channel

    def hung_up_on(self, pair: Pair | None) -> bool:
        """Whether nothing that is said there counts."""
        with suppress(OSError), self.connected(pair) as channel:
            channel.sendall(line() + b"\n")
            return channel.recv(1) == b""
        return True

    def until(self, true: Callable[[], bool]) -> None:
        deadline = time.monotonic() + PATIENCE
        while not true():
            assert time.monotonic() < deadline
            time.sleep(0.02)


@pytest.fixture
def doors(tmp_path: Path) -> Iterator[Doors]:
    world = IntakeWorld()
    made = Doors(world, tmp_path)
    yield made
    made.door.stop()
    world.close()


def test_a_source_with_its_certificate_is_heard(doors: Doors) -> None:
    with doors.connected(doors.pair("DC1.corp.bastide.test")) as channel:
        channel.sendall(b"".join(line(number) + b"\n" for number in range(3)))
        doors.until(lambda: len(doors.world.all()) == 3)
    assert {one.change.source for one in doors.world.all()} == {"dc1"}


def test_nobody_else_is(doors: Doors, tmp_path: Path) -> None:
    strange = issue(tmp_path, "strange-ca", "ca.test")
    assert doors.hung_up_on(None)
    assert doors.hung_up_on(doors.pair("dc1.corp.bastide.test", ca=strange))
    assert doors.hung_up_on(doors.pair("elsewhere.corp.bastide.test"))
    assert doors.world.all() == ()


def test_plain_text_is_nobody(doors: Doors) -> None:
    with socket.create_connection(("127.0.0.1", doors.door.port), PATIENCE) as plain:
        plain.sendall(line() + b"\n")
        with suppress(OSError):
            while plain.recv(4096):
                pass
    assert doors.world.all() == ()


def test_a_line_that_never_ends_ends_the_connection(doors: Doors) -> None:
    with doors.connected(doors.pair("dc1.corp.bastide.test")) as channel, suppress(OSError):
        channel.sendall(b"x" * (2 * LINE_LIMIT))
        assert channel.recv(1) == b""
    assert doors.world.all() == ()


def test_one_source_has_few_connections(doors: Doors, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "PER_SOURCE", 1)
    pair = doors.pair("dc1.corp.bastide.test")
    with doors.connected(pair) as first:
        first.sendall(line(1) + b"\n")
        doors.until(lambda: len(doors.world.all()) == 1)
        assert doors.hung_up_on(pair)
        first.sendall(line(2) + b"\n")
        doors.until(lambda: len(doors.world.all()) == 2)


def test_who_shows_no_certificate_keeps_no_forwarder_out(doors: Doors) -> None:
    """(3): they say nothing, from its own address."""
    silent = [socket.create_connection(("127.0.0.1", doors.door.port)) for _ in range(2 * doors.door._most)]
    pair = doors.pair("dc1.corp.bastide.test")
    with doors.connected(pair) as channel:
        channel.sendall(line(1) + b"\n")
        doors.until(lambda: len(doors.world.all()) == 1)
        silent += [socket.create_connection(("127.0.0.1", doors.door.port)) for _ in range(doors.door._most)]
        channel.sendall(line(2) + b"\n")
        doors.until(lambda: len(doors.world.all()) == 2)
    doors.until(lambda: len(doors.door._open) <= STRANGERS_OF_ONE_ADDRESS)
    for one in silent:
        one.close()


def test_all_sources_together_have_many_connections_and_no_more(
    doors: Doors, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """(3)."""
    monkeypatch.setattr(server, "CONNECTIONS", 1)
    with doors.connected(doors.pair("dc1.corp.bastide.test")) as first:
        first.sendall(line(1) + b"\n")
        doors.until(lambda: len(doors.world.all()) == 1)
        assert doors.hung_up_on(doors.pair("wec.corp.bastide.test"))
    assert "all sources together have too many connections" in caplog.text


def test_while_the_database_takes_nothing_lines_wait(doors: Doors, monkeypatch: pytest.MonkeyPatch) -> None:
    real, failures = Accept.lines, [StoreBusy("locked"), StoreBusy("locked")]
    monkeypatch.setattr(server, "_PAUSE", 0.01)

    def lines(self: Accept, *given: object) -> None:
        if failures:
            raise failures.pop()
        real(self, *given)  # type: ignore[arg-type]

    monkeypatch.setattr(Accept, "lines", lines)
    with doors.connected(doors.pair("dc1.corp.bastide.test")) as channel:
        channel.sendall(line() + b"\n")
        doors.until(lambda: len(doors.world.all()) == 1)
    assert failures == []


def test_at_the_end_who_is_connected_is_hung_up_on(doors: Doors) -> None:
    with doors.connected(doors.pair("dc1.corp.bastide.test")) as channel:
        channel.sendall(line() + b"\n")
        doors.until(lambda: len(doors.world.all()) == 1)
        doors.door.stop(PATIENCE)
        assert channel.recv(1) == b""
    assert [one.name for one in threading.enumerate() if one.name.startswith("intake")] == []


def test_who_never_shakes_hands_holds_up_no_end(doors: Doors) -> None:
    silent = [socket.create_connection(("127.0.0.1", doors.door.port), PATIENCE) for _ in range(5)]
    doors.until(lambda: len(doors.door._open) == len(silent))
    began = time.monotonic()
    doors.door.stop(PATIENCE)
    assert time.monotonic() - began < server._SHAKING / 2
    for one in silent:
        one.close()


def test_a_door_that_asks_for_no_certificate_is_none(doors: Doors) -> None:
    with pytest.raises(ValueError, match="asks for their certificates"):
        Intake(
            "127.0.0.1", 0, tls=ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), sources={}, accept=doors.world.intake.accept,
            monotonic=time.monotonic,
        )  # fmt: skip


# ------------------------------------------------------------------------------------------------------------- settings

HEAD = '[server]\ncertificate = "/c"\nkey = "/k"\n'
TABLE = '[intake]\nca = "/ca"\n{}\n[[intake.sources]]\nname = "dc1"\nformat = "{}"\nsubject = "{}"\n{}\n'


def test_the_table_as_it_is_meant(tmp_path: Path) -> None:
    more = 'computers = ["A.x.test"]\ncomplete = true\nsilence_minutes = 60'
    made = intake_adapters(read(tmp_path, HEAD + TABLE.format("", "windows", "WEC.x.test", more)), ("svc",))
    assert made is not None
    (source,) = made.sources
    assert (source.subject, source.computers, source.complete) == (
        "wec.x.test",
        frozenset({"a.x.test"}),
        True,
    )
    assert (source.silence.total_seconds(), made.late.total_seconds()) == (3600, 300)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (TABLE.format("", "samba", "dc1.x.test", ""), "events come over TLS alone"),
        (HEAD + TABLE.format("late_minutes = 0", "samba", "dc1.x.test", ""), "1 to 1440, not 0"),
        (HEAD + TABLE.format("", "samba", "*.x.test", ""), "no DNS name of a machine"),
        (HEAD + TABLE.format("", "samba", "dc1.x.test", "silence_minutes = -1"), "0 to 10080, not -1"),
        (HEAD + TABLE.format("", "samba", "dc1.x.test", "complete = true"), "are for windows"),
        (HEAD + TABLE.format("", "leef", "dc1.x.test", ""), "Invalid enum value 'leef'"),
        (HEAD + '[intake]\nca = "/ca"\nsources = []\n', "names no source"),
    ],
)
def test_what_cannot_be_meant_is_refused_when_it_is_read(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        read(tmp_path, text)


# ------------------------------------------------------------------------------------------------------------------ API


class IntakeApi(IntakeWorld, ApiWorld):
    """The API in front of it."""

    def __init__(self) -> None:
        IntakeWorld.__init__(self)
        self._secrets: dict[str, bytes] = {}


def test_the_report_over_the_api() -> None:
    world = IntakeApi()
    world.take(line(), b"junk")
    world.judged()
    with app_over(world.services) as made, TestClient(made, raise_server_exceptions=False) as client:
        world.client = client
        said = world.caller("dave").get("/privileged-changes?unexplained=true").json()
        assert said["report"] == "privileged-changes"
        row = dict(zip(said["columns"], said["rows"][0], strict=True))
        assert (row["verdict"], row["what"], row["group"]) == ("unexplained", "member-added", ADMINS)
        assert any("refused, the last" in note for note in said["notes"])
        assert world.corp_caller("alice").get("/privileged-changes").status_code == 403
    world.close()


def test_without_the_table_the_api_says_what_to_write() -> None:
    world = ApiWorld()
    with app_over(world.services) as made, TestClient(made, raise_server_exceptions=False) as client:
        world.client = client
        answer = world.caller("dave").get("/privileged-changes")
    assert (answer.status_code, "[intake]" in json.dumps(answer.json())) == (409, True)
    world.close()
