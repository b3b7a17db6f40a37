"""The portal in chromium: by keyboard alone, without JavaScript, in both colour schemes, on a narrow screen."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import pytest
from playwright.sync_api import Browser, BrowserContext, Locator, Page, expect

from bastide.domain.requests import State
from tests.support.api import ApiWorld
from tests.support.browser import chromium, online

NARROW, WIDE = {"width": 360, "height": 740}, {"width": 1280, "height": 800}
#: WCAG 2.2, 1.4.3, level AA.
AA = 4.5
#: More stops than any page has.
_STOPS = 60


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as one:
        yield one


@pytest.fixture
def api() -> Iterator[ApiWorld]:
    world = ApiWorld()
    world.serve()
    yield world
    world.close()


@pytest.fixture
def origin(api: ApiWorld, tmp_path: Path) -> Iterator[str]:
    with online(api, tmp_path) as address:
        yield address


class Person:
    """Types and presses keys, and has no mouse."""

    def __init__(self, context: BrowserContext, origin: str) -> None:
        self.page: Page = context.new_page()
        self.faults: list[str] = []
        self.page.on("console", lambda said: self.faults.append(said.text) if said.type == "error" else None)
        self.page.on("requestfailed", lambda call: self.faults.append(f"{call.url}: {call.failure}"))
        self._origin = origin

    def open(self, path: str) -> None:
        self.page.goto(self._origin + path)

    def reach(self, wanted: Locator) -> None:
        """Press Tab until it has the focus, which must be seen."""
        for _ in range(_STOPS):
            self.page.keyboard.press("Tab")
            focus = self.page.locator(":focus")
            if wanted.and_(focus).count():
                seen = self.page.locator(":focus-visible")
                assert wanted.and_(seen).count(), "the focus cannot be seen"
                return
        raise AssertionError(f"the keyboard does not get to {wanted}")

    def type(self, label: str, text: str) -> None:
        self.reach(self.page.get_by_label(label))
        self.page.keyboard.press("Control+a")
        self.page.keyboard.type(text)

    def press(self, name: str) -> None:
        """A button or a link, by its name, with Enter; then the next page is there."""
        wanted = self.page.get_by_role("button", name=name, exact=True).or_(
            self.page.get_by_role("link", name=name, exact=True)
        )
        self.reach(wanted)
        with self.page.expect_navigation():
            self.page.keyboard.press("Enter")
        self.fits()

    def sign_in(self, account: str, password: str) -> None:
        self.open("/")
        self.fits()
        self.type("Account", account)
        self.type("Password", password)
        self.press("Sign in")

    def fits(self) -> None:
        """Nothing to scroll to the side. What is measured is measured from outside: the page itself may run nothing."""
        inner, outer = self.page.evaluate("[document.documentElement.scrollWidth, innerWidth]")
        assert inner <= outer

    def sees(self, text: str | re.Pattern[str]) -> None:
        expect(self.page.get_by_text(text).first).to_be_visible()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", [NARROW, WIDE], ids=["narrow", "wide"])
def test_ask_approve_use_end_by_keyboard(
    api: ApiWorld, browser: Browser, origin: str, scheme: str, size: dict[str, int]
) -> None:
    def person() -> Person:
        context = browser.new_context(
            java_script_enabled=False,
            ignore_https_errors=True,
            color_scheme=scheme,  # type: ignore[arg-type]  # one of two words
            viewport=size,  # type: ignore[arg-type]  # a mapping with these two keys
        )
        return Person(context, origin)

    alice, grace = person(), person()
    alice.sign_in("CORP\\alice", "alice-corp-pw")
    alice.press("Ask for Approved")
    alice.type("What are you going to do?", "restore the figures")
    alice.type("Code from your authenticator", api.code("alice"))
    alice.press("Ask")
    alice.sees("Waits for approval")

    grace.sign_in("PRIV\\grace", "grace-priv-pw")
    grace.press("Approvals")
    grace.type("Code from your authenticator", api.code("grace"))
    grace.press("Show the code")
    grace.sees("restore the figures")
    grace.press("Approve")
    grace.sees("You approved the request.")

    api.work()
    (request,) = api.open()
    assert request.state is State.ACTIVE
    alice.press("My access")
    alice.sees(re.compile("^Active$"))
    alice.press("Approved")
    alice.sees("True end of access")
    alice.press("End now")
    alice.sees("Is being ended")
    api.work()
    alice.press("Look again")
    alice.sees("Ended early")
    alice.press("History")
    alice.sees("restore the figures")
    alice.press("Sign out")
    alice.sees("You are signed out.")
    refused = [fault for fault in alice.faults + grace.faults if "401" not in fault]
    assert refused == [], "the browser refused or missed nothing"


#: Text, the ground it stands on, and what it is.
_PAIRS = """() => [...document.querySelectorAll('body *')]
    .filter(one => [...one.childNodes].some(node => node.nodeType === 3 && node.data.trim()))
    .map(one => {
        let ground = one;
        while (getComputedStyle(ground).backgroundColor === 'rgba(0, 0, 0, 0)') ground = ground.parentElement;
        return [getComputedStyle(one).color, getComputedStyle(ground).backgroundColor, one.outerHTML];
    })"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_text_can_be_read_in_both_colour_schemes(
    api: ApiWorld, browser: Browser, origin: str, scheme: Literal["light", "dark"]
) -> None:
    done, waiting = api.ask(), api.ask("Approved")
    api.work()
    context = browser.new_context(ignore_https_errors=True, color_scheme=scheme)
    alice = Person(context, origin)
    alice.sign_in("CORP\\alice", "wrong")
    addresses = [
        "/signin?said=out",
        "/",
        f"/requests/{done.id}",
        f"/requests/{waiting.id}",
        "/history",
        "/approvals",
    ]
    found = alice.page.evaluate(_PAIRS)
    alice.sign_in("CORP\\alice", "alice-corp-pw")
    for address in [*addresses, f"/ask/{done.role}"]:
        alice.open(address)
        found += alice.page.evaluate(_PAIRS)
    assert len(found) >= 150
    low = [(what, text, ground) for text, ground, what in found if contrast(text, ground) < AA]
    assert low == []
    ground = luminance(alice.page.evaluate("getComputedStyle(document.documentElement).backgroundColor"))
    assert ground > 0.8 if scheme == "light" else ground < 0.05
    context.close()


def test_the_cookie_is_out_of_reach_of_scripts(api: ApiWorld, browser: Browser, origin: str) -> None:
    context = browser.new_context(ignore_https_errors=True)
    person = Person(context, origin)
    person.sign_in("CORP\\alice", "alice-corp-pw")
    (cookie,) = context.cookies()
    assert cookie["name"] == "__Host-bastide"
    assert (cookie["httpOnly"], cookie["secure"], cookie["sameSite"]) == (True, True, "Strict")
    assert person.page.evaluate("document.cookie") == ""
    context.close()


def test_with_javascript_the_time_that_is_left_counts_down(
    api: ApiWorld, browser: Browser, origin: str
) -> None:
    api.ask()
    api.work()
    context = browser.new_context(ignore_https_errors=True)
    alice = Person(context, origin)
    alice.sign_in("CORP\\alice", "alice-corp-pw")
    spoken = alice.page.evaluate("performance.getEntriesByType('navigation')[0].nextHopProtocol")
    assert spoken == "h2", "there a request has no Host header, and forms were taken all the same"
    alice.sees(re.compile(r"^in 59 minutes 5\d seconds$"))
    alice.sees(re.compile(r"^in 1 hour 14 minutes 5\d seconds$"))
    assert alice.faults == ["Failed to load resource: the server responded with a status of 401 ()"]
    context.close()


def contrast(one: str, other: str) -> float:
    """WCAG 2.2, contrast ratio."""
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


def luminance(colour: str) -> float:
    """WCAG 2.2, relative luminance of `rgb(r, g, b)`."""
    parts = [int(part) / 255 for part in re.findall(r"\d+", colour)[:3]]
    red, green, blue = (
        part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts
    )
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue
