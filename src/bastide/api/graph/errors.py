"""Errors as Graph has them: `{"error": {"code", "message", "innerError"}}`. Scripts match on the code, and on words of the message."""

import logging
import re
import uuid
from typing import Any

from litestar import Request, Response

from bastide.domain.errors import Refused
from bastide.http.problems import answer_of

_log = logging.getLogger(__name__)
POLICY = "RoleAssignmentRequestPolicyValidationFailed"
EXISTS = "RoleAssignmentExists"
ABSENT = "RoleAssignmentDoesNotExist"
SCHEDULE = "InvalidRoleAssignmentRequestSchedule"
PENDING = "PendingRoleAssignmentRequest"
BAD = "BadRequest"
DENIED = "Authorization_RequestDenied"
#: Graph has no such status.
_STATUS = {422: 400}
_CODES = {
    400: BAD, 401: "InvalidAuthenticationToken", 403: DENIED, 404: "ResourceNotFound", 405: "MethodNotAllowed",
    409: "Conflict", 413: "RequestEntityTooLarge", 415: "UnsupportedMediaType", 429: "TooManyRequests",
    431: "RequestHeaderFieldsTooLarge", 501: "NotImplemented", 502: "BadGateway", 503: "ServiceUnavailable",
}  # fmt: skip
_OWN_ID = re.compile(r"[0-9A-Za-z-]{1,64}", re.ASCII)


class GraphRefused(Refused):
    """A refusal for which Graph has a code of its own."""

    def __init__(self, graph_code: str, message: str, *, status: int = 400, remedy: str = "") -> None:
        super().__init__(message, remedy=remedy)
        self.graph_code = graph_code
        self.status = status


def rule_failed(rule: str, why: str = "", remedy: str = "") -> GraphRefused:
    """A rule of the policy says no. The first sentence is Graph's: scripts read the rule out of it."""
    said = f'The following policy rules failed: ["{rule}"]'
    return GraphRefused(POLICY, f"{said}: {why}" if why else said, remedy=remedy)


def respond(request: Request[Any, Any, Any], error: Exception) -> Response[dict[str, Any]]:
    """The error answer of this dialect. `request-id` is in the log too; for a defect it is the incident's."""
    problem, headers = answer_of(request, error)
    status = error.status if isinstance(error, GraphRefused) else _STATUS.get(problem.status, problem.status)
    code = error.graph_code if isinstance(error, GraphRefused) else _CODES.get(status, "InternalServerError")
    request_id = problem.incident or str(uuid.uuid4())
    theirs = request.headers.get("client-request-id", "")
    inner = {
        "date": f"{request.app.state['services'].clock.now():%Y-%m-%dT%H:%M:%S}",
        "request-id": request_id,
        "client-request-id": theirs if _OWN_ID.fullmatch(theirs) else request_id,
    }
    _log.info("request-id %s: %s %s", request_id, status, code)
    return Response(
        {"error": {"code": code, "message": problem.sentence(), "innerError": inner}},
        status_code=status,
        media_type="application/json; charset=utf-8",
        headers={**headers, "request-id": request_id},
    )
