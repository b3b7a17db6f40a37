"""What each domain controller knows by itself: the numbered rules of active_directory_each.py that take no directory. The others are in
tests/integration/test_targets_late_replication.py.
"""

import threading
from collections.abc import Callable
from typing import Any

import ldap
import pytest

from bastide.directory.session import Session
from bastide.domain.errors import BadSource, DirectoryDenied, TargetDenied, TargetUnavailable
from bastide.domain.passwords import Code
from bastide.services.passwords.ports import Look, Result
from bastide.targets.active_directory_each import (
    LEFT_ALONE,
    EachController,
    Lost,
    also,
    newest,
    seen,
    unlocked,
)

ANSWERED = Result(Code.SUCCESS)
NO_RIGHT = Result(Code.DENIED, "no right on it")
NOT_THERE = Result(Code.OBJECT_MISSING, "no such object")
SILENT = TargetUnavailable("cannot sign in on dc2: no answer")


class Line:
    """What python-ldap's connection does when it is closed. It may fail at that."""

    def __init__(self) -> None:
        self.open = True

    def unbind_ext_s(self) -> None:
        self.open = False
        raise ldap.SERVER_DOWN


class World:
    """Controllers by name: an error in place of a sign-in, or nothing."""

    def __init__(self, **wrong: Exception) -> None:
        self.wrong = wrong
        self.tried: list[str] = []
        self.lines: list[Line] = []
        self.time = 1000.0
        self.refusals: dict[str, float] = {}

    def sign_in(self, name: str) -> Session:
        self.tried.append(name)
        if name in self.wrong:
            raise self.wrong[name]
        self.lines.append(Line())
        return Session(self.lines[-1], name, 1.0)

    def target(self, *names: str) -> EachController:
        first = self.sign_in(names[0])
        return EachController(first, names, self.sign_in, self.refusals, lambda: self.time)


def name_of(session: Session) -> str:
    return session.controller


# ----------------------------------------------------------------------------------------------------- (1) side by side


def test_all_controllers_are_asked_side_by_side_and_the_first_one_comes_first() -> None:
    together = threading.Barrier(3, timeout=10)

    def action(session: Session) -> str:
        together.wait()
        return session.controller

    world = World()
    controllers = world.target("dc1", "dc2", "dc3", "dc2")
    assert list(controllers.on_each(action).items()) == [("dc1", "dc1"), ("dc2", "dc2"), ("dc3", "dc3")]
    assert controllers.on_others(name_of) == {"dc2": "dc2", "dc3": "dc3"}
    assert sorted(world.tried) == ["dc1", "dc2", "dc3"], "a connection is used again"
    controllers.close()
    assert not any(one.open for one in world.lines)


@pytest.mark.parametrize("wrong", [SILENT, TargetDenied("no")])
def test_a_controller_that_did_not_answer_is_not_asked_again_by_the_same_target(wrong: Exception) -> None:
    world = World(dc2=wrong)
    controllers = world.target("dc1", "dc2")
    for _ in range(3):
        assert controllers.on_each(name_of) == {"dc1": "dc1", "dc2": wrong}
    assert world.tried == ["dc1", "dc2"]


def test_what_the_first_one_cannot_do_the_others_may_and_if_none_can_its_reason_is_told() -> None:
    def only_on(*names: str) -> Callable[[Session], str]:
        def action(session: Session) -> str:
            if session.controller not in names:
                raise TargetUnavailable(f"{session.controller} is gone")
            return session.controller

        return action

    controllers = World().target("dc1", "dc2")
    assert controllers.on_each(only_on("dc2"))["dc2"] == "dc2"
    assert controllers.on_each(only_on("dc1"))["dc1"] == "dc1", "it is asked each time"
    with pytest.raises(TargetUnavailable, match="dc1 is gone"):
        controllers.on_each(only_on())


def test_a_read_that_a_controller_refuses_leaves_its_connection_in_use() -> None:
    def refused(session: Session) -> str:
        if session.controller == "dc2":
            raise BadSource("not like this")
        return ""

    controllers = World().target("dc1", "dc2")
    assert isinstance(controllers.on_each(refused)["dc2"], BadSource)
    assert controllers.on_each(name_of)["dc2"] == "dc2"


def test_an_error_that_is_ours_is_not_taken_for_a_silent_controller() -> None:
    def fault(_: Session) -> Any:
        raise ValueError("a bug")

    with pytest.raises(ValueError, match="a bug"):
        World().target("dc1", "dc2").on_each(fault)


# -------------------------------------------------------------------------------------------------- (2) our own account


def test_a_controller_that_refuses_our_sign_in_is_left_alone_for_five_minutes() -> None:
    world = World(dc2=TargetDenied("wrong password"))
    for later in (0.0, 1.0, LEFT_ALONE - 2):
        world.time += later
        answers = world.target("dc1", "dc2").on_each(name_of)
        assert isinstance(answers["dc2"], TargetDenied)
    assert world.tried.count("dc2") == 1, "each try would count as a wrong password of our account"
    world.time += 1
    world.target("dc1", "dc2").on_each(name_of)
    assert world.tried.count("dc2") == 2
    world.time += LEFT_ALONE
    del world.wrong["dc2"]
    assert world.target("dc1", "dc2").on_each(name_of)["dc2"] == "dc2"


def test_a_silent_controller_is_asked_again_by_the_next_target() -> None:
    world = World(dc2=SILENT)
    for _ in range(2):
        world.target("dc1", "dc2").on_each(name_of)
    assert world.tried.count("dc2") == 2


# ---------------------------------------------------------------------------------------------------------- (3) unlocks


@pytest.mark.parametrize(
    ("first", "second", "words"),
    [
        (ANSWERED, ANSWERED, ""),
        (ANSWERED, SILENT, f"a lock may still stand on dc2: {SILENT.message}"),
        (SILENT, ANSWERED, f"a lock may still stand on dc1: {SILENT.message}"),
        (NO_RIGHT, ANSWERED, f"a lock may still stand on dc1: {NO_RIGHT.detail}"),
        (Result(Code.FAILED), ANSWERED, f"a lock may still stand on dc1: {Code.FAILED.value}"),
    ],
)
def test_an_unlock_that_one_controller_took_is_a_success_that_names_the_others(
    first: Result | TargetUnavailable, second: Result | TargetUnavailable, words: str
) -> None:
    assert unlocked({"dc1": first, "dc2": second}) == Result(Code.SUCCESS, words)


def test_a_controller_that_does_not_know_the_account_has_no_lock_of_it() -> None:
    assert unlocked({"dc1": NOT_THERE, "dc2": ANSWERED}) == ANSWERED
    assert unlocked({"dc1": ANSWERED, "dc2": NOT_THERE}) == ANSWERED


def test_an_unlock_that_no_controller_took_is_what_the_first_that_answered_says() -> None:
    assert unlocked({"dc1": NOT_THERE, "dc2": SILENT}) == NOT_THERE
    assert unlocked({"dc1": SILENT, "dc2": NO_RIGHT, "dc3": NOT_THERE}) == NO_RIGHT


def test_a_set_says_where_a_lock_may_stand_behind_what_it_says_already() -> None:
    elsewhere: dict[str, Result | Lost] = {"dc2": DirectoryDenied("refused"), "dc3": SILENT, "dc4": ANSWERED}
    assert also(Result(Code.SUCCESS, "said"), elsewhere) == Result(
        Code.SUCCESS, "said; a lock may still stand on dc2, dc3: refused"
    )
    assert also(ANSWERED, {"dc2": ANSWERED}) == ANSWERED


# ------------------------------------------------------------------------------------------------------------ (4) looks


def test_an_account_is_locked_where_one_controller_says_so_and_the_rest_is_as_the_first_says() -> None:
    free, locked = Look(locked=False, disabled=False), Look(locked=True, disabled=True)
    assert seen([free, locked]) == Look(locked=True, disabled=False)
    assert seen([locked, free]) == locked
    assert seen([free, free]) == free
    assert seen([Look(), free]) == free
    assert seen([Look(locked=None, disabled=True), free]).locked is None, "unknown is never no"
    assert seen([Look(), Look()]) == Look()


# ---------------------------------------------------------------------------------------------------------- (5) changes


def test_only_a_password_that_is_newer_than_the_first_ones_is_asked_elsewhere() -> None:
    assert newest({"dc1": 5, "dc2": 7, "dc3": 9, "dc4": 1}) == "dc3"
    assert newest({"dc1": 5, "dc2": 5}) == ""
    assert newest({"dc1": 5, "dc2": 4}) == ""
    assert newest({"dc1": 5, "dc2": SILENT}) == ""
    assert newest({"dc1": SILENT, "dc2": 7}) == "", "nobody knows that it is newer"
    assert newest({"dc1": 5}) == ""
