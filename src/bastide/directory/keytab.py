"""Which principals a keytab has keys of. The keys themselves are passed over.

The form is MIT's (doc/formats/keytab_file_format), version 2, which MIT, Heimdal, Samba and Windows write: records of a length, below zero
for a hole; a count of name components, the realm and the components, each with its length; what follows is not read.
"""

import struct
from collections.abc import Iterator
from pathlib import Path

from bastide.domain.errors import DirectoryDenied

#: Of the form: what a file begins with.
VERSION = b"\x05\x02"
#: More than any has; a file named by mistake may be of any size.
_LARGEST = 4 * 1024 * 1024
_MOST_NAMED = 8
#: As Kerberos writes names: what separates their parts is escaped within one.
_ESCAPES = str.maketrans(
    {"\\": "\\\\", "/": "\\/", "@": "\\@", "\n": "\\n", "\t": "\\t", "\b": "\\b", "\0": "\\0"}
)


def principals(path: Path) -> tuple[str, ...]:
    """All that it has a key of, sorted. Raises DirectoryDenied if it cannot be read or is no keytab."""
    try:
        with path.open("rb") as file:
            raw = file.read(_LARGEST)
    except OSError as error:
        raise DirectoryDenied(
            f"the keytab {path} cannot be read: {(error.strerror or type(error).__name__).lower()}",
            remedy="check the path, and that the service's user may read it",
        ) from None
    try:
        return tuple(sorted(set(_names(raw))))
    except (struct.error, ValueError):
        raise DirectoryDenied(
            f"{path} is no keytab, or a damaged one", remedy="export it again; `klist -k` must show its names"
        ) from None


def require(path: Path, *wanted: str) -> None:
    """Raise DirectoryDenied unless it has a key of each, as `name@REALM`; without a realm, of any. `service/*@REALM` is any host's."""
    found = principals(path)
    missing = [one for one in wanted if not any(_fits(one, name) for name in found)]
    if missing:
        named = " and ".join(found[:_MOST_NAMED]) + (" and more" if len(found) > _MOST_NAMED else "")
        raise DirectoryDenied(
            f"the keytab {path} has {named or 'no key'}, not {' and not '.join(missing)}",
            remedy=f"export that name into it (`klist -k {path}` shows what is there), or name another keytab or principal",
        )


def _fits(wanted: str, name: str) -> bool:
    """Kerberos compares letter by letter."""
    if "@" not in wanted:
        return wanted == name.rpartition("@")[0]
    service, star, realm = wanted.partition("/*@")
    if star:
        return name.startswith(f"{service}/") and name.endswith(f"@{realm}")
    return wanted == name


def _names(raw: bytes) -> Iterator[str]:
    """Raises struct.error, ValueError."""
    if not raw.startswith(VERSION):
        raise ValueError("another version, or no keytab")
    at = len(VERSION)
    while at + 4 <= len(raw):
        (length,) = struct.unpack_from(">i", raw, at)
        at += 4
        if length == 0:  # the rest was never written
            return
        if length > 0:
            yield _name(raw[at : at + length])
        at += abs(length)


def _name(record: bytes) -> str:
    """Raises struct.error, ValueError."""
    (count,) = struct.unpack_from(">H", record)
    at, parts = 2, []
    for _ in range(count + 1):
        (length,) = struct.unpack_from(">H", record, at)
        (part,) = struct.unpack_from(f"{length}s", record, at + 2)
        parts.append(part.decode().translate(_ESCAPES))
        at += 2 + length
    realm, *components = parts
    return f"{'/'.join(components)}@{realm}"
