"""A small measurement, printed and not judged: run with `-s`. The benchmarks judge."""

import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from bastide.domain.audit import Event
from bastide.domain.ids import RequestId, UserId
from bastide.domain.requests import OPEN, Request, State
from bastide.store.unit_of_work import SqlStore
from tests.support import build

pytest_plugins = ["tests.support.postgres", "tests.support.stores"]
ROWS = 200
SECONDS = 0.3


def rate(act: Callable[[], object]) -> float:
    """Times a second."""
    act()
    start, count = time.perf_counter(), 0
    while time.perf_counter() < start + SECONDS:
        act()
        count += 1
    return count / (time.perf_counter() - start)


def test_how_fast(shared_url: str) -> None:
    store, start = SqlStore(shared_url), datetime.now(UTC)
    users = [UserId(f"u{n:03}") for n in range(ROWS)]
    rows = [
        build.request(State.ACTIVE, id=RequestId(f"r{n:03}"), user=user, version=0)
        for n, user in enumerate(users)
    ]
    with store.write() as uow:
        for row in rows:
            uow.requests.add(row)
        uow.commit()

    def save(number: int) -> Callable[[], None]:
        """Requests, work rows and audit records, as an activation writes them."""

        def act() -> None:
            nonlocal rows
            with store.write() as uow:
                uow.requests.save_many(rows[:number])
                uow.work.poke_many("account", dict.fromkeys(users[:number], start))
                uow.audit.append(
                    *(Event("e", build.NOW, "S-1", "alice", request=r.id) for r in rows[:number])
                )
                uow.commit()
            rows = [*(replace(r, version=r.version + 1) for r in rows[:number]), *rows[number:]]

        return act

    def read() -> None:
        with store.read() as uow:
            found: tuple[Request, ...] = uow.requests.of_users(users, OPEN)
            assert len(found) == ROWS

    def claim_and_finish() -> None:
        now = datetime.now(UTC)
        works = store.claim(["account"], owner="o", lease=timedelta(minutes=1), limit=ROWS, now=now)
        assert len(works) == ROWS
        with store.write() as uow:
            uow.work.finish_many([(work, now) for work in works])
            uow.commit()

    def claim_nothing() -> None:
        store.claim(["none"], owner="o", lease=timedelta(minutes=1), limit=ROWS, now=datetime.now(UTC))

    one, many = rate(save(1)), rate(save(ROWS))
    print(
        f"\n{store}: {one:.0f} commits/s of one request + work row + audit record; {many:.1f} commits/s of {ROWS} each "
        f"({many * ROWS:.0f} rows/s); of_users({ROWS}) {1000 / rate(read):.1f} ms; "
        f"claim + finish_many({ROWS}) {1000 / rate(claim_and_finish):.1f} ms; empty claim {1000 / rate(claim_nothing):.2f} ms"
    )
    with store.read() as uow:
        assert uow.audit.head()[0] > ROWS
    store.close()
