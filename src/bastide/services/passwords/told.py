"""A notification with what was found out about it, and how that is said: to the agent, in the audit, as numbered events, on record."""

import logging
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from hashlib import sha256
from uuid import UUID

from bastide.domain.audit import Event
from bastide.domain.management_agents import CsId, CsObject, ManagementAgent
from bastide.domain.passwords import REASONS, Change, Delivery, Receipt, Stamp
from bastide.services.events import by_worker
from bastide.services.passwords.callers import Caller
from bastide.services.passwords.ports import EventLog, SourceState
from bastide.wire import LARGEST_REVISION, Notification, Verdict

_log = logging.getLogger(__name__)
#: Right later, perhaps: not remembered, and kept by the agent.
NOT_NOW = frozenset({Receipt.FUTURE, Receipt.UNREADABLE, Receipt.OVERDUE, Receipt.OTHER_ACCOUNT})
NUMBERS = {
    Receipt.NOT_IN_CS: 6904,
    Receipt.NOT_JOINED: 6905,
    Receipt.NO_TARGETS: 6906,
    Receipt.DAILY_LIMIT: 6917,
    Receipt.OUT_OF_DATE: 6918,
    Receipt.NOT_A_SOURCE: 6926,
}
_YEAR_1601 = datetime(1601, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Told:
    """The answer to an agent. `delay` in seconds, with `later` only."""

    verdict: Verdict
    reason: str = ""
    delay: int = 0
    receipt: Receipt | None = None


@dataclass(frozen=True, slots=True)
class Case:
    """A notification with what was found out about it. Without a receipt it is `later`. `reference`: under which it is on record (`own_reference`).
    `stamp`: what AD says of the change; `turn`: the same in its place among our own writes (`in_turn`).
    `same`: the objects of other agents, and this one, that are this account and that passwords are set for.
    `over`: deliveries to this account that it ended.
    """

    caller: Caller
    told: Notification
    stamp: Stamp
    reference: str
    receipt: Receipt | None = None
    agent: ManagementAgent | None = None
    object: CsObject | None = None
    state: SourceState | None = None
    targets: tuple[CsObject, ...] = ()
    names: tuple[str, ...] = ()
    same: frozenset[CsId] = frozenset()
    echoes: tuple[Delivery, ...] = ()
    turn: Stamp | None = None
    over: tuple[Delivery, ...] = ()
    later: str = ""
    delay: int = 0
    written: bool = False

    @property
    def undecided(self) -> bool:
        """Nothing speaks against it yet."""
        return self.receipt is None and not self.later

    @property
    def placed(self) -> Stamp:
        """As targets compare it with others."""
        return self.turn or self.stamp

    @property
    def of_a_source(self) -> bool:
        """Told by a controller of a domain that is set up as a source. Of others nothing is kept: they have no business here."""
        return self.agent is not None and self.agent.source is not None


def own_reference(domain: str, reference: str) -> str:
    """Under which a change is on record whose reference another domain has used. References come from agents, so a controller of one domain can
    use up what belongs to another one. None of these can be sent: they are no UUIDs.
    """
    return sha256(f"{domain}\n{reference}".encode()).hexdigest()


def stamp_of(told: Notification) -> Stamp:
    """A time that no calendar has is one in the future: nobody's clock is right then."""
    try:
        changed_at = _YEAR_1601 + timedelta(microseconds=told.changed_at // 10)
    except OverflowError:
        changed_at = datetime.max.replace(tzinfo=UTC)
    return Stamp(changed_at, min(max(told.revision, 0), LARGEST_REVISION))


@lru_cache(maxsize=1024)
def guid_of(text: str) -> str:
    """As anchors are written; what is no GUID is in no connector space."""
    try:
        return str(UUID(text))
    except ValueError:
        return ""


def answer(case: Case) -> Told:
    """To the agent."""
    if case.receipt is None:
        return Told(Verdict.LATER, case.later, case.delay)
    reason = REASONS[case.receipt]
    if case.receipt in {Receipt.STAGED, Receipt.DUPLICATE}:
        return Told(Verdict.ACCEPTED, reason, receipt=case.receipt)
    if case.receipt in NOT_NOW:
        return Told(Verdict.REFUSED, reason, receipt=case.receipt)
    return Told(Verdict.DISCARD, reason, receipt=case.receipt)


def change_of(case: Case, now: datetime) -> Change:
    """As it goes on record."""
    told = case.told
    return Change(
        reference=case.reference,
        ma=case.agent.id if case.agent else None,
        object=case.object.id if case.object else None,
        domain=case.caller.domain,
        user_guid=guid_of(told.user_guid),
        account=told.account,
        stamp=case.stamp,
        controller=case.caller.host,
        origin=told.origin,
        attempt=told.attempt,
        received_at=now,
        receipt=case.receipt or Receipt.DUPLICATE,
    )


def record(case: Case, now: datetime) -> Event:
    """For the audit."""
    told, receipt = case.told, case.receipt
    data: dict[str, object] = {
        "domain": case.caller.domain,
        "controller": case.caller.host,
        "changed_at": case.stamp.changed_at.isoformat(),
    }
    if receipt is Receipt.STAGED:
        data["targets"] = list(case.names)
    elif receipt is not None:
        data["receipt"] = receipt.value
    kind = "password.staged" if receipt is Receipt.STAGED else "password.refused"
    return by_worker(
        kind, now, subject=told.user_sid, subject_name=told.account, request=case.reference, data=data
    )


def announce(events: EventLog, case: Case) -> None:
    """After the commit. A notification that is sent again and again is reported each time, with its attempt."""
    told, receipt = case.told, case.receipt
    if receipt is None:
        return
    received = {
        "Reference ID": case.reference,
        "Password Last Change Time": case.stamp.changed_at.isoformat(),
        "Source Object GUID": told.user_guid,
        "Delivery Attempt": told.attempt,
        "Source User Name": told.account,
    }
    events.write(6903, **received)
    source = {
        "Reference ID": case.reference,
        "Source Object GUID": told.user_guid,
        "Source DN": case.object.dn if case.object else "",
        "Source management agent name": case.agent.name if case.agent else "",
    }
    if receipt is Receipt.STAGED:
        for target, name in zip(case.targets, case.names, strict=True):
            staged = {"Reference ID": case.reference, "Target Object GUID": target.id}
            events.write(6907, **staged, **{"Target management agent name": name})
    elif receipt in {Receipt.OWN_ACCOUNT, Receipt.ECHO}:
        events.write(6912, AccountName=told.account, **received)
    elif (number := NUMBERS.get(receipt)) is not None:
        events.write(number, **source, **_more(case))
    elif receipt is not Receipt.DUPLICATE:
        _log.warning("the notification %s was refused: %s", case.reference, REASONS[receipt])


def _more(case: Case) -> dict[str, object]:
    if case.receipt is Receipt.DAILY_LIMIT and case.agent and case.agent.source and case.state:
        return {"Maximum changes": case.agent.source.daily_limit, "Current Change": case.state.count}
    if case.receipt is Receipt.OUT_OF_DATE and case.state:
        return {
            "Last password timestamp": case.state.stamp.changed_at.isoformat(),
            "Current password timestamp": case.stamp.changed_at.isoformat(),
        }
    return {}
