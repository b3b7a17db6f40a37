"""What every store must do, on SQLite in a file, SQLite in memory and PostgreSQL."""

import threading
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from bastide.domain.audit import GENESIS, Event
from bastide.domain.errors import Conflict, LostLease, NotFound, StoreError
from bastide.domain.ids import GroupId, RequestId, RoleId, Sid, UserId
from bastide.domain.people import Forest, PamUser
from bastide.domain.requests import OPEN, Place, Request, State
from bastide.domain.webauthn import Purpose
from bastide.services.ports import AuditQuery, Store, UnitOfWork, Work
from bastide.services.signin import Challenge, Factor, Invitation, SecurityKey, Session
from bastide.store.unit_of_work import SqlStore
from tests.support import build

pytest_plugins = ["tests.support.postgres", "tests.support.stores"]
NOW = build.NOW
ALL = AuditQuery(limit=0)


def commit(store: SqlStore, act: Callable[[UnitOfWork], Any]) -> Any:
    with store.write() as uow:
        done = act(uow)
        uow.commit()
    return done


def look(store: SqlStore, act: Callable[[UnitOfWork], Any]) -> Any:
    with store.read() as uow:
        return act(uow)


def event(kind: str = "test", **changes: Any) -> Event:
    fields: dict[str, Any] = {"at": NOW, "actor": "S-1-5-21-1-1-1-500", "actor_name": "CORP\\dave"}
    return Event(kind, **fields | changes)


def add_users(store: SqlStore, *users: PamUser) -> None:
    with store.write() as uow:
        for user in users:
            uow.users.add(user)
        uow.commit()


def add_requests(store: SqlStore, rows: Iterable[Request]) -> None:
    with store.write() as uow:
        for row in rows:
            uow.requests.add(row)
        uow.commit()


def request_number(number: int, state: State = State.ACTIVE, **changes: Any) -> Request:
    made = NOW + timedelta(minutes=number)
    return build.request(state, id=RequestId(f"r{number:04}"), created_at=made, **changes)


# ------------------------------------------------------------------------------------------------------------- the port


def test_it_is_a_store(store: SqlStore) -> None:
    port: Store = store
    assert port.read()


# --------------------------------------------------------------------------------------------------------- named objects


def test_a_user_comes_back_by_id_name_and_both_accounts(store: SqlStore) -> None:
    alice, bob = build.user("alice", 1101), build.user("bob", 1102)
    add_users(store, bob, alice)
    with store.read() as uow:
        assert uow.users.get(alice.id) == alice
        assert uow.users.by_name("PRIV.Alice") == alice
        assert uow.users.by_sid(alice.corp.sid) == uow.users.by_sid(alice.priv.sid) == alice
        assert uow.users.by_sid(build.sid(9999)) is None
        assert isinstance(uow.users.get(alice.id).corp.sid, Sid)
        assert uow.users.many([bob.id, UserId("nobody"), alice.id]) == (bob, alice)
        assert uow.users.all() == (alice, bob)


def test_names_are_compared_by_casefold(store: SqlStore) -> None:
    commit(store, lambda uow: uow.roles.add(build.role("Straße Ärger")))
    assert look(store, lambda uow: uow.roles.by_name("STRASSE äRGER")).name == "Straße Ärger"
    with pytest.raises(Conflict), store.write() as uow:
        uow.roles.add(build.role("strasse ärger", id=RoleId("other")))


@pytest.mark.parametrize(
    "clash",
    [
        {"name": "PRIV.ALICE"},
        {"corp": build.ref("alice", 1101, Forest.CORP)},
        {"priv": build.ref("priv.alice", 1101)},
    ],
    ids=["name", "corp", "priv"],
)
def test_a_name_or_account_belongs_to_one_user(store: SqlStore, clash: dict[str, Any]) -> None:
    commit(store, lambda uow: uow.users.add(build.user("alice", 1101)))
    with pytest.raises(Conflict, match="another PAM user"), store.write() as uow:
        uow.users.add(replace(build.user("bob", 1102), **clash))


def test_save_counts_versions_and_refuses_the_second_of_two_writers(store: SqlStore) -> None:
    group = build.group()
    commit(store, lambda uow: uow.groups.add(group))
    saved = commit(store, lambda uow: uow.groups.save(replace(group, enabled=False)))
    assert saved == replace(group, enabled=False, version=1)
    assert look(store, lambda uow: uow.groups.get(group.id)) == saved
    with pytest.raises(Conflict, match="meanwhile"), store.write() as uow:
        uow.groups.save(replace(group, name="late"))
    assert look(store, lambda uow: uow.groups.get(group.id)) == saved


def test_a_name_can_be_changed_and_then_found(store: SqlStore) -> None:
    role = build.role("old")
    commit(store, lambda uow: uow.roles.add(role))
    commit(store, lambda uow: uow.roles.save(replace(role, name="new")))
    assert look(store, lambda uow: uow.roles.by_name("new")).id == role.id
    with pytest.raises(NotFound):
        look(store, lambda uow: uow.roles.by_name("old"))


def test_what_is_gone_is_not_found(store: SqlStore) -> None:
    user, group, role = build.user(), build.group(), build.role()
    for act in (
        lambda uow: uow.users.get(user.id),
        lambda uow: uow.users.save(user),
        lambda uow: uow.users.remove(user.id),
        lambda uow: uow.users.by_name("nobody"),
        lambda uow: uow.groups.get(group.id),
        lambda uow: uow.groups.save(group),
        lambda uow: uow.roles.remove(role.id),
        lambda uow: uow.requests.get(RequestId("no")),
        lambda uow: uow.requests.save(build.request()),
    ):
        with pytest.raises(NotFound):
            commit(store, act)


def test_remove_takes_one_object_away(store: SqlStore) -> None:
    users = [build.user("alice", 1101), build.user("bob", 1102)]
    add_users(store, *users)
    commit(store, lambda uow: uow.users.remove(users[0].id))
    assert look(store, lambda uow: uow.users.all()) == (users[1],)


# -------------------------------------------------------------------------------------------------------------- requests


def test_requests_are_found_by_user_role_state_and_group(store: SqlStore) -> None:
    other = build.request(State.PROCESSING).role[:-1] + "x"
    rows = [
        request_number(1, State.ACTIVE),
        request_number(2, State.CLOSED),
        request_number(
            3, State.PENDING_APPROVAL, user=UserId("bob"), privileges=(GroupId("g1"), GroupId("g2"))
        ),
        request_number(4, State.CLOSING, role=RoleId(other), privileges=(GroupId("g2"),)),
    ]
    add_requests(store, reversed(rows))
    one, _, three, four = rows
    with store.read() as uow:
        found = uow.requests
        assert found.of_users([one.user, UserId("bob"), UserId("bob")], OPEN) == (one, three, four)
        assert found.of_users([], OPEN) == found.of_users([one.user], []) == ()
        assert found.in_states({State.CLOSING, State.ACTIVE}) == (one, four)
        assert found.of_role(RoleId(other), OPEN) == (four,)
        assert found.using_group(GroupId("g2"), {State.CLOSING})
        assert not found.using_group(GroupId("g1"), {State.CLOSING})
        assert not found.using_group(GroupId("g3"), OPEN)


def test_history_is_newest_first_and_pages(store: SqlStore) -> None:
    rows = [request_number(n, user=UserId("bob" if n % 2 else "eve")) for n in range(6)]
    add_requests(store, rows)
    with store.read() as uow:
        assert uow.requests.history(user=None, limit=2, before=None) == (rows[5], rows[4])
        assert uow.requests.history(user=None, limit=9, before=Place(rows[2].created_at)) == (
            rows[1],
            rows[0],
        )
        assert uow.requests.history(user=UserId("eve"), limit=2, before=Place(rows[4].created_at)) == (
            rows[2],
            rows[0],
        )


def test_pages_lose_nothing_made_in_one_moment_and_nothing_moves_when_more_comes(store: SqlStore) -> None:
    rows = [replace(request_number(n), created_at=NOW) for n in range(5)]
    add_requests(store, rows)
    seen: list[Request] = []
    before: Place | None = None
    for number in range(3):
        with store.read() as uow:
            page = uow.requests.history(user=None, limit=2, before=before)
        seen += page
        before = Place(page[-1].created_at, page[-1].id)
        add_requests(store, [replace(request_number(10 + number), created_at=NOW + timedelta(seconds=1))])
    assert seen == rows[::-1]


def test_save_many_saves_all(store: SqlStore) -> None:
    rows = [request_number(n) for n in range(1000)]
    add_requests(store, rows)
    commit(store, lambda uow: uow.requests.save_many([replace(row, state=State.CLOSING) for row in rows]))
    saved = look(store, lambda uow: uow.requests.in_states({State.CLOSING}))
    assert saved == tuple(replace(row, state=State.CLOSING, version=1) for row in rows)


@pytest.mark.parametrize("gone", [True, False])
def test_save_many_names_the_one_that_moved(store: SqlStore, gone: bool) -> None:
    rows = [request_number(n) for n in range(3)]
    add_requests(store, (rows[:2] if gone else rows))
    if not gone:
        commit(store, lambda uow: uow.requests.save(replace(rows[2], reason="other")))
    with pytest.raises(NotFound if gone else Conflict, match="r0002"), store.write() as uow:
        uow.requests.save_many(rows)
    assert look(store, lambda uow: uow.requests.get(rows[0].id)).version == 0


# ------------------------------------------------------------------------------------------------------------ transactions


def test_leaving_without_commit_changes_nothing(store: SqlStore) -> None:
    with store.write() as uow:
        uow.users.add(build.user())
        uow.requests.add(build.request())
        uow.work.poke("account", "1", NOW)
        uow.audit.append(event())
        uow.factors.invite(Invitation(build.sid(1), "h", NOW, "dave"))
        assert uow.audit.head()[0] == 1
        assert uow.work.listing()
    with store.read() as uow:
        assert uow.users.all() == ()
        assert uow.requests.history(user=None, limit=9, before=None) == ()
        assert uow.work.listing() == ()
        assert uow.audit.head() == (0, GENESIS)
        assert tuple(uow.audit.read(ALL)) == ()
    assert commit(store, lambda uow: uow.factors.take_invitation(build.sid(1))) is None


def test_an_error_inside_undoes_everything_and_frees_the_store(store: SqlStore) -> None:
    def fail(uow: UnitOfWork) -> None:
        uow.users.add(build.user())
        raise LookupError

    with pytest.raises(LookupError):
        commit(store, fail)
    commit(store, lambda uow: uow.users.add(build.user()))


def test_a_reader_cannot_commit_and_nobody_commits_twice(store: SqlStore) -> None:
    with pytest.raises(StoreError), store.read() as uow:
        uow.commit()
    with store.write() as uow:
        uow.commit()
        with pytest.raises(StoreError):
            uow.commit()
        with pytest.raises(StoreError):
            uow.users.all()


def test_after_a_failure_inside_nothing_can_be_committed(store: SqlStore) -> None:
    """PostgreSQL would answer the COMMIT with a silent ROLLBACK, SQLite would keep the other half."""
    add_users(store, build.user("alice", 1101))
    add_requests(store, [request_number(1)])
    lost = Work("account", "1", 1, 1, 0, NOW)

    def many(uow: UnitOfWork) -> None:
        uow.requests.save_many([request_number(1), request_number(2)])

    for fail in (
        lambda uow: uow.users.add(build.user("alice", 1101)),
        many,
        lambda uow: uow.work.finish(lost, None),
    ):
        with store.write() as uow:
            uow.roles.add(build.role())
            with pytest.raises((Conflict, NotFound, LostLease)):
                fail(uow)
            with pytest.raises(StoreError, match="failed"):
                uow.commit()
        assert look(store, lambda uow: (uow.roles.all(), uow.requests.get(RequestId("r0001")).version)) == (
            (),
            0,
        )


def test_writers_take_turns_so_that_what_was_read_stays_true(store: SqlStore) -> None:
    """Eight threads raise a counter that they read first: none of 80 raises is lost, and none fails."""
    commit(store, lambda uow: uow.users.add(build.user()))

    def raise_counter(_: int) -> None:
        for _turn in range(10):
            with store.write() as uow:
                user = uow.users.get(build.user().id)
                uow.users.save(replace(user, name=str(int(user.name.rpartition(" ")[2] or 0) + 1)))
                uow.commit()

    commit(store, lambda uow: uow.users.save(replace(build.user(), name="0")))
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(raise_counter, range(8)))
    assert look(store, lambda uow: uow.users.all())[0].name == "80"


def test_a_reader_sees_one_moment(shared_url: str) -> None:
    """In memory there is one connection: there a reader holds up writers instead."""
    store = SqlStore(shared_url)
    commit(store, lambda uow: uow.users.add(build.user("alice", 1101)))
    with store.read() as uow:
        assert len(uow.users.all()) == 1
        thread = threading.Thread(
            target=commit, args=(store, lambda other: other.users.add(build.user("bob", 1102)))
        )
        thread.start()
        thread.join()
        assert len(uow.users.all()) == 1
    assert len(look(store, lambda uow: uow.users.all())) == 2
    store.close()


# ---------------------------------------------------------------------------------------------------------------- factors


def test_factors_come_back_and_change(store: SqlStore) -> None:
    factor = Factor("f1", build.sid(1), "totp", b"\0sealed\xff", NOW)
    commit(store, lambda uow: uow.factors.add(factor))
    changed = replace(factor, confirmed=True, last_step=5, locked_until=NOW, recovery_hashes=("a", "b"))
    commit(store, lambda uow: uow.factors.save(changed))
    assert look(store, lambda uow: uow.factors.of(build.sid(1))) == (changed,)
    assert look(store, lambda uow: uow.factors.of(build.sid(2))) == ()
    commit(store, lambda uow: uow.factors.remove("f1"))
    for act in (lambda uow: uow.factors.save(changed), lambda uow: uow.factors.remove("f1")):
        with pytest.raises(NotFound):
            commit(store, act)


def key(number: int, person: int = 1) -> SecurityKey:
    return SecurityKey(
        id=f"k{number}",
        person=build.sid(person),
        name=f"key {number}",
        credential=bytes([number]) * 64,
        sealed=b"\0sealed\xff",
        sign_count=0,
        transports=("usb",),
        aaguid="0" * 8,
        backed_up=False,
        created_at=NOW + timedelta(seconds=number),
    )


def test_security_keys_come_back_and_change(store: SqlStore) -> None:
    commit(store, lambda uow: uow.factors.add_key(key(2)))
    commit(store, lambda uow: uow.factors.add_key(key(1)))
    assert look(store, lambda uow: uow.factors.keys_of(build.sid(1))) == (key(1), key(2))
    used = replace(key(1), sign_count=7, last_used_at=NOW)
    commit(store, lambda uow: uow.factors.save_key(used))
    commit(store, lambda uow: uow.factors.remove_key("k2"))
    assert look(store, lambda uow: uow.factors.keys_of(build.sid(1))) == (used,)
    assert look(store, lambda uow: uow.factors.keys_of(build.sid(2))) == ()
    for act in (lambda uow: uow.factors.save_key(key(2)), lambda uow: uow.factors.remove_key("k2")):
        with pytest.raises(NotFound):
            commit(store, act)


def test_a_security_key_belongs_to_one_person(store: SqlStore) -> None:
    commit(store, lambda uow: uow.factors.add_key(key(1)))
    for other in (replace(key(1), id="x"), replace(key(1, person=2), id="y")):
        with pytest.raises(Conflict, match="registered already"), store.write() as uow:
            uow.factors.add_key(other)


def test_a_challenge_is_taken_once_and_few_are_open(store: SqlStore) -> None:
    def challenge(number: int, person: int = 1) -> Challenge:
        ends = NOW + timedelta(minutes=number)
        return Challenge(f"c{number}-{person}", build.sid(person), "s", Purpose.PROVE, b"\0nonce\xff", ends)

    def add(number: int, person: int = 1, now: datetime = NOW) -> None:
        commit(store, lambda uow: uow.factors.challenge(challenge(number, person), now=now, most=2))

    def take(number: int, person: int = 1) -> Challenge | None:
        taken: Challenge | None = commit(
            store, lambda uow: uow.factors.take_challenge(challenge(number, person).id)
        )
        return taken

    add(1)
    assert [take(1), take(1)] == [challenge(1), None]
    for number in (2, 3, 4):
        add(number)
    add(2, person=2)
    assert [take(2), take(3), take(4), take(2, 2)] == [None, challenge(3), challenge(4), challenge(2, 2)]
    add(5)
    add(9, person=2, now=NOW + timedelta(minutes=5))
    assert take(5) is None, "it was over"


def test_an_invitation_is_taken_once_and_replaced_by_a_newer_one(store: SqlStore) -> None:
    with store.write() as uow:
        for code in ("old", "new"):
            invitation = Invitation(build.sid(1), code, NOW, "dave")
            uow.factors.invite(invitation)
        uow.commit()
    assert look(store, lambda uow: uow.factors.invitation(build.sid(1))) == invitation
    assert commit(store, lambda uow: uow.factors.take_invitation(build.sid(1))) == invitation
    assert look(store, lambda uow: uow.factors.invitation(build.sid(1))) is None
    assert commit(store, lambda uow: uow.factors.take_invitation(build.sid(1))) is None


def test_sessions_end_when_told_and_are_forgotten_when_over(store: SqlStore) -> None:
    def session(token: str, start: int) -> Session:
        at = NOW + timedelta(minutes=start)
        return Session(token, build.sid(1), "alice", Forest.PRIV, "kerberos", at, at + timedelta(minutes=15))

    with store.write() as uow:
        uow.factors.add_session(session("a", 0))
        uow.factors.add_session(session("b", 5))
        uow.commit()
    assert look(store, lambda uow: uow.factors.session("a")) == session("a", 0)
    commit(store, lambda uow: uow.factors.add_session(session("c", 16)))
    with store.read() as uow:
        assert uow.factors.session("a") is None
        assert uow.factors.session("b") is not None
    at = NOW + timedelta(minutes=16)
    assert [one.token_hash for one in look(store, lambda uow: uow.factors.open_sessions(at))] == ["b", "c"]
    used = replace(session("b", 5), used_at=at, address="192.0.2.1", agent="Firefox on Linux")
    commit(store, lambda uow: uow.factors.save_session(used))
    assert look(store, lambda uow: uow.factors.session("b")) == used
    assert look(store, lambda uow: uow.factors.open_sessions(used.expires_at)) == (session("c", 16),)
    for _ in range(2):
        commit(store, lambda uow: uow.factors.end_session("b"))
    commit(store, lambda uow: uow.factors.save_session(used))
    assert look(store, lambda uow: uow.factors.session("b")) is None
