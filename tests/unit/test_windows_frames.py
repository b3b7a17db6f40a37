"""What the password filter for Windows says: the bytes, and whoever might say something else. The C that makes them runs here too, as Linux's compiler builds it."""

import shutil
import struct
import subprocess
from pathlib import Path
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bastide_agent.windows import frames
from bastide_agent.windows.frames import HEAD, Frame, FrameError, Reply, answer, parse, size_of

SOURCE = Path(__file__).parents[2] / "windows"
MARKER = UUID(bytes_le=b"0123456789abcde\0")
#: One frame as windows/frame.c writes it: RID 1234, number 7, "ann", "Pä".
RECORDED = bytes.fromhex(
    "42535057 0100 4200 d2040000 02000000 30313233343536373839616263646500 0700000000000000 00805fb8b183dc01"
    "0600 0400 00000000 61006e006e00 5000e400"
)


def made(frame: Frame, name: bytes) -> bytes:
    """By the table in windows/README.md."""
    size = 56 + len(name) + len(frame.password)
    head = struct.pack("<4sHHII", b"BSPW", 1, size, frame.rid, frame.lost)
    times = struct.pack("<QQHHI", frame.number, frame.changed_at, len(name), len(frame.password), 0)
    return head + frame.marker.bytes_le + times + name + frame.password


def test_a_recorded_frame() -> None:
    assert size_of(RECORDED[:HEAD]) == len(RECORDED) == 66
    assert parse(RECORDED) == Frame(
        rid=1234,
        marker=MARKER,
        number=7,
        changed_at=0x01DC83B1B85F8000,
        lost=2,
        name="ann",
        password="Pä".encode("utf-16-le"),
    )


def test_a_frame_does_not_show_the_password() -> None:
    assert repr(parse(RECORDED)) == f"Frame({MARKER}, 7)"


_U32 = st.integers(0, 2**32 - 1)
_TEXT = st.binary(max_size=256).map(lambda raw: raw * 2)


@given(_U32, st.uuids(), st.integers(1, 2**64 - 1), st.integers(0, 2**64 - 1), _U32, _TEXT, _TEXT)
def test_every_frame_is_read_as_it_was_made(
    rid: int, marker: UUID, number: int, changed_at: int, lost: int, name: bytes, password: bytes
) -> None:
    """Passwords with lone surrogates and NUL too: they are bytes, and nobody here reads them."""
    frame = Frame(rid, marker, number, changed_at, lost, name.decode("utf-16-le", "replace"), password)
    assert parse(made(frame, name)) == frame


@given(st.binary(max_size=1200))
def test_noise_is_refused(raw: bytes) -> None:
    with pytest.raises(FrameError):
        parse(raw)


@given(st.integers(0, 65), st.integers(1, 255))
def test_one_wrong_byte_is_refused_or_is_another_frame(at: int, difference: int) -> None:
    """Magic, version and lengths are checked; a changed number or text is another number or text, and nothing breaks."""
    changed = bytearray(RECORDED)
    changed[at] ^= difference
    try:
        found = parse(bytes(changed))
    except FrameError as error:
        assert at < 8 or 32 <= at < 40 or 48 <= at < 56
        assert "ann" not in str(error)
    else:
        assert found != parse(RECORDED)
        assert at >= 8
        assert not 48 <= at < 56


@given(st.integers(0, 65))
def test_a_frame_that_ends_early_is_refused(length: int) -> None:
    with pytest.raises(FrameError):
        parse(RECORDED[:length])


@pytest.mark.parametrize(
    ("at", "value", "why"),
    [
        (0, b"BSPX", "no frame"),
        (4, b"\2\0", "version 2"),
        (6, struct.pack("<H", 55), "impossible size"),
        (6, struct.pack("<H", 56 + 1024 + 1), "impossible size"),
        (6, struct.pack("<H", 67), "longer or shorter"),
        (48, struct.pack("<HH", 4, 4), "do not fit"),
        (48, struct.pack("<HH", 5, 5), "impossible length"),
        (52, b"\1\0\0\0", "do not fit"),
        (32, bytes(8), "no number"),
    ],
)
def test_what_is_wrong_is_named(at: int, value: bytes, why: str) -> None:
    changed = RECORDED[:at] + value + RECORDED[at + len(value) :]
    with pytest.raises(FrameError, match=why):
        parse(changed)


def test_texts_longer_than_any_are_refused() -> None:
    frame = parse(RECORDED)
    long = Frame(frame.rid, MARKER, 1, 0, 0, "", bytes(frames.PASSWORD_LIMIT + 2))
    with pytest.raises(FrameError, match="impossible length"):
        parse(made(long, b""))


@pytest.mark.parametrize("reply", list(Reply))
def test_answers(reply: Reply) -> None:
    assert answer(7, reply) == b"BSPA" + bytes([reply, 0, 0, 0, 7, 0, 0, 0, 0, 0, 0, 0])


# ---------------------------------------------------------------------------------------------------------------- the C side


def test_queue_and_frame_in_c_stand_nonsense(tmp_path: Path) -> None:
    """20,000 changes with impossible lengths, with address and undefined-behaviour sanitizers; what comes out is read here."""
    compiler = shutil.which("gcc")
    if compiler is None:
        pytest.skip(
            "windows/queue.c and frame.c were not run: there is no gcc (tools/install.py installs it)"
        )
    program = tmp_path / "hostile"
    strict = ["-std=c11", "-g", "-O1", "-Wall", "-Wextra", "-Werror", "-Wconversion"]
    sanitizers = ["-fsanitize=address,undefined", "-fno-sanitize-recover=all"]
    sources = [SOURCE / "tests" / "hostile.c", SOURCE / "queue.c", SOURCE / "frame.c"]
    subprocess.run([compiler, *strict, *sanitizers, "-o", program, *sources], check=True)
    raw = subprocess.run([program], check=True, capture_output=True).stdout
    found = []
    while raw:
        size = size_of(raw[:HEAD])
        found.append(parse(raw[:size]))
        raw = raw[size:]
    assert [one.number for one in found] == list(range(1, len(found) + 1))
    assert len(found) > 5000
    assert {one.marker for one in found} == {MARKER}
    assert max(len(one.password) for one in found) == frames.PASSWORD_LIMIT
    assert min(len(one.password) for one in found) == 0


def test_both_sides_have_the_same_limits() -> None:
    header = (SOURCE / "frame.h").read_text()
    for said in (
        f"FRAME_VERSION = {frames.VERSION}",
        f"NAME_BYTES = {frames.NAME_LIMIT}",
        f"PASSWORD_BYTES = {frames.PASSWORD_LIMIT}",
        f"HEADER_BYTES = {frames.HEADER_BYTES}",
        f"ANSWER_BYTES = {frames.ANSWER_BYTES}",
        "TAKEN = 0, LATER = 1, DISCARD = 2",
    ):
        assert said in header
