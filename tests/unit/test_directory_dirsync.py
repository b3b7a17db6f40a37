"""DirSync's values on the wire."""

import pytest
from ldap.controls import KNOWN_RESPONSE_CONTROLS

from bastide.directory import dirsync
from bastide.directory.session import Unsaid


def test_dirsync_values_are_those_of_ms_adts() -> None:
    """Checked against bytes written by hand (X.690): SEQUENCE { INTEGER 1, INTEGER 0, OCTET STRING "ab" }."""
    assert dirsync.encoded(1, b"ab") == bytes.fromhex("300a 020101 020100 0402 6162")
    assert dirsync.decoded([bytes.fromhex("300a 020101 020100 0402 6162")]) == (True, b"ab")
    assert dirsync.decoded([bytes.fromhex("3008 020100 020100 0400")]) == (False, b"")
    for bad in ([], [b""], [b"\x30\x05"], [b"x", b"y"]):
        with pytest.raises(Unsaid):
            dirsync.decoded(bad)
    assert dirsync.OID in KNOWN_RESPONSE_CONTROLS, "python-ldap would drop the cookie without a word"
