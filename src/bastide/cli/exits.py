"""Exit codes of `bastide`: programs rely on them, so they never change their meaning.

0 done · 1 refused, or a check found a problem · 2 wrong usage · 3 server, directory or database out of reach · 4 not signed in.
"""

from enum import IntEnum
from types import MappingProxyType


class Exit(IntEnum):
    OK = 0
    REFUSED = 1
    USAGE = 2
    UNAVAILABLE = 3
    NOT_SIGNED_IN = 4


class Stop(Exception):
    """Ends the command: one sentence in red, the remedy below it, and an exit code."""

    def __init__(self, message: str, *, remedy: str = "", status: Exit = Exit.REFUSED, raw: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.remedy = remedy
        self.status = status
        #: The server's own words (problem+json), for --json.
        self.raw = raw


#: What only an extra installs.
_EXTRAS = MappingProxyType(
    {"ldap": "bastide[ad]", "dns": "bastide[ad]", "gssapi": "bastide[ad]", "psycopg": "bastide[postgres]"}
)


def missing_extra(error: ImportError) -> str:
    """The extra that would bring what could not be imported; empty: it is something else."""
    return _EXTRAS.get((error.name or "").partition(".")[0], "")
