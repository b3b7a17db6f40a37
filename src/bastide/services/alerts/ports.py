"""What alerts need from the outside."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from bastide.domain.alerts import Alert, Severity, Signal, Stage, State
from bastide.services.notifications.ports import Outcome


@dataclass(frozen=True, slots=True)
class Parcel:
    """What a destination is told. `id` is the same for each repetition, and another one when the alert was opened again."""

    alert: Alert
    stage: Stage

    @property
    def id(self) -> str:
        again = f"-{self.alert.returns}" if self.alert.returns else ""
        return f"{self.alert.id}-{self.stage.value}{again}"


class Outlet(Protocol):
    """A destination. `people`: quiet hours count there, and it is told no more than what somebody can act on; a program is told everything at once."""

    name: str
    people: bool

    def send(self, parcels: Sequence[Parcel]) -> tuple[Outcome, ...]:
        """One outcome for each, in their order. A parcel may have arrived although its outcome is not TAKEN. Raises nothing but what a defect raises."""


class Alerts(Protocol):
    """The alerts that are kept, in a unit of work."""

    def add(self, alert: Alert) -> None:
        """Raises Conflict if its id is taken."""

    def save(self, alert: Alert) -> None:
        """Raises NotFound."""

    def get(self, id: str) -> Alert:  # noqa: A002
        """Raises NotFound."""

    def many(self, ids: Collection[str]) -> Mapping[str, Alert]:
        """Those that are there, by id."""

    def latest(self, rule: str, key: str) -> Alert | None:
        """The newest of a rule and a key."""

    def watched(self, signal: Signal) -> tuple[Alert, ...]:
        """All of a signal that are not over, oldest first."""

    def newest(self, states: Collection[State], limit: int) -> tuple[Alert, ...]:
        """The newest of these states first."""

    def open(self) -> Mapping[Severity, int]:
        """How many nobody has acknowledged, by severity."""

    def forget_before(self, moment: datetime) -> None:
        """Those that are acknowledged or over, and were last seen before that."""
