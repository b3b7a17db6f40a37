"""Changes of roles that wait for a second administrator."""

from sqlalchemy import bindparam, delete, insert, select

from bastide.domain.errors import NotFound
from bastide.domain.ids import RoleId, typed
from bastide.domain.proposals import Proposal
from bastide.services.proposals import Proposals
from bastide.store import tables
from bastide.store.codec import Document, micros
from bastide.store.session import Session

_DOCUMENT = Document(Proposal)
_t = tables.role_proposals.c
_INSERT = insert(tables.role_proposals)
_DELETE = delete(tables.role_proposals).where(_t.id == bindparam("id"))
_GET = select(_t.doc).where(_t.id == bindparam("id"))
_ALL = select(_t.doc).order_by(_t.made_at, _t.id)
_OF_ROLE = _ALL.where(_t.role_id == bindparam("role"))


class SqlProposals(Proposals):
    """One row for each."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def add(self, proposal: Proposal) -> None:
        """Raises Conflict if its id is taken."""
        self._session.run(
            _INSERT,
            {
                "id": proposal.id,
                "role_id": proposal.role,
                "made_at": micros(proposal.made_at),
                "doc": _DOCUMENT.dump(proposal),
            },
        )

    def remove(self, id: str) -> None:  # noqa: A002
        """Raises NotFound."""
        if self._session.run(_DELETE, {"id": id}).rowcount != 1:
            raise _missing(id)

    def get(self, id: str) -> Proposal:  # noqa: A002
        """Raises NotFound."""
        row = self._session.run(_GET, {"id": id}).first()
        if row is None:
            raise _missing(id)
        return _DOCUMENT.load(row.doc)

    def all(self) -> tuple[Proposal, ...]:
        """Oldest first."""
        return tuple(_DOCUMENT.load(row.doc) for row in self._session.run(_ALL))

    def of_role(self, role: RoleId) -> tuple[Proposal, ...]:
        """Oldest first."""
        return tuple(_DOCUMENT.load(row.doc) for row in self._session.run(_OF_ROLE, {"role": role}))


def _missing(key: str) -> NotFound:
    return NotFound(
        f"there is no proposal {typed(key)}",
        remedy="it may be decided: `bastide role proposals` shows those that wait",
    )
