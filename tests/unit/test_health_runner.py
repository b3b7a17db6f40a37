"""Whatever a check does, it becomes results: (1) to (4) of the runner."""

import threading
from collections.abc import Callable, Iterable, Iterator
from datetime import timedelta

import pytest

from bastide.config import ConfigError
from bastide.domain.errors import DirectoryUnavailable
from bastide.domain.health import Category, Finding, Result, Severity
from bastide.health.check import Check, Need
from bastide.health.look import Problem
from bastide.health.registry import CHECKS
from bastide.health.runner import SETTINGS, refuse, run
from bastide.health.world import World
from tests.support.health import looking_at
from tests.support.world import TestClock

FINE = Finding("it", Severity.OK, "fine")


def check(
    act: Callable[[World], Iterable[Finding]],
    *,
    name: str = "work.x",
    needs: tuple[Need, ...] = (),
    limit: float = 5,
) -> Check:
    return Check(
        id=name, category=Category.WORK, subject="what it looks at", why="because", run=act, needs=needs,
        timeout=timedelta(seconds=limit),
    )  # fmt: skip


def alone(one: Check) -> Result:
    (found,) = run([one], looking_at(clock=TestClock()))
    return found


def test_1_what_is_missing_is_a_reason() -> None:
    asked: list[World] = []

    def ask(world: World) -> list[Finding]:
        asked.append(world)
        return [FINE]

    found = alone(check(ask, needs=(Need.PASSWORDS, Need.DATABASE)))
    assert (found.severity, found.text) == (Severity.SKIPPED, "password synchronization is not set up")
    assert asked == []


def test_1_a_need_that_cannot_be_met_is_named() -> None:
    for need, said in ((Need.DATABASE, "database.schema"), (Need.DIRECTORY, "directory.sign-in")):
        found = alone(check(lambda _world: [FINE], needs=(need,)))
        assert (found.severity, found.subject) == (Severity.SKIPPED, "what it looks at")
        assert said in found.text


def test_2_a_check_that_hangs_is_a_result_and_keeps_nobody_waiting() -> None:
    forever = threading.Event()

    def hang(_world: World) -> Iterator[Finding]:
        yield FINE
        forever.wait(60)

    began = threading.Event()

    def next_one(_world: World) -> list[Finding]:
        began.set()
        return [FINE]

    try:
        results = run(
            [check(hang, limit=0.05), check(next_one, name="work.y")],
            looking_at(),
            side_by_side=1,
        )
    finally:
        forever.set()
    assert began.is_set()
    assert [(one.check, one.severity) for one in results if one.check == "work.x"][-1] == (
        "work.x",
        Severity.ERROR,
    )
    assert "no answer within 0.05 s" in [one.text for one in results]


@pytest.mark.parametrize(
    ("error", "said", "remedy"),
    [
        (DirectoryUnavailable("nobody answers", remedy="start one"), "nobody answers", "start one"),
        (ConfigError("bad field"), "bad field", ""),
        (Problem("wrong", remedy="mend"), "wrong", "mend"),
        (
            PermissionError(13, "denied", "/x"),
            "/x cannot be read by this user",
            "`sudo bastide config check`",
        ),
    ],
)
def test_3_what_is_raised_on_purpose_keeps_its_words(error: Exception, said: str, remedy: str) -> None:
    def broken(_world: World) -> list[Finding]:
        raise error

    found = alone(check(broken))
    assert (found.severity, found.text) == (Severity.ERROR, said)
    assert found.remedy.startswith(remedy)


def test_3_of_any_other_exception_the_type_alone_is_told() -> None:
    def broken(_world: World) -> list[Finding]:
        raise ValueError("the password is hunter2")

    found = alone(check(broken))
    assert found.text == "the check itself failed: ValueError"
    assert "hunter2" not in repr(found)


def test_3_what_was_found_before_is_kept() -> None:
    def half(_world: World) -> Iterator[Finding]:
        yield FINE
        raise DirectoryUnavailable("gone")

    found = run([check(half)], looking_at())
    assert [one.severity for one in found] == [Severity.OK, Severity.ERROR]


def test_4_the_order_is_that_of_the_checks() -> None:
    first = threading.Event()

    def slow(_world: World) -> list[Finding]:
        first.wait(5)
        return [FINE]

    def fast(_world: World) -> list[Finding]:
        first.set()
        return [FINE]

    found = run([check(slow, name="work.a"), check(fast, name="work.b")], looking_at())
    assert [one.check for one in found] == ["work.a", "work.b"]


def test_a_check_without_a_word_says_that_it_had_nothing_to_look_at() -> None:
    assert alone(check(lambda _world: [])).severity is Severity.SKIPPED


def test_every_check_says_something_where_nothing_can_be_had() -> None:
    """The world of this test has a network that knows nobody, and no store, directory or keys."""
    found = run(CHECKS, looking_at())
    assert {one.check for one in found} == {one.id for one in CHECKS}
    assert all(one.text and one.why for one in found)
    assert "the check itself failed" not in "".join(one.text for one in found)


def test_settings_that_cannot_be_used_are_one_result_and_the_others_say_so() -> None:
    found = refuse(CHECKS, "bastide.toml: no", "mend it")
    assert {one.check for one in found} == {one.id for one in CHECKS}
    assert [(one.check, one.severity) for one in found if one.severity is not Severity.SKIPPED] == [
        (SETTINGS, Severity.CRITICAL)
    ]


def test_duration_is_by_the_clock_that_was_given() -> None:
    clock = TestClock()

    def slow(_world: World) -> list[Finding]:
        clock.move(seconds=7)
        return [FINE]

    (found,) = run([check(slow)], looking_at(clock=clock))
    assert found.seconds == 7


@pytest.mark.parametrize("need", Need)
def test_every_need_can_be_asked_for(need: Need) -> None:
    assert isinstance(looking_at().unmet(need), str)
