"""The DirSync control as bytes ([MS-ADTS] 3.1.1.3.4.1.3)."""

import pytest

from bastide_agent.ldapi import request_value, response_value


@pytest.mark.parametrize("size", [0, 1, 108, 118, 119, 127, 128, 255, 256, 65_535, 70_000])
def test_the_control_is_read_as_it_was_written(size: int) -> None:
    cookie = bytes(range(256)) * (size // 256) + bytes(size % 256)
    raw = request_value(cookie)
    assert response_value(raw) == (False, cookie)
    more = raw.replace(b"\x02\x01\x00\x02\x01\x00", b"\x02\x01\x01\x02\x01\x00", 1)
    assert response_value(more) == (True, cookie)


def test_the_control_is_what_pyasn1_makes_of_it() -> None:
    from pyasn1.codec.ber import encoder
    from pyasn1.type import univ

    made = univ.Sequence()
    for number, value in enumerate((univ.Integer(0), univ.Integer(0), univ.OctetString(b"c" * 300))):
        made[number] = value
    assert request_value(b"c" * 300) == encoder.encode(made)


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"\x30",
        b"\x30\x05\x02\x01\x00",
        request_value(b"x")[:-1],
        request_value(b"x") + b"\0",
        b"\x31\x00",
        b"\x30\x84\xff\xff\xff\xff",
    ],
)
def test_a_control_that_is_none_is_refused(raw: bytes) -> None:
    with pytest.raises(ValueError, match=r"element|control"):
        response_value(raw)
