"""`bastide helpdesk` against the API in-process."""

import json
from collections.abc import Iterator

import httpx
import pytest
from litestar.testing import TestClient
from typer.testing import CliRunner, Result

from bastide.cli.exits import Exit
from bastide.cli.main import app
from bastide.cli.remote import Surroundings
from tests.support.api import app_over
from tests.support.help_desk import HelpDeskWorld

pytest_plugins = ["tests.support.help_desk"]
SERVER = "http://127.0.0.1:8000"
NEW = "Canary-8f-New-Horse-1"


@pytest.fixture
def world(help_desk_world: HelpDeskWorld) -> HelpDeskWorld:
    return help_desk_world


class Hanna:
    """At a terminal, with password and authenticator, while Alice reads out what she got."""

    def __init__(self, world: HelpDeskWorld, transport: httpx.BaseTransport) -> None:
        self.world = world
        self._transport = transport

    def run(self, *arguments: str, wanted: int = 0, typed: str = "") -> Result:
        surroundings = Surroundings(
            transport=self._transport,
            ask=self._answer,
            now=self.world.clock.now,
            sleep=lambda _: self.world.work(),
        )
        words = ["helpdesk", *arguments, "--server", SERVER, "--account", "CORP\\hanna"]
        result = CliRunner().invoke(app, words, obj=surroundings, input=typed)
        assert result.exit_code == wanted, (result.output, result.stderr, result.exception)
        return result

    def _answer(self, prompt: str) -> str:
        if prompt.startswith("Password"):
            return "hanna-corp-pw"
        if "reads out" in prompt:
            body = self.world.notifier.taken[-1][1].body
            return next(line.strip() for line in body.splitlines() if line.startswith("    "))
        return self.world.code("hanna")


class _InProcess(httpx.BaseTransport):
    """The test client's transport, which a command may close without ending the app."""

    def __init__(self, inner: httpx.BaseTransport) -> None:
        self._inner = inner

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        return self._inner.handle_request(request)


@pytest.fixture
def hanna(world: HelpDeskWorld) -> Iterator[Hanna]:
    world.set_mail("alice", "alice@corp.bastide.test")
    with app_over(world.services) as api, TestClient(api) as client:
        yield Hanna(world, _InProcess(client._transport))


def verified(hanna: Hanna) -> str:
    return str(json.loads(hanna.run("verify", "alice", "--send", "--json").stdout)["id"])


def test_find_show_verify_set_history(world: HelpDeskWorld, hanna: Hanna) -> None:
    assert "Alice" in hanna.run("find", "alice").stdout
    world.there("crm").locked = True
    shown = hanna.run("show", world.person("alice")).stdout
    assert "crm" in shown
    assert "yes" in shown
    done = hanna.run("set", "alice", "--verified", verified(hanna), "--generate")
    made = world.there("crm").password
    assert made in done.stdout
    assert made != "Old-Horse-1"
    history = hanna.run("history", "alice").stdout
    assert "SET" in history
    assert made not in history
    (told,) = world.told_by_now()
    assert "CORP\\hanna of the help desk set a new password for Alice" in told
    assert made not in told


def test_another_address_than_before_is_said(world: HelpDeskWorld, hanna: Hanna) -> None:
    assert "another address" not in hanna.run("verify", "alice", "--send").output
    world.set_mail("alice", "other@corp.bastide.test")
    said = hanna.run("verify", "alice", "--send")
    assert "another address" in said.stderr
    assert "other@corp.bastide.test" not in said.output


def test_a_typed_password_is_never_shown(world: HelpDeskWorld, hanna: Hanna) -> None:
    done = hanna.run(
        "set", "alice", "--in", "crm", "--verified", verified(hanna), "--no-must-change", typed=f"{NEW}\n"
    )
    assert NEW not in done.output
    assert (world.there("crm").password, world.there("files").password) == (NEW, "Old-Horse-1")
    assert not world.there("crm").must_change


def test_what_a_system_refuses_is_a_failure_of_the_command(world: HelpDeskWorld, hanna: Hanna) -> None:
    world.there("files").password = "Another-Horse-1"
    hanna.run(
        "change", "alice", "--in", "crm", "--in", "files", typed=f"Old-Horse-1\n{NEW}\n", wanted=Exit.REFUSED
    )
    assert (world.there("crm").password, world.there("files").password) == (NEW, "Another-Horse-1")


def test_unlock_and_what_is_refused(world: HelpDeskWorld, hanna: Hanna) -> None:
    world.there("crm").locked = True
    assert "success" in hanna.run("unlock", "alice", "--reason", "after her holiday").stdout
    assert not world.there("crm").locked
    assert "not verified" in hanna.run("set", "alice", "--generate", wanted=Exit.REFUSED).stderr
    hanna.run("show", "a", wanted=Exit.REFUSED)
    assert "finds nobody" in hanna.run("show", "nobody at all", wanted=Exit.USAGE).stderr
    missing = hanna.run("unlock", "alice", "--in", "mainframe", wanted=Exit.USAGE).stderr
    assert "corp, crm, files" in missing
