"""Registrations, resets and counts of self-service reset are kept as they are, on each database."""

from dataclasses import replace
from datetime import timedelta

import pytest

from bastide.domain.ids import Sid
from bastide.domain.reset.flow import Reset
from bastide.domain.reset.gates import Gate
from bastide.domain.reset.lockout import Count, Kind
from bastide.services.reset.ports import Answer, Draft, Registration
from bastide.store.unit_of_work import SqlStore
from tests.support.world import START

pytest_plugins = ["tests.support.postgres", "tests.support.stores"]
NINA = Sid("S-1-5-21-1-2-3-1104")
REGISTRATION = Registration(
    person=NINA,
    name="nina",
    registered_at=START,
    sealed=b"\x00sealed",
    gates=(Gate.MAIL, Gate.QUESTIONS),
    answers=(Answer("First pet?", "a hash"),),
    addresses=("2001:db8::/64",),
    last_step=7,
)
RESET = Reset(
    id="r1",
    token_hash="t1",
    key="k",
    person=NINA,
    account="nina",
    gates=(Gate.MAIL,),
    started_at=START,
    expires_at=START + timedelta(minutes=15),
    cooling=timedelta(hours=2),
    ready_at=START + timedelta(hours=2),
    sealed_code=b"\xff",
    stop_hash="s1",
    said=(("crm", "done", True),),
)


def test_rows_read_as_they_were_written(store: SqlStore) -> None:
    draft = Draft(id="d", person=NINA, gate=Gate.SMS, sealed=b"x", expires_at=START)
    count = Count(kind=Kind.NAME, key="k", began=START, number=3, until=START, locks=2, name="Nina")
    with store.write() as uow:
        uow.resets.register(REGISTRATION)
        uow.resets.put(RESET)
        uow.resets.put_draft(draft)
        uow.resets.put_count(count)
        uow.commit()
    with store.read() as uow:
        assert uow.resets.registration(NINA) == REGISTRATION
        assert uow.resets.registrations() == (REGISTRATION,)
        assert uow.resets.get("r1") == uow.resets.by_token("t1") == uow.resets.by_stop("s1") == RESET
        assert uow.resets.of_person(NINA) == (RESET,)
        assert uow.resets.by_stop("") is None
        assert uow.resets.draft("d") == draft
        assert uow.resets.count(Kind.NAME, "k") == count
        assert uow.resets.counts([Kind.NAME]) == (count,)
        assert uow.resets.counts([Kind.PAIR]) == ()


def test_whether_somebody_registered_from_an_address(store: SqlStore) -> None:
    """An address is looked for whole, and none of its signs is a wildcard."""
    with store.write() as uow:
        assert not uow.resets.is_registered_from("2001:db8::/64")
        uow.resets.register(REGISTRATION)
        uow.resets.register(
            replace(REGISTRATION, person=Sid("S-1-5-21-1-2-3-1105"), addresses=("192.0.2.17", "a%b_\\"))
        )
        uow.commit()
    with store.read() as uow:
        assert all(map(uow.resets.is_registered_from, ("2001:db8::/64", "192.0.2.17", "a%b_\\")))
        for other in ("192.0.2.1", "2.0.2.17", "2001:db8::/6", "%", "a%b__", "a_b_\\", "nina%", ""):
            assert not uow.resets.is_registered_from(other), other
    with store.write() as uow:
        uow.resets.unregister(NINA)
        assert not uow.resets.is_registered_from("2001:db8::/64")


def test_what_is_saved_again_takes_the_place(store: SqlStore) -> None:
    with store.write() as uow:
        uow.resets.register(REGISTRATION)
        uow.resets.register(replace(REGISTRATION, last_step=8))
        uow.resets.put(RESET)
        uow.resets.put(replace(RESET, passed=1))
        uow.commit()
    with store.write() as uow:
        held = uow.resets.registration(NINA)
        assert held is not None
        assert held.last_step == 8
        assert uow.resets.of_person(NINA) == (replace(RESET, passed=1),)
        assert uow.resets.unregister(NINA)
        assert not uow.resets.unregister(NINA)


def test_counts_of_a_person_are_removed_together(store: SqlStore) -> None:
    with store.write() as uow:
        for kind, key, name in ((Kind.PAIR, "a", "Nína"), (Kind.NAME, "b", "nina"), (Kind.PAIR, "c", ""), (Kind.ADDRESS, "d", "")):  # fmt: skip
            uow.resets.put_count(Count(kind=kind, key=key, began=START, name=name))
        assert uow.resets.remove_counts("NINA") == 2
        assert uow.resets.remove_counts("") == 0
        assert uow.resets.count(Kind.PAIR, "c") is not None
        uow.resets.remove_count(Kind.PAIR, "c")
        assert uow.resets.count(Kind.PAIR, "c") is None
        uow.commit()


@pytest.mark.parametrize("for_good", [False, True])
def test_what_is_over_is_forgotten_but_a_lock_for_good(store: SqlStore, for_good: bool) -> None:
    with store.write() as uow:
        uow.resets.put(RESET)
        uow.resets.put_count(Count(kind=Kind.NAME, key="k", began=START, for_good=for_good))
        uow.resets.forget(START + timedelta(hours=23))
        assert uow.resets.get("r1") is not None
        uow.resets.forget(START + timedelta(days=3))
        assert uow.resets.get("r1") is None
        assert (uow.resets.count(Kind.NAME, "k") is not None) is for_good
        uow.commit()
