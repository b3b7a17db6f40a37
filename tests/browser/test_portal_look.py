"""Every page of the portal as people get to see it: no serious fault by axe-core, nothing to scroll to the side, and a picture of each in
.build/screenshots, for people to look at.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import time
from importlib.resources import files
from pathlib import Path
from typing import Any, Literal

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
LOOKS: tuple[tuple[Literal["dark", "light"], dict[str, int]], ...] = (("dark", PHONE), ("light", DESK))
#: axe-core 4 (MPL-2.0), as the package axe-playwright-python brings it.
_AXE = (files("axe_playwright_python") / "axe.min.js").read_text()
#: What is grave, and nothing else: all that axe found took longer to hand out than to find.
_RUN = """async () => (await axe.run(document, {resultTypes: ['violations']})).violations
  .filter(fault => ['serious', 'critical'].includes(fault.impact))
  .map(fault => [fault.id, fault.nodes.map(node => node.html.slice(0, 200))])"""
_NO_PAGE = re.compile(r"/(?:static|events)/|\.(?:csv|jsonl?)$")


@contextmanager
def looking_at_all(browser: Browser) -> Iterator[BrowserContext]:
    """A context for `look`. Colours that fade from one scheme into the other would be measured half-way."""
    with browser.new_context(ignore_https_errors=True, reduced_motion="reduce") as one:
        one.add_init_script(_AXE)
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
    """Each with the places where it is."""
    if not page.evaluate("'axe' in window"):
        page.evaluate(_AXE)
    found: list[Any] = page.evaluate(_RUN)
    return found


def look(person: Person, who: str, address: str) -> list[Any]:
    """In each scheme and each width once: colours do not depend on the width, nor the other way round. The page is not asked for again for the second look."""
    person.open(address)
    name = re.sub(r"([0-9a-f]{4})[0-9a-f-]{32}", r"\1", address).strip("/").replace("/", "-") or "home"
    found = []
    for scheme, size in LOOKS:
        person.page.set_viewport_size({"width": size["width"], "height": size["height"]})
        person.page.emulate_media(color_scheme=scheme)
        person.fits()
        folder = PICTURES / f"{scheme}-{size['width']}"
        folder.mkdir(parents=True, exist_ok=True)
        person.page.screenshot(path=folder / f"{name}-{who}.png", full_page=True)
        found += [(address, who, scheme, *fault) for fault in faults(person.page)]
    return found


def test_no_page_has_a_serious_fault_and_all_fit(api: ApiWorld, browser: Browser, origin: str) -> None:
    ids = populate(api)
    with looking_at_all(browser) as context:
        found = look(Person(context, origin), "nobody", "/signin")
        for account in ("CORP\\alice", "PRIV\\grace", "PRIV\\dave"):
            forest, _, name = account.partition("\\")
            context.clear_cookies()
            person = Person(context, origin)
            person.sign_in(account, f"{name}-{forest.lower()}-pw")
            if name != "alice":
                asks = "/approvals" if name == "grace" else "/admin/roles"
                found += look(person, "unproved", asks)
                person.type("Code from your authenticator", api.code(name))
                person.press("Show the code")
            for address in wanted(api, name, ids):
                found += look(person, name, address)
            person.page.close()
    assert found == []


def wanted(api: ApiWorld, name: str, ids: dict[str, str]) -> list[str]:
    """What a person gets to see; an administrator goes everywhere."""
    waiting = f"/requests/{ids['request_id']}"
    if name == "alice":
        return ["/", "/history", "/sessions", f"/ask/{ids['role_id']}", waiting, f"/requests/{ids['active']}"]
    return ["/", "/approvals", "/reviews", waiting] if name == "grace" else addresses(api, ids)
