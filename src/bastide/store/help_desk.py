"""One-time codes of callers of the help desk. What is kept of a code is its Argon2 hash."""

from datetime import datetime

from sqlalchemy import bindparam, delete, exists, func, insert, select, update

from bastide.domain.errors import NotFound
from bastide.domain.help_desk import Verification
from bastide.domain.management_agents import MvId
from bastide.services.help_desk.ports import Verifications
from bastide.store import password_tables as tables
from bastide.store.codec import Document, micros
from bastide.store.session import Session

_DOCUMENT = Document(Verification)
_t = tables.help_desk_verifications.c
_INSERT = insert(tables.help_desk_verifications)
_UPDATE = (
    update(tables.help_desk_verifications).where(_t.id == bindparam("id_")).values(doc=bindparam("doc_"))
)
_GET = select(_t.doc).where(_t.id == bindparam("id_"))
_COUNT = (
    select(func.count())
    .select_from(tables.help_desk_verifications)
    .where(_t.person == bindparam("person_"), _t.begun_at >= bindparam("since"))
)
_LATEST = select(_t.doc).where(_t.person == bindparam("person_")).order_by(_t.begun_at.desc(), _t.id).limit(1)
_newer = tables.help_desk_verifications.alias()
_FORGET = delete(tables.help_desk_verifications).where(
    _t.begun_at < bindparam("before"),
    exists().where(_newer.c.person == _t.person, _newer.c.begun_at > _t.begun_at),
)


class SqlVerifications(Verifications):
    """One row for each."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def add(self, one: Verification) -> None:
        """Raises Conflict if its id is taken."""
        self._session.run(
            _INSERT,
            {
                "id": one.id,
                "person": one.person,
                "begun_at": micros(one.begun_at),
                "doc": _DOCUMENT.dump(one),
            },
        )

    def save(self, one: Verification) -> None:
        """Raises NotFound."""
        if self._session.run(_UPDATE, {"id_": one.id, "doc_": _DOCUMENT.dump(one)}).rowcount != 1:
            raise _missing()

    def get(self, id: str) -> Verification:  # noqa: A002
        """Raises NotFound."""
        row = self._session.run(_GET, {"id_": id}).first()
        if row is None:
            raise _missing()
        return _DOCUMENT.load(row.doc)

    def count(self, person: MvId, since: datetime) -> int:
        """How many were begun for a person."""
        return int(self._session.run(_COUNT, {"person_": person, "since": micros(since)}).scalar_one())

    def latest(self, person: MvId) -> Verification | None:
        """The one that was begun last; None: never one."""
        row = self._session.run(_LATEST, {"person_": person}).first()
        return None if row is None else _DOCUMENT.load(row.doc)

    def forget(self, before: datetime) -> int:
        """Those that were begun before, but for each person's newest. How many."""
        return int(self._session.run(_FORGET, {"before": micros(before)}).rowcount)


def _missing() -> NotFound:
    return NotFound("there is no such verification", remedy="verify the caller anew")
