"""Step (4) of services/reviews/run.py: no line of an ended review is done by a node that lost the row, and none by two."""

from collections.abc import Callable, Collection, Iterator, Mapping
from datetime import timedelta

import pytest

from bastide.domain.errors import LostLease
from bastide.domain.ids import Sid
from bastide.domain.reviews import Line, Outcome, Review, State, Verdict
from bastide.services.pace import REVIEW
from bastide.services.ports import Work
from bastide.services.reviews.reviewers import Reviewers
from bastide.services.reviews.run import ReviewWork
from bastide.services.reviews.ways import Found
from bastide.workers.jobs import LEASE
from tests.unit.test_reviews import House


class Asked:
    """A lease that is lost after it was asked so many times."""

    def __init__(self, good: int) -> None:
        self.left = good

    def require(self) -> None:
        self.left -= 1
        if self.left < 0:
            raise LostLease("another node may hold it")


@pytest.fixture
def house() -> Iterator[House]:
    made = House()
    yield made
    made.world.close()


def ended(house: House) -> tuple[Review, Work]:
    """Two lines wait to be done, and one node has claimed them."""
    review = house.plan(silence=Verdict.REMOVE)
    house.use.close(house.world.dave, review.id)
    (work,) = claim(house, "first")
    assert house.state(review).state is State.CLOSING
    return review, work


def claim(house: House, owner: str) -> tuple[Work, ...]:
    now = house.world.clock.now()
    return house.world.store.claim((REVIEW,), owner=owner, lease=LEASE, limit=1, now=now)


def meanwhile(monkeypatch: pytest.MonkeyPatch, what: Callable[[], None]) -> None:
    """Once, while the first line's directories are asked."""
    real, left = ReviewWork._looked, [what]

    def looked(self: ReviewWork, ways: object, of: Review, line: Line) -> Found:
        found = real(self, ways, of, line)  # type: ignore[arg-type]
        if left:
            left.pop()()
        return found

    monkeypatch.setattr(ReviewWork, "_looked", looked)


def outcomes(house: House, review: Review) -> list[Outcome | None]:
    return sorted((line.outcome for line in house.lines(review).values()), key=str)


def test_4_the_lease_is_asked_before_each_line(house: House) -> None:
    review, work = ended(house)
    with pytest.raises(LostLease):
        house.world.services.oversight.review_work.run([work], Asked(1))
    assert len(house.told("review.applied")) == 1, "one line was done while it held"
    assert None in outcomes(house, review)


def test_4_who_lost_the_row_and_does_not_know_it_does_no_line(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It stood still while a directory was asked; another node took over, and did everything."""
    review, work = ended(house)
    use = house.world.services.oversight.review_work

    def another_takes_over() -> None:
        house.world.clock.move(seconds=(LEASE + timedelta(seconds=1)).total_seconds())
        use.run(claim(house, "second"), Asked(9))
        assert house.state(review).state is State.CLOSED

    meanwhile(monkeypatch, another_takes_over)
    with pytest.raises(LostLease):
        use.run([work], Asked(9))
    told = {kind: len(house.told(kind)) for kind in ("review.applied", "review.closed", "role.changed")}
    assert told == {"review.applied": 2, "review.closed": 1, "role.changed": 2}


def test_4_who_comes_back_before_the_other_did_anything_does_nothing_either(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    review, work = ended(house)
    taken: list[Work] = []

    def another_claims() -> None:
        house.world.clock.move(seconds=(LEASE + timedelta(seconds=1)).total_seconds())
        taken.extend(claim(house, "second"))

    meanwhile(monkeypatch, another_claims)
    use = house.world.services.oversight.review_work
    with pytest.raises(LostLease):
        use.run([work], Asked(9))
    assert (house.told("review.applied"), house.told("role.changed")) == ([], [])
    use.run(taken, Asked(9))
    assert house.state(review).state is State.CLOSED
    assert len(house.told("review.applied")) == 2


def test_2_who_is_asked_again_while_somebody_ends_it_is_not_asked(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An administrator, while the directories were asked."""
    review, real = house.plan(silence=Verdict.KEEP), Reviewers.to_tell

    def to_tell(self: Reviewers, lines: Collection[Line]) -> Mapping[Sid, int]:
        monkeypatch.undo()
        house.use.close(house.world.dave, review.id)
        return real(self, lines)

    monkeypatch.setattr(Reviewers, "to_tell", to_tell)
    house.days(3)
    assert house.told("review.reminded") == []
    assert house.state(review).state is State.CLOSED
