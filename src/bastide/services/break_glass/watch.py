"""Looks at emergency accounts, once a minute, with nothing but the right to read. In order:

  (1) Each account that has an envelope is looked at on every controller that answers.
  (2) What happened since the last look is told, each thing once: a sign-in, a wrong password, another password, enabled or disabled, other groups, gone.
  (3) A sign-in, another password, or an account that is gone makes the envelope used, until it is sealed anew.
  (4) One commit: the envelope, the audit records, the row. An envelope that was sealed anew, opened or removed meanwhile is left alone.

A domain that does not answer hides what happens there until it does: its counters remember.
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime

from bastide.domain.break_glass import EVERY, Envelope, Sign, State, Trace, What, looked
from bastide.domain.errors import DirectoryError, NoSuchObject
from bastide.services.break_glass.ports import EmergencyReader
from bastide.services.events import by_worker
from bastide.services.ports import Store, UnitOfWork, Work

_log = logging.getLogger(__name__)


class Watch:
    """The recurring job. `readers` by domain."""

    def __init__(
        self, *, store: Store, readers: Mapping[str, EmergencyReader], now: Callable[[], datetime]
    ) -> None:
        self._store = store
        self._readers = readers
        self._now = now

    def run(self, works: Sequence[Work]) -> None:
        """Raises LostLease, StoreError."""
        with self._store.read() as uow:
            known = uow.envelopes.current()
        seen = {one.number: self._look(one) for one in known}  # (1)
        now = self._now()
        with self._store.write() as uow:
            current = {one.number: one for one in uow.envelopes.current()}
            for one in known:
                if current.get(one.number) == one:  # (4)
                    self._tell(uow, one, seen[one.number], now)
            uow.work.finish_many([(work, now + EVERY if current else None) for work in works])
            uow.commit()

    def _look(self, envelope: Envelope) -> Mapping[str, Trace] | None:
        """None: it is gone. Nothing: nobody answers."""
        reader = self._readers.get(envelope.domain)
        if reader is None:
            return {}
        try:
            seen = reader.traces(envelope.account)
        except NoSuchObject:
            return None
        except DirectoryError as error:
            _log.warning("the emergency account %s is not watched: %s", envelope.name, error.message)
            return {}
        return {where: one for where, one in seen.items() if isinstance(one, Trace)}

    def _tell(
        self, uow: UnitOfWork, envelope: Envelope, seen: Mapping[str, Trace] | None, now: datetime
    ) -> None:
        """(2), (3)."""
        if seen is None:
            after, found = gone(envelope, now)
        else:
            after, found = looked(envelope, seen, now)
        if after == envelope or not (seen or found):
            return
        uow.envelopes.save(after)
        for one in found:
            say(uow, after, one, now)


def gone(envelope: Envelope, now: datetime) -> tuple[Envelope, tuple[Sign, ...]]:
    """Told once: what is used already has told it, or something worse."""
    if envelope.state is State.USED:
        return envelope, ()
    sign = Sign(What.GONE, "", None, "the account is gone from the directory")
    return envelope.ended(State.USED, now, sign.text), (sign,)


def say(uow: UnitOfWork, envelope: Envelope, sign: Sign, now: datetime) -> None:
    """Loud: the audit, from there all channels, and this node's log."""
    _log.critical("the emergency account %s: %s", envelope.name, sign.text)
    data: dict[str, object] = {
        "envelope": envelope.number,
        "what": sign.what.value,
        "text": sign.text,
        "times": sign.times,
        "seen_at": sign.at.isoformat() if sign.at else "",
    }
    kind = "break-glass.changed"
    if sign.what is What.SIGN_IN:
        kind = "break-glass.used"
    elif sign.what is What.WRONG_PASSWORD:
        kind = "break-glass.wrong-password"
    uow.audit.append(by_worker(kind, now, subject=envelope.account, subject_name=envelope.name, data=data))
