"""What a person sends with a form. In order:

(1) The body is a form, with few fields, each said once (http/fields.py).
(2) It carries the token of the session that it is sent in: a page of another site cannot know it. Compared in constant time.

The token is made from the session's, so that nothing more is stored and a new session has a new one; it does not tell the session's.
"""

import hashlib
import hmac
import json
import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

from bastide.domain.errors import InvalidInput
from bastide.domain.ids import parse_id
from bastide.domain.requests import Place
from bastide.domain.roles import TTL_CEILING
from bastide.http.problems import CrossSite, Malformed
from bastide.services.security_keys import Answer

CSRF_FIELD = "form_token"
CODE_LIMIT = 64
_CONTEXT = b"bastide portal form"
_MOMENT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d(?::\d\d)?", re.ASCII)
_PLACE = re.compile(r"(?P<at>\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{1,6})?)Z/(?P<id>[0-9a-f-]{36})", re.ASCII)
_DIGITS = re.compile(r"[0-9]{1,9}")
UNITS: Mapping[str, int] = {"hours": 3600, "minutes": 60, "seconds": 1}


def csrf_token(session: str) -> str:
    """The token of the forms of a session."""
    return hmac.new(session.encode(), _CONTEXT, hashlib.sha256).hexdigest()


def check(fields: Mapping[str, str], session: str) -> None:
    """(2). Raises CrossSite."""
    said = fields.get(CSRF_FIELD, "").encode()
    if not session or not hmac.compare_digest(said, csrf_token(session).encode()):
        raise CrossSite(
            "this form does not belong to your session, so nothing was done",
            remedy="you may have signed in anew since: open the page again and send the form from there",
        )


def code(fields: Mapping[str, str]) -> str:
    """The second factor in a form; empty: none. Raises Malformed."""
    said = fields.get("code", "").strip()
    if len(said) > CODE_LIMIT:
        raise Malformed("a code is never that long")
    return said


def key_answer(fields: Mapping[str, str]) -> Answer:
    """What a security key answered, as webauthn.js put it into the form. Raises InvalidInput, Malformed."""
    said = fields.get("credential", "")
    if not said:
        raise InvalidInput(
            "credential",
            "is missing: a security key is used by JavaScript, which is off in your browser",
            remedy="allow JavaScript for this page, or use a code where one is enough",
        )
    try:
        credential = json.loads(said)
    except (ValueError, RecursionError):
        credential = None
    if not isinstance(credential, dict):
        raise Malformed("the security key's answer cannot be read", remedy="open the page again")
    return Answer(fields.get("challenge", ""), credential)


def length(fields: Mapping[str, str], field: str) -> timedelta | None:
    """`amount` and `unit`; None if the amount is empty. Raises InvalidInput."""
    amount, unit = fields.get("amount", "").strip(), UNITS.get(fields.get("unit", "minutes"), 0)
    if not amount:
        return None
    seconds = int(amount) * unit if _DIGITS.fullmatch(amount) else 0
    if not 0 < seconds <= TTL_CEILING.total_seconds():
        raise InvalidInput(
            field, "is not a length of time", remedy="write a whole number, and choose its unit"
        )
    return timedelta(seconds=seconds)


def start(fields: Mapping[str, str]) -> datetime | None:
    """When it is to begin; None if nothing is said. Raises InvalidInput."""
    return moment(fields, "start")


def moment(fields: Mapping[str, str], field: str) -> datetime | None:
    """A time in UTC as `datetime-local` fields send it; None if it is empty. Raises InvalidInput."""
    said = fields.get(field, "").strip()
    if not said:
        return None
    try:
        if _MOMENT.fullmatch(said):
            return datetime.fromisoformat(said).replace(tzinfo=UTC)
    except ValueError:
        pass
    raise InvalidInput(field, "is not a time", remedy="write it as in 2026-03-01T22:00, in UTC")


def place(said: str) -> Place | None:
    """Where a page of the history begins; None if it is empty. Raises InvalidInput."""
    if not said:
        return None
    match = _PLACE.fullmatch(said)
    try:
        if match is not None:
            return Place(
                datetime.fromisoformat(match["at"]).replace(tzinfo=UTC), parse_id("before", match["id"])
            )
    except ValueError:
        pass
    raise InvalidInput("before", "is no place in the history", remedy="open the history anew")


def as_place(at: datetime, request: str) -> str:
    """What `place` reads."""
    return f"{at.astimezone(UTC).replace(tzinfo=None).isoformat()}Z/{request}"
