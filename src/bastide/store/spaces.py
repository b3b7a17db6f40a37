"""Management agents, connector space and metaverse.

Values and anchors are found by SHA-256: an index row has a limit, they have none.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from hashlib import sha256
from typing import TypeVar

from sqlalchemy import Executable, bindparam, delete, func, insert, select, update

from bastide.domain.errors import Conflict, NotFound
from bastide.domain.joins import LOOSE
from bastide.domain.management_agents import CsId, CsObject, MaId, ManagementAgent, MvId, MvObject
from bastide.store import password_tables as tables
from bastide.store.codec import Document
from bastide.store.objects import Kind, NamedObjects
from bastide.store.session import Session
from bastide.store.statements import one_of, upserts

#: Of what `search` looks through for one object, and of one value in it.
_SEARCHED = 4000
_VALUE_SEARCHED = 256
_STREAM = 500
T = TypeVar("T")

_agents = tables.management_agents.c
_secrets = tables.management_agent_secrets.c
_cs = tables.cs_objects.c
_mv = tables.mv_objects.c
_values = tables.mv_values.c


def _source_domain(agent: ManagementAgent) -> dict[str, object]:
    return {"source_domain": None if agent.source is None else agent.source.domain.casefold()}


_AGENTS: Kind[ManagementAgent] = Kind(
    ManagementAgent, tables.management_agents, "management agent", _source_domain
)
_CS = Document(CsObject)
_MV = Document(MvObject)

_BY_DOMAIN = select(_agents.doc).where(_agents.source_domain == bindparam("domain"))
_NOTE = (
    update(tables.management_agents)
    .where(_agents.id == bindparam("id_"), _agents.version == bindparam("version_"))
    .values(doc=bindparam("doc_"))
)
_SECRET = select(_secrets.sealed).where(_secrets.ma_id == bindparam("id"))

_PUT_SECRET = upserts(tables.management_agent_secrets, ["ma_id"])
_PUT_CS = upserts(tables.cs_objects, ["id"])
_PUT_MV = upserts(tables.mv_objects, ["id"])
_PUT_VALUES = insert(tables.mv_values)

_CS_GET = select(_cs.doc).where(_cs.id == bindparam("id"))
_CS_MANY = select(_cs.doc).where(one_of(_cs.id, "ids"))
_CS_ANCHORS = select(_cs.doc).where(_cs.ma_id == bindparam("ma"), one_of(_cs.anchor_key, "ids"))
_CS_OF_MVS = select(_cs.doc).where(one_of(_cs.mv_id, "ids")).order_by(_cs.id)
_CS_OF_MA = select(_cs.doc).where(_cs.ma_id == bindparam("ma")).order_by(_cs.id)
_CS_LOOSE = (
    select(_cs.doc)
    .where(_cs.ma_id == bindparam("ma"), _cs.link.in_(sorted(link.value for link in LOOSE)))
    .order_by(_cs.id)
)
_CS_COUNT = (
    select(_cs.link, func.count().label("number")).where(_cs.ma_id == bindparam("ma")).group_by(_cs.link)
)
_CS_REMOVE = delete(tables.cs_objects).where(one_of(_cs.id, "ids"))
_MV_MANY = select(_mv.doc).where(one_of(_mv.id, "ids"))
_MV_REMOVE = delete(tables.mv_objects).where(one_of(_mv.id, "ids"))
_VALUES_REMOVE = delete(tables.mv_values).where(one_of(_values.mv_id, "ids"))
_VALUES_FIND = (
    select(_values.value_key, _values.mv_id)
    .where(_values.attribute == bindparam("attribute"), one_of(_values.value_key, "ids"))
    .order_by(_values.mv_id)
)


class SqlAgents(NamedObjects[ManagementAgent]):
    """Management agents."""

    def __init__(self, session: Session) -> None:
        super().__init__(session, _AGENTS)

    def add(self, agent: ManagementAgent) -> None:
        """Raises Conflict if its name or its source's domain is taken."""
        self._add(agent)

    def save(self, agent: ManagementAgent) -> ManagementAgent:
        """With its next version. Raises Conflict, NotFound."""
        return self._save(agent)

    def note(self, agent: ManagementAgent) -> None:
        """Save where its imports have got to, with the version it has. Raises Conflict, NotFound."""
        row = {"id_": agent.id, "version_": agent.version, "doc_": _AGENTS.document.dump(agent)}
        if self._session.run(_NOTE, row).rowcount != 1:
            self._get(agent.id)
            raise Conflict(f"somebody else changed the management agent {agent.name} meanwhile")

    def remove(self, id: MaId) -> None:  # noqa: A002
        """With its secret and its objects. Raises NotFound."""
        self._remove(id)

    def get(self, id: MaId) -> ManagementAgent:  # noqa: A002
        """Raises NotFound."""
        return self._get(id)

    def by_domain(self, domain: str) -> ManagementAgent | None:
        """The one whose source is that DNS domain, in whatever case."""
        row = self._session.run(_BY_DOMAIN, {"domain": domain.casefold()}).first()
        return None if row is None else _AGENTS.document.load(row.doc)

    def set_secret(self, id: MaId, sealed: bytes) -> None:  # noqa: A002
        """Replaces what there was. Raises Conflict if there is no such agent."""
        self._session.run(_PUT_SECRET[self._session.dialect], {"ma_id": id, "sealed": sealed})

    def secret(self, id: MaId) -> bytes:  # noqa: A002
        """Sealed; empty if there is none."""
        row = self._session.run(_SECRET, {"id": id}).first()
        return b"" if row is None else bytes(row.sealed)


class SqlConnectorSpace:
    """Objects of connected systems as last seen."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def put(self, objects: Collection[CsObject]) -> None:
        """Insert or replace, by id. Raises Conflict if another object of the agent has that anchor."""
        rows = [_cs_row(one) for one in sorted(objects, key=lambda cs: cs.id)]
        if rows:
            self._session.run(_PUT_CS[self._session.dialect], rows)

    def remove(self, ids: Collection[CsId]) -> None:
        """What is gone already is fine."""
        self._session.run(_CS_REMOVE, {"ids": sorted(ids)})

    def get(self, id: CsId) -> CsObject:  # noqa: A002
        """Raises NotFound."""
        row = self._session.run(_CS_GET, {"id": id}).first()
        if row is None:
            raise NotFound(f"there is no object {id[:80]!r} in the connector space")
        return _CS.load(row.doc)

    def many(self, ids: Collection[CsId]) -> Mapping[CsId, CsObject]:
        """Those that exist."""
        return {one.id: one for one in self._read(_CS_MANY, sorted(set(ids)))}

    def by_anchor(self, ma: MaId, anchors: Collection[str]) -> Mapping[str, CsObject]:
        """Those of the agent that exist."""
        found = self._read(_CS_ANCHORS, sorted({_hash(anchor) for anchor in anchors}), ma=ma)
        return {one.anchor: one for one in found}

    def of_mv(self, mv: MvId) -> tuple[CsObject, ...]:
        """Those connected with the MV object."""
        return tuple(self._read(_CS_OF_MVS, [mv]))

    def of_mvs(self, mvs: Collection[MvId]) -> Mapping[MvId, tuple[CsObject, ...]]:
        """The same for several; an MV object without any has an empty entry."""
        found: dict[MvId, list[CsObject]] = {mv: [] for mv in mvs}
        for one in self._read(_CS_OF_MVS, sorted(found)):
            if one.mv is not None:
                found[one.mv].append(one)
        return {mv: tuple(all_) for mv, all_ in found.items()}

    def of_ma(self, ma: MaId) -> Iterator[CsObject]:
        """All of an agent, by id, read piece by piece."""
        return self._stream(_CS_OF_MA, ma)

    def loose(self, ma: MaId) -> Iterator[CsObject]:
        """Those that wait for a join, by id, read piece by piece."""
        return self._stream(_CS_LOOSE, ma)

    def count(self, ma: MaId) -> Mapping[str, int]:
        """Link to how many."""
        return {row.link: row.number for row in self._session.run(_CS_COUNT, {"ma": ma})}

    def search(self, *, ma: MaId | None, text: str, link: str, limit: int) -> tuple[CsObject, ...]:
        """By a part of DN, anchor or a value, in whatever case; by link. Empty: any."""
        statement = select(_cs.doc).order_by(_cs.search_key, _cs.id).limit(limit)
        if ma is not None:
            statement = statement.where(_cs.ma_id == ma)
        if link:
            statement = statement.where(_cs.link == link)
        if text:
            statement = statement.where(_cs.search_key.contains(_folded(text), autoescape=True))
        return tuple(_CS.load(row.doc) for row in self._session.run(statement))

    def _read(self, statement: Executable, ids: Sequence[str], **more: object) -> Iterator[CsObject]:
        if ids:
            for row in self._session.run(statement, {"ids": ids, **more}).all():
                yield _CS.load(row.doc)

    def _stream(self, statement: Executable, ma: MaId) -> Iterator[CsObject]:
        for row in self._session.stream(statement, {"ma": ma}, _STREAM):
            yield _CS.load(row.doc)


class SqlMetaverse:
    """One object per person."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def put(self, objects: Collection[MvObject]) -> None:
        """Insert or replace, with all values to be found by."""
        ordered = sorted(objects, key=lambda mv: mv.id)
        if not ordered:
            return
        self._session.run(_PUT_MV[self._session.dialect], [_mv_row(one) for one in ordered])
        self._session.run(_VALUES_REMOVE, {"ids": [one.id for one in ordered]})
        values = [row for one in ordered for row in _value_rows(one)]
        if values:
            self._session.run(_PUT_VALUES, values)

    def remove(self, ids: Collection[MvId]) -> None:
        """What is gone already is fine."""
        self._session.run(_MV_REMOVE, {"ids": sorted(ids)})

    def get(self, id: MvId) -> MvObject:  # noqa: A002
        """Raises NotFound."""
        found = self.many([id])
        if id not in found:
            raise NotFound(f"there is no object {id[:80]!r} in the metaverse")
        return found[id]

    def many(self, ids: Collection[MvId]) -> Mapping[MvId, MvObject]:
        """Those that exist."""
        rows = self._session.run(_MV_MANY, {"ids": sorted(set(ids))}) if ids else ()
        return {one.id: one for one in (_MV.load(row.doc) for row in rows)}

    def matching(self, attribute: str, values: Collection[str]) -> Mapping[str, tuple[MvId, ...]]:
        """Casefolded value to the objects that have it."""
        keys = {_hash(value.casefold()): value.casefold() for value in values}
        found: dict[str, list[MvId]] = {}
        for row in self._session.run(_VALUES_FIND, {"attribute": _attribute(attribute), "ids": sorted(keys)}):
            found.setdefault(keys[row.value_key], []).append(MvId(row.mv_id))
        return {value: tuple(ids) for value, ids in found.items()}

    def search(self, *, text: str, limit: int) -> tuple[MvObject, ...]:
        """By a part of a value, in whatever case. Empty: any."""
        statement = select(_mv.doc).order_by(_mv.search_key, _mv.id).limit(limit)
        if text:
            statement = statement.where(_mv.search_key.contains(_folded(text), autoescape=True))
        return tuple(_MV.load(row.doc) for row in self._session.run(statement))


def _hash(text: str) -> str:
    return sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def _attribute(name: str) -> str:
    return name.casefold()[:256]


def _folded(text: str) -> str:
    """PostgreSQL takes no NUL."""
    return text.casefold().replace("\0", "\ufffd")


def _searched(parts: Iterable[str]) -> str:
    return _folded("\n".join(part[:_VALUE_SEARCHED] for part in parts)[:_SEARCHED])


def _cs_row(one: CsObject) -> dict[str, object]:
    values = (value for values in one.attributes.values() for value in values)
    return {
        "id": one.id,
        "ma_id": one.ma,
        "anchor_key": _hash(one.anchor),
        "link": one.link.value,
        "mv_id": one.mv,
        "search_key": _searched((one.dn, one.anchor, *values)),
        "doc": _CS.dump(one),
    }


def _mv_row(one: MvObject) -> dict[str, object]:
    values = (value for values in one.attributes.values() for value in values)
    return {"id": one.id, "search_key": _searched(values), "doc": _MV.dump(one)}


def _value_rows(one: MvObject) -> list[dict[str, object]]:
    keys = {
        (_attribute(name), _hash(value.casefold()))
        for name, values in one.attributes.items()
        for value in values
    }
    return [{"mv_id": one.id, "attribute": name, "value_key": key} for name, key in sorted(keys)]
