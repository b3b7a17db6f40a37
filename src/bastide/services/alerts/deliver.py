"""Tells one destination of alerts. Each has a job of its own, so one that is down holds up nothing but itself. In order:

(1) What is of no use to people any more is dropped; what could not be told for a day is given up, and the audit says so.
(2) Only with a lease that is surely ours something is sent: at least once, and with the same id if it is sent again.
(3) One commit takes away what was taken, puts off what was not, and tells the audit; that a destination takes nothing is said once for each spell of it.
"""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from bastide.domain.alerts import GIVE_UP, Alert, Policy, Stage
from bastide.services.alerts.book import kind_of
from bastide.services.alerts.ports import Outlet, Parcel
from bastide.services.events import by_worker
from bastide.services.notifications.fates import Settling, by_fate
from bastide.services.notifications.ports import Outcome
from bastide.services.ports import Lease, Store, UnitOfWork, Work

_log = logging.getLogger(__name__)
#: Rows taken at once.
BATCH = 50


@dataclass(slots=True)
class _Sorted:
    """The rows of one run, by what is to be done."""

    parcels: list[tuple[Work, Parcel]] = field(default_factory=list)
    over: list[Work] = field(default_factory=list)
    too_old: list[tuple[Work, Alert]] = field(default_factory=list)


class Deliver:
    """The job of one destination."""

    def __init__(
        self,
        *,
        store: Store,
        outlet: Outlet,
        policy: Policy,
        now: Callable[[], datetime],
        jitter: Callable[[], float],
    ) -> None:
        self.kind = kind_of(outlet.name)
        self._store = store
        self._outlet = outlet
        self._policy = policy
        self._now = now
        self._settling = Settling[tuple[Work, Parcel]](lambda pair: (pair[0],), jitter)

    def run(self, works: Sequence[Work], lease: Lease) -> None:
        """Tell what these rows are about. Raises LostLease, StoreError."""
        with self._store.read() as uow:
            alerts = uow.alerts.many([_alert_of(work) for work in works])
        todo = _Sorted()
        for work in works:
            self._sort(work, alerts.get(_alert_of(work)), todo)
        outcomes: Sequence[Outcome] = ()
        if todo.parcels:
            lease.require()  # (2)
            outcomes = self._outlet.send([parcel for _, parcel in todo.parcels])
        self._settle(todo, outcomes)

    def _sort(self, work: Work, alert: Alert | None, todo: _Sorted) -> None:
        """(1)."""
        stage = Stage(work.key.partition("/")[0])
        if alert is None or (self._outlet.people and not alert.wanted(stage)):
            todo.over.append(work)
        elif self._now() - self._since(alert, stage) > GIVE_UP:
            todo.too_old.append((work, alert))
        else:
            todo.parcels.append((work, Parcel(alert, stage)))

    def _since(self, alert: Alert, stage: Stage) -> datetime:
        """When it was to be told."""
        moments = {
            Stage.ESCALATED: alert.escalated_at,
            Stage.ACKNOWLEDGED: alert.acknowledged_at,
            Stage.OVER: alert.over_at,
        }
        at = moments.get(stage) or alert.raised_at
        return self._policy.quiet.tells(alert.severity, at) if self._outlet.people else at

    def _settle(self, todo: _Sorted, outcomes: Sequence[Outcome]) -> None:
        """(3)."""
        sent = by_fate(todo.parcels, outcomes)
        now, name = self._now(), self._outlet.name
        with self._store.write() as uow:
            over = [*todo.over, *(work for work, _ in todo.too_old)]
            self._settling.settle(uow.work, sent, now, over)
            if sent.failing:
                self._say_failing(uow, [why for _, why in sent.refused], now)
            if sent.taken:
                data: dict[str, object] = {"alerts": [parcel.id for _, parcel in sent.taken]}
                uow.audit.append(by_worker("alert.told", now, subject=name, subject_name=name, data=data))
            for _, alert in todo.too_old:
                data = {"alert": alert.id, "title": alert.title}
                uow.audit.append(by_worker("alert.given-up", now, subject=name, subject_name=name, data=data))
            uow.commit()

    def _say_failing(self, uow: UnitOfWork, problems: Sequence[str], now: datetime) -> None:
        name, why = self._outlet.name, problems[0]
        _log.warning("alerts to %s: %s", name, why)
        failing, told = uow.audit.last("alert.failing", name), uow.audit.last("alert.told", name)
        if failing is not None and (told is None or told.seq < failing.seq):
            return
        data = {"problem": why, "waiting": len(problems)}
        uow.audit.append(by_worker("alert.failing", now, subject=name, subject_name=name, data=data))


def _alert_of(work: Work) -> str:
    return work.key.partition("/")[2]
