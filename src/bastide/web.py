"""The web application of one node: all ways in behind one door."""

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from litestar import Litestar, Request, Response
from litestar.config.cors import CORSConfig
from litestar.di import Provide
from litestar.handlers import BaseRouteHandler
from litestar.plugins import PluginProtocol
from litestar.plugins.core import MsgspecDIPlugin
from litestar.types import Message, Send

from bastide.api.graph import addresses as graph_addresses
from bastide.api.graph import errors as graph_errors
from bastide.api.graph import routes as graph
from bastide.api.mim import addresses as mim_addresses
from bastide.api.mim import errors as mim_errors
from bastide.api.mim import routes as mim
from bastide.api.native.document import config
from bastide.api.native.routes import router
from bastide.domain.people import Actor
from bastide.http.answers import DIALECT, INSTEAD, STARTED, finisher
from bastide.http.bodies import StrictRequest
from bastide.http.calls import METHODS, Calls
from bastide.http.door import CODE_HEADER, KEY_HEADER, OURS, Connection, Door, check_routes
from bastide.http.problems import respond
from bastide.http.throttle import Throttle
from bastide.portal import addresses as portal_addresses
from bastide.portal import errors as portal_errors
from bastide.portal import routes as portal
from bastide.portal.live import Live
from bastide.services.tracing import Span
from bastide.wiring import Services

BODY_LIMIT = 64 * 1024
#: As OpenTelemetry calls a method that a caller made up: what callers type is in no span.
_MADE_UP = "_OTHER"
#: What handlers name, and get as `hand_over` made it.
_HANDED = ("services", "throttle", "calls", "live")


def _as_it_is(path: str) -> str:
    return path


@dataclass(frozen=True, slots=True)
class Dialect:
    """Which addresses are a dialect's own, how it says an error, how its addresses are written on its routes, and what its answers have in the
    place of answers.HEADERS.
    """

    name: str
    is_ours: Callable[[str], bool]
    respond: Callable[[Request[Any, Any, Any], Exception], Response[Any]]
    plain: Callable[[str], str] = _as_it_is
    headers: Mapping[str, str] = field(default_factory=dict)


#: The first whose address it is answers; what is nobody's is the native API's.
DIALECTS = (
    Dialect("mim", mim_addresses.is_ours, mim_errors.respond, plain=mim_addresses.plain),
    Dialect("graph", graph_addresses.is_ours, graph_errors.respond, plain=graph_addresses.plain),
    Dialect("portal", portal_addresses.is_ours, portal_errors.respond, headers=portal_addresses.HEADERS),
    Dialect("native", lambda _: True, respond),
)


class Api(Litestar):
    """Answers HEAD as GET without the body (RFC 9110 9.3.2), for every route."""

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        method = ""
        if scope["type"] == "http":
            dialect = _dialect(scope["path"])
            scope["path"] = dialect.plain(scope["path"])
            scope["headers"] = _one_cookie_field(scope["headers"])
            scope[OURS] = {STARTED: self.now(), DIALECT: dialect.name, INSTEAD: dialect.headers}
            method = scope["method"]
            if method == "HEAD":
                scope, send = {**scope, "method": "GET"}, _without_body(send)
        services: Services = self.state["services"]
        if not method or (spans := services.tracer.spans) is None:
            await super().__call__(scope, receive, send)
            return
        known = method if method in METHODS else _MADE_UP
        with spans.span(known, {"http.request.method": known}) as span:
            await super().__call__(scope, receive, _told(send, scope, known, span))

    @staticmethod
    def _get_default_plugins(plugins: list[PluginProtocol]) -> list[PluginProtocol]:
        """Bodies are msgspec's alone (http/bodies.py). Litestar's own list loads pydantic and attrs wherever they are installed, and typer brings
        pydantic: 12 MiB of every server (measured). There is no public switch.
        """
        return [*plugins, MsgspecDIPlugin()]

    def hand_over(self, services: Services, *, origins: Collection[str] = ()) -> None:
        """All that belongs to a node, and not to the routes: these use cases, and what is kept of the calls to them."""
        calls = Calls()
        self.state["services"] = services
        self.state["throttle"] = Throttle(services.clock.now)
        self.state["calls"] = calls
        self.state["live"] = Live(services)
        self.state["door"] = Door(services, origins)
        self.state["finish"] = finisher(services.clock, calls, bearer=services.authn.takes_issued)

    def now(self) -> float:
        """Seconds that only grow."""
        services: Services = self.state["services"]
        return services.clock.monotonic()

    def hang_up(self) -> None:
        """Before the server stops, which waits for all answers: those without an end are told to end."""
        live: Live = self.state["live"]
        live.end()


def create_app(services: Services, *, origins: Collection[str] = (), body_limit: int = BODY_LIMIT) -> Api:
    """The app over these use cases. `origins`: exact origins of browsers, other than its own, that may call."""
    app = Api(
        route_handlers=[router(), mim.router(), graph.router(), portal.router()],
        dependencies={"actor": Provide(_caller, sync_to_thread=False)}
        | {name: Provide(_handed(name), sync_to_thread=False) for name in _HANDED},
        guards=[_admit],
        before_send=[_finish],
        exception_handlers={Exception: _respond},
        request_class=StrictRequest,
        request_max_body_size=body_limit,
        cors_config=_cors(origins) if origins else None,
        openapi_config=config(),
        logging_config=None,
        on_shutdown=[_close],
    )
    app.hand_over(services, origins=origins)
    check_routes(handler for route in app.routes for handler in getattr(route, "route_handlers", ()))
    return app


def _handed(name: str) -> Callable[[Request[Any, Any, Any]], Any]:
    def provide(request: Request[Any, Any, Any]) -> Any:
        return request.app.state[name]

    return provide


async def _admit(connection: Connection, handler: BaseRouteHandler) -> None:
    await connection.app.state["door"].admit(connection, handler)


async def _finish(message: Message, scope: Any) -> None:
    await scope["litestar_app"].state["finish"](message, scope)


def _close(app: Litestar) -> None:
    app.state["live"].close()


def _respond(request: Request[Any, Any, Any], error: Exception) -> Response[Any]:
    """In the dialect of the call."""
    return _dialect(request.scope["path"]).respond(request, error)


def _dialect(path: str) -> Dialect:
    return next(one for one in DIALECTS if one.is_ours(path))


def _caller(request: Request[Actor, Any, Any]) -> Actor:
    return request.user


def _cors(origins: Collection[str]) -> CORSConfig:
    return CORSConfig(
        allow_origins=list(origins),
        allow_methods=["GET", "POST", "PUT", "PATCH", "DELETE"],
        allow_headers=["Authorization", "Content-Type", CODE_HEADER, KEY_HEADER],
        allow_credentials=True,
        max_age=600,
    )


def _one_cookie_field(headers: Iterable[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    """HTTP/2 lets a browser send each cookie in a field of its own, and whoever hands them on joins them (RFC 9113 8.2.3). granian does not, and Litestar reads the first."""
    kept = list(headers)
    cookies = [value for name, value in kept if name == b"cookie"]
    if len(cookies) > 1:
        kept = [(name, value) for name, value in kept if name != b"cookie"]
        kept.append((b"cookie", b"; ".join(cookies)))
    return kept


def _told(send: Send, scope: Any, method: str, span: Span) -> Send:
    """The span is of a route, not of an address: an address may hold anything that a caller typed."""

    async def told(message: Message) -> None:
        if message["type"] == "http.response.start":
            route = scope.get("path_template") or "none"
            span.call(f"{method} {route}")
            span.say({"http.route": route, "http.response.status_code": message["status"]})
        await send(message)

    return told


def _without_body(send: Send) -> Send:
    async def send_head(message: Message) -> None:
        if message["type"] == "http.response.body":
            message["body"] = b""
        await send(message)

    return send_head
