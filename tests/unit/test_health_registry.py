"""The registry of checks, and its page."""

import re
from pathlib import Path

from bastide.domain.health import Category
from bastide.health.registry import CHECKS, chosen, of_settings, of_surroundings
from bastide.health.runner import SETTINGS

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "checks.md"
_ROW = re.compile(r"^\| `([a-z.-]+)` \| (.*?) \| (.*?) \| (.*?) \| (.*?) \|$", re.MULTILINE)


def test_ids_are_unique_and_begin_with_their_category() -> None:
    ids = [check.id for check in CHECKS]
    assert len(ids) == len(set(ids))
    assert not [one.id for one in CHECKS if one.id.partition(".")[0] != one.category.value]
    assert SETTINGS in ids


def test_every_category_has_a_check_and_they_stand_in_its_order() -> None:
    assert list(dict.fromkeys(check.category for check in CHECKS)) == list(Category)


def test_every_check_says_why_and_ends() -> None:
    for check in CHECKS:
        assert check.subject
        assert check.why.endswith(".")
        assert 0 < check.timeout.total_seconds() <= 600


def test_the_page_lists_every_check_as_it_is() -> None:
    code = [
        (
            one.id,
            one.subject,
            ", ".join(need.value for need in one.needs),
            f"{one.timeout.total_seconds():g} s",
            one.why,
        )
        for one in CHECKS
    ]
    assert [tuple(row) for row in _ROW.findall(PAGE.read_text(encoding="utf-8"))] == code


def test_the_page_s_headings_are_those_of_the_report() -> None:
    headings = re.findall(r"^## (.*)$", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    assert headings == [one.heading for one in Category]
    assert "DNS" in headings


def test_what_is_chosen() -> None:
    assert chosen() == CHECKS
    assert {one.category for one in chosen([Category.DNS, Category.TIME])} == {Category.DNS, Category.TIME}


def test_config_check_is_a_part_and_what_init_runs_is_a_part_of_that() -> None:
    settings, around = set(of_settings()), set(of_surroundings())
    assert around < settings < set(CHECKS)
    assert "database.schema" in {one.id for one in settings}
    assert not {one for one in around if one.category in {Category.CONFIGURATION, Category.DATABASE}}
