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

Steps (1) to (6) are decided twice: before the secret is opened, so that nothing is decrypted that cannot be staged, and again under the write
lock, which is what counts. A kill between the vault and the commit leaves a key that opens nothing (erase.py). A kill after the commit leaves an agent
without an answer; it sends again, and (5) answers. So each change counts once.

Several are read, judged and written together (batch.py), and each is judged as if those before it were committed already. Steps (1) to (6) are in judging.py,
(7) in opening.py, what (8) commits in staging.py.

What is refused for good is remembered, so that `explain` can say why. What may be right later (a clock that is wrong, a key that is missing)
is not, and the agent keeps it.
"""

import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime
from functools import partial

from bastide.domain.errors import StoreBusy, StoreError, StoreUnavailable
from bastide.domain.passwords import Receipt, State
from bastide.services.passwords import outcomes
from bastide.services.passwords.batch import JOINED, Batch
from bastide.services.passwords.callers import Caller
from bastide.services.passwords.erase import Eraser
from bastide.services.passwords.judging import LONG, judge
from bastide.services.passwords.opening import Opening, Ours, Secret, nothing_opened, settled, wipe
from bastide.services.passwords.ports import Envelope, EventLog, NtHasher, Opener, Vault
from bastide.services.passwords.refusals import Refusals
from bastide.services.passwords.staging import Staging
from bastide.services.passwords.switch import require_own_vault
from bastide.services.passwords.told import NOT_NOW, Case, Told, announce, answer
from bastide.services.ports import Random, Store, UnitOfWork
from bastide.wire import Notification, Verdict

__all__ = ["JOINED", "Accept", "Told"]

_log = logging.getLogger(__name__)
_NO_REFUSAL = frozenset({Receipt.STAGED, Receipt.DUPLICATE, Receipt.ECHO})


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
        self._opening = Opening(opener=opener, hasher=hasher)
        self._events = events
        self._random = random
        self._now = now
        self._refusals = Refusals()

    def heartbeat(self, caller: Caller, waiting: int) -> Told:
        """An agent lives and has so many notifications waiting. Later, while synchronization is off."""
        with self._store.read() as uow:
            enabled = uow.switch.enabled()
        if not enabled:
            return Told(Verdict.LATER, "password synchronization is switched off", LONG)
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
            batch = Batch(uow, caller, several, now)
            first = [judge(batch, told, nothing_opened) for told in several]
        opened = self._opening.secrets(first)  # (7)
        try:
            with self._store.write() as uow:
                mark = uow.audit.head()  # of the last commit: what this one adds may never be
                batch = Batch(uow, caller, several, now)
                staging = Staging(batch, envelope=self._envelope, random=self._random)
                cases = self._decide(batch, staging, several, opened)
                over = self._commit(uow, batch, staging, cases, mark)
        finally:
            wipe(opened)
        if over:
            self._vault.destroy(over)
        self._tell(batch, cases)
        return tuple(map(answer, cases))

    def _decide(
        self, batch: Batch, staging: Staging, several: Sequence[Notification], opened: Sequence[Secret]
    ) -> list[Case]:
        ours = Ours(self._vault, self._envelope, batch)
        cases: list[Case] = []
        noted: set[str] = set()
        for told, secret in zip(several, opened, strict=True):
            judged = judge(batch, told, partial(ours.equal, secret=secret))
            case = self._paced(settled(judged, secret), noted, batch.now)
            if case.receipt is None or case.receipt is Receipt.DUPLICATE or not case.of_a_source:
                cases.append(case)
            elif case.receipt not in NOT_NOW:
                cases.append(staging.stage(case, secret))
            elif self._is_noted(case, noted):
                cases.append(case)
            else:
                cases.append(staging.note(case))
                noted.add(case.reference)
        return cases

    def _is_noted(self, case: Case, noted: set[str]) -> bool:
        """Whether it is in the audit already, or will be with this commit."""
        return case.reference in noted or self._refusals.recorded(case.reference)

    def _paced(self, case: Case, noted: set[str], now: datetime) -> Case:
        """(9)."""
        if case.receipt is None or case.receipt in _NO_REFUSAL or not case.of_a_source:
            return case
        if case.receipt in NOT_NOW and self._is_noted(case, noted):
            return case
        if self._refusals.allow(case.caller.host, now):
            return case
        why = "too much was refused to this controller within the last hour"
        return replace(case, receipt=None, later=why, delay=LONG)

    def _commit(
        self,
        uow: UnitOfWork,
        batch: Batch,
        staging: Staging,
        cases: Sequence[Case],
        mark: tuple[int, str],
    ) -> frozenset[str]:
        """(8). The references whose keys nobody needs any more."""
        batch.write()
        try:
            if staging.keys:
                require_own_vault(uow, self._vault)
                self._vault.put(staging.keys, mark)
        finally:
            staging.keys.clear()
        over = Eraser.over(uow, {one.reference for case in cases for one in case.over})
        if any(case.written for case in cases):
            uow.commit()
        return over

    def _tell(self, batch: Batch, cases: Sequence[Case]) -> None:
        for case in cases:
            if case.written and case.receipt in NOT_NOW:
                self._refusals.record(case.reference)
            announce(self._events, case)
            for one in case.over:
                if one.state is State.FAILED:
                    outcomes.announce(self._events, one, batch.source.agents.get(one.ma))
