"""A controller that hangs costs few calls their time-out (directory/ldap.py)."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from bastide.directory.ldap import Controllers, NotReached, listed
from bastide.directory.session import Session
from bastide.domain.errors import DirectoryDenied, DirectoryUnavailable
from tests.support.recording_ldap import RecordingDc, connected

PATIENCE = 10.0


class Hanging:
    """dc2 does not answer before it is let go; dc1 does."""

    def __init__(self, real: Controllers) -> None:
        self.now = 0.0
        self.tries = 0
        self.well = False
        self.refuses = self.breaks = False
        self.tried, self.go = threading.Event(), threading.Event()
        self._real = real
        self.controllers = Controllers(
            "priv.example", listed(["dc1", "dc2"]), self._connect, lambda: self.now
        )

    def _connect(self, controller: str) -> tuple[Session, float]:
        if controller == "dc2":
            self.tries += 1
            self.tried.set()
            assert self.go.wait(PATIENCE)
            if self.breaks:
                raise MemoryError
            if self.refuses:
                raise DirectoryDenied("dc2 does not seal")
            if not self.well:
                raise DirectoryUnavailable("dc2 hangs")
        return self._real._connect(controller)

    def ask(self) -> set[str]:
        return set(self.controllers.on_reachable("look", lambda session: session.controller))


@pytest.fixture
def hanging() -> Iterator[Hanging]:
    with connected(RecordingDc("dc1"), RecordingDc("dc2")) as real:
        made = Hanging(real)
        yield made
        made.go.set()
        made.controllers.close()


def known_to_hang(hanging: Hanging) -> None:
    hanging.go.set()
    assert hanging.ask() == {"dc1"}
    hanging.tried.clear()
    hanging.go.clear()
    hanging.now += 5.0


def test_one_call_tries_it_again_and_the_others_do_not_wait(hanging: Hanging) -> None:
    known_to_hang(hanging)
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(hanging.ask)
        assert hanging.tried.wait(PATIENCE)
        for _ in range(20):
            assert hanging.ask() == {"dc1"}
        assert not first.done()
        hanging.go.set()
        assert first.result(PATIENCE) == {"dc1"}
    assert hanging.tries == 2


def test_it_is_used_as_soon_as_that_call_reached_it(hanging: Hanging) -> None:
    known_to_hang(hanging)
    hanging.well = True
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(hanging.ask)
        assert hanging.tried.wait(PATIENCE)
        hanging.go.set()
        assert first.result(PATIENCE) == {"dc1", "dc2"}
    assert hanging.ask() == {"dc1", "dc2"}


def test_also_where_a_try_takes_longer_than_it_is_left_alone(hanging: Hanging) -> None:
    known_to_hang(hanging)
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(hanging.ask)
        assert hanging.tried.wait(PATIENCE)
        hanging.now += 60.0
        with pytest.raises(NotReached, match="hangs"):
            hanging.controllers.on("dc2", lambda session: session.controller)
        hanging.go.set()
        assert first.result(PATIENCE) == {"dc1"}
    assert hanging.tries == 2


def test_a_try_that_breaks_is_followed_by_another(hanging: Hanging) -> None:
    known_to_hang(hanging)
    hanging.breaks = True
    hanging.go.set()
    with pytest.raises(MemoryError):
        hanging.ask()
    hanging.breaks, hanging.well = False, True
    assert hanging.ask() == {"dc1", "dc2"}


def test_one_that_answers_and_refuses_is_not_called_silent(hanging: Hanging) -> None:
    known_to_hang(hanging)
    hanging.refuses = True
    hanging.go.set()
    for _ in range(2):
        with pytest.raises(DirectoryDenied, match="seal"):
            hanging.ask()


def test_who_has_a_connection_already_does_not_take_the_turn_of_who_needs_one(hanging: Hanging) -> None:
    """One that was in use when another call found the controller silent comes back, and would be taken again and again."""
    hanging.well = True
    hanging.go.set()
    assert hanging.ask() == {"dc1", "dc2"}

    def meanwhile(session: Session) -> str:
        hanging.well = False
        with pytest.raises(NotReached):
            hanging.controllers.on("dc2", lambda other: other.controller, repeat=False)
        return session.controller

    assert hanging.controllers.on("dc2", meanwhile) == "dc2"
    hanging.well = True
    hanging.now += 5.0
    assert hanging.controllers.on("dc2", lambda session: session.controller) == "dc2"
    assert hanging.controllers.on("dc2", lambda session: session.controller, repeat=False) == "dc2"
