"""What is decided of a controller's contact. The numbers are the steps of services/passwords/silence.py, as in test_passwords_silence.py."""

from dataclasses import replace
from datetime import timedelta

import pytest

from bastide.domain.contacts import GAP, SKEW, Contact, Fate, Hearing, fate, heard_on, newest, not_later
from tests.support.silence import KNOWN, MINUTE, NOW

AFTER = timedelta(minutes=15)


@pytest.mark.parametrize(
    ("before", "heard", "wanted"),
    [
        ((0, None), (1, None), (1, None)),
        ((1, None), (0, None), (1, None)),
        ((1, 0), (2, None), (2, 0)),
        ((1, None), (0, 0), (1, 0)),
        ((2, 1), (3, 0), (3, 1)),
        ((3, 0), (2, 1), (3, 1)),
    ],
)
def test_2_the_newer_of_each_thing(
    before: tuple[int, int | None], heard: tuple[int, int | None], wanted: tuple[int, int | None]
) -> None:
    def made(heard_at: int, beat_at: int | None, *, silent: bool = False) -> Contact:
        at = NOW + heard_at * MINUTE
        beat = None if beat_at is None else NOW + beat_at * MINUTE
        waiting = 0 if beat_at is None else 100 + beat_at
        return replace(KNOWN, host=f"h{heard_at}", heard_at=at, beat_at=beat, waiting=waiting, silent=silent)

    assert newest(made(*before, silent=True), made(*heard)) == made(*wanted)


@pytest.mark.parametrize(
    ("minutes", "since", "silent", "decided"),
    [
        (16, 99, False, Fate.KEEP),
        (17, 99, False, Fate.REPORT),
        (17, 99, True, Fate.KEEP),
        (99, 16, False, Fate.KEEP),
        (99, 17, False, Fate.REPORT),
    ],
)
def test_3_the_decision(minutes: int, since: int, silent: bool, decided: Fate) -> None:
    one = replace(KNOWN, heard_at=NOW - minutes * MINUTE, silent=silent)
    assert fate(one, Hearing(NOW - since * MINUTE, NOW), AFTER) is decided


@pytest.mark.parametrize(
    ("until", "goes_on"),
    [
        (timedelta(0), True),
        (GAP, True),
        (GAP + MINUTE, False),
        (-SKEW, True),
        (-SKEW - MINUTE, False),
    ],
)
def test_3_the_time_in_which_somebody_listened(until: timedelta, goes_on: bool) -> None:
    found = heard_on(Hearing(NOW - timedelta(days=1), NOW - until), NOW)
    since = NOW - timedelta(days=1) if goes_on else NOW
    assert found == Hearing(since, max(NOW, NOW - until) if goes_on else NOW)
    assert heard_on(None, NOW) == Hearing(NOW, NOW)


@pytest.mark.parametrize("ahead", [SKEW, SKEW + MINUTE])
def test_7_the_clamp(ahead: timedelta) -> None:
    one = replace(KNOWN, heard_at=NOW + ahead, beat_at=NOW + ahead)
    wanted = one if ahead == SKEW else replace(one, heard_at=NOW, beat_at=NOW)
    assert not_later(one, NOW) == wanted
