"""What an approver signs, and whether it still says what the request says. Pure.

The challenge that a security key signs is SHA-256 over a canonical JSON form (sorted keys, no spaces, UTF-8) of what is approved, by whom, and
a nonce. Whoever can write into the database can change a request after it was approved, but cannot sign it again.
"""

import hashlib
import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from bastide.domain.ids import Sid
from bastide.domain.people import PamUser
from bastide.domain.requests import GIVE_UP, Decision, Request
from bastide.domain.roles import PamGroup

NONCE_BYTES = 32
_FORM = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=False)
_TICK = timedelta(microseconds=1)
_BETWEEN = b"\0"


def digest(
    request: Request,
    *,
    user: PamUser,
    groups: Sequence[PamGroup],
    voter: Sid,
    name: str,
    stage: str,
    decision: Decision,
    reason: str,
    nonce: bytes,
    until: datetime,
) -> bytes:
    """The challenge for one vote: 32 bytes. `groups`: those of the request. By SID and GUID, because the names and
    places of accounts may change; `name`: the voter's, as the vote says it; `until`: when the challenge is over.
    """
    start = request.start_at
    said = {
        "form": "bastide-approval-1",
        "request": request.id,
        "role": request.role,
        "user": [user.id, str(user.corp.sid), str(user.priv.sid)],
        "requester": str(request.requester),
        "groups": sorted(
            [group.id, str(group.corp.sid), str(group.priv.sid), group.priv.guid] for group in groups
        ),
        "privileges": sorted(request.privileges),
        "start": None if start is None else start.astimezone(UTC).isoformat(),
        "ttl": request.ttl // _TICK,
        "justification": request.justification,
        "ticket": request.ticket,
        "voter": [str(voter), name],
        "stage": stage,
        "decision": decision.value,
        "reason": reason,
        "nonce": nonce.hex(),
        "until": until.astimezone(UTC).isoformat(),
    }
    return hashlib.sha256(_FORM.encode(said).encode()).digest()


def longer_than_signed(request: Request) -> bool:
    """Whether an end is planned that is later than the length that was signed allows."""
    if request.ends_at is None or request.active_from is None:
        return request.ends_at is not None or request.extend_to is not None
    return request.last_end() - request.active_from > request.ttl


def begins_too_late(request: Request, voted: datetime, now: datetime) -> bool:
    """Whether it would begin later than GIVE_UP after the last vote, or after the start that was signed. When it began is worked out from its end
    and the length that was signed: a row could say anything.
    """
    latest = voted if request.start_at is None else max(voted, request.start_at)
    began = now if request.ends_at is None else request.last_end() - request.ttl
    return began > latest + GIVE_UP


def pack(accounts: Sequence[Sid], public_key: bytes) -> bytes:
    """A key and whose it is, as one text to be sealed together."""
    return ",".join(sorted(str(sid) for sid in accounts)).encode() + _BETWEEN + public_key


def unpack(packed: bytes) -> tuple[frozenset[Sid], bytes]:
    """What `pack` made."""
    accounts, _, public_key = packed.partition(_BETWEEN)
    return frozenset(Sid(sid) for sid in accounts.decode().split(",")), public_key


def seal_context(key: str) -> str:
    """The row that a key is sealed to."""
    return f"security-key:{key}"
