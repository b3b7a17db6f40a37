"""The routes of /api/pamresources: MIM's resources over the same use cases as the native API. Their addresses are those of addresses.plain."""

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

from litestar import Request as Call
from litestar import Response, Router, get, post
from litestar.connection import ASGIConnection
from litestar.handlers import BaseRouteHandler
from litestar.params import FromPath, RawBody

from bastide.api.mim import given, odata, rows
from bastide.api.mim.addresses import PREFIX
from bastide.domain.errors import InvalidInput
from bastide.domain.people import Actor, Right
from bastide.domain.policy import Draft
from bastide.domain.requests import Decision, Place, Request
from bastide.http.door import key_of, needs
from bastide.http.fields import read
from bastide.http.handed import Caller, UseCases
from bastide.services.requests import HISTORY_LIMIT
from bastide.wiring import Services

_JSON = "application/json; charset=utf-8"
_USE = needs(Right.USE, forms=True, cookie=True)
_APPROVE = needs(Right.APPROVE, forms=True, cookie=True)
_VERSIONS = {"", "1"}


@get("/pamroles", opt=_USE, sync_to_thread=True)
def list_roles(actor: Caller, services: UseCases, request: Call[Any, Any, Any]) -> Response[dict[str, Any]]:
    """The roles that the caller is a candidate of."""
    wanted = _filter(request, rows.ROLE)
    found = (rows.role(one) for one in services.requests.offers(actor))
    return _answer(request, "pamroles", rows.chosen(found, wanted))


@get("/pamrequests", opt=_USE, sync_to_thread=True)
def list_requests(
    actor: Caller, services: UseCases, request: Call[Any, Any, Any]
) -> Response[dict[str, Any]]:
    """The caller's own requests, newest first."""
    wanted = _filter(request, rows.REQUEST)
    since = wanted.earliest("CreationTime")
    found = (rows.request(one) for one in _history(services, actor, since))
    return _answer(request, "pamrequests", rows.chosen(found, wanted))


@post("/pamrequests", opt=_USE, sync_to_thread=True)
def submit_request(
    actor: Caller, services: UseCases, request: Call[Any, Any, Any], body: RawBody
) -> Response[dict[str, Any]]:
    """Ask for a role; or, for no seconds at all, give it back."""
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    asked = given.asked(request.url.query, media_type, body, _of_this_server)
    if asked.ttl:
        draft = Draft(
            ttl=asked.ttl,
            start_at=asked.start_at,
            justification=asked.justification,
            method=rows.METHOD,
            key=key_of(request),
        )
        made = rows.request(services.requests.submit(actor, asked.role, draft))
    else:
        ended = services.requests.give_back(actor, asked.role, asked.justification)
        made = {**rows.request(ended), "RequestedTTL": "0"}
    said = {"odata.metadata": f"{_metadata(request)}#pamrequests/@Element", **rows.written(made)}
    return Response(said, status_code=201, media_type=_JSON)


@post("/pamrequests/{key:str}/close", opt=_USE, sync_to_thread=True, status_code=200)
def close_request(key: FromPath[str], actor: Caller, services: UseCases) -> Response[bytes]:
    """Ends active access, or withdraws what is not active yet."""
    services.requests.close(actor, key)
    return _nothing()


@get("/pamrequeststoapprove", opt=_APPROVE, sync_to_thread=True)
def list_approvals(
    actor: Caller, services: UseCases, request: Call[Any, Any, Any]
) -> Response[dict[str, Any]]:
    """Requests that wait for the caller's decision, oldest first."""
    wanted = _filter(request, rows.APPROVAL)
    found = (rows.approval(one) for one in services.requests.to_approve(actor))
    return _answer(request, "pamrequeststoapprove", rows.chosen(found, wanted))


@post("/pamrequeststoapprove/{key:str}/approve", opt=_APPROVE, sync_to_thread=True, status_code=200)
def approve_request(
    key: FromPath[str], actor: Caller, services: UseCases, request: Call[Any, Any, Any]
) -> Response[bytes]:
    """Needs a fresh second factor, as everywhere."""
    services.requests.decide(actor, key, Decision.APPROVE, key=key_of(request))
    return _nothing()


@post("/pamrequeststoapprove/{key:str}/reject", opt=_APPROVE, sync_to_thread=True, status_code=200)
def reject_request(
    key: FromPath[str], actor: Caller, services: UseCases, request: Call[Any, Any, Any]
) -> Response[bytes]:
    """Needs a fresh second factor, as everywhere. MIM has no place for a reason."""
    services.requests.decide(actor, key, Decision.REJECT, f"rejected ({rows.METHOD})", key=key_of(request))
    return _nothing()


@get("/sessioninfo", opt=_USE, sync_to_thread=True)
def show_session(actor: Caller, request: Call[Any, Any, Any]) -> Response[dict[str, Any]]:
    """Who the caller is: an array of one."""
    return _answer(request, "sessioninfo", [{"Username": actor.name}])


def router() -> Router:
    """MIM's dialect."""
    handlers = [
        list_roles, list_requests, submit_request, close_request, list_approvals, approve_request, reject_request,
        show_session,
    ]  # fmt: skip
    return Router(PREFIX, route_handlers=handlers, guards=[_known_version], include_in_schema=False)


def _known_version(connection: ASGIConnection[Any, Any, Any, Any], _: BaseRouteHandler) -> None:
    """The only version is 1. Raises InvalidInput."""
    if connection.query_params.get("v", "") not in _VERSIONS:
        raise InvalidInput("v", "there is no such version of this API", remedy="leave v out, or say v=1")


def _filter(request: Call[Any, Any, Any], properties: Mapping[str, type]) -> odata.Filter:
    """A system query option that is not known is refused: ignored, it would answer a question that was not asked. Raises InvalidInput, Malformed."""
    said = dict(read(request.url.query))
    for name in said.keys() - given.COMMON - {odata.FIELD}:
        raise InvalidInput(name[:80], "is not known here", remedy=f"there are {odata.FIELD} and v")
    return odata.parse(said.get(odata.FIELD, ""), properties)


def _history(services: Services, actor: Actor, since: datetime) -> Iterator[Request]:
    before: Place | None = None
    while True:
        page = services.requests.mine(actor, limit=HISTORY_LIMIT, before=before)
        for one in page:
            if one.created_at < since:
                return
            yield one
        if len(page) < HISTORY_LIMIT:
            return
        before = Place(page[-1].created_at, page[-1].id)


def _of_this_server(at: datetime) -> datetime:
    """A time without a zone is one of the zone that this machine is set to, as in MIM."""
    return at.astimezone().astimezone(UTC)


def _answer(
    request: Call[Any, Any, Any], resource: str, value: list[dict[str, Any]]
) -> Response[dict[str, Any]]:
    content = {"odata.metadata": f"{_metadata(request)}#{resource}", "value": value}
    return Response(content, media_type=_JSON, headers={"DataServiceVersion": "3.0"})


def _metadata(request: Call[Any, Any, Any]) -> str:
    return f"{request.url.scheme}://{request.url.netloc}{PREFIX}/$metadata"


def _nothing() -> Response[bytes]:
    """Not JSON: jQuery takes an empty text of that type for an error."""
    return Response(b"", media_type="text/plain; charset=utf-8")
