"""Envelopes of emergency accounts."""

from sqlalchemy import bindparam, insert, select, update

from bastide.domain.break_glass import Envelope
from bastide.domain.errors import NotFound
from bastide.services.break_glass.ports import Envelopes
from bastide.store import tables
from bastide.store.codec import Document, micros
from bastide.store.session import Session

_DOCUMENT = Document(Envelope)
_t = tables.envelopes.c
_INSERT = insert(tables.envelopes)
_UPDATE = update(tables.envelopes).where(_t.number == bindparam("number_")).values(doc=bindparam("doc_"))
_GET = select(_t.doc).where(_t.number == bindparam("number_"))
_ALL = select(_t.doc).order_by(_t.sealed_at, _t.number)


class SqlEnvelopes(Envelopes):
    """One row for each sealing; none is ever deleted, so that no number is used twice."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def add(self, envelope: Envelope) -> None:
        """Raises Conflict if the number is taken."""
        self._session.run(
            _INSERT,
            {
                "number": envelope.number,
                "account": envelope.account,
                "sealed_at": micros(envelope.sealed_at),
                "doc": _DOCUMENT.dump(envelope),
            },
        )

    def save(self, envelope: Envelope) -> None:
        """Raises NotFound."""
        said = {"number_": envelope.number, "doc_": _DOCUMENT.dump(envelope)}
        if self._session.run(_UPDATE, said).rowcount != 1:
            raise NotFound(f"there is no envelope {envelope.number}", remedy="`bastide break-glass list`")

    def find(self, number: int) -> Envelope | None:
        """None: no envelope ever had that number."""
        row = self._session.run(_GET, {"number_": number}).first()
        return None if row is None else _DOCUMENT.load(row.doc)

    def all(self) -> tuple[Envelope, ...]:
        """Oldest first, those that were replaced or removed as well."""
        return tuple(_DOCUMENT.load(row.doc) for row in self._session.run(_ALL))

    def current(self) -> tuple[Envelope, ...]:
        """Of each account the one that counts, by name."""
        found = [one for one in self.all() if one.state.is_current]
        return tuple(sorted(found, key=lambda one: (one.name.casefold(), one.number)))
