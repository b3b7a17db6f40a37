"""Connector space, metaverse and joins. An object is named by its id or its anchor, in a query: anchors hold what a path does not take."""

from typing import Annotated

from litestar import Response, delete, get, post, put
from litestar.params import FromPath, JSONBody, QueryParameter

from bastide.api.native import sync_inputs as inputs
from bastide.api.native import sync_render as render
from bastide.api.native import sync_views as views
from bastide.api.native.given import Text
from bastide.domain.people import Right
from bastide.http.door import needs
from bastide.http.handed import Caller, UseCases
from bastide.services.passwords.spaces import SEARCH_LIMIT

TAGS = ["connector space and metaverse"]
_READ = needs(Right.ADMINISTER, also=Right.AUDIT)
_CHANGE = needs(Right.ADMINISTER)
Limit = Annotated[int, QueryParameter(ge=1, le=SEARCH_LIMIT)]
Object = Annotated[str, QueryParameter(min_length=1, max_length=4096, description="Id or anchor.")]
Apart = Annotated[bool, QueryParameter(description="No rule joins the object again.")]
Agent = Annotated[str, QueryParameter(max_length=256, description="Name or id of its agent.")]


@get("/connector-space", opt=_READ, sync_to_thread=True, tags=TAGS, summary="Search the connector space")
def search_objects(
    actor: Caller, services: UseCases, text: Text = "", agent: Agent = "", link: Text = "", limit: Limit = 100
) -> views.Objects:
    """By a part of DN, anchor or value; by agent; by link."""
    found = services.spaces.search(actor, agent=agent, text=text, link=link, limit=limit)
    return views.Objects(items=[render.seen(one) for one in found])


@get("/connector-space/object", opt=_READ, sync_to_thread=True, tags=TAGS, summary="One object")
def show_object(name: Object, actor: Caller, services: UseCases, agent: Agent = "") -> views.ObjectView:
    """As its system showed it last, and what it is joined with."""
    return render.seen(services.spaces.show(actor, name, agent=agent))


@get("/metaverse", opt=_READ, sync_to_thread=True, tags=TAGS, summary="Search the metaverse")
def search_people(actor: Caller, services: UseCases, text: Text = "", limit: Limit = 100) -> views.People:
    """By a part of a value."""
    found = services.spaces.search_people(actor, text=text, limit=limit)
    return views.People(items=[render.found(one) for one in found])


@get("/metaverse/{id:str}", opt=_READ, sync_to_thread=True, tags=TAGS, summary="One person")
def show_person(id: FromPath[str], actor: Caller, services: UseCases) -> views.PersonView:  # noqa: A002  # the path's word
    """With what is connected, and where each attribute came from."""
    return render.person(services.spaces.show_person(actor, id))


@post("/metaverse", opt=_CHANGE, sync_to_thread=True, tags=TAGS, summary="Project an object by hand")
def project(
    data: JSONBody[inputs.ProjectIn], actor: Caller, services: UseCases
) -> Response[views.ObjectView]:
    """Makes an MV object of it."""
    done = services.spaces.project(actor, data.object, agent=data.agent, type=data.type)
    location = f"/api/v1/metaverse/{done.object.mv}"
    return Response(render.seen(done), status_code=201, headers={"Location": location})


@get("/joins", opt=_READ, sync_to_thread=True, tags=TAGS, summary="Explain a join")
def explain(name: Object, actor: Caller, services: UseCases, agent: Agent = "") -> views.ExplanationView:
    """Each rule: what it looks for, what it finds, why it fits or not."""
    return render.explanation(services.spaces.explain(actor, name, agent=agent))


@put("/joins", opt=_CHANGE, sync_to_thread=True, tags=TAGS, summary="Join by hand")
def set_join(data: JSONBody[inputs.JoinIn], actor: Caller, services: UseCases) -> views.ObjectView:
    """Rules do not undo it."""
    return render.seen(services.spaces.join(actor, data.object, data.person, agent=data.agent))


@delete("/joins", opt=_CHANGE, sync_to_thread=True, status_code=200, tags=TAGS, summary="Take a join away")
def remove_join(
    name: Object, actor: Caller, services: UseCases, agent: Agent = "", apart: Apart = False
) -> views.ObjectView:
    """`apart`: no rule joins the object again."""
    return render.seen(services.spaces.disjoin(actor, name, agent=agent, apart=apart))


HANDLERS = [
    search_objects, show_object, search_people, show_person, project, explain, set_join, remove_join,
]  # fmt: skip
