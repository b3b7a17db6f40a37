"""When each domain controller was last heard."""

from typing import Any

from sqlalchemy import Row, bindparam, delete, select

from bastide.domain.contacts import Contact
from bastide.store import password_tables as tables
from bastide.store.codec import micros, moment
from bastide.store.session import Session
from bastide.store.statements import upserts

_t = tables.password_contacts
_THIS = (_t.c.domain == bindparam("domain_"), _t.c.host == bindparam("host_"))
_GET = select(_t).where(*_THIS)
_ALL = select(_t).order_by(_t.c.domain, _t.c.host)
_PUT = upserts(_t, ["domain", "host"])
_REMOVE = delete(_t).where(*_THIS)


class SqlContacts:
    """One row for each controller that was ever heard, until it is forgotten."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def get(self, domain: str, host: str) -> Contact | None:
        """None: it was never heard."""
        row = self._session.run(_GET, {"domain_": domain, "host_": host}).first()
        return None if row is None else _contact(row)

    def all(self) -> tuple[Contact, ...]:
        """By domain and name."""
        return tuple(map(_contact, self._session.run(_ALL)))

    def put(self, contact: Contact) -> None:
        """Replaces what was known of it."""
        row = {
            "domain": contact.domain,
            "host": contact.host,
            "heard_at": micros(contact.heard_at),
            "waiting": contact.waiting,
            "oldest": None if contact.oldest is None else micros(contact.oldest),
            "silent": contact.silent,
        }
        self._session.run(_PUT[self._session.dialect], row)

    def remove(self, contact: Contact) -> None:
        """As if it had never been heard."""
        self._session.run(_REMOVE, {"domain_": contact.domain, "host_": contact.host})


def _contact(row: Row[Any]) -> Contact:
    return Contact(
        domain=row.domain,
        host=row.host,
        heard_at=moment(row.heard_at),
        waiting=row.waiting,
        oldest=None if row.oldest is None else moment(row.oldest),
        silent=row.silent,
    )
