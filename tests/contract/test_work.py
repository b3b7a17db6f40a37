"""Durable work in every store: leases, fences, pokes, wake-ups. Real time: on PostgreSQL the database's clock decides."""

import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from bastide.domain.audit import Event
from bastide.domain.errors import LostLease
from bastide.services.ports import Work
from bastide.store.unit_of_work import SqlStore
from tests.support.child import Child, end_backends
from tests.support.work_rows import (
    HOUR,
    KIND,
    LEASE,
    SHORT,
    SOON,
    claim,
    claim_one,
    finish,
    let_pass,
    now,
    poke,
    retry,
    row,
)

pytest_plugins = ["tests.support.postgres", "tests.support.stores"]


# ---------------------------------------------------------------------------------------------------------- claim, finish


def test_a_due_row_is_claimed_once_and_shows_its_owner(store: SqlStore) -> None:
    due = poke(store)
    work = claim_one(store, "one")
    assert work == Work(KIND, "1", fence=1, pokes=1, attempts=0, due=due)
    assert claim(store, "two") == ()
    shown = row(store)
    assert (shown["owner"], shown["due"]) == ("one", None)
    assert isinstance(shown["lease"], datetime)
    assert SHORT < shown["lease"] - now() <= LEASE


def test_rows_that_are_not_due_or_of_another_kind_are_left(store: SqlStore) -> None:
    poke(store, "later", HOUR)
    poke(store, "other", kind="link")
    assert claim(store) == ()
    assert [work.key for work in claim(store, kinds=["link", KIND])] == ["other"]


def test_the_longest_overdue_come_first_and_the_limit_holds(store: SqlStore) -> None:
    for seconds in (2, 4, 1, 3):
        poke(store, str(seconds), timedelta(seconds=-seconds))
    assert [work.key for work in claim(store, limit=3)] == ["4", "3", "2"]
    assert [work.key for work in claim(store, limit=3)] == ["1"]


def test_finish_sets_the_next_time_or_waits_for_a_poke(store: SqlStore) -> None:
    poke(store)
    later = now() + HOUR
    finish(store, claim_one(store), later)
    assert store.next_due([KIND]) == later
    poke(store)
    finish(store, claim_one(store))
    assert store.next_due([KIND]) is None
    assert row(store)["owner"] is None
    poke(store)
    assert claim_one(store).fence == 3


def test_only_one_of_many_workers_gets_each_row(store: SqlStore) -> None:
    with store.write() as uow:
        uow.work.poke_many(KIND, {str(n): now() - SHORT for n in range(200)})
        uow.commit()
    start = threading.Barrier(8)

    def work(thread: int) -> list[str]:
        start.wait()
        got: list[str] = []
        while works := claim(store, f"t{thread}", limit=7):
            got += [one.key for one in works]
        return got

    with ThreadPoolExecutor(8) as pool:
        claimed = Counter(key for keys in pool.map(work, range(8)) for key in keys)
    assert claimed == Counter({str(n): 1 for n in range(200)})


# ----------------------------------------------------------------------------------------------------------- lost leases


def test_a_lease_that_is_over_can_be_taken_and_the_first_worker_has_lost(store: SqlStore) -> None:
    poke(store)
    first = claim_one(store, "one", SHORT)
    assert claim(store, "two") == ()
    time.sleep(SHORT.total_seconds() * 1.5)
    second = claim_one(store, "two")
    assert (second.fence, second.attempts) == (first.fence + 1, 1)
    with pytest.raises(LostLease):
        finish(store, first)
    with pytest.raises(LostLease):
        retry(store, first, now())
    with pytest.raises(LostLease):
        store.renew([first], owner="one", lease=LEASE, now=now())
    assert row(store)["owner"] == "two"
    finish(store, second)


def test_who_requires_a_row_in_a_transaction_keeps_it_until_that_is_over(shared_url: str) -> None:
    with closing(SqlStore(shared_url)) as store, closing(SqlStore(shared_url)) as other:
        poke(store)
        work = claim_one(store, "one", SHORT)
        let_pass(store, SHORT * 1.5)
        with ThreadPoolExecutor(1) as pool:
            with store.write() as uow:
                uow.work.require(work)
                second = pool.submit(claim, other, "two")
                assert not [one for one in _at_most(second, SHORT) if one.fence > work.fence]
                uow.work.finish(work, None)
                uow.commit()
            assert second.result() == ()
        with pytest.raises(LostLease), store.write() as uow:
            uow.work.require(work)


def test_who_requires_a_row_that_another_has_got_has_lost_it(store: SqlStore) -> None:
    poke(store)
    first = claim_one(store, "one", SHORT)
    let_pass(store, SHORT * 1.5)
    second = claim_one(store, "two")
    with pytest.raises(LostLease), store.write() as uow:
        uow.work.require(first)
    with store.write() as uow:
        uow.work.require(second)


def _at_most(future: Future[tuple[Work, ...]], span: timedelta) -> tuple[Work, ...]:
    """What it gave by then: nothing while it waits for its turn."""
    try:
        return future.result(span.total_seconds())
    except TimeoutError:
        return ()


def test_a_lease_that_is_over_still_counts_if_nobody_took_it(store: SqlStore) -> None:
    poke(store)
    work = claim_one(store, lease=SHORT)
    let_pass(store, SHORT * 1.5)
    finish(store, work)
    assert row(store)["owner"] is None


def test_a_row_is_given_back_once(store: SqlStore) -> None:
    poke(store)
    work = claim_one(store)
    finish(store, work)
    with pytest.raises(LostLease):
        finish(store, work, now())


def test_finish_many_is_all_or_nothing(store: SqlStore) -> None:
    for key in "abc":
        poke(store, key)
    works = claim(store)
    with pytest.raises(LostLease), store.write() as uow:
        uow.work.finish_many([*((one, None) for one in works[:2]), (replace(works[2], fence=9), None)])
    assert {str(row(store, key)["owner"]) for key in "abc"} == {"one"}
    later = now() + HOUR
    with store.write() as uow:
        uow.work.finish_many([(works[0], later), (works[1], None), (works[2], later)])
        uow.work.finish_many([])
        uow.commit()
    assert [row(store, key)["due"] for key in "abc"] == [later, None, later]


def test_renew_prolongs_what_is_still_held(store: SqlStore) -> None:
    for key in "ab":
        poke(store, key)
    works = claim(store, lease=SHORT)
    store.renew(works, owner="one", lease=LEASE, now=now())
    let_pass(store, SHORT * 1.5)
    assert claim(store, "two") == ()
    with pytest.raises(LostLease):
        store.renew(works, owner="somebody else", lease=LEASE, now=now())
    finish(store, works[0])
    store.renew(works, owner="one", lease=HOUR, now=now())
    lease = row(store, "b")["lease"]
    assert isinstance(lease, datetime)
    assert lease - now() > LEASE, "one row given back must not cost the others their lease"
    finish(store, works[1])
    with pytest.raises(LostLease):
        store.renew(works, owner="one", lease=HOUR, now=now())


@pytest.mark.parametrize("hours", [0.9, 1.1])
def test_a_lease_taken_while_the_clock_was_wrong_counts_as_over(store: SqlStore, hours: float) -> None:
    poke(store, "a")
    claim(store, "wrong clock", lease=timedelta(hours=hours))
    taken_over = claim(store, "right clock")
    assert bool(taken_over) is (hours > 1)


# ------------------------------------------------------------------------------------------------------------- pokes


def test_a_poke_only_makes_a_row_due_earlier(store: SqlStore) -> None:
    first = poke(store, due=HOUR)
    poke(store, due=2 * HOUR)
    assert store.next_due([KIND]) == first
    sooner = poke(store, due=HOUR / 2)
    assert store.next_due([KIND]) == sooner


def test_pokes_in_one_transaction_count_together(store: SqlStore) -> None:
    at = now()
    with store.write() as uow:
        uow.work.poke(KIND, "1", at + HOUR)
        uow.work.poke(KIND, "1", at - SHORT)
        uow.work.poke_many(KIND, {"1": at, "2": at + HOUR})
        uow.commit()
    assert claim_one(store).due == at - SHORT


@pytest.mark.parametrize("give_back", [finish, lambda s, w: finish(s, w, now() + HOUR)])
def test_a_poke_while_claimed_is_not_lost(
    store: SqlStore, give_back: Callable[[SqlStore, Work], None]
) -> None:
    poke(store)
    work = claim_one(store)
    poke(store)
    assert claim(store, "two") == (), "a poke must not break a lease"
    give_back(store, work)
    again = claim_one(store, "two")
    assert (again.fence, again.pokes) == (2, 2)


def test_a_poke_for_later_while_claimed_keeps_its_time(store: SqlStore) -> None:
    poke(store)
    work = claim_one(store)
    poked = poke(store, due=HOUR)
    poke(store, due=2 * HOUR)
    finish(store, work)
    assert store.next_due([KIND]) == poked


def test_the_worker_may_name_an_earlier_time_than_the_poke(store: SqlStore) -> None:
    poke(store)
    work = claim_one(store)
    poke(store, due=2 * HOUR)
    sooner = now() + HOUR
    finish(store, work, sooner)
    assert store.next_due([KIND]) == sooner


def test_finish_and_poke_in_one_transaction_leave_the_row_due(store: SqlStore) -> None:
    poke(store)
    work = claim_one(store)
    with store.write() as uow:
        uow.work.poke(KIND, "1", now() - SHORT)
        uow.work.finish(work, now() + HOUR)
        uow.commit()
    assert claim_one(store).fence == 2


def test_retry_counts_attempts_and_keeps_the_error_until_it_works(store: SqlStore) -> None:
    poke(store)
    for attempts in range(3):
        work = claim_one(store)
        assert work.attempts == attempts
        retry(store, work, now() - SHORT, "DC1 did not answer\0")
    assert (row(store)["error"], row(store)["attempts"]) == ("DC1 did not answer\ufffd", 3)
    finish(store, claim_one(store), now() - SHORT)
    assert (row(store)["error"], row(store)["attempts"]) == ("", 0)
    work = claim_one(store)
    later = now() + HOUR
    retry(store, work, later)
    assert store.next_due([KIND]) == later


def test_next_due_knows_when_leases_end(store: SqlStore) -> None:
    assert store.next_due([KIND]) is None
    poke(store)
    before = now()
    claim_one(store, lease=LEASE)
    due = store.next_due([KIND])
    assert due is not None
    assert before + LEASE - SOON <= due <= now() + LEASE
    sooner = poke(store, "2", timedelta(seconds=5))
    assert store.next_due([KIND]) == sooner
    assert store.next_due(["link"]) is None


# ------------------------------------------------------------------------------------------------------------ wake-ups


def seconds(act: Callable[[], object]) -> float:
    start = time.monotonic()
    act()
    return time.monotonic() - start


def test_wait_lasts_as_long_as_it_is_told(store: SqlStore) -> None:
    store.next_due([KIND])
    assert 0.15 <= seconds(lambda: store.wait(0.2)) < 10


def test_a_poke_ends_the_wait_of_every_thread(store: SqlStore) -> None:
    ready = threading.Barrier(4)

    def wait(_: int) -> float:
        store.next_due([KIND])
        ready.wait()
        return seconds(lambda: store.wait(20))

    with ThreadPoolExecutor(3) as pool:
        waits = [pool.submit(wait, n) for n in range(3)]
        ready.wait()
        time.sleep(0.2)
        poke(store)
        assert all(one.result() < 5 for one in waits)


def test_a_poke_between_the_look_and_the_wait_is_not_lost(store: SqlStore) -> None:
    for look in (lambda: store.next_due([KIND]), lambda: claim(store)):
        look()
        poke(store, due=HOUR)
        assert seconds(lambda: store.wait(20)) < 5


def test_a_commit_without_a_poke_wakes_nobody_at_once(store: SqlStore) -> None:
    store.next_due([KIND])
    with store.write() as uow:
        uow.audit.move_cursor("x", 1)
        uow.commit()
    assert seconds(lambda: store.wait(0.3)) >= 0.25


def test_wake_and_close_end_every_wait(store: SqlStore) -> None:
    for end in (store.wake, store.close):
        store.next_due([KIND]) if end == store.wake else None
        timer = threading.Timer(0.2, end)
        timer.start()
        assert seconds(lambda: store.wait(20)) < 5
        timer.join()


_POKER = """
from datetime import UTC, datetime, timedelta
store = SqlStore(url)
say("ready")
sys.stdin.readline()
with store.write() as uow:
    uow.work.poke("account", "1", datetime.now(UTC) + timedelta(hours=1))
    uow.commit()
store.close()
"""


def test_a_poke_of_another_process_ends_the_wait(shared_url: str) -> None:
    store = SqlStore(shared_url)
    with Child(_POKER, shared_url) as child:
        assert child.heard() == "ready"
        assert store.next_due([KIND]) is None
        assert child.process.stdin is not None
        timer = threading.Timer(0.2, lambda: child.process.communicate(b"\n"))
        timer.start()
        # The fall-back on SQLite looks once a second: half of that is a real wake-up.
        assert 0.1 <= seconds(lambda: store.wait(20)) < 5
        timer.join()
        assert child.ended_well()
    assert store.next_due([KIND]) is not None
    store.close()


_CLAIMER = """
import time
from datetime import UTC, datetime, timedelta
store = SqlStore(url)
works = store.claim(["account"], owner="child", lease=timedelta(milliseconds=1500), limit=9, now=datetime.now(UTC))
say(len(works))
store.wait(60)
"""


def test_work_of_a_killed_process_is_taken_over_when_its_lease_is_over(shared_url: str) -> None:
    store = SqlStore(shared_url)
    poke(store)
    with Child(_CLAIMER, shared_url) as child:
        assert child.heard() == "1"
        child.kill()
        due = store.next_due([KIND])
        assert due is not None
        time.sleep(max(0.0, (due - now()).total_seconds()) + 0.1)
        work = claim_one(store)
        assert (work.fence, work.attempts) == (2, 1)
        poke(store)  # what the killed process left to wake it with must not hurt
        finish(store, work)
    store.close()


# -------------------------------------------------------------------------------------------------------- PostgreSQL only


@pytest.mark.postgres
def test_a_node_whose_clock_is_ahead_steals_nothing(postgres_url: str) -> None:
    store = SqlStore(postgres_url)
    poke(store, "1")
    claim_one(store, "one")
    poke(store, "2", HOUR)
    ahead = now() + timedelta(days=1)
    assert store.claim([KIND], owner="fast clock", lease=LEASE, limit=9, now=ahead) == ()
    store.close()


@pytest.mark.postgres
def test_claims_do_not_wait_for_a_writer(postgres_url: str) -> None:
    store = SqlStore(postgres_url, busy=timedelta(seconds=2))
    poke(store)
    with store.write() as uow:
        uow.users.all()
        assert len(claim(store)) == 1
    store.close()


@pytest.mark.postgres
def test_listening_survives_a_cut_connection(postgres_url: str) -> None:
    store = SqlStore(postgres_url)
    store.next_due([KIND])
    end_backends(postgres_url)
    store.wait(5)  # told at once that it may have missed something
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        assert store.next_due([KIND]) is None
        if seconds(lambda: store.wait(3)) > 2.5:  # no longer capped to a second: it listens again
            break
    else:
        pytest.fail("never listened again")
    assert store.next_due([KIND]) is None
    timer = threading.Timer(0.2, poke, (store,))
    timer.start()
    assert seconds(lambda: store.wait(20)) < 5
    timer.join()
    store.close()


def test_what_follows_the_audit_is_planned_with_the_record(shared_url: str) -> None:
    store = SqlStore(shared_url, followers={"checkpoint": HOUR})
    try:
        with store.write() as uow:
            uow.work.poke(KIND, "no record", now())
            uow.commit()
        assert store.next_due(["checkpoint"]) is None
        at = now()
        with store.write() as uow:
            uow.audit.append(Event("test", at, "S-1-5-1", "somebody"))
            uow.commit()
        due = store.next_due(["checkpoint"])
        assert due is not None
        assert abs(due - (at + HOUR)) < timedelta(seconds=1)
    finally:
        store.close()


def test_waiting_says_whether_somebody_poked(store: SqlStore) -> None:
    store.next_due([KIND])
    assert store.wait(0.01) is False
    store.next_due([KIND])
    poke(store, "a")
    assert store.wait(5) is True
