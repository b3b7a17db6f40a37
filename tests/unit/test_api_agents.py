"""Management agents, spaces and joins over HTTP: forms, rights, refusals, and that no secret comes back."""

from collections.abc import Iterator
from typing import Any

import pytest

from bastide.services.ports import AuditQuery
from bastide.targets.memory import MemorySystem
from tests.support.api import ApiWorld, served

CANARY = "canary-SECRET-4711"
JOIN = {"pairs": [{"cs": "employeeNumber", "mv": "employeeNumber"}]}


def body(name: str = "hr", **changes: Any) -> dict[str, Any]:
    return {
        "name": name,
        "connector": "memory",
        "settings": {"system": name},
        "joins": [JOIN],
        "project": "person",
        "flows": [{"source": "employeeNumber", "target": "employeeNumber"}, {"source": "cn", "target": "cn"}],
        **changes,
    }


@pytest.fixture
def api() -> Iterator[ApiWorld]:
    with served(prepared=False) as world:
        for name in ("hr", "ldap"):
            world.systems.systems[name] = MemorySystem()
            world.systems.systems[name].put("ann/1 +&?", dn="CN=Ann", employeeNumber="7", cn="Ann")
        yield world


@pytest.fixture
def ready(api: ApiWorld) -> ApiWorld:
    dave = api.caller("dave")
    for one in (body(), body("ldap", project="", flows=[])):
        assert dave.post("/management-agents", one).status_code == 201
        assert dave.post(f"/management-agents/{one['name']}/imports", {}).status_code == 200
    return api


def test_an_agent_is_made_read_changed_and_removed(api: ApiWorld) -> None:
    dave = api.caller("dave")
    made = dave.post("/management-agents", body(imports={"every": 900, "fuse": 5}))
    assert made.status_code == 201
    assert made.headers["Location"] == f"/api/v1/management-agents/{made.json()['id']}"
    shown = dave.get("/management-agents/HR").json()
    assert shown == dave.get(f"/management-agents/{shown['id']}").json()
    assert (shown["imports"], shown["secret"], shown["version"]) == ({"every": 900, "fuse": 5}, False, 0)
    changed = dave.put("/management-agents/hr", body(passwords={"require_secure": False, "verify": True}))
    assert changed.json()["passwords"]["require_secure"] is False
    assert set(changed.json()["changes"]) == {"passwords", "imports"}
    assert [one["name"] for one in dave.get("/management-agents").json()["items"]] == ["hr"]
    assert dave.delete("/management-agents/hr").status_code == 200
    assert dave.get("/management-agents/hr").status_code == 404


def test_what_it_shows_it_takes(api: ApiWorld) -> None:
    """`bastide ma edit` sends back what it got."""
    dave = api.caller("dave")
    dave.post("/management-agents", body("ldap"))
    source = {"domain": "corp.test", "targets": ["ldap"], "own_accounts": ["S-1-5-21-1-2-3-4"]}
    filters = [{"conditions": [{"attribute": "uac", "test": "bit-on", "value": "2"}]}]
    shown = dave.post("/management-agents", body(source=source, filters=filters)).json()
    taken = {
        name: value
        for name, value in shown.items()
        if name in {*body(), "source", "filters", "passwords", "imports"}
    }
    answer = dave.put("/management-agents/hr", taken)
    assert (answer.status_code, answer.json()["code"]) == (409, "conflict"), "like that already"


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"connector": "pigeon"}, "connector"),
        ({"settings": {"system": "none"}}, "settings.system"),
        ({"settings": {"system": "hr", "password": CANARY}}, "settings.password"),
        ({"joins": [{"pairs": []}]}, "joins"),
        ({"joins": [{"pairs": [{"cs": "userPassword", "mv": "x"}]}]}, "joins"),
        ({"flows": [{"source": "unicodePwd", "target": "x"}]}, "flows"),
        ({"filters": [{"conditions": [{"attribute": "a", "test": "like", "value": "x"}]}]}, None),
        ({"passwords": {"operation": "guess"}}, None),
        ({"passwords": {"retry_interval": 1}}, "passwords.retry_interval"),
        ({"source": {"domain": "corp.test", "own_accounts": ["root"]}}, "sid"),
        ({"imports": {"fuse": 200}}, None),
        ({"imports": {"every": 1}}, "imports.every"),
        ({"secret": CANARY}, None),
        ({"cookie": "x"}, None),
        ({"run": "x"}, None),
    ],
    ids=str,
)
def test_what_cannot_be_right_is_refused(api: ApiWorld, change: dict[str, Any], field: str | None) -> None:
    answer = api.caller("dave").post("/management-agents", body(**change))
    assert answer.status_code == 422
    assert field is None or answer.json()["field"] == field
    assert CANARY not in answer.text
    assert api.caller("dave").get("/management-agents").json()["items"] == []


def test_a_secret_goes_in_and_never_out(api: ApiWorld) -> None:
    dave = api.caller("dave")
    dave.post("/management-agents", body())
    answers = [
        dave.put("/management-agents/hr/secret", {"secret": CANARY}),
        dave.get("/management-agents/hr"),
        dave.get("/management-agents"),
        dave.put("/management-agents/hr/secret", {"secret": CANARY, "more": CANARY}),
        dave.put("/management-agents/hr/secret", {"secret": [CANARY]}),
        dave.put("/management-agents/hr", body(settings={"system": "ldap"})),
    ]
    assert [one.status_code for one in answers] == [200, 200, 200, 422, 422, 200]
    assert (answers[0].json()["secret"], answers[-1].json()["secret_forgotten"]) == (True, True)
    with api.store.read() as uow:
        audit = str(list(uow.audit.read(AuditQuery(limit=0))))
    assert not [text for text in (*(one.text for one in answers), audit) if CANARY in text]


def test_a_change_says_that_a_target_is_disabled_until_its_system_is_known(api: ApiWorld) -> None:
    dave = api.caller("dave")
    api.systems.systems["hr"].says = ("directory 1",)
    api.systems.systems["ldap"].says = ("directory 2",)
    api.systems.systems["ldap"].secret = CANARY
    rules = {"enabled": True}
    made = dave.post("/management-agents", body(passwords=rules))
    assert (made.json()["passwords"]["enabled"], made.json()["target_disabled"]) == (True, False)
    moved = body(passwords=rules, settings={"system": "ldap"})
    for dry_run in ("?dry_run=true", ""):
        done = dave.put(f"/management-agents/hr{dry_run}", moved)
        assert (done.status_code, done.json()["target_disabled"]) == (200, True)
        assert done.json()["passwords"]["enabled"] is False
    refused = dave.put("/management-agents/hr/passwords", {"target": True})
    assert refused.status_code == 409
    assert "cannot be asked what it is" in refused.text
    dave.put("/management-agents/hr/secret", {"secret": CANARY})
    switched = dave.put("/management-agents/hr/passwords", {"target": True})
    assert (switched.json()["passwords"]["enabled"], switched.json()["system"]) == (True, ["directory 2"])


def test_passwords_are_switched(api: ApiWorld) -> None:
    dave = api.caller("dave")
    dave.post("/management-agents", body())
    on = dave.put("/management-agents/hr/passwords", {"target": True})
    assert on.json()["passwords"]["enabled"] is True
    assert dave.put("/management-agents/hr/passwords", {"target": True}).status_code == 409
    assert dave.put("/management-agents/hr/passwords", {}).status_code == 422
    assert dave.put("/management-agents/hr/passwords", {"source": True}).json()["field"] == "source"


def test_an_import_answers_with_its_figures(api: ApiWorld) -> None:
    dave = api.caller("dave")
    dave.post("/management-agents", body())
    tried = dave.post("/management-agents/hr/imports", {"mode": "full"}, params={"dry_run": "true"}).json()
    assert tried["dry_run"] is True
    assert [step["what"] for step in tried["steps"]] == ["add", "project"]
    done = dave.post("/management-agents/hr/imports", {}).json()
    assert done["statistics"] == tried["statistics"]
    assert (done["mode"], done["statistics"]["projected"], "dry_run" in done) == ("full", 1, False)
    asked = dave.post("/management-agents/hr/imports", {"background": True, "mode": "full"}).json()
    assert asked["asked"] is True
    api.runner.run_due()
    assert dave.get("/connector-space").json()["items"][0]["link"] == "projected"
    api.systems.systems["hr"].faults.down = True
    answer = dave.post("/management-agents/hr/imports", {})
    assert (answer.status_code, answer.json()["code"]) == (503, "target-unavailable")


def test_a_dry_run_changes_nothing(api: ApiWorld) -> None:
    dave = api.caller("dave")
    assert dave.post("/management-agents", body(), params={"dry_run": "true"}).json()["dry_run"] is True
    assert dave.get("/management-agents").json()["items"] == []
    dave.post("/management-agents", body())
    dave.put("/management-agents/hr", body(project=""), params={"dry_run": "true"})
    dave.delete("/management-agents/hr", params={"dry_run": "true"})
    assert dave.get("/management-agents/hr").json()["project"] == "person"


def test_objects_people_and_joins(ready: ApiWorld) -> None:
    dave = ready.caller("dave")
    name = {"name": "ann/1 +&?", "agent": "ldap"}
    one = dave.get("/connector-space/object", params=name).json()
    assert (one["dn"], one["link"]) == ("CN=Ann", "joined")
    assert dave.get("/connector-space/object", params={"name": "ann/1 +&?"}).json()["code"] == "ambiguous"
    found = dave.get("/connector-space", params={"text": "ANN", "agent": "hr", "link": "projected"}).json()
    assert [o["agent"] for o in found["items"]] == ["hr"]
    people = dave.get("/metaverse", params={"text": "ann"}).json()["items"]
    assert [person["id"] for person in people] == [one["person"]]
    person = dave.get(f"/metaverse/{one['person']}").json()
    assert person["origins"] == {"employeeNumber": "hr", "cn": "hr"}
    assert {c["agent"] for c in person["connectors"]} == {"hr", "ldap"}
    said = dave.get("/joins", params=name).json()
    assert said["rules"][0]["outcome"] == "fits exactly one object of the metaverse"
    assert said["rules"][0]["looked_for"] == [{"attribute": "employeeNumber", "values": ["7"]}]
    apart = dave.delete("/joins", params={**name, "apart": "true"}).json()
    assert (apart["link"], apart["person"]) == ("kept-apart", None)
    joined = dave.put("/joins", {"object": one["id"], "person": person["id"]}).json()
    assert (joined["link"], joined["person"]) == ("manual", person["id"])
    assert dave.delete("/joins", params={"name": one["id"]}).status_code == 200
    made = dave.post("/metaverse", {"object": one["id"], "type": "robot"})
    assert made.headers["Location"] == f"/api/v1/metaverse/{made.json()['person']}"
    assert dave.get(made.headers["Location"].removeprefix("/api/v1")).json()["type"] == "robot"


@pytest.mark.parametrize(
    ("path", "params"),
    [
        ("/connector-space", {"link": "married"}),
        ("/connector-space", {"limit": 0}),
        ("/connector-space", {"limit": 100_000}),
        ("/connector-space/object", {}),
        ("/joins", {}),
        ("/joins", {"name": ""}),
        ("/metaverse/everybody", {}),
    ],
    ids=str,
)
def test_what_cannot_be_asked_is_said(ready: ApiWorld, path: str, params: dict[str, Any]) -> None:
    assert ready.caller("dave").get(path, params=params).status_code == 422


READS = [
    "/management-agents", "/management-agents/hr", "/connector-space", "/connector-space/object?name=x", "/metaverse",
    "/metaverse/00000000-0000-0000-0000-000000000000", "/joins?name=x",
]  # fmt: skip
CHANGES = [
    ("POST", "/management-agents", body()),
    ("PUT", "/management-agents/hr", body()),
    ("DELETE", "/management-agents/hr", None),
    ("PUT", "/management-agents/hr/secret", {"secret": "x"}),
    ("PUT", "/management-agents/hr/passwords", {"target": True}),
    ("POST", "/management-agents/hr/imports", {}),
    ("POST", "/metaverse", {"object": "x"}),
    ("PUT", "/joins", {"object": "x", "person": "y"}),
    ("DELETE", "/joins?name=x", None),
]


def test_auditors_read_administrators_change_and_others_do_neither(ready: ApiWorld) -> None:
    frank, grace, nobody = ready.caller("frank"), ready.caller("grace"), ready.anonymous()
    for path in READS:
        assert frank.get(path).status_code in {200, 404}, path
        assert grace.get(path).status_code == 403, path
        assert nobody.get(path).status_code == 401, path
    for method, path, sent in CHANGES:
        for caller, wanted in ((frank, 403), (grace, 403), (nobody, 401)):
            assert caller.call(method, path, sent).status_code == wanted, (method, path)
