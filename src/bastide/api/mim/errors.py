"""Errors as OData 3 JSON has them (OData JSON format 3, 19): what clients of MIM read is `odata.error.message.value`."""

from typing import Any

from litestar import Request, Response

from bastide.http.problems import answer_of

#: MIM's API documents neither: what a value is wrong in is a bad request there.
_STATUS = {422: 400, 501: 500, 502: 503}


def respond(request: Request[Any, Any, Any], error: Exception) -> Response[dict[str, Any]]:
    """The error answer of this dialect."""
    problem, headers = answer_of(request, error)
    said = {"code": problem.code, "message": {"lang": "en-US", "value": problem.sentence()}}
    return Response(
        {"odata.error": said},
        status_code=_STATUS.get(problem.status, problem.status),
        media_type="application/json; charset=utf-8",
        headers={**headers, "DataServiceVersion": "3.0"},
    )
