"""The audit chain: each record holds the hash of the one before it, so that none can change, vanish or slip in unnoticed.

The hash is SHA-256 over a canonical JSON form (sorted keys, no spaces, UTF-8) of every field but the hash itself. The end of the chain is
held by signed checkpoints (Ed25519), because a chain alone does not show that its tail was cut off.
"""

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime

from bastide.domain.errors import AuditBroken

GENESIS = "0" * 64
_DATA = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=False, default=str)
_PLAIN = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False)


@dataclass(frozen=True, slots=True)
class Event:
    """Something to be recorded: `kind` from docs/reference/events.md; actor and subject as SID and name; never a secret."""

    kind: str
    at: datetime
    actor: str
    actor_name: str
    subject: str = ""
    subject_name: str = ""
    request: str = ""
    data: Mapping[str, object] | None = None


@dataclass(frozen=True, slots=True)
class Record:
    """An event with its place in the chain."""

    seq: int
    at: datetime
    kind: str
    actor: str
    actor_name: str
    subject: str
    subject_name: str
    request: str
    data: str
    previous: str
    hash: str


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """At `at` the chain ended in record `seq` with `hash`. `signature` is over `checkpoint_bytes`."""

    seq: int
    hash: str
    at: datetime
    key: str
    signature: bytes


def chain(event: Event, seq: int, previous: str) -> Record:
    """The event as record `seq` after the one whose hash is `previous`."""
    fields = (
        seq, event.at, event.kind, event.actor, event.actor_name, event.subject, event.subject_name, event.request,
        _DATA.encode(event.data or {}), previous,
    )  # fmt: skip
    return Record(*fields, _hash(*fields))


def digest(record: Record) -> str:
    """The hash a record must have."""
    return _hash(
        record.seq, record.at, record.kind, record.actor, record.actor_name,
        record.subject, record.subject_name, record.request, record.data, record.previous,
    )  # fmt: skip


def _hash(seq: int, at: datetime, *others: str) -> str:
    """Of these fields, in the order of a record."""
    fields = [seq, at.isoformat(timespec="microseconds"), *others]
    return hashlib.sha256(_PLAIN.encode(fields).encode()).hexdigest()


def verify(records: Iterable[Record], *, start: int = 1, previous: str = GENESIS) -> Iterator[Record]:
    """Yield each record after checking it. Raises AuditBroken at the first that does not fit."""
    expected = start
    for record in records:
        if record.seq != expected:
            raise AuditBroken(expected, f"missing: the next one found is {record.seq}")
        if record.previous != previous:
            raise AuditBroken(record.seq, "does not follow the record before it")
        if digest(record) != record.hash:
            raise AuditBroken(record.seq, "was changed after it was written")
        yield record
        expected, previous = record.seq + 1, record.hash


def checkpoint_bytes(seq: int, record_hash: str, at: datetime) -> bytes:
    """What a checkpoint signs."""
    return f"bastide-checkpoint-1\n{seq}\n{record_hash}\n{at.isoformat(timespec='microseconds')}\n".encode()
