"""Channels in the settings, at the command line and over the API: what cannot work is said before it is needed, and no address is ever shown."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from litestar.testing import TestClient
from typer.testing import CliRunner

from bastide.cli.config_file import remedy_for
from bastide.cli.exits import Exit
from bastide.cli.main import app
from bastide.cli.remote import Surroundings
from bastide.config import Config, ConfigError
from bastide.domain.health import Finding
from bastide.domain.notifications import Occasion
from bastide.domain.wording import Language
from bastide.health.checks import configuration
from bastide.notify.notifier import AppriseNotifier
from bastide.services.notifications.ports import Channel
from bastide.wiring.notifications import notification_adapters
from tests.support import canary
from tests.support.api import API, ApiWorld, app_over, served
from tests.support.health import looking_at
from tests.support.notification_world import CHAT, MAIL, ToldWorld
from tests.support.world import ADDRESS
from tests.unit.test_cli_client import Ticket
from tests.unit.test_config import read

HEAD = '[server]\nurl = "https://bastide.priv.test:8443/"\n'
CHANNEL = '[[notifications.channels]]\nname = "{}"\nurl = "{}"\n'
SECRET = "Kanarienvogel-5b2e77aa"


class ToldApi(ToldWorld, ApiWorld):
    """The API in front of a Bastide that tells people."""

    def __init__(self, **options: Any) -> None:
        ToldWorld.__init__(self, **options)
        self._secrets: dict[str, bytes] = {}


@contextmanager
def in_front_of(world: ToldApi) -> Iterator[ToldApi]:
    with app_over(world.services) as app, TestClient(app, raise_server_exceptions=False) as client:
        world.client = client
        yield world
    world.close()


@pytest.fixture
def told() -> Iterator[ToldApi]:
    with in_front_of(ToldApi()) as world:
        yield world


# ------------------------------------------------------------------------------------------------------------- settings


def settings(folder: Path, more: str) -> Config:
    return read(folder, HEAD + more)


def test_the_table_as_it_is_meant(tmp_path: Path) -> None:
    more = (
        '[notifications]\nlanguage = "de"\nending_minutes = 30\n'
        + CHANNEL.format("mail", "/etc/bastide/notify/mail")
        + "people = true\n"
        + CHANNEL.format("team", "credential:team")
        + 'events = ["asked", "kill-switch"]\nroles = ["File Administrators"]\n'
    )
    adapters = notification_adapters(settings(tmp_path, more))
    assert adapters is not None
    found = adapters.settings
    assert (found.home, found.language, found.lead.total_seconds()) == (
        "https://bastide.priv.test:8443",
        Language.GERMAN,
        1800,
    )
    assert found.channels == (
        Channel(name="mail", people=True),
        Channel(
            name="team",
            occasions=frozenset({Occasion.ASKED, Occasion.KILL_SWITCH}),
            roles=frozenset({"file administrators"}),
        ),
    )


def test_without_the_table_nobody_is_told(tmp_path: Path) -> None:
    assert notification_adapters(read(tmp_path, "")) is None


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ("[notifications]\nchannels = []\n", "names no channel"),
        ("[notifications]\n", "missing required field `channels`"),
        ('[notifications]\nlanguage = "fr"\n' + CHANNEL.format("m", "/m"), "Invalid enum value 'fr'"),
        ("[notifications]\nending_minutes = 0\n" + CHANNEL.format("m", "/m"), "1 to 1440, not 0"),
        ("[notifications]\nending_minutes = 1441\n" + CHANNEL.format("m", "/m"), "1 to 1440, not 1441"),
        (CHANNEL.format("m", "/m") * 2, "m is there twice"),
        (CHANNEL.format("Mail", "/m"), "is no name"),
        (CHANNEL.format("a/b", "/m"), "is no name"),
        (CHANNEL.format("", "/m"), "is no name"),
        (CHANNEL.format("a" * 33, "/m"), "is no name"),
        (CHANNEL.format("m", "/m") + 'events = ["nothing"]\n', "Invalid enum value 'nothing'"),
        (CHANNEL.format("m", "credential:a/b"), "plain name"),
    ],
)
def test_what_cannot_be_meant_is_refused_when_it_is_read(tmp_path: Path, more: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said) as refused:
        settings(tmp_path, more)
    assert remedy_for(str(refused.value)).startswith(("set notifications", "mend it"))


@pytest.mark.parametrize("url", ["", "http://bastide.priv.test"])
def test_messages_need_an_address_to_lead_to(tmp_path: Path, url: str) -> None:
    with pytest.raises(ConfigError, match=r"server\.url must be the https"):
        read(tmp_path, f'[server]\nurl = "{url}"\n' + CHANNEL.format("m", "/m"))


def test_a_broken_address_keeps_no_service_from_starting(tmp_path: Path) -> None:
    adapters = notification_adapters(settings(tmp_path, CHANNEL.format("m", f"{tmp_path}/nowhere")))
    assert adapters is not None
    assert "cannot be read" in adapters.notifier.problem("m")


def test_a_credential_that_is_not_there_is_an_outcome(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CREDENTIALS_DIRECTORY", raising=False)
    adapters = notification_adapters(settings(tmp_path, CHANNEL.format("m", "credential:m")))
    assert adapters is not None
    assert "no systemd credentials" in adapters.notifier.problem("m")
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    (tmp_path / "m").write_text("jsons://hook.example.com/x")
    (tmp_path / "m").chmod(0o600)
    assert adapters.notifier.problem("m") == ""


# --------------------------------------------------------------------------------------------------- bastide config check


def checked(folder: Path, content: str, *, mode: int = 0o600, more: str = "") -> Finding:
    file = folder / "address"
    file.write_text(content, encoding="utf-8")
    file.chmod(mode)
    (found,) = configuration.channels(looking_at(settings(folder, CHANNEL.format("m", file) + more)))
    return found


def test_config_check_opens_the_address_and_sends_nothing(tmp_path: Path) -> None:
    found = checked(
        tmp_path, f"mailtos://bastide:{SECRET}@mail.example.com?from=b@example.com\n", more="people = true\n"
    )
    assert found.ok
    assert "bastide notify test m" in found.text


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (f"mailto://bastide:{SECRET}@mail.example.com?from=b@example.com", "without TLS; write mailtos"),
        (f"jsons://hook.example.com/{SECRET}?verify=no", "does not verify"),
        (f"gopher://hook.example.com/{SECRET}", "gopher is not among the kinds"),
        ("just text", "there is no address in it"),
        ("", "is empty"),
    ],
)
def test_config_check_says_what_is_wrong_without_the_address(tmp_path: Path, content: str, said: str) -> None:
    found = checked(tmp_path, content)
    assert said in found.text
    assert "notifications.channels.url" in found.remedy
    assert SECRET not in str(found)


def test_config_check_wants_a_file_that_is_nobody_elses(tmp_path: Path) -> None:
    assert "others may read" in checked(tmp_path, f"jsons://h.example.com/{SECRET}", mode=0o644).text


def test_only_a_mail_server_can_tell_each_person(tmp_path: Path) -> None:
    assert (
        "not one of a mail server"
        in checked(tmp_path, "jsons://hook.example.com/x", more="people = true\n").text
    )


def test_without_the_table_there_is_nothing_to_check(tmp_path: Path) -> None:
    assert list(configuration.channels(looking_at(read(tmp_path, "")))) == []


# ------------------------------------------------------------------------------------------------------------------ API


def test_the_channels_are_listed_without_their_addresses(told: ToldApi) -> None:
    told.notifier.down["mail"] = "connection refused"
    told.approved_role("grace")
    told.ask()
    told.settle()
    answer = told.caller("dave").get("/notification-channels")
    assert answer.status_code == 200
    mail, chat = answer.json()["items"]
    assert mail["name"] == "mail"
    assert mail["people"] is True
    assert mail["events"] == sorted(one.value for one in Occasion)
    assert (mail["waiting"], mail["problem"], mail["sent_at"]) == (1, "connection refused", None)
    assert mail["failing_since"]
    assert (chat["waiting"], chat["problem"], chat["failing_since"]) == (0, "", None)
    assert chat["sent_at"]


def test_what_is_planned_for_later_does_not_wait(told: ToldApi) -> None:
    told.ready()
    told.ask()
    told.settle()
    assert len(told.waiting("mail")) == 1
    assert told.notifications.channels.all(told.dave)[0].waiting == 0


def test_a_test_sends_one_message_and_is_audited(told: ToldApi) -> None:
    answer = told.caller("dave").post("/notification-channels/chat/tests", {})
    assert (answer.status_code, answer.json()) == (200, {"name": "chat"})
    (message,) = told.sent("chat")
    assert f"{ADDRESS}/\n" in message.body
    answer = told.caller("dave").post("/notification-channels/mail/tests", {"to": "dave@corp.bastide.test"})
    assert answer.status_code == 200
    assert [m.to for m in told.sent("mail")] == ["dave@corp.bastide.test"]
    assert told.audited("notification.tested") == [{"taken": True, "problem": "", "via": "kerberos"}] * 2


def test_what_is_not_taken_is_no_success(told: ToldApi) -> None:
    told.notifier.down["chat"] = "error=403"
    answer = told.caller("dave").post("/notification-channels/chat/tests", {})
    assert answer.status_code == 503
    assert answer.json()["code"] == "target-unavailable"
    assert "error=403" in answer.json()["detail"]
    assert told.audited("notification.tested")[0] == {
        "taken": False,
        "problem": "error=403",
        "via": "kerberos",
    }


@pytest.mark.parametrize(
    ("name", "body", "status", "said"),
    [
        ("nowhere", {}, 404, "no channel 'nowhere'"),
        ("mail", {}, 422, "needs a mail address"),
        ("mail", {"to": "a@b.test\r\nBcc: c@d.test"}, 422, "needs a mail address"),
        ("mail", {"to": "a@b.test,c@d.test"}, 422, "needs a mail address"),
        ("chat", {"to": "a@b.test"}, 422, "nobody else"),
    ],
)
def test_a_test_that_cannot_be_is_refused(
    told: ToldApi, name: str, body: dict[str, str], status: int, said: str
) -> None:
    answer = told.caller("dave").post(f"/notification-channels/{name}/tests", body)
    assert answer.status_code == status
    assert said in answer.json()["detail"]
    assert told.sent() == []


@pytest.mark.parametrize("name", ["frank", "grace"])
def test_only_administrators_see_and_test(told: ToldApi, name: str) -> None:
    assert told.caller(name).get("/notification-channels").status_code == 403
    assert told.caller(name).post("/notification-channels/chat/tests", {}).status_code == 403


def test_a_server_without_channels_says_what_to_write() -> None:
    with served(prepared=False) as world:
        answer = world.caller("dave").get("/notification-channels")
    assert answer.status_code == 409
    assert "[notifications]" in answer.json()["remedy"]


# ----------------------------------------------------------------------------------------------------------- command line


def run(*arguments: str, answer: httpx.Response) -> Any:
    asked: list[httpx.Request] = []

    def reply(request: httpx.Request) -> httpx.Response:
        asked.append(request)
        return answer

    world = Surroundings(transport=httpx.MockTransport(reply), handshake=Ticket)
    done = CliRunner().invoke(app, ["notify", *arguments, "--server", "https://x.test"], obj=world)
    return done, asked


def test_the_command_lists_channels() -> None:
    item = {
        "name": "mail",
        "people": True,
        "events": ["asked"],
        "roles": [],
        "waiting": 3,
        "sent_at": "2026-11-20T09:00:00Z",
        "failing_since": None,
        "problem": "",
    }
    done, asked = run("list", answer=httpx.Response(200, json={"items": [item]}))
    assert done.exit_code == 0, done.output
    assert "each person" in done.output
    assert asked[-1].url.path == f"{API}/notification-channels"


def test_the_command_tests_a_channel() -> None:
    done, asked = run("test", "mail", "--to", "a@b.test", answer=httpx.Response(200, json={"name": "mail"}))
    assert (done.exit_code, done.output.strip()) == (0, "mail took the message")
    assert asked[-1].url.path == f"{API}/notification-channels/mail/tests"
    assert json.loads(asked[-1].content) == {"to": "a@b.test"}


def test_the_command_says_what_came_back() -> None:
    problem = {
        "code": "target-unavailable",
        "detail": "the channel mail did not take the message: error=403",
        "status": 503,
    }
    done, _ = run("test", "mail", answer=httpx.Response(503, json=problem))
    assert done.exit_code == Exit.UNAVAILABLE
    assert "error=403" in done.output


# --------------------------------------------------------------------------------------------------------------- canary


def test_no_address_and_no_code_is_in_anything_that_stays(tmp_path: Path) -> None:
    """Database, audit, listing, log and messages, after a channel failed and was tested."""
    folder = tmp_path / "store"
    folder.mkdir()
    url = f"sqlite:///{folder / 'bastide.db'}"
    from bastide.store import migrations

    migrations.upgrade(url)
    world = ToldApi(url=url, channels=(MAIL, CHAT))
    real = AppriseNotifier(
        {
            "chat": lambda: f"jsons://localhost:1/{SECRET}",
            "mail": lambda: f"mailtos://b:{SECRET}@localhost:1?from=b@example.com",
        }
    )
    for delivery in world.notifications.deliveries:
        delivery._notifier = real
    world.notifications.channels._notifier = real
    world.approved_role("grace")
    with in_front_of(world):
        world.ask()
        world.settle()
        answer = world.caller("dave").post("/notification-channels/chat/tests", {})
        listed = world.caller("dave").get("/notification-channels")
    assert answer.status_code == 503
    assert all(one["problem"] for one in listed.json()["items"])
    needles = canary.beginnings(SECRET)
    for text in (answer.text, listed.text, repr(world.notifications), repr(world.told), repr(real)):
        assert canary.in_bytes(text.encode(), needles) == []
    assert canary.in_files([folder], needles) == {}
