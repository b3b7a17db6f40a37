"""The portal and its API, from outside: how much a first view weighs and how soon it can be used, and how many people it answers.

Everything goes over TLS on the loopback address through granian. The directories are in memory: what a real one costs is in the activations
on the lab. Alone: python -m benchmarks.portal (root, for PostgreSQL).
"""

import json
import os
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from playwright.sync_api import Browser, CDPSession, sync_playwright
from tests.support.certificates import issue

from bastide.http.door import COOKIE
from bastide.store import keys
from bastide_lab.targets import Pair
from benchmarks import report
from benchmarks.phases import percentile
from benchmarks.portal_stand import HOST
from benchmarks.postgres import Postgres
from benchmarks.report import Metric

ROOT = Path(__file__).parent.parent
#: In the certificate.
NAME = "portal.bastide.test"
CHROMIUM = "/usr/bin/chromium"
PEOPLE = 256
CONNECTIONS = 16
SECONDS = 5.0
ROUNDS = 3
VIEWS = 9
#: What is asked in turns, each of a server of its own.
PATHS = {"roles": "/api/v1/offers", "hello": "/hello", "asks": "/asks"}
PAGE_KB, READY_MS, RATIO = 60.0, 300.0, 0.3
START_LIMIT, STOP_LIMIT = 60.0, 20.0


class Stand:
    """One server of the run."""

    def __init__(self, work: Path, pair: Pair, what: str, url: str = "") -> None:
        with socket.socket() as free:
            free.bind((HOST, 0))
            self.port: int = free.getsockname()[1]
        self.pair = pair
        self._tokens = work / f"{what}.tokens"
        order = {
            "what": what,
            "port": self.port,
            "url": url,
            "work": str(work),
            "certificate": str(pair.certificate),
            "key": str(pair.key),
            "people": PEOPLE,
            "tokens": str(self._tokens),
        }
        path = work / f"{what}.json"
        path.write_text(json.dumps(order), encoding="utf-8")
        self._log = work / f"{what}.log"
        with self._log.open("w") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "benchmarks.portal_stand", path], cwd=ROOT, stdout=log, stderr=log
            )
        self._wait()

    @property
    def tokens(self) -> list[str]:
        """Of one session for each person."""
        found: list[str] = json.loads(self._tokens.read_text()) if self._tokens.exists() else ["none"]
        return found

    @property
    def cpu_s(self) -> float:
        """Seconds of CPU since it started; proc_pid_stat(5)."""
        fields = Path(f"/proc/{self._process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def stop(self) -> None:
        """As systemd does."""
        self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(STOP_LIMIT)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def drive(self, method: str, path: str, *, body: str = "", turns: int = 0, status: int = 200) -> Any:
        """One closed loop for SECONDS; `cpu` is what the server took for it. Raises RuntimeError."""
        before = self.cpu_s
        order = {
            "host": HOST,
            "port": self.port,
            "name": NAME,
            "result": str(self._tokens.with_suffix(".result")),
            "ca": str(self.pair.certificate),
            "connections": CONNECTIONS,
            "seconds": SECONDS,
            "method": method,
            "path": path,
            "body": body,
            "tokens": self.tokens,
            "turns": turns,
            "status": f"HTTP/1.1 {status} ",
        }
        done = subprocess.run(
            [sys.executable, "-m", "benchmarks.portal_drive"],
            input=json.dumps(order),
            capture_output=True,
            text=True,
            cwd=ROOT,
            timeout=120,
            check=False,
        )
        if done.returncode:
            raise RuntimeError(f"{method} {path}: {done.stderr[-1500:]}")
        seen = json.loads(self._tokens.with_suffix(".result").read_text(encoding="utf-8"))
        return {**seen, "cpu": self.cpu_s - before}

    def _wait(self) -> None:
        deadline = time.monotonic() + START_LIMIT
        while time.monotonic() < deadline:
            if self._process.poll() is not None:
                raise RuntimeError(f"the server ended: {self._log.read_text()[-1500:]}")
            try:
                socket.create_connection((HOST, self.port), 1).close()
            except OSError:
                time.sleep(0.05)
            else:
                return
        raise TimeoutError("the server does not listen")


@contextmanager
def stand(work: Path, pair: Pair, what: str, url: str = "") -> Iterator[Stand]:
    """From the start to SIGTERM."""
    one = Stand(work, pair, what, url)
    try:
        yield one
    finally:
        one.stop()


class Here:
    """Starts what the lab would start in a namespace, and ends it."""

    def __init__(self) -> None:
        self._started: list[subprocess.Popen[str]] = []

    def popen(self, host: str, command: Sequence[str | Path], **options: Any) -> "subprocess.Popen[str]":  # noqa: ARG002  # as the lab has it
        process: subprocess.Popen[str] = subprocess.Popen(list(command), **options)
        self._started.append(process)
        return process

    def end(self) -> None:
        for process in self._started:
            process.send_signal(signal.SIGINT)
            process.wait(STOP_LIMIT)


def measure(say: Any) -> dict[str, Metric]:
    """All of it. `say` tells a person what goes on."""
    with ExitStack() as at_end:
        # Not mkdtemp's own: PostgreSQL's user must get to its part.
        work = Path(at_end.enter_context(tempfile.TemporaryDirectory(prefix="bastide-portal-")))
        work.chmod(0o711)
        keys.generate_key_files(work)
        pair = issue(work, "portal", NAME)
        here = Here()
        at_end.callback(here.end)
        say("PostgreSQL starts")
        database = Postgres(here, "", work / "postgres")
        urls = {"sqlite": f"sqlite:///{work / 'portal.db'}", "postgresql": database.url}
        metrics: dict[str, Metric] = {}
        for name, url in urls.items():
            with ExitStack() as meanwhile:
                bare = meanwhile.enter_context(stand(work, pair, "hello"))
                node = meanwhile.enter_context(stand(work, pair, name, url))
                asking = meanwhile.enter_context(stand(work, pair, "asks", url))
                if name == "sqlite":
                    say("first views in chromium")
                    metrics |= views(node)
                say(f"requests a second on {name}")
                metrics |= rates(name, {"roles": node, "hello": bare, "asks": asking})
        return metrics


def rates(name: str, stands: Mapping[str, Stand]) -> dict[str, Metric]:
    """List my roles, bare hello and one bare question to the database in turns; then activations, each of another person's."""
    node = stands["roles"]
    rps: dict[str, list[float]] = {who: [] for who in PATHS}
    spans: dict[str, list[float]] = {who: [] for who in PATHS}
    cpu = dict.fromkeys(PATHS, 0.0)
    node.drive("GET", PATHS["roles"])
    for number in range(ROUNDS):
        for who in reversed(PATHS) if number % 2 else PATHS:
            seen = stands[who].drive("GET", PATHS[who])
            rps[who].append(len(seen["spans"]) / seen["seconds"])
            spans[who] += seen["spans"]
            cpu[who] += seen["cpu"]
    body = json.dumps({"role": "Benchmark", "justification": "benchmark"})
    asked = node.drive("POST", "/api/v1/requests", body=body, turns=10, status=201)
    return {
        f"roles_rps_{name}": Metric(
            statistics.median(rps["roles"]), "/s", peer=statistics.median(rps["hello"])
        ),
        f"roles_p50_ms_{name}": _ms(spans["roles"], 50, spans["hello"]),
        f"roles_p99_ms_{name}": _ms(spans["roles"], 99, spans["hello"]),
        f"roles_cpu_ms_{name}": Metric(_each(cpu, spans, "roles"), "ms", peer=_each(cpu, spans, "hello")),
        f"roles_rps_ratio_{name}": Metric(_ratio(rps["roles"], rps["hello"]), "", goal=RATIO, more=True),
        f"asks_rps_{name}": Metric(
            statistics.median(rps["asks"]), "/s", peer=statistics.median(rps["hello"])
        ),
        f"asks_cpu_ms_{name}": Metric(_each(cpu, spans, "asks"), "ms", peer=_each(cpu, spans, "hello")),
        f"asks_rps_ratio_{name}": Metric(_ratio(rps["asks"], rps["hello"]), ""),
        f"activate_rps_{name}": Metric(len(asked["spans"]) / asked["seconds"], "/s"),
        f"activate_p50_ms_{name}": _ms(asked["spans"], 50),
        f"activate_p99_ms_{name}": _ms(asked["spans"], 99),
    }


def _each(cpu: Mapping[str, float], spans: Mapping[str, Sequence[float]], who: str) -> float:
    """Milliseconds for one call."""
    return 1000 * cpu[who] / len(spans[who])


def _ratio(ours: Sequence[float], theirs: Sequence[float]) -> float:
    return statistics.median(one / other for one, other in zip(ours, theirs, strict=True))


def _ms(spans: Sequence[float], percent: int, peer: Sequence[float] = ()) -> Metric:
    return Metric(
        1000 * percentile(spans, percent), "ms", peer=1000 * percentile(peer, percent) if peer else None
    )


def views(node: Stand) -> dict[str, Metric]:
    """The first page of somebody who is signed in, with nothing in the cache."""
    weights, ready, foreign = [], [], set[str]()
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM)
        for _ in range(VIEWS):
            weight, at, hosts = _view(browser, node)
            weights.append(weight)
            ready.append(at)
            foreign |= hosts - {f"{HOST}:{node.port}"}
        browser.close()
    return {
        "page_kb": Metric(max(weights) / 1024, "KiB", goal=PAGE_KB),
        "page_ready_ms": Metric(statistics.median(ready), "ms", goal=READY_MS),
        "page_other_hosts": Metric(len(foreign), "", goal=0),
    }


def _view(browser: Browser, node: Stand) -> tuple[float, float, set[str]]:
    """Bytes on the wire, milliseconds until every script has run, and who was asked."""
    origin = f"https://{HOST}:{node.port}"
    with browser.new_context(ignore_https_errors=True) as context:
        context.add_cookies(
            [{"name": COOKIE, "value": node.tokens[0], "url": origin, "secure": True, "httpOnly": True}]
        )
        page = context.new_page()
        wire: CDPSession = context.new_cdp_session(page)
        weight, hosts = [0.0], set[str]()
        wire.on("Network.loadingFinished", lambda said: weight.append(said["encodedDataLength"]))
        wire.on("Network.requestWillBeSent", lambda said: hosts.add(urlsplit(said["request"]["url"]).netloc))
        wire.send("Network.enable")
        page.goto(origin)
        page.get_by_role("link", name="Ask for Benchmark").wait_for()
        page.wait_for_timeout(500)
        ready = page.evaluate("performance.getEntriesByType('navigation')[0].domContentLoadedEventEnd")
        return sum(weight), float(ready), hosts


if __name__ == "__main__":
    sys.exit(report.alone(measure))
