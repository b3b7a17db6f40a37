"""Monitoring as people see it: over the API and in commands, in figures, in `bastide validate`, in settings."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any, get_args, get_type_hints

import httpx
import pytest
from litestar.testing import TestClient
from typer.testing import CliRunner

from bastide.cli.main import app
from bastide.cli.remote import Surroundings
from bastide.config import ConfigError, load
from bastide.domain.drift import REPAIRABLE, Action, Rule
from bastide.domain.health import Severity
from bastide.domain.lagging import Awaited
from bastide.domain.people import Forest
from bastide.health.checks.monitoring import judge_drift, judge_reading
from bastide.sections import Monitoring, MonitoringRule, wrong_monitoring
from bastide.services.measures import CHANGE_AGE, DRIFTS, PAUSED, READ_AGE
from bastide.services.monitor.ports import Domain, Mark
from bastide.wiring.monitor import rules_of
from tests.support.api import ApiWorld, app_over, served
from tests.support.monitored import MonitoredWorld
from tests.support.world import ADDRESS, START
from tests.unit.test_cli_client import Ticket

AWAITED = (Awaited("dc0", "older", 1, START),)
DOMAIN = Domain(Forest.PRIV, "priv.bastide.test", Mark("dc1", "db", 1), b"c", START, START, START)


def test_the_rules_of_the_settings_are_those_of_the_code() -> None:
    hints = get_type_hints(MonitoringRule)
    assert set(get_args(hints["rule"])) == {rule.value for rule in Rule}
    assert set(get_args(hints["action"])) == {"", *(action.value for action in Action)}
    refused = {
        rule
        for rule in Rule
        if wrong_monitoring(Monitoring(rules=[MonitoringRule(rule=rule.value, action="repair")]))
    }
    assert refused == set(Rule) - REPAIRABLE


@pytest.mark.parametrize(
    ("table", "said"),
    [
        (Monitoring(interval_seconds=0), "1 to 60"),
        (Monitoring(owner=" "), "somebody's"),
        (Monitoring(rules=[MonitoringRule(rule="stranger")] * 2), "twice"),
    ],
)
def test_what_cannot_be_is_refused(table: Monitoring, said: str) -> None:
    assert said in wrong_monitoring(table)
    assert wrong_monitoring(None) == wrong_monitoring(Monitoring()) == ""


def test_a_rule_of_the_settings_counts() -> None:
    table = Monitoring(owner="A", rules=[MonitoringRule(rule="stranger", action="report", owner="B")])
    rules = rules_of(table)
    assert (rules.actions, rules.owners, rules.owner) == (
        {Rule.STRANGER: Action.REPORT},
        {Rule.STRANGER: "B"},
        "A",
    )


def test_a_mistyped_rule_is_an_error(tmp_path: Path) -> None:
    file = tmp_path / "bastide.toml"
    file.write_text('[monitoring]\n[[monitoring.rules]]\nrule = "strangers"\n')
    with pytest.raises(ConfigError):
        load(file)


# ----------------------------------------------------------------------------------------------------- figures and checks


def test_figures_say_how_far_and_how_much() -> None:
    world = MonitoredWorld()
    assert not [one for one in world.services.measures.read() if one.measure in {DRIFTS, READ_AGE}]
    world.ready()
    world.look()
    with world.store.read() as uow:
        group = uow.groups.all()[0]
    bob = world.directory(Forest.CORP).find_person("bob").ref
    world.add_by_hand(Forest.CORP, group.corp, bob.sid)
    world.look()
    world.clock.move(seconds=30)
    found = {(one.measure, one.labels): one.value for one in world.services.measures.read()}
    assert found[DRIFTS, ("other-member",)] == 1
    assert found[DRIFTS, ("stranger",)] == 0
    assert found[PAUSED, ("corp.bastide.test",)] == 0
    assert found[READ_AGE, ("corp.bastide.test",)] >= 30
    assert found[CHANGE_AGE, ("corp.bastide.test",)] >= 30
    world.close()


def test_validate_says_whether_each_domain_is_read() -> None:
    later = START + timedelta(minutes=6)
    for domain, now, severity, said in (
        (DOMAIN, START, Severity.OK, "read from dc1"),
        (DOMAIN, later, Severity.ERROR, "last at"),
        (replace(DOMAIN, read_at=None), START, Severity.ERROR, "never"),
        (replace(DOMAIN, paused=True), START, Severity.WARNING, "paused"),
        (replace(DOMAIN, problem="no route"), START, Severity.ERROR, "no route"),
        (replace(DOMAIN, awaited=AWAITED), START, Severity.WARNING, "dc1 has not heard yet all that dc0 had"),
    ):
        found = judge_reading(domain, now)
        assert (found.severity, said in found.text) == (severity, True)


def test_validate_names_what_drifted() -> None:
    world = MonitoredWorld(actions={Rule.STRANGER: Action.REPORT})
    world.ready()
    world.look()
    assert judge_drift(()).severity is Severity.OK
    with world.store.read() as uow:
        group = uow.groups.all()[0]
    for number in range(7):
        world.add_by_hand(Forest.PRIV, group.priv, world.priv.add_person(f"x{number}").ref.sid)
    world.look()
    with world.store.read() as uow:
        found = judge_drift(uow.monitored.findings())
    assert found.severity is Severity.ERROR
    assert "7 drifts stand" in found.text
    assert "and 2 more" in found.text
    world.close()


# --------------------------------------------------------------------------------------------------- API and commands


class MonitoringApi(MonitoredWorld, ApiWorld):
    """The API in front of a Bastide that monitors."""

    def __init__(self, **options: Any) -> None:
        MonitoredWorld.__init__(self, **options)
        self._secrets: dict[str, bytes] = {}


@pytest.fixture
def api() -> Iterator[MonitoringApi]:
    world = MonitoringApi()
    world.ready()
    world.look()
    with app_over(world.services) as made, TestClient(made, raise_server_exceptions=False) as client:
        world.client = client
        yield world
    world.close()


class DavesTicket(Ticket):
    """NamedTicket takes a principal as its token."""

    principal = "dave@PRIV.BASTIDE.TEST"

    def step(self, token: bytes | None = None) -> bytes | None:
        return self.principal.encode() if token is None else None


def cli(api: MonitoringApi, *arguments: str) -> tuple[int, str]:
    def forward(request: httpx.Request) -> httpx.Response:
        answer = api.client.request(
            request.method,
            request.url.raw_path.decode(),
            content=request.content,
            headers=request.headers,
        )
        return httpx.Response(answer.status_code, headers=answer.headers, content=answer.content)

    world = Surroundings(transport=httpx.MockTransport(forward), handshake=DavesTicket)
    done = CliRunner().invoke(
        app, ["monitor", *arguments, "--server", ADDRESS], obj=world, env={"COLUMNS": "250", "TERM": "dumb"}
    )
    return done.exit_code, done.output


def test_from_the_drift_to_its_acceptance(api: MonitoringApi) -> None:
    assert "nothing drifted" in cli(api, "drift")[1]
    code, said = cli(api, "status")
    assert code == 0
    assert "corp.bastide.test" in said
    with api.store.read() as uow:
        group = uow.groups.all()[0]
    bob = api.directory(Forest.CORP).find_person("bob").ref
    api.add_by_hand(Forest.CORP, group.corp, bob.sid)
    api.look()
    key = api.standing()[Rule.OTHER_MEMBER].key
    assert key in cli(api, "drift")[1]
    assert key in cli(api, "drift", "--forest", "corp", "--rule", "other-member")[1]
    assert key not in cli(api, "drift", "--forest", "priv")[1]
    assert key not in cli(api, "drift", "--rule", "stranger")[1]
    assert cli(api, "drift", "--rule", "strangers")[0] != 0
    assert "nothing that fits was over" in cli(api, "drift", "--over")[1]
    assert cli(api, "accept", key, "--reason", "CHG-1")[0] == 0
    said = cli(api, "drift", "--over", "--forest", "corp")[1]
    for word in ("accepted", "CHG-1", "dave", "Team Directory", "other-member"):
        assert word in said
    assert "CHG-1" not in cli(api, "drift", "--over", "--forest", "priv")[1]
    assert cli(api, "accept", key, "--reason", "CHG-1")[0] != 0
    assert "nothing drifted" in cli(api, "drift")[1]


def test_a_controller_that_lags_is_said(api: MonitoringApi) -> None:
    assert [one["lags"] for one in api.caller("frank").get("/monitoring").json()["domains"]] == ["", ""]
    lagging = replace(api.domain(Forest.CORP), awaited=AWAITED)
    with api.store.write() as uow:
        uow.monitored.save(lagging)
        uow.commit()
    corp = api.caller("frank").get("/monitoring").json()["domains"][0]
    assert "has not heard yet all that dc0 had" in corp["lags"]
    assert corp["lags"] in cli(api, "status")[1]


def test_it_is_paused_and_goes_on(api: MonitoringApi) -> None:
    assert cli(api, "pause", "--reason", "CHG-2")[0] == 0
    assert "paused" in cli(api, "status")[1]
    assert cli(api, "resync")[0] != 0
    assert cli(api, "resume", "--reason", "done")[0] == 0
    assert cli(api, "resync")[0] == 0
    assert all(api.domain(side).resync for side in Forest)


def test_where_nothing_is_monitored_the_api_says_so() -> None:
    with served(prepared=False) as world:
        answer = world.caller("dave").get("/monitoring")
        assert answer.status_code == 409
        assert "[monitoring]" in answer.json()["remedy"]


def test_auditors_see_and_do_not_steer(api: MonitoringApi) -> None:
    frank = api.caller("frank")
    assert frank.get("/monitoring").json()["drifts"] == 0
    assert frank.get("/monitoring/drift").json()["items"] == []
    assert frank.get("/monitoring/drift/over").json()["items"] == []
    assert frank.get("/monitoring/drift/over?rule=strangers").status_code == 422
    assert frank.get("/monitoring/drift/over?limit=501").status_code == 422
    assert frank.post("/monitoring/resync", {}).status_code == 403
    assert frank.post("/monitoring/pause", {"reason": "x"}).status_code == 403
    assert api.caller("dave").post("/monitoring/pause", {"reason": ""}).status_code == 422
