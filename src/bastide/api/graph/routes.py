"""The routes of /v1.0: Graph's resources over the same use cases as the other dialects. Their addresses are those of addresses.plain."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import replace
from typing import Any

from litestar import Request as Call
from litestar import Response, Router, get, patch, post
from litestar.params import FromPath, RawBody
from litestar.status_codes import HTTP_200_OK, HTTP_201_CREATED, HTTP_204_NO_CONTENT

from bastide.api.graph import approval, given, policy, query, rows
from bastide.api.graph.activate import Activation
from bastide.api.graph.addresses import DIRECTORY, GROUP, PREFIX, spoken
from bastide.api.graph.admin import Nomination, Removal
from bastide.api.graph.approvers import Book
from bastide.api.graph.errors import BAD, GraphRefused
from bastide.api.graph.query import Query
from bastide.api.graph.rows import Dialect
from bastide.api.graph.seen import HISTORIES, OWNED, RESOURCES, History, Seen, fits
from bastide.api.graph.shape import Row, Shape
from bastide.domain.errors import Conflict, NotFound
from bastide.domain.people import Right
from bastide.domain.requests import Decision
from bastide.domain.roles import Role
from bastide.http.door import key_of, needs
from bastide.http.fields import read_once
from bastide.http.handed import Caller, UseCases

_JSON = "application/json; charset=utf-8"
_ELIGIBILITIES = [f"{DIRECTORY}/roleEligibilityScheduleRequests", f"{GROUP}/eligibilityScheduleRequests"]
_APPROVALS = [f"{DIRECTORY}/roleAssignmentApprovals", f"{GROUP}/assignmentApprovals"]
_POLICIES = "/policies/roleManagementPolicies"
Asking = Call[Any, Any, Any]
Answer = Response[dict[str, Any]]

# ------------------------------------------------------------------------------------------------------------- resources


def list_rows(actor: Caller, services: UseCases, request: Asking) -> Answer:
    """What the caller may see: everything, for auditors and administrators; else what is theirs."""
    resource = RESOURCES[_path(request)]
    return _list(request, resource.shape, resource.rows(Seen(services, actor)))


def list_own(on: FromPath[str], actor: Caller, services: UseCases, request: Asking) -> Answer:
    """What is the caller's: as principal, or as approver."""
    resource = OWNED[_path(request).rpartition("/filterByCurrentUser/")[0]]
    return _list(request, resource.shape, resource.rows(Seen(services, actor, on)))


def show_row(key: FromPath[str], actor: Caller, services: UseCases, request: Asking) -> Answer:
    """One row. What the caller may not see does not exist."""
    resource = RESOURCES[_path(request).rpartition("/")[0]]
    return _one(request, resource.shape, _with_id(resource.rows(Seen(services, actor)), key))


def list_requests(actor: Caller, services: UseCases, request: Asking) -> Answer:
    """The requests that the caller may see, newest first."""
    return _list_history(request, HISTORIES[_path(request)], Seen(services, actor))


def list_own_requests(on: FromPath[str], actor: Caller, services: UseCases, request: Asking) -> Answer:
    """The caller's own requests, or those that wait for the caller."""
    history = HISTORIES[_path(request).rpartition("/filterByCurrentUser/")[0]]
    return _list_history(request, history, Seen(services, actor, on))


def show_request(key: FromPath[str], actor: Caller, services: UseCases, request: Asking) -> Answer:
    """One request."""
    history = HISTORIES[_path(request).rpartition("/")[0]]
    one = services.requests.show(actor, key)
    if not fits(history.dialect, one.privileges):
        raise NotFound("no such request")
    return _one(request, history.shape, history.dialect.request(one))


def submit_request(actor: Caller, services: UseCases, request: Asking, body: RawBody) -> Answer:
    """Activate, give back or extend one's own access; for administrators: end somebody's."""
    dialect = _dialect(_path(request))
    asked = replace(given.asked(body, of_group=dialect.of_group), key=key_of(request))
    doer = Removal if asked.by_administrator else Activation
    row = doer(services, actor, dialect, asked).done()
    return _one(request, dialect.request_shape(), row, status=HTTP_201_CREATED)


def nominate(actor: Caller, services: UseCases, request: Asking, body: RawBody) -> Answer:
    """Make somebody a candidate of a role, or take that away."""
    dialect = _dialect(_path(request))
    asked = given.asked(body, of_group=dialect.of_group)
    row = Nomination(services, actor, dialect, asked).done()
    return _one(request, dialect.request_shape(), row, status=HTTP_201_CREATED)


def cancel_request(key: FromPath[str], actor: Caller, services: UseCases) -> None:
    """Withdraw what has not begun."""
    try:
        services.requests.close(actor, key, "withdrawn by the person", begun=False)
    except Conflict as error:
        raise GraphRefused(BAD, error.message, remedy="selfDeactivate ends access that has begun") from None


# ------------------------------------------------------------------------------------------------------------- approvals


def list_approvals(on: FromPath[str], actor: Caller, services: UseCases, request: Asking) -> Answer:
    """What waits for the caller's decision."""
    if on != "approver":
        raise GraphRefused(BAD, "on: approvals are filtered by their approver", remedy="write on='approver'")
    return _list(request, approval.APPROVAL, approval.waiting(services, actor), approval.WHOLE)


def show_approval(key: FromPath[str], actor: Caller, services: UseCases, request: Asking) -> Answer:
    """The stages of a request."""
    return _one(request, approval.APPROVAL, approval.approval(services, actor, key), expanded=approval.WHOLE)


def list_stages(key: FromPath[str], actor: Caller, services: UseCases, request: Asking) -> Answer:
    """The same as a list."""
    return _list(request, approval.STAGE, approval.approval(services, actor, key)["stages"])


def show_stage(
    key: FromPath[str], stage: FromPath[str], actor: Caller, services: UseCases, request: Asking
) -> Answer:
    """One stage."""
    return _one(request, approval.STAGE, _with_id(approval.approval(services, actor, key)["stages"], stage))


def decide(
    key: FromPath[str],
    stage: FromPath[str],
    actor: Caller,
    services: UseCases,
    request: Asking,
    body: RawBody,
) -> None:
    """Approve or deny. Needs a fresh second factor, as everywhere."""
    approved, reason = given.decision(body)
    decision = Decision.APPROVE if approved else Decision.REJECT
    approval.decide(services, actor, key, stage, decision, reason, key_of(request))


# -------------------------------------------------------------------------------------------------------------- policies


def list_policies(actor: Caller, services: UseCases, request: Asking) -> Answer:
    """The rules of all roles, or which role has which."""
    roles, book = services.roles.all(actor), _book(services, actor)
    if _path(request) == _POLICIES:
        return _list(request, policy.POLICY, [one for role in roles for one in policy.policies(role, book)])
    return _list(
        request, policy.ASSIGNMENT, [one for role in roles for one in policy.assignments(role, book)]
    )


def show_policy(key: FromPath[str], actor: Caller, services: UseCases, request: Asking) -> Answer:
    """The rules of one role."""
    row = policy.policy(_role(services, actor, key), key, _book(services, actor))
    if _path(request).endswith("/rules"):
        return _list(request, policy.RULE, row["rules"])
    return _one(request, policy.POLICY, row)


def show_rule(
    key: FromPath[str], name: FromPath[str], actor: Caller, services: UseCases, request: Asking
) -> Answer:
    """One rule."""
    role = _role(services, actor, key)
    return _one(request, policy.RULE, policy.rule(role, name, _book(services, actor)))


def change_rule(
    key: FromPath[str], name: FromPath[str], actor: Caller, services: UseCases, body: RawBody
) -> None:
    """Change a rule where a role has it. Clients send all of a rule, and often all rules: what is so already is no error."""
    wanted = given.read(body, dict[str, Any])
    role = _role(services, actor, key)
    book = _book(services, actor)
    for one in policy.named(role, name, wanted, book):
        with suppress(NotFound):  # who writes it into the role says so
            found = services.profiles.subject(actor, one.id, group=one.is_group)
            book = replace(book, subjects={**book.subjects, one: found})
    if policy.changed(role, name, wanted, book) != role:
        services.roles.adjust(actor, role.id, lambda role: policy.changed(role, name, wanted, book))


def _role(services: UseCases, actor: Caller, key: str) -> Role:
    return policy.of_key(services.roles.show(actor, policy.role_of(key)), key)


def _book(services: UseCases, actor: Caller) -> Book:
    return Book({sid: user.id for user in services.accounts.users(actor) for sid in user.sids})


# ----------------------------------------------------------------------------------------------------------------- users


def show_me(actor: Caller, services: UseCases, request: Asking) -> Answer:
    """The caller."""
    return _one(request, rows.USER, rows.user(services.profiles.me(actor)))


def list_users(actor: Caller, services: UseCases, request: Asking) -> Answer:
    """A PAM user by name: `$filter=userPrincipalName eq '...'`, which is how scripts learn an id. It is no way to list everybody."""
    said = read_once(request.url.query)
    name = query.wanted(said, {"userPrincipalName", "id"})
    try:
        found = [rows.user(services.profiles.find(actor, name))]
    except NotFound:
        found = []
    return _list(request, rows.USER, found, filtered=True)


def show_user(key: FromPath[str], actor: Caller, services: UseCases, request: Asking) -> Answer:
    """A PAM user by id or userPrincipalName."""
    return _one(request, rows.USER, rows.user(services.profiles.find(actor, key)))


def _routes() -> Iterator[tuple[Callable[..., Any], Iterable[str], Callable[..., Any], dict[str, Any]]]:
    """Method, addresses, handler, and what the route asks for."""
    stages = [f"{path}/{{key:str}}/{part}" for path in _APPROVALS for part in ("stages", "steps")]
    use, read = {"opt": needs(Right.USE)}, {"opt": needs(Right.ADMINISTER, Right.AUDIT)}
    approve, administer = {"opt": needs(Right.APPROVE)}, {"opt": needs(Right.ADMINISTER)}
    empty = {"status_code": HTTP_204_NO_CONTENT}
    yield get, RESOURCES, list_rows, use
    yield get, [f"{path}/filterByCurrentUser/{{on:str}}" for path in OWNED], list_own, use
    yield get, [f"{path}/{{key:str}}" for path in RESOURCES], show_row, use
    yield get, HISTORIES, list_requests, use
    yield get, [f"{path}/filterByCurrentUser/{{on:str}}" for path in HISTORIES], list_own_requests, use
    yield get, [f"{path}/{{key:str}}" for path in HISTORIES], show_request, use
    yield post, HISTORIES, submit_request, use
    yield post, _ELIGIBILITIES, nominate, administer
    yield post, [f"{path}/{{key:str}}/cancel" for path in HISTORIES], cancel_request, {**use, **empty}
    yield get, [f"{path}/filterByCurrentUser/{{on:str}}" for path in _APPROVALS], list_approvals, approve
    yield get, [f"{path}/{{key:str}}" for path in _APPROVALS], show_approval, use
    yield get, stages, list_stages, use
    yield get, [f"{path}/{{stage:str}}" for path in stages], show_stage, use
    yield patch, [f"{path}/{{stage:str}}" for path in stages], decide, {**approve, **empty}
    yield get, [_POLICIES, "/policies/roleManagementPolicyAssignments"], list_policies, read
    yield get, [f"{_POLICIES}/{{key:str}}", f"{_POLICIES}/{{key:str}}/rules"], show_policy, read
    yield get, [f"{_POLICIES}/{{key:str}}/rules/{{name:str}}"], show_rule, read
    yield patch, [f"{_POLICIES}/{{key:str}}/rules/{{name:str}}"], change_rule, {**administer, **empty}
    yield get, ["/me"], show_me, use
    yield get, ["/users"], list_users, use
    yield get, ["/users/{key:str}"], show_user, use


def router() -> Router:
    """Graph's dialect. A handler of Litestar's that has several addresses is called in a thread of a thread: so each has one of its own."""
    handlers = [
        method(path, sync_to_thread=True, **asks)(handler)
        for method, paths, handler, asks in _routes()
        for path in paths
    ]
    return Router(PREFIX, route_handlers=handlers, include_in_schema=False)


# --------------------------------------------------------------------------------------------------------------- answers


def _path(request: Asking) -> str:
    path: str = request.scope["path"]
    return path.removeprefix(PREFIX)


def _dialect(path: str) -> Dialect:
    return rows.GROUPS if path.startswith(GROUP) else rows.ROLES


def _with_id(found: Iterable[Row], key: str) -> Row:
    row = next((one for one in found if one["id"] == key), None)
    if row is None:
        raise NotFound("there is no such row, or it is not the caller's to see")
    return row


def _list(
    request: Asking,
    shape: Shape,
    found: Iterable[Row],
    expanded: Mapping[str, Query] | None = None,
    *,
    filtered: bool = False,
) -> Answer:
    said = read_once(request.url.query)
    if filtered:
        said.pop("$filter", None)
    wanted = query.parse(said, shape, expanded=expanded)
    return _rows(request, said, *query.page(wanted, found))


def _list_history(request: Asking, history: History, seen: Seen) -> Answer:
    said = read_once(request.url.query)
    wanted = query.parse(said, history.shape)
    principal = query.fixed(said, "principalId")
    return _rows(
        request, said, *query.page_of_history(wanted, lambda place: history.read(seen, place, principal))
    )


def _rows(request: Asking, said: Mapping[str, str], value: list[dict[str, Any]], token: str) -> Answer:
    content: dict[str, Any] = {
        "@odata.context": _context(request, _path(request).partition("/filterByCurrentUser")[0]),
        "value": value,
    }
    if token:
        content["@odata.nextLink"] = (
            f"{_root(request)}{spoken(_path(request))}?{query.next_page(said, token)}"
        )
    return Response(content, media_type=_JSON)


def _one(
    request: Asking,
    shape: Shape,
    row: Row,
    *,
    status: int = HTTP_200_OK,
    expanded: Mapping[str, Query] | None = None,
) -> Answer:
    said = read_once(request.url.query)
    wanted = query.parse(said, shape, allowed=("$select", "$expand"), expanded=expanded)
    path = _path(request) if status == HTTP_201_CREATED else _path(request).rpartition("/")[0] or "/users"
    context = {"@odata.context": f"{_context(request, path)}/$entity"}
    return Response({**context, **wanted.project(row)}, status_code=status, media_type=_JSON)


def _context(request: Asking, path: str) -> str:
    return f"{_root(request)}/$metadata#{path[1:]}"


def _root(request: Asking) -> str:
    return f"{request.url.scheme}://{request.url.netloc}{PREFIX}"
