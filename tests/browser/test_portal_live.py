"""Pages that keep themselves up to date, in chromium with its JavaScript on: what comes, what stays, and when it stops."""

import re
from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, BrowserContext, Route, expect

from bastide.portal import live
from tests.support.api import APPROVAL, ApiWorld
from tests.support.person import Person

#: The first answer to who comes without a ticket.
_ASKED_FOR_A_TICKET = "Failed to load resource: the server responded with a status of 401 ()"


@pytest.fixture
def context(browser: Browser) -> Iterator[BrowserContext]:
    with browser.new_context(ignore_https_errors=True) as one:
        yield one


def approver(api: ApiWorld, context: BrowserContext, origin: str) -> Person:
    grace = Person(context, origin)
    grace.sign_in("PRIV\\grace", "grace-priv-pw")
    grace.press("Approvals")
    grace.type("Code from your authenticator", api.code("grace"))
    grace.press("Show the code")
    return grace


def test_the_queue_fills_and_empties_by_itself_and_nothing_typed_is_lost(
    api: ApiWorld, context: BrowserContext, origin: str
) -> None:
    api.add_role("Second", candidates=("CORP\\alice",), stages=APPROVAL)
    grace = approver(api, context, origin)
    grace.sees("Nothing waits for your decision")
    hosts: set[str] = set()
    grace.page.on("request", lambda call: hosts.add(urlsplit(call.url).netloc))

    first = api.ask("Approved", justification="first words")
    grace.sees("first words")
    expect(grace.page.get_by_role("status").filter(has_text="1 request waits")).to_be_visible()
    reason = grace.page.get_by_label("Your reason")
    grace.reach(reason)
    grace.page.keyboard.type("I looked at it an")

    second = api.ask("Second", justification="second words")
    grace.sees("second words")
    expect(reason.first).to_be_focused()
    grace.page.keyboard.type("d agree")
    expect(reason.first).to_have_value("I looked at it and agree")

    api.approve(second, "heidi")
    expect(grace.page.get_by_text("second words")).to_have_count(0)
    expect(reason).to_have_value("I looked at it and agree")
    grace.press("Approve")
    grace.sees("You approved the request.")
    assert api.get(first).votes[-1].reason == "I looked at it and agree"
    assert hosts == {urlsplit(origin).netloc}, "nothing is asked of another host"
    assert grace.faults == [_ASKED_FOR_A_TICKET]


def test_ones_own_access_is_seen_to_open_count_down_and_end(
    api: ApiWorld, context: BrowserContext, origin: str
) -> None:
    alice = Person(context, origin)
    alice.sign_in("CORP\\alice", "alice-corp-pw")
    request = api.ask()
    alice.sees("Is being opened")
    api.work()
    alice.sees(re.compile(r"^Active$"))
    alice.sees(re.compile(r"^in 59 minutes 5\d seconds$"))
    alice.press("File administrators")
    alice.sees(re.compile(r"^in 1 hour 14 minutes 5\d seconds$"))
    alice.type("How many", "10")
    alice.type("Code from your authenticator", api.code("alice"))
    alice.press("Extend")
    alice.sees("The later end was asked for.")
    alice.sees("Later end asked for")
    api.work()
    api.runner.run_due()
    alice.sees(re.compile(r"^in 1 hour 9 minutes \d+ seconds$"))
    expect(alice.page.get_by_text("Later end asked for")).to_have_count(0)
    alice.press("End now")
    alice.sees("Is being ended")
    api.work()
    alice.sees("Ended early")
    expect(alice.page.get_by_role("button", name="End now")).to_have_count(0)
    assert api.get(request).closed_at is not None
    assert alice.faults == [_ASKED_FOR_A_TICKET]


def test_a_page_is_kept_up_to_date_although_one_of_its_scripts_comes_late(
    api: ApiWorld, context: BrowserContext, origin: str
) -> None:
    """htmx began without the part that opens streams, and the page was never told anything."""
    alice = Person(context, origin)

    def late(route: Route) -> None:
        alice.page.wait_for_timeout(500)
        route.continue_()

    context.route("**/hx-sse.min*.js*", late)
    alice.sign_in("CORP\\alice", "alice-corp-pw")
    api.ask()
    alice.sees("Is being opened")


def test_a_session_that_is_ended_elsewhere_stops_the_page_from_asking(
    api: ApiWorld, context: BrowserContext, origin: str
) -> None:
    alice = Person(context, origin)
    with alice.page.expect_response(re.compile("/events/requests")):
        alice.sign_in("CORP\\alice", "alice-corp-pw")
    asked: list[str] = []
    alice.page.on("request", lambda call: asked.append(call.url))
    (held,) = api.services.sessions.mine(api.alice())
    api.services.sessions.end(api.alice(), held.id)
    api.ask()
    expect(alice.page.get_by_text("not kept up to date any more")).to_be_visible(timeout=40_000)
    tries = [url for url in asked if live.REQUESTS in url and "events" in url]
    assert 1 <= len(tries) <= 6, tries
    alice.sees("You have no access that was asked for")
    alice.press("Load it again")
    alice.sees("go on without a password")
