"""When each domain controller was last heard, and since when somebody listens."""

from typing import Any

from sqlalchemy import Row, bindparam, delete, select

from bastide.domain.contacts import Contact, Hearing
from bastide.store import password_tables as tables
from bastide.store.codec import micros, moment
from bastide.store.session import Session
from bastide.store.statements import upserts

_t = tables.password_contacts
_h = tables.password_hearing
_THIS = (_t.c.domain == bindparam("domain_"), _t.c.account == bindparam("account_"))
_GET = select(_t).where(*_THIS)
_ALL = select(_t).order_by(_t.c.domain, _t.c.host, _t.c.account)
_PUT = upserts(_t, ["domain", "account"])
_REMOVE = delete(_t).where(*_THIS)
_HEARING = select(_h.c.since, _h.c.until)
_HEAR = upserts(_h, ["id"])


class SqlContacts:
    """One row for each controller that was ever heard, until it is forgotten; and one for those who listen."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def get(self, domain: str, account: str) -> Contact | None:
        """None: it was never heard."""
        row = self._session.run(_GET, {"domain_": domain, "account_": account}).first()
        return None if row is None else _contact(row)

    def all(self) -> tuple[Contact, ...]:
        """By domain and name."""
        return tuple(map(_contact, self._session.run(_ALL)))

    def put(self, contact: Contact) -> None:
        """Replaces what was known of it."""
        row = {
            "domain": contact.domain,
            "account": contact.account,
            "host": contact.host,
            "heard_at": micros(contact.heard_at),
            "waiting": contact.waiting,
            "oldest": None if contact.oldest is None else micros(contact.oldest),
            "beat_at": None if contact.beat_at is None else micros(contact.beat_at),
            "silent": contact.silent,
        }
        self._session.run(_PUT[self._session.dialect], row)

    def remove(self, contact: Contact) -> None:
        """As if it had never been heard."""
        self._session.run(_REMOVE, {"domain_": contact.domain, "account_": contact.account})

    def hearing(self) -> Hearing | None:
        """None: nobody has ever listened."""
        row = self._session.run(_HEARING).first()
        return None if row is None else Hearing(moment(row.since), moment(row.until))

    def hear(self, hearing: Hearing) -> None:
        """Replaces what was known of those who listen."""
        row = {"id": 1, "since": micros(hearing.since), "until": micros(hearing.until)}
        self._session.run(_HEAR[self._session.dialect], row)


def _contact(row: Row[Any]) -> Contact:
    return Contact(
        domain=row.domain,
        account=row.account,
        host=row.host,
        heard_at=moment(row.heard_at),
        waiting=row.waiting,
        oldest=None if row.oldest is None else moment(row.oldest),
        beat_at=None if row.beat_at is None else moment(row.beat_at),
        silent=row.silent,
    )
