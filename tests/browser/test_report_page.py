"""The page that `bastide validate` writes, in chromium: it is read on a phone, too."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page

from bastide.domain.health import Category, Report, Result, Severity, compare
from bastide.health import report as kept

NOW = datetime(2026, 1, 5, 12, 0, tzinfo=UTC)
#: CSS pixels: WCAG 2.2, 1.4.10 (reflow); a phone of today; a desk.
PHONE, LARGE_PHONE, DESK = 320, 412, 1280
LONG = "cn=svc-bastide-prepare,ou=service-accounts,dc=priv,dc=bastide,dc=example,dc=com"


def results(severity: Severity) -> tuple[Result, ...]:
    """One of each category, with all that a finding can have, and words that do not break by themselves."""
    return tuple(
        Result(
            check=f"{category.value}.some-long-name-of-a-check",
            category=category,
            subject=f"privdc{number}.priv.bastide.example.com",
            severity=severity,
            text=f"privdc{number}.priv.bastide.example.com does not let {LONG} in",
            evidence=f"389 LDAP timed out; {LONG}",
            remedy=f"`samba-tool dsacl set --objectdn={LONG} --sddl=(A;;RPLCLO;;;S-1-5-21-1111111111-2222222222-3333333333-1105)`",
            why="Without it nothing is granted, and what is active ends by itself.",
            seconds=12.34,
        )
        for number, category in enumerate(Category)
    )


def page_of(folder: Path, browser: Browser, width: int) -> Page:
    before, after = (
        Report(node="bastide-1", version="1", began=NOW, took=timedelta(seconds=9), results=found)
        for found in (results(Severity.OK), results(Severity.CRITICAL) + results(Severity.WARNING))
    )
    file = folder / "report.html"
    file.write_text(kept.to_html(after, before, compare(before, after)))
    page = browser.new_page(viewport={"width": width, "height": 800})
    page.goto(file.as_uri())
    return page


@pytest.mark.parametrize("width", [PHONE, LARGE_PHONE, DESK])
def test_nobody_scrolls_sideways_and_nothing_is_cut_off(browser: Browser, tmp_path: Path, width: int) -> None:
    page = page_of(tmp_path, browser, width)
    inner, outer = page.evaluate("[document.documentElement.scrollWidth, innerWidth]")
    assert (inner, outer) == (width, width)
    cut = page.evaluate(
        "[...document.querySelectorAll('body *')].filter(e => e.scrollWidth > e.clientWidth + 1 && e.clientWidth).map(e => e.outerHTML.slice(0, 90))"
    )
    assert cut == []
    page.close()


@pytest.mark.parametrize("width", [PHONE, LARGE_PHONE])
def test_what_is_said_has_the_width_of_the_phone(browser: Browser, tmp_path: Path, width: int) -> None:
    """In columns beside each other a sentence would be a column of single letters."""
    page = page_of(tmp_path, browser, width)
    narrow = page.evaluate(
        "[...document.querySelectorAll('td p')].filter(e => e.offsetWidth < innerWidth * 0.6).map(e => e.textContent)"
    )
    assert narrow == []
    seconds = page.locator("#ports td.number").first
    assert "Seconds" in seconds.evaluate("e => getComputedStyle(e, '::before').content + e.dataset.label")
    page.close()
