"""Alerts in the settings, over the API and at the command line."""

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from litestar.testing import TestClient
from typer.testing import CliRunner

from bastide.cli.main import app
from bastide.cli.remote import Surroundings
from bastide.config import Config, ConfigError
from bastide.domain.alerts import CATALOGUE, Severity, Signal
from bastide.health.checks import alerts as checks
from bastide.health.checks import configuration
from bastide.wiring.alerts import alert_adapters
from tests.support.alert_world import AlertWorld
from tests.support.api import ApiWorld, app_over
from tests.support.health import looking_at
from tests.support.world import ADDRESS, MONITORING
from tests.unit.test_cli_client import Ticket
from tests.unit.test_config import read

PEOPLE = '[[alerts.destinations]]\nname = "operations"\nurl = "{}"\n'
SIEM = '[[alerts.destinations]]\nname = "siem"\nsyslog = "tls://siem.test:6514"\n'
RULE = '[[alerts.rules]]\nname = "{}"\n{}\n'


class AlertApi(AlertWorld, ApiWorld):
    """The API in front of a Bastide that raises alerts."""

    def __init__(self, **options: Any) -> None:
        AlertWorld.__init__(self, **options)
        self._secrets: dict[str, bytes] = {}


@pytest.fixture
def api() -> Iterator[AlertApi]:
    world = AlertApi()
    with app_over(world.services) as made, TestClient(made, raise_server_exceptions=False) as client:
        world.client = client
        yield world
    world.close()


# ------------------------------------------------------------------------------------------------------------- settings


def test_the_table_as_it_is_meant(tmp_path: Path) -> None:
    more = (
        '[alerts]\nquiet_from = "20:00"\nquiet_until = "06:30"\nlearn_days = 7\n'
        + PEOPLE.format("credential:operations")
        + SIEM
        + RULE.format("drift", 'to = ["siem"]\nescalate_minutes = 30\nescalate_to = ["operations"]')
        + RULE.format("unusual-hour", "enabled = false")
        + RULE.format("of-ours", 'signal = "kill-switch"\nseverity = "low"\nthreshold = 3')
    )
    adapters = alert_adapters(read(tmp_path, more))
    assert adapters is not None
    assert [(one.name, one.people) for one in adapters.outlets] == [("operations", True), ("siem", False)]
    policy = adapters.policy
    drift, ours = policy.named("drift"), policy.named("of-ours")
    assert drift is not None
    assert ours is not None
    assert (drift.severity, drift.to, drift.escalate_after) == (
        Severity.HIGH,
        frozenset({"siem"}),
        timedelta(minutes=30),
    )
    assert (ours.signal, ours.severity, ours.threshold) == (Signal.KILL_SWITCH, Severity.LOW, 3)
    assert len(policy.rules) == len(CATALOGUE) + 1
    assert policy.of(Signal.UNUSUAL_HOUR) == ()
    assert (policy.quiet.begin.hour, policy.quiet.end.minute, policy.learned) == (20, 30, 7)


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ("[alerts]\ndestinations = []\n", "names no destination"),
        (PEOPLE.format("/a") * 2, "operations is there twice"),
        ('[[alerts.destinations]]\nname = "x"\n', "set either url"),
        (SIEM + 'url = "/a"\n', "set either url"),
        (SIEM.replace("tls:", "tcp:"), "write tls://"),
        (SIEM.replace("tls://siem.test:6514", "udp://127.0.0.1"), "write tls://"),
        (SIEM.replace("operations", "x") + 'format = "leef"\n', "Invalid enum value 'leef'"),
        (PEOPLE.format("mailtos://user:secret@host"), r"alerts\.destinations\.url is the path of a file"),
        ('[alerts]\nquiet_from = "20:00"\n' + SIEM, "both HH:MM"),
        ('[alerts]\nquiet_from = "8pm"\nquiet_until = "06:00"\n' + SIEM, "both HH:MM"),
        ("[alerts]\nlearn_days = 0\n" + SIEM, "1 to 365, not 0"),
        (SIEM + RULE.format("drift", 'to = ["nobody"]'), "no destination 'nobody'"),
        (SIEM + RULE.format("drift", "escalate_minutes = 5"), "go together"),
        (SIEM + RULE.format("drift", "threshold = -1"), "threshold: drift: is 0 to"),
        (SIEM + RULE.format("drift", 'signal = "weather"'), "Invalid enum value 'weather'"),
        (SIEM + RULE.format("Drift", ""), "is no name"),
    ],
)
def test_what_cannot_be_meant_is_refused_when_it_is_read(tmp_path: Path, more: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said) as refused:
        read(tmp_path, more)
    assert "secret" not in str(refused.value).replace("the secret itself", "")


def test_a_rule_of_ones_own_says_what_it_watches(tmp_path: Path) -> None:
    config = read(tmp_path, SIEM + RULE.format("of-ours", 'severity = "low"'))
    with pytest.raises(ConfigError, match="of-ours needs signal and severity"):
        alert_adapters(config)


def test_without_the_table_there_are_none(tmp_path: Path) -> None:
    assert alert_adapters(read(tmp_path, "")) is None


# -------------------------------------------------------------------------------------------------------------- checks


def _checked(tmp_path: Path, more: str) -> Config:
    return read(tmp_path, more)


def test_what_names_no_address_is_found_before_it_is_needed(tmp_path: Path) -> None:
    good, empty = tmp_path / "good", tmp_path / "empty"
    good.write_text("mailtos://user:password@mail.test?to=ops@corp.test\n")
    empty.write_text("")
    for one in (good, empty):
        one.chmod(0o600)
    for file, is_good in ((good, True), (empty, False)):
        config = _checked(tmp_path, PEOPLE.format(file) + SIEM)
        rules, people, siem = configuration.destinations(looking_at(config))
        assert "18 of 18 rules are on" in rules.text
        assert people.severity.is_problem is not is_good
        assert "bastide alert test siem" in siem.text


def test_whether_each_destination_took_something(tmp_path: Path) -> None:
    config = _checked(
        tmp_path, SIEM.replace('"siem"', '"program"') + PEOPLE.format("/a").replace("operations", "people")
    )
    world = AlertWorld()
    look = looking_at(config, store=world.store, clock=world.clock)
    assert [one.severity.value for one in checks.destinations(look)] == ["warning", "warning"]
    world.program.down = "no route"
    world.happen("kill-switch")
    world.settle()
    assert [one.severity.value for one in checks.destinations(look)] == ["error", "ok"]
    (seen,) = checks.unseen(look)
    assert not seen.severity.is_problem
    world.clock.move(hours=25)
    (unseen,) = checks.unseen(look)
    assert "The kill switch was used by bastide" in unseen.text
    world.close()


# ----------------------------------------------------------------------------------------------------- API and commands


class DavesTicket(Ticket):
    """A handshake that the API in front takes for dave's."""

    principal = "dave@PRIV.BASTIDE.TEST"

    def step(self, token: bytes | None = None) -> bytes | None:
        return self.principal.encode() if token is None else None


def cli(api: AlertApi, *arguments: str) -> tuple[int, str]:
    def forward(request: httpx.Request) -> httpx.Response:
        answer = api.client.request(
            request.method,
            request.url.raw_path.decode(),
            content=request.content,
            headers=dict(request.headers),
        )
        return httpx.Response(answer.status_code, headers=answer.headers, content=answer.content)

    world = Surroundings(transport=httpx.MockTransport(forward), handshake=DavesTicket)
    done = CliRunner().invoke(
        app, ["alert", *arguments, "--server", ADDRESS], obj=world, env={"COLUMNS": "250", "TERM": "dumb"}
    )
    return done.exit_code, done.output


def test_from_the_list_to_the_acknowledgement(api: AlertApi) -> None:
    assert "there is no alert" in cli(api, "list")[1]
    api.happen("kill-switch", name="<script>")
    api.settle()
    (alert,) = api.found()
    assert alert.id in cli(api, "list")[1]
    assert "audit record" in cli(api, "show", alert.id)[1]
    assert cli(api, "acknowledge", alert.id, "--note", "looking")[0] == 0
    assert "looking" in cli(api, "show", alert.id)[1]
    code, said = cli(api, "acknowledge", alert.id)
    assert (code, "acknowledged it already" in said) == (1, True)
    assert alert.id in cli(api, "list", "--state", "acknowledged")[1]
    assert "there is no alert" in cli(api, "list", "--state", "open")[1]
    assert cli(api, "show", "no-id")[0] == 1


def test_rules_destinations_and_a_test(api: AlertApi) -> None:
    said = cli(api, "rules")[1]
    of_persons = {line.split()[0] for line in said.splitlines() if " person " in line}
    assert of_persons == {"failing-gates-of-one", "many-activations-of-one"}
    assert "many-activations-of-a-role" in said
    assert "a program" in said
    assert cli(api, "test", "program")[0] == 0
    api.program.down = "no route"
    code, said = cli(api, "test", "program")
    assert (code, "no route" in said) == (3, True)


def test_who_sets_up_no_alerts_is_told_how() -> None:
    world = ApiWorld()
    with app_over(world.services) as made, TestClient(made, raise_server_exceptions=False) as client:
        world.client = client
        answer = world.caller("dave").get("/alerts")
        assert (answer.status_code, "[alerts]" in answer.text) == (409, True)
    world.close()


def test_figures(api: AlertApi) -> None:
    api.program.down = "no route"
    api.happen("kill-switch")
    api.settle()
    text = api.client.get("/api/v1/metrics", headers={"Authorization": f"Bearer {MONITORING}"}).text
    assert 'bastide_alerts_open{severity="high"} 1.0' in text
    assert 'bastide_alerts_undelivered{destination="program"} 1.0' in text
    assert 'bastide_alerts_undelivered{destination="people"} 0.0' in text
