"""Who can reach which group by which role."""

from litestar import get

from bastide.api.native.given import Text
from bastide.api.native.views import View
from bastide.domain.people import Right
from bastide.http.door import needs
from bastide.http.handed import Caller, UseCases


class WayView(View, frozen=True, kw_only=True):
    """`nested`: the group opens because another one is in it. `why_not`: why the person could not ask now."""

    person: str
    role: str
    group: str
    protected: bool
    nested: bool
    why_not: str


class AccessGraphView(View, frozen=True, kw_only=True):
    """`notes`: what could not be found out."""

    ways: list[WayView]
    notes: list[str]


@get(
    "/access-graph",
    opt=needs(Right.ADMINISTER, also=Right.AUDIT),
    sync_to_thread=True,
    tags=["reports"],
    summary="Who can reach what",
)
def show_access_graph(
    actor: Caller, services: UseCases, person: Text = "", role: Text = "", group: Text = ""
) -> AccessGraphView:
    """Every way from a person by a role to a group, filtered by names."""
    found = services.oversight.access_graphs.graph(actor, person=person, role=role, group=group)
    return AccessGraphView(
        ways=[
            WayView(
                person=one.person,
                role=one.role,
                group=one.group,
                protected=one.protected,
                nested=one.nested,
                why_not=one.why_not,
            )
            for one in found.ways
        ],
        notes=list(found.notes),
    )


HANDLERS = [show_access_graph]
