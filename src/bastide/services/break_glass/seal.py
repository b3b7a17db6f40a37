"""Sealing an emergency account, with the ticket of the administrator who does it: Bastide's own account has no right to its password, and gets none.

  (1) The custodians, the threshold and the account are looked at; what would make the envelope useless stops here.
  (2) The audit says that it begins, and what became of the envelope before it. A database that does not write stops it before the directory is touched.
  (3) 128 random bits become the password, set once over a sealed connection.
  (4) When all controllers that answer have it, or a minute is over, it is signed in with, once.
  (5) The service account sees the account, as it will watch it. From here on any sign-in is a use.
  (6) Each custodian sees their words, once; this is the caller's part. What is left undone here is no envelope.
  (7) One commit: the new envelope, the end of the one before it, the audit record, and the watch.

The words, the secret and the password are in no record, no repr and no message. A new password makes all earlier words useless.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from bastide.domain.audit import Event
from bastide.domain.break_glass import (
    NUMBERS,
    SECRET_BYTES,
    Envelope,
    State,
    Trace,
    check_split,
    looked,
    password_of,
)
from bastide.domain.errors import Conflict, DirectoryUnavailable, NoSuchObject, NotAuthenticated
from bastide.domain.health import Finding
from bastide.services.break_glass import checks
from bastide.services.break_glass.ports import (
    EmergencyDirectory,
    EmergencyReader,
    Found,
    PasswordProof,
    Sharing,
)
from bastide.services.break_glass.watch import say
from bastide.services.cluster.ports import Caller
from bastide.services.pace import BREAK_GLASS
from bastide.services.ports import CodeHasher, Random, Store, UnitOfWork

#: The one row of the watch.
KEY = "accounts"
_STEP = timedelta(seconds=1)
_STEPS = 60


class SealRefused(Conflict):
    """Something would make the envelope useless. `findings` are all that was seen; the message is the first error."""

    def __init__(self, findings: tuple[Finding, ...]) -> None:
        first = next(one for one in findings if one.severity.is_error)
        super().__init__(first.text, remedy=first.remedy)
        self.findings = findings


@dataclass(frozen=True, slots=True)
class Plan:
    """What would be sealed."""

    found: Found
    custodians: tuple[str, ...]
    threshold: int
    findings: tuple[Finding, ...]


@dataclass(frozen=True, slots=True)
class Prepared:
    """Sealed in the directory, and not recorded yet. `words`: one text for each custodian, in their order."""

    envelope: Envelope
    caller: Caller
    words: tuple[str, ...] = field(repr=False)
    findings: tuple[Finding, ...] = ()


class Sealing:
    """The use case of one administrator at a terminal."""

    def __init__(
        self,
        *,
        store: Store,
        directory: EmergencyDirectory,
        watcher: EmergencyReader | None,
        proof: PasswordProof,
        sharing: Sharing,
        hasher: CodeHasher,
        random: Random,
        now: Callable[[], datetime],
        wait: Callable[[float], None],
    ) -> None:
        """`watcher`: the same domain as the service account sees it; None: the settings do not name that domain."""
        self._store = store
        self._directory = directory
        self._watcher = watcher
        self._proof = proof
        self._sharing = sharing
        self._hasher = hasher
        self._random = random
        self._now = now
        self._wait = wait

    def plan(self, name: str, custodians: tuple[str, ...], threshold: int) -> Plan:
        """(1). Raises SealRefused, InvalidInput, NotFound, DirectoryError."""
        check_split(threshold, len(custodians))
        found = self._directory.find(name)
        said = [*checks.split(threshold, len(custodians), found.name)]
        said += checks.account(found.name, self._directory.traces(found.sid), self._now())
        said += self._unwatched(found)
        if any(one.severity.is_error for one in said):
            raise SealRefused(tuple(said))
        return Plan(found, custodians, threshold, tuple(said))

    def prepare(self, plan: Plan) -> Prepared:
        """(2) to (5). Raises NotAuthenticated, DirectoryError, StoreError, InvalidInput, Conflict."""
        if self._watcher is None:
            raise SealRefused(plan.findings)
        caller = self._directory.caller()
        number = self._begin(plan, caller, self._watcher.traces(plan.found.sid))  # (2)
        secret = self._random.token(SECRET_BYTES)
        password = password_of(secret)
        before = self._password_set(plan.found)
        self._directory.set_password(plan.found.sid, password)  # (3)
        late = self._spread(plan.found, before)
        self._prove(plan.found, password, late)  # (4)
        seen = self._watcher.traces(plan.found.sid)  # (5)
        shown = {where: one for where, one in seen.items() if isinstance(one, Trace)}
        if not shown:
            raise DirectoryUnavailable(
                f"no controller shows {plan.found.name} to Bastide's service account: {'; '.join(map(str, seen.values()))}",
                remedy="mend that, and seal it anew: its password is another one already",
            )
        envelope = Envelope(
            number=number,
            account=plan.found.sid,
            name=plan.found.name,
            domain=self._directory.domain,
            sealed_at=self._now(),
            sealed_by=caller.sid,
            sealer=caller.name,
            threshold=plan.threshold,
            custodians=plan.custodians,
            verifier=self._hasher.hash(secret.hex()),
            baseline=shown,
            seen=shown,
        )
        words = self._sharing.split(secret, number, plan.threshold, len(plan.custodians))
        said = [*checks.hidden(plan.found.name, plan.found.dn, seen), *checks.late(plan.found.name, late)]
        return Prepared(envelope, caller, words, tuple(said))

    def record(self, prepared: Prepared) -> None:
        """(7), when every custodian has their words. Raises StoreError, Conflict."""
        envelope, now = prepared.envelope, self._now()
        with self._store.write() as uow:
            replaced = [one for one in uow.envelopes.current() if one.account == envelope.account]
            for one in replaced:
                uow.envelopes.save(replace(one, state=State.REPLACED, ended_at=now, why="sealed anew"))
            uow.envelopes.add(envelope)
            data: dict[str, object] = {
                "envelope": envelope.number,
                "threshold": envelope.threshold,
                "custodians": list(envelope.custodians),
                "replaces": [one.number for one in replaced],
                "via": "kerberos",
            }
            uow.audit.append(
                Event(
                    "break-glass.sealed", now, prepared.caller.sid, prepared.caller.name, envelope.account, envelope.name, "", data,
                )
            )  # fmt: skip
            uow.work.poke(BREAK_GLASS, KEY, now)
            uow.commit()

    def _unwatched(self, found: Found) -> Iterator[Finding]:
        """Before anything is changed: what the service account cannot see is not sealed."""
        if self._watcher is None:
            yield checks.unnamed(self._directory.domain)
            return
        try:
            seen = self._watcher.traces(found.sid)
        except NoSuchObject as error:
            seen = {self._directory.domain: error.message}
        if not any(isinstance(one, Trace) for one in seen.values()):
            yield checks.unseen(found.name, found.dn, seen)

    def _begin(self, plan: Plan, caller: Caller, seen: Mapping[str, Trace | str]) -> int:
        """(2): a number that no envelope had, and the record."""
        now = self._now()
        shown = {where: one for where, one in seen.items() if isinstance(one, Trace)}
        with self._store.write() as uow:
            number = self._number(uow)
            for one in uow.envelopes.current():
                if one.account == plan.found.sid:
                    after, found = looked(one, shown, now)
                    uow.envelopes.save(replace(after, renewed_at=now))
                    for sign in found:
                        say(uow, after, sign, now)
            data = {"envelope": number, "account": plan.found.name, "domain": self._directory.domain}
            uow.audit.append(
                Event(
                    "break-glass.sealing", now, caller.sid, caller.name, plan.found.sid, plan.found.name, "",
                    {**data, "via": "kerberos"},
                )
            )  # fmt: skip
            uow.commit()
        return number

    def _number(self, uow: UnitOfWork) -> int:
        taken = {one.number for one in uow.envelopes.all()}
        if len(taken) >= NUMBERS:
            raise Conflict("all numbers of envelopes are used", remedy="use a new database for the next ones")
        while True:
            number = int.from_bytes(self._random.token(2), "big") % NUMBERS
            if number not in taken:
                return number

    def _password_set(self, found: Found) -> datetime | None:
        seen = self._directory.traces(found.sid).values()
        return max(
            (one.password_set for one in seen if isinstance(one, Trace) and one.password_set), default=None
        )

    def _spread(self, found: Found, before: datetime | None) -> Sequence[str]:
        """Until all controllers that answer have the new password: the KDC that is asked may be any of them, and to ask one that has it not counts as a
        wrong password. Those that did not get it within a minute: between sites that may take hours.
        """
        for _ in range(_STEPS):
            late = _late(self._directory.traces(found.sid), before)
            if not late:
                break
            self._wait(_STEP.total_seconds())
        return late

    def _prove(self, found: Found, password: str, late: Sequence[str]) -> None:
        """Raises NotAuthenticated, DirectoryUnavailable; Conflict where replication may be why."""
        try:
            self._proof.prove(f"{found.name}@{self._directory.domain.upper()}", password)
        except NotAuthenticated:
            if not late:
                raise
            raise Conflict(
                f"nobody could sign in with the new password: {' and '.join(late)} did not get it within a minute",
                remedy="look at replication (`samba-tool drs showrepl`, repadmin /showrepl), then seal it anew: its password is another one already",
            ) from None


def _late(seen: Mapping[str, Trace | str], before: datetime | None) -> list[str]:
    newest = max(
        (one.password_set for one in seen.values() if isinstance(one, Trace) and one.password_set),
        default=None,
    )
    if newest is None or newest == before:
        return sorted(seen)
    return sorted(
        where for where, one in seen.items() if isinstance(one, Trace) and one.password_set != newest
    )
