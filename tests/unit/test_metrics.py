"""Figures for monitoring: who gets them, that each is what it says, and that the page, the dashboard and the alerts know no other."""

import json
import re
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from bastide.api.native.metrics import ANSWERS, TIMES
from bastide.config import ConfigError, Metrics
from bastide.domain import nodes
from bastide.domain.break_glass import Envelope, State
from bastide.domain.contacts import Contact
from bastide.domain.errors import NotFound
from bastide.domain.ids import Sid
from bastide.services.measures import MEASURES, Kind, Measures, digest
from bastide.wiring.monitoring import metrics_token
from tests.support.api import ASK, ApiWorld
from tests.support.world import MONITORING

pytest_plugins = ["tests.support.api"]
ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "reference" / "metrics.md"
MONITOR = ROOT / "docs" / "operations" / "monitoring"
TOKEN = {"Authorization": f"Bearer {MONITORING}"}
#: As a scrape shows them.
NAMES = {
    *(one.name + ("_total" if one.kind is Kind.COUNTER else "") for one in (*MEASURES, ANSWERS)),
    *(TIMES.name + end for end in ("_bucket", "_count", "_sum")),
}


def figures(api: ApiWorld) -> dict[tuple[str, ...], float]:
    """By name and the values of the labels."""
    answer = api.anonymous().get("/metrics", headers=TOKEN)
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    return {
        (sample.name, *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(answer.text)
        for sample in family.samples
    }


def info(api: ApiWorld) -> dict[str, str]:
    """What a node says of itself."""
    text = api.anonymous().get("/metrics", headers=TOKEN).text
    families = {family.name: family for family in text_string_to_metric_families(text)}
    (sample,) = families["bastide_node_info"].samples
    return dict(sample.labels)


def test_only_the_token_of_the_settings_is_told(api: ApiWorld) -> None:
    """(2)"""
    for headers in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": f"Basic {MONITORING}"}):
        assert api.anonymous().get("/metrics", headers=headers).status_code == 401
    assert api.caller("dave").get("/metrics").status_code == 401, "a person has no need of it"


def test_without_a_token_there_are_none(api: ApiWorld) -> None:
    """(1)"""
    unset = Measures(store=api.store, sinks=(), token=None, passwords=False, now=api.clock.now)
    for shown in ("", MONITORING):
        with pytest.raises(NotFound, match="not set up"):
            unset.admit(shown)


def test_requests_and_what_is_overdue(api: ApiWorld) -> None:
    asked = api.corp_caller("alice").post("/requests", {**ASK, "ttl_seconds": 600}, code=True)
    assert asked.status_code == 201, asked.text
    api.work()
    seen = figures(api)
    assert seen["bastide_requests", "Active"] == 1
    assert seen["bastide_grants_overdue",] == 0
    assert seen["bastide_work_rows", "account"] >= 1
    api.clock.move(seconds=700)
    seen = figures(api)
    assert seen["bastide_grants_overdue",] == 1, "no worker came"
    assert seen["bastide_work_due", "account"] == 1
    assert 90 <= seen["bastide_work_late_seconds", "account"] <= 110
    api.work()
    seen = figures(api)
    assert seen["bastide_grants_overdue",] == 0
    assert ("bastide_requests", "Active") not in seen


def test_nodes(api: ApiWorld) -> None:
    now = api.clock.now()
    one = nodes.Node(
        "n1",
        "https://n1",
        "east",
        "0.1.0",
        "0005",
        "p",
        timedelta(seconds=10),
        now,
        now - timedelta(seconds=25),
    )
    with api.store.write() as uow:
        uow.nodes.put(one)
        uow.commit()
    seen = figures(api)
    assert seen["bastide_node_up", "n1", "east"] == 1
    assert seen["bastide_node_heartbeat_age_seconds", "n1"] == 25
    assert info(api) == {"node": "n1", "state": "serving", "version": "0.1.0", "schema": "0005"}
    api.clock.move(seconds=10)
    assert figures(api)["bastide_node_up", "n1", "east"] == 0
    with api.store.write() as uow:
        uow.nodes.put(replace(one, left_at=api.clock.now()))
        uow.commit()
    assert ("bastide_node_up", "n1", "east") not in figures(api), "it was stopped properly: nobody is paged"
    assert info(api)["state"] == "left"


def test_the_chain_and_its_sinks(api: ApiWorld) -> None:
    class Sink:
        name = "file:/audit"

    api.services.audit.checkpoint()
    with api.store.write() as uow:
        records = uow.audit.head()[0]
        uow.audit.move_cursor("file:/audit", records - 1)
        uow.commit()
    api.clock.move(seconds=60)
    seen = figures(api)
    assert seen["bastide_audit_records_total",] == records > 0
    assert seen["bastide_audit_checkpoint_age_seconds",] == 60
    measures = Measures(store=api.store, sinks=[Sink()], token=None, passwords=False, now=api.clock.now)  # type: ignore[list-item]
    assert [
        (s.value, s.labels) for s in measures.read() if s.measure.name == "bastide_audit_sink_lag_records"
    ] == [(1, ("file:/audit",))]


def test_passwords_where_they_are_synchronized(api: ApiWorld) -> None:
    with api.store.write() as uow:
        heard = api.clock.now() - timedelta(minutes=5)
        uow.contacts.put(
            Contact(
                domain="corp.test",
                account="DC1$",
                host="dc1.corp.test",
                heard_at=heard,
                waiting=3,
                beat_at=heard,
            )
        )
        uow.switch.set(enabled=True)
        uow.commit()
    with_them = Measures(store=api.store, sinks=(), token=None, passwords=True, now=api.clock.now)
    seen = {(one.measure.name, *one.labels): one.value for one in with_them.read()}
    assert seen["bastide_passwords_enabled",] == 1
    assert seen["bastide_passwords_pending",] == 0
    assert seen["bastide_controller_heard_age_seconds", "corp.test", "dc1.corp.test"] == 300
    assert seen["bastide_controller_waiting", "corp.test", "dc1.corp.test"] == 3
    assert not any("password" in name for name, *_ in figures(api)), "this node does not"


def envelope(api: ApiWorld, number: int, name: str, **more: object) -> Envelope:
    sealed = Envelope(
        number=number,
        account=Sid(f"S-1-5-21-1-2-3-{1200 + number}"),
        name=name,
        domain="priv.test",
        sealed_at=api.clock.now() - timedelta(days=200),
        sealed_by="S-1-5-21-1-2-3-1105",
        sealer="dave",
        threshold=2,
        custodians=("Ann", "Ben", "Cy"),
        verifier="x",
        baseline={},
        seen={},
    )
    return replace(sealed, **more)  # type: ignore[arg-type]


def test_emergency_accounts_without_their_names(api: ApiWorld) -> None:
    seen = figures(api)
    assert (
        seen["bastide_break_glass_envelopes", "sealed"] == seen["bastide_break_glass_envelopes", "used"] == 0
    )
    assert ("bastide_break_glass_drill_age_seconds",) not in seen
    drilled = api.clock.now() - timedelta(days=30)
    with api.store.write() as uow:
        uow.envelopes.add(envelope(api, 1, "zz-drilled", drilled_at=drilled))
        uow.envelopes.add(envelope(api, 2, "zz-used", state=State.USED))
        uow.envelopes.add(envelope(api, 3, "zz-replaced", state=State.REPLACED))
        uow.commit()
    seen = figures(api)
    assert seen["bastide_break_glass_envelopes", "sealed"] == 1
    assert seen["bastide_break_glass_envelopes", "used"] == 1
    assert seen["bastide_break_glass_drill_age_seconds",] == timedelta(days=30).total_seconds()
    with api.store.write() as uow:
        uow.envelopes.add(envelope(api, 4, "zz-never"))
        uow.commit()
    assert figures(api)["bastide_break_glass_drill_age_seconds",] == timedelta(days=200).total_seconds()
    text = api.anonymous().get("/metrics", headers=TOKEN).text
    assert not any(word in text for word in ("zz-", "priv.test", "Ann", "S-1-5-21")), "nobody is named"


def test_answers_are_counted_by_dialect(api: ApiWorld) -> None:
    before = figures(api)
    api.anonymous().get("/health/live")
    api.anonymous().send("GET", "/")
    api.anonymous().send("BREW", "/api/v1/health/live")
    seen = figures(api)
    live = ("bastide_http_answers_total", "native", "GET", "200")
    assert seen[live] == before.get(live, 0) + 2, "the look itself is one"
    assert any(name == "bastide_http_answers_total" and labels[0] == "portal" for name, *labels in seen)
    assert any(
        labels[:2] == ["native", "other"] for name, *labels in seen if name == "bastide_http_answers_total"
    )
    assert (
        seen["bastide_http_answer_seconds_bucket", "native", "+Inf"]
        == seen["bastide_http_answer_seconds_count", "native"]
    )


def test_hostile_names_stay_in_their_place(api: ApiWorld) -> None:
    now = api.clock.now()
    evil = 'n"} 1\nbastide_grants_overdue 7\n# '
    with api.store.write() as uow:
        uow.nodes.put(nodes.Node(evil, "", "p", "v", "s", "x", timedelta(seconds=10), now, now))
        uow.commit()
    seen = figures(api)
    assert seen["bastide_grants_overdue",] == 0
    assert seen["bastide_node_up", evil, "p"] == 1


def test_a_file_without_a_token_is_refused_and_what_it_holds_is_not_told(tmp_path: Path) -> None:
    file = tmp_path / "token"
    for content, reason in (
        (b"", "fewer than 32"),
        (b"short-secret\n", "fewer than 32"),
        (b"\xff" * 40, "more than letters"),
    ):
        file.write_bytes(content)
        with pytest.raises(ConfigError, match=reason) as refused:
            metrics_token(Metrics(token=str(file)))
        assert "short-secret" not in str(refused.value)
    with pytest.raises(ConfigError, match="cannot be read"):
        metrics_token(Metrics(token=str(tmp_path / "nowhere")))
    file.write_bytes(f"{MONITORING}\n".encode())
    assert metrics_token(Metrics(token=str(file))) == digest(MONITORING)
    assert metrics_token(None) is None


# ------------------------------------------------------------------------------------------------------------- documents


def test_the_page_lists_each_with_its_labels() -> None:
    rows = re.findall(r"^\| `(bastide_\w+)` \| ([^|]*) \|", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    listed = {name: tuple(re.findall(r"`(\w+)`", labels)) for name, labels in rows}
    code = {
        one.name + ("_total" if one.kind is Kind.COUNTER else ""): one.labels
        for one in (*MEASURES, ANSWERS, TIMES)
    }
    assert listed == code


def test_dashboard_and_alerts_ask_for_what_there_is() -> None:
    dashboard = json.loads((MONITOR / "grafana.json").read_text(encoding="utf-8"))
    asked = [target["expr"] for panel in dashboard["panels"] for target in panel.get("targets", ())]
    alerts = (MONITOR / "alerts.yml").read_text(encoding="utf-8")
    asked += re.findall(r"^\s+expr: (.*)$", alerts, re.MULTILINE)
    assert len(asked) > 20
    for expression in asked:
        names = set(re.findall(r"\bbastide_\w+", expression))
        assert names <= NAMES, expression
        assert names or "process_" in expression or "up{" in expression, expression
    used = {name for expression in asked for name in re.findall(r"\bbastide_\w+", expression)}
    assert {"bastide_grants_overdue", "bastide_work_late_seconds", "bastide_node_up"} <= used


def test_every_alert_says_what_to_do() -> None:
    alerts = (MONITOR / "alerts.yml").read_text(encoding="utf-8")
    rules = re.split(r"^\s+- alert: ", alerts, flags=re.MULTILINE)[1:]
    assert rules
    for rule in rules:
        assert re.search(r"^\s+summary: \S", rule, re.MULTILINE), rule
        (page,) = re.findall(r"runbook: (\S+)", rule)
        assert (ROOT / page.partition("#")[0]).is_file(), page
