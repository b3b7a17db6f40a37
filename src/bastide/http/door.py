"""The door in front of every route. Nothing of a handler runs, and no body is read, before the caller is through:

(1) Headers are not larger than an honest caller's.
(2) A browser does not send this on behalf of another site (Fetch Metadata, Origin, and Referer for those that send neither).
(3) A body is JSON: forms of other sites cannot be. Only a route that says so takes forms too, and then (2) alone keeps those out.
(4) The caller is known: a Kerberos ticket, a token of the OIDC issuer, or the token of a session. Only a route that says so takes the token from the cookie, and a write
    with the cookie names the page that it comes from: a browser sends a cookie whoever asks it to.
(5) The caller has the right that the route names, or will have it with the code that came with the call, or that is in the form.
(6) A code that is shown with the call is proved, once: for this call, and for the session it came in.
"""

import base64
import binascii
from collections.abc import Collection, Iterable
from typing import Any
from urllib.parse import urlsplit

from litestar.concurrency import sync_to_thread
from litestar.connection import ASGIConnection
from litestar.exceptions import ImproperlyConfiguredException
from litestar.handlers import BaseRouteHandler, HTTPRouteHandler

from bastide.domain.errors import NotAuthenticated
from bastide.domain.people import Actor, Right, require
from bastide.http.problems import CrossSite, HeadersTooLarge, Malformed, WrongMediaType
from bastide.wiring import Services

Connection = ASGIConnection[Any, Any, Any, Any]

CODE_HEADER = "bastide-code"
KEY_HEADER = "idempotency-key"
FORM = "application/x-www-form-urlencoded"
#: A ticket of somebody in very many groups: MaxTokenSize of Windows is 48,000 bytes, in Base64.
_AUTHORIZATION_LIMIT = 65_536
_OTHERS_LIMIT = 16_384
_HEADERS_LIMIT = 100
_CODE_LIMIT = 64
_SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
_SAME_SITE = frozenset({"same-origin", "none"})
#: Where the scope of one call keeps what is ours: never in `state`, which a server may share between calls.
OURS = "bastide"
#: The answer token of a Kerberos exchange, for the caller to check who answers.
MUTUAL = "mutual"
#: The name of who calls, as soon as it is known.
CALLER = "caller"
#: The token of the session that the call came in.
SESSION = "session"
#: The prefix makes a browser refuse it from another host, over plain HTTP and for a part of the paths only (RFC 6265bis 4.1.3.2).
COOKIE = "__Host-bastide"


def ours(scope: Any) -> dict[str, Any]:
    """What we keep for one call."""
    kept: dict[str, Any] = scope[OURS]
    return kept


def needs(
    right: Right,
    also: Right | None = None,
    *,
    forms: bool = False,
    cookie: bool = False,
    code_in_form: bool = False,
) -> dict[str, Any]:
    """Options of a route: the right it asks for. `also`: who may read everything may read this too. `forms`: a body may be a form.
    `cookie`: the session may come in the cookie. `code_in_form`: a right that only a code is missing for is asked for by the handler.
    """
    return {"right": right, "also": also, "forms": forms, "cookie": cookie, "code_in_form": code_in_form}


def open_to_all(*, forms: bool = False) -> dict[str, Any]:
    """Options of a route that nobody needs to sign in for."""
    return {"right": None, "forms": forms}


class Door:
    """One per app."""

    def __init__(self, services: Services, origins: Collection[str]) -> None:
        self._services = services
        self._origins = frozenset(origins)

    async def admit(self, connection: Connection, handler: BaseRouteHandler) -> None:
        """Let a call through as its caller. Raises what problems.py knows."""
        _check_size(connection)  # (1)
        method = str(connection.scope.get("method"))
        if method == "OPTIONS":
            return
        if method not in _SAFE:
            self._check_site(connection)  # (2)
            _check_media_type(connection, forms=handler.opt.get("forms", False))  # (3)
        if handler.opt["right"] is None:
            return
        connection.scope["user"] = await sync_to_thread(self._caller, connection, handler)

    def _caller(self, connection: Connection, handler: BaseRouteHandler) -> Actor:
        actor = self._authenticate(connection, handler)  # (4)
        ours(connection.scope)[CALLER] = actor.name  # also of who is refused below
        code, also = code_of(connection), handler.opt["also"]
        held = actor.rights | actor.withheld
        right = also if also in held else handler.opt["right"]
        later = bool(code) or handler.opt.get("code_in_form", False)
        if not later or right not in held:
            require(actor, right)  # (5)
        if code:
            actor = self._prove(connection, actor, code)  # (6)
        return actor

    def _prove(self, connection: Connection, actor: Actor, code: str) -> Actor:
        proof = self._services.factors.prove(actor, code)
        token = session_of(connection)
        if token:
            self._services.authn.keep_proof(token, proof)
        return actor.proved(proof)

    def _authenticate(self, connection: Connection, handler: BaseRouteHandler) -> Actor:
        scheme, credential = credentials(connection)
        if scheme == "bearer":
            return self._bearer(connection, credential)
        token = connection.cookies.get(COOKIE, "") if handler.opt.get("cookie", False) else ""
        if token:
            _check_sender(connection)
            try:
                return self._session(connection, token)
            except NotAuthenticated:
                if scheme != "negotiate":
                    raise
        return self._ticket(connection, scheme, credential)

    def _bearer(self, connection: Connection, token: str) -> Actor:
        """A token of an issuer has dots in it, that of a session has none."""
        if "." in token:
            return self._services.authn.issued(token)
        return self._session(connection, token)

    def _session(self, connection: Connection, token: str) -> Actor:
        actor = self._services.authn.session(token)
        ours(connection.scope)[SESSION] = token
        return actor

    def _ticket(self, connection: Connection, scheme: str, credential: str) -> Actor:
        if scheme != "negotiate":
            raise NotAuthenticated(
                "nobody is signed in", remedy="sign in with a Kerberos ticket, or open a session"
            )
        try:
            token = base64.b64decode(credential, validate=True)
        except (binascii.Error, ValueError):
            raise NotAuthenticated(
                "the sign-in was not accepted", remedy="send a SPNEGO token in Base64"
            ) from None
        actor, answer = self._services.authn.negotiate(token)
        ours(connection.scope)[MUTUAL] = base64.b64encode(answer).decode()
        return actor

    def _check_site(self, connection: Connection) -> None:
        """What is no browser sends neither header. `same-site` is another host of the domain, so it is as foreign as any."""
        origin = connection.headers.get("origin", "")
        if origin in self._origins:
            return
        site = connection.headers.get("sec-fetch-site", "").lower()
        sender = origin or ("" if site else connection.headers.get("referer", ""))
        own = not sender or _origin(sender) == f"https://{connection.headers.get('host', '')}"
        if (site and site not in _SAME_SITE) or not own:
            raise CrossSite(
                "another web site sent this call", remedy="name its exact origin in [http] origins if it may"
            )


def _origin(address: str) -> str:
    """Of an address. Ours is https: on plain http anybody on the way could be its author."""
    try:
        parts = urlsplit(address)
    except ValueError:
        return ""
    return f"{parts.scheme}://{parts.netloc}"


def credentials(connection: Connection) -> tuple[str, str]:
    """Scheme in lower case, and what follows it."""
    scheme, _, credential = connection.headers.get("authorization", "").partition(" ")
    return scheme.lower(), credential.strip()


def session_of(connection: Connection) -> str:
    """The token of the session that the call came in; empty: it came with a ticket."""
    return str(ours(connection.scope).get(SESSION, ""))


def code_of(connection: Connection) -> str:
    """The second factor that came with the call, if any. Raises Malformed."""
    code = connection.headers.get(CODE_HEADER, "").strip()
    if len(code) > _CODE_LIMIT:
        raise Malformed("a code is never that long")
    return code


def key_of(connection: Connection) -> str:
    """The key by which a call has its effect once (domain/once.py); empty: it has none. Clients may write it as a string of RFC 9651, in quotes."""
    said = connection.headers.get(KEY_HEADER, "").strip()
    return said[1:-1] if len(said) > 1 and said[0] == said[-1] == '"' else said


def check_routes(handlers: Iterable[BaseRouteHandler]) -> None:
    """Every route names one right, or says that it is open. Raises ImproperlyConfiguredException: deny by default, at the start."""
    for handler in handlers:
        if isinstance(handler, HTTPRouteHandler) and handler.http_methods == {"OPTIONS"}:
            continue
        if "right" not in handler.opt:
            raise ImproperlyConfiguredException(f"{handler.handler_name} names no right: see http/door.py")


def _check_size(connection: Connection) -> None:
    raw = list(connection.scope["headers"])
    total = sum(len(name) + len(value) for name, value in raw if name != b"authorization")
    tickets = [len(value) for name, value in raw if name == b"authorization"]
    if len(raw) > _HEADERS_LIMIT or total > _OTHERS_LIMIT or sum(tickets) > _AUTHORIZATION_LIMIT:
        raise HeadersTooLarge("the headers are too large")
    if len(tickets) > 1:
        raise Malformed("a call has one Authorization header")
    if "\0" in connection.scope["path"] or b"%00" in connection.scope["query_string"]:
        raise Malformed("an address holds no NUL")


def _check_sender(connection: Connection) -> None:
    """A write with the cookie comes from a page, and browsers say which: (2) has looked at what they say. Raises CrossSite."""
    said = any(connection.headers.get(name) for name in ("origin", "sec-fetch-site", "referer"))
    if not said and connection.scope.get("method") not in _SAFE:
        raise CrossSite(
            "a write with a cookie must say where it comes from",
            remedy="send Origin, or the session's token as Authorization: Bearer",
        )


def _check_media_type(connection: Connection, *, forms: bool) -> None:
    empty = (
        connection.headers.get("content-length", "0") == "0" and "transfer-encoding" not in connection.headers
    )
    media_type = connection.headers.get("content-type", "").partition(";")[0].strip().lower()
    taken = {"application/json", FORM} if forms else {"application/json"}
    if (media_type or not empty) and media_type not in taken:
        raise WrongMediaType("a body must be JSON", remedy="send Content-Type: application/json")
