"""Read the audit, prove that it is whole, and send it on."""

from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime

from bastide.domain import audit
from bastide.domain.audit import GENESIS, Checkpoint, Record
from bastide.domain.errors import AuditBroken
from bastide.domain.ids import RequestId, UserId
from bastide.domain.people import Actor, Right, require
from bastide.domain.requests import Request
from bastide.services.lookup import find_group, find_user
from bastide.services.ports import AuditQuery, AuditSink, Signer, Store

EVERYTHING = AuditQuery(limit=0)
_BATCH = 500
_HISTORY = 100_000


@dataclass(frozen=True, slots=True)
class Verdict:
    """The chain is whole up to `seq`, and the newest good checkpoint signs `signed`."""

    seq: int
    head: str
    checkpoints: int
    signed: int


@dataclass(frozen=True, slots=True)
class Held:
    """Somebody held a PAM group from when to when; `until` None: still."""

    person: str
    group: str
    role: str
    request: RequestId
    since: datetime
    until: datetime | None
    true_end: datetime | None


class Audit:
    """The use cases of the audit."""

    def __init__(self, *, store: Store, signer: Signer, now: Callable[[], datetime]) -> None:
        self._store = store
        self._signer = signer
        self._now = now

    def read(self, actor: Actor, query: AuditQuery) -> tuple[Record, ...]:
        """Records that match, oldest first. Raises NotAuthorized."""
        require(actor, Right.AUDIT)
        with self._store.read() as uow:
            return tuple(uow.audit.read(query))

    def verify(self, actor: Actor) -> Verdict:
        """Check every record and every checkpoint. Raises NotAuthorized, AuditBroken."""
        require(actor, Right.AUDIT)
        return self.verify_chain()

    def verify_chain(self) -> Verdict:
        """The same for the operator on the server itself, who owns the database anyway. Raises AuditBroken."""
        # What is left unread when a record is refused is closed while the database is still open.
        with self._store.read() as uow, closing(uow.audit.read(EVERYTHING)) as records:
            checkpoints = {checkpoint.seq: checkpoint for checkpoint in uow.audit.checkpoints()}
            seq, head = 0, GENESIS
            for record in audit.verify(records):
                seq, head = record.seq, record.hash
                if record.seq in checkpoints:
                    self._check(checkpoints[record.seq], record)
            if beyond := [number for number in checkpoints if number > seq]:
                raise AuditBroken(
                    seq + 1, f"missing: a signed checkpoint says that the chain reached record {max(beyond)}"
                )
            if uow.audit.head() != (seq, head):
                raise AuditBroken(seq + 1, "missing: the database says that the chain was longer")
        return Verdict(seq, head, len(checkpoints), max(checkpoints, default=0))

    def _check(self, checkpoint: Checkpoint, record: Record) -> None:
        if checkpoint.hash != record.hash:
            raise AuditBroken(record.seq, "differs from what its signed checkpoint says")
        message = audit.checkpoint_bytes(checkpoint.seq, checkpoint.hash, checkpoint.at)
        if not self._signer.verify(checkpoint.key, message, checkpoint.signature):
            raise AuditBroken(record.seq, "has a checkpoint whose signature is not ours")

    def checkpoint(self) -> Checkpoint | None:
        """Sign the end of the chain; None if nothing came since the last time."""
        with self._store.write() as uow:
            seq, head = uow.audit.head()
            if seq == 0 or any(checkpoint.seq == seq for checkpoint in uow.audit.checkpoints()[-1:]):
                return None
            now = self._now()
            signature = self._signer.sign(audit.checkpoint_bytes(seq, head, now))
            checkpoint = Checkpoint(seq, head, now, self._signer.key_id, signature)
            uow.audit.add_checkpoint(checkpoint)
            uow.commit()
        return checkpoint

    def feed(self, sinks: Sequence[AuditSink]) -> bool:
        """Send each sink the records it has not taken yet; whether any is left. Raises OSError of a sink after the others were served."""
        left, failed = False, None
        for sink in sinks:
            with self._store.read() as uow:
                records = tuple(
                    uow.audit.read(AuditQuery(after_seq=uow.audit.cursor(sink.name), limit=_BATCH))
                )
            if not records:
                continue
            try:
                sink.write(records)
            except OSError as error:
                failed = error
                continue
            with self._store.write() as uow:
                uow.audit.move_cursor(sink.name, records[-1].seq)
                uow.commit()
            left = left or len(records) == _BATCH
        if failed is not None:
            raise failed
        return left

    def who_had(
        self,
        actor: Actor,
        *,
        person: str = "",
        group: str = "",
        since: datetime | None = None,
        until: datetime | None = None,
    ) -> tuple[Held, ...]:
        """Who had what, when: every activation that overlaps the span. Raises NotAuthorized, NotFound."""
        require(actor, Right.AUDIT)
        with self._store.read() as uow:
            user: UserId | None = find_user(uow, person).id if person else None
            chosen = find_group(uow, group).id if group else None
            names = {g.id: g.name for g in uow.groups.all()}
            requests = uow.requests.history(user=user, limit=_HISTORY, before=None)
        return tuple(
            Held(r.user_name, names.get(g, g), r.role_name, r.id, r.active_from, r.closed_at, r.true_end)
            for r in requests
            for g in r.privileges
            if r.active_from is not None and (chosen is None or g == chosen) and _overlaps(r, since, until)
        )


def _overlaps(request: Request, since: datetime | None, until: datetime | None) -> bool:
    begins_in_time = until is None or (request.active_from is not None and request.active_from < until)
    end = request.true_end or request.ends_at
    return begins_in_time and (since is None or end is None or end > since)
