"""Spans of the real process: they reach a collector over TLS with nothing in them that is anybody's, and one that is down keeps nobody waiting."""

import json
import signal
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest

from bastide_lab.targets import Pair
from tests.support.certificates import issue
from tests.support.otlp import collecting
from tests.support.patience import PATIENCE
from tests.support.served_process import BASTIDE, CANARY, DIRECT, make_settings, wait_for

pytest.importorskip("ldap")
pytest.importorskip("gssapi")
TOKEN = "Canary-token-of-the-collector"
TYPED = "Canary-typed-by-a-caller"
#: The log names paths, for whoever looks for a wrong address; spans name routes alone.
PATH = "Canary-in-the-path"


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, int]:
    return make_settings(tmp_path_factory.mktemp("telemetry"))


@pytest.fixture
def pair(tmp_path: Path) -> Pair:
    return issue(tmp_path, "collector", "localhost")


@contextmanager
def serving(
    settings: tuple[Path, int], collector: int, pair: Pair
) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """With a collector at that port of this host."""
    config, port = settings
    token = pair.key.with_name("token")
    token.write_text(f"{TOKEN}\n")
    token.chmod(0o600)
    file = pair.key.with_name("bastide.toml")
    endpoint = f"https://localhost:{collector}/v1/traces"
    file.write_text(
        f'{config.read_text()}\n[telemetry]\nendpoint = "{endpoint}"\ntoken = "{token}"\nca = "{pair.certificate}"\n'
    )
    with subprocess.Popen(
        [*BASTIDE, "serve", "--config", str(file)], stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            url = f"http://127.0.0.1:{port}/api/v1"
            wait_for(url, process)
            yield process, url
        finally:
            process.kill()


def call(url: str, body: object = None, headers: Mapping[str, str] | None = None) -> int:
    """The status."""
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"Content-Type": "application/json", **(headers or {})})
    try:
        with DIRECT.open(request, timeout=30) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        error.close()
        return error.code


def stop(process: subprocess.Popen[str]) -> str:
    """In order; what it said."""
    process.send_signal(signal.SIGTERM)
    _, log = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0, log
    return log


def test_spans_of_calls_reach_the_collector_and_no_secret_does(
    settings: tuple[Path, int], pair: Pair
) -> None:
    with collecting(pair) as collector:
        with serving(settings, collector.server_port, pair) as (process, url):
            assert call(f"{url}/whoami?note={TYPED}", headers={"Authorization": f"Bearer {TYPED}"}) == 401
            body = {"account": rf"PRIV\{TYPED}", "password": TYPED, "code": "123456"}
            assert call(f"{url}/sessions", body) >= 400
            assert call(f"{url}/{PATH}") == 404
            log = stop(process)
        assert {"GET /api/v1/whoami", "POST /api/v1/sessions", "GET none", "store.read"} <= collector.names()
        assert {(path, said) for path, said, _ in collector.took} == {("/v1/traces", f"Bearer {TOKEN}")}
        sent = b"".join(body for _, _, body in collector.took)
    assert not any(secret.encode() in sent for secret in (TOKEN, TYPED, CANARY, PATH))
    assert not any(secret in log for secret in (TOKEN, TYPED, CANARY))


def test_it_starts_serves_and_stops_with_the_collector_down(settings: tuple[Path, int], pair: Pair) -> None:
    with collecting(pair) as collector:
        port = collector.server_port
    with serving(settings, port, pair) as (process, url):
        for _ in range(20):
            assert call(f"{url}/health/ready") == 200
        log = stop(process)
    assert TOKEN not in log
    assert "Traceback" not in log
