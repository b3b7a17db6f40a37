"""Requests: found by user, role, state, group and time."""

from collections.abc import Collection, Iterable
from dataclasses import replace
from typing import Any

from sqlalchemy import BigInteger, Row, bindparam, exists, insert, select, tuple_, update

from bastide.domain.errors import Conflict, NotFound
from bastide.domain.ids import GroupId, RequestId, RoleId, UserId
from bastide.domain.requests import Place, Request, State
from bastide.store import tables
from bastide.store.codec import Document, micros
from bastide.store.session import Session
from bastide.store.statements import one_of

_DOCUMENT = Document(Request)
_t = tables.requests.c
_g = tables.request_groups.c
_IN_STATES = _t.state.in_(bindparam("states", expanding=True))

_INSERT = insert(tables.requests)
_INSERT_GROUPS = insert(tables.request_groups)
_UPDATE = (
    update(tables.requests)
    .where(_t.id == bindparam("id_"), _t.version == bindparam("version_"))
    .values(state=bindparam("state"), version=bindparam("version"), doc=bindparam("doc"))
)
_BY_ID = select(_t.doc).where(_t.id == bindparam("id"))
_NOW = select(_t.id, _t.doc).where(one_of(_t.id, "ids"))
_OLDEST_FIRST = (_t.created_at, _t.id)
_OF_USERS = select(_t.doc).where(one_of(_t.user_id, "users"), _IN_STATES).order_by(*_OLDEST_FIRST)
_OF_ROLE = select(_t.doc).where(_t.role_id == bindparam("role"), _IN_STATES).order_by(*_OLDEST_FIRST)
_OF_STATES = select(_t.doc).where(_IN_STATES).order_by(*_OLDEST_FIRST)
_USING_GROUP = select(exists().where(_g.group_id == bindparam("group"), _g.request_id == _t.id, _IN_STATES))
_BEFORE = tuple_(_t.created_at, _t.id) < tuple_(bindparam("at", type_=BigInteger), bindparam("before_id"))
_NEWEST = select(_t.doc).order_by(_t.created_at.desc(), _t.id.desc()).limit(bindparam("limit"))


class SqlRequests:
    """PAM requests. `role`, `user`, `created_at` and `privileges` are fixed when a request is added."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def add(self, request: Request) -> None:
        """Raises Conflict if its id is taken."""
        self._session.run(
            _INSERT,
            {
                "id": request.id,
                "role_id": request.role,
                "user_id": request.user,
                "state": request.state.value,
                "created_at": micros(request.created_at),
                "version": request.version,
                "doc": _DOCUMENT.dump(request),
            },
        )
        groups = [{"request_id": request.id, "group_id": group} for group in set(request.privileges)]
        if groups:
            self._session.run(_INSERT_GROUPS, groups)

    def save(self, request: Request) -> Request:
        """With its next version. Raises Conflict, NotFound."""
        saved, row = _next(request)
        if self._session.run(_UPDATE, row).rowcount != 1:
            self.get(request.id)
            raise _moved(request.id)
        return saved

    def save_many(self, requests: Collection[Request]) -> None:
        """All or, within the transaction, none. Raises Conflict, NotFound."""
        if not requests:
            return
        ordered = sorted(requests, key=lambda request: request.id)
        if self._session.run(_UPDATE, [_next(request)[1] for request in ordered]).rowcount != len(ordered):
            culprit = self._culprit(ordered)
            self._session.close()
            raise culprit

    def _culprit(self, requests: Collection[Request]) -> Conflict | NotFound:
        """Which one was not saved: the others hold what was to be saved."""
        now = {row.id: row.doc for row in self._session.run(_NOW, {"ids": [one.id for one in requests]})}
        for request in requests:
            if request.id not in now:
                return _missing(request.id)
            if now[request.id] != _next(request)[1]["doc"]:
                return _moved(request.id)
        return Conflict("somebody else changed one of the requests meanwhile", remedy="look at them again")

    def get(self, id: RequestId) -> Request:  # noqa: A002
        """Raises NotFound."""
        row = self._session.run(_BY_ID, {"id": id}).first()
        if row is None:
            raise _missing(id)
        return _DOCUMENT.load(row.doc)

    def of_users(self, users: Collection[UserId], states: Collection[State]) -> tuple[Request, ...]:
        """Oldest first."""
        if not users or not states:
            return ()
        return _load(self._session.run(_OF_USERS, {"users": sorted(set(users)), "states": _values(states)}))

    def in_states(self, states: Collection[State]) -> tuple[Request, ...]:
        """Oldest first."""
        return _load(self._session.run(_OF_STATES, {"states": _values(states)}))

    def of_role(self, role: RoleId, states: Collection[State]) -> tuple[Request, ...]:
        """Oldest first."""
        return _load(self._session.run(_OF_ROLE, {"role": role, "states": _values(states)}))

    def using_group(self, group: GroupId, states: Collection[State]) -> bool:
        """Whether a request in one of the states is for the group."""
        found = self._session.run(_USING_GROUP, {"group": group, "states": _values(states)})
        return bool(found.scalar_one())

    def history(self, *, user: UserId | None, limit: int, before: Place | None) -> tuple[Request, ...]:
        """Newest first, from `before` on."""
        statement, parameters = _NEWEST, dict[str, object](limit=limit)
        if user is not None:
            statement = statement.where(_t.user_id == bindparam("user"))
            parameters["user"] = user
        if before is not None:
            statement = statement.where(_BEFORE)
            parameters |= {"at": micros(before.at), "before_id": before.id}
        return _load(self._session.run(statement, parameters))


def _next(request: Request) -> tuple[Request, dict[str, object]]:
    saved = replace(request, version=request.version + 1)
    row = {
        "id_": request.id,
        "version_": request.version,
        "state": saved.state.value,
        "version": saved.version,
        "doc": _DOCUMENT.dump(saved),
    }
    return saved, row


def _load(rows: Iterable[Row[Any]]) -> tuple[Request, ...]:
    return tuple(_DOCUMENT.load(row.doc) for row in rows)


def _values(states: Collection[State]) -> list[str]:
    return sorted(state.value for state in states)


def _missing(key: str) -> NotFound:
    return NotFound(f"there is no request {key[:80]!r}")


def _moved(key: str) -> Conflict:
    return Conflict(f"somebody else changed request {key} meanwhile", remedy="look at it again")
