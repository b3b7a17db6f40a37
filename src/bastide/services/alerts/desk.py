"""What administrators do with alerts, and auditors see of them."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from bastide.domain.alerts import NOTE_LIMIT, Alert, Policy, Rule, Severity, Signal, Stage, State, made
from bastide.domain.alerts import Sighting as Found
from bastide.domain.errors import NotFound, TargetUnavailable
from bastide.domain.ids import parse_id, parse_text, typed
from bastide.domain.people import Actor, Right, require, require_reader
from bastide.services.alerts.book import Book, kind_of
from bastide.services.alerts.ports import Outlet, Parcel
from bastide.services.events import by_actor, by_worker
from bastide.services.notifications.ports import Fate
from bastide.services.ports import Random, Store

#: Alerts among which the escalated ones are looked for.
_MOST = 5000
_TEST = Rule(name="test", signal=Signal.EVENT_GAP, severity=Severity.LOW)


@dataclass(frozen=True, slots=True)
class Standing:
    """How a destination does. `failing_since`: nothing was taken since."""

    name: str
    people: bool
    waiting: int
    told_at: datetime | None
    failing_since: datetime | None
    problem: str


class Desk:
    """The use cases."""

    def __init__(
        self,
        *,
        store: Store,
        policy: Policy,
        book: Book,
        outlets: Mapping[str, Outlet],
        random: Random,
        now: Callable[[], datetime],
    ) -> None:
        self._store = store
        self._policy = policy
        self._book = book
        self._outlets = outlets
        self._random = random
        self._now = now

    def list(
        self, actor: Actor, states: Sequence[State], limit: int, *, escalated: bool = False
    ) -> tuple[Alert, ...]:
        """The newest of these states first; `escalated`: only those that were. Raises NotAuthorized."""
        require_reader(actor)
        with self._store.read() as uow:
            if not escalated:
                return uow.alerts.newest(states, limit)
            found = uow.alerts.newest(states, _MOST)
        return tuple(one for one in found if one.escalated_at is not None)[:limit]

    def show(self, actor: Actor, id_: str) -> Alert:
        """Raises NotAuthorized, InvalidInput, NotFound."""
        require_reader(actor)
        with self._store.read() as uow:
            return uow.alerts.get(parse_id("alert", id_))

    def acknowledge(self, actor: Actor, id_: str, note: str) -> Alert:
        """The caller has it in hand: it is not escalated. Raises NotAuthorized, InvalidInput, NotFound, Conflict."""
        require(actor, Right.ADMINISTER)
        note = parse_text("note", note, NOTE_LIMIT)
        with self._store.write() as uow:
            now = self._now()
            after = uow.alerts.get(parse_id("alert", id_)).acknowledged(actor.name, note, now)
            uow.alerts.save(after)
            data = {"alert": after.id, "rule": after.rule, "note": note}
            uow.audit.append(
                by_actor(
                    "alert.acknowledged", now, actor, subject=after.subject, subject_name=after.subject_name, data=data
                )
            )  # fmt: skip
            self._book.tell_programs(uow, after, Stage.ACKNOWLEDGED, now)
            uow.commit()
        return after

    def rules(self, actor: Actor) -> tuple[Rule, ...]:
        """Those of the catalogue and of the settings, off ones too. Raises NotAuthorized."""
        require_reader(actor)
        return self._policy.rules

    def destinations(self, actor: Actor) -> tuple[Standing, ...]:
        """Each destination of the settings, and how it does. Raises NotAuthorized."""
        require_reader(actor)
        with self._store.read() as uow:
            rows = uow.work.listing()
            found = []
            for name, outlet in self._outlets.items():
                told, failing = uow.audit.last("alert.told", name), uow.audit.last("alert.failing", name)
                mine = [row for row in rows if row["kind"] == kind_of(name)]
                fails = failing is not None and (told is None or told.seq < failing.seq)
                found.append(
                    Standing(
                        name=name,
                        people=outlet.people,
                        waiting=len(mine),
                        told_at=None if told is None else told.at,
                        failing_since=failing.at if failing is not None and fails else None,
                        problem=next((str(row["error"]) for row in mine if row["error"]), ""),
                    )
                )
        return tuple(found)

    def test(self, actor: Actor, name: str) -> str:
        """Tell a destination of an alert that is none, now; its name. Raises NotAuthorized, NotFound, TargetUnavailable."""
        require(actor, Right.ADMINISTER)
        outlet = self._outlets.get(name)
        if outlet is None:
            known = ", ".join(self._outlets) or "none"
            raise NotFound(
                f"there is no destination {typed(name)}", remedy=f"bastide.toml names these: {known}"
            )
        now = self._now()
        said = f"This is a test: the destination {name} works. Nothing happened, and nothing is to be done."
        found = Found(key="test", title="Test", text=said, at=now)
        (outcome,) = outlet.send([Parcel(made(_TEST, found, self._random.uuid(), now), Stage.RAISED)])
        taken = outcome.fate is Fate.TAKEN
        with self._store.write() as uow:
            data = {"taken": taken, "problem": outcome.problem}
            uow.audit.append(
                by_actor("alert.tested", self._now(), actor, subject=name, subject_name=name, data=data)
            )
            if taken:
                uow.audit.append(
                    by_worker(
                        "alert.told", self._now(), subject=name, subject_name=name, data={"alerts": ["test"]}
                    )
                )
            uow.commit()
        if not taken:
            raise TargetUnavailable(
                f"the destination {name} did not take the alert: {outcome.problem or 'it did not answer in time'}",
                remedy="`bastide validate` looks at it; docs/how-to/alerts.md says what each kind needs",
            )
        return name
