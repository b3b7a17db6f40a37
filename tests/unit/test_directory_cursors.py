"""What a controller has heard of the others, as the directory writes it."""

import struct
from uuid import UUID

import pytest

from bastide.directory.cursors import from_cursors, from_vector

ONE, TWO = UUID("75849be0-6cb4-41ec-b9c3-e27419ee2a8a"), UUID("b739abc5-2e48-45f0-b013-2e41142ad97c")
HEARD = {str(ONE): 4305, str(TWO): 2**40}


def vector(version: int, *, count: int = 2) -> bytes:
    tail = struct.pack("<Q", 133_000_000_000_000_000) if version == 2 else b""
    cursors = (database.bytes_le + struct.pack("<Q", HEARD[str(database)]) + tail for database in (ONE, TWO))
    return struct.pack("<IIII", version, 0, count, 0) + b"".join(cursors)


@pytest.mark.parametrize("version", [1, 2])
def test_a_vector_of_both_versions_is_read(version: int) -> None:
    assert from_vector(vector(version)) == HEARD


@pytest.mark.parametrize(
    "raw",
    [b"", b"\x02\x00\x00\x00", vector(2)[:-1], vector(2, count=3), vector(2, count=2**32 - 1), vector(3)],
)
def test_what_is_no_vector_says_nothing(raw: bytes) -> None:
    assert from_vector(raw) == {}


def test_cursors_as_text_are_read_and_what_is_none_is_left_out() -> None:
    text = (
        "<DS_REPL_CURSOR>\n\t<uuidSourceDsaInvocationID>{0}</uuidSourceDsaInvocationID>\n"
        "\t<usnAttributeFilter>{1}</usnAttributeFilter>\n\t<ftimeLastSyncSuccess>2026-03-01T09:00:00Z</ftimeLastSyncSuccess>\n</DS_REPL_CURSOR>\n\0"
    )
    said = [text.format(str(database).upper(), HEARD[str(database)]) for database in (ONE, TWO)]
    assert from_cursors([*said, text.format("nobody", 1), text.format(ONE, ""), ""]) == HEARD
