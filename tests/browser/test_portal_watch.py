"""Monitoring and alerts in chromium, by keyboard: a drift is accepted, monitoring paused, an alert taken in hand; without JavaScript; and its pages in both colour
schemes and two widths.
"""

from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext

from bastide.domain.alerts import State
from bastide.domain.drift import Rule
from bastide.domain.people import Forest
from bastide.portal.admin import ALERT_RULES, ALERTS, MONITORING
from tests.browser.test_portal_look import DESK, PHONE, look, looking_at_all
from tests.support.person import Person
from tests.support.watched import WatchedWorld


@pytest.fixture
def api() -> Iterator[WatchedWorld]:
    world = WatchedWorld()
    world.serve()
    world.look()
    world.drifted()
    world.alerted("break-glass.used", name="rescue")
    yield world
    world.close()


def administrator(api: WatchedWorld, context: BrowserContext, origin: str) -> Person:
    """Dave, signed in with password and code."""
    dave = Person(context, origin)
    dave.open("/signin")
    dave.type("Account", "PRIV\\dave")
    dave.type("Password", "dave-priv-pw")
    dave.type("Code from your authenticator (can be shown later)", api.code("dave"))
    dave.press("Sign in")
    return dave


@pytest.mark.parametrize("size", [PHONE, DESK], ids=["390", "1280"])
def test_a_drift_is_accepted_and_an_alert_taken_in_hand_by_keyboard(
    api: WatchedWorld, browser: Browser, origin: str, size: dict[str, int]
) -> None:
    """The page runs no script here; with one it is the same."""
    options: Any = {"viewport": size, "java_script_enabled": False}
    with browser.new_context(ignore_https_errors=True, **options) as context:
        dave = administrator(api, context, origin)
        dave.press("Administration")
        dave.press("Monitoring")
        dave.sees("became a member of FileAdmins")
        dave.type("Why it is right as it is", "CHG-4711")
        dave.press("Accept")
        dave.sees("Accepted: from now on that is what counts.")
        assert Rule.OTHER_MEMBER not in api.standing()
        dave.reach(dave.page.locator("summary"))
        dave.page.keyboard.press("Enter")
        dave.type("Why", "moving the users")
        dave.press("Pause all domains")
        dave.sees("Paused: no domain is read")
        assert all(api.domain(side).paused for side in Forest)
        dave.press("Alerts")
        dave.sees("The emergency account rescue signed in")
        dave.type("What you are going to do about it", "asking who it was")
        dave.press("Acknowledge")
        dave.sees("Acknowledged: you have it in hand.")
        (alert,) = (one for one in api.found(State.ACKNOWLEDGED) if one.rule == "break-glass")
        assert alert.note == "asking who it was"
        dave.press("Rules of alerts")
        dave.press("Send a test to program")
        dave.sees("The destination took the test.")
        assert dave.faults == []


def test_no_page_has_a_serious_fault_and_all_fit(api: WatchedWorld, browser: Browser, origin: str) -> None:
    api.monitoring.control.accept(api.dave, api.drifted("mallory").key, "CHG-1")
    (alert,) = (one for one in api.found() if one.rule == "break-glass")
    api.alerts.desk.acknowledge(api.dave, alert.id, "asking who it was")
    api.corp.cut("corpdc")
    api.look()
    with looking_at_all(browser) as context:
        dave = administrator(api, context, origin)
        found = []
        for address in (MONITORING, f"{MONITORING}?show=over", ALERTS, ALERT_RULES):
            found += look(dave, "watching", address)
        assert found == []
        assert dave.faults == []
