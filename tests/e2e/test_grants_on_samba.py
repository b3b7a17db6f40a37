"""The main job on two real forests: real tickets, a real share, real domain controllers that are cut off or go down."""

import secrets
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from bastide.domain.errors import Conflict
from bastide.domain.people import Forest
from bastide.domain.requests import State
from bastide.domain.roles import Enforcer
from tests.support import directory_lab as plan
from tests.support.directory_lab import DirectoryLab
from tests.support.samba_world import SambaWorld

pytest_plugins = ["tests.support.lab", "tests.support.directory_fixtures"]
pytestmark = pytest.mark.lab

REVOKED = "revoked"


@pytest.fixture(scope="module")
def password() -> str:
    return f"Pä-{secrets.token_urlsafe(12)}!1a"


@pytest.fixture(scope="module")
def world(directory_lab: DirectoryLab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[SambaWorld]:
    made = SambaWorld(directory_lab, tmp_path_factory.mktemp("e2e"))
    made.start()
    yield made
    made.close()


def test_a_role_is_activated_used_and_ends_with_bastide_down(world: SambaWorld, password: str) -> None:
    alice = world.prepare("alice", password)
    role = world.prepare_role("Files", "FileAdmins", ("alice",))
    assert REVOKED in world.opens_share(alice, password), "dormant between grants"
    request = world.ask("alice", role.name)
    active = world.wait_for(request, State.ACTIVE)
    assert active.enforcer is Enforcer.DORMANT_ACCOUNT
    assert active.ends_at is not None
    assert active.true_end == active.ends_at + plan.CAP
    assert active.directory_end == active.true_end
    assert world.opens_share(alice, password) == "open"
    assert world.ticket_seconds() <= plan.CAP.total_seconds()
    world.stop()
    time.sleep(max(0.0, (active.ends_at - world.clock.now()).total_seconds() + 1))
    assert REVOKED in world.opens_share(alice, password), "every KDC ends it alone"
    world.start()
    ended = world.wait_for(request, State.EXPIRED)
    assert ended.true_end is not None
    assert ended.true_end >= active.true_end
    for states in world.forests.priv.observe([alice.priv.sid]).values():
        assert not {g for g in states[alice.priv.sid].groups if g == _group(world, "E2E-FileAdmins")}
    world.services.audit.verify_chain()


def _group(world: SambaWorld, name: str) -> str:
    return world.services.accounts.group(world.dave, name).priv.guid


def test_overlapping_roles_end_one_by_one_and_the_kill_switch_ends_the_rest(
    world: SambaWorld, password: str
) -> None:
    bob = world.prepare("bob", password)
    files = world.prepare_role("Files of Bob", "FileAdmins", ("bob",))
    databases = world.prepare_role("Databases", "DbAdmins", ("bob",))
    first = world.wait_for(world.ask("bob", files.name), State.ACTIVE)
    second = world.wait_for(world.ask("bob", databases.name, ttl=timedelta(minutes=10)), State.ACTIVE)
    assert world.opens_share(bob, password) == "open"
    assert world.share_with_ticket("db") == "open"
    world.services.requests.close(world._actor("bob", Forest.CORP, world.dave.rights), first.id)
    closed = world.wait_for(first, State.CLOSED)
    assert closed.closed_at is not None
    assert closed.true_end == closed.closed_at + plan.CAP
    assert world.opens_share(bob, password, "files") != "open"
    assert world.share_with_ticket("db") == "open"
    world.services.requests.kill(world.dave, "exercise", user=bob.name)
    world.wait_for(second, State.CLOSED)
    assert REVOKED in world.opens_share(bob, password)


def test_a_standing_member_is_refused(world: SambaWorld, password: str) -> None:
    carol = world.prepare("carol", password)
    role = world.prepare_role("Files of Carol", "FileAdmins", ("carol",))
    group = world.services.accounts.group(world.dave, "E2E-FileAdmins")
    world.forests.priv.add_members(group.priv, [carol.priv.sid])
    with pytest.raises(Conflict, match="standing member"):
        world.ask("carol", role.name)
    world.forests.priv.remove_members(group.priv, [carol.priv.sid])


def test_one_of_two_controllers_out_of_reach(world: SambaWorld, password: str) -> None:
    erin = world.prepare("erin", password)
    role = world.prepare_role("Files of Erin", "FileAdmins", ("erin",))
    request = world.wait_for(world.ask("erin", role.name, ttl=timedelta(minutes=30)), State.ACTIVE)
    world.lab.cut("privdc2")
    try:
        world.services.requests.kill(world.dave, "stolen laptop", user=erin.name)
        time.sleep(8)
        assert world.get(request).state is State.CLOSING, "privdc2 may still sell tickets"
    finally:
        world.lab.mend("privdc2")
    world.wait_for(request, State.CLOSED, 60)
    states = world.forests.priv.observe([erin.priv.sid])
    assert len(states) == 2
    assert not any(state[erin.priv.sid].open_at(world.clock.now()) for state in states.values())


def test_the_only_controllers_down_before_and_after_the_write(world: SambaWorld, password: str) -> None:
    zoe = world.prepare("zoe", password)
    role = world.prepare_role("Files of Zoë", "FileAdmins", ("zoe",))
    request = world.ask("zoe", role.name, ttl=timedelta(minutes=30))
    world.lab.cut("corpdc")
    try:
        time.sleep(3)
        state = world.get(request).state
    finally:
        world.lab.mend("corpdc")
    assert state in {State.PROCESSING, State.ACTIVE}
    world.wait_for(request, State.ACTIVE, 60)
    assert world.opens_share(zoe, password) == "open"
    world.services.requests.kill(world.dave, "exercise", everything=True)
    world.wait_for(request, State.CLOSED, 60)


def test_nothing_of_a_password_is_left(
    world: SambaWorld, password: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    needles = [password.encode(), password.encode("utf-16-le")]
    places = [Path(tmp_path_factory.getbasetemp()), world.lab.root]
    for place in places:
        for file in place.rglob("*"):
            if (
                file.is_file()
                and file.suffix in {".db", ".db-wal", ".log", ".jsonl", ""}
                and "private" not in file.parts
            ):
                raw = file.read_bytes()
                assert not any(needle in raw for needle in needles), file
