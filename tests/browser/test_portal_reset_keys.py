"""The security key of a reset in chromium, with an authenticator of its own making: registered and used by keyboard; what is said where it cannot be.

A module of its own: these browsers are started in another way than those of conftest.py, and only one way at a time is possible.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, expect

from bastide.domain.reset.gates import Gate
from bastide_lab.targets import Pair
from tests.browser.reset_journey import Nina, looking, set_new
from tests.browser.test_portal_look import DESK, PHONE
from tests.browser.test_security_keys import HOST, pin
from tests.support.browser import chromium, free_port, serving
from tests.support.certificates import issue
from tests.support.reset_world import ResetWorld


@dataclass(frozen=True)
class Stand:
    """A chromium that trusts the certificate, and the address that it is for: WebAuthn wants a host name and no fault of a certificate (test_security_keys.py)."""

    browser: Browser
    pair: Pair
    port: int

    @property
    def origin(self) -> str:
        return f"https://{HOST}:{self.port}"

    @contextmanager
    def over(self, world: ResetWorld, **options: Any) -> Iterator[BrowserContext]:
        """A browser of its own in front of that world, which ends with it."""
        try:
            with serving(world, self.pair, self.port), self.browser.new_context(**options) as context:
                yield context
        finally:
            world.close()


@pytest.fixture(scope="module")
def stand(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stand]:
    pair, port = issue(tmp_path_factory.mktemp("keys"), "portal", HOST), free_port()
    with chromium(f"--ignore-certificate-errors-spki-list={pin(pair.certificate)}") as browser:
        yield Stand(browser, pair, port)


def plug(nina: Nina, *, verifies: bool = True, keeps: bool = True) -> None:
    """A key in the machine. `keeps`: it can keep entries."""
    chrome = nina.page.context.new_cdp_session(nina.page)
    chrome.send("WebAuthn.enable")
    options = {
        "protocol": "ctap2",
        "transport": "usb",
        "hasResidentKey": keeps,
        "hasUserVerification": True,
        "isUserVerified": verifies,
        "automaticPresenceSimulation": True,
    }
    chrome.send("WebAuthn.addVirtualAuthenticator", {"options": options})


def by_key(stand: Stand) -> ResetWorld:
    return ResetWorld((Gate.KEY, Gate.MAIL), address=stand.origin)


def ask_for_a_key(nina: Nina) -> None:
    nina.type("Name of a new key", "blue key")
    nina.fill("#key-password", "nina-corp-pw")
    nina.press("Register a key")


def test_register_and_reset_with_a_security_key(stand: Stand) -> None:
    world = by_key(stand)
    with stand.over(world, color_scheme="dark", viewport=PHONE) as context:
        world.register("nina", Gate.MAIL)
        nina = Nina(context, stand.origin)
        look = looking(nina, "dark", PHONE)
        plug(nina)
        nina.sign_in_here()
        look("registration-key")
        ask_for_a_key(nina)
        look("new-key")
        nina.press("Use the key")
        nina.sees("It is registered.")
        nina.sees("You are registered")
        look("registered-key")
        nina.press("Sign out")

        nina.begin("zoe")
        shown = nina.page.locator("main").inner_text()
        nina.press("Use the key")  # it is Nina's, and Zoe is nobody
        nina.sees("is wrong, used up or too old")
        nina.press("Begin anew")

        nina.begin("nina")
        assert nina.page.locator("main").inner_text() == shown
        look("key")
        nina.press("Use the key")
        nina.sees("Step 2 of 2.")
        world.deliver()
        nina.type("Code from the mail", world.last_code())
        nina.press("Go on")
        set_new(world, nina, look, scripts=True)
        assert nina.refused() == []


def test_without_javascript_the_step_of_a_key_says_so_and_the_others_go_on(stand: Stand) -> None:
    world = ResetWorld((Gate.MAIL, Gate.KEY), address=stand.origin)
    with stand.over(world, java_script_enabled=False) as context:
        world.register()
        nina = Nina(context, stand.origin)
        nina.begin("nina")
        world.deliver()
        nina.type("Code from the mail", world.last_code())
        nina.press("Go on")
        # Not to be seen here: what playwright turns off is asked by <noscript> too late.
        assert '<noscript><p class="note">A security key needs JavaScript' in nina.page.content()
        nina.press("Use the key")
        nina.sees("a security key is used by JavaScript, which is off in your browser")
        nina.press("Begin anew")
        expect(nina.page.get_by_label("Account")).to_be_visible()


@pytest.mark.parametrize(
    "lacks", [{"verifies": False}, {"keeps": False}], ids=["verifies-nobody", "keeps-nothing"]
)
def test_a_key_that_does_less_is_told_and_nothing_is_sent(stand: Stand, lacks: dict[str, bool]) -> None:
    world = by_key(stand)
    with stand.over(world, color_scheme="light", viewport=DESK) as context:
        nina = Nina(context, stand.origin)
        look = looking(nina, "light", DESK)
        plug(nina, **lacks)
        nina.sign_in_here()
        ask_for_a_key(nina)
        nina.reach(nina.page.get_by_role("button", name="Use the key"))
        nina.page.keyboard.press("Enter")
        nina.sees("The security key was not used.")
        look("new-key-refused")
        assert world.reset.registrations.standing(world.everyday("nina")).registered == ()
        nina.begin("nina")
        nina.reach(nina.page.get_by_role("button", name="Use the key"))
        nina.page.keyboard.press("Enter")
        nina.sees("The security key was not used.")
        look("key-refused")
        assert nina.refused() == []
