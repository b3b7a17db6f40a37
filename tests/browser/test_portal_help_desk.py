"""The help desk in chromium: a call from the search to what each system said, by keyboard, in both colour schemes and two widths, with and without JavaScript."""

from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser

from tests.browser.test_portal_look import DESK, PHONE, PICTURES, faults
from tests.support.help_desk import HelpDeskWorld
from tests.support.person import Person


@pytest.fixture
def api() -> Iterator[HelpDeskWorld]:
    world = HelpDeskWorld()
    world.set_mail("alice", "alice@corp.bastide.test")
    yield world
    world.close()


def code(world: HelpDeskWorld) -> str:
    """What Alice reads out."""
    body = world.notifier.taken[-1][1].body
    return next(line.strip() for line in body.splitlines() if line.startswith("    "))


@pytest.mark.parametrize(
    ("scheme", "size", "scripts"),
    [("dark", PHONE, True), ("light", DESK, False)],
    ids=["dark-390", "light-1280-plain"],
)
def test_a_call_from_the_search_to_the_result(
    api: HelpDeskWorld, browser: Browser, origin: str, scheme: str, size: dict[str, int], scripts: bool
) -> None:
    folder = PICTURES / f"{scheme}-{size['width']}"
    folder.mkdir(parents=True, exist_ok=True)
    options: Any = {"color_scheme": scheme, "viewport": size, "java_script_enabled": scripts}
    with browser.new_context(ignore_https_errors=True, **options) as context:
        hanna = Person(context, origin)

        def look(name: str) -> None:
            """axe needs JavaScript; the page is the same without."""
            hanna.fits()
            hanna.page.screenshot(path=folder / f"{name}-hanna.png", full_page=True)
            assert not scripts or faults(hanna.page) == []

        hanna.open("/signin")
        hanna.type("Account", "CORP\\hanna")
        hanna.type("Password", "hanna-corp-pw")
        hanna.press("Sign in")
        hanna.open("/desk")
        hanna.type("Code from your authenticator", api.code("hanna"))
        hanna.press("Show the code")
        look("desk")
        hanna.type("Who is it?", "alice")
        hanna.press("Search")
        look("desk-found")
        hanna.press("Alice")
        look("desk-person")
        hanna.press("Send a code to the registered address, else to the one in the directory")
        hanna.type("Code that the caller reads out", code(api))
        look("desk-verify")
        hanna.press("Check the code")
        hanna.sees("The caller is verified.")
        hanna.press("Set the password")
        hanna.sees("It is on its way.")
        hanna.sees("The password, shown this once")
        look("desk-set")
        api.work()
        if scripts:  # the page follows, and the password stays where it is
            hanna.sees("It is over: each system has answered.")
            hanna.sees("The password, shown this once")
        else:
            hanna.press("load it again")
            hanna.sees("It is over: each system has answered.")
        look("desk-operation")
        assert api.there("crm").password != "Old-Horse-1"
        assert hanna.faults == []
