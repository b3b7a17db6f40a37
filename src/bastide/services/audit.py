"""Read the audit, prove that it is whole, and send it on."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime

from bastide.domain import audit
from bastide.domain.audit import GENESIS, Checkpoint, Record
from bastide.domain.errors import AuditBroken, NotFound
from bastide.domain.ids import GroupId, RequestId
from bastide.domain.people import Actor, PamUser, Right, require, require_reader
from bastide.domain.requests import Place, Request, State
from bastide.domain.roles import PamGroup, Role
from bastide.services.events import by_actor
from bastide.services.figures import Called, HeldQuery
from bastide.services.lookup import find_group, find_role, find_user
from bastide.services.ports import AuditQuery, AuditSink, Signer, Store, UnitOfWork

EVERYTHING = AuditQuery(limit=0)
_BATCH = 500
#: The cursor that holds the record of the last proof of the chain.
_PROOF = "verification"


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
    state: State
    justification: str
    ticket: str


@dataclass(frozen=True, slots=True)
class Wanted:
    """Filters over who held what; empty ones do not filter. Names or ids."""

    person: str = ""
    group: str = ""
    role: str = ""
    since: datetime | None = None
    until: datetime | None = None


@dataclass(frozen=True, slots=True)
class HeldPage:
    """Who held what, newest request first. `onward`: where the next page begins; None: this was the last."""

    items: tuple[Held, ...]
    onward: Place | None


@dataclass(frozen=True, slots=True)
class ChainStatus:
    """How long the chain is, what of it is signed, and who proved it whole last: the record that says so."""

    seq: int
    head: str
    checkpoint: Checkpoint | None
    proof: Record | None


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
        """Check every record and every checkpoint, and keep on record that it was done. Raises NotAuthorized, AuditBroken."""
        require(actor, Right.AUDIT)
        verdict = self.verify_chain()
        with self._store.write() as uow:
            data = {"records": verdict.seq, "signed": verdict.signed}
            uow.audit.append(by_actor("audit.verified", self._now(), actor, data=data))
            uow.audit.move_cursor(_PROOF, uow.audit.head()[0])
            uow.commit()
        return verdict

    def status(self, actor: Actor) -> ChainStatus:
        """What is known of the chain without reading it. Raises NotAuthorized."""
        require_reader(actor)
        with self._store.read() as uow:
            seq, head = uow.audit.head()
            at = uow.audit.cursor(_PROOF)
            proof = next(uow.audit.read(AuditQuery(after_seq=at - 1, limit=1)), None) if at else None
            return ChainStatus(seq, head, uow.audit.newest_checkpoint(), proof)

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
            newest = uow.audit.newest_checkpoint()
            if seq == 0 or (newest is not None and newest.seq == seq):
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

    def who_had(self, actor: Actor, wanted: Wanted) -> Iterator[Held]:
        """All of `holders`, with a transaction for each page. Raises at once what the first page raises: NotAuthorized, NotFound."""
        first = self.holders(actor, wanted, limit=_BATCH)
        return self._all(actor, wanted, first)

    def _all(self, actor: Actor, wanted: Wanted, page: HeldPage) -> Iterator[Held]:
        yield from page.items
        while page.onward is not None:
            page = self.holders(actor, wanted, limit=_BATCH, before=page.onward)
            yield from page.items

    def holders(self, actor: Actor, wanted: Wanted, *, limit: int, before: Place | None = None) -> HeldPage:
        """Who had what, when: every activation that overlaps the span, of at most `limit` requests. Who and what is gone since is found too, a PAM
        group by its id. Raises NotAuthorized, NotFound.
        """
        require_reader(actor)
        with self._store.read() as uow:
            user, no_user = _called(find_user, uow, wanted.person)
            role, no_role = _called(find_role, uow, wanted.role)
            group, no_group = _called(find_group, uow, wanted.group)
            chosen = GroupId(group.id) if group is not None else None
            query = HeldQuery(user=user, role=role, group=chosen, since=wanted.since, until=wanted.until)
            found = uow.figures.held(query, limit=limit + 1, before=before)
            names = _names(uow, found)
        unknown = no_user or no_role or no_group
        if unknown is not None and not found:  # a name that was mistyped is no proof that nobody had access
            raise unknown
        shown = found[:limit]
        items = (
            Held(
                r.user_name, names.get(g, g), r.role_name, r.id, r.active_from, r.closed_at, r.true_end,
                r.state, r.justification, r.ticket,
            )
            for r in shown
            for g in r.privileges
            if r.active_from is not None
            and (chosen is None or g == chosen)
            and _overlaps(r, wanted.since, wanted.until)
        )  # fmt: skip
        more = len(found) > limit
        return HeldPage(tuple(items), Place(shown[-1].created_at, shown[-1].id) if more else None)


def _called(
    find: Callable[[UnitOfWork, str], PamUser | Role | PamGroup], uow: UnitOfWork, typed: str
) -> tuple[Called | None, NotFound | None]:
    """What was typed, and the refusal if nothing that is there now is called so."""
    if not typed:
        return None, None
    try:
        return Called(find(uow, typed).id, typed), None
    except NotFound as error:
        return Called(typed, typed), error


def _names(uow: UnitOfWork, requests: Sequence[Request]) -> Mapping[GroupId, str]:
    return {group.id: group.name for group in uow.groups.many({g for r in requests for g in r.privileges})}


def _overlaps(request: Request, since: datetime | None, until: datetime | None) -> bool:
    """Without a true end it is not over: nobody knows yet when the last ticket will be."""
    begins_in_time = until is None or (request.active_from is not None and request.active_from < until)
    end = request.true_end
    return begins_in_time and (since is None or end is None or end > since)
