"""Whatever is told together ends as if it had been told one by one: the same answers, rows, keys, audit records and events."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import select

from bastide.domain.ids import Sid
from bastide.domain.management_agents import CsId
from bastide.domain.passwords import DAY, OLDEST, Receipt
from bastide.services.passwords import refusals
from bastide.services.passwords.told import Told
from bastide.store import password_tables as tables
from bastide.wire import Notification, check_of
from tests.support.sync_world import ReversedOpener, SyncWorld, guid_of, sid_of

#: Of each: in which spaces.
USERS = {
    "alice": ("corp", "lab", "writer", "crm"),
    "bob": ("corp", "lab", "crm"),
    "carol": ("corp", "lab"),
    "erin": ("corp",),
    "frank": ("corp", "lab", "crm"),
}
_TABLES = (
    tables.password_changes,
    tables.password_deliveries,
    tables.password_stamps,
    tables.password_sources,
)


@dataclass(frozen=True)
class Tell:
    """One notification. `reference` is one of few, so that some are told twice."""

    user: str
    password: str
    reference: int
    revision: int
    moved: timedelta
    kind: str


@dataclass(frozen=True)
class Step:
    """What one controller says, and what happens then. `down`: CRM is, so that what was delivered to others is still held for it."""

    domain: str
    several: tuple[Tell, ...]
    passed: timedelta = timedelta(0)
    delivered: bool = True
    down: bool = False


_MOVED = [
    *[timedelta(0)] * 8,
    timedelta(seconds=1),
    timedelta(seconds=-1),
    timedelta(minutes=-3),
    timedelta(hours=-1),
    timedelta(hours=1),
    -OLDEST - timedelta(seconds=1),
]
_TELL = st.builds(
    Tell,
    user=st.sampled_from([*USERS, *["alice", "bob"] * 3, "nobody"]),
    password=st.sampled_from(["first", "second"]),
    reference=st.integers(0, 23),
    revision=st.integers(0, 5),
    moved=st.sampled_from(_MOVED),
    kind=st.sampled_from(["good"] * 10 + ["damaged", "stale", "empty", "unchecked", "other"]),
)
_STEP = st.builds(
    Step,
    domain=st.sampled_from([*["corp", "lab"] * 4, "else"]),
    several=st.lists(_TELL, min_size=1, max_size=8).map(tuple),
    passed=st.sampled_from(
        [timedelta(0), *[timedelta(seconds=1)] * 3, timedelta(minutes=2), timedelta(minutes=10), DAY]
    ),
    delivered=st.sampled_from([True, True, False]),
    down=st.booleans(),
)


@contextmanager
def _world() -> Iterator[SyncWorld]:
    """CORP and LAB tell each other; LAB has a second agent, which writes to it, and CRM is told by both."""
    world = SyncWorld()
    try:
        world.add_target("crm")
        world.add_target("writer")
        own = (Sid(sid_of("frank")),)
        world.add_source("corp", "lab", "writer", "crm", settable=True, daily_limit=3, own_accounts=own)
        world.add_source("lab", "corp", "crm", settable=True)
        for name, spaces in USERS.items():
            world.add_user(name, *spaces, joined=name != "carol")
        with world.store.write() as uow:
            written = uow.space.get(CsId(guid_of("cs writer alice")))
            uow.space.put([replace(written, anchor=guid_of("lab alice"))])
            uow.commit()
        world.systems.systems["writer"].put(guid_of("lab alice"))
        yield world
    finally:
        world.close()


def _notification(world: SyncWorld, domain: str, one: Tell) -> Notification:
    reference = guid_of(f"reference {one.reference}")
    more: dict[str, Any] = {}
    if one.kind == "damaged":
        more["secret"] = b"for somebody else"
    elif one.kind == "stale":
        more["check"] = check_of(reference, b"\x11" * 16)
    elif one.kind == "empty":
        more["secret"] = ReversedOpener.seal("")
    elif one.kind == "unchecked":
        more["check"] = b""
    elif one.kind == "other":
        more["user_sid"] = sid_of("somebody else")
    return world.notification(
        one.user,
        one.password,
        domain=domain,
        reference=reference,
        revision=one.revision,
        at=world.clock.now() + one.moved,
        **more,
    )


def _left(world: SyncWorld) -> list[object]:
    """All that somebody could find afterwards."""
    with world.store.engine.connect() as connection:
        rows = [sorted(map(repr, connection.execute(select(table)))) for table in _TABLES]
    with world.store.read() as uow:
        work = uow.work.listing()
    keys = world.vault.get(world.vault.references())
    return [*rows, work, sorted(keys.items()), world.audit(), world.events.written]


def _tell(world: SyncWorld, step: Step, *, together: bool) -> list[Told]:
    several = [_notification(world, step.domain, one) for one in step.several]
    caller, accept = world.caller(step.domain), world.passwords.accept
    if together:
        return list(accept.notifications(caller, several))
    return [accept.notification(caller, one) for one in several]


def _run(world: SyncWorld, steps: list[Step], *, together: bool) -> Iterator[list[object]]:
    for step in steps:
        yield [*_tell(world, step, together=together)]
        yield _left(world)
        world.systems.systems["crm"].faults.down = step.down
        if step.delivered:
            world.work()
        world.clock.moment += step.passed


@settings(max_examples=50, deadline=None)
@given(steps=st.lists(_STEP, min_size=1, max_size=5))
def test_together_and_one_by_one_are_the_same(steps: list[Step]) -> None:
    with pytest.MonkeyPatch.context() as patch, _world() as all_, _world() as each:
        patch.setattr(refusals, "ALLOWED", 8)
        together, alone = _run(all_, steps, together=True), _run(each, steps, together=False)
        for ours, theirs in zip(together, alone, strict=True):
            assert ours == theirs


def _story(*steps: Step) -> list[Receipt | None]:
    test = test_together_and_one_by_one_are_the_same.hypothesis.inner_test  # type: ignore[attr-defined]
    test(list(steps))
    with _world() as world:
        return [
            one.receipt
            for found in _run(world, list(steps), together=True)
            for one in found
            if isinstance(one, Told)
        ]


def _tells(*users: str, password: str = "first", revision: int = 2, reference: int = 0) -> tuple[Tell, ...]:
    return tuple(
        Tell(user, password, reference + number, revision + number, timedelta(0), "good")
        for number, user in enumerate(users)
    )


def test_the_echoes_of_one_batch_are_compared_with_what_was_written() -> None:
    """No change of LAB is known, so that AD's counter says nothing: only the passwords do, as long as they are held for CRM."""
    second = timedelta(seconds=1)
    own = (*_tells("alice", reference=4), *_tells("bob", password="own idea", reference=6))
    receipts = _story(
        Step("corp", _tells("alice", "bob"), second, down=True), Step("lab", own), Step("lab", own)
    )
    assert receipts == [
        Receipt.STAGED,
        Receipt.STAGED,
        Receipt.ECHO,
        Receipt.STAGED,
        *[Receipt.DUPLICATE] * 2,
    ]


def test_two_of_one_user_see_each_other() -> None:
    told = (*_tells("alice", "alice", "alice", "alice"), *_tells("alice", reference=9), *_tells("bob", "bob"))
    assert _story(Step("corp", told)) == [
        *[Receipt.STAGED] * 3,
        Receipt.DAILY_LIMIT,
        Receipt.OUT_OF_DATE,
        Receipt.DUPLICATE,
        Receipt.DUPLICATE,
    ]


def test_what_cannot_be_read_is_recorded_once_however_often_it_is_told() -> None:
    bad = Tell("alice", "first", 3, 2, timedelta(0), "damaged")
    assert _story(Step("corp", (bad, bad, bad))) == [Receipt.UNREADABLE] * 3


def test_one_before_it_may_turn_the_order() -> None:
    """AD's counter was not known: by time the last one is old. The one before it makes the counter known, and by that it is the newest."""
    first, last = Tell("bob", "first", 1, 4, timedelta(0), "good"), timedelta(minutes=-3)
    told = (first, Tell("bob", "second", 2, 5, last, "good"))
    known = Step("corp", _tells("bob", revision=0), timedelta(seconds=1), delivered=False)
    assert _story(known, Step("corp", told)) == [Receipt.STAGED] * 3


def test_a_write_of_ours_explains_one_change_of_a_batch() -> None:
    second = timedelta(seconds=1)
    known = Step("lab", _tells("bob", password="before", revision=1), timedelta(minutes=10))
    ours = Step("corp", _tells("bob", reference=2, revision=1), second)
    own = (*_tells("bob", reference=4, revision=2), *_tells("bob", reference=5, revision=3, password="own"))
    assert _story(known, ours, Step("lab", own)) == [
        Receipt.STAGED,
        Receipt.STAGED,
        Receipt.ECHO,
        Receipt.STAGED,
    ]
