"""Registrations for self-service reset, resets, and what is counted of them."""

import re
from collections.abc import Collection
from datetime import datetime, timedelta

import msgspec
from sqlalchemy import bindparam, delete, select

from bastide.domain.ids import Sid
from bastide.domain.reset.flow import Reset
from bastide.domain.reset.lockout import Count, Kind, folded
from bastide.services.reset.ports import Draft, Registration, ResetRows
from bastide.store import reset_tables as tables
from bastide.store.codec import Document, micros
from bastide.store.session import Session
from bastide.store.statements import one_of, upserts

_REGISTRATION, _DRAFT, _RESET, _COUNT = (
    Document(Registration),
    Document(Draft),
    Document(Reset),
    Document(Count),
)
_r, _d, _s, _c = tables.registrations.c, tables.drafts.c, tables.resets.c, tables.counts.c
_PERSON = select(_r.doc).where(_r.person == bindparam("person_"))
_REGISTERED = select(_r.doc).order_by(_r.name, _r.person)
#: A search through all of them, 30 ms for 20,000 (measured): an index of addresses would have to forget each with the last registration that has it.
_FROM = select(_r.person).where(_r.doc.like(bindparam("address_"), escape="\\")).limit(1)
_REGISTER = upserts(tables.registrations, ("person",))
_UNREGISTER = delete(tables.registrations).where(_r.person == bindparam("person_"))
_GET_DRAFT = select(_d.doc).where(_d.id == bindparam("id_"))
_PUT_DRAFT = upserts(tables.drafts, ("id",))
_REMOVE_DRAFT = delete(tables.drafts).where(_d.id == bindparam("id_"))
_PUT = upserts(tables.resets, ("id",))
_BY_ID = select(_s.doc).where(_s.id == bindparam("id_"))
_BY_TOKEN = select(_s.doc).where(_s.token_hash == bindparam("hash_"))
_BY_STOP = select(_s.doc).where(_s.stop_hash == bindparam("hash_"))
_OF_PERSON = select(_s.doc).where(_s.person == bindparam("person_"))
_THIS = (_c.kind == bindparam("kind_"), _c.key == bindparam("key_"))
_COUNTED = select(_c.doc).where(*_THIS)
_OF_KINDS = select(_c.doc).where(one_of(_c.kind, "kinds"), _c.name != "").order_by(_c.name, _c.kind, _c.key)
_PUT_COUNT = upserts(tables.counts, ("kind", "key"))
_REMOVE_COUNT = delete(tables.counts).where(*_THIS)
_UNLOCK = delete(tables.counts).where(_c.name == bindparam("name_"))
_FORGET = (
    delete(tables.drafts).where(_d.expires_at < bindparam("moment_")),
    delete(tables.resets).where(_s.expires_at < bindparam("moment_")),
)
_FORGET_COUNTS = delete(tables.counts).where(_c.forgotten_at < bindparam("moment_"))
#: What somebody wants to look at when it is over.
_KEPT = timedelta(days=1)


class SqlResetRows(ResetRows):
    """A row for each."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def registration(self, person: Sid) -> Registration | None:
        """None: the person is not registered."""
        row = self._session.run(_PERSON, {"person_": person}).first()
        return None if row is None else _REGISTRATION.load(row.doc)

    def registrations(self) -> tuple[Registration, ...]:
        """By name."""
        return tuple(_REGISTRATION.load(row.doc) for row in self._session.run(_REGISTERED))

    def is_registered_from(self, address: str) -> bool:
        """Whether somebody's registration was made from there: (2) of domain/reset/lockout.py. One statement, whoever is asked about."""
        row = self._session.run(_FROM, {"address_": _within(address)}).first()
        return row is not None

    def register(self, registration: Registration) -> None:
        """In the place of what there was."""
        row = {
            "person": registration.person,
            "name": registration.name.casefold(),
            "doc": _REGISTRATION.dump(registration),
        }
        self._session.run(_REGISTER[self._session.dialect], row)

    def unregister(self, person: Sid) -> bool:
        """Whether there was one."""
        return self._session.run(_UNREGISTER, {"person_": person}).rowcount == 1

    def put_draft(self, draft: Draft) -> None:
        """In the place of one with that id."""
        row = {"id": draft.id, "expires_at": micros(draft.expires_at), "doc": _DRAFT.dump(draft)}
        self._session.run(_PUT_DRAFT[self._session.dialect], row)

    def draft(self, id: str) -> Draft | None:  # noqa: A002
        """None: nothing waits to be confirmed."""
        row = self._session.run(_GET_DRAFT, {"id_": id}).first()
        return None if row is None else _DRAFT.load(row.doc)

    def remove_draft(self, id: str) -> None:  # noqa: A002
        """Gone already is fine."""
        self._session.run(_REMOVE_DRAFT, {"id_": id})

    def put(self, reset: Reset) -> None:
        """Add it, or save it."""
        row = {
            "id": reset.id,
            "token_hash": reset.token_hash,
            "stop_hash": reset.stop_hash,
            "person": reset.person,
            "expires_at": micros(reset.expires_at),
            "doc": _RESET.dump(reset),
        }
        self._session.run(_PUT[self._session.dialect], row)

    def get(self, id: str) -> Reset | None:  # noqa: A002
        """None: there is none."""
        row = self._session.run(_BY_ID, {"id_": id}).first()
        return None if row is None else _RESET.load(row.doc)

    def by_token(self, token_hash: str) -> Reset | None:
        """None: there is none."""
        row = self._session.run(_BY_TOKEN, {"hash_": token_hash}).first()
        return None if row is None else _RESET.load(row.doc)

    def by_stop(self, stop_hash: str) -> Reset | None:
        """None: nothing can be stopped with that."""
        row = self._session.run(_BY_STOP, {"hash_": stop_hash}).first() if stop_hash else None
        return None if row is None else _RESET.load(row.doc)

    def of_person(self, person: str) -> tuple[Reset, ...]:
        """Oldest first."""
        found = [_RESET.load(row.doc) for row in self._session.run(_OF_PERSON, {"person_": person})]
        return tuple(sorted(found, key=lambda one: (one.started_at, one.id)))

    def count(self, kind: Kind, key: str) -> Count | None:
        """None: nothing was counted."""
        row = self._session.run(_COUNTED, {"kind_": kind.value, "key_": key}).first()
        return None if row is None else _COUNT.load(row.doc)

    def counts(self, kinds: Collection[Kind]) -> tuple[Count, ...]:
        """Of people that are known, by name."""
        rows = self._session.run(_OF_KINDS, {"kinds": [kind.value for kind in kinds]})
        return tuple(_COUNT.load(row.doc) for row in rows)

    def put_count(self, count: Count) -> None:
        """In the place of what was counted."""
        row = {
            "kind": count.kind.value,
            "key": count.key,
            "name": folded(count.name),
            "forgotten_at": micros(count.forgotten_at()),
            "doc": _COUNT.dump(count),
        }
        self._session.run(_PUT_COUNT[self._session.dialect], row)

    def remove_count(self, kind: Kind, key: str) -> None:
        """Gone already is fine."""
        self._session.run(_REMOVE_COUNT, {"kind_": kind.value, "key_": key})

    def remove_counts(self, name: str) -> int:
        """Of a person; how many."""
        return self._session.run(_UNLOCK, {"name_": folded(name)}).rowcount if name else 0

    def forget(self, now: datetime) -> None:
        """Resets and drafts that are over for a day, and counts that count no more."""
        for statement in _FORGET:
            self._session.run(statement, {"moment_": micros(now - _KEPT)})
        self._session.run(_FORGET_COUNTS, {"moment_": micros(now)})


def _within(text: str) -> str:
    """A pattern of LIKE for a document that holds this text, as JSON has it."""
    quoted = msgspec.json.encode(text).decode()
    return "%" + re.sub(r"([\\%_])", r"\\\1", quoted) + "%"
