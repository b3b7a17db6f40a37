"""Errors as pages: the words of problems.py, and for who is not known the page to sign in on."""

from collections.abc import Mapping
from typing import Any

from litestar import Request, Response

from bastide.http.problems import answer_of
from bastide.portal import pages
from bastide.portal.addresses import EVENTS, SIGN_IN, onward

_SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
_UNKNOWN = 401
#: What no browser answers by itself: asked for a ticket it would send the form a second time, or take a stream up in no session.
_NO_TICKET = "Bastide-Session"


def respond(
    request: Request[Any, Any, Any], error: Exception, fields: Mapping[str, str] | None = None
) -> Response[bytes]:
    """The error answer of a page. `fields`: what was typed on the page to sign in on."""
    problem, headers = answer_of(request, error)
    path, sent = request.scope["path"], request.method not in _SAFE
    unknown = problem.status == _UNKNOWN
    if unknown and (sent or path.startswith(EVENTS)):
        headers = {**headers, "WWW-Authenticate": _NO_TICKET}
    content = pages.render(
        "signin.html" if unknown or path == SIGN_IN else "error.html",
        {
            **pages.NOBODY,
            "error": None if unknown and not sent else problem,
            "fields": fields or {},
            "resets": request.app.state["services"].reset is not None,
            "onward": onward((fields or {}).get("onward", path)),
        },
    )
    return Response(content, status_code=problem.status, media_type=pages.HTML, headers=dict(headers))
