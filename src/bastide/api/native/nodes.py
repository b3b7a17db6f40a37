"""The nodes on this database, and their service partitions."""

from litestar import delete, get, post
from litestar.params import FromPath, JSONBody

from bastide.api.native import node_views as views
from bastide.domain.people import Right
from bastide.http.door import needs
from bastide.http.handed import Caller, UseCases

TAGS = ["nodes"]
_RIGHT = needs(Right.ADMINISTER)


@get("/nodes", opt=_RIGHT, sync_to_thread=True, tags=TAGS, summary="The nodes")
def list_nodes(actor: Caller, services: UseCases) -> views.NodesView:
    """All nodes, idle and lost ones too; who has work and is not registered; and the partitions that have work and no living node."""
    return views.nodes(services.nodes.overview(actor))


@get("/nodes/{name:str}", opt=_RIGHT, sync_to_thread=True, tags=TAGS, summary="One node")
def show_node(name: FromPath[str], actor: Caller, services: UseCases) -> views.NodeView:
    """Its state is drained when it has nothing in hand any more; `others` are the living nodes of its partition that take work."""
    return views.node(services.nodes.show(actor, name))


@post(
    "/nodes/{name:str}/drain",
    opt=_RIGHT,
    sync_to_thread=True,
    status_code=200,
    tags=TAGS,
    summary="Drain a node",
)
def drain_node(name: FromPath[str], actor: Caller, services: UseCases) -> views.NodeView:
    """It finishes what it has and claims nothing new, until it is resumed. It goes on to answer; /health/ready says 503."""
    return views.node(services.nodes.drain(actor, name))


@post(
    "/nodes/{name:str}/resume",
    opt=_RIGHT,
    sync_to_thread=True,
    status_code=200,
    tags=TAGS,
    summary="Resume a node",
)
def resume_node(name: FromPath[str], actor: Caller, services: UseCases) -> views.NodeView:
    """It takes work again, at once."""
    return views.node(services.nodes.resume(actor, name))


@delete(
    "/nodes/{name:str}", opt=_RIGHT, sync_to_thread=True, status_code=204, tags=TAGS, summary="Forget a node"
)
def remove_node(name: FromPath[str], actor: Caller, services: UseCases) -> None:
    """One that is not alive, and whose partition has another node or no work."""
    services.nodes.remove(actor, name)


@post(
    "/partitions/{partition:str}/adopt",
    opt=_RIGHT,
    sync_to_thread=True,
    status_code=200,
    tags=TAGS,
    summary="Adopt a partition",
)
def adopt_partition(
    partition: FromPath[str], data: JSONBody[views.Adopt], actor: Caller, services: UseCases
) -> views.Adopted:
    """For nodes that are lost for good: their work goes to another partition. Refused while one of them is alive, or a lease runs."""
    rows = services.nodes.adopt(actor, partition, data.into)
    return views.Adopted(partition=partition, into=data.into, work=rows)


HANDLERS = [list_nodes, show_node, drain_node, resume_node, remove_node, adopt_partition]
