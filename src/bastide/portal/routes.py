"""All routes of the portal. Each names exactly one right in its options (http/door.py), or that it is open."""

from typing import Any

from litestar import Request, Response, Router, get
from litestar.di import Provide
from litestar.params import FromPath

from bastide.domain.errors import NotFound
from bastide.http.answers import INSTEAD
from bastide.http.door import open_to_all, ours
from bastide.portal import (
    access,
    accounts,
    alerts,
    approvals,
    auditing,
    campaigns,
    factors,
    help_desk,
    live,
    monitoring,
    operations,
    proposals,
    registration,
    reset,
    resets,
    reviews,
    roles,
    sessions,
    sign_in,
)
from bastide.portal.addresses import STATIC, UNCHANGING
from bastide.portal.pages import FILES
from bastide.portal.visits import of_call


@get(f"{STATIC}/{{name:str}}", opt=open_to_all(), sync_to_thread=False)
def static(name: FromPath[str], request: Request[Any, Any, Any]) -> Response[bytes]:
    """A file whose name holds the hash of its content."""
    if name not in FILES:
        raise NotFound("no such file")
    file = FILES[name]
    packed = "gzip" in request.headers.get("accept-encoding", "")
    ours(request.scope)[INSTEAD] = UNCHANGING | ({"Content-Encoding": "gzip"} if packed else {})
    return Response(file.packed if packed else file.content, media_type=file.media_type)


def router() -> Router:
    """The portal."""
    own = (sign_in, access, approvals, reviews, factors, sessions, live, reset, registration, help_desk)
    rooms = (*own, roles, proposals, accounts, campaigns, operations, monitoring, alerts, auditing, resets)
    handlers = [*(handler for room in rooms for handler in room.HANDLERS), static]
    return Router(
        "/",
        route_handlers=handlers,
        dependencies={"visit": Provide(of_call, sync_to_thread=True)},
        include_in_schema=False,
    )
