"""Writes alerts into a unit of work, with their audit records and the work that tells of them: one commit holds all three.

(1) What an alert that is there stands for counts on in it, and is told nobody anew.
(2) A new one is told its rule's destinations; people in their quiet hours later, if it does not wake.
(3) What is right again settles its alert; programs are told, people are not. What comes back soon opens it again: programs are told at once, people at the end of
    its window, if it stands then.
"""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import datetime, timedelta

from bastide.domain.alerts import Alert, Policy, Rule, Severity, Sighting, Stage, key_of, made
from bastide.services.alerts.ports import Outlet
from bastide.services.events import by_worker
from bastide.services.pace import ALERT, ALERT_LATE
from bastide.services.ports import Random, UnitOfWork


def kind_of(destination: str) -> str:
    """The kind of work that a destination's messages are."""
    return f"{ALERT}:{destination}"


def key_of_row(stage: Stage, alert: str) -> str:
    """Of the work that tells a destination."""
    return f"{stage.value}/{alert}"


class Book:
    """What readers, measurers and people write with."""

    def __init__(self, *, policy: Policy, outlets: Mapping[str, Outlet], random: Random) -> None:
        self._policy = policy
        self._outlets = outlets
        self._random = random

    def found(self, uow: UnitOfWork, rule: Rule, sighting: Sighting, now: datetime) -> None:
        """A rule found something."""
        known = uow.alerts.latest(rule.name, key_of(rule, sighting))
        if known is not None and known.takes(sighting, rule.window):  # (1)
            uow.alerts.save(known.again(sighting))
            return
        if known is not None and known.comes_back(sighting, rule.window):
            self._reopen(uow, rule, known, sighting, now)
            return
        alert = made(rule, sighting, self._random.uuid(), now)
        uow.alerts.add(alert)
        data: dict[str, object] = {
            "alert": alert.id, "rule": rule.name, "severity": rule.severity.value, "title": alert.title, "record": alert.record,
        }  # fmt: skip
        uow.audit.append(
            by_worker("alert.raised", now, subject=alert.subject, subject_name=alert.subject_name, data=data)
        )
        self.tell(uow, alert, Stage.RAISED, self._told(rule.to), now)  # (2)
        self._plan_escalation(uow, rule, alert, now)

    def _plan_escalation(self, uow: UnitOfWork, rule: Rule, alert: Alert, now: datetime) -> None:
        if rule.escalate_after > timedelta(0) and rule.escalate_to:
            due = self._policy.quiet.tells(rule.severity, now + rule.escalate_after)
            uow.work.poke(ALERT_LATE, alert.id, due)

    def _reopen(self, uow: UnitOfWork, rule: Rule, alert: Alert, sighting: Sighting, now: datetime) -> None:
        """(3)."""
        after = alert.reopened(sighting)
        uow.alerts.save(after)
        data = {"alert": alert.id, "rule": alert.rule, "count": after.count, "record": sighting.record}
        uow.audit.append(
            by_worker(
                "alert.reopened", now, subject=alert.subject, subject_name=alert.subject_name, data=data
            )
        )
        self.tell_programs(uow, after, Stage.RAISED, now)
        people = [name for name in self._told(rule.to) if self._outlets[name].people]
        self.tell(uow, after, Stage.RAISED, people, max(now, alert.held_until(rule.window)))
        self._plan_escalation(uow, rule, after, now)

    def escalate(self, uow: UnitOfWork, alert: Alert, names: frozenset[str], now: datetime) -> None:
        """Nobody acknowledged it in time: the next ones are told. Without any nothing changes."""
        told = [name for name in self._outlets if name in names]
        if not told:
            return
        after = replace(alert, escalated_at=now)
        uow.alerts.save(after)
        data = {"alert": alert.id, "rule": alert.rule, "to": told}
        uow.audit.append(
            by_worker(
                "alert.escalated", now, subject=alert.subject, subject_name=alert.subject_name, data=data
            )
        )
        self.tell(uow, after, Stage.ESCALATED, told, now)

    def over(self, uow: UnitOfWork, alert: Alert, because: str, now: datetime) -> None:
        """(3)."""
        after = alert.over(because, now)
        uow.alerts.save(after)
        data = {"alert": alert.id, "rule": alert.rule, "because": because}
        uow.audit.append(
            by_worker("alert.over", now, subject=alert.subject, subject_name=alert.subject_name, data=data)
        )
        self.tell_programs(uow, after, Stage.OVER, now)

    def tell_programs(self, uow: UnitOfWork, alert: Alert, stage: Stage, now: datetime) -> None:
        """What became of an alert, to those who were told of it and are no people."""
        rule = self._policy.named(alert.rule)
        names = self._told(frozenset() if rule is None else rule.to)
        self.tell(uow, alert, stage, [one for one in names if not self._outlets[one].people], now)

    def tell(self, uow: UnitOfWork, alert: Alert, stage: Stage, names: Iterable[str], now: datetime) -> None:
        """A row of work for each destination."""
        for name in names:
            due = self.due(name, alert.severity, now)
            uow.work.poke(kind_of(name), key_of_row(stage, alert.id), due)

    def due(self, name: str, severity: Severity, now: datetime) -> datetime:
        """When a destination is told."""
        return self._policy.quiet.tells(severity, now) if self._outlets[name].people else now

    def _told(self, wanted: frozenset[str]) -> list[str]:
        return [name for name in self._outlets if not wanted or name in wanted]
