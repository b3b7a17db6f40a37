"""The portal in chromium: by keyboard alone, without JavaScript, in both colour schemes, on a narrow screen."""

import re
from typing import Literal

import pytest
from playwright.sync_api import Browser

from bastide.domain.requests import State
from tests.support.api import ApiWorld
from tests.support.person import Person

NARROW, WIDE = {"width": 360, "height": 740}, {"width": 1280, "height": 800}
#: WCAG 2.2, 1.4.3, level AA.
AA = 4.5


#: Each two of script, width and scheme come together once: four of the eight.
@pytest.mark.parametrize(
    ("scripts", "size", "scheme"),
    [(True, NARROW, "dark"), (True, WIDE, "light"), (False, NARROW, "light"), (False, WIDE, "dark")],
    ids=["javascript-narrow-dark", "javascript-wide-light", "plain-narrow-light", "plain-wide-dark"],
)
def test_ask_approve_use_extend_end_by_keyboard(
    api: ApiWorld, browser: Browser, origin: str, scheme: str, size: dict[str, int], *, scripts: bool
) -> None:
    def person() -> Person:
        context = browser.new_context(
            java_script_enabled=scripts,
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
    if scripts:
        alice.sees("Ended early")
    else:
        alice.press("Look again")
    alice.sees("Ended early")
    ask_extend_and_look_around(api, alice)
    alice.press("History")
    alice.sees("restore the figures")
    alice.press("Sign out")
    alice.sees("You are signed out.")
    refused = [fault for fault in alice.faults + grace.faults if "401" not in fault]
    assert refused == [], "the browser refused or missed nothing"


def ask_extend_and_look_around(api: ApiWorld, alice: Person) -> None:
    """A role without approval, a later end, and the session of another machine."""
    alice.press("Back to My access")
    alice.press("Ask for File administrators")
    alice.type("What are you going to do?", "one more look")
    alice.type("Ticket", "INC-7")
    alice.type("How many", "2")
    if alice.page.get_by_label("Code from your authenticator").count():
        alice.type("Code from your authenticator", api.code("alice"))
    alice.press("Ask")
    alice.sees("Your request was taken.")
    api.work()
    alice.press("Back to My access")
    alice.press("File administrators")
    alice.type("How many", "10")
    alice.press("Extend")
    alice.sees("The later end was asked for.")
    api.services.authn.open_session(api.alice(), address="192.0.2.66", agent="Opera on Windows")
    alice.press("Sessions")
    alice.sees("Opera on Windows")
    alice.press("End this session")
    alice.sees("The session is over.")
    alice.sees("You are signed in nowhere else.")


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
        "/factors",
        "/factors/new",
        "/key",
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


def test_after_signing_out_the_way_back_shows_nothing(api: ApiWorld, browser: Browser, origin: str) -> None:
    """Somebody else at the same machine presses Back: neither the browser's memory nor its cache has a page of Alice's."""
    api.ask(justification="only for the eyes of those who approve")
    context = browser.new_context(ignore_https_errors=True)
    alice = Person(context, origin)
    alice.sign_in("CORP\\alice", "alice-corp-pw")
    alice.open("/history")
    alice.sees("File administrators")
    alice.press("Sign out")
    alice.sees("You are signed out.")
    for _ in range(2):
        alice.page.go_back()
        alice.sees("go on without a password")
        assert "File administrators" not in alice.page.content()
    context.close()
