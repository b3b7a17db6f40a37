"""Drift that is over, as the audit tells of it: when it was found, how it ended, and who said what. Pure."""

import json
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from types import MappingProxyType

from bastide.domain.audit import Record
from bastide.domain.drift import Rule
from bastide.domain.people import Forest

_FOUND = "drift.found"


class End(StrEnum):
    """How a drift ended. `gone`: by somebody else's doing."""

    REPAIRED = "repaired"
    GONE = "gone"
    ACCEPTED = "accepted"


_ENDS: Mapping[str, End] = MappingProxyType({f"drift.{end.value}": end for end in End})
#: The audit records that tell of drift from its beginning to its end.
KINDS = frozenset({_FOUND, *_ENDS})


@dataclass(frozen=True, slots=True)
class Wanted:
    """Of which kind and domain. None: of any."""

    rule: Rule | None = None
    side: Forest | None = None

    def takes(self, rule: str, side: str) -> bool:
        """Whether it is one of these."""
        return self.rule in {None, rule} and self.side in {None, side}


@dataclass(frozen=True, slots=True, kw_only=True)
class Settled:
    """A drift that is over. `found_at` None: longer ago than was looked. `by`, `said`: who accepted it, and why; empty: nobody did. `record`: the number of the
    audit record that says so.
    """

    key: str
    rule: str
    side: str
    name: str
    owner: str
    action: str
    reason: str
    found_at: datetime | None
    over_at: datetime
    end: End
    by: str
    said: str
    record: int


def settled(records: Iterable[Record], wanted: Wanted, most: int) -> tuple[Settled, ...]:
    """Out of records of KINDS, in order: the newest ones first, at most so many."""
    kept = deque((one for one in _ended(records) if wanted.takes(one.rule, one.side)), maxlen=most)
    return tuple(reversed(kept))


def _ended(records: Iterable[Record]) -> Iterator[Settled]:
    """Memory holds what stands, and not what is over."""
    since: dict[str, datetime] = {}
    for record in records:
        data = json.loads(record.data)
        key = str(data.get("drift", ""))
        if record.kind == _FOUND:
            since[key] = record.at
            continue
        end = _ENDS[record.kind]
        accepted = end is End.ACCEPTED
        yield Settled(
            key=key,
            rule=str(data.get("rule", "")),
            side=str(data.get("domain", "")),
            name=record.subject_name,
            owner=str(data.get("owner", "")),
            action=str(data.get("action", "")),
            reason=str(data.get("found" if accepted else "reason", "")),
            found_at=since.pop(key, None),
            over_at=record.at,
            end=end,
            by=record.actor_name if accepted else "",
            said=str(data.get("reason", "")) if accepted else "",
            record=record.seq,
        )
