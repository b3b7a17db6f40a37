"""`bastide role` where a second administrator approves each change: it proposes, and says so."""

import json
from collections.abc import Iterator

import pytest
from litestar.testing import TestClient

from bastide.cli.exits import Exit
from bastide.directory.memory import MemoryDirectory
from bastide.wiring import assemble
from tests.support.api import app_over
from tests.support.world import World
from tests.unit.test_cli_app import SERVER, Desk, InProcess

DAVE, IVAN, FRANK = "PRIV\\dave", "PRIV\\ivan", "PRIV\\frank"


@pytest.fixture
def desk() -> Iterator[Desk]:
    world = World()
    world.ready()
    MemoryDirectory(world.priv).add_members(world.teams["Administrators"].ref, [world.sign_in("ivan").sid])
    services = assemble(world.adapters, world._preparation(), four_eyes=True)
    with app_over(services) as app, TestClient(app, base_url=SERVER) as client:
        yield Desk(world, InProcess(client._transport))
    world.close()


def rules(desk: Desk) -> dict[str, object]:
    role: dict[str, object] = json.loads(
        desk.run(FRANK, "role", "show", "File administrators", "--json").stdout
    )
    return role


def waiting(desk: Desk) -> list[dict[str, str]]:
    found: list[dict[str, str]] = json.loads(desk.run(FRANK, "role", "proposals", "--json").stdout)["items"]
    return found


def test_an_edit_is_proposed_and_done_by_another(desk: Desk) -> None:
    assert "no change waits" in desk.run(FRANK, "role", "proposals").stderr
    said = desk.run(DAVE, "role", "edit", "File administrators", "--max", "2h", "--yes").stdout
    (one,) = waiting(desk)
    assert (
        f"proposed, not done: another administrator decides with `bastide role approve {one['id']}`"
        in " ".join(said.split())
    )
    assert rules(desk)["version"] == 1
    assert (one["action"], one["by"]) == ("edit", DAVE)
    refused = desk.run(DAVE, "role", "approve", one["id"], "--yes", wanted=Exit.REFUSED)
    assert "nobody approves a change of their own" in refused.stderr
    shown = desk.run(IVAN, "role", "approve", one["id"], "--yes")
    assert "edit File administrators, proposed by PRIV\\dave" in shown.stderr
    assert "  - 1h (5m to 8h)\n  + 1h (5m to 2h)" in shown.stderr
    assert rules(desk)["ttl"] == {"default": 3600, "minimum": 300, "maximum": 7200}
    assert waiting(desk) == []


def test_a_new_role_and_a_removal_wait_too(desk: Desk) -> None:
    made = desk.run(DAVE, "role", "add", "Restore", "--gives", "PAM-FileAdmins", "--candidate", "CORP\\alice")
    assert "proposed, not done" in made.stderr
    gone = desk.run(DAVE, "role", "remove", "File administrators", "--yes")
    assert "proposed, not done" in gone.stdout
    desk.run(DAVE, "role", "remove", "File administrators", "--dry-run")
    by_action = {one["action"]: one for one in waiting(desk)}
    assert by_action.keys() == {"add", "remove"}
    new, removal = by_action["add"], by_action["remove"]
    assert "Restore" not in desk.run(FRANK, "role", "list").stdout
    assert "PAM-FileAdmins" in desk.run(IVAN, "role", "approve", new["id"], "--yes").stderr
    desk.run(IVAN, "role", "reject", removal["id"], "--reason", "it is needed")
    listed = desk.run(FRANK, "role", "list").stdout
    assert "Restore" in listed
    assert "File administrators" in listed
    desk.run(IVAN, "role", "reject", removal["id"], wanted=Exit.REFUSED)
    desk.run(FRANK, "role", "approve", removal["id"], "--yes", wanted=Exit.REFUSED)
