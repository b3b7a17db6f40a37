"""People of administration and auditing at their browsers, and what every page of theirs must keep to."""

import re
from typing import Any

from bastide.domain.people import Forest
from bastide.portal.addresses import is_ours
from tests.support.api import NOBODYS, ApiWorld
from tests.support.portal import Browser, Page

#: A name in a directory and a justification are of others' making.
HOSTILE = "<script>alert(1)</script>\"'><img src=x onerror=alert(2)>{{7*7}}"
TURNED = "exe.cod\u202eplan"
FORMULAS = ("=1+1", "+1", "-1", "@SUM(A1)", "\tx", '=HYPERLINK("https://evil.example")')

#: The pages of administration and auditing, and the right that each asks for.
RIGHTS = {
    "GET portal/admin/roles": "administer or audit",
    "GET portal/admin/roles/new": "administer",
    "POST portal/admin/roles/new": "administer",
    "GET portal/admin/roles/{role_id}": "administer or audit",
    "GET portal/admin/roles/{role_id}/edit": "administer",
    "POST portal/admin/roles/{role_id}/edit": "administer",
    "GET portal/admin/roles/{role_id}/remove": "administer",
    "POST portal/admin/roles/{role_id}/remove": "administer",
    "GET portal/admin/users": "administer or audit",
    "GET portal/admin/users/new": "administer",
    "POST portal/admin/users/new": "administer",
    "GET portal/admin/users/{user_id}": "administer or audit",
    "GET portal/admin/users/{user_id}/switch": "administer",
    "POST portal/admin/users/{user_id}/switch": "administer",
    "GET portal/admin/users/{user_id}/remove": "administer",
    "POST portal/admin/users/{user_id}/remove": "administer",
    "GET portal/admin/groups": "administer or audit",
    "GET portal/admin/groups/new": "administer",
    "POST portal/admin/groups/new": "administer",
    "GET portal/admin/groups/{group_id}": "administer or audit",
    "GET portal/admin/groups/{group_id}/remove": "administer",
    "POST portal/admin/groups/{group_id}/remove": "administer",
    "GET portal/admin/proposals": "administer or audit",
    "GET portal/admin/proposals/{proposal_id}": "administer or audit",
    "POST portal/admin/proposals/{proposal_id}": "administer",
    "GET portal/admin/reviews": "administer or audit",
    "GET portal/admin/reviews/new": "administer",
    "POST portal/admin/reviews/new": "administer",
    "GET portal/admin/reviews/{review_id}": "administer or audit",
    "POST portal/admin/reviews/{review_id}/end": "administer",
    "POST portal/admin/reviews/{review_id}/cancel": "administer",
    "GET portal/admin/reviews/{review_id}/result.json": "administer or audit",
    "GET portal/admin/kill": "administer",
    "POST portal/admin/kill": "administer",
    "GET portal/admin/directory": "administer",
    "POST portal/admin/directory": "administer",
    "GET portal/admin/work": "administer",
    "GET portal/admin/monitoring": "administer or audit",
    "POST portal/admin/monitoring/drift/{drift}/accept": "administer",
    "POST portal/admin/monitoring/pause": "administer",
    "POST portal/admin/monitoring/resume": "administer",
    "POST portal/admin/monitoring/resync": "administer",
    "GET portal/admin/alerts": "administer or audit",
    "POST portal/admin/alerts/{alert_id}/acknowledge": "administer",
    "GET portal/admin/alerts/rules": "administer or audit",
    "POST portal/admin/alerts/rules/test": "administer",
    "GET portal/admin/reset": "administer or audit",
    "POST portal/admin/reset/unlock": "administer",
    "POST portal/admin/reset/remove": "administer",
    "GET portal/auditing": "administer or audit",
    "GET portal/auditing/holders.csv": "administer or audit",
    "GET portal/auditing/holders.jsonl": "administer or audit",
    "GET portal/auditing/charts": "administer or audit",
    "GET portal/auditing/chain": "administer or audit",
    "POST portal/auditing/chain": "audit",
}


def by_ticket(api: ApiWorld, name: str, forest: Forest = Forest.PRIV) -> Browser:
    """Somebody on a machine of the domain."""
    world = api.corp if forest is Forest.CORP else api.priv
    return Browser(api, f"{name}@{world.dns_name.upper()}")


def of_administration(api: ApiWorld, method: str) -> list[tuple[str, dict[str, Any]]]:
    """Addresses of administration and auditing with this method, and the options of their routes."""
    return [
        (re.sub(r"{\w+:str}", NOBODYS, route.path), handler.opt)
        for route in api.client.app.routes
        if is_ours(route.path) and route.path.startswith(("/admin", "/auditing"))
        for handler in getattr(route, "route_handlers", ())
        if method in handler.http_methods
    ]


def is_sound(page: Page) -> None:
    """No script, no style, no foreign address, one heading, a name for each field, no id twice."""
    ids = [said["id"] for _, said in page.tags if "id" in said]
    assert len(set(ids)) == len(ids), [one for one in ids if ids.count(one) > 1]
    assert [tag for tag, _ in page.tags].count("h1") == 1, page.answer.url
    labelled = {said.get("for") for tag, said in page.tags if tag == "label"}
    for tag, said in page.tags:
        assert tag not in {"style", "iframe", "object", "base"}
        assert tag != "script" or {"src"} <= said.keys() <= {"src", "defer"}
        assert not [name for name in said if name == "style" or name.startswith("on")], said
        for name in ("href", "src", "action"):
            assert (said.get(name) or "/").startswith(("/", "#")), said
            assert not (said.get(name) or "").startswith("//")
        if tag in {"input", "select", "textarea"} and said.get("type") != "hidden":
            assert said.get("id") in labelled, said
        for name in ("aria-describedby", "aria-labelledby"):
            assert all(one in ids for one in (said.get(name) or "").split()), said


def is_quoted(page: Page, words: str = HOSTILE) -> None:
    """Hostile words are there as words, and as nothing else."""
    assert words in page.text, page.text
    assert "<script>alert" not in page.html
    assert "<img src=x" not in page.html
    is_sound(page)
