"""Access reviews and their lines, on SQLite and PostgreSQL."""

from dataclasses import replace
from datetime import timedelta

import pytest

from bastide.domain.errors import Conflict, NotFound
from bastide.domain.people import Forest, MfaProof
from bastide.domain.reviews import Decision, Every, Line, Outcome, Review, State, Tally, Verdict
from bastide.domain.roles import Subject
from bastide.domain.usage import Usage
from bastide.store.unit_of_work import SqlStore
from tests.support import build

pytest_plugins = ["tests.support.postgres", "tests.support.stores"]
NOW = build.NOW


def review(number: int, **more: object) -> Review:
    made = Review(
        id=build.uid(f"review {number}"),
        name="Winter",
        roles=(build.role().id,),
        reviewer=None,
        fallback=Subject(build.sid(9, Forest.PRIV), "PRIV\\grace"),
        silence=Verdict.REMOVE,
        opens_at=NOW + timedelta(days=number),
        lasts=timedelta(days=14),
        remind=timedelta(days=3),
        lookback=timedelta(days=90),
        created_at=NOW,
        created_by=build.sid(1, Forest.PRIV),
        created_by_name="PRIV\\dave",
        every=Every(months=6),
    )
    return replace(made, **more)  # type: ignore[arg-type]


def line(of: Review, number: int) -> Line:
    return Line(
        id=build.uid(f"line {number}"),
        review=of.id,
        role=build.role().id,
        role_name="File administrators",
        person=f"priv.person{number}",
        accounts=(build.sid(number), build.sid(number, Forest.PRIV)),
        direct=True,
        through=("CORP\\Ops",),
        reviewer=Subject(build.sid(8), "mallory"),
        why_reviewer="",
        usage=Usage(asked=3, used=2, last=NOW, reasons=("a\nb", "'--"), approved_by=("grace",)),
    )


def test_a_review_is_kept_with_its_lines_in_their_order(store: SqlStore) -> None:
    first, later = review(1), review(2)
    lines = tuple(line(first, number) for number in (30, 10, 20))
    with store.write() as uow:
        uow.reviews.add(first)
        uow.reviews.add(later)
        uow.reviews.add_lines(lines)
        uow.commit()
    with store.read() as uow:
        assert [replace(one, version=0) for one in uow.reviews.all()] == [later, first], "the latest first"
        assert uow.reviews.lines(first.id) == lines
        assert uow.reviews.lines(later.id) == ()
        assert uow.reviews.line(first.id, lines[1].id) == lines[1]
        assert uow.reviews.open() == ()


def test_what_is_saved_is_what_was_read_or_a_conflict(store: SqlStore) -> None:
    with store.write() as uow:
        uow.reviews.add(review(1))
        uow.commit()
    with store.write() as uow:
        read = uow.reviews.get(review(1).id)
        opened = uow.reviews.save(replace(read, state=State.OPEN, signature=b"\x00\xff"))
        uow.commit()
    assert (opened.version, opened.signature) == (read.version + 1, b"\x00\xff")
    with store.write() as uow, pytest.raises(Conflict):
        uow.reviews.save(replace(read, name="Other"))
    with store.read() as uow:
        assert uow.reviews.open() == (opened,)


def test_a_line_keeps_its_decision_and_what_became_of_it(store: SqlStore) -> None:
    made = review(1)
    decision = Decision(
        Verdict.REMOVE, "left", build.sid(8), "CORP\\mallory", NOW, MfaProof("totp", "f", NOW)
    )
    decided = replace(line(made, 1), decision=decision, outcome=Outcome.BY_HAND, said="through a group")
    with store.write() as uow:
        uow.reviews.add(made)
        uow.reviews.add_lines((line(made, 1),))
        uow.reviews.save_line(decided)
        uow.commit()
    with store.read() as uow:
        assert uow.reviews.lines(made.id) == (decided,)


def test_what_was_said_of_lines_and_became_of_them_is_counted(store: SqlStore) -> None:
    made, other = review(1), review(2)
    said = [
        (None, None), (None, Outcome.REMOVED), (Verdict.KEEP, Outcome.KEPT), (Verdict.KEEP, None),
        (Verdict.KEEP, Outcome.GONE), (Verdict.REMOVE, Outcome.REMOVED), (Verdict.REMOVE, Outcome.BY_HAND),
    ]  # fmt: skip
    lines = tuple(
        replace(
            line(made, number),
            decision=None
            if verdict is None
            else Decision(verdict, "keep", build.sid(8), "remove", NOW, MfaProof("totp", "f", NOW)),
            outcome=outcome,
        )
        for number, (verdict, outcome) in enumerate(said)
    )
    with store.write() as uow:
        uow.reviews.add(made)
        uow.reviews.add(other)
        uow.reviews.add_lines(lines)
        uow.reviews.add_lines((line(other, 99),))
        uow.commit()
    with store.read() as uow:
        counted = uow.reviews.tally(made.id)
        assert counted == Tally(lines=7, keep=3, remove=2, kept=1, removed=2, by_hand=1, gone=1)
        assert counted.undecided == 2
        assert uow.reviews.tally(other.id) == Tally(lines=1)
        assert uow.reviews.tally(build.uid("nowhere")) == Tally()


def test_what_is_not_there_is_said_to_be(store: SqlStore) -> None:
    with store.write() as uow:
        with pytest.raises(NotFound):
            uow.reviews.get(review(1).id)
        with pytest.raises(NotFound):
            uow.reviews.line(review(1).id, "x")
        with pytest.raises(NotFound):
            uow.reviews.save_line(line(review(1), 1))
    with store.write() as uow:
        uow.reviews.add(review(1))
        with pytest.raises(Conflict):
            uow.reviews.add(review(1))
