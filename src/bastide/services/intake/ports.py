"""What the intake of events needs from the outside."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Protocol

from bastide.domain.observed import Judged, Verdict
from bastide.domain.observed_lines import Format


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """Who tells of events. `subject`: the DNS name in its certificate. `computers`: whose events it may bring, folded; empty: any. `complete`: it brings every
    record of its log, so a number that is missing is a gap. `silence` zero: it may be silent.
    """

    name: str
    format: Format
    subject: str
    computers: frozenset[str] = frozenset()
    complete: bool = False
    silence: timedelta = timedelta(0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Station:
    """What is known of a source. `numbers`: the newest record of each computer, `times`: when that was written. `refused`: lines that were none, and why the last was; `silent`: it was said."""

    name: str
    heard_at: datetime
    taken: int = 0
    refused: int = 0
    refusal: str = ""
    refused_at: datetime | None = None
    silent: bool = False
    numbers: Mapping[str, int] = field(default_factory=dict)
    times: Mapping[str, datetime] = field(default_factory=dict)


class Observed(Protocol):
    """The changes that were told of, and their sources, in a unit of work."""

    def add(self, judged: Judged, judge_at: datetime) -> bool:
        """False: it is there already, and stays as it is."""

    def save(self, judged: Judged) -> None: ...
    def put_off(self, many: Sequence[Judged], judge_at: datetime) -> None:
        """They are judged then."""

    def drop(self, judged: Judged) -> None:
        """It is none of ours."""

    def due(self, now: datetime, limit: int) -> tuple[Judged, ...]:
        """Those to be judged by now, oldest first."""

    def next_due(self) -> datetime | None:
        """When the next one is to be judged; None: none waits."""

    def since(self, since: datetime, verdicts: Collection[Verdict], limit: int) -> tuple[Judged, ...]:
        """What happened from then on, newest first."""

    def forget_before(self, before: datetime) -> None:
        """Those that were judged and happened before that."""

    def station(self, name: str) -> Station | None:
        """None: it was never heard."""

    def stations(self) -> tuple[Station, ...]: ...
    def put(self, station: Station) -> None: ...
