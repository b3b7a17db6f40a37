"""When a password was set, and where: pwdLastSet beside the replication metadata. A test per number of directory/password_set.py."""

from datetime import UTC, datetime, timedelta

import pytest

from bastide.directory.entries import Entry, to_filetime
from bastide.directory.password_set import _HEAD, _ROW, PasswordSet, password_set

UNICODE_PWD, PWD_LAST_SET, OTHER = 0x9005A, 0x90060, 0x90001
ORIGIN = "03020100-0504-0706-0809-0a0b0c0d0e0f"
MONDAY = datetime(2026, 3, 2, 9, 0, 0, 400_000, tzinfo=UTC)
WRITTEN = MONDAY.replace(microsecond=0)


def metadata(**written: datetime) -> bytes:
    """By attribute: `password`, `date`, `other`."""
    ids = {"password": UNICODE_PWD, "date": PWD_LAST_SET, "other": OTHER}
    rows = [
        _ROW.pack(ids[name], 1, to_filetime(when) // 10_000_000, bytes(range(16)), 1, 1)
        for name, when in written.items()
    ]
    return _HEAD.pack(1, 0, len(rows), 0) + b"".join(rows)


def entry(last: datetime | None, shown: bytes = b"") -> Entry:
    value = b"0" if last is None else str(to_filetime(last)).encode()
    return Entry.read("CN=a", {"pwdLastSet": [value], **({"replPropertyMetaData": [shown]} if shown else {})})


@pytest.mark.parametrize("later", [-10, 0, 1.5], ids=lambda seconds: f"{seconds} s")
def test_the_exact_date_counts_where_both_are_of_one_step(later: float) -> None:
    """(1)"""
    last = MONDAY + timedelta(seconds=later)
    shown = metadata(other=MONDAY, password=WRITTEN, date=WRITTEN)
    assert password_set(entry(last, shown)) == PasswordSet(last, ORIGIN)


@pytest.mark.parametrize("last", [None, MONDAY + timedelta(seconds=3), MONDAY + timedelta(days=3)], ids=str)
def test_a_date_that_moved_without_a_password_does_not_count(last: datetime | None) -> None:
    """(2)"""
    assert password_set(entry(last, metadata(password=WRITTEN, date=MONDAY))) == PasswordSet(WRITTEN, ORIGIN)


@pytest.mark.parametrize(
    ("shown", "origin"),
    [
        (b"", ""),
        (b"\x01", ""),
        (metadata(password=WRITTEN)[:-1], ""),
        (metadata(other=WRITTEN), ""),
        (metadata(date=WRITTEN), ORIGIN),
    ],
    ids=["not shown", "short", "cut", "without either", "of the date alone"],
)
def test_without_metadata_of_the_password_there_is_only_the_date(shown: bytes, origin: str) -> None:
    """(3)"""
    assert password_set(entry(MONDAY, shown)) == PasswordSet(MONDAY, origin)
    assert password_set(entry(None, shown)) is None
