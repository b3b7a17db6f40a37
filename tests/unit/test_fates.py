"""What becomes of rows whose messages a channel took, refused or did not come to (services/notifications/fates.py), in a real database."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from bastide.domain.notifications import pause
from bastide.services.notifications.fates import Settling, by_fate
from bastide.services.notifications.ports import Fate, Outcome
from bastide.services.ports import Work
from bastide.store.unit_of_work import SqlStore
from tests.support.work_rows import KIND, claim, now, poke, row

JITTER = 0.5
TAKEN, UNTRIED = Outcome(Fate.TAKEN), Outcome(Fate.UNTRIED)
REFUSED = Outcome(Fate.REFUSED, "mailbox full")


@pytest.fixture
def rows() -> Iterator[SqlStore]:
    made = SqlStore("sqlite://")
    yield made
    made.close()


def claimed(rows: SqlStore, *keys: str) -> dict[str, Work]:
    for key in keys:
        poke(rows, key)
    return {work.key: work for work in claim(rows)}


def settle(
    rows: SqlStore, given: list[tuple[Work, ...]], *outcomes: Outcome, over: tuple[Work, ...] = ()
) -> None:
    settling = Settling[tuple[Work, ...]](lambda several: several, lambda: JITTER)
    with rows.write() as uow:
        settling.settle(uow.work, by_fate(given, outcomes), now(), over)
        uow.commit()


def keys(rows: SqlStore) -> set[str]:
    with rows.read() as uow:
        return {str(one["key"]) for one in uow.work.listing()}


def test_each_fate_has_its_rows() -> None:
    sent = by_fate("abcd", (TAKEN, REFUSED, UNTRIED, TAKEN))
    assert (sent.taken, sent.refused, sent.untried) == (("a", "d"), (("b", "mailbox full"),), ("c",))


@pytest.mark.parametrize(
    ("outcomes", "failing"),
    [
        ((REFUSED, UNTRIED), True),
        ((REFUSED, TAKEN), False),
        ((UNTRIED, UNTRIED), False),
        ((TAKEN, UNTRIED), False),
    ],
)
def test_a_channel_fails_that_takes_nothing_of_what_was_tried(
    outcomes: tuple[Outcome, ...], failing: bool
) -> None:
    assert by_fate("ab", outcomes).failing is failing


def test_an_outcome_too_few_is_a_defect() -> None:
    with pytest.raises(ValueError, match="shorter"):
        by_fate("ab", (TAKEN,))


def test_what_was_taken_is_over_with_all_its_rows_and_what_needed_no_message(rows: SqlStore) -> None:
    work = claimed(rows, "1", "2", "over", "else")
    settle(rows, [(work["1"], work["2"])], TAKEN, over=(work["over"],))
    assert keys(rows) == {"else"}


def test_what_was_refused_comes_back_after_a_pause_that_grows_with_the_attempts_of_its_row(
    rows: SqlStore,
) -> None:
    work = claimed(rows, "1", "2")
    often = replace(work["2"], attempts=3)
    before = now()
    settle(rows, [(work["1"], often)], REFUSED)
    for key, attempts in (("1", 0), ("2", 3)):
        shown = row(rows, key)
        assert (shown["error"], shown["attempts"]) == ("mailbox full", 1)
        assert isinstance(shown["due"], datetime)
        assert timedelta() <= shown["due"] - before - pause(JITTER, attempts) < timedelta(seconds=10)


def test_what_was_not_tried_comes_back_at_once_and_nothing_counts_against_it(rows: SqlStore) -> None:
    work = claimed(rows, "1")
    before = now()
    settle(rows, [(work["1"],)], UNTRIED)
    shown = row(rows)
    assert (shown["error"], shown["attempts"], shown["owner"]) == ("", 0, None)
    assert isinstance(shown["due"], datetime)
    assert timedelta(seconds=1) <= shown["due"] - before < timedelta(seconds=10)
    assert rows.next_due([KIND]) == shown["due"]
