"""Errors as HTTP: the only map from the tree in domain/errors.py to a status, and the one shape of an error answer (RFC 9457).

(1) A BastideError says its own words: message, remedy, field.
(2) Anything else is a defect: 500 with nothing but an incident id, under which the log has the stack.
(3) The log of a defect names types and places, never the message of a foreign error: it may quote a password.
"""

import http
import logging
import secrets
from collections.abc import Mapping
from typing import Any

import msgspec
from litestar import Request, Response
from litestar.exceptions import HTTPException, ValidationException

from bastide.domain import errors
from bastide.domain.errors import AuditBroken, BastideError, InvalidInput
from bastide.domain.redaction import stack

_log = logging.getLogger(__name__)
MEDIA_TYPE = "application/problem+json"
_URN = "urn:bastide:problem:"
_WORDS_LIMIT = 500


class Malformed(BastideError):
    """The bytes are no request at all."""

    code = "malformed"


class WrongMediaType(BastideError):
    """A body in a form that is not taken."""

    code = "unsupported-media-type"


class HeadersTooLarge(BastideError):
    """More header than any honest caller sends."""

    code = "headers-too-large"


class CrossSite(BastideError):
    """A browser says that another site made it send this."""

    code = "cross-site"


class TooManyAttempts(BastideError):
    """Failed sign-ins from this address to this account."""

    code = "too-many-attempts"


#: The most specific class counts. What is not in it, and is no HTTPException, is a defect.
STATUS: Mapping[type[BastideError], int] = {
    errors.Refused: 409,
    errors.InvalidInput: 422,
    errors.NotFound: 404,
    errors.Ambiguous: 409,
    errors.Conflict: 409,
    errors.NotAuthorized: 403,
    errors.NotAuthenticated: 401,
    errors.TooManyTries: 429,
    errors.MfaRefused: 403,
    errors.KeyNeeded: 403,
    errors.DirectoryError: 502,
    errors.DirectoryUnavailable: 503,
    errors.DirectoryDenied: 502,
    errors.NoSuchObject: 409,
    errors.ObjectExists: 409,
    errors.CapabilityMissing: 501,
    errors.IssuerUnavailable: 503,
    errors.TargetError: 502,
    errors.TargetUnavailable: 503,
    errors.TargetDenied: 502,
    errors.NotConfigured: 409,
    errors.BadSource: 502,
    errors.NotServing: 503,
    errors.StoreBusy: 503,
    errors.StoreUnavailable: 503,
    errors.LostLease: 503,
    errors.AuditBroken: 500,
    Malformed: 400,
    WrongMediaType: 415,
    HeadersTooLarge: 431,
    CrossSite: 403,
    TooManyAttempts: 429,
}

_HEADERS: Mapping[type[BastideError], Mapping[str, str]] = {
    errors.NotAuthenticated: {"WWW-Authenticate": "Negotiate"},
    errors.DirectoryUnavailable: {"Retry-After": "5"},
    errors.IssuerUnavailable: {"Retry-After": "5"},
    errors.TargetUnavailable: {"Retry-After": "5"},
    errors.NotServing: {"Retry-After": "30"},
    errors.StoreBusy: {"Retry-After": "1"},
    errors.StoreUnavailable: {"Retry-After": "30"},
    errors.LostLease: {"Retry-After": "1"},
    errors.TooManyTries: {"Retry-After": "900"},
    TooManyAttempts: {"Retry-After": "900"},
}
_HTTP_CODES = {400: "malformed", 404: "not-found", 405: "method-not-allowed", 413: "body-too-large"}


class Problem(msgspec.Struct, omit_defaults=True, frozen=True, kw_only=True):
    """An error answer. `code` is stable and is the end of `type`; `remedy` says what a person can do; `field` names the wrong value."""

    type: str
    title: str
    status: int
    code: str
    detail: str
    remedy: str = ""
    field: str = ""
    incident: str = ""

    def sentence(self) -> str:
        """All of it in one line, for dialects that have a message and nothing else."""
        field = f"{self.field}: " if self.field and not self.detail.startswith(self.field) else ""
        words = (self.detail, self.remedy, self.incident and f"incident {self.incident}")
        return field + "; ".join(word for word in words if word)


def respond(request: Request[Any, Any, Any], error: Exception) -> Response[Problem]:
    """The native dialect's answer to an exception."""
    problem, headers = answer_of(request, error)
    return Response(problem, status_code=problem.status, media_type=MEDIA_TYPE, headers=headers)


def answer_of(request: Request[Any, Any, Any], error: Exception) -> tuple[Problem, dict[str, str]]:
    """What to answer, and its headers, in whatever dialect. A defect is in the log afterwards: (2), (3)."""
    problem, headers = describe(error)
    if problem.incident:
        _log.error(
            "incident %s at %s %s: %s",
            problem.incident,
            request.method,
            ascii(request.scope["path"]),
            stack(error),
        )
    return problem, dict(headers)


def describe(error: Exception) -> tuple[Problem, Mapping[str, str]]:
    """The answer for an error, and its headers."""
    if isinstance(error, BastideError):
        known = next((kind for kind in type(error).__mro__ if kind in STATUS), None)
        if known is not None:
            return _known(error, STATUS[known]), _HEADERS.get(known, {})
    if isinstance(error, ValidationException):
        return _unfit(error), {}
    if isinstance(error, HTTPException) and error.status_code < http.HTTPStatus.INTERNAL_SERVER_ERROR:
        return _of_framework(error), error.headers or {}
    return _defect(), {}


def _known(error: BastideError, status: int) -> Problem:
    return Problem(
        type=_URN + error.code,
        title=error.code.replace("-", " "),
        status=status,
        code=error.code,
        detail=error.message,
        remedy=error.remedy,
        field=error.field if isinstance(error, InvalidInput) else "",
        incident=_incident() if isinstance(error, AuditBroken) else "",
    )


def _unfit(error: ValidationException) -> Problem:
    """A parameter that does not fit its type: an InvalidInput that the framework found first."""
    first = error.extra[0] if isinstance(error.extra, list) and error.extra else {}
    field = str(first.get("key", "")) if isinstance(first, dict) else ""
    said = str(first.get("message", "")) if isinstance(first, dict) else ""
    return _known(InvalidInput(field or "request", said[:_WORDS_LIMIT] or "does not fit the schema"), 422)


def _of_framework(error: HTTPException) -> Problem:
    phrase = http.HTTPStatus(error.status_code).phrase
    code = _HTTP_CODES.get(error.status_code, phrase.lower().replace(" ", "-"))
    return Problem(
        type=_URN + code, title=code.replace("-", " "), status=error.status_code, code=code, detail=phrase
    )


def _defect() -> Problem:
    return Problem(
        type=f"{_URN}internal",
        title="internal error",
        status=500,
        code="internal",
        detail="something went wrong inside Bastide; nothing of it is shown here",
        remedy="give the incident id to the operator: the log has what happened",
        incident=_incident(),
    )


def _incident() -> str:
    return secrets.token_hex(8)
