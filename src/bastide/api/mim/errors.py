"""Errors as OData 3 JSON has them (OData JSON format 3, 19): what clients of MIM read is `odata.error.message.value`."""

from typing import Any

from litestar import Response

from bastide.http.problems import Problem

#: MIM's API documents neither: what a value is wrong in is a bad request there.
_STATUS = {422: 400, 501: 500, 502: 503}


def respond(problem: Problem, headers: dict[str, str]) -> Response[dict[str, Any]]:
    """The error answer of this dialect."""
    words = [problem.detail, problem.remedy, problem.incident and f"incident {problem.incident}"]
    field = f"{problem.field}: " if problem.field and not problem.detail.startswith(problem.field) else ""
    value = field + "; ".join(word for word in words if word)
    error = {"code": problem.code, "message": {"lang": "en-US", "value": value}}
    return Response(
        {"odata.error": error},
        status_code=_STATUS.get(problem.status, problem.status),
        media_type="application/json; charset=utf-8",
        headers={**headers, "DataServiceVersion": "3.0"},
    )
