"""What is watched in the directories, how far they were read, and what was found."""

from collections.abc import Collection

from sqlalchemy import bindparam, delete, select

from bastide.domain.drift import Finding
from bastide.domain.errors import NotFound
from bastide.domain.ids import typed
from bastide.domain.monitored import Watched
from bastide.domain.people import Forest
from bastide.services.monitor.ports import Domain, Monitored
from bastide.store import tables
from bastide.store.codec import Document, micros
from bastide.store.session import Session
from bastide.store.statements import one_of, upserts

_DOMAIN, _WATCHED, _FINDING = Document(Domain), Document(Watched), Document(Finding)
_d, _o, _f = tables.monitor_domains.c, tables.monitor_objects.c, tables.monitor_findings.c
_DOMAINS = select(_d.doc).order_by(_d.side)
_DOMAIN_OF = select(_d.doc).where(_d.side == bindparam("side_"))
_SAVE = upserts(tables.monitor_domains, ("side",))
_OBJECTS = select(_o.doc).where(_o.side == bindparam("side_")).order_by(_o.guid)
_PUT = upserts(tables.monitor_objects, ("side", "guid"))
_FORGET = delete(tables.monitor_objects).where(_o.side == bindparam("side_"), one_of(_o.guid, "guids"))
_FINDINGS = select(_f.doc).order_by(_f.found_at, _f.key)
_FIND = select(_f.doc).where(_f.key == bindparam("key_"))
_KEEP = upserts(tables.monitor_findings, ("key",))
_DROP = delete(tables.monitor_findings).where(one_of(_f.key, "keys"))


class SqlMonitored(Monitored):
    """One row for each domain, each object that is watched, each finding that stands."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def domains(self) -> tuple[Domain, ...]:
        """By side."""
        return tuple(_DOMAIN.load(row.doc) for row in self._session.run(_DOMAINS))

    def domain(self, side: Forest) -> Domain | None:
        """None: nothing of it was read yet."""
        row = self._session.run(_DOMAIN_OF, {"side_": side.value}).first()
        return None if row is None else _DOMAIN.load(row.doc)

    def save(self, domain: Domain) -> None:
        """New, or instead of what was known."""
        said = {"side": domain.side.value, "doc": _DOMAIN.dump(domain)}
        self._session.run(_SAVE[self._session.dialect], said)

    def watched(self, side: Forest) -> tuple[Watched, ...]:
        """By GUID."""
        return tuple(_WATCHED.load(row.doc) for row in self._session.run(_OBJECTS, {"side_": side.value}))

    def put(self, objects: Collection[Watched]) -> None:
        """New, or instead of what was known."""
        rows = [{"side": one.domain.value, "guid": one.guid, "doc": _WATCHED.dump(one)} for one in objects]
        if rows:
            self._session.run(_PUT[self._session.dialect], rows)

    def forget(self, side: Forest, guids: Collection[str]) -> None:
        """Those that are not watched any more."""
        if guids:
            self._session.run(_FORGET, {"side_": side.value, "guids": sorted(guids)})

    def findings(self) -> tuple[Finding, ...]:
        """Oldest first."""
        return tuple(_FINDING.load(row.doc) for row in self._session.run(_FINDINGS))

    def find(self, key: str) -> Finding:
        """Raises NotFound."""
        row = self._session.run(_FIND, {"key_": key}).first()
        if row is None:
            raise NotFound(
                f"there is no drift {typed(key)}",
                remedy="`bastide monitor drift` shows those that stand; one of which something else differs now has another key",
            )
        return _FINDING.load(row.doc)

    def keep(self, findings: Collection[Finding]) -> None:
        """New, or instead of what was known."""
        rows = [
            {"key": one.key, "found_at": micros(one.found_at), "doc": _FINDING.dump(one)} for one in findings
        ]
        if rows:
            self._session.run(_KEEP[self._session.dialect], rows)

    def drop(self, keys: Collection[str]) -> None:
        """Those that do not stand any more."""
        if keys:
            self._session.run(_DROP, {"keys": sorted(keys)})
