"""Every page of the portal as people get to see it: no serious fault by axe-core, nothing to scroll to the side, and a picture of each in
.build/screenshots, for people to look at.
"""

import re
from collections.abc import Iterator
from datetime import time
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, Page

from bastide.domain.requests import Decision
from bastide.domain.reviews import Verdict
from bastide.domain.roles import Scope, Window
from bastide.portal.addresses import is_ours
from bastide.services.reviews.campaigns import Draft
from bastide.web import create_app
from tests.support.api import APPROVAL, NOBODYS, ApiWorld
from tests.support.person import Person

PICTURES = Path(__file__).parents[2] / ".build" / "screenshots"
PHONE, DESK = {"width": 390, "height": 844}, {"width": 1280, "height": 900}
#: axe-core 4 (MPL-2.0), as the package axe-playwright-python brings it.
_AXE = (files("axe_playwright_python") / "axe.min.js").read_text()
_RUN = "() => axe.run(document, {resultTypes: ['violations']})"
_GRAVE = {"serious", "critical"}
_NO_PAGE = re.compile(r"/(?:static|events)/|\.(?:csv|jsonl?)$")


@pytest.fixture(params=[("dark", PHONE), ("light", DESK)], ids=["dark-390", "light-1280"])
def context(browser: Browser, request: pytest.FixtureRequest) -> Iterator[BrowserContext]:
    """Each scheme and each width once: colours do not depend on the width, nor the other way round."""
    scheme, size = request.param
    with browser.new_context(ignore_https_errors=True, color_scheme=scheme, viewport=size) as one:
        yield one


def populate(api: ApiWorld) -> dict[str, str]:
    """Something of everything. Gives the ids for the addresses that name one."""
    nights = Window(frozenset({0, 1}), time(22), time(23), "Europe/Zurich")
    api.add_role("Nights", candidates=("CORP\\alice",), window=nights, description="Only at night.")
    api.add_role("Servers", candidates=("CORP\\alice",), stages=APPROVAL)
    outer = api.corp.add_group("Server team", scope=Scope.DOMAIN_LOCAL, members=[api.share.ref.sid])
    api.corp.add_group("Backup Operators", scope=Scope.BUILTIN, protected=True, members=[outer.ref.sid])
    over = api.ask("Servers", justification="look at the disks")
    api.services.requests.decide(api.sign_in("grace", mfa=True), over.id, Decision.REJECT, "not tonight")
    active = api.ask()
    api.work()
    api.services.authn.open_session(api.alice(), address="192.0.2.66", agent="Opera on Windows")
    waiting = api.ask("Approved", justification="restore the figures of March", ticket="INC-42")
    review = api.services.oversight.reviews.create(
        api.dave, Draft(name="Winter", reviewer="PRIV\\grace", fallback="PRIV\\heidi", silence=Verdict.KEEP)
    )
    api.work()
    with api.store.read() as uow:
        role, user, group = uow.roles.by_name("Approved"), uow.users.all()[0], uow.groups.all()[0]
    return {
        "role_id": role.id,
        "request_id": waiting.id,
        "user_id": user.id,
        "group_id": group.id,
        "review_id": review.id,
        "active": active.id,
    }


def addresses(api: ApiWorld, ids: dict[str, str]) -> list[str]:
    """Every address that has a page."""
    found = {
        re.sub(r"{(\w+):str}", lambda key: ids.get(key[1], NOBODYS), route.path)
        for route in create_app(api.services).routes
        if is_ours(route.path) and not _NO_PAGE.search(route.path)
        for handler in getattr(route, "route_handlers", ())
        if "GET" in handler.http_methods
    }
    return sorted(found)


def faults(page: Page) -> list[Any]:
    page.evaluate(_AXE)
    found = page.evaluate(_RUN)["violations"]
    return [
        (fault["id"], [node["html"][:200] for node in fault["nodes"]])
        for fault in found
        if fault["impact"] in _GRAVE
    ]


def look(person: Person, folder: Path, who: str, address: str) -> list[Any]:
    person.open(address)
    person.fits()
    name = re.sub(r"([0-9a-f]{4})[0-9a-f-]{32}", r"\1", address).strip("/").replace("/", "-") or "home"
    person.page.screenshot(path=folder / f"{name}-{who}.png", full_page=True)
    return [(address, who, *fault) for fault in faults(person.page)]


def test_no_page_has_a_serious_fault_and_all_fit(
    api: ApiWorld,
    context: BrowserContext,
    origin: str,
    request: pytest.FixtureRequest,
) -> None:
    ids = populate(api)
    scheme, size = request.node.callspec.params["context"]
    folder = PICTURES / f"{scheme}-{size['width']}"
    folder.mkdir(parents=True, exist_ok=True)
    found = []
    for account in ("CORP\\alice", "PRIV\\grace", "PRIV\\dave"):
        forest, _, name = account.partition("\\")
        context.clear_cookies()
        person = Person(context, origin)
        found += look(person, folder, "nobody", "/signin")
        person.sign_in(account, f"{name}-{forest.lower()}-pw")
        if name != "alice":
            asks = "/approvals" if name == "grace" else "/admin/roles"
            found += look(person, folder, "unproved", asks)
            person.type("Code from your authenticator", api.code(name))
            person.press("Show the code")
        for address in wanted(api, name, ids):
            found += look(person, folder, name, address)
        person.page.close()
    assert found == []


def wanted(api: ApiWorld, name: str, ids: dict[str, str]) -> list[str]:
    """What a person gets to see; an administrator goes everywhere."""
    waiting = f"/requests/{ids['request_id']}"
    if name == "alice":
        return ["/", "/history", "/sessions", f"/ask/{ids['role_id']}", waiting, f"/requests/{ids['active']}"]
    return ["/", "/approvals", "/reviews", waiting] if name == "grace" else addresses(api, ids)
