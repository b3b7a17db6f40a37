"""A person's visit: who it is, in which session, and the answers that go back to that person.

(1) A browser that came with a ticket and without a session gets one: the ticket is what signed in. Not as a picture or a frame of another
    page: a site could have sessions opened without end.
(2) Each sign-in makes a new token; what a cookie said before is never taken over, and its session ends.
(3) The cookie goes to this host only, over TLS only, to no script, and along with no call that another site began.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from litestar import Request as Call
from litestar import Response
from litestar.datastructures import Cookie
from litestar.di import NamedDependency
from litestar.params import SkipValidation

from bastide.domain.errors import BastideError
from bastide.domain.people import Actor, Demand, Right, is_fresh, require
from bastide.http.callers import origin
from bastide.http.door import COOKIE, session_of
from bastide.http.fields import FEW, read_once
from bastide.http.problems import CrossSite, describe
from bastide.portal import forms, pages
from bastide.wiring import Services

_WINDOW = "document"


@dataclass(frozen=True, slots=True)
class Visit:
    """Not for logs: its repr holds no token."""

    actor: Actor
    token: str
    services: Services
    is_new: bool = False

    def __repr__(self) -> str:
        return f"Visit({self.actor.name!r}, token=<hidden>)"

    def opened(self, body: bytes, most: int = FEW) -> dict[str, str]:
        """The fields of a form that was sent in this visit, at most so many. Raises Malformed, CrossSite."""
        fields = read_once(body, most)
        forms.check(fields, self.token)
        return fields

    def proved(self, fields: Mapping[str, str], right: Right) -> "Visit":
        """The visit with the second factor that the form holds, if it does; the right is there then. Raises MfaRefused, NotAuthorized."""
        said, actor, proof = forms.code(fields), self.actor, None
        if said:
            proof = self.services.factors.prove(actor, said)
        elif "challenge" in fields:
            proof = self.services.security_keys.prove(actor, self.token, forms.key_answer(fields))
        if proof is not None:
            self.services.authn.keep_proof(self.token, proof)
            actor = actor.proved(proof)
        require(actor, right)
        return replace(self, actor=actor)

    def page(self, template: str, error: BastideError | None = None, **values: Any) -> Response[bytes]:
        """A page for this person, with what was refused."""
        problem = describe(error)[0] if error is not None else None
        actor, now = self.actor, self.services.clock.now()
        content = pages.render(
            template,
            {
                **pages.NOBODY,
                **values,
                "error": problem,
                "person": actor.name,
                "may_approve": Right.APPROVE in actor.rights | actor.withheld,
                "may_read": not {Right.ADMINISTER, Right.AUDIT}.isdisjoint(actor.rights | actor.withheld),
                "may_help": self.services.help_desk is not None
                and Right.BROWSE in actor.rights | actor.withheld,
                "fresh": is_fresh(actor.mfa, now),
                "keyed": is_fresh(actor.mfa, now, Demand.WEBAUTHN),
                "form_token": forms.csrf_token(self.token),
                "resets": self.services.reset is not None,
                "now": now,
            },
        )
        cookies = [session_cookie(self.token)] if self.is_new else []
        return Response(
            content,
            status_code=problem.status if problem is not None else 200,
            media_type=pages.HTML,
            cookies=cookies,
        )


def of_call(
    request: Call[Any, Any, Any], actor: SkipValidation[Actor], services: SkipValidation[Services]
) -> Visit:
    """(1). A form is no way to sign in: one that came without a session gets none, and is refused when it is opened."""
    token = session_of(request)
    if token or request.method != "GET":
        return Visit(actor, token, services)
    if request.headers.get("sec-fetch-dest", _WINDOW) != _WINDOW:
        raise CrossSite("a page signs in as a window of its own, not as a part of another page")
    whence = origin(request)
    opened = services.authn.open_session(actor, address=whence.address, agent=whence.agent)
    return Visit(actor, opened, services, is_new=True)


def session_cookie(token: str) -> Cookie:
    """(3). An empty token takes the cookie away."""
    return Cookie(
        key=COOKIE,
        value=token,
        path="/",
        secure=True,
        httponly=True,
        samesite="strict",
        max_age=None if token else 0,
    )


def see(address: str, *cookies: Cookie) -> Response[bytes]:
    """What follows a form that was taken: another page, so that a reload does not send the form again."""
    return Response(
        b"", status_code=303, media_type=pages.HTML, headers={"Location": address}, cookies=cookies
    )


Visited = NamedDependency[SkipValidation[Visit]]
