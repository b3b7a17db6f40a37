"""Take in what a domain controller tells. In order:

  (1) Synchronization is switched on; else later.
  (2) The controller speaks for its own domain: the caller was admitted for one (callers.py), and only that domain's agent is looked at. References
      count within a domain.
  (3) The time of the change is neither in the future nor older than what any agent keeps. One that is too old is for good only if a newer one is known.
  (4) The domain is an enabled source and has targets (6926). Of a domain that is not set up as a source nothing is kept.
  (5) A known reference is accepted again, without any effect.
  (6) The user is in the connector space (6904) with the same SID, joined (6905), not an account of ours (6912), the change is not one we made ourselves
      (echo), it is newer than the last one (6918), not one too many (6917), and the person has accounts in the targets (6906).
  (7) The secret opens, is neither empty nor too long, and is the password the account has: its check fits.
  (8) The data key is in the vault; then one commit writes the change, a delivery for each target object, their work rows and the audit (6907).
      What was still to be delivered to this very account is over, if it is older (6919).
  (9) What is refused leaves something behind only so often for each controller; else later.

Steps (1) to (6) are decided twice: before the secret is opened, so that nothing is decrypted that will not be staged, and again under the write
lock, which is what counts. A kill between the vault and the commit leaves a key that opens nothing (erase.py). A kill after the commit leaves an agent
without an answer; it sends again, and (5) answers. So each change counts once.

What is refused for good is remembered, so that `explain` can say why. What may be right later (a clock that is wrong, a key that is missing)
is not, and the agent keeps it.
"""

import hmac
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Self

from bastide.domain.errors import StoreBusy, StoreError, StoreUnavailable
from bastide.domain.management_agents import CsObject, Link, MaId, ManagementAgent, PasswordSource
from bastide.domain.passwords import (
    DAY,
    LONGEST,
    OLDEST,
    Delivery,
    Own,
    Receipt,
    Stamp,
    State,
    context_of,
    echo,
    out_of_order,
    superseded,
)
from bastide.services.pace import PASSWORD
from bastide.services.passwords import outcomes
from bastide.services.passwords.callers import Caller
from bastide.services.passwords.erase import Eraser
from bastide.services.passwords.own_accounts import not_whom, signs_in_as
from bastide.services.passwords.ports import Envelope, EventLog, NtHasher, Opener, SourceState, Vault
from bastide.services.passwords.refusals import Refusals
from bastide.services.passwords.switch import require_own_vault
from bastide.services.passwords.told import (
    NOT_NOW,
    Case,
    Told,
    announce,
    answer,
    change_of,
    guid_of,
    own_reference,
    record,
    stamp_of,
)
from bastide.services.ports import Random, Store, UnitOfWork
from bastide.wire import Notification, Verdict, check_of

__all__ = ["JOINED", "Accept", "Told"]

_log = logging.getLogger(__name__)
JOINED = frozenset({Link.JOINED, Link.PROJECTED, Link.MANUAL})
#: Said before it is known whether the reference is.
_BEFORE_KNOWN = frozenset({Receipt.TOO_OLD, Receipt.NOT_A_SOURCE})
#: The account has another password than before, and not one of ours.
_CHANGED = frozenset({Receipt.STAGED, Receipt.NO_TARGETS, Receipt.DAILY_LIMIT, Receipt.STALE_SECRET})
_NO_REFUSAL = frozenset({Receipt.STAGED, Receipt.DUPLICATE, Receipt.ECHO})
_KEY_BYTES = 32
_SWITCHED_OFF = 60
_SOON = 2


@dataclass(slots=True)
class _Common:
    """What is the same for all that were told together, read once in a transaction. `known`: references to the domains that used them; grows with what is written."""

    enabled: bool
    agents: Mapping[MaId, ManagementAgent]
    agent: ManagementAgent | None
    known: dict[str, str]
    aimed_at: frozenset[MaId]
    own_names: frozenset[str]

    @classmethod
    def read(cls, uow: UnitOfWork, caller: Caller, several: Sequence[Notification]) -> Self:
        used = [told.reference for told in several]
        known = uow.changes.known([*used, *(own_reference(caller.domain, one) for one in used)])
        agents = {one.id: one for one in uow.agents.all()}
        sources = [one for one in agents.values() if one.source is not None]
        mine = [one for one in sources if one.source is not None and one.source.domain == caller.domain]
        return cls(
            uow.switch.enabled(),
            agents,
            mine[0] if mine else None,
            dict(known),
            frozenset(target for one in sources if one.source is not None for target in one.source.targets),
            frozenset(name for one in agents.values() for name in signs_in_as(one, caller.domain)),
        )

    def reference(self, caller: Caller, told: Notification) -> str:
        """Under which the change is, or will be, on record."""
        if self.known.get(told.reference, caller.domain) == caller.domain:
            return told.reference
        return own_reference(caller.domain, told.reference)

    def name(self, ma: MaId) -> str:
        """Of a target."""
        return self.agents[ma].name


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
        self._refusals = Refusals()

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
            common = _Common.read(uow, caller, several)
            first = [self._judge(uow, common, caller, told, _Secret(), now) for told in several]
        opened = [
            self._open(told) if case.receipt is Receipt.STAGED else _Secret()
            for told, case in zip(several, first, strict=True)
        ]  # (7)
        cases: list[Case] = []
        keys: dict[str, bytes] = {}
        try:
            with self._store.write() as uow:
                mark = uow.audit.head()  # of the last commit: what this one adds may never be
                common = _Common.read(uow, caller, several)
                for told, secret in zip(several, opened, strict=True):
                    case = _with(self._judge(uow, common, caller, told, secret, now), secret)
                    cases.append(self._write(uow, common, self._paced(case, now), secret, now, keys))
                if keys:
                    require_own_vault(uow, self._vault)
                    self._vault.put(keys, mark)
                over = Eraser.over(uow, {one.reference for case in cases for one in case.over})
                if any(case.written for case in cases):
                    uow.commit()
        finally:
            keys.clear()
            for secret in opened:
                secret.wipe()
        if over:
            self._vault.destroy(over)
        self._tell(common, cases)
        return tuple(map(answer, cases))

    def _tell(self, common: _Common, cases: Sequence[Case]) -> None:
        for case in cases:
            if case.written and case.receipt in NOT_NOW:
                self._refusals.record(case.reference)
            announce(self._events, case)
            for one in case.over:
                if one.state is State.FAILED:
                    outcomes.announce(self._events, one, common.agents.get(one.ma))

    # ----------------------------------------------------------------------------------------------------- the decision

    def _judge(
        self,
        uow: UnitOfWork,
        common: _Common,
        caller: Caller,
        told: Notification,
        secret: "_Secret",
        now: datetime,
    ) -> Case:
        case = self._judge_source(common, caller, told, now)
        if case.receipt is Receipt.TOO_OLD:
            return _too_old(uow, common, case)
        if not case.undecided or case.agent is None:
            return case
        return self._judge_object(uow, common, case, case.agent, secret, now)  # (6)

    @staticmethod
    def _judge_source(common: _Common, caller: Caller, told: Notification, now: datetime) -> Case:
        agent = common.agent  # (2)
        case = Case(caller, told, stamp_of(told), common.reference(caller, told), agent=agent)
        if not common.enabled:  # (1)
            return replace(case, later="password synchronization is switched off", delay=_SWITCHED_OFF)
        if (wrong := out_of_order(case.stamp, now)) is not None:  # (3)
            return replace(case, receipt=wrong)
        if agent is None or agent.source is None or not agent.source.enabled or not agent.source.targets:
            return replace(case, receipt=Receipt.NOT_A_SOURCE)  # (4)
        if case.reference in common.known:  # (5)
            return replace(case, receipt=Receipt.DUPLICATE)
        return case

    def _judge_object(
        self,
        uow: UnitOfWork,
        common: _Common,
        case: Case,
        agent: ManagementAgent,
        secret: "_Secret",
        now: datetime,
    ) -> Case:
        found = _found(uow, case, agent)
        if found is None:
            return replace(case, receipt=Receipt.NOT_IN_CS)
        case = replace(case, object=found, stamp=replace(case.stamp, source=found.id))
        if found.mv is None or found.link not in JOINED:
            return replace(case, receipt=Receipt.NOT_JOINED)
        if agent.source is None or (wrong := not_whom(case, found, agent.source, common.own_names)):
            return replace(case, receipt=Receipt.OWN_ACCOUNT if agent.source is None else wrong)
        relatives = uow.space.of_mv(found.mv)
        case = self._judge_order(uow, common, case, found, relatives, secret, now)
        return _aimed(common, case, agent.source, relatives) if case.undecided else case

    def _judge_order(
        self,
        uow: UnitOfWork,
        common: _Common,
        case: Case,
        found: CsObject,
        relatives: tuple[CsObject, ...],
        secret: "_Secret",
        now: datetime,
    ) -> Case:
        """Echo and order. The same account may be in the space of two agents: one that reads the domain, one that writes to it."""
        before = uow.changes.source_state(found.id)
        alike = (found, *(one for one in relatives if one.anchor == found.anchor))
        same = frozenset(one.id for one in alike if one.ma in common.aimed_at)
        last = before.stamp if before else None
        own, echoes = echo(case.stamp, last, uow.changes.made(same, now - OLDEST - DAY), now)
        if own is Own.COMPARE and (equal := self._equal(uow, echoes, secret)):
            own, echoes = Own.YES, equal
        case = replace(case, state=_counted(before, case.stamp, now), same=same, echoes=echoes)
        if own is Own.ASK_LATER:
            return replace(case, later="a password of ours is on its way to this account", delay=_SOON)
        if own is Own.YES:
            return replace(case, receipt=Receipt.ECHO)
        if not case.stamp.newer_than(last):
            return replace(case, receipt=Receipt.OUT_OF_DATE)
        return case

    def _equal(self, uow: UnitOfWork, writes: Sequence[Delivery], secret: "_Secret") -> tuple[Delivery, ...]:
        """Those of these writes that wrote the password that was opened, as far as a delivery of the same change is sealed and its key is there."""
        if secret.password is None:
            return ()
        keys = self._vault.get({one.reference for one in writes})
        return tuple(one for one in writes if self._wrote(uow, one, keys.get(one.reference), secret.password))

    def _wrote(self, uow: UnitOfWork, write: Delivery, key: bytes | None, password: bytearray) -> bool:
        if key is None:
            return False
        for one in uow.changes.deliveries(write.reference):
            if one.sealed:
                try:
                    plain = self._envelope.open(key, one.sealed, context_of(one))
                except StoreError:
                    continue
                return hmac.compare_digest(plain, bytes(password))
        return False

    def _paced(self, case: Case, now: datetime) -> Case:
        """(9)."""
        if case.receipt is None or case.receipt in _NO_REFUSAL or not case.of_a_source:
            return case
        if case.receipt in NOT_NOW and self._refusals.recorded(case.reference):
            return case
        if self._refusals.allow(case.caller.host, now):
            return case
        why = "too much was refused to this controller within the last hour"
        return replace(case, receipt=None, later=why, delay=_SWITCHED_OFF)

    # ------------------------------------------------------------------------------------------------------- the secret

    def _open(self, told: Notification) -> "_Secret":
        """The password in UTF-8, or why there is none. The copies that Python and libraries make of it on the way cannot be wiped; ours is."""
        try:
            text = self._opener.open(told.secret).decode("utf-16-le")
        except StoreUnavailable:
            raise
        except (StoreError, UnicodeDecodeError):
            return _Secret(problem=Receipt.UNREADABLE)
        if not 0 < len(text.encode("utf-16-le")) <= 2 * LONGEST:
            return _Secret(problem=Receipt.UNFIT)
        if told.check:
            check = check_of(told.reference, self._hasher.nt_hash(text))
            if not hmac.compare_digest(check, told.check):
                return _Secret(problem=Receipt.STALE_SECRET)
        return _Secret(bytearray(text.encode()))

    # ------------------------------------------------------------------------------------------------------- the commit

    def _write(
        self,
        uow: UnitOfWork,
        common: _Common,
        case: Case,
        secret: "_Secret",
        now: datetime,
        keys: dict[str, bytes],
    ) -> Case:
        """The case, with whether there is anything to commit. The data key of a staged change is left in `keys`, for the vault."""
        if case.receipt is None or case.receipt is Receipt.DUPLICATE or not case.of_a_source:
            return case
        if case.receipt in NOT_NOW:
            if self._refusals.recorded(case.reference):
                return case
            uow.audit.append(record(case, now))
            return replace(case, written=True)
        if case.receipt in _BEFORE_KNOWN and case.reference in common.known:
            return case
        deliveries: list[Delivery] = []
        if case.receipt is Receipt.STAGED and secret.password is not None:
            keys[case.reference] = self._random.token(_KEY_BYTES)
            deliveries = self._seal(case, keys[case.reference], bytes(secret.password), now)
            uow.work.poke_many(PASSWORD, dict.fromkeys((one.object for one in deliveries), now))
        uow.changes.add(change_of(case, now), deliveries)
        common.known[case.reference] = case.caller.domain
        if case.echoes:
            uow.changes.save([replace(one, echoed=True) for one in case.echoes])
        over = self._supersede(uow, case) if case.receipt in _CHANGED else ()
        if (
            case.object is not None
            and case.state is not None
            and case.receipt in {Receipt.STAGED, Receipt.ECHO}
        ):
            uow.changes.set_source_state(case.object.id, _remembered(uow, case, case.object, case.state))
        ended = [one for one in over if one.state is State.FAILED]
        uow.audit.append(
            record(case, now), *(outcomes.record(one, common.agents.get(one.ma), now) for one in ended)
        )
        return replace(case, written=True, over=over)

    @staticmethod
    def _supersede(uow: UnitOfWork, case: Case) -> tuple[Delivery, ...]:
        """The account has a newer password than what is still to be delivered to it: end that, and let nothing older follow."""
        applied = uow.changes.applied(case.same)
        newer = {one: case.stamp for one in case.same if case.stamp.newer_than(applied.get(one))}
        uow.changes.mark_applied(newer)
        older = [one for one in uow.changes.kept(case.same) if not one.stamp.newer_than(case.stamp)]
        told_of = {one.id for one in case.echoes}
        ended = tuple(replace(_ended(one), echoed=one.echoed or one.id in told_of) for one in older)
        uow.changes.save(ended)
        return ended

    def _seal(self, case: Case, key: bytes, password: bytes, now: datetime) -> list[Delivery]:
        drafts = [
            Delivery(
                id=self._random.uuid(),
                reference=case.reference,
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


def _aimed(common: _Common, case: Case, source: PasswordSource, relatives: tuple[CsObject, ...]) -> Case:
    if source.daily_limit and case.state is not None and case.state.count > source.daily_limit:
        return replace(case, receipt=Receipt.DAILY_LIMIT)
    own = case.object.id if case.object else ""
    targets = tuple(one for one in relatives if one.ma in source.targets and one.id != own)
    if not targets:
        return replace(case, receipt=Receipt.NO_TARGETS)
    names = tuple(common.name(one.ma) for one in targets)
    return replace(case, receipt=Receipt.STAGED, targets=targets, names=names)


def _with(case: Case, secret: _Secret) -> Case:
    """(7). What is staged needs a password; one that was not opened belongs to a source that was changed meanwhile."""
    if case.receipt is not Receipt.STAGED or secret.password is not None:
        return case
    if secret.problem is not None:
        return replace(case, receipt=secret.problem)
    return replace(case, receipt=None, later="its agent is being changed", delay=_SOON)


def _counted(before: SourceState | None, stamp: Stamp, now: datetime) -> SourceState:
    """With this change counted. The stamp stays the last one known; `_remembered` moves it."""
    if before is None or not timedelta(0) <= now - before.day_began < DAY:
        return SourceState(before.stamp if before else stamp, now, 1)
    return SourceState(before.stamp, before.day_began, before.count + 1)


def _remembered(uow: UnitOfWork, case: Case, found: CsObject, counted: SourceState) -> SourceState:
    """What is known of the object from now on. What we set ourselves is in the order of its changes, but does not count against the limit."""
    before = uow.changes.source_state(found.id)
    last = before.stamp if before else None
    stamp = case.stamp if case.stamp.newer_than(last) else counted.stamp
    count = counted.count - 1 if case.receipt is Receipt.ECHO else counted.count
    return SourceState(stamp, counted.day_began, count)


def _ended(one: Delivery) -> Delivery:
    """One that was delivered loses what is held of it."""
    return superseded(one) if one.state is State.PENDING else replace(one, sealed=b"", held_until=None)


def _found(uow: UnitOfWork, case: Case, agent: ManagementAgent) -> CsObject | None:
    guid = guid_of(case.told.user_guid)
    return uow.space.by_anchor(agent.id, [guid]).get(guid)


def _too_old(uow: UnitOfWork, common: _Common, case: Case) -> Case:
    """By AD's own counter this may be the newest change there is: then it is not thrown away."""
    if case.agent is None or not case.stamp.revision or case.reference in common.known:
        return case
    found = _found(uow, case, case.agent)
    if found is None:
        return case
    before = uow.changes.source_state(found.id)
    known = before.stamp.revision if before else 0
    return replace(case, receipt=Receipt.OVERDUE) if case.stamp.revision > known else case
