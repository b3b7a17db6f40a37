"""Administration and auditing in chromium: a role edited by keyboard alone, with and without JavaScript; narrow, wide, light and dark."""

from datetime import timedelta
from typing import Any

import pytest
from playwright.sync_api import Browser, Locator

from tests.browser.test_portal import _PAIRS, AA, contrast
from tests.support.api import ApiWorld
from tests.support.person import Person

NARROW, WIDE = {"width": 390, "height": 800}, {"width": 1280, "height": 800}


def administrator(api: ApiWorld, browser: Browser, origin: str, **options: Any) -> Person:
    """Dave, signed in with password and code."""
    dave = Person(browser.new_context(ignore_https_errors=True, **options), origin)
    dave.open("/signin")
    dave.type("Account", "PRIV\\dave")
    dave.type("Password", "dave-priv-pw")
    dave.type("Code from your authenticator (can be shown later)", api.code("dave"))
    dave.press("Sign in")
    return dave


def words(found: Locator) -> list[str]:
    return [" ".join(text.split()) for text in found.all_inner_texts()]


def choose(person: Person, wanted: Locator, first_letter: str) -> None:
    """In a list of choices, by the first letter."""
    person.reach(wanted)
    person.page.keyboard.press(first_letter)


@pytest.mark.parametrize(
    ("scripts", "size"), [(True, NARROW), (False, WIDE)], ids=["javascript-narrow", "plain-wide"]
)
def test_a_role_is_edited_by_keyboard_alone(
    api: ApiWorld, browser: Browser, origin: str, scripts: bool, size: dict[str, int]
) -> None:
    dave = administrator(api, browser, origin, java_script_enabled=scripts, viewport=size)
    dave.press("Administration")
    dave.press("Approved")
    dave.press("Edit")
    dave.type("At the most", "4h")
    choose(dave, dave.page.get_by_label("Justification"), "N")
    dave.press("See what would change")
    dave.sees("Nothing is saved yet.")
    assert words(dave.page.locator("del")) == [
        "goes: 1 hour, from 5 minutes to 8 hours",
        "goes: yes",
    ]
    assert words(dave.page.locator("ins")) == [
        "comes: 1 hour, from 5 minutes to 4 hours",
        "comes: no",
    ]
    role = api.services.roles.show(api.dave, "Approved")
    assert role.justification, "a look saves nothing"
    dave.press("Change something")
    dave.type("What it is for", "restore")
    dave.press("See what would change")
    dave.press("Save")
    dave.sees("The role is changed.")
    role = api.services.roles.show(api.dave, "Approved")
    assert (role.ttl.maximum, role.justification, role.description) == (timedelta(hours=4), False, "restore")
    assert dave.faults == []
    dave.page.context.close()


@pytest.mark.parametrize("size", [NARROW, WIDE], ids=["narrow", "wide"])
def test_the_kill_switch_by_keyboard_alone(
    api: ApiWorld, browser: Browser, origin: str, size: dict[str, int]
) -> None:
    api.ask()
    api.work()
    dave = administrator(api, browser, origin, java_script_enabled=False, viewport=size)
    dave.press("Administration")
    dave.press("Kill switch")
    choose(dave, dave.page.get_by_label("Of whom"), "e")
    dave.type("Why", "incident 42")
    dave.press("See what would end")
    dave.sees("1 request would end")
    dave.type("Type everything to end it", "everything")
    dave.press("End 1")
    dave.sees("The end of 1 was asked for.")
    api.work()
    assert [one.reason for one in api.services.requests.all(api.dave)] == ["kill switch: incident 42"]
    dave.page.context.close()


def addresses(api: ApiWorld) -> list[str]:
    role = api.services.roles.all(api.dave)[0].id
    user = api.services.accounts.users(api.dave)[0].id
    group = api.services.accounts.groups(api.dave)[0].id
    return [
        "/admin/roles", "/admin/roles/new", f"/admin/roles/{role}", f"/admin/roles/{role}/edit", f"/admin/roles/{role}/remove",
        "/admin/users", "/admin/users/new", f"/admin/users/{user}", f"/admin/users/{user}/remove", "/admin/groups",
        "/admin/groups/new", f"/admin/groups/{group}", "/admin/kill", "/admin/directory", "/admin/work", "/auditing",
        "/auditing?since=2020-01-01T00:00", "/auditing/charts", "/auditing/chain",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("scheme", "size"), [("light", WIDE), ("dark", NARROW)], ids=["light-wide", "dark-narrow"]
)
def test_every_page_fits_and_can_be_read(
    api: ApiWorld, browser: Browser, origin: str, scheme: str, size: dict[str, int]
) -> None:
    """With words that are too long for any screen, and things to draw."""
    long = "Operators" * 20
    api.add_role(long, description=long)
    for name in ("File administrators", "Approved", long):
        request = api.ask(name, justification=f"{long} {long}")
        if name == "Approved":
            api.approve(request)
    api.work()
    api.clock.move(minutes=1)
    dave = administrator(api, browser, origin, color_scheme=scheme, viewport=size)
    found = []
    for address in addresses(api):
        dave.open(address)
        dave.fits()
        below, content = (dave.page.locator(one).bounding_box() for one in ("nav.below", "main"))
        assert below is not None
        assert content is not None
        assert below["y"] < content["y"], "the row of links stands above what it leads to"
        found += dave.page.evaluate(_PAIRS)
    assert len(found) > 300
    low = [(what, text, ground) for text, ground, what in found if contrast(text, ground) < AA]
    assert low == []
    dave.open("/auditing/charts")
    for bar in dave.page.locator("rect.bar").all():
        fill = bar.evaluate("one => getComputedStyle(one).fill")
        ground = bar.evaluate("one => getComputedStyle(one.closest('figure')).backgroundColor")
        assert contrast(fill, ground) >= 3, "WCAG 2.2, 1.4.11"
    for text in dave.page.locator("svg text").all():
        box, chart = text.bounding_box(), text.locator("xpath=ancestor::*[name()='svg']").bounding_box()
        assert box is not None
        assert chart is not None
        assert chart["x"] - 1 <= box["x"] <= box["x"] + box["width"] <= chart["x"] + chart["width"] + 1
    assert [fault for fault in dave.faults if "Content Security Policy" in fault] == []
    dave.page.context.close()
