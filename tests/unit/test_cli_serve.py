"""`bastide serve` as a process: answers, stays small, logs JSON, ends on SIGTERM. No directory is near: it starts without one."""

import asyncio
import json
import os
import re
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.support.served_process import BASTIDE, CANARY, DIRECT, make_settings, wait_for

pytest.importorskip("ldap")
pytest.importorskip("gssapi")

MEMORY_MB = 120


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, int]:
    return make_settings(tmp_path_factory.mktemp("serve"))


@pytest.fixture
def service(settings: tuple[Path, int]) -> Iterator[tuple[subprocess.Popen[str], str]]:
    config, port = settings
    with subprocess.Popen(
        [*BASTIDE, "serve", "--config", str(config)], stderr=subprocess.PIPE, text=True
    ) as process:
        url = f"http://127.0.0.1:{port}/api/v1"
        try:
            wait_for(url, process)
            yield process, url
        finally:
            process.kill()


def test_it_answers_stays_small_and_ends_when_told(service: tuple[subprocess.Popen[str], str]) -> None:
    process, url = service
    for _ in range(50):
        with DIRECT.open(f"{url}/health/ready", timeout=5) as answer:
            assert json.load(answer)["status"] == "ready"
    status = Path(f"/proc/{process.pid}/status").read_text()
    (resident,) = [int(line.split()[1]) // 1024 for line in status.splitlines() if line.startswith("VmRSS")]
    assert resident <= MEMORY_MB
    assert not Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text(), "one process"
    process.send_signal(signal.SIGTERM)
    _, log = process.communicate(timeout=30)
    assert process.returncode == 0
    lines = [json.loads(line) for line in log.splitlines()]
    assert any("listening" in line["message"] for line in lines)
    assert any("told to stop" in line["message"] for line in lines)
    assert CANARY not in log


def test_another_cannot_read_its_memory(service: tuple[subprocess.Popen[str], str]) -> None:
    """A process that is not dumpable belongs to root in /proc, whoever runs it."""
    process, _ = service
    limits = Path(f"/proc/{process.pid}/limits").read_text()
    (core,) = [line.split()[4:6] for line in limits.splitlines() if line.startswith("Max core file size")]
    assert core == ["0", "0"]
    if os.geteuid() != 0:
        with pytest.raises(PermissionError):
            Path(f"/proc/{process.pid}/environ").read_bytes()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_worker_alone_ends_when_told(settings: tuple[Path, int], number: signal.Signals) -> None:
    config, _ = settings
    with subprocess.Popen(
        [*BASTIDE, "worker", "--config", str(config)], stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stderr is not None
            # Its threads are at work by then, and may have said something before.
            assert any("worker is up" in line for line in process.stderr)
            process.send_signal(number)
            assert any("told to stop" in line for line in process.stderr)
            assert process.wait(30) == 0
        finally:
            process.kill()


def test_the_audit_is_verified_on_the_server_itself(settings: tuple[Path, int]) -> None:
    config, _ = settings
    done = subprocess.run(
        [*BASTIDE, "audit", "verify", "--local", "--config", str(config)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "bastide.db" in done.stdout
    # Each node that served here before has left records of it.
    assert re.search(r"The audit (has 0|is whole: \d+) records?", done.stdout), done.stdout


def test_others_are_not_served_without_tls(settings: tuple[Path, int], tmp_path: Path) -> None:
    config, _ = settings
    open_ = tmp_path / "bastide.toml"
    open_.write_text(config.read_text().replace('address = "127.0.0.1"', 'address = "0.0.0.0"'))
    done = subprocess.run(
        [*BASTIDE, "serve", "--config", str(open_)], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 1
    assert "no certificate" in done.stderr


def test_streams_are_ended_before_the_server_that_waits_for_them(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else `systemctl stop` would wait for every page that is kept up to date: five minutes."""
    from bastide.cli import server

    done: list[str] = []
    ended = asyncio.Event()

    class App:
        def hang_up(self) -> None:
            done.append("hang up")

    class Granian:
        async def serve(self) -> None:
            os.kill(os.getpid(), signal.SIGTERM)
            await ended.wait()

        def stop(self) -> None:
            done.append("stop")
            ended.set()

    monkeypatch.setattr("bastide.web.create_app", lambda *_, **__: App())
    monkeypatch.setattr(server, "_server", lambda *_: Granian())
    config: Any = SimpleNamespace(
        server=SimpleNamespace(address="127.0.0.1", port=1), http=SimpleNamespace(origins=[])
    )
    services: Any = None
    asyncio.run(server._answer(config, services))
    assert done == ["hang up", "stop"]
