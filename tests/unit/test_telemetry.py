"""Spans for a collector: of calls, use cases, work, directory and database; to a receiver that speaks OTLP over HTTP; and with nothing in them that is anybody's."""

import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from inspect import ismethod
from pathlib import Path

import pytest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from bastide.config import ConfigError, Telemetry
from bastide.places import wrong_collector
from bastide.services.tracing import REQUEST, ROWS
from bastide.wiring.telemetry import OtelSpans
from bastide.workers.jobs import LEASE
from tests.support import otlp
from tests.support.api import ASK, ApiWorld, served
from tests.support.otlp import collecting

CANARY = "Canary-telemetry-5e1c"
TOKEN = "Canary-token-77aa"


@pytest.fixture
def api() -> Iterator[ApiWorld]:
    with served() as world:
        yield world


@pytest.fixture(autouse=True)
def nobody_sends_on() -> Iterator[None]:
    """A sender that tries again takes its pauses by chance, and Hypothesis finds chance in somebody else's test."""
    yield
    for thread in threading.enumerate():
        if thread.name.startswith(("last-spans", "OtelBatch")):
            thread.join(30)


class Collector:
    """In memory. `ends` says how."""

    def __init__(self, api: ApiWorld) -> None:
        self._exporter = InMemorySpanExporter()
        self._spans = OtelSpans(self._exporter, "node-a")
        api.services.tracer.spans = self._spans
        self._api = api

    def ended(self) -> list[ReadableSpan]:
        self._api.services.tracer.spans = None
        self._spans.close()
        return [*self._exporter.get_finished_spans()]


def activate(api: ApiWorld) -> str:
    """With things in it that are nobody else's business."""
    alice = api.corp_caller("alice")
    answer = alice.post("/requests", {**ASK, "justification": CANARY}, code=True)
    assert answer.status_code == 201, answer.text
    request = str(answer.json()["id"])
    api.work()
    assert alice.get(f"/requests/{request}?note={CANARY}").json()["state"] == "Active"
    assert alice.get(f"/{CANARY}").status_code == 404
    return request


def parents(spans: list[ReadableSpan], name: str) -> set[str]:
    """Names of all spans around one of that name."""
    by_id = {span.context.span_id: span for span in spans if span.context is not None}
    found = set()
    for span in spans:
        above = span.parent if span.name == name else None
        while above is not None:
            found.add(by_id[above.span_id].name)
            above = by_id[above.span_id].parent
    return found


def test_a_call_is_around_its_use_case_and_that_around_directory_and_database(api: ApiWorld) -> None:
    collector = Collector(api)
    activate(api)
    spans = collector.ended()
    assert "POST /api/v1/requests" in parents(spans, "requests.submit")
    assert {"POST /api/v1/requests", "requests.submit"} <= parents(spans, "store.write")
    assert "requests.submit" in parents(spans, "directory.priv.observe")
    roots = {span.name for span in spans if span.parent is None}
    assert {"POST /api/v1/requests", "GET none"} <= roots
    for span in spans:
        assert span.resource.attributes["service.instance.id"] == "node-a"


def test_work_is_a_span_of_its_own_with_its_rows(api: ApiWorld) -> None:
    api.corp_caller("alice").post("/requests", ASK, code=True)
    spans = OtelSpans(exporter := InMemorySpanExporter(), "node-a")
    api.services.tracer.spans = spans
    works = api.store.claim(
        ["account"],
        owner="x",
        lease=LEASE,
        limit=5,
        now=api.clock.now(),
    )
    with api.services.tracer.work(works):
        api.services.grants.run_accounts(works)
    spans.close()
    ended = [*exporter.get_finished_spans()]
    (run,) = [span for span in ended if span.name == "run account"]
    assert run.attributes is not None
    assert run.attributes[ROWS] == len(works) == 1
    assert "run account" in parents(ended, "directory.priv.add_members")


def test_facts_are_names_and_numbers_and_the_id_of_a_request(api: ApiWorld) -> None:
    collector = Collector(api)
    request = activate(api)
    facts = [dict(span.attributes or {}) for span in collector.ended()]
    assert request in {fact.get(REQUEST) for fact in facts}
    allowed = {"http.request.method", "http.route", "http.response.status_code", "error.type", REQUEST, ROWS}
    assert {name for fact in facts for name in fact} <= allowed
    assert {201, 200, 404} == {fact["http.response.status_code"] for fact in facts if "http.route" in fact}


def test_of_an_error_the_code_is_said(api: ApiWorld) -> None:
    collector = Collector(api)
    assert api.corp_caller("alice").post("/requests", {**ASK, "role": CANARY}, code=True).status_code == 404
    (submit,) = [span for span in collector.ended() if span.name == "requests.submit"]
    assert (submit.attributes or {})["error.type"] == "not-found"
    assert submit.events == ()
    assert CANARY not in submit.to_json()


def test_nobody_is_named_and_nothing_typed_is_said(api: ApiWorld) -> None:
    collector = Collector(api)
    activate(api)
    said = "\n".join(span.to_json() for span in collector.ended())
    for secret in (CANARY, "alice", "patch the server", "S-1-5-", "Negotiate"):
        assert secret not in said


def test_a_method_that_a_caller_made_up_is_not_said_and_head_has_its_route(api: ApiWorld) -> None:
    collector = Collector(api)
    assert api.caller("dave").call("HEAD", "/whoami").status_code == 200
    assert api.caller("dave").call("SESAME4711", "/whoami").status_code == 405
    ended = collector.ended()
    assert "HEAD /api/v1/whoami" in {span.name for span in ended}
    (made_up,) = [span for span in ended if (span.attributes or {}).get("http.request.method") == "_OTHER"]
    assert made_up.name.startswith("_OTHER ")
    assert "SESAME4711" not in "".join(span.to_json() for span in ended)


@pytest.fixture
def receiver() -> Iterator[otlp.Collector]:
    with collecting() as made:
        yield made


def test_a_receiver_of_otlp_takes_them_and_finds_no_secret(
    api: ApiWorld, receiver: otlp.Collector, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    token = tmp_path / "token"
    token.write_text(f"{TOKEN}\n")
    endpoint = f"http://127.0.0.1:{receiver.server_port}/v1/traces"
    spans = OtelSpans.to_collector(Telemetry(endpoint=endpoint, token=str(token)), "node-a")
    api.services.tracer.spans = spans
    activate(api)
    api.services.tracer.spans = None
    spans.close()
    assert {(path, said) for path, said, _ in receiver.took} == {("/v1/traces", f"Bearer {TOKEN}")}
    for _, _, body in receiver.took:
        assert not any(secret.encode() in body for secret in (CANARY, TOKEN, "alice"))
    wanted = {"POST /api/v1/requests", "requests.submit", "store.write", "directory.priv.observe"}
    assert wanted <= receiver.names()
    assert TOKEN not in caplog.text
    assert TOKEN not in repr(vars(spans))


def test_a_collector_that_is_not_there_holds_nothing_up(api: ApiWorld, receiver: otlp.Collector) -> None:
    receiver.server_close()
    spans = OtelSpans.to_collector(
        Telemetry(endpoint=f"http://127.0.0.1:{receiver.server_port}/v1/traces"), "node-a"
    )
    api.services.tracer.spans = spans
    activate(api)
    api.services.tracer.spans = None
    spans.close()


def test_a_collector_that_hangs_does_not_keep_the_service_from_stopping(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("bastide.wiring.telemetry._LAST", 0.05)
    with socket.create_server(("127.0.0.1", 0)) as mute:
        port = mute.getsockname()[1]
        spans = OtelSpans.to_collector(Telemetry(endpoint=f"http://127.0.0.1:{port}/v1/traces"), "node-a")
        with spans.span("x", {}):
            pass
        spans.close()
        assert "the last spans are lost" in caplog.text


def test_a_token_that_cannot_be_read_is_said(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"telemetry\.token"):
        OtelSpans.to_collector(
            Telemetry(endpoint="http://127.0.0.1/v1/traces", token=str(tmp_path / "none")), "a"
        )


@pytest.mark.parametrize("url", ["https://otel.test:4318/v1/traces", "http://127.0.0.1:4318/v1/traces"])
def test_spans_go_over_tls_or_stay_on_this_host(url: str) -> None:
    assert not wrong_collector(url)


@pytest.mark.parametrize(
    "url",
    ["http://otel.test/v1/traces", "https://a:b@otel.test/v1", "https://", "otel.test", "https://o:x/", "https://o/?k=1"],
)  # fmt: skip
def test_other_addresses_are_refused(url: str) -> None:
    assert wrong_collector(url)


def test_what_is_not_set_up_is_not_even_loaded() -> None:
    code = "import sys, bastide.cli.server, bastide.web; sys.exit(any(n.startswith('opentelemetry') for n in sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], check=False, timeout=120).returncode == 0


def test_without_spans_a_use_case_is_called_as_it_is(api: ApiWorld) -> None:
    assert api.services.tracer.spans is None
    assert not api.services.tracer.watches("requests")
    assert ismethod(api.services.requests.submit), "nothing is around it"
