"""Nina at a browser: what journeys through the pages of self-service reset share."""

from collections.abc import Callable

from playwright.sync_api import expect

from tests.browser.test_portal_look import PICTURES, faults
from tests.support.person import Person
from tests.support.reset_world import NEW, ResetWorld

#: What chromium says of a page that answers with a refusal.
_REFUSED = "Failed to load resource: the server responded with a status of 4"
Looking = Callable[[str], None]


class Nina(Person):
    """At a browser."""

    def fill(self, selector: str, text: str) -> None:
        """A field of which a page has several with that label."""
        self.reach(self.page.locator(selector))
        self.page.keyboard.type(text)

    def sign_in_here(self) -> None:
        self.open("/signin")
        self.type("Account", "CORP\\nina")
        self.type("Password", "nina-corp-pw")
        self.press("Sign in")
        self.press("Sign-in factors")
        self.press("If I forget my password")

    def begin(self, account: str) -> None:
        self.open("/signin")
        self.press("I forgot my password, or my account is locked")
        self.type("Account", account)
        self.press("Begin")

    def refused(self) -> list[str]:
        """What chromium complained of, without what the page said no to."""
        return [fault for fault in self.faults if not fault.startswith(_REFUSED)]


def looking(person: Person, scheme: str, size: dict[str, int], *, scripts: bool = True) -> Looking:
    """A picture of a page, and what is wrong with it. axe needs JavaScript; the page is the same without."""
    folder = PICTURES / f"{scheme}-{size['width']}"
    folder.mkdir(parents=True, exist_ok=True)

    def look(name: str) -> None:
        person.fits()
        person.page.screenshot(path=folder / f"reset-{name}.png", full_page=True)
        assert not scripts or faults(person.page) == []

    return look


def set_new(world: ResetWorld, nina: Nina, look: Looking, *, scripts: bool) -> None:
    """From the choice to what each system said."""
    nina.sees("At least 10 characters.")
    look("choose")
    for password, seen in (("short", "shorter than 10"), (NEW, "on its way")):
        nina.type("New password", password)
        nina.type("The same again", password)
        nina.press("Set it")
        nina.sees(seen)
    look("under-way")
    world.deliver()
    if not scripts:
        nina.press("Look again")
    tags = nina.page.locator("#systems .tag")
    expect(tags).to_have_text(["done", "done"])  # with JavaScript the page follows by itself
    expect(nina.page.get_by_role("link", name="Look again")).to_have_count(0)
    look("done")
    assert world.password("nina", "corp") == world.password("nina", "crm") == NEW
