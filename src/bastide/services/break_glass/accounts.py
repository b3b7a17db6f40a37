"""What is done with envelopes between two sealings, on a node: look, drill, reconcile, remove. The actor is whoever may read the settings of this node.

A drill:
  (1) The words of each custodian who came are whole, and of this envelope, which is not used: what is used opens nothing for certain.
  (2) As many came as are needed, each with a share of their own.
  (3) Whatever choice of those who came gives the secret that was sealed. It is compared and thrown away: not shown, and nobody signs in.
  (4) The audit says who came and what came of it. Only a drill that went well counts.

Reconciling:
  (1) A receipt belongs to an envelope that there is, by number and account, and counts once.
  (2) It goes into the audit, and the envelope is used.
  (3) The directory is asked what happened since the sealing. A sign-in that no receipt explains is an error. So is a directory that does not answer, or
      keeps sign-ins to itself: silence is no "nobody".
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from itertools import combinations

from bastide.domain.audit import Event
from bastide.domain.break_glass import Envelope, Receipt, State, Trace
from bastide.domain.errors import Conflict, DirectoryError, InvalidInput, NotFound
from bastide.domain.health import Finding
from bastide.domain.ids import typed
from bastide.domain.people import Actor, require_reader
from bastide.services.break_glass import checks
from bastide.services.break_glass.ports import EmergencyReader, Part, Sharing
from bastide.services.ports import CodeHasher, Store, UnitOfWork

#: Choices of custodians that are tried: each is a key derivation of 64 MiB.
_CHOICES = 32


@dataclass(frozen=True, slots=True)
class Drilled:
    """What a drill showed."""

    envelope: Envelope
    present: tuple[str, ...]
    findings: tuple[Finding, ...]

    @property
    def passed(self) -> bool:
        return not any(one.severity.is_error for one in self.findings)


class EmergencyAccounts:
    """`readers` by domain: Bastide's service account. `drill_after`: how old a drill may be."""

    def __init__(
        self,
        *,
        store: Store,
        readers: Mapping[str, EmergencyReader],
        sharing: Sharing,
        hasher: CodeHasher,
        now: Callable[[], datetime],
        drill_after: timedelta,
    ) -> None:
        self._store = store
        self._readers = readers
        self._sharing = sharing
        self._hasher = hasher
        self._now = now
        self._drill_after = drill_after

    def all(self) -> tuple[Envelope, ...]:
        """Those that count. Raises StoreError."""
        with self._store.read() as uow:
            return uow.envelopes.current()

    def seen(self, actor: Actor) -> tuple[Envelope, ...]:
        """The same, for whoever may see everything. Raises NotAuthorized, MfaRefused."""
        require_reader(actor)
        return self.all()

    def find(self, name: str) -> Envelope:
        """By account name, name@domain or number. Raises NotFound, Conflict."""
        with self._store.read() as uow:
            return _find(uow, name)

    def look(self, envelope: Envelope) -> tuple[Finding, ...]:
        """The envelope, the account, and what happened since it was sealed. Changes nothing. Raises StoreError."""
        now = self._now()
        found = [*checks.envelope(envelope, now, self._drill_after)]
        seen = self._seen(envelope, found)
        found += checks.account(envelope.name, seen, now)
        found += checks.hidden(envelope.name, "", seen)
        found += checks.used(envelope, _shown(seen))
        return tuple(found)

    def remove(self, name: str, actor: str) -> Envelope:
        """Bastide forgets it; the words go on opening the account until its password is another one. Raises NotFound, StoreError."""
        now = self._now()
        with self._store.write() as uow:
            envelope = _find(uow, name)
            uow.envelopes.save(replace(envelope, state=State.REMOVED, ended_at=now, why="removed"))
            uow.audit.append(by_local("break-glass.removed", now, actor, envelope, {}))
            uow.commit()
        return envelope

    # ----------------------------------------------------------------------------------------------------- drill

    def drill(self, name: str, words: Mapping[str, str], actor: str) -> Drilled:
        """`words`: those of each custodian who came, by name. Raises NotFound, StoreError."""
        envelope = self.find(name)
        findings = [*self._read(envelope, words)]
        if not any(one.severity.is_error for one in findings):
            findings.append(self._fit(envelope, tuple(words.values())))
        if envelope.state is not State.SEALED:
            findings.append(checks.state(envelope))
        drilled = Drilled(envelope, tuple(words), tuple(findings))
        now = self._now()
        with self._store.write() as uow:  # (4)
            current = uow.envelopes.find(envelope.number)
            if current is None:
                raise NotFound(f"envelope {envelope.number} is gone", remedy="begin again")
            if drilled.passed:
                uow.envelopes.save(replace(current, drilled_at=now))
            data: dict[str, object] = {"custodians": list(drilled.present), "passed": drilled.passed}
            uow.audit.append(by_local("break-glass.drilled", now, actor, envelope, data))
            uow.commit()
        return drilled

    def _read(self, envelope: Envelope, words: Mapping[str, str]) -> Sequence[Finding]:
        """(1), (2)."""
        found, places = [], dict[int, str]()
        for custodian, said in words.items():
            try:
                part = self._sharing.read(said)
            except InvalidInput as error:
                found.append(checks.wrong("words", f"{custodian}: {error.message}", error.remedy))
                continue
            found.append(_judge(envelope, custodian, part, places))
        if len(words) < envelope.threshold:
            text = f"{len(words)} of {envelope.threshold} custodians that are needed came"
            found.append(checks.wrong("words", text, "drill again when enough of them are here"))
        return found

    def _fit(self, envelope: Envelope, words: Sequence[str]) -> Finding:
        """(3)."""
        remedy = "seal it anew: these words do not open the account"
        choices = list(combinations(words, envelope.threshold))
        step = -(-len(choices) // _CHOICES)
        for choice in choices[::step]:
            try:
                secret = self._sharing.combine(choice)
            except InvalidInput as error:
                return checks.wrong("secret", error.message, remedy)
            if not self._hasher.matches(envelope.verifier, secret.hex()):
                return checks.wrong(
                    "secret",
                    f"the words fit together, and are not what was sealed for {envelope.name}",
                    remedy,
                )
        tried = f"{len(choices[::step])} of {len(choices)} choices of {envelope.threshold} were put together"
        return checks.ok("secret", f"the words give what was sealed for {envelope.name}", tried)

    # ------------------------------------------------------------------------------------------------- reconcile

    def reconcile(self, receipts: Sequence[Receipt], actor: str) -> tuple[Finding, ...]:
        """All of them or none. Raises NotFound, Conflict, StoreError."""
        now = self._now()
        with self._store.write() as uow:
            for receipt in receipts:
                envelope = _of_receipt(uow, receipt)  # (1)
                used = envelope.ended(State.USED, now, f"opened by {receipt.by}")
                kept = used if envelope.state.is_current else envelope
                uow.envelopes.save(replace(kept, receipts=(*envelope.receipts, receipt)))  # (2)
                uow.audit.append(
                    by_local("break-glass.opened", now, actor, envelope, _said(envelope, receipt))
                )
            uow.commit()
        with self._store.read() as uow:
            numbers = {one.number for one in receipts}
            envelopes = [one for one in uow.envelopes.all() if one.state.is_current or one.number in numbers]
        compared = [(envelope, self._compare(envelope)) for envelope in envelopes]  # (3)
        with self._store.write() as uow:
            for envelope, found in compared:
                errors = sum(one.severity.is_error for one in found)
                data: dict[str, object] = {"receipts": len(envelope.receipts), "errors": errors}
                uow.audit.append(by_local("break-glass.reconciled", now, actor, envelope, data))
            uow.commit()
        return tuple(one for _, found in compared for one in found)

    def _compare(self, envelope: Envelope) -> Sequence[Finding]:
        found: list[Finding] = []
        seen: Mapping[str, Trace | str] = envelope.seen
        if envelope.state.is_current:  # of one that was sealed anew, what was seen before that
            seen = self._seen(envelope, found)
            if seen:
                found += [*checks.answered(envelope.name, seen), *checks.hidden(envelope.name, "", seen)]
        found += checks.used(envelope, _shown(seen))
        return [replace(one, subject=envelope.principal) for one in found]

    def _seen(self, envelope: Envelope, found: list[Finding]) -> Mapping[str, Trace | str]:
        """Nothing where nobody answers, which is a finding."""
        reader = self._readers.get(envelope.domain)
        if reader is None:
            text = f"the settings of this node name no domain {envelope.domain}"
            found.append(checks.wrong("watch", text, "run it on a node that serves that domain"))
            return {}
        try:
            return reader.traces(envelope.account)
        except DirectoryError as error:
            found.append(checks.wrong("watch", error.message, error.remedy))
            return {}


def by_local(kind: str, at: datetime, actor: str, envelope: Envelope, data: Mapping[str, object]) -> Event:
    """Something a person did on the node itself; `actor` as the system names them."""
    said = {"envelope": envelope.number, **data, "via": "local"}
    return Event(kind, at, "", actor, envelope.account, envelope.name, "", said)


def _find(uow: UnitOfWork, name: str) -> Envelope:
    wanted = name.strip().casefold()
    found = [
        one
        for one in uow.envelopes.current()
        if wanted in {one.name.casefold(), one.principal.casefold(), str(one.number)}
    ]
    if not found:
        raise NotFound(
            f"there is no envelope of {typed(name)}",
            remedy="`bastide break-glass list` shows those that there are",
        )
    if len(found) > 1:
        raise Conflict(f"{typed(name)} fits several", remedy="say name@domain, or the number of the envelope")
    return found[0]


def _of_receipt(uow: UnitOfWork, receipt: Receipt) -> Envelope:
    envelope = uow.envelopes.find(receipt.number)
    plain = receipt.account.casefold()
    if envelope is None or plain not in {envelope.name.casefold(), envelope.principal.casefold()}:
        raise NotFound(
            f"no envelope {receipt.number} of {typed(receipt.account)} was ever sealed here",
            remedy="the receipt is of another database, or somebody made it up; nothing was reconciled",
        )
    if any(one.id == receipt.id for one in envelope.receipts):
        raise Conflict(
            f"receipt {receipt.id} is in the audit already", remedy="leave it out; nothing was reconciled"
        )
    return envelope


def _said(envelope: Envelope, receipt: Receipt) -> dict[str, object]:
    names = envelope.custodians
    return {
        "receipt": receipt.id,
        "opened_at": receipt.opened_at.isoformat(),
        "by": receipt.by,
        "host": receipt.host,
        "reason": receipt.reason,
        "how": receipt.how,
        "custodians": [
            names[place] if place < len(names) else f"share {place + 1}" for place in receipt.shares
        ],
    }


def _judge(envelope: Envelope, custodian: str, part: Part, places: dict[int, str]) -> Finding:
    """One custodian's words. `places`: whose share was seen before."""
    if part.number != envelope.number:
        return checks.wrong(
            "words",
            f"{custodian}: the words are of envelope {part.number}, not of {envelope.number}",
            "destroy them if that one was replaced, and look for the newer ones",
        )
    if part.index in places:
        return checks.wrong(
            "words",
            f"{custodian} and {places[part.index]} have the same share",
            "each keeps a share of their own",
        )
    places[part.index] = custodian
    named = envelope.custodians[part.index] if part.index < len(envelope.custodians) else ""
    if named != custodian:
        return checks.warn(
            "words",
            f"{custodian} has the share of {named or 'nobody'}",
            "let each keep their own, or seal it anew",
        )
    return checks.ok("words", f"the words of {custodian} are whole, and of envelope {envelope.number}")


def _shown(seen: Mapping[str, Trace | str]) -> dict[str, Trace]:
    return {where: one for where, one in seen.items() if isinstance(one, Trace)}
