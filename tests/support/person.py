"""A person at a browser who types and presses keys, and has no mouse."""

import re

from playwright.sync_api import BrowserContext, Locator, Page, Request, expect

#: More stops than any page has.
_STOPS = 80
#: Whether one of the wanted has the focus and shows it, and how many presses of Tab it is away at least: to ask after each press took half of the time of a journey.
_WHERE = """wanted => {
  const kinds = 'a[href], button, input:not([type=hidden], [type=radio]), select, textarea, summary';
  const stops = [...document.querySelectorAll(kinds)].filter(one => !one.disabled && one.checkVisibility());
  const here = stops.indexOf(document.activeElement);
  const known = here >= 0 || document.activeElement === document.body;
  const ahead = wanted.map(one => stops.indexOf(one) - here).filter(steps => known && steps > 0);
  return {
    has: wanted.some(one => one.matches(':focus')),
    shows: wanted.some(one => one.matches(':focus-visible')),
    ahead: ahead.length ? Math.min(...ahead) : 1,
  };
}"""


class Person:
    """Types and presses keys, and has no mouse."""

    def __init__(self, context: BrowserContext, origin: str) -> None:
        self.page: Page = context.new_page()
        self.faults: list[str] = []
        self.page.on("console", lambda said: self.faults.append(said.text) if said.type == "error" else None)
        self.page.on("requestfailed", self._missed)
        self._origin = origin

    def _missed(self, call: Request) -> None:
        """Who goes on to another page hangs up on what of this one is still on its way."""
        if call.failure != "net::ERR_ABORTED":
            self.faults.append(f"{call.url}: {call.failure}")

    def open(self, path: str) -> None:
        self.page.goto(self._origin + path)

    def reach(self, wanted: Locator) -> None:
        """Press Tab, or hold it down, until it has the focus, which must be seen."""
        pressed, where = 0, wanted.evaluate_all(_WHERE)
        while pressed < _STOPS:
            for _ in range(where["ahead"]):
                self.page.keyboard.down("Tab")  # held down, it repeats
            self.page.keyboard.up("Tab")
            pressed += where["ahead"]
            where = wanted.evaluate_all(_WHERE)
            if where["has"]:
                assert where["shows"], "the focus cannot be seen"
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
