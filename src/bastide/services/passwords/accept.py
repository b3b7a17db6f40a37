"""Take in what a domain controller tells. In order:

  (1) Synchronization is switched on; else later.
  (2) The controller speaks for its own domain: the caller was admitted for one (callers.py), and only that domain's agent is looked at.
  (3) The time of the change is neither in the future nor older than what any agent keeps.
  (4) The domain is an enabled source and has targets (6926).
  (5) A known reference is accepted again, without any effect.
  (6) The user is in the connector space (6904), joined (6905), not an account of ours (6912), the change is not one we made ourselves (echo),
      it is newer than the last one (6918), not one too many (6917), and the person has accounts in the targets (6906).
  (7) The secret opens, and is the password the account has: its check fits.
  (8) The data key is in the vault; then one commit writes the change, a delivery for each target object, their work rows and the audit (6907).

Steps (1) to (5) are decided twice: before the secret is opened, so that nothing is decrypted that no source sent, and again under the write
lock, which is what counts. A kill between the vault and the commit leaves a key that opens nothing (erase.py). A kill after the commit leaves an agent
without an answer; it sends again, and (5) answers. So each change counts once.

What is refused for good is remembered, so that `explain` can say why. What may be right later (a clock that is wrong, a key that is missing)
is not, and the agent keeps it.
"""

import hmac
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from uuid import UUID

from bastide.domain.audit import Event
from bastide.domain.errors import StoreBusy, StoreError, StoreUnavailable
from bastide.domain.management_agents import CsObject, Link, ManagementAgent, PasswordSource
from bastide.domain.passwords import (
    DAY,
    OLDEST,
    REASONS,
    Change,
    Delivery,
    Own,
    Receipt,
    Stamp,
    context_of,
    echo,
    out_of_order,
)
from bastide.services.events import by_worker
from bastide.services.pace import PASSWORD
from bastide.services.passwords.callers import Caller
from bastide.services.passwords.ports import Envelope, EventLog, NtHasher, Opener, SourceState, Vault
from bastide.services.ports import Random, Store, UnitOfWork
from bastide.wire import Notification, Verdict, check_of

_log = logging.getLogger(__name__)
JOINED = frozenset({Link.JOINED, Link.PROJECTED, Link.MANUAL})
#: Right later, perhaps: not remembered, and kept by the agent.
_NOT_NOW = frozenset({Receipt.FUTURE, Receipt.UNREADABLE})
#: Said before it is known whether the reference is.
_BEFORE_KNOWN = frozenset({Receipt.TOO_OLD, Receipt.NOT_A_SOURCE})
_KEY_BYTES = 32
_SWITCHED_OFF = 60
_SOON = 2
_YEAR_1601 = datetime(1601, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Told:
    """The answer to an agent. `delay` in seconds, with `later` only."""

    verdict: Verdict
    reason: str = ""
    delay: int = 0
    receipt: Receipt | None = None


@dataclass(frozen=True, slots=True)
class _Case:
    """A notification with what was found out about it. Without a receipt it is `later`."""

    caller: Caller
    told: Notification
    stamp: Stamp
    receipt: Receipt | None = None
    agent: ManagementAgent | None = None
    object: CsObject | None = None
    state: SourceState | None = None
    targets: tuple[CsObject, ...] = ()
    names: tuple[str, ...] = ()
    echoes: tuple[Delivery, ...] = ()
    later: str = ""
    delay: int = 0
    written: bool = False


@dataclass(slots=True, repr=False)
class _Secret:
    """A password in UTF-8, or why there is none; neither, if it was not opened."""

    password: bytearray | None = None
    problem: Receipt | None = None

    def wipe(self) -> None:
        """As far as Python lets."""
        if self.password is not None:
            self.password[:] = bytes(len(self.password))


class Accept:
    """Takes in notifications and heartbeats of admitted callers."""

    def __init__(
        self,
        *,
        store: Store,
        vault: Vault,
        envelope: Envelope,
        opener: Opener,
        hasher: NtHasher,
        events: EventLog,
        random: Random,
        now: Callable[[], datetime],
    ) -> None:
        self._store = store
        self._vault = vault
        self._envelope = envelope
        self._opener = opener
        self._hasher = hasher
        self._events = events
        self._random = random
        self._now = now

    def heartbeat(self, caller: Caller, waiting: int) -> Told:
        """An agent lives and has so many notifications waiting. Later, while synchronization is off."""
        with self._store.read() as uow:
            enabled = uow.switch.enabled()
        if not enabled:
            return Told(Verdict.LATER, "password synchronization is switched off", _SWITCHED_OFF)
        _log.debug("%s has %s notifications waiting", caller.host, waiting)
        return Told(Verdict.ACCEPTED)

    def notification(self, caller: Caller, told: Notification) -> Told:
        """Take in one change. Raises StoreBusy, StoreUnavailable; the agent then keeps it and sends it again."""
        return self.notifications(caller, [told])[0]

    def notifications(self, caller: Caller, several: Sequence[Notification]) -> tuple[Told, ...]:
        """Several of one caller, in that order, in one commit: what an agent had to keep while we were away comes in far faster. One that the
        database cannot hold does not hold up the others.
        """
        try:
            return self._take(caller, several)
        except StoreError as error:
            if isinstance(error, StoreBusy | StoreUnavailable):
                raise
            if len(several) > 1:
                return tuple(self.notification(caller, told) for told in several)
            _log.error("the notification %s cannot be taken in: %s", several[0].reference, error.message)
            return (Told(Verdict.REFUSED, "the database refused it"),)

    def _take(self, caller: Caller, several: Sequence[Notification]) -> tuple[Told, ...]:
        now = self._now()
        with self._store.read() as uow:
            worth = [_goes_on(self._judge_source(uow, caller, told, now)) for told in several]
        opened = [self._open(told) if worth[n] else _Secret() for n, told in enumerate(several)]  # (7)
        cases: list[_Case] = []
        keys: dict[str, bytes] = {}
        try:
            with self._store.write() as uow:
                mark = uow.audit.head()  # of the last commit: what this one adds may never be
                for told, secret in zip(several, opened, strict=True):
                    case = _with(self._judge(uow, caller, told, now), secret)
                    if self._write(uow, case, secret, now, keys):
                        case = replace(case, written=True)
                    cases.append(case)
                if keys:
                    self._vault.put(keys, mark)
                if any(case.written for case in cases):
                    uow.commit()
        finally:
            keys.clear()
            for secret in opened:
                secret.wipe()
        for case in cases:
            self._announce(case)
        return tuple(map(_answer, cases))

    # ----------------------------------------------------------------------------------------------------- the decision

    def _judge(self, uow: UnitOfWork, caller: Caller, told: Notification, now: datetime) -> _Case:
        case = self._judge_source(uow, caller, told, now)
        if not _goes_on(case) or case.agent is None:
            return case
        return self._judge_object(uow, case, case.agent, now)  # (6)

    @staticmethod
    def _judge_source(uow: UnitOfWork, caller: Caller, told: Notification, now: datetime) -> _Case:
        case = _Case(caller, told, _stamp(told))
        if not uow.switch.enabled():  # (1)
            return replace(case, later="password synchronization is switched off", delay=_SWITCHED_OFF)
        if (wrong := out_of_order(case.stamp, now)) is not None:  # (3)
            return replace(case, receipt=wrong)
        agent = uow.agents.by_domain(caller.domain)  # (2)
        if agent is None or agent.source is None or not agent.source.enabled or not agent.source.targets:
            return replace(case, agent=agent, receipt=Receipt.NOT_A_SOURCE)  # (4)
        if uow.changes.known([told.reference]):  # (5)
            return replace(case, agent=agent, receipt=Receipt.DUPLICATE)
        return replace(case, agent=agent)

    def _judge_object(self, uow: UnitOfWork, case: _Case, agent: ManagementAgent, now: datetime) -> _Case:
        guid = _guid(case.told.user_guid)
        found = uow.space.by_anchor(agent.id, [guid]).get(guid)
        if found is None:
            return replace(case, receipt=Receipt.NOT_IN_CS)
        case = replace(case, object=found, stamp=replace(case.stamp, source=found.id))
        if found.mv is None or found.link not in JOINED:
            return replace(case, receipt=Receipt.NOT_JOINED)
        if agent.source is None or case.told.user_sid in agent.source.own_accounts:
            return replace(case, receipt=Receipt.OWN_ACCOUNT)
        relatives = uow.space.of_mv(found.mv)
        case = self._judge_order(uow, case, found, relatives, now)
        return case if case.receipt is not None or case.later else _aimed(uow, case, agent.source, relatives)

    @staticmethod
    def _judge_order(
        uow: UnitOfWork, case: _Case, found: CsObject, relatives: tuple[CsObject, ...], now: datetime
    ) -> _Case:
        """Echo and order. The same account may be in the space of two agents: one that reads the domain, one that writes to it."""
        before = uow.changes.source_state(found.id)
        case = replace(case, state=_counted(before, case.stamp, now))
        same = {found.id, *(one.id for one in relatives if one.anchor == found.anchor)}
        last = before.stamp if before else None
        own, echoes = echo(case.stamp, last, uow.changes.made(same, now - OLDEST - DAY), now)
        case = replace(case, echoes=echoes)
        if own is Own.ASK_LATER:
            return replace(case, later="a password of ours is on its way to this account", delay=_SOON)
        if own is Own.YES:
            return replace(case, receipt=Receipt.ECHO)
        if not case.stamp.newer_than(last):
            return replace(case, receipt=Receipt.OUT_OF_DATE)
        return case

    # ------------------------------------------------------------------------------------------------------- the secret

    def _open(self, told: Notification) -> "_Secret":
        """The password in UTF-8, or why there is none. The copies that Python and libraries make of it on the way cannot be wiped; ours is."""
        try:
            text = self._opener.open(told.secret).decode("utf-16-le")
        except (StoreError, UnicodeDecodeError):
            return _Secret(problem=Receipt.UNREADABLE)
        if told.check:
            check = check_of(told.reference, self._hasher.nt_hash(text))
            if not hmac.compare_digest(check, told.check):
                return _Secret(problem=Receipt.STALE_SECRET)
        return _Secret(bytearray(text.encode()))

    # ------------------------------------------------------------------------------------------------------- the commit

    def _write(
        self, uow: UnitOfWork, case: _Case, secret: "_Secret", now: datetime, keys: dict[str, bytes]
    ) -> bool:
        """Whether there is anything to commit. The data key of a staged change is left in `keys`, for the vault."""
        told = case.told
        if case.receipt is None or case.receipt is Receipt.DUPLICATE:
            return False
        if case.receipt in _NOT_NOW:
            if told.attempt <= 1:
                uow.audit.append(_record(case, now))
            return told.attempt <= 1
        if case.receipt in _BEFORE_KNOWN and uow.changes.known([told.reference]):
            return False
        deliveries: list[Delivery] = []
        if case.receipt is Receipt.STAGED and secret.password is not None:
            keys[told.reference] = self._random.token(_KEY_BYTES)
            deliveries = self._seal(case, keys[told.reference], bytes(secret.password), now)
            uow.work.poke_many(PASSWORD, dict.fromkeys((one.object for one in deliveries), now))
        uow.changes.add(_change(case, now), deliveries)
        if case.echoes:
            uow.changes.save([replace(one, echoed=True) for one in case.echoes])
        if (
            case.object is not None
            and case.state is not None
            and case.receipt in {Receipt.STAGED, Receipt.ECHO}
        ):
            uow.changes.set_source_state(case.object.id, _remembered(uow, case, case.object, case.state))
        uow.audit.append(_record(case, now))
        return True

    def _seal(self, case: _Case, key: bytes, password: bytes, now: datetime) -> list[Delivery]:
        drafts = [
            Delivery(
                id=self._random.uuid(),
                reference=case.told.reference,
                ma=target.ma,
                object=target.id,
                dn=target.dn,
                stamp=case.stamp,
                created_at=now,
                mv=target.mv or "",
            )
            for target in case.targets
        ]
        return [replace(one, sealed=self._envelope.seal(key, password, context_of(one))) for one in drafts]

    # ------------------------------------------------------------------------------------------------------------ events

    def _announce(self, case: _Case) -> None:
        """After the commit. A notification that is sent again and again is reported each time, with its attempt."""
        told, receipt = case.told, case.receipt
        if receipt is None:
            return
        received = {
            "Reference ID": told.reference,
            "Password Last Change Time": case.stamp.changed_at.isoformat(),
            "Source Object GUID": told.user_guid,
            "Delivery Attempt": told.attempt,
            "Source User Name": told.account,
        }
        self._events.write(6903, **received)
        source = {
            "Reference ID": told.reference,
            "Source Object GUID": told.user_guid,
            "Source DN": case.object.dn if case.object else "",
            "Source management agent name": case.agent.name if case.agent else "",
        }
        if receipt is Receipt.STAGED:
            for target, name in zip(case.targets, case.names, strict=True):
                staged = {"Reference ID": told.reference, "Target Object GUID": target.id}
                self._events.write(6907, **staged, **{"Target management agent name": name})
        elif receipt in {Receipt.OWN_ACCOUNT, Receipt.ECHO}:
            self._events.write(6912, AccountName=told.account, **received)
        elif (number := _NUMBERS.get(receipt)) is not None:
            self._events.write(number, **source, **_more(case))
        elif receipt is not Receipt.DUPLICATE:
            _log.warning("the notification %s was refused: %s", told.reference, REASONS[receipt])


_NUMBERS = {
    Receipt.NOT_IN_CS: 6904,
    Receipt.NOT_JOINED: 6905,
    Receipt.NO_TARGETS: 6906,
    Receipt.DAILY_LIMIT: 6917,
    Receipt.OUT_OF_DATE: 6918,
    Receipt.NOT_A_SOURCE: 6926,
}


def _aimed(uow: UnitOfWork, case: _Case, source: PasswordSource, relatives: tuple[CsObject, ...]) -> _Case:
    if source.daily_limit and case.state is not None and case.state.count > source.daily_limit:
        return replace(case, receipt=Receipt.DAILY_LIMIT)
    own = case.object.id if case.object else ""
    targets = tuple(one for one in relatives if one.ma in source.targets and one.id != own)
    if not targets:
        return replace(case, receipt=Receipt.NO_TARGETS)
    names = tuple(uow.agents.get(one.ma).name for one in targets)
    return replace(case, receipt=Receipt.STAGED, targets=targets, names=names)


def _more(case: _Case) -> dict[str, object]:
    if case.receipt is Receipt.DAILY_LIMIT and case.agent and case.agent.source and case.state:
        return {"Maximum changes": case.agent.source.daily_limit, "Current Change": case.state.count}
    if case.receipt is Receipt.OUT_OF_DATE and case.state:
        return {
            "Last password timestamp": case.state.stamp.changed_at.isoformat(),
            "Current password timestamp": case.stamp.changed_at.isoformat(),
        }
    return {}


def _goes_on(case: _Case) -> bool:
    """Nothing has been decided yet."""
    return case.receipt is None and not case.later


def _with(case: _Case, secret: _Secret) -> _Case:
    """(7). What is staged needs a password; one that was not opened belongs to a source that was changed meanwhile."""
    if case.receipt is not Receipt.STAGED or secret.password is not None:
        return case
    if secret.problem is not None:
        return replace(case, receipt=secret.problem)
    return replace(case, receipt=None, later="its agent is being changed", delay=_SOON)


def _answer(case: _Case) -> Told:
    if case.receipt is None:
        return Told(Verdict.LATER, case.later, case.delay)
    reason = REASONS[case.receipt]
    if case.receipt in {Receipt.STAGED, Receipt.DUPLICATE}:
        return Told(Verdict.ACCEPTED, reason, receipt=case.receipt)
    if case.receipt in _NOT_NOW:
        return Told(Verdict.REFUSED, reason, receipt=case.receipt)
    return Told(Verdict.DISCARD, reason, receipt=case.receipt)


def _counted(before: SourceState | None, stamp: Stamp, now: datetime) -> SourceState:
    """With this change counted. The stamp stays the last one known; `_remembered` moves it."""
    if before is None or not timedelta(0) <= now - before.day_began < DAY:
        return SourceState(before.stamp if before else stamp, now, 1)
    return SourceState(before.stamp, before.day_began, before.count + 1)


def _remembered(uow: UnitOfWork, case: _Case, found: CsObject, counted: SourceState) -> SourceState:
    """What is known of the object from now on. What we set ourselves is in the order of its changes, but does not count against the limit."""
    before = uow.changes.source_state(found.id)
    last = before.stamp if before else None
    stamp = case.stamp if case.stamp.newer_than(last) else counted.stamp
    count = counted.count - 1 if case.receipt is Receipt.ECHO else counted.count
    return SourceState(stamp, counted.day_began, count)


def _change(case: _Case, now: datetime) -> Change:
    told = case.told
    return Change(
        reference=told.reference,
        ma=case.agent.id if case.agent else None,
        object=case.object.id if case.object else None,
        domain=case.caller.domain,
        user_guid=_guid(told.user_guid),
        account=told.account,
        stamp=case.stamp,
        controller=case.caller.host,
        origin=told.origin,
        attempt=told.attempt,
        received_at=now,
        receipt=case.receipt or Receipt.DUPLICATE,
    )


def _record(case: _Case, now: datetime) -> Event:
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
        kind, now, subject=told.user_sid, subject_name=told.account, request=told.reference, data=data
    )


def _stamp(told: Notification) -> Stamp:
    """A time that no calendar has is one in the future: nobody's clock is right then."""
    try:
        changed_at = _YEAR_1601 + timedelta(microseconds=told.changed_at // 10)
    except OverflowError:
        changed_at = datetime.max.replace(tzinfo=UTC)
    return Stamp(changed_at, max(told.revision, 0))


def _guid(text: str) -> str:
    """As anchors are written; what is no GUID is in no connector space."""
    try:
        return str(UUID(text))
    except ValueError:
        return ""
