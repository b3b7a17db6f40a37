"""Which database a controller has, by its invocationId, and what it has heard of the others: its up-to-dateness vector of the domain ([MS-DRSR] 5.166).

Samba shows it as replUpToDateVector, in the form of UPTODATE_VECTOR_V2_EXT, and has no msDS-NCReplCursors (measured, 4.22). Where the first is not shown, the
second is asked for, which Windows documents for reading, as XML with the members of DS_REPL_CURSOR: written after the document, and never asked of Windows.
"""

import re
import struct
from collections.abc import Iterable, Mapping
from uuid import UUID

from bastide.directory.session import Session
from bastide.domain.ids import guid_from_bytes

_VECTOR, _CURSORS = "replUpToDateVector", "msDS-NCReplCursors"
#: dwVersion, dwReserved1, cNumCursors, dwReserved2; and by version the size of a cursor: uuidDsa, usnHighPropUpdate, from the second on timeLastSyncSuccess.
_HEAD = struct.Struct("<IIII")
_GUID_BYTES = 16
_CURSOR = struct.Struct("<16sQ")
_SIZES = {1: 24, 2: 32}
_DATABASE = re.compile(
    r"<uuidSourceDsaInvocationID>\s*\{?([0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12})\}?\s*</"
)
_USN = re.compile(r"<usnAttributeFilter>\s*([0-9]{1,20})\s*</")


def heard(session: Session, base: str) -> Mapping[str, int]:
    """By invocationId: up to which USN. Empty where neither attribute is shown, or is not what the documents say."""
    entry = session.must_read(base, [_VECTOR, _CURSORS])
    vector = entry.all(_VECTOR)
    return (from_vector(vector[0]) if vector else {}) or from_cursors(entry.texts(_CURSORS))


def own(session: Session, settings: str) -> str:
    """The invocationId of the controller's own database, out of its NTDS Settings (a DN, `dsServiceName`); empty where it is not shown."""
    found = session.must_read(settings, ["invocationId"]).all("invocationId") if settings else []
    return guid_from_bytes(found[0]) if found and len(found[0]) == _GUID_BYTES else ""


def from_vector(raw: bytes) -> Mapping[str, int]:
    """Out of replUpToDateVector. Empty for what is no vector."""
    if len(raw) < _HEAD.size:
        return {}
    version, _, count, _ = _HEAD.unpack_from(raw)
    size = _SIZES.get(version)
    if size is None or len(raw) < _HEAD.size + count * size:
        return {}
    cursors = (_CURSOR.unpack_from(raw, _HEAD.size + number * size) for number in range(count))
    return {guid_from_bytes(database): usn for database, usn in cursors}


def from_cursors(texts: Iterable[str]) -> Mapping[str, int]:
    """Out of msDS-NCReplCursors. What has no invocationId or no USN is left out."""
    pairs = ((_DATABASE.search(text), _USN.search(text)) for text in texts)
    return {str(UUID(database[1])): int(usn[1]) for database, usn in pairs if database and usn}
