"""What every answer has: security headers, the Kerberos answer token, a line in the access log. Also for answers nobody planned (404, 500)."""

import logging
from collections.abc import Awaitable, Callable
from typing import Any

from litestar.datastructures import MutableScopeHeaders
from litestar.types import Message

from bastide.clock import Clock
from bastide.http.door import MUTUAL, ours

_log = logging.getLogger("bastide.http.access")
STARTED = "started"
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


def finisher(clock: Clock) -> Callable[[Message, Any], Awaitable[None]]:
    """The hook that Litestar calls before it sends."""

    async def finish(message: Message, scope: Any) -> None:
        if message["type"] != "http.response.start" or scope["type"] != "http":
            return
        headers = MutableScopeHeaders(message)
        kept = ours(scope)
        for name, value in {**HEADERS, **kept.get(INSTEAD, {})}.items():
            headers[name] = value
        if MUTUAL in kept:
            headers["WWW-Authenticate"] = f"Negotiate {kept[MUTUAL]}"
        taken = clock.monotonic() - kept[STARTED]
        _log.info(
            "%s %s %s %s %.3f s",
            scope["method"],
            ascii(scope["path"][:_PATH_LIMIT]),
            message["status"],
            ascii(getattr(scope.get("user"), "name", "-")),
            taken,
        )

    return finish
