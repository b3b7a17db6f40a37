"""What the fault campaign (`make chaos`) decides purely: which open account no grant covers, how long nobody was served, and its page."""

from datetime import UTC, date, datetime, timedelta
from pathlib import Path

from bastide.domain.ids import UserId
from tests.chaos import page
from tests.chaos.faults import FAULTS
from tests.chaos.witness import Seen, longest_wait, uncovered

NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)
ALICE, BOB = UserId("alice"), UserId("bob")
MINUTE = timedelta(minutes=1)


def seen(minutes: float, user: UserId = ALICE, *, took: float = 0) -> Seen:
    return Seen("privdc", user, NOON + minutes * MINUTE, NOON + (minutes + took) * MINUTE)


def test_an_account_is_covered_from_the_request_to_just_before_its_end() -> None:
    covers = {ALICE: [(NOON, NOON + 2 * MINUTE), (NOON + 5 * MINUTE, NOON + 6 * MINUTE)]}
    inside = [seen(0), seen(1.9), seen(5.5), seen(-0.1, took=0.2), seen(1.9, took=9)]
    outside = [seen(-0.1), seen(2), seen(2.1, took=1), seen(4), seen(6), seen(1, BOB)]
    assert uncovered([*inside, *outside], covers) == outside


def test_the_longest_wait_counts_from_the_fault_and_to_the_end() -> None:
    assert longest_wait([], 10, 25) == 15
    assert longest_wait([1, 12, 13, 90], 10, 25) == 12
    assert longest_wait([20, 12], 10, 25) == 8


def test_the_page_has_a_row_for_each_fault_and_says_when() -> None:
    rows = [page.Row(fault.name, fault.hurts, 1.24, 33.3, 7, 2, 0.5, 60) for fault in FAULTS]
    text = page.render(rows, date(2026, 11, 21))
    assert "Last run: 2026-11-21" in text
    assert f"| {FAULTS[0].name} | {FAULTS[0].hurts} | 1.2 s | 33 s | 7 | 2 | 0.5 s | 60 |" in text
    assert text.count("| 60 |\n") == len(FAULTS)


def test_the_page_in_the_docs_has_every_fault() -> None:
    written = Path(page.PAGE).read_text()
    assert [fault.name for fault in FAULTS if f"| {fault.name} |" not in written] == []
