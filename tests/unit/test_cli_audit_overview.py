"""What the portal's pages of auditing show, over the API and in commands: the same use cases, for the same people."""

import re
from typing import Any

import pytest

from bastide.domain.requests import State
from tests.support.api import ASK, ApiWorld
from tests.unit.test_cli_app import Desk, InProcess

pytest_plugins = ["tests.support.api"]


def run(api: ApiWorld, who: str, *arguments: str, wanted: int = 0) -> str:
    """What `bastide audit` prints for a person with a ticket of PRIV."""
    desk = Desk(api, InProcess(api.client._transport))
    return desk.run(f"PRIV\\{who}", "audit", *arguments, wanted=wanted).output


@pytest.fixture
def used(api: ApiWorld) -> ApiWorld:
    """Alice had access."""
    answer = api.corp_caller("alice").post("/requests", {**ASK, "ttl_seconds": 600}, code=True)
    assert answer.status_code == 201, answer.text
    api.work()
    api.clock.move(minutes=1)
    return api


def test_how_long_the_chain_is_and_who_proved_it(used: ApiWorld) -> None:
    said = run(used, "dave", "status")
    assert re.search(r"Signed +none yet", said)
    assert re.search(r"Proved whole +never", said)
    used.services.audit.checkpoint()
    run(used, "frank", "verify")
    said = run(used, "dave", "status")
    assert re.search(r"Proved whole +2026-.* by \S*frank", said)
    with used.store.read() as uow:
        seq, head = uow.audit.head()
        newest = uow.audit.newest_checkpoint()
    assert newest is not None
    assert head in said
    found = used.caller("frank").get("/audit/status").json()
    assert (found["seq"], found["signed"]) == (seq, newest.seq)
    assert found["proved_at"] is not None


def test_activity_counts_what_the_charts_count(used: ApiWorld) -> None:
    found: dict[str, Any] = used.caller("dave").get("/audit/activity").json()
    hour = used.clock.now().hour
    assert found["activations"] == [{"role": "File administrators", "hour": hour, "count": 1}]
    assert found["outcomes"] == [{"role": "File administrators", "state": State.ACTIVE.value, "count": 1}]
    assert found["ending"][0] == {"below_seconds": 900, "count": 1}
    assert found["approval"][-1]["below_seconds"] is None
    said = run(used, "frank", "activity")
    assert "within 15m" in said
    assert "File administrators" in said
    assert "nothing was activated" in run(used, "frank", "activity", "--until", "2020-01-01")
    run(used, "frank", "activity", "--since", "2020-01-01", "--until", "2025-01-01", wanted=1)


def test_who_had_what_by_a_role_and_why(used: ApiWorld) -> None:
    (held,) = used.caller("dave").get("/audit/holders?role=File%20administrators").json()["items"]
    assert (held["state"], held["justification"]) == (State.ACTIVE.value, ASK["justification"])
    assert "priv.alice" in run(used, "dave", "who", "--role", "File administrators")
    run(used, "dave", "who", "--role", "nobody's", wanted=1)


@pytest.mark.parametrize("path", ["/audit/status", "/audit/activity", "/audit/holders"])
def test_nobody_else_is_told(used: ApiWorld, path: str) -> None:
    assert used.caller("grace").get(path).status_code == 403
    assert used.corp_caller("alice").get(path).status_code == 403
    assert used.anonymous().get(path).status_code == 401
