"""An access review in chromium, by keyboard: a reviewer keeps and removes, and nothing is taken away before the end; an administrator plans one, ends it, and takes the signed result away."""

import json
from typing import Any

import pytest
from playwright.sync_api import Browser

from bastide.domain.reviews import Review, Verdict
from bastide.services.reviews.campaigns import Draft
from tests.browser.test_portal_look import DESK, PHONE, PICTURES, faults
from tests.support.api import ApiWorld
from tests.support.person import Person


def plan(api: ApiWorld) -> Review:
    review = api.services.oversight.reviews.create(
        api.dave,
        Draft(
            name="Winter",
            reviewer="PRIV\\grace",
            fallback="PRIV\\heidi",
            silence=Verdict.KEEP,
            roles=("File administrators",),
        ),
    )
    api.runner.run_due()
    return review


def said(api: ApiWorld, review: Review) -> dict[str, tuple[Verdict, str] | None]:
    lines = api.services.oversight.reviews.show(api.frank, review.id)[1]
    return {
        one.person: (one.decision.verdict, one.decision.reason) if one.decision is not None else None
        for one in lines
    }


@pytest.mark.parametrize(
    ("scheme", "size", "scripts"),
    [("dark", PHONE, True), ("light", DESK, False)],
    ids=["dark-390", "light-1280-plain"],
)
def test_a_reviewer_keeps_one_and_removes_the_other(
    api: ApiWorld, browser: Browser, origin: str, scheme: str, size: dict[str, int], scripts: bool
) -> None:
    folder = PICTURES / f"{scheme}-{size['width']}"
    folder.mkdir(parents=True, exist_ok=True)
    api.ask("File administrators", justification="patch the server")
    api.work()
    review = plan(api)
    options: Any = {"color_scheme": scheme, "viewport": size, "java_script_enabled": scripts}
    with browser.new_context(ignore_https_errors=True, **options) as context:
        grace = Person(context, origin)

        def look(name: str) -> None:
            """axe needs JavaScript; the page is the same without."""
            grace.fits()
            grace.page.screenshot(path=folder / f"{name}-grace.png", full_page=True)
            assert not scripts or faults(grace.page) == []

        def first() -> str:
            """Whose line is the first: those that are not decided come first."""
            heading = grace.page.get_by_role("heading", level=3).first
            return heading.inner_text().split(" may ask")[0]

        grace.open("/signin")
        grace.type("Account", "PRIV\\grace")
        grace.type("Password", "grace-priv-pw")
        grace.press("Sign in")
        grace.press("Reviews")
        grace.sees("2 of 2 lines wait for you")
        grace.sees("Where nobody decides: keep.")
        look("reviews-open")
        kept = first()
        grace.type("Code from your authenticator", api.code("grace"))
        grace.press("Keep")
        grace.sees("You said keep.")
        removed = first()
        assert removed != kept
        grace.press("Remove")
        grace.sees("taking away needs a reason")
        look("reviews-refused")
        grace.type("Your reason", "left the team")
        grace.press("Remove")
        grace.sees("You said remove. It is done when the review ends.")
        grace.sees("0 of 2 lines wait for you")
        look("reviews-decided")
        assert said(api, review) == {
            kept: (Verdict.KEEP, ""),
            removed: (Verdict.REMOVE, "left the team"),
        }
        assert api.services.roles.show(api.dave, "File administrators").candidates, "not before the end"
        expected = {"403", "422"}
        assert [fault for fault in grace.faults if not any(code in fault for code in expected)] == []


def test_an_administrator_plans_a_review_looks_and_ends_it(
    api: ApiWorld, browser: Browser, origin: str
) -> None:
    """By keyboard on a phone. In the other scheme and width its pages are looked at in test_portal_look.py."""
    folder = PICTURES / f"dark-{PHONE['width']}"
    folder.mkdir(parents=True, exist_ok=True)
    options: Any = {"color_scheme": "dark", "viewport": PHONE}
    with browser.new_context(ignore_https_errors=True, **options) as context:
        dave = Person(context, origin)

        def look(name: str) -> None:
            dave.page.screenshot(path=folder / f"campaign-{name}-dave.png", full_page=True)
            assert faults(dave.page) == []

        dave.open("/signin")
        dave.type("Account", "PRIV\\dave")
        dave.type("Password", "dave-priv-pw")
        dave.press("Sign in")
        dave.open("/admin/reviews/new")
        dave.type("Code from your authenticator", api.code("dave"))
        dave.press("Show the code")
        dave.type("Name", "Winter")
        dave.type("Roles", "File administrators")
        dave.type("Who reviews where nobody else can", "PRIV\\grace")
        dave.reach(dave.page.get_by_label("Where nobody decides"))
        dave.page.keyboard.type("Keep")
        dave.press("Plan it")
        dave.sees("Planned: it begins by itself at its time")
        look("planned")
        api.runner.run_due()
        dave.press("Access reviews")
        dave.sees("2: 0 keep, 0 remove, 2 not decided")
        look("list")
        dave.press("Winter")
        dave.sees("priv.alice may ask for File administrators")
        dave.type("Type Winter to end it", "Winter")
        dave.press("End it now")
        dave.sees("Ended: no decision counts any more.")
        for _ in range(3):
            api.runner.run_due()
        dave.press("Look again")
        dave.sees("Checked just now: the lines below are what was signed.")
        look("closed")
        dave.reach(dave.page.get_by_role("link", name="Take it away as JSON"))
        with dave.page.expect_download() as taken:
            dave.page.keyboard.press("Enter")
        (review,) = api.services.oversight.reviews.all(api.dave)
        assert taken.value.suggested_filename == f"review-{review.id}.json"
        assert json.loads(taken.value.path().read_text())["digest"] == review.digest
        assert dave.faults == []
