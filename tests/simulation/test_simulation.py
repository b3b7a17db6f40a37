"""A few seeds of the simulation, and the proof that it can fail: whatever is taken away from the product breaks the rule that stands on it.

`make simulate` runs a thousand seeds; docs/operations/simulation.md has what came of them.
"""

import logging
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import and_, bindparam, update

from bastide.directory.memory import MemoryDirectory
from bastide.domain import audit, requests
from bastide.domain.errors import AuditBroken
from bastide.domain.requests import Request, State
from bastide.services import grants
from bastide.services.readback import Seen
from bastide.store import audit_log, tables, work
from tests.simulation.books import BrokenRule
from tests.simulation.database import SimulatedStore
from tests.simulation.run import ALONE, one, table
from tests.simulation.story import REQUESTS, Story, Told

#: The last found that an announced end does not hold where a controller's clock is behind.
SEEDS = (1, 2, 3, 6)
#: A mutation that so many small seeds do not show would be one that the simulation cannot find.
TRIES = 12
FEW = 40
_OLD_TOO = and_(
    work._t.kind == bindparam("kind_"),
    work._t.key == bindparam("key_"),
    work._t.fence >= bindparam("fence_"),
)


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """The workers say what goes wrong, and much does."""
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


@pytest.mark.parametrize("seed", SEEDS)
def test_whatever_breaks_the_rules_hold(seed: int) -> None:
    told = Story(seed).until_quiet()
    assert told.counted["requests"] > REQUESTS / 2
    assert told.counted["kills"]
    assert told.counted["work taken over"]


def test_a_seed_tells_the_same_story_each_time() -> None:
    assert Story(5, FEW).until_quiet() == Story(5, FEW).until_quiet()


def broken(*numbers: int) -> None:
    """A few seeds find it, at the latest, and no other rule is blamed."""
    for seed in range(1, TRIES + 1):
        try:
            Story(seed, FEW).until_quiet()
        except BrokenRule as error:
            assert error.number in numbers, error
            return
    pytest.fail(f"none of the rules {numbers} was ever broken")


def not_read_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(grants.Grants, "_look", lambda *_: Seen({"nobody": {}}, ()))
    monkeypatch.setattr(grants, "confirmed", lambda *_: True)


def test_without_the_fence_an_old_claim_gives_the_work_of_another_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    later = work._GIVEN_BACK
    monkeypatch.setattr(
        work, "_FINISH", update(tables.work).where(_OLD_TOO).values(**later, attempts=0, error="")
    )
    monkeypatch.setattr(
        work, "_RETRY", update(tables.work).where(_OLD_TOO).values(**later, error=bindparam("error_"))
    )
    broken(3)


def test_without_the_read_back_active_is_said_of_what_nobody_saw(monkeypatch: pytest.MonkeyPatch) -> None:
    not_read_back(monkeypatch)
    broken(4)


def test_access_that_is_not_taken_away_outlives_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if the account were kept alive and the worker forgot the members: the account's end is written an hour late."""
    write = MemoryDirectory.set_ends
    hour = timedelta(hours=1)
    monkeypatch.setattr(
        MemoryDirectory,
        "set_ends",
        lambda self, ends: write(self, {sid: end + hour for sid, end in ends.items()}),
    )
    monkeypatch.setattr(MemoryDirectory, "remove_members", lambda *_: None)
    monkeypatch.setattr(grants, "confirmed", lambda *_: True)
    monkeypatch.setattr(grants, "gone", lambda *_: True)
    broken(2)


def test_an_end_that_comes_early_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    advance = requests.advance

    def early(request: Request, now: datetime) -> Request:
        if request.state is State.ACTIVE:
            return replace(request, state=State.CLOSING, outcome=State.EXPIRED)
        return advance(request, now)

    monkeypatch.setattr(requests, "advance", early)
    broken(8)


def test_an_end_that_forgets_the_tickets_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    finish = requests.finish
    monkeypatch.setattr(
        requests, "finish", lambda request, now, _cap, **how: finish(request, now, timedelta(0), **how)
    )
    broken(2)


def test_work_that_another_partition_claims_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    everybodys = work._t.id.is_not(None)
    monkeypatch.setattr(work, "_OURS", everybodys)
    claims = {
        (dialect, seated): work._claim(now, work._ALLOWED[seated])
        for dialect, now in work.NOW.items()
        for seated in (False, True)
    }
    monkeypatch.setattr(work, "_CLAIM", claims)
    monkeypatch.setattr(
        Story, "_takers", lambda story, kind, _partition: [n for n in story.cluster.nodes if n.free(kind)]
    )
    broken(5)


def test_an_acknowledgement_without_a_commit_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    commit = SimulatedStore.commit

    def sometimes(store: SimulatedStore, act: Any) -> None:
        if store.universe.turn is None or not store.universe.sometimes(0.05):
            commit(store, act)

    monkeypatch.setattr(SimulatedStore, "commit", sometimes)
    broken(1, 2)  # or an end that was written and is not known any more


def test_a_chain_with_a_wrong_link_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    chained = audit_log._chained
    monkeypatch.setattr(
        audit_log,
        "_chained",
        lambda event, seq, before: chained(event, seq, audit.GENESIS if seq == 400 else before),
    )
    with pytest.raises(AuditBroken):
        Story(1).until_quiet()


def test_an_end_that_never_comes_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    advance = requests.advance
    monkeypatch.setattr(
        requests,
        "advance",
        lambda request, now: request if request.state is State.ACTIVE else advance(request, now),
    )
    broken(7)


def test_a_seed_that_fails_says_how_to_run_it_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    not_read_back(monkeypatch)
    said = [one(seed) for seed in (1, 2)]
    failed = [text for text in said if isinstance(text, str)]
    assert failed
    assert all(ALONE.format(seed) in text for seed, text in enumerate(said, 1) if isinstance(text, str))
    assert f"| of them with a broken rule | {len(failed)} |" in table(
        [t for t in said if isinstance(t, Told)], failed, 1.0
    )
