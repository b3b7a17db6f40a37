"""A process whose clock is wrong."""

from pathlib import Path

DEBIANS = "*/faketime/libfaketimeMT.so.1"


def off_by(minutes: int) -> dict[str, str]:
    """The environment of a process whose wall clock is wrong; waiting goes on as it should."""
    library = next(Path("/usr/lib").glob(DEBIANS), None)
    assert library is not None, "libfaketime is missing; run: python3 tools/install.py --lab"
    return {
        "LD_PRELOAD": str(library),
        "FAKETIME": f"{minutes:+}m",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        "FAKETIME_DISABLE_SHM": "1",
    }
