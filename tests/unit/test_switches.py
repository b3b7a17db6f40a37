"""PAM users switched off and on: what ends, what is refused, and that nothing slips in at the same moment."""

from dataclasses import replace

import pytest

from bastide.domain.errors import Conflict, InvalidInput, NotAuthorized, NotFound, Refused
from bastide.domain.requests import State
from bastide.services.ports import AuditQuery
from tests.support.api import ASK, ApiWorld
from tests.support.world import World

pytest_plugins = ["tests.support.api"]


def kinds(world: World) -> list[str]:
    with world.store.read() as uow:
        return [record.kind for record in uow.audit.read(AuditQuery(limit=0))]


def test_only_administrators(api: ApiWorld) -> None:
    """(1)"""
    with pytest.raises(NotAuthorized):
        api.services.switches.turn(api.alice(), "priv.bob", "why not", on=False)
    with pytest.raises(NotFound):
        api.services.switches.turn(api.dave, "priv.nobody", "why not", on=False)
    for reason in ("", "  ", "x" * 401):
        with pytest.raises(InvalidInput, match="reason"):
            api.services.switches.turn(api.dave, "priv.bob", reason, on=False)


def test_all_that_is_open_ends_and_nothing_is_asked_for(api: ApiWorld) -> None:
    """(2)"""
    active, waiting = api.ask(), api.ask("Approved")
    api.work()
    assert api.get(active).state is State.ACTIVE
    done = api.services.switches.turn(api.dave, "priv.alice", "on leave", on=False)
    assert not done.user.enabled
    assert {one.id for one in done.ended} == {active.id, waiting.id}
    assert api.get(waiting).state is State.CANCELLED
    api.work()
    closed = api.get(active)
    assert closed.state is State.CLOSED
    assert "switched off: on leave" in closed.reason
    with pytest.raises(Refused, match="switched off"):
        api.ask()
    api.services.switches.turn(api.dave, "priv.alice", "is back", on=True)
    again = api.ask()
    api.work()
    assert api.get(again).state is State.ACTIVE
    assert [kind for kind in kinds(api) if kind.startswith("pam-user.") and "abled" in kind] == [
        "pam-user.disabled", "pam-user.enabled",
    ]  # fmt: skip


def test_twice_is_refused(api: ApiWorld) -> None:
    with pytest.raises(Conflict, match="switched on already"):
        api.services.switches.turn(api.dave, "priv.alice", "again", on=True)
    api.services.switches.turn(api.dave, "priv.alice", "off", on=False)
    with pytest.raises(Conflict, match="switched off already"):
        api.services.switches.turn(api.dave, "priv.alice", "again", on=False)


def test_a_request_that_came_at_the_same_moment_does_not_begin(api: ApiWorld) -> None:
    """(3) On PostgreSQL two commits can pass each other."""
    request = api.ask()
    with api.store.write() as uow:
        (alice,) = [one for one in uow.users.all() if one.name == "priv.alice"]
        uow.users.save(replace(alice, enabled=False))
        uow.commit()
    api.work()
    after = api.get(request)
    assert after.state is State.FAILED
    assert "switched off" in after.reason


def test_over_the_api(api: ApiWorld) -> None:
    api.corp_caller("alice").post("/requests", ASK, code=True)
    api.work()
    dave = api.caller("dave")
    off = dave.put("/pam-users/priv.alice/enabled", {"enabled": False, "reason": "on leave"}, code=True)
    assert off.status_code == 200, off.text
    assert off.json()["user"]["enabled"] is False
    assert len(off.json()["ended"]) == 1
    again = dave.put("/pam-users/priv.alice/enabled", {"enabled": False, "reason": "on leave"}, code=True)
    assert again.status_code == 409
    on = dave.put("/pam-users/priv.alice/enabled", {"enabled": True, "reason": "is back"}, code=True)
    assert (on.status_code, on.json()["ended"]) == (200, [])
