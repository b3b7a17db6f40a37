"""The OpenAPI description: generated from the handlers, with the one error answer added to each of them."""

from typing import Any

from litestar.openapi.config import OpenAPIConfig
from litestar.openapi.spec import Components, Reference, SecurityScheme
from litestar.router import Router

from bastide.http.problems import MEDIA_TYPE

VERSION = "1"
_TEXT = {"type": "string"}
_PROBLEM = {
    "type": "object",
    "title": "Problem",
    "description": "RFC 9457. `code` is stable, and the end of `type`.",
    "required": ["type", "title", "status", "code", "detail"],
    "properties": {
        **dict.fromkeys(("type", "title", "code", "detail", "remedy", "field", "incident"), _TEXT),
        "status": {"type": "integer"},
    },
}


class _Nowhere(Router):
    """Litestar wants to serve pages of its own, with scripts from elsewhere; it may not."""

    def register(self, value: Any) -> list[Any]:  # noqa: ARG002
        return []


def config() -> OpenAPIConfig:
    """For Litestar."""
    schemes: dict[str, SecurityScheme | Reference] = {
        "kerberos": SecurityScheme(type="http", scheme="negotiate", description="SPNEGO (RFC 4559)."),
        "session": SecurityScheme(
            type="http",
            scheme="bearer",
            description="The token of POST /sessions or POST /tokens, or one of the OIDC issuer.",
        ),
        "monitoring": SecurityScheme(type="http", scheme="bearer", description="The token of metrics.token."),
    }
    return OpenAPIConfig(
        title="Bastide",
        version=VERSION,
        description=(
            "Temporary administrative power in Active Directory, and one password per person everywhere. Lengths of time are whole seconds; times are RFC 3339 with an offset. "
            "A second factor goes with a call in the header Bastide-Code."
        ),
        components=Components(security_schemes=schemes),
        use_handler_docstrings=True,
        security=[{"kerberos": []}, {"session": []}],
        openapi_router=_Nowhere(path="/api/v1", route_handlers=[]),
    )


def describe(schema: dict[str, Any]) -> dict[str, Any]:
    """The description with the error answer in it."""
    schemas = {**schema.get("components", {}).get("schemas", {}), "Problem": _PROBLEM}
    answer = {
        "description": "Refused or failed; nothing was changed.",
        "content": {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}},
    }
    paths = {
        path: {method: _with(operation, answer) for method, operation in item.items()}
        for path, item in schema["paths"].items()
    }
    return {**schema, "components": {**schema.get("components", {}), "schemas": schemas}, "paths": paths}


def _with(operation: dict[str, Any], answer: dict[str, Any]) -> dict[str, Any]:
    """Litestar guesses a 400 of its own form; the real one is the default answer."""
    responses = {status: one for status, one in operation["responses"].items() if status != "400"}
    return {**operation, "responses": {**responses, "default": answer}}
