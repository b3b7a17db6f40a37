"""Password changes, their deliveries, and whether synchronization is on. What is sealed stays in a column of its own, out of the documents."""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any

from sqlalchemy import Executable, Row, bindparam, delete, func, insert, or_, select, update

from bastide.domain.errors import NotFound
from bastide.domain.ids import NAME_LIMIT
from bastide.domain.management_agents import CsId, MaId
from bastide.domain.passwords import Change, Delivery, Stamp, State
from bastide.services.passwords.ports import SourceState
from bastide.store import password_tables as tables
from bastide.store.codec import Document, micros, moment
from bastide.store.session import Session
from bastide.store.statements import one_of, upserts

_CHANGE = Document(Change)
_DELIVERY = Document(Delivery)
_c = tables.password_changes.c
_d = tables.password_deliveries.c
_s = tables.password_stamps.c
_o = tables.password_sources.c
_w = tables.password_switch.c

_PENDING = _d.state == State.PENDING.value
_ROW = (_d.doc, _d.sealed)

_ADD_CHANGES = insert(tables.password_changes)
_ADD_DELIVERIES = insert(tables.password_deliveries)
_SAVE = (
    update(tables.password_deliveries)
    .where(_d.id == bindparam("id_"))
    .values(state=bindparam("state"), sealed=bindparam("sealed"), doc=bindparam("doc"))
)
_KNOWN = select(_c.reference, _c.domain).where(one_of(_c.reference, "ids"))
_GET = select(_c.doc).where(_c.reference == bindparam("reference"))
_GET_DELIVERY = select(*_ROW).where(_d.id == bindparam("id"))
_OF_REFERENCES = select(_d.reference, *_ROW).where(one_of(_d.reference, "ids")).order_by(_d.created_at, _d.id)
_PENDING_OF = select(*_ROW).where(one_of(_d.object_id, "ids"), _PENDING)
_KEPT_OF = select(*_ROW).where(one_of(_d.object_id, "ids"), tables.KEPT)
_STATES = select(_d.id, _d.state).where(one_of(_d.id, "ids"))
_WAITING = select(_d.object_id).where(tables.KEPT).distinct()
_MADE = select(*_ROW).where(one_of(_d.object_id, "ids"), _d.created_at >= bindparam("since"))
_NEWEST = select(_c.doc).where(one_of(_c.user_guid, "ids"), _c.ma_id == bindparam("ma"))
_APPLIED = select(_s.object_id, _s.changed_at, _s.revision, _s.source).where(one_of(_s.object_id, "ids"))
_SOURCES = select(_o.object_id, _o.changed_at, _o.revision, _o.day_began, _o.count.label("number")).where(
    one_of(_o.object_id, "ids")
)
_OPEN = select(_d.reference).where(one_of(_d.reference, "ids"), tables.KEPT).distinct()
_PUT_STAMPS = upserts(tables.password_stamps, ["object_id"])
_PUT_SOURCE = upserts(tables.password_sources, ["object_id"])
_ALL_PENDING = select(*_ROW).where(_PENDING).order_by(_d.created_at, _d.id)
_COUNT = select(func.count()).select_from(tables.password_deliveries).where(_d.state == bindparam("state"))
_FORGET = delete(tables.password_changes).where(
    _c.received_at < bindparam("before"), ~_c.reference.in_(select(_d.reference).where(tables.KEPT))
)
_ENABLED = select(_w.enabled)
_SET_ENABLED = update(tables.password_switch).values(enabled=bindparam("enabled_"))
_VAULT = select(_w.vault)
_BELONG = update(tables.password_switch).values(vault=bindparam("vault_"))


class SqlChanges:
    """Notifications and deliveries."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def add(self, changes: Collection[Change], deliveries: Collection[Delivery]) -> None:
        """Raises Conflict if a reference is known."""
        if changes:
            self._session.run(_ADD_CHANGES, [_change_row(one) for one in changes])
        if deliveries:
            self._session.run(_ADD_DELIVERIES, [_delivery_row(one) for one in deliveries])

    def known(self, references: Collection[str]) -> Mapping[str, str]:
        """Those that were taken in, or refused for good, and the domain that each is of."""
        return {row.reference: row.domain for row in self._each(_KNOWN, references)}

    def get(self, reference: str) -> Change:
        """Raises NotFound."""
        row = self._session.run(_GET, {"reference": reference}).first()
        if row is None:
            raise NotFound(f"there is no password change {reference[:80]!r}")
        return _CHANGE.load(row.doc)

    def delivery(self, id: str) -> Delivery:  # noqa: A002
        """Raises NotFound."""
        row = self._session.run(_GET_DELIVERY, {"id": id}).first()
        if row is None:
            raise NotFound(f"there is no delivery {id[:80]!r}")
        return _delivery(row)

    def deliveries(self, reference: str) -> tuple[Delivery, ...]:
        """All of a change."""
        return self.deliveries_of([reference]).get(reference, ())

    def deliveries_of(self, references: Collection[str]) -> Mapping[str, tuple[Delivery, ...]]:
        """All of these changes; one without any has no entry."""
        found: dict[str, list[Delivery]] = {}
        for row in self._each(_OF_REFERENCES, references):
            found.setdefault(row.reference, []).append(_delivery(row))
        return {reference: tuple(all_) for reference, all_ in found.items()}

    def pending(self, objects: Collection[CsId]) -> tuple[Delivery, ...]:
        """Undelivered ones of these target objects."""
        return tuple(_delivery(row) for row in self._each(_PENDING_OF, objects))

    def kept(self, objects: Collection[CsId]) -> tuple[Delivery, ...]:
        """Of these target objects: undelivered ones, and delivered ones whose password is held in case it must be set again."""
        return tuple(_delivery(row) for row in self._each(_KEPT_OF, objects))

    def still_pending(self, ids: Collection[str]) -> frozenset[str]:
        """Which of these deliveries are undelivered."""
        # Asked for with the state, SQLite would go through all that is pending.
        return frozenset(row.id for row in self._each(_STATES, ids) if row.state == State.PENDING.value)

    def waiting(self) -> frozenset[CsId]:
        """All target objects with a delivery that is undelivered or held."""
        return frozenset(CsId(row.object_id) for row in self._session.run(_WAITING))

    def made(self, objects: Collection[CsId], since: datetime) -> tuple[Delivery, ...]:
        """Deliveries to these target objects that were staged since, whatever became of them."""
        return tuple(_delivery(row) for row in self._each(_MADE, objects, since=micros(since)))

    def newest(self, ma: MaId, user_guids: Collection[str]) -> Mapping[str, datetime]:
        """User to the time of the newest change that this agent's domain told of, whatever became of it."""
        found: dict[str, datetime] = {}
        for row in self._each(_NEWEST, user_guids, ma=ma):
            change = _CHANGE.load(row.doc)
            at = change.stamp.changed_at
            found[change.user_guid] = max(at, found.get(change.user_guid, at))
        return found

    def save(self, deliveries: Collection[Delivery]) -> None:
        """Write these as they are now. One that was cleared from the history meanwhile stays away."""
        if deliveries:
            self._session.run(
                _SAVE,
                [{"id_": one.id, "state": one.state.value, **_contents(one)} for one in deliveries],
            )

    def applied(self, objects: Collection[CsId]) -> Mapping[CsId, Stamp]:
        """The newest change each target object has taken."""
        return {
            CsId(row.object_id): Stamp(moment(row.changed_at), row.revision, row.source)
            for row in self._each(_APPLIED, objects)
        }

    def mark_applied(self, stamps: Mapping[CsId, Stamp]) -> None:
        """These objects have taken these changes."""
        rows = [
            {
                "object_id": key,
                "changed_at": micros(stamp.changed_at),
                "revision": stamp.revision,
                "source": stamp.source,
            }
            for key, stamp in sorted(stamps.items())
        ]
        if rows:
            self._session.run(_PUT_STAMPS[self._session.dialect], rows)

    def source_states(self, objects: Collection[CsId]) -> Mapping[CsId, SourceState]:
        """What is known of the changes of these source objects."""
        return {
            CsId(row.object_id): SourceState(
                Stamp(moment(row.changed_at), row.revision, row.object_id), moment(row.day_began), row.number
            )
            for row in self._each(_SOURCES, objects)
        }

    def set_source_states(self, states: Mapping[CsId, SourceState]) -> None:
        """Replaces what was known of each."""
        rows = [
            {
                "object_id": key,
                "changed_at": micros(state.stamp.changed_at),
                "revision": state.stamp.revision,
                "day_began": micros(state.day_began),
                "count": state.count,
            }
            for key, state in sorted(states.items())
        ]
        if rows:
            self._session.run(_PUT_SOURCE[self._session.dialect], rows)

    def open_references(self, references: Collection[str]) -> frozenset[str]:
        """Those that still have a delivery that is undelivered or held."""
        return frozenset(row.reference for row in self._each(_OPEN, references))

    def queue(self, *, ma: MaId | None, limit: int) -> tuple[Delivery, ...]:
        """Undelivered ones, the oldest first."""
        statement = _ALL_PENDING.limit(limit)
        if ma is not None:
            statement = statement.where(_d.ma_id == ma)
        return tuple(_delivery(row) for row in self._session.run(statement))

    def queue_length(self, ma: MaId | None) -> int:
        """How many are undelivered."""
        statement = _COUNT if ma is None else _COUNT.where(_d.ma_id == ma)
        return int(self._session.run(statement, {"state": State.PENDING.value}).scalar_one())

    def history(
        self, *, user: str, before: datetime | None, limit: int
    ) -> tuple[tuple[Change, tuple[Delivery, ...]], ...]:
        """Newest first; `user` is an account name, a GUID or empty."""
        statement = select(_c.doc).order_by(_c.received_at.desc(), _c.reference).limit(limit)
        if user:
            statement = statement.where(or_(_c.account_key == _key(user), _c.user_guid == _key(user)))
        if before is not None:
            statement = statement.where(_c.received_at < micros(before))
        changes = [_CHANGE.load(row.doc) for row in self._session.run(statement)]
        deliveries = self.deliveries_of([change.reference for change in changes])
        return tuple((change, deliveries.get(change.reference, ())) for change in changes)

    def clear_queue(self, now: datetime) -> tuple[str, ...]:
        """Pending deliveries become history as CLEARED, without their secrets. Their references."""
        pending = [_delivery(row) for row in self._session.run(_ALL_PENDING)]
        self.save(
            [replace(one, state=State.CLEARED, due=None, sealed=b"", attempted_at=now) for one in pending]
        )
        return tuple(sorted({one.reference for one in pending}))

    def clear_history(self, ending_before: datetime) -> int:
        """Forget what is over and older. How many changes."""
        return int(self._session.run(_FORGET, {"before": micros(ending_before)}).rowcount)

    def count(self, state: State) -> int:
        """How many deliveries are in that state."""
        return int(self._session.run(_COUNT, {"state": state.value}).scalar_one())

    def _each(self, statement: Executable, ids: Collection[str], **more: object) -> Iterator[Row[Any]]:
        if ids:
            yield from self._session.run(statement, {"ids": sorted(set(ids)), **more}).all()


class SqlSwitch:
    """Whether synchronization is on."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def enabled(self) -> bool:
        """Off until a person says otherwise."""
        return bool(self._session.run(_ENABLED).scalar_one())

    def set(self, *, enabled: bool) -> None:
        """From this commit on."""
        self._session.run(_SET_ENABLED, {"enabled_": enabled})

    def vault(self) -> str:
        """The id of the vault that this database belongs to; empty: none yet."""
        return str(self._session.run(_VAULT).scalar_one() or "")

    def belong(self, vault: str) -> None:
        """To the vault with this id, from this commit on."""
        self._session.run(_BELONG, {"vault_": vault})


def _change_row(change: Change) -> dict[str, object]:
    return {
        "reference": change.reference,
        "ma_id": change.ma,
        "object_id": change.object,
        "domain": change.domain,
        "user_guid": change.user_guid,
        "account_key": _key(change.account),
        "receipt": change.receipt.value,
        "received_at": micros(change.received_at),
        "doc": _CHANGE.dump(change),
    }


def _delivery_row(delivery: Delivery) -> dict[str, object]:
    return {
        "id": delivery.id,
        "reference": delivery.reference,
        "ma_id": delivery.ma,
        "object_id": delivery.object,
        "state": delivery.state.value,
        "created_at": micros(delivery.created_at),
        **_contents(delivery),
    }


def _contents(delivery: Delivery) -> dict[str, object]:
    bare = replace(delivery, sealed=b"") if delivery.sealed else delivery
    return {"sealed": delivery.sealed or None, "doc": _DELIVERY.dump(bare)}


def _delivery(row: Row[Any]) -> Delivery:
    return (
        _DELIVERY.load(row.doc) if row.sealed is None else _DELIVERY.load(row.doc, sealed=bytes(row.sealed))
    )


def _key(name: str) -> str:
    """As names are compared: without case, and without what no database holds."""
    return name[:NAME_LIMIT].casefold().replace("\0", "\ufffd")
