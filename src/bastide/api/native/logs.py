"""The logs of all nodes, and what is traced on them."""

from collections.abc import Iterator
from datetime import timedelta

import msgspec
from litestar import delete, get, post, put
from litestar.params import FromPath, JSONBody
from litestar.response import Stream

from bastide.api.native import log_views as views
from bastide.domain.journal import Line
from bastide.domain.people import Right
from bastide.http.door import needs
from bastide.http.handed import Caller, UseCases

TAGS = ["logs"]
_RIGHT = needs(Right.ADMINISTER)
#: Records in one piece of a stream.
_PIECE = 200


@post("/log-wishes", opt=_RIGHT, sync_to_thread=True, status_code=201, tags=TAGS, summary="Ask for logs")
def ask_for_logs(data: JSONBody[views.NewWish], actor: Caller, services: UseCases) -> views.WishView:
    """Each node answers when it next looks at the database, within its heartbeat. What is asked and answered lives for ten minutes at most."""
    return views.wish(services.logs.ask(actor, data.span(), data.nodes))


@get("/log-wishes/{wish:str}", opt=_RIGHT, sync_to_thread=True, tags=TAGS, summary="Who has answered")
def show_wish(wish: FromPath[str], actor: Caller, services: UseCases) -> views.WishView:
    """Every node that was asked, also one that is lost."""
    return views.wish(services.logs.look(actor, wish))


@get(
    "/log-wishes/{wish:str}/records",
    opt=_RIGHT,
    sync_to_thread=True,
    tags=TAGS,
    media_type="application/jsonl",
    summary="The records",
)
def list_log_records(wish: FromPath[str], actor: Caller, services: UseCases) -> Stream:
    """JSON Lines of all nodes that have answered, ordered by the time of their clocks: the node, and the record as it stands in its file."""
    return Stream(_pieces(services.logs.records(actor, wish)), media_type="application/jsonl")


def _pieces(lines: Iterator[Line]) -> Iterator[bytes]:
    encoder, waiting = msgspec.json.Encoder(), []
    for _, node, record in lines:
        waiting.append(views.RecordView(node=node, record=msgspec.Raw(record.encode())))
        if len(waiting) == _PIECE:
            yield encoder.encode_lines(waiting)
            waiting = []
    yield encoder.encode_lines(waiting)


@delete(
    "/log-wishes/{wish:str}", opt=_RIGHT, sync_to_thread=True, status_code=204, tags=TAGS, summary="Forget"
)
def discard_wish(wish: FromPath[str], actor: Caller, services: UseCases) -> None:
    """It was read, or nobody waits for it."""
    services.logs.discard(actor, wish)


@get("/traces", opt=_RIGHT, sync_to_thread=True, tags=TAGS, summary="What is traced")
def list_traces(actor: Caller, services: UseCases) -> views.TracesView:
    """What is traced now, until when, and what could be."""
    return views.traces(services.tracing.on(actor))


@put("/traces/{operation:str}", opt=_RIGHT, sync_to_thread=True, tags=TAGS, summary="Trace an operation")
def start_trace(
    operation: FromPath[str], data: JSONBody[views.NewTrace], actor: Caller, services: UseCases
) -> views.TraceView:
    """On all nodes, from their next look at the database on, until its end. One that is traced gets the new end."""
    return views.trace(services.tracing.switch_on(actor, operation, timedelta(seconds=data.seconds)))


@delete(
    "/traces/{operation:str}",
    opt=_RIGHT,
    sync_to_thread=True,
    status_code=204,
    tags=TAGS,
    summary="Stop a trace",
)
def stop_trace(operation: FromPath[str], actor: Caller, services: UseCases) -> None:
    """Before its end."""
    services.tracing.switch_off(actor, operation)


HANDLERS = [ask_for_logs, show_wish, list_log_records, discard_wish, list_traces, start_trace, stop_trace]
