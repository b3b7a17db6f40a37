"""When a person is told of what the help desk did, of what, and in which words (domain/help_desk_told.py, help_desk_words.py); the numbers are theirs."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from bastide.domain.help_desk_told import AGAIN, LOST, SOON, Deed, Part, Progress, Word, look_at, step
from bastide.domain.help_desk_words import say_done, say_elsewhere
from bastide.domain.wording import Language

ORDERED = datetime(2026, 11, 20, 9, 0, tzinfo=UTC)

# -------------------------------------------------------------------------------------------------------- when, and of what


def part(key: str, *, good: bool = True, over: bool = True, after: float = 1) -> Part:
    return Part(f"{key}: CN=a", key, good, over, ORDERED + timedelta(seconds=after))


def asked(*parts: Part, **more: Any) -> Progress:
    return Progress(ordered_at=ORDERED, parts=parts, **more)


def test_1_nothing_is_said_before_a_system_took_it() -> None:
    waits = part("crm", good=False, over=False)
    for age in (timedelta(0), SOON, timedelta(days=3)):
        told = step(asked(waits), ORDERED + age)
        assert told.word is None
        assert told.look_at is not None
    taken = part("crm", after=timedelta(days=3).total_seconds())
    told = step(asked(taken), ORDERED + timedelta(days=3, minutes=1))
    assert told.word == Word(taken.at, (taken,))
    assert told.look_at is None


def test_2_one_that_is_down_holds_up_no_word_of_the_others() -> None:
    taken, waits = part("crm"), part("files", good=False, over=False)
    assert step(asked(taken, waits), ORDERED + SOON - timedelta(seconds=1)).word is None
    told = step(asked(taken, waits), ORDERED + SOON)
    assert told.word == Word(taken.at, (taken,), ("files",))
    assert told.look_at is not None
    later, third = part("files", after=300), part("hr", good=False, over=False)
    said = {"said": {taken.key}, "last": ORDERED + SOON}
    assert (
        step(asked(taken, later, third, **said), ORDERED + SOON + AGAIN - timedelta(seconds=1)).word is None
    )
    assert step(asked(taken, later, third, **said), ORDERED + SOON + AGAIN).word == Word(
        later.at, (later,), ("hr",)
    )
    done = step(asked(taken, later, replace(third, over=True), **said), ORDERED + timedelta(minutes=6))
    assert (done.word, done.look_at) == (Word(later.at, (later,)), None)


def test_3_nothing_twice_and_nothing_where_no_system_took_it() -> None:
    taken = part("crm")
    assert step(asked(taken, said={taken.key}, last=ORDERED), ORDERED + AGAIN) == step(asked(), ORDERED)
    refused = part("crm", good=False)
    assert (step(asked(refused), ORDERED + AGAIN).word, step(asked(refused), ORDERED + AGAIN).look_at) == (
        None,
        None,
    )


def test_4_a_lost_answer_is_told_as_one() -> None:
    lost = asked(answered=False)
    assert step(lost, ORDERED + LOST - timedelta(seconds=1)).word is None
    told = step(lost, ORDERED + LOST)
    assert (told.word, told.look_at) == (Word(ORDERED + LOST), None)


def test_5_it_is_looked_at_less_and_less_often() -> None:
    ages = [timedelta(0), timedelta(seconds=8), timedelta(minutes=4), timedelta(days=1)]
    pauses = [(look_at(ORDERED, ORDERED + age) - (ORDERED + age)).total_seconds() for age in ages]
    assert pauses == [1, 2, 60, 300]


# ------------------------------------------------------------------------------------------------------------------ the words


@pytest.mark.parametrize("language", list(Language))
@pytest.mark.parametrize("deed", list(Deed))
def test_each_deed_is_said_in_each_language(deed: Deed, language: Language) -> None:
    word = Word(ORDERED, (part("crm"), part("crm"), part("hr <b>")), ("files",))
    subject, body = say_done(deed, word, "CORP\\hanna", "Alice {0} <a href=x>", language)
    assert subject.isprintable()
    assert body.count("CORP\\hanna") == 2
    for wanted in ("2026-11-20 09:00 UTC", "crm, hr", "files"):
        assert wanted in body
    assert "<" not in subject + body
    unknown = say_done(deed, Word(ORDERED), "CORP\\hanna", "Alice", language)[1]
    assert ("no system has said" in unknown, "Kein System" in unknown) == (
        language is Language.ENGLISH,
        language is Language.GERMAN,
    )
    assert len({say_done(one, word, "o", "Alice", language)[1] for one in Deed}) == len(Deed)


@pytest.mark.parametrize("language", list(Language))
def test_a_code_that_goes_elsewhere_is_said_in_each_language(language: Language) -> None:
    subject, body = say_elsewhere("CORP\\hanna", "Alice", ORDERED, language)
    assert ("another address" in subject, "andere Adresse" in subject) == (
        language is Language.ENGLISH,
        language is Language.GERMAN,
    )
    assert "2026-11-20 09:00 UTC" in body
    assert body.count("CORP\\hanna") == 2
