"""When the password of an account was set, and on which controller. Pure.

(1) pwdLastSet is exact, and is what a controller's agent tells. It counts.
(2) It also moves without a password: "must change at next logon" that is ticked sets it to zero, and unticked to that moment. Then the time of `unicodePwd` in the replication metadata
    counts, which is told in whole seconds: where pwdLastSet is zero, or later than that by more than a controller needs from one to the other.
(3) Where no metadata of `unicodePwd` is shown (an account of another forest sees none, a read-only controller has none), there is only pwdLastSet, whatever moved it.
"""

import struct
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from bastide.directory.constants import UNITS_PER_MICROSECOND
from bastide.directory.entries import Entry, from_filetime

WANTED = ("pwdLastSet", "replPropertyMetaData")
#: attributeId of unicodePwd and pwdLastSet ([MS-ADA3] 2.332, 2.175) by the prefix table that every domain begins with ([MS-DRSR] 5.16.4).
_UNICODE_PWD, _PWD_LAST_SET = 0x9005A, 0x90060
#: replPropertyMetaData ([MS-DRSR] 5.166): version, count, and for each attribute id, version, seconds since 1601, origin, its USN, our USN.
_HEAD = struct.Struct("<IIII")
_ROW = struct.Struct("<IIq16sqq")
_SECOND = 1_000_000 * UNITS_PER_MICROSECOND
#: Both are written in one step; a second may begin between the two.
_ONE_STEP = timedelta(seconds=2)


@dataclass(frozen=True, slots=True)
class PasswordSet:
    """`origin`: the invocation id of the controller that took the change; empty if the directory does not show it."""

    at: datetime
    origin: str


def password_set(entry: Entry) -> PasswordSet | None:
    """Of an entry that was read with WANTED. None: it is not shown. Of who has no password yet, Samba says when the account was made."""
    last, rows = from_filetime(entry.number("pwdLastSet")), _rows(entry)
    of_password = rows.get(_UNICODE_PWD)
    if of_password is None:  # (3)
        _, origin = rows.get(_PWD_LAST_SET, (None, ""))
        return None if last is None else PasswordSet(last, origin)
    written, origin = of_password
    if last is not None and last <= written + _ONE_STEP:  # (1)
        return PasswordSet(last, origin)
    return PasswordSet(written, origin)  # (2)


def _rows(entry: Entry) -> dict[int, tuple[datetime, str]]:
    """By attribute; empty if the directory does not show them, or they cannot be read."""
    raw = next(iter(entry.all("replPropertyMetaData")), b"")
    if len(raw) < _HEAD.size:
        return {}
    _, _, count, _ = _HEAD.unpack_from(raw)
    rows = raw[_HEAD.size : _HEAD.size + count * _ROW.size]
    if len(rows) != count * _ROW.size:
        return {}
    return {
        number: (written, str(UUID(bytes_le=origin)))
        for number, _, seconds, origin, _, _ in _ROW.iter_unpack(rows)
        if (written := from_filetime(seconds * _SECOND)) is not None
    }
