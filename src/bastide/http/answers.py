"""What every answer has: security headers, the Kerberos answer token, a line in the access log. Also for answers nobody planned (404, 500)."""

import logging
from collections.abc import Awaitable, Callable
from typing import Any

from litestar.datastructures import MutableScopeHeaders
from litestar.types import Message

from bastide.clock import Clock
from bastide.http.calls import Calls
from bastide.http.door import CALLER, MUTUAL, ours

_log = logging.getLogger("bastide.http.access")
STARTED = "started"
#: In what we keep for one call: the name of the dialect that answers.
DIALECT = "dialect"
#: In what we keep for one call: headers that its answer has in the place of HEADERS.
INSTEAD = "instead"
HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Server": "bastide",
}
#: An answer is longer in the log than any path that exists.
_PATH_LIMIT = 200


#: RFC 6750 3, where an issuer's tokens are taken. Browsers know no such scheme, and take the one before it.
_BEARER = 'Bearer realm="Bastide"'


def finisher(clock: Clock, calls: Calls, *, bearer: bool) -> Callable[[Message, Any], Awaitable[None]]:
    """The hook that Litestar calls before it sends. `bearer`: tokens of an issuer are taken."""

    async def finish(message: Message, scope: Any) -> None:
        if message["type"] != "http.response.start" or scope["type"] != "http":
            return
        headers = MutableScopeHeaders(message)
        kept = ours(scope)
        for name, value in {**HEADERS, **kept.get(INSTEAD, {})}.items():
            headers[name] = value
        if bearer and headers.get("WWW-Authenticate") == "Negotiate":
            # A field of its own: Firefox before 97 reads one scheme of each.
            headers.add(
                "WWW-Authenticate", _BEARER + (', error="invalid_token"' if _sent_token(scope) else "")
            )
        if MUTUAL in kept:
            headers["WWW-Authenticate"] = f"Negotiate {kept[MUTUAL]}"
        taken = clock.monotonic() - kept[STARTED]
        calls.count(kept[DIALECT], scope["method"], message["status"], taken)
        _log.info(
            "%s %s %s %s %.3f s",
            scope["method"],
            ascii(scope["path"][:_PATH_LIMIT]),
            message["status"],
            ascii(kept.get(CALLER, "-")),
            taken,
        )

    return finish


def _sent_token(scope: Any) -> bool:
    return any(
        name == b"authorization" and value[:7].lower() == b"bearer " for name, value in scope["headers"]
    )
