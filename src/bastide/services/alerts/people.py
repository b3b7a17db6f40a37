"""Alerts as messages to people, by a notifier (apprise): one each, or one for all where a crowd comes at once."""

import hashlib
from collections.abc import Sequence

from bastide.domain.alerts import Stage
from bastide.domain.neutral import neutral
from bastide.services.alerts.ports import Parcel
from bastide.services.notifications.ports import Fate, Message, Notifier, Outcome

#: Told one by one in one go; more are one message.
SINGLY = 5
_LISTED = 20
_SUBJECT, _BODY, _ID = 150, 600, 32
_WORD = {Stage.RAISED: "", Stage.ESCALATED: "not acknowledged: ", Stage.ACKNOWLEDGED: "acknowledged: ", Stage.OVER: "over: "}  # fmt: skip


class PeopleOutlet:
    """`name`: of the destination, and of its address at the notifier. `home`: the address of the portal; empty: nobody knows it."""

    people = True

    def __init__(self, name: str, notifier: Notifier, *, home: str) -> None:
        self.name = name
        self._notifier = notifier
        self._page = f"{home}/admin/alerts" if home else ""

    def send(self, parcels: Sequence[Parcel]) -> tuple[Outcome, ...]:
        """One outcome for each. What is told together has one fate."""
        if len(parcels) <= SINGLY:
            return self._notifier.send(self.name, [self._one(parcel) for parcel in parcels])
        (outcome,) = self._notifier.send(self.name, [self._several(parcels)])
        untried = Outcome(Fate.UNTRIED)
        return tuple(untried if outcome.fate is Fate.UNTRIED else outcome for _ in parcels)

    def _one(self, parcel: Parcel) -> Message:
        alert = parcel.alert
        found = f"Found: {alert.count} times, first {alert.first_at:%Y-%m-%d %H:%M} UTC" if alert.count > 1 else (
            f"Found: {alert.first_at:%Y-%m-%d %H:%M} UTC"
        )  # fmt: skip
        body = (
            f"{neutral(alert.text, _BODY)}\n\n{found}\nRule: {alert.rule}\nSeverity: {alert.severity.value}\n\n"
            f"Look at it:\nbastide alert show {alert.id}\nSay that somebody has it in hand:\nbastide alert acknowledge {alert.id}\n\n"
            f"{self._page}\n\nBastide, alert {parcel.id}"
        )
        return Message(parcel.id, "", _subject(parcel), body)

    def _several(self, parcels: Sequence[Parcel]) -> Message:
        id_ = hashlib.sha256("\n".join(sorted(one.id for one in parcels)).encode()).hexdigest()[:_ID]
        lines = [_subject(one) for one in parcels[:_LISTED]]
        more = len(parcels) - len(lines)
        tail = [f"and {more} more"] if more else []
        body = "\n".join([*lines, *tail, "", "All of them:", "bastide alert list", "", self._page, "", f"Bastide, alerts {id_}"])  # fmt: skip
        worst = max(parcels, key=lambda one: one.alert.severity.weight).alert.severity
        return Message(id_, "", f"{len(parcels)} alerts, the worst {worst.value}", body)


def _subject(parcel: Parcel) -> str:
    alert = parcel.alert
    return neutral(f"[{alert.severity.value}] {_WORD[parcel.stage]}{alert.title}", _SUBJECT)
