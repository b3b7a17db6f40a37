"""What the database counts for auditors and operators, on SQLite and PostgreSQL."""

from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from bastide.domain.audit import Event
from bastide.domain.ids import RequestId, RoleId, Sid, UserId
from bastide.domain.observed import Change, Judged, Kind, Named, Verdict
from bastide.domain.requests import Decision, Place, Request, State, Vote
from bastide.domain.reset.flow import Reset, Stage
from bastide.services.figures import (
    REACH,
    Activations,
    Called,
    Fault,
    HeldQuery,
    Holder,
    Outcomes,
    Queue,
    Span,
)
from bastide.store.unit_of_work import SqlStore
from tests.support import build

pytest_plugins = ["tests.support.postgres", "tests.support.stores"]
NOW = build.NOW
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
EVERYTHING = Span(NOW - 400 * DAY, NOW + DAY)


def requests(store: SqlStore, *rows: Request) -> None:
    with store.write() as uow:
        for row in rows:
            uow.requests.add(row)
        uow.commit()


def held(store: SqlStore, limit: int = 100, before: Place | None = None, **query: Any) -> list[str]:
    with store.read() as uow:
        return [one.id for one in uow.figures.held(HeldQuery(**query), limit=limit, before=before)]


def numbered(number: int) -> Request:
    return build.request(id=RequestId(build.uid(f"{number:03}")))


def access(number: int, began: datetime, lasted: timedelta = HOUR, **changes: Any) -> Request:
    """A request that gave access from then on, and is over."""
    fields = {
        "state": State.EXPIRED,
        "created_at": began - timedelta(minutes=5),
        "active_from": began,
        "ends_at": began + lasted,
        "true_end": began + lasted + timedelta(minutes=15),
        "closed_at": began + lasted,
        **changes,
    }
    return replace(numbered(number), **fields)


def ids(rows: Iterable[Request]) -> list[str]:
    return [row.id for row in rows]


def test_who_held_within_a_span(store: SqlStore) -> None:
    before = access(1, NOW - 5 * HOUR)
    running_in = access(2, NOW - 2 * HOUR)
    inside = access(3, NOW - HOUR / 2)
    after = access(4, NOW + 3 * HOUR)
    never = replace(numbered(5), state=State.REJECTED, created_at=NOW - HOUR)
    without_end = access(6, NOW - 3 * HOUR, state=State.PROCESSING, ends_at=None, true_end=None)
    requests(store, before, running_in, inside, after, never, without_end)
    assert held(store) == ids([after, inside, running_in, without_end, before])
    assert held(store, since=NOW - HOUR, until=NOW) == ids([inside, running_in, without_end])
    assert held(store, since=NOW - HOUR) == ids([after, inside, running_in, without_end])
    assert held(store, until=NOW - 2.5 * HOUR) == ids([without_end, before])
    assert held(store, since=NOW + REACH + 2 * DAY) == [], "what was asked for a year before is over"


def test_who_held_by_person_role_and_group(store: SqlStore) -> None:
    first, second = access(1, NOW - HOUR), access(2, NOW - 2 * HOUR)
    second = replace(
        second,
        user=UserId("u-2"),
        user_name="Priv.Two",
        role=RoleId("r-2"),
        role_name="Second",
        privileges=(build.group("Db").id,),
    )
    requests(store, first, second)
    for field, name in (("user", "priv.two"), ("role", "SECOND")):
        for id_, wanted in (
            (getattr(second, field), [second]),
            ("", [second]),
            (getattr(first, field), [first, second]),
        ):
            query: dict[str, Any] = {field: Called(id_, name)}
            assert held(store, **query) == ids(wanted), "the one that is, and the one that was"
    assert held(store, group=second.privileges[0]) == ids([second])
    assert held(store, group=first.privileges[0]) == ids([first])
    assert held(store, user=Called("u-2", ""), role=Called(first.role, "")) == []


def test_who_held_in_pages(store: SqlStore) -> None:
    rows = [access(number, NOW - HOUR) for number in range(1, 8)]
    requests(store, *rows)
    found: list[str] = []
    before = None
    while page := held(store, limit=3, before=before):
        found += page
        before = Place(rows[0].created_at, page[-1])
    assert found == sorted(ids(rows), reverse=True)


def test_activations_by_role_and_hour(store: SqlStore) -> None:
    at = datetime(2026, 11, 19, 23, 59, 59, 999_999, tzinfo=UTC)
    other = RoleId("r-2")
    requests(
        store,
        access(1, at),
        access(2, at - DAY),
        access(3, at + timedelta(microseconds=1)),
        replace(access(4, at), role=other, role_name="Z"),
        replace(numbered(5), created_at=at),
        access(6, at - 20 * DAY),
    )
    role = numbered(1)
    with store.read() as uow:
        found = uow.figures.activations(Span(at - 10 * DAY, at + DAY))
    assert found == (
        Activations(role.role, role.role_name, 0, 1),
        Activations(role.role, role.role_name, 23, 2),
        Activations(other, "Z", 23, 1),
    )


def test_outcomes(store: SqlStore) -> None:
    rows = [
        replace(numbered(number), state=state, created_at=NOW)
        for number, state in enumerate([State.FAILED, State.FAILED, State.REJECTED], 1)
    ]
    requests(store, *rows, replace(rows[0], id=RequestId("old"), created_at=NOW - 30 * DAY))
    role, name = rows[0].role, rows[0].role_name
    with store.read() as uow:
        found = uow.figures.outcomes(Span(NOW - DAY, NOW + DAY))
        assert uow.figures.outcomes(Span(NOW + DAY, NOW + 2 * DAY)) == ()
    assert found == (Outcomes(role, name, State.FAILED, 2), Outcomes(role, name, State.REJECTED, 1))


def voted(number: int, after: timedelta, decision: Decision = Decision.APPROVE) -> Request:
    first = Vote("p", Sid("S-1-5-21-1-1-1-1"), "PRIV\\grace", Decision.APPROVE, "", "one", NOW, None)
    last = replace(first, decision=decision, at=NOW + after, person="q")
    return replace(numbered(number), state=State.ACTIVE, created_at=NOW, votes=(first, last))


def test_time_to_the_last_approval(store: SqlStore) -> None:
    minutes = [timedelta(minutes=number) for number in (1, 4, 5, 59, 60, 600)]
    rows = [voted(number, after) for number, after in enumerate(minutes, 1)]
    waiting = replace(voted(7, HOUR), state=State.PENDING_APPROVAL)
    requests(store, *rows, waiting, voted(8, HOUR, Decision.REJECT), replace(numbered(9), created_at=NOW))
    with store.read() as uow:
        assert uow.figures.approval_times(EVERYTHING, [timedelta(minutes=5), HOUR]) == (2, 2, 2)
        assert uow.figures.approval_times(Span(NOW + HOUR, NOW + DAY), [HOUR]) == (0, 0)


def test_what_ends_soon(store: SqlStore) -> None:
    left = [timedelta(minutes=number) for number in (-1, 5, 20, 90, 3000)]
    rows = [access(number, NOW - HOUR, HOUR + one, state=State.ACTIVE) for number, one in enumerate(left, 1)]
    requests(store, *reversed(rows), access(9, NOW - HOUR))
    with store.read() as uow:
        assert uow.figures.ending(NOW, [timedelta(minutes=15), HOUR]) == (2, 1, 2)
        assert ids(uow.figures.ending_next(3)) == ids(rows[:3])


def test_an_empty_database_counts_nothing(store: SqlStore) -> None:
    with store.read() as uow:
        figures = uow.figures
        found = [
            figures.activations(EVERYTHING),
            figures.outcomes(EVERYTHING),
            figures.holders(),
            figures.faults(9),
        ]
        assert not any([*found, figures.queues(NOW), figures.ending_next(5)])
        assert figures.approval_times(EVERYTHING, [HOUR]) == figures.ending(NOW, [HOUR]) == (0, 0)


def test_work_that_waits_runs_and_fails(store: SqlStore) -> None:
    now = datetime.now(UTC).replace(microsecond=0)  # PostgreSQL's own clock leases
    with store.write() as uow:
        uow.work.poke_many("account", {"1": now - HOUR, "2": now - 2 * HOUR, "3": now + HOUR})
        uow.work.poke("link", "4", now - DAY)
        uow.work.poke("audit", "5", now - HOUR)
        uow.commit()
    (link,) = store.claim(["link"], owner="node-1", lease=timedelta(seconds=30), limit=1, now=now)
    (audit,) = store.claim(["audit"], owner="node-2", lease=timedelta(seconds=30), limit=1, now=now)
    with store.write() as uow:
        uow.work.retry(audit, now + HOUR, "disk\nfull")
        uow.commit()
    with store.read() as uow:
        assert uow.figures.queues(now) == (
            Queue("account", 3, 2, 0, 0, now - 2 * HOUR),
            Queue("audit", 1, 0, 0, 1, None),
            Queue("link", 1, 0, 1, 0, None),
        )
        assert uow.figures.faults(10) == (Fault("audit", "5", 1, now + HOUR, "disk\nfull"),)
        assert uow.figures.faults(0) == ()
        (holder,) = uow.figures.holders()
    assert holder.until > now
    assert holder == Holder("node-1", 1, holder.until)
    with store.write() as uow:
        uow.work.finish(link, None)
        uow.commit()
    with store.read() as uow:
        assert uow.figures.holders() == ()


# ------------------------------------------------------------------------------------------------- audit, events, resets


def test_records_by_kind(store: SqlStore) -> None:
    with store.write() as uow:
        for kind, ago in (("a.b", 0), ("a.b", 30), ("a.b", 61), ("c.d", 1), ("e.f", 1)):
            uow.audit.append(Event(at=NOW - timedelta(minutes=ago), kind=kind, actor="x", actor_name="x"))
        uow.commit()
    with store.read() as uow:
        assert uow.figures.recorded(["a.b", "c.d", "g.h"], NOW - HOUR) == {"a.b": 2, "c.d": 1}


def test_observed_changes_by_verdict(store: SqlStore) -> None:
    with store.write() as uow:
        for number, (verdict, ago) in enumerate(
            [(Verdict.PENDING, 0), (Verdict.UNEXPLAINED, 1), (Verdict.UNEXPLAINED, 2), (Verdict.GRANT, 30)]
        ):
            change = Change(
                source="dc1",
                record=str(number),
                kind=Kind.MEMBER_ADDED,
                event=4728,
                computer="",
                at=NOW - ago * HOUR,
                actor=Named(name="eve"),
                target=Named(name="bob"),
            )
            uow.observed.add(Judged(change=change, verdict=verdict), NOW)
        uow.commit()
    with store.read() as uow:
        assert uow.figures.observed(NOW - DAY) == {Verdict.PENDING: 1, Verdict.UNEXPLAINED: 2}


def test_resets_by_stage(store: SqlStore) -> None:
    def reset(number: int, stage: Stage, person: str = "S-1-5-21-1-2-3-4", minutes: int = 5) -> Reset:
        return Reset(
            id=f"r{number}", token_hash=f"t{number}", key="k", person=person, account="nina", gates=(), started_at=NOW,
            expires_at=NOW + timedelta(minutes=minutes), stage=stage, sealed_code=b"\xff",
        )  # fmt: skip

    with store.write() as uow:
        for number, stage in enumerate(Stage):
            uow.resets.put(reset(number, stage))
        uow.resets.put(reset(10, Stage.GATES))
        uow.resets.put(reset(11, Stage.GATES, minutes=0))
        uow.resets.put(reset(12, Stage.GATES, person=""))
        uow.commit()
    with store.read() as uow:
        assert uow.figures.resets(NOW) == ({Stage.GATES: 2, Stage.COOLING: 1, Stage.CHOOSE: 1}, 1)
        assert uow.figures.resets(NOW + DAY) == ({}, 0)
