"""Self-service reset in chromium: registered, reset, stopped, by keyboard, in both colour schemes and two widths, with and without JavaScript. What each page is held to: nothing to scroll to the side, no serious fault by axe-core, the focus is seen."""

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, expect

from bastide.domain.errors import InvalidInput
from bastide.domain.reset.gates import Gate
from bastide.services.reset.ports import NamedRule
from tests.browser.reset_journey import Looking, Nina, looking, set_new
from tests.browser.test_portal_look import DESK, PHONE
from tests.support.browser import online
from tests.support.reset_world import ANSWERS, ELSEWHERE, MAIL, QUESTIONS, ResetWorld, app_code

GATES = (Gate.MAIL, Gate.TOTP, Gate.QUESTIONS)


def register(world: ResetWorld, nina: Nina, look: Looking) -> str:
    """All gates of GATES; the key URI of the authenticator."""
    nina.sign_in_here()
    nina.sees("Not everything is registered yet")
    look("registration")
    nina.type("Address", MAIL)
    nina.fill("#mail-password", "nina-corp-pw")
    nina.press("Send a code")
    world.deliver()
    look("confirm")
    nina.type("Code from the message", "2222-2222")
    nina.press("Confirm")
    nina.sees("That did not work")
    nina.type("Code from the message", world.last_code())
    nina.press("Confirm")
    nina.sees("It is registered.")
    nina.fill("#totp-password", "nina-corp-pw")
    nina.press("Show the secret")
    look("secret")
    uri = nina.page.locator("main code").inner_text()
    nina.type("Code from the app", app_code(uri, world.clock.now()))
    nina.press("Confirm")
    for number, answer in ANSWERS.items():
        nina.type(QUESTIONS[number], answer)
    nina.fill("#questions-password", "nina-corp-pw")
    nina.press("Register the answers")
    nina.sees("You are registered")
    look("registered")
    nina.press("Sign out")
    world.clock.move(seconds=60)
    return uri


@pytest.mark.parametrize(
    ("scheme", "size", "scripts"),
    [("dark", PHONE, True), ("light", DESK, False)],
    ids=["dark-390", "light-1280-plain"],
)
def test_register_and_reset(
    browser: Browser, tmp_path: Path, scheme: str, size: dict[str, int], scripts: bool
) -> None:
    world = ResetWorld(GATES)
    options: Any = {"color_scheme": scheme, "viewport": size, "java_script_enabled": scripts}
    with (
        online(world, tmp_path) as origin,
        browser.new_context(ignore_https_errors=True, **options) as context,
    ):
        nina = Nina(context, origin)
        look = looking(nina, scheme, size, scripts=scripts)
        uri = register(world, nina, look)
        nina.begin("nina")
        nina.sees("Step 1 of 3.")
        look("mail")
        nina.press("Send another code")
        world.deliver()
        nina.type("Code from the mail", world.last_code())
        nina.press("Go on")
        nina.type("Code from your authenticator", "000000")
        nina.press("Go on")
        nina.sees("is wrong, used up or too old")
        look("wrong")
        nina.type("Code from your authenticator", app_code(uri, world.clock.now()))
        nina.press("Go on")
        nina.sees("Step 3 of 3.")
        look("questions")
        for number, answer in ANSWERS.items():
            if nina.page.get_by_label(QUESTIONS[number]).count():
                nina.type(QUESTIONS[number], answer.upper())
        nina.press("Go on")
        set_new(world, nina, look, scripts=scripts)
        nina.press("Forget this page")
        expect(nina.page.get_by_label("Account")).to_be_visible()
        assert nina.refused() == []
    world.close()


@pytest.mark.parametrize(
    ("scheme", "size", "scripts"),
    [("light", PHONE, True), ("dark", DESK, False)],
    ids=["light-390", "dark-1280-plain"],
)
def test_cool_off_unlock_and_this_was_not_me(
    browser: Browser, tmp_path: Path, scheme: str, size: dict[str, int], scripts: bool
) -> None:
    world = ResetWorld(rules=[NamedRule(gates=(Gate.MAIL,), cooling=timedelta(hours=2))])
    world.register()
    options: Any = {"color_scheme": scheme, "viewport": size, "java_script_enabled": scripts}
    with (
        online(world, tmp_path) as origin,
        browser.new_context(ignore_https_errors=True, **options) as context,
    ):
        nina = Nina(context, origin)
        look = looking(nina, scheme, size, scripts=scripts)

        def until_cooling() -> None:
            nina.begin("nina")
            world.deliver()
            nina.type("Code from the mail", world.last_code())
            nina.press("Go on")
            nina.sees("You passed all gates.")
            world.deliver()
            nina.open("/reset")
            nina.sees("come back with this browser then")

        until_cooling()
        look("cooling")
        world.clock.move(hours=2)
        nina.open("/reset")
        nina.press("Unlock and keep my password")
        expect(nina.page.locator("#systems .tag")).to_have_text(["done", "done"])
        look("unlocked")
        world.deliver()
        nina.press("Forget this page")

        until_cooling()
        code = world.last_code()
        other = Nina(context, origin)
        look = looking(other, scheme, size, scripts=scripts)
        other.open("/reset/stop")
        look("stop")
        other.type("Code from the message", code)
        other.press("Stop the reset")
        other.sees("The reset is stopped, and nothing was changed.")
        look("stopped")
        world.clock.move(hours=2)
        nina.open("/reset")
        expect(nina.page.get_by_role("button", name="Begin", exact=True)).to_be_visible()
        assert nina.refused() == other.refused() == []
    world.close()


def test_an_administrator_sees_who_waits_and_unlocks(browser: Browser, tmp_path: Path) -> None:
    world = ResetWorld()
    world.register()
    token = world.begin()
    for _ in range(3):
        with pytest.raises(InvalidInput):
            world.reset.journey.answer(token, Gate.MAIL, {"code": "x"}, ELSEWHERE)
    options: Any = {"color_scheme": "dark", "viewport": PHONE}
    with (
        online(world, tmp_path) as origin,
        browser.new_context(ignore_https_errors=True, **options) as context,
    ):
        dave = Nina(context, origin)
        look = looking(dave, "dark", PHONE)
        dave.open("/signin")
        dave.type("Account", "PRIV\\dave")
        dave.type("Password", "dave-priv-pw")
        dave.type("Code from your authenticator", world.code("dave"))
        dave.press("Sign in")
        dave.open("/admin/reset")
        dave.sees("at one address")
        look("admin")
        dave.press("Unlock nina")
        dave.sees("Nobody is locked.")
        dave.press("Remove the registration of nina")
        dave.sees("Nobody is registered.")
        look("admin-empty")
        assert dave.refused() == []
    world.close()
