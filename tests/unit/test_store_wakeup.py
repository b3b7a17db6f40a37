"""FIFOs beside the database: woken at once, whatever is left of the dead."""

import os
import stat
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from bastide.store import wakeup
from bastide.store.wakeup import Bell, FifoBell, Listening, NotifyBell, from_payload, to_payload

#: Seconds. Less than `waited` waits, and than the fall-back of `nobody_looks`: whoever is faster was woken.
WOKEN = 8.0
NOW = {"account": 0}


@pytest.fixture
def nobody_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    """The fall-back of a second is put off, so that only a wake-up wakes."""
    monkeypatch.setattr(wakeup, "_DEAF_WAIT", 60.0)


@contextmanager
def bells(folder: Path, number: int = 2) -> Iterator[list[FifoBell]]:
    made = [FifoBell(folder / "x.db") for _ in range(number)]
    yield made
    for bell in made:
        bell.close()


def waited(bell: Bell, act: Callable[[], object], timeout: float = 10) -> float:
    """Seconds from `act`, in another thread, to the end of the wait."""
    moments: list[float] = []

    def later() -> None:
        time.sleep(0.1)
        moments.append(time.monotonic())
        act()

    bell.listen()
    bell.mark()
    thread = threading.Thread(target=later)
    thread.start()
    bell.wait(timeout)
    end = time.monotonic()
    thread.join()
    return end - moments[0]


@pytest.mark.usefixtures("nobody_looks")
def test_a_ring_elsewhere_ends_the_wait_at_once(tmp_path: Path) -> None:
    with bells(tmp_path) as (one, two):
        for _ in range(3):
            assert waited(one, lambda: two.announce(NOW)) < WOKEN
        assert waited(two, lambda: one.announce(NOW)) < WOKEN


def test_waking_oneself_wakes_no_other_process(tmp_path: Path) -> None:
    with bells(tmp_path) as (one, two):
        assert waited(one, two.ring, timeout=0.8) >= 0.6


@pytest.mark.usefixtures("nobody_looks")
def test_a_ring_before_the_wait_is_not_lost(tmp_path: Path) -> None:
    with bells(tmp_path) as (one, two):
        one.listen()
        one.mark()
        two.announce(NOW)
        start = time.monotonic()
        one.wait(10)
        assert time.monotonic() - start < WOKEN


@pytest.mark.usefixtures("nobody_looks")
def test_the_fifo_of_the_dead_is_removed_and_the_living_are_woken(tmp_path: Path) -> None:
    with bells(tmp_path) as (one, two):
        one.listen()
        dead = tmp_path / "x.db.wake" / "1-dead.fifo"
        os.mkfifo(dead)
        strange = tmp_path / "x.db.wake" / "directory.fifo"
        strange.mkdir()
        assert waited(one, lambda: two.announce(NOW)) < WOKEN
        assert not dead.exists()
        assert strange.exists()


def test_a_fifo_that_nobody_empties_holds_up_nobody(tmp_path: Path) -> None:
    folder = tmp_path / "x.db.wake"
    folder.mkdir()
    os.mkfifo(folder / "1-stuck.fifo")
    stuck = os.open(folder / "1-stuck.fifo", os.O_RDWR | os.O_NONBLOCK)
    with bells(tmp_path, 1) as (bell,):
        start = time.monotonic()
        for _ in range(70_000):
            bell.announce(NOW)
        assert time.monotonic() - start < 60
    os.close(stuck)


def test_a_commit_without_a_ring_is_noticed_within_a_second(tmp_path: Path) -> None:
    """Its process was killed between the commit and the ring."""
    with bells(tmp_path, 1) as (bell,):
        assert waited(bell, lambda: (tmp_path / "x.db-wal").write_bytes(b"x")) < 2


def test_without_a_place_for_fifos_it_looks_once_a_second(tmp_path: Path) -> None:
    (tmp_path / "x.db.wake").write_text("a file is in the way")
    with bells(tmp_path, 1) as (bell,):
        start = time.monotonic()
        bell.listen()
        bell.wait(30)
        assert 0.8 < time.monotonic() - start < 5


@pytest.mark.usefixtures("nobody_looks")
def test_closing_leaves_nothing_and_ends_the_wait(tmp_path: Path) -> None:
    bell = FifoBell(tmp_path / "x.db")
    bell.listen()
    folder = tmp_path / "x.db.wake"
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert len(list(folder.iterdir())) == 1
    assert waited(bell, bell.close) < WOKEN
    assert list(folder.iterdir()) == []
    assert not [thread for thread in threading.enumerate() if thread.name == "store-wakeup"]
    bell.close()
    bell.listen()


def test_many_threads_start_one_listener(tmp_path: Path) -> None:
    with bells(tmp_path, 1) as (bell,):
        threads = [threading.Thread(target=bell.listen) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(list((tmp_path / "x.db.wake").iterdir())) == 1


@pytest.mark.parametrize("timeout", [0.0, -1.0])
@pytest.mark.usefixtures("nobody_looks")
def test_no_time_left_means_no_wait(timeout: float) -> None:
    start = time.monotonic()
    Bell().wait(timeout)
    assert time.monotonic() - start < WOKEN


@pytest.mark.parametrize(
    ("pokes", "woken"),
    [
        ({"account": 4}, True),
        ({"account": 5}, False),
        ({"link": 4}, False),
        ({"link": 1, "account": 1}, True),
    ],
)
def test_only_what_is_sooner_and_of_its_kinds_wakes_a_thread(pokes: dict[str, int], *, woken: bool) -> None:
    bell = Bell()
    bell.mark(["account", "export"])
    bell.expect(5)
    bell.announce(pokes)
    assert bell.wait(0) is woken


def test_between_the_look_and_its_answer_any_poke_of_its_kinds_counts() -> None:
    bell = Bell()
    bell.mark(["account"])
    bell.announce({"account": 10**18})
    bell.expect(5)
    assert bell.wait(0) is True


@pytest.mark.usefixtures("nobody_looks")
def test_what_comes_from_elsewhere_wakes_everybody(tmp_path: Path) -> None:
    with bells(tmp_path) as (one, two):
        one.listen()
        one.mark(["account"])
        one.expect(0)
        two.announce({"link": 10**18})
        assert one.wait(WOKEN) is True


@pytest.mark.parametrize("pokes", [{"account": 1}, {"account": 17_000, "link": -3}])
def test_what_was_poked_is_said_and_understood(pokes: dict[str, int]) -> None:
    assert from_payload(to_payload(pokes)) == pokes


@pytest.mark.parametrize("said", ["", "  ", "account", "account=soon", "=", "account=1 x"])
def test_what_nobody_understands_concerns_everybody(said: str) -> None:
    assert from_payload(said) is None


def test_more_than_a_notification_holds_concerns_everybody() -> None:
    assert to_payload({f"kind-{number}": number for number in range(1000)}) == ""


class Crossing(Listening):
    """A notification comes with the answer to a question: it was read, and the descriptor is silent."""

    def __init__(self) -> None:
        self._come: tuple[str, ...] = ()

    def take(self) -> tuple[str, ...]:
        come, self._come = self._come, ()
        return come

    def ask(self) -> None:
        self._come = (to_payload(NOW),)


def test_a_notification_that_comes_with_an_answer_is_not_left_lying() -> None:
    bell = NotifyBell(Crossing)
    bell.mark(["account"])
    bell._take(Crossing())
    assert bell.wait(0)
