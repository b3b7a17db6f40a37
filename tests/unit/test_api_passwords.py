"""Password synchronization through the API and the commands: switch, queue, history, explanation, coverage."""

import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime

import pytest
from litestar.testing import TestClient

from bastide.domain.passwords import Code
from bastide.services.passwords.ports import PasswordDate, Result
from bastide.services.ports import AuditQuery
from tests.support.api import ApiWorld, Caller, app_over
from tests.support.sync_world import SyncWorld, filetime, guid_of
from tests.unit.test_cli_app import SERVER, Desk, InProcess

CANARY = "Canary-Pa55wörd"
ADMIN, AUDITOR, PERSON = "PRIV\\dave", "PRIV\\frank", "CORP\\alice"


class Dates:
    """What the domain says of its users."""

    def __init__(self, world: SyncWorld) -> None:
        self.world = world
        self.known: list[PasswordDate] = []

    def since(self, _domain: str, since: datetime) -> Iterator[PasswordDate]:
        return iter([one for one in self.known if one.changed_at >= since])


class Both:
    """The API's world and the sync world over one store and one clock."""

    def __init__(self) -> None:
        self.api = ApiWorld()
        self.sync = SyncWorld(enabled=False, clock=self.api.clock)
        self.sync.store.close()
        self.sync.store = self.api.store
        self.dates = Dates(self.sync)
        self.sync.adapters = replace(self.sync.adapters, dates=self.dates)
        self.sync.passwords = self.sync.assemble()
        self.sync.runner = self.sync.new_runner()
        self.api.services = replace(self.api.services, passwords=self.sync.passwords)
        self.sync.ready("alice", "bob")

    def admin(self) -> Caller:
        return self.api.caller("dave")

    def auditor(self) -> Caller:
        return self.api.caller("frank")


@pytest.fixture
def both() -> Iterator[Both]:
    made = Both()
    with (
        app_over(made.api.services) as app,
        TestClient(app, base_url=SERVER, raise_server_exceptions=False) as client,
    ):
        made.api.client = client
        yield made
    made.api.close()
    made.sync.own_vault.close()  # type: ignore[union-attr]


@pytest.fixture
def desk(both: Both) -> Desk:
    return Desk(both.api, InProcess(both.api.client._transport))


def test_the_switch(both: Both) -> None:
    assert both.auditor().get("/passwords").json() == {"enabled": False, "restored": False, "waiting": 0}
    assert both.admin().put("/passwords/enabled", {}).json()["enabled"] is True
    assert both.sync.events.numbers()[-1] == 6910
    assert both.admin().delete("/passwords/enabled").json()["enabled"] is False
    assert both.sync.events.numbers()[-1] == 6911
    with both.api.store.read() as uow:
        kinds = [one.kind for one in uow.audit.read(AuditQuery(limit=0))]
    assert kinds[-2:] == ["passwords.enabled", "passwords.disabled"]


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("PUT", "/passwords/enabled"), ("DELETE", "/passwords/enabled"), ("DELETE", "/passwords/queue"),
        ("DELETE", "/passwords/history?ending_before=2026-01-01T00:00:00Z"),
    ],
)  # fmt: skip
def test_an_auditor_changes_nothing_and_others_see_nothing(both: Both, method: str, path: str) -> None:
    body: dict[str, str] | None = {} if method == "PUT" else None
    assert both.auditor().call(method, path, body).status_code == 403
    assert both.api.corp_caller("alice").call(method, path, body).status_code in {401, 403}
    for read in (
        "",
        "/queue",
        "/history",
        "/explanation?user=alice",
        "/coverage",
        f"/changes/{guid_of('x')}",
    ):
        assert both.api.corp_caller("alice").get(f"/passwords{read}").status_code in {401, 403}


def test_a_server_without_it_says_so() -> None:
    world = ApiWorld()
    with app_over(world.services) as app, TestClient(app, base_url=SERVER) as client:
        world.client = client
        answer = world.caller("dave").get("/passwords")
    assert answer.status_code == 409
    assert "[passwords]" in answer.json()["remedy"]
    world.close()


def test_queue_history_and_explanation(both: Both) -> None:
    both.admin().put("/passwords/enabled", {})
    both.sync.systems.systems["crm"].faults.answers[guid_of("crm alice")] = Result(Code.DENIED)
    both.sync.tell("alice", CANARY)
    both.sync.work()
    waiting = both.auditor().get("/passwords/queue").json()
    (one,) = waiting["items"]
    assert (one["agent"], one["state"], one["code"], waiting["total"]) == (
        "crm",
        "pending",
        "access-denied",
        1,
    )
    assert both.auditor().get("/passwords/queue", params={"agent": "files"}).json()["total"] == 0
    assert both.auditor().get("/passwords/queue", params={"agent": "nobody"}).status_code == 404

    (change,) = both.auditor().get("/passwords/history", params={"user": "alice"}).json()["items"]
    assert {d["agent"]: d["state"] for d in change["deliveries"]} == {"crm": "pending", "files": "delivered"}
    assert both.auditor().get(f"/passwords/changes/{change['reference']}").json() == change
    assert both.auditor().get(f"/passwords/changes/{guid_of('nothing')}").status_code == 404
    assert both.auditor().get("/passwords/history", params={"user": "bob"}).json()["items"] == []

    told = both.auditor().get("/passwords/explanation", params={"user": "alice"}).json()
    assert any("joined to a person" in line for line in told["standing"])
    assert any("refused the write" in line for line in told["stories"][0]["targets"])
    assert both.auditor().get("/passwords/explanation", params={"user": "nobody"}).status_code == 404

    for path in ("/passwords/queue", "/passwords/history", "/passwords/explanation?user=alice", "/audit"):
        assert CANARY not in both.admin().get(path).text


def test_the_queue_is_cleared_before_the_history(both: Both) -> None:
    both.admin().put("/passwords/enabled", {})
    both.sync.systems.systems["crm"].faults.down = True
    both.sync.tell("alice", CANARY)
    both.sync.work()
    both.api.clock.move(days=1)
    until = {"ending_before": both.api.clock.now().isoformat()}
    refused = both.admin().delete("/passwords/history", params=until)
    assert refused.status_code == 409
    assert "queue" in refused.json()["remedy"]
    assert both.admin().delete("/passwords/queue").json() == {"count": 1}
    assert both.admin().delete("/passwords/history", params=until).json() == {"count": 1}
    assert both.auditor().get("/passwords/history").json()["items"] == []
    assert both.sync.events.numbers()[-2:] == [6925, 6924]
    assert both.admin().delete("/passwords/history", params={"ending_before": ""}).status_code == 422


def test_coverage_names_whom_nobody_told_of(both: Both) -> None:
    both.admin().put("/passwords/enabled", {})
    both.sync.tell("alice", CANARY)
    now = both.api.clock.now()
    both.dates.known = [
        PasswordDate(guid_of("corp alice"), "alice", now, "dc1"),
        PasswordDate(guid_of("corp bob"), "bob", now, "dc2"),
    ]
    both.sync.passwords.silence.heard(both.sync.caller(), 3, filetime(now))
    both.sync.passwords.silence.write_down()
    both.api.clock.move(minutes=10)
    (found,) = both.auditor().get("/passwords/coverage").json()["items"]
    assert (found["users"], found["covered"]) == (2, 1)
    assert [one["account"] for one in found["uncovered"]] == ["bob"]
    assert found["by_controller"] == [{"controller": "dc2", "users": 1}]
    (contact,) = found["contacts"]
    assert (contact["controller"], contact["waiting"], contact["silent"]) == ("dc1.corp.test", 3, False)
    assert contact["heard_at"] == contact["oldest"]
    assert both.auditor().get("/passwords/coverage", params={"domain": "other.test"}).status_code == 409


# ------------------------------------------------------------------------------------------------------------ commands


def said(desk: Desk, who: str, *arguments: str, wanted: int = 0) -> str:
    result = desk.run(who, "passwords", *arguments, wanted=wanted)
    assert CANARY not in result.output
    return result.stdout


def test_the_commands(both: Both, desk: Desk) -> None:
    assert "off" in said(desk, AUDITOR, "status")
    assert "on" in said(desk, ADMIN, "enable")
    both.sync.systems.systems["crm"].faults.down = True
    both.sync.tell("alice", CANARY)
    both.sync.work()
    assert "server-down" in said(desk, AUDITOR, "queue", "list")
    listed = json.loads(
        said(desk, AUDITOR, "history", "list", "--user", "alice", "--before", "+1h", "--json")
    )
    (change,) = listed["items"]
    assert "1 of 2" in said(desk, AUDITOR, "history", "list")
    assert "crm" in said(desk, AUDITOR, "show", change["reference"])
    assert "did not answer" in said(desk, AUDITOR, "explain", "alice")
    assert "cleared: 1" in said(desk, ADMIN, "queue", "clear", "--yes")
    assert "cleared: 0" in said(desk, ADMIN, "history", "clear", "--ending-before", "-1d", "--yes")
    assert "off" in said(desk, ADMIN, "disable")


def test_coverage_ends_with_1_where_somebody_is_missing(both: Both, desk: Desk) -> None:
    both.admin().put("/passwords/enabled", {})
    both.dates.known = [PasswordDate(guid_of("corp bob"), "bob", both.api.clock.now(), "dc2")]
    assert "1 on their way" in said(desk, AUDITOR, "coverage")
    both.api.clock.move(minutes=10)
    assert "dc2" in said(desk, AUDITOR, "coverage", "--since", "-7d", wanted=1)
    both.dates.known.clear()
    assert "0 missing" in said(desk, AUDITOR, "coverage")
    assert "no controller was heard yet" in desk.run(AUDITOR, "passwords", "coverage").output


def test_coverage_shows_when_each_controller_was_last_heard(both: Both, desk: Desk) -> None:
    silence = both.sync.passwords.silence
    silence.heard(both.sync.caller(), 12, filetime(both.api.clock.now()))
    silence.write_down()
    shown = said(desk, AUDITOR, "coverage")
    assert "dc1.corp.test" in shown
    assert "12" in shown
    assert "SILENT" not in shown
    silence.plant()
    for _ in range(17):
        both.api.clock.move(minutes=1)
        silence.write_down()
    both.api.new_runner().run_due()
    assert both.sync.events.numbers()[-1] == 6929
    assert "SILENT" in said(desk, AUDITOR, "coverage")


def test_enabling_after_a_restore_is_asked_about(both: Both, desk: Desk) -> None:
    both.admin().put("/passwords/enabled", {})
    both.admin().delete("/passwords/enabled")
    both.sync.vault.set_mark(10_000, "f" * 64)
    assert "restored from a backup" in said(desk, AUDITOR, "status")
    desk.run(ADMIN, "passwords", "enable", wanted=2)
    assert both.auditor().get("/passwords").json()["enabled"] is False
    assert said(desk, ADMIN, "enable", "--yes")
    assert both.auditor().get("/passwords").json()["enabled"] is True


def test_times_are_checked_before_anybody_signs_in(desk: Desk) -> None:
    for arguments in (["history", "list", "--before", "soon"], ["coverage", "--since", "yesterday"]):
        desk.run(PERSON, "passwords", *arguments, wanted=2)
