"""A call that is to have its effect once, however often it arrives: after a failure of the database nobody knows whether the last commit counts.

The caller gives the call a key (draft-ietf-httpapi-idempotency-key-header). What has its effect in a request is kept with it, so that it is there if and only if the
effect is, for as long as the request is. Only digests are kept.
"""

import hashlib
import json
from collections.abc import Collection
from dataclasses import dataclass
from uuid import UUID

from bastide.domain.errors import Conflict, InvalidInput
from bastide.domain.ids import RequestId

KEY_LIMIT = 255
_SHORTEST = 8
_FIELD = "Idempotency-Key"


@dataclass(frozen=True, slots=True)
class Once:
    """`key`: whose call, of which kind, with which key. `body`: what it said."""

    key: str
    body: str

    @property
    def request_id(self) -> RequestId:
        """The id of the request that this call makes, the same each time: a UUID of version and variant 8 (RFC 9562 5.8)."""
        return RequestId(str(UUID(f"{self.key[:12]}8{self.key[13:16]}8{self.key[17:32]}")))


def once(who: str, what: str, key: str, *said: object) -> Once | None:
    """`who`: one identity for both accounts of a person. `what`: the kind of call. None: the caller gave no key. Raises InvalidInput."""
    if not key:
        return None
    if not _SHORTEST <= len(key) <= KEY_LIMIT or not (key.isascii() and key.isprintable()):
        raise InvalidInput(
            _FIELD,
            f"has {_SHORTEST} to {KEY_LIMIT} printable characters",
            remedy="send a new random UUID with each call, and the same one when you repeat it",
        )
    return Once(_digest(who, what, key), _digest(*map(str, said)))


def is_done(done: Collection[Once], wanted: Once | None) -> bool:
    """Whether the call has had its effect. Raises Conflict if its key came with another call."""
    if wanted is None:
        return False
    found = next((one for one in done if one.key == wanted.key), None)
    if found is not None and found.body != wanted.body:
        raise Conflict(
            f"this {_FIELD} came with another call before", remedy="send a new key with each new call"
        )
    return found is not None


def _digest(*parts: str) -> str:
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()
