"""Verifications of callers of the help desk, on SQLite and PostgreSQL."""

from dataclasses import replace
from datetime import timedelta

import pytest

from bastide.domain.errors import Conflict, NotFound
from bastide.domain.help_desk import Differs, Method, Purpose, Route, Stage, Verification
from bastide.domain.management_agents import MvId
from bastide.store.unit_of_work import SqlStore
from tests.support import build

pytest_plugins = ["tests.support.postgres", "tests.support.stores"]
NOW = build.NOW
ALICE, BOB = MvId(build.uid("person alice")), MvId(build.uid("person bob"))


def verification(number: int, **more: object) -> Verification:
    made = Verification(
        id=build.uid(f"verification {number}"),
        person=ALICE,
        name="Zoë O'Hara\nof sales",
        operator=build.sid(7),
        purpose=Purpose.PASSWORD,
        method=Method.SENT,
        begun_at=NOW + timedelta(minutes=number, microseconds=1),
        code_hash="$argon2id$a hash",
        sealed_to=b"\x00 where it goes",
        sealed_before=b"\xff where the one before went",
        by="CORP\\Zoë",
    )
    return replace(made, **more)  # type: ignore[arg-type]


def begun(store: SqlStore, *several: Verification) -> None:
    with store.write() as uow:
        for one in several:
            uow.verifications.add(one)
        uow.commit()


def test_it_reads_as_it_was_written(store: SqlStore) -> None:
    sent = verification(1)
    shown = verification(2, method=Method.TOTP, code_hash="", factor="factor-1", person=BOB)
    sent = replace(sent, route=Route.DIRECTORY, differs=Differs.BEFORE, sealed_to=b"\x00\xff sealed")
    begun(store, sent, shown)
    with store.read() as uow:
        assert uow.verifications.get(sent.id) == sent
        assert uow.verifications.get(shown.id) == shown


def test_what_is_saved_takes_the_place_of_what_was(store: SqlStore) -> None:
    begun(store, verification(1), verification(2))
    used = verification(1, stage=Stage.USED, operation=build.uid("operation"), code_hash="", wrong=2)
    with store.write() as uow:
        uow.verifications.save(used)
        uow.commit()
    with store.read() as uow:
        assert uow.verifications.get(used.id) == used
        assert uow.verifications.get(verification(2).id) == verification(2)


def test_its_use_and_what_it_is_used_for_are_one_commit(store: SqlStore) -> None:
    begun(store, verification(1))
    with store.write() as uow:
        uow.verifications.save(verification(1, stage=Stage.USED))
    with store.read() as uow:
        assert uow.verifications.get(verification(1).id).stage is Stage.WAITING


def test_those_of_one_person_are_counted_from_a_moment_on(store: SqlStore) -> None:
    begun(store, *(verification(number) for number in (1, 2, 3)), verification(4, person=BOB))
    moment = verification(2).begun_at
    with store.read() as uow:
        assert uow.verifications.count(ALICE, NOW) == 3
        assert uow.verifications.count(ALICE, moment) == 2
        assert uow.verifications.count(ALICE, moment + timedelta(microseconds=1)) == 1
        assert uow.verifications.count(BOB, NOW) == 1
        assert uow.verifications.count(MvId(build.uid("person nobody")), NOW) == 0


def test_the_old_ones_are_forgotten_and_how_many_is_said(store: SqlStore) -> None:
    begun(store, *(verification(number) for number in (1, 2, 3)))
    with store.write() as uow:
        assert uow.verifications.forget(verification(3).begun_at) == 2
        assert uow.verifications.forget(verification(3).begun_at) == 0
        uow.commit()
    with store.read() as uow:
        assert uow.verifications.get(verification(3).id) == verification(3)
        with pytest.raises(NotFound, match="no such verification"):
            uow.verifications.get(verification(1).id)


def test_the_newest_of_each_person_stays_however_old(store: SqlStore) -> None:
    begun(store, *(verification(number) for number in (2, 3, 1)), verification(4, person=BOB))
    with store.write() as uow:
        assert uow.verifications.forget(NOW + timedelta(days=400)) == 2
        uow.commit()
    with store.read() as uow:
        assert uow.verifications.latest(ALICE) == verification(3)
        assert uow.verifications.latest(BOB) == verification(4, person=BOB)
        assert uow.verifications.latest(MvId(build.uid("person nobody"))) is None


def test_what_is_not_there_and_what_is_there_already_are_refused(store: SqlStore) -> None:
    with store.write() as uow:
        with pytest.raises(NotFound):
            uow.verifications.get(verification(1).id)
        with pytest.raises(NotFound):
            uow.verifications.save(verification(1))
    begun(store, verification(1))
    with store.write() as uow, pytest.raises(Conflict):
        uow.verifications.add(verification(1))
