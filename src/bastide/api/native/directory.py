"""Test the directories before they are needed. Nothing is changed."""

from typing import Annotated

from litestar import post
from litestar.params import QueryParameter

from bastide.api.native import render, views
from bastide.domain.people import Forest, Right
from bastide.http.door import needs
from bastide.http.handed import Caller, UseCases

TAGS = ["directory"]
_RIGHT = needs(Right.ADMINISTER)
OneForest = Annotated[Forest | None, QueryParameter(description="This forest only.")]


@post(
    "/directory/trust-tests",
    opt=_RIGHT,
    sync_to_thread=True,
    status_code=200,
    tags=TAGS,
    summary="Test the trust",
)
def run_trust_tests(actor: Caller, services: UseCases) -> views.Findings:
    """The trust as both sides show it, and what it lets through; each finding with severity, evidence and remedy."""
    return views.Findings(items=[render.finding(one) for one in services.probes.trust(actor)])


@post(
    "/directory/domain-tests",
    opt=_RIGHT,
    sync_to_thread=True,
    status_code=200,
    tags=TAGS,
    summary="Test the domains",
)
def run_domain_tests(actor: Caller, services: UseCases, forest: OneForest = None) -> views.Findings:
    """DNS, ports, sign-in, clocks, capabilities and rights: of one forest, or of all there are."""
    forests = [forest] if forest is not None else list(services.forests)
    found = [(name, one) for name in forests for one in services.probes.domain(actor, name)]
    return views.Findings(items=[render.finding(one, name) for name, one in found])


HANDLERS = [run_trust_tests, run_domain_tests]
