"""For operators and load balancers: the work, health, and this API's own description."""

from typing import Any

from litestar import MediaType, Request, Response, get

from bastide.api.native import views
from bastide.api.native.document import describe
from bastide.domain.people import Right
from bastide.http.door import needs, open_to_all
from bastide.http.handed import Caller, UseCases

_HEALTH = ["health"]


@get("/work", opt=needs(Right.ADMINISTER), sync_to_thread=True, tags=["operations"], summary="Durable work")
def list_work(actor: Caller, services: UseCases) -> views.WorkView:  # noqa: ARG001  # the door has checked the caller
    """What the workers have to do, when, and what went wrong the last time."""
    with services.store.read() as uow:
        return views.WorkView(items=[dict(row) for row in uow.work.listing()])


@get(
    "/health/live",
    opt=open_to_all(),
    sync_to_thread=True,
    tags=_HEALTH,
    security=[{}],
    summary="The process answers",
)
def live() -> views.Health:
    """For a supervisor: restart the process if this does not answer."""
    return views.Health(status="live")


@get(
    "/health/ready",
    opt=open_to_all(),
    sync_to_thread=True,
    tags=_HEALTH,
    security=[{}],
    summary="The node can work",
)
def ready(services: UseCases) -> views.Health:
    """For a load balancer: 503 while the database does not answer, or the node is drained."""
    services.nodes.ready()
    return views.Health(status="ready")


@get("/openapi.json", opt=open_to_all(), sync_to_thread=True, include_in_schema=False)
def openapi(request: Request[Any, Any, Any]) -> Response[dict[str, Any]]:
    """This description."""
    return Response(describe(request.app.openapi_schema.to_schema()), media_type=MediaType.JSON)


HANDLERS = [list_work, live, ready, openapi]
