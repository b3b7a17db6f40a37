"""The Witness client: what it says and takes, step by step as rpc.py and witness_rpc.py number them, and what it makes of garbage."""

import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from spnego.exceptions import SpnegoError

from bastide.backup import rpc, witness_rpc
from bastide.backup import rpc_pdu as pdus
from bastide.backup.ndr import BadNdr, Reader
from bastide.backup.rpc_security import Security
from bastide.backup.smb_login import ByPassword, ByTicket
from bastide.backup.witness import Notice, Unwatched
from bastide.backup.witness_rpc import Node, RpcWitness, Status, handle_in, nodes_in, notice_in
from bastide.directory.kerberos import Identity
from tests.support import rpc_server
from tests.support.rpc_server import NODE, SERVER, RpcServer, addresses, node, nodes, notice, resource

#: As Samba 4.22 said it, of a cluster of two.
FROM_SAMBA = bytes.fromhex(
    "00000200010000001e00000001000000040002001e0000001e000000ff00000031003000"
    "2e00350031002e0030002e00390031000000000000000000"
)
MOVE_FROM_SAMBA = bytes.fromhex(
    "000002000200000024000000010000000400020024000000240000000000000001000000090000000a33005c0000000000000000"
    "000000000000000000000000"
)
NAME = "files.priv.test"


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[RpcServer]:
    with rpc_server.serving(monkeypatch, tmp_path / "users") as made:
        yield made


@pytest.fixture(scope="module")
def secret(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("witness") / "password"
    file.write_text(f"{rpc_server.PASSWORD}\n")
    return file


@pytest.fixture
def witness(secret: Path) -> RpcWitness:
    return RpcWitness(ByPassword(rpc_server.ACCOUNT, secret))


def refused(witness: RpcWitness, reason: str) -> Unwatched:
    with pytest.raises(Unwatched, match=reason) as caught:
        witness.watch(NAME, SERVER).close()
    assert caught.value.remedy
    assert rpc_server.PASSWORD not in f"{caught.value} {caught.value.remedy} {witness!r}"
    return caught.value


# ----------------------------------------------------------------------------------------------------------------- calls


def test_1_the_mapper_names_the_port_and_who_does_not_offer_it_is_left(
    server: RpcServer, witness: RpcWitness
) -> None:
    assert rpc.port_of(witness_rpc.WITNESS, SERVER) == server.port
    server.offers = False
    refused(witness, "does not offer the Witness service")


def test_1_where_nobody_listens_nobody_watches(witness: RpcWitness, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server((SERVER, 0)) as free:
        monkeypatch.setattr(rpc, "MAPPER_PORT", free.getsockname()[1])
    assert "135" in refused(witness, "nobody answers at that port").remedy


def test_1_who_says_nothing_is_left(witness: RpcWitness, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rpc, "ANSWER", 0.1)
    with socket.create_server((SERVER, 0)) as silent:
        monkeypatch.setattr(rpc, "MAPPER_PORT", silent.getsockname()[1])
        refused(witness, "no answer")


def test_2_who_does_not_sign_headers_is_left_before_anything_is_asked(
    server: RpcServer, witness: RpcWitness
) -> None:
    server.signs = False
    refused(witness, "does not sign headers")
    assert server.asked == []


def test_2_a_wrong_password_is_told_and_not_repeated(server: RpcServer, tmp_path: Path) -> None:
    secret = tmp_path / "wrong"
    secret.write_text("Certainly-Wrong-1\n")
    with pytest.raises(Unwatched, match="access is denied") as caught:
        RpcWitness(ByPassword(rpc_server.ACCOUNT, secret)).watch(NAME, SERVER)
    assert "Certainly" not in f"{caught.value} {caught.value.remedy}"
    assert server.registered == []


def test_2_without_a_ticket_or_a_password_nobody_signs_in(server: RpcServer, tmp_path: Path) -> None:
    for login in (
        ByPassword(rpc_server.ACCOUNT, tmp_path / "nothing"),
        ByTicket(Identity("svc@PRIV.TEST", tmp_path / "nothing")),
    ):
        refused(RpcWitness(login), "cannot be read")


def test_3_an_answer_that_is_not_sealed_is_none(server: RpcServer, witness: RpcWitness) -> None:
    server.seals = False
    refused(witness, "not encrypted")


def flipped(at: int) -> Callable[[bytes], bytes]:
    return lambda sent: sent[:at] + bytes([sent[at] ^ 1]) + sent[at + 1 :]


@pytest.mark.parametrize("at", [3, 16, 24, 30, -20, -1], ids=str)
def test_3_an_answer_that_was_changed_is_none(server: RpcServer, witness: RpcWitness, at: int) -> None:
    """Header, stub, trailer or signature."""
    server.spoil_sealed = lambda sent: flipped(at % len(sent))(sent)
    refused(witness, "Witness service at")


def test_3_an_answer_in_pieces_is_put_together(server: RpcServer, witness: RpcWitness) -> None:
    server.pieces = 3
    witness.watch(NAME, SERVER).close()
    assert server.asked == [0, 4, 2]


def test_3_an_answer_that_is_too_long_is_none(
    server: RpcServer, witness: RpcWitness, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.pieces = 3
    monkeypatch.setattr(pdus, "MOST", 1000)
    refused(witness, "torn or too long")


@pytest.mark.parametrize(
    ("spoilt", "reason"),
    [
        (lambda sent: b"\x04" + sent[1:], "no DCE/RPC 5"),
        (lambda sent: sent[:8] + b"\x0f\0" + sent[10:], "a fragment of 15 bytes"),
        (lambda sent: sent[:8] + b"\xff\xff" + sent[10:], "a fragment of 65535 bytes"),
        (lambda sent: sent[:10] + b"\xff\x0f" + sent[12:], "longer than its fragment"),
        (lambda sent: sent[:12] + b"\x09\0\0\0" + sent[16:], "no answer to what was asked"),
        (lambda sent: sent[:2] + b"\x0c" + sent[3:], "no answer to what was asked"),
        (lambda sent: sent[:3] + b"\x02" + sent[4:], "no answer to what was asked"),
    ],
    ids=["version", "short", "long", "token", "call", "kind", "not the first"],
)
def test_3_an_answer_that_is_none_of_ours_ends_it(
    server: RpcServer, witness: RpcWitness, spoilt: Callable[[bytes], bytes], reason: str
) -> None:
    server.spoil_sealed = spoilt
    refused(witness, reason)


@pytest.mark.parametrize(
    ("status", "reason"), [(5, "access is denied"), (0x1C010002, "does not know the verb"), (7, "0x00000007")]
)
def test_3_a_fault_is_told(server: RpcServer, witness: RpcWitness, status: int, reason: str) -> None:
    server.fault = status
    refused(witness, reason)


# --------------------------------------------------------------------------------------------------------------- watching


def test_1_a_list_that_is_not_whole_is_none(server: RpcServer, witness: RpcWitness) -> None:
    server.spoil = lambda stub: stub[:-1]
    refused(witness, "cannot be understood")


@pytest.mark.parametrize(
    "other",
    [
        node("files2", NODE, flags=1),
        node("files2", NODE, state=0xFF),
        node("files2", NODE, version=0x10001),
        node("files2", SERVER),
        node("files2", NODE, flags=4),
    ],
    ids=["no witness", "unavailable", "version 1", "the same address", "no address"],
)
def test_2_who_cannot_watch_is_not_asked(server: RpcServer, witness: RpcWitness, other: bytes) -> None:
    server.nodes = nodes(node("files1", SERVER, flags=1), other)
    refused(witness, "no other node of files.priv.test watches, of 2")
    assert server.asked == [0]


def test_2_who_does_not_answer_is_passed_over(server: RpcServer, witness: RpcWitness) -> None:
    server.nodes = nodes(node("dead", "0.0.0.1"), node("files2", NODE))
    watch = witness.watch(NAME, SERVER)
    watch.close()
    assert watch.by == f"files2 ({NODE})"


def test_3_what_is_registered_and_that_it_is_taken_back(
    server: RpcServer, witness: RpcWitness, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(socket, "gethostname", lambda: "bastide1")
    watch = witness.watch(NAME, SERVER)
    (said,) = server.registered
    reader = Reader(said)
    assert reader.u32() == 0x20000
    for text in (NAME, None, SERVER, "bastide1"):
        assert reader.pointer() == (text is not None)
        if text is not None:
            assert (reader.u32(), reader.u32(), reader.u32()) == (len(text) + 1, 0, len(text) + 1)
            assert reader.raw(2 * len(text) + 2).decode("utf-16-le") == f"{text}\0"
    assert (reader.u32(), reader.u32()) == (1, 20)
    reader.end()
    watch.close()
    assert server.registered == []


@pytest.mark.parametrize(
    ("code", "reason"), [(5, "access is denied"), (87, "does not take"), (31, "error 31")]
)
def test_3_a_registration_that_is_refused_is_told(
    server: RpcServer, witness: RpcWitness, code: int, reason: str
) -> None:
    server.register = code
    refused(witness, reason)


def test_4_only_what_concerns_us_is_told_on(server: RpcServer, witness: RpcWitness) -> None:
    watch = witness.watch(NAME, SERVER)
    told: list[Notice | None] = []
    waiting = threading.Thread(target=lambda: told.append(watch.wait()))
    waiting.start()
    server.tell(bytes(4) + struct.pack("<I", 1460))  # nothing to tell, in time
    server.tell(notice(1, resource(1)))  # it is available
    server.tell(notice(4, addresses((NODE, 0x9))))  # one address more
    server.tell(notice(1, resource(0xFF)))
    waiting.join(30)
    assert told == [Notice("RESOURCE_CHANGE")]


def test_4_a_node_that_says_nothing_is_gone_itself(
    server: RpcServer, witness: RpcWitness, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(witness_rpc, "_KEEP_ALIVE", 0)
    monkeypatch.setattr(witness_rpc, "_LATE", 0.1)
    watch = witness.watch(NAME, SERVER)
    with pytest.raises(Unwatched, match=r"nothing was said for 0\.1 s"):
        watch.wait()


def test_4_one_that_forgot_us_is_told(server: RpcServer, witness: RpcWitness) -> None:
    watch = witness.watch(NAME, SERVER)
    telling = threading.Thread(target=lambda: server.tell(bytes(4) + struct.pack("<I", 1168)))
    telling.start()
    with pytest.raises(Unwatched, match="does not know our registration"):
        watch.wait()
    telling.join(30)


def test_4_one_that_never_stops_is_left(
    server: RpcServer, witness: RpcWitness, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(witness_rpc, "_ANSWERS", 2)
    watch = witness.watch(NAME, SERVER)
    empty = bytes(4) + struct.pack("<I", 1460)

    def tell() -> None:
        for _ in range(2):
            server.tell(empty)

    telling = threading.Thread(target=tell)
    telling.start()
    with pytest.raises(Unwatched, match="too much"):
        watch.wait()
    telling.join(30)


# ---------------------------------------------------------------------------------------------------------------- garbage


def test_what_samba_says_is_understood() -> None:
    assert notice_in(FROM_SAMBA, "10.51.0.91") == Notice("RESOURCE_CHANGE")
    assert notice_in(MOVE_FROM_SAMBA, "10.51.0.91") == Notice("CLIENT_MOVE", ("10.51.0.92",))


def test_an_address_that_goes_away_is_told_with_those_that_stay() -> None:
    change = notice(4, addresses((SERVER, 0x11), (NODE, 0x9), (NODE, 0x9)))
    assert notice_in(change, SERVER) == Notice("IP_CHANGE", (NODE,))
    assert notice_in(change, "192.0.2.7") is None


def test_a_node_is_understood() -> None:
    found = nodes_in(nodes(node("files1", SERVER, flags=1), node("files2", NODE)))
    assert found == (Node("files1", (SERVER,), can_watch=False), Node("files2", (NODE,), can_watch=True))
    assert nodes_in(bytes(8)) == ()


@pytest.mark.parametrize(
    "said",
    [
        nodes(node("files 2", NODE)),
        nodes(node("", NODE)),
        nodes(node("../etc", NODE)),
        nodes(node("a\n", NODE)),
        nodes(node("files2", NODE))[:4] + struct.pack("<I", 129) + nodes(node("files2", NODE))[8:],
        nodes(node("files2", NODE)) + b"\0",
        struct.pack("<IIII", 1, 5, 0, 0),
        struct.pack("<IIIII", 1, 2, 1, 1, 0),
    ],
    ids=["space", "empty", "path", "line", "too many", "more", "none there", "two counts"],
)
def test_nodes_that_are_none(said: bytes) -> None:
    with pytest.raises(BadNdr):
        nodes_in(said)


@pytest.mark.parametrize(
    "said",
    [
        notice(9, resource(0xFF)),
        notice(1, struct.pack("<II", 7, 0xFF)),
        notice(1, struct.pack("<II", 9000, 0xFF)),
        notice(1, resource(0xFF) + b"\0"),
        notice(2, struct.pack("<III", 12, 0, 1)),
        notice(2, struct.pack("<III", 12, 0, 1 << 31)),
        struct.pack("<IIIIII", 1, 1, 8, 1, 1, 9) + bytes(12),
        struct.pack("<IIIIII", 1, 1, 1 << 30, 1, 1, 1 << 30),
        struct.pack("<IIIIII", 1, 1, 8, 1, 0, 0),
        bytes(8),
    ],
)
def test_notices_that_are_none(said: bytes) -> None:
    with pytest.raises(BadNdr):
        notice_in(said, SERVER)


WHOLE = [
    nodes(node("files1", SERVER), node("files2", NODE)),
    FROM_SAMBA,
    MOVE_FROM_SAMBA,
    notice(4, addresses((SERVER, 0x11), (NODE, 0x9))),
    rpc_server.tower(49152),
]


@st.composite
def changed(draw: st.DrawFn) -> bytes:
    """Something whole with a few bytes changed, cut off or put in."""
    said = bytearray(draw(st.sampled_from(WHOLE)))
    for _ in range(draw(st.integers(0, 6))):
        said[draw(st.integers(0, len(said) - 1))] = draw(st.integers(0, 255))
    end = draw(st.integers(0, len(said)))
    return bytes(said[:end]) + draw(st.binary(max_size=8))


@given(said=st.binary(max_size=600) | changed())
def test_garbage_is_refused_and_nothing_else_happens(said: bytes) -> None:
    for read in (
        nodes_in,
        handle_in,
        lambda stub: notice_in(stub, SERVER),
        rpc.port_in,
        pdus.is_bound,
        pdus.stub,
        pdus.fault,
    ):
        try:
            read(said)
        except (BadNdr, Status, LookupError) as error:
            assert type(error) in {BadNdr, Status, LookupError}, (
                "no KeyError or IndexError passes for a LookupError"
            )


#: As pyspnego's own server says it.
CHALLENGE = bytes.fromhex(
    "4e544c4d5353500002000000040004003800000035828ae2431c19ec6252503400000000000000003a003a003c000000000c0400"
    "0000000f56004d000100040056004d000200160057004f0052004b00530054004100540049004f004e000300040076006d000700"
    "080056cbdf75397add0100000000"
)


@given(
    at=st.lists(st.tuples(st.integers(0, len(CHALLENGE) - 1), st.integers(0, 255)), max_size=6),
    end=st.integers(8, 200),
)
def test_a_torn_token_is_refused(at: list[tuple[int, int]], end: int, secret: Path) -> None:
    said = bytearray(CHALLENGE)
    for where, what in at:
        said[where] = what
    security = Security(ByPassword(rpc_server.ACCOUNT, secret), "files2.priv.test")
    assert security.step(b"").startswith(b"NTLMSSP")
    with suppress(BadNdr, SpnegoError):
        assert security.step(bytes(said[:end])).startswith(b"NTLMSSP")


@given(said=st.binary(min_size=pdus.HEADER.size, max_size=200))
def test_a_fragment_of_garbage_is_refused_or_whole(said: bytes) -> None:
    header, rest = said[: pdus.HEADER.size], said[pdus.HEADER.size :]
    with suppress(BadNdr):
        assert 0 <= pdus.rest_of(header) <= pdus.FRAGMENT
    try:
        pdu = pdus.split(header, rest)
    except BadNdr:
        return
    assert pdu.body + pdu.trailer + pdu.token == rest


@given(port=st.integers(1, 65535))
def test_a_tower_leads_to_its_port(port: int) -> None:
    assert rpc.port_in(rpc_server.tower(port)) == port


def test_the_question_for_a_port_is_as_it_is_written_down() -> None:
    """[C706] L: five floors, the interface, NDR, connection oriented, TCP, IP."""
    said = rpc.asked_for(witness_rpc.WITNESS)
    tower = said[16 : 16 + 75]
    assert struct.unpack_from("<IIII", said)[2:] == (75, 75)
    assert tower[:2] == b"\5\0"
    assert witness_rpc.WITNESS.id.bytes_le in tower
    assert tower.endswith(b"\1\0\x0b\2\0\0\0\1\0\7\2\0\0\0\1\0\t\4\0\0\0\0\0")
    assert said[-4:] == struct.pack("<I", 4)
