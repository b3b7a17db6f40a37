"""The sealed connection, without a KDC: what the agent does when the other side does not keep the rules."""

import socket
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

import gssapi
import pytest
from gssapi.raw import RequirementFlag
from gssapi.raw.misc import GSSError

from bastide import wire
from bastide.wire import Answer, FromServer, Heartbeat, Verdict, Welcome, WireError
from bastide_agent import channel as channel_module
from bastide_agent.channel import GssChannel, KerberosConnector, Machine
from bastide_agent.failures import HungUp, Refused, SealBroken, Unreachable, Unusable
from tests.support.agent import target

BEAT = Heartbeat(waiting=0, oldest=0)
ACCEPTED = Answer(reference="", verdict=Verdict.ACCEPTED)
MACHINE = Machine(principal="DC$@X", realm="X", domain="x.test", controller="dc.x.test", software="agent 1")


@dataclass
class Opened:
    message: bytes
    encrypted: bool = True


class Context:
    """Seals by turning bytes around; says what a test wants of the rest."""

    def __init__(self, *, encrypted: bool = True, flags: int = -1, steps: int = 1) -> None:
        self.encrypted = encrypted
        self.actual_flags = channel_module._NEEDED if flags < 0 else flags
        self.left = steps
        self.broken = False

    @property
    def complete(self) -> bool:
        return self.left <= 0

    def step(self, _token: bytes | None) -> bytes:
        self.left -= 1
        return b"token"

    def wrap(self, message: bytes, _seal: bool) -> Opened:
        return Opened(message[::-1])

    def unwrap(self, sealed: bytes) -> Opened:
        if self.broken:
            raise GSSError(1 << 16, 0)
        return Opened(sealed[::-1], self.encrypted)


def talking(context: Context, serve: Callable[[socket.socket], None]) -> GssChannel:
    """A channel after its handshake, and a server's thread behind it."""
    ours, theirs = socket.socketpair()

    def run() -> None:
        with theirs:
            serve(theirs)

    threading.Thread(target=run, daemon=True).start()
    made = GssChannel(ours)
    made._context = cast("Any", context)
    return made


def saying(answer: FromServer) -> Callable[[socket.socket], None]:
    def serve(connection: socket.socket) -> None:
        connection.recv(65536)
        connection.sendall(wire.frame(wire.encode(answer)[::-1]))

    return serve


def raw(data: bytes) -> Callable[[socket.socket], None]:
    def serve(connection: socket.socket) -> None:
        connection.recv(65536)
        connection.sendall(data)

    return serve


def test_an_answer_is_heard() -> None:
    with_answer = talking(Context(), saying(ACCEPTED))
    assert with_answer.ask(BEAT) == ACCEPTED
    with_answer.close()


def test_what_was_not_encrypted_is_not_read() -> None:  # (5)
    plain = talking(Context(encrypted=False), saying(ACCEPTED))
    with pytest.raises(SealBroken, match="not encrypted"):
        plain.ask(BEAT)
    plain.close()


def test_what_does_not_open_is_not_read() -> None:
    context = Context()
    context.broken = True
    changed = talking(context, saying(ACCEPTED))
    with pytest.raises(SealBroken, match="open an answer"):
        changed.ask(BEAT)
    changed.close()


@pytest.mark.parametrize(
    ("data", "error"),
    [
        (b"", Unreachable),
        (b"\0\0", Unreachable),
        (wire.frame(b"x" * 50)[:-1], Unreachable),
        (b"\xff\xff\xff\xff", WireError),
        (wire.frame(b"nonsense"), WireError),
    ],
)
def test_nonsense_and_silence(data: bytes, error: type[Exception]) -> None:
    bad = talking(Context(), raw(data))
    with pytest.raises(error):
        bad.ask(BEAT)
    bad.close()


def test_a_target_that_ends_the_connection_hung_up() -> None:
    """In order, or by a reset, which is what it becomes where something was left unread."""
    ended = talking(Context(), raw(b""))
    with pytest.raises(HungUp, match=r"^the target hung up$"):
        ended.ask(BEAT)
    ended.close()

    def leave_something(connection: socket.socket) -> None:
        connection.recv(1)

    reset = talking(Context(), leave_something)
    with pytest.raises(HungUp, match="the target hung up: ConnectionResetError"):
        reset.ask(BEAT)
    reset.close()


def test_nothing_is_said_before_the_handshake() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs, pytest.raises(SealBroken, match="handshake"):
        GssChannel(ours).ask(BEAT)


@pytest.mark.parametrize(
    "missing",
    [
        RequirementFlag.mutual_authentication,
        RequirementFlag.confidentiality,
        RequirementFlag.integrity,
        RequirementFlag.replay_detection,
        RequirementFlag.out_of_sequence_detection,
    ],
)
def test_a_connection_with_less_than_all_is_refused(
    missing: RequirementFlag, monkeypatch: pytest.MonkeyPatch
) -> None:  # (3)
    context = Context(flags=int(channel_module._NEEDED) & ~int(missing))
    monkeypatch.setattr(gssapi, "SecurityContext", lambda **_options: context)
    ours, theirs = socket.socketpair()
    with ours, theirs, pytest.raises(SealBroken, match="mutual and sealed"):
        GssChannel(ours).shake_hands(cast("Any", None), cast("Any", None))


def test_a_handshake_without_end_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gssapi, "SecurityContext", lambda **_options: Context(steps=1000))
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.sendall(wire.frame(b"token") * 10)
        with pytest.raises(SealBroken):
            GssChannel(ours).shake_hands(cast("Any", None), cast("Any", None))


# -------------------------------------------------------------------------------------------------------------- connector


def connector() -> KerberosConnector:
    def keytab() -> tuple[int, str]:
        raise Unreachable("no keytab here")

    return KerberosConnector(MACHINE, keytab)


def test_without_a_keytab_nothing_is_sent() -> None:  # (1)
    with pytest.raises(Unreachable, match="no keytab"):
        connector().connect(target())


def test_a_wrong_principal_is_found_before_anything_is_opened() -> None:  # (2)
    with pytest.raises(Unusable):
        connector().connect(target(spn="HTTP/server.test"))


@pytest.mark.parametrize(
    "server", ["bastide..corp.test", f"{'a' * 64}.corp.test", "büro.corp.test", "a b.test"]
)
def test_an_address_that_is_none_is_found_before_anything_is_asked(server: str) -> None:
    with pytest.raises(Unusable, match="neither HOST nor HOST:PORT"):
        connector().connect(target(server=server))


def test_a_name_that_the_codec_of_names_refuses_cannot_be_used(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its error is none of the network's: nobody would catch it, and it would end the agent."""

    def refuse(*_: object, **_more: object) -> socket.socket:
        raise UnicodeError("label empty or too long")

    monkeypatch.setattr(KerberosConnector, "_credentials", lambda _self: None)
    monkeypatch.setattr(socket, "create_connection", refuse)
    with pytest.raises(Unusable, match="no name that DNS takes"):
        connector().connect(target())


def test_nobody_listens(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(KerberosConnector, "_credentials", lambda _self: None)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with pytest.raises(Unreachable, match="does not answer"):
        connector().connect(target(server=f"127.0.0.1:{port}"))


@pytest.mark.parametrize(
    ("answer", "error", "delay"),
    [
        (Answer(reference="", verdict=Verdict.REFUSED, reason="no controller"), Refused, 0),
        (Answer(reference="", verdict=Verdict.DISCARD, reason="never"), Refused, 0),
        (Answer(reference="", verdict=Verdict.LATER, delay=9), Refused, 9),
        (Welcome(version=0, node="old"), WireError, 0),
    ],
)
def test_only_a_welcome_lets_us_go_on(answer: FromServer, error: type[Exception], delay: int) -> None:  # (4)
    one = talking(Context(), saying(answer))
    with pytest.raises(error) as raised:
        connector()._greet(one)
    assert getattr(raised.value, "delay", 0) == delay
    one.close()


def test_the_welcome_of_a_newer_server_is_taken() -> None:
    one = talking(Context(), saying(Welcome(version=99, node="new")))
    connector()._greet(one)
    one.close()
