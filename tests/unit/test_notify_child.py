"""What apprise is let do: which kinds of address, over TLS that is verified, without a trace of what is secret."""

import base64
import json
import subprocess
import sys
import warnings
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from bastide.domain.errors import NotConfigured, StoreUnavailable
from bastide.notify import child
from bastide.notify import notifier as sender
from bastide.notify.notifier import AppriseNotifier
from bastide.services.notifications.ports import Fate, Message, Outcome
from tests.support import canary
from tests.support.notification_servers import PASSWORD, TOKEN, Webhook, mail_server, tls, webhook

MESSAGE = Message("id-1", "", "Subject", "Body <b>x</b>\n")
#: One address of each kind, as its service gives it out.
EXAMPLES = {
    "mailtos": "mailtos://user:secret@mail.example.com?from=bastide@example.com&to=grace@example.com",
    "jsons": "jsons://hook.example.com/path",
    "forms": "forms://hook.example.com/path",
    "xmls": "xmls://hook.example.com/path",
    "workflows": "workflows://prod-01.westeurope.logic.azure.com:443/643e69f83c8944/3jB_kPzMOqQhqVYrMr",
    "slack": "slack://T1JJ3T3L2/A1BRTD4JD/TIiajkdnlazkcOXrIdevi7FQ",
    "discord": "discord://4174216298/JHMHI8qBe7bk2ZwO5U711o3dV_js",
    "gchat": "gchat://bhE6eNQbvU/AIzaSyDdI0hCZtE6vySjMm/wEs-0123456789",
    "webex": "webex://" + "a" * 80,
    "tgram": "tgram://123456789:AAGhHwM2m2WqmXBbbbbbbbbbbbbbbbbbbbb/12315544/",
    "mmosts": "mmosts://mattermost.example.com/3ccdd113474722377935511fc85d3dd4",
    "rockets": "rockets://user:secret@rocket.example.com/%23channel",
    "nctalks": "nctalks://user:secret@cloud.example.com/roomid",
    "ntfys": "ntfys://user:secret@ntfy.example.com/topic",
    "gotifys": "gotifys://gotify.example.com/AbCdEfGhIjKlMnO",
    "zulip": "zulip://bot@example/" + "a" * 32 + "/stream",
    "pagerduty": "pagerduty://A1BRTD4JDTIiajkdnlazkcO@Key1234567890abcdefghijklmnopqrs/source/component",
}


@pytest.fixture(scope="module")
def asset() -> Any:
    with warnings.catch_warnings():
        # It looks for a module that newer Pythons do not have.
        warnings.simplefilter("ignore", DeprecationWarning)
        import apprise
        import apprise.plugins.email.base

    return apprise.AppriseAsset(async_mode=False, http_redirects=False)


def test_every_kind_has_an_example() -> None:
    assert set(EXAMPLES) == set(child.SERVICES)
    assert set(child.PLAIN.values()) <= set(child.SERVICES)


@pytest.fixture
def unguarded() -> Iterator[None]:
    """`guard` is for a process of its own: what it changes is put back."""
    import requests

    before = requests.Session.send
    yield
    requests.Session.send = before  # type: ignore[method-assign]


@pytest.mark.parametrize("scheme", sorted(set(EXAMPLES) - {"mailtos"}))
def test_each_kind_sends_over_verified_tls_only(
    scheme: str, asset: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """(1): that it is known to be safe is not believed, it is looked at."""
    import requests

    seen: list[tuple[str, object, object]] = []

    def look(_self: object, request: Any, **options: Any) -> Any:
        seen.append(
            (
                request.url.partition("://")[0],
                options.get("verify") is not False,
                options.get("allow_redirects"),
            )
        )
        raise requests.exceptions.ConnectionError("not in a test")

    monkeypatch.setattr(requests.Session, "send", look)
    made = child.opened(EXAMPLES[scheme], asset)
    made.request_rate_per_sec = 0
    assert not made.notify(body="b", title="t")
    assert seen
    assert set(seen) == {("https", True, False)}


def test_mail_goes_over_verified_tls_only(asset: Any) -> None:
    for mode in ("", "&mode=ssl", "&mode=starttls"):
        made = child.opened(EXAMPLES["mailtos"] + mode, asset)
        assert made.secure_mode in {"ssl", "starttls"}
        assert made.verify_certificate


@pytest.mark.parametrize(
    ("address", "why"),
    [
        ("mailto://user:secret@mail.example.com?from=a@example.com", "without TLS; write mailtos"),
        ("mailtos://user:secret@mail.example.com?from=a@example.com&mode=insecure", "mode=starttls"),
        ("mailtos://user:secret@mail.example.com?from=a@example.com&verify=no", "does not verify"),
        ("mailtos://user:secret@localhost?smtp=mail.example.com&mode=insecure", "mode=starttls"),
        ("json://hook.example.com/x", "without TLS; write jsons"),
        ("form://hook.example.com/x", "write forms"),
        ("xml://hook.example.com/x", "write xmls"),
        ("jsons://hook.example.com/x?verify=no", "does not verify"),
        ("jsons://hook.example.com/x?verify=False", "does not verify"),
        ("jsons://localhost/x?verify=no", "does not verify"),
        ("jsons://hook.example.com/x?redirect=yes", "redirects"),
        ("mmost://mattermost.example.com/3ccdd113474722377935511fc85d3dd4", "not among the kinds"),
        ("syslog://", "not among the kinds"),
        ("dbus://", "not among the kinds"),
        ("mqtt://host/topic", "not among the kinds"),
        ("file:///etc/passwd", "not among the kinds"),
        ("MAILTO://user:secret@mail.example.com?from=a@example.com", "without TLS"),
        ("slack://", "cannot"),
    ],
)
def test_what_is_not_safe_is_refused(address: str, why: str, asset: Any) -> None:
    """(1), (2)"""
    with pytest.raises(child.Refused, match=why) as refused:
        child.opened(address, asset)
    assert "secret" not in str(refused.value)


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1"])
def test_this_host_may_be_plain(host: str, asset: Any) -> None:
    assert not child.opened(f"json://{host}:8080/x", asset).secure
    assert child.opened(f"mailto://{host}:25?from=bastide@example.com", asset).secure_mode == "insecure"


def test_nothing_leaves_the_process_without_tls(unguarded: None) -> None:
    """(2), whatever a plugin does."""
    import requests

    child.guard()
    with pytest.raises(requests.exceptions.InvalidURL, match="not over verified TLS"):
        requests.get("http://hook.example.com/", timeout=1)
    with pytest.raises(requests.exceptions.InvalidURL, match="not over verified TLS"):
        requests.get("https://hook.example.com/", timeout=1, verify=False)


# -------------------------------------------------------------------------------------------------- with real servers


@pytest.fixture
def hook(tmp_path: Path) -> Iterator[tuple[Webhook, AppriseNotifier]]:
    context, ca = tls(tmp_path)
    with webhook(context) as one:
        yield (
            one,
            AppriseNotifier(
                {"hook": lambda: f"jsons://localhost:{one.port}/{TOKEN}\nsecond line"}, ca=str(ca)
            ),
        )


def test_redirects_are_not_followed(hook: tuple[Webhook, AppriseNotifier]) -> None:
    server, notifier = hook
    with webhook(None) as plain:
        server.status, server.location = 302, f"http://localhost:{plain.port}/stolen"
        (outcome,) = notifier.send("hook", [MESSAGE])
        assert plain.calls == []
    assert outcome.fate is Fate.REFUSED
    assert len(server.calls) == 1


def test_what_a_service_answers_is_said_without_the_secret(hook: tuple[Webhook, AppriseNotifier]) -> None:
    server, notifier = hook
    server.status = 403
    (outcome,) = notifier.send("hook", [MESSAGE])
    assert outcome.fate is Fate.REFUSED
    assert "403" in outcome.problem
    assert TOKEN not in outcome.problem


def test_a_service_that_does_not_answer_is_given_up(
    hook: tuple[Webhook, AppriseNotifier],
) -> None:
    """What was under way counts as refused, so that it is put off; the rest was not tried."""
    server, notifier = hook
    server.silent.set()
    impatient = AppriseNotifier(notifier._addresses, ca=notifier._ca, longest=3)
    outcomes = impatient.send("hook", [MESSAGE, replace(MESSAGE, id="id-2")])
    assert outcomes == (Outcome(Fate.REFUSED, "no answer within 3 s"), Outcome(Fate.UNTRIED))


def test_when_the_time_is_over_the_rest_is_not_tried(
    hook: tuple[Webhook, AppriseNotifier], monkeypatch: pytest.MonkeyPatch
) -> None:
    """(5)"""
    server, notifier = hook
    server.silent.set()
    monkeypatch.setattr("bastide.notify.notifier._WORKING", 1)
    quick = AppriseNotifier(
        {"hook": lambda: f"jsons://localhost:{server.port}/{TOKEN}?rto=2"}, ca=notifier._ca
    )
    outcomes = quick.send("hook", [MESSAGE, replace(MESSAGE, id="id-2")])
    assert [one.fate for one in outcomes] == [Fate.REFUSED, Fate.UNTRIED]
    assert len(server.calls) == 1


def test_an_answer_without_an_end_ends_the_process_only(hook: tuple[Webhook, AppriseNotifier]) -> None:
    """It may have little memory."""
    server, notifier = hook
    server.body = bytes(400 * 1024 * 1024)
    first, second = notifier.send("hook", [MESSAGE, replace(MESSAGE, id="id-2")])
    assert first.fate is Fate.REFUSED
    assert second.fate is not Fate.TAKEN


def test_a_process_that_cannot_be_started_is_an_outcome(monkeypatch: pytest.MonkeyPatch) -> None:
    def none_left(*_: object, **__: object) -> None:
        raise BlockingIOError(11, "Resource temporarily unavailable")

    monkeypatch.setattr(subprocess, "Popen", none_left)
    notifier = AppriseNotifier({"hook": lambda: "jsons://localhost:1/x"})
    assert "no process can be started" in notifier.problem("hook")
    assert notifier.send("hook", [MESSAGE])[0].fate is Fate.REFUSED


def test_a_certificate_that_nobody_vouches_for_is_not_believed(tmp_path: Path) -> None:
    context, _ = tls(tmp_path)
    (tmp_path / "other").mkdir()
    _, other = tls(tmp_path / "other")
    address = f"mailtos://bastide:{PASSWORD}@localhost"
    with (
        webhook(context) as server,
        mail_server(context) as mail,
        mail_server(context, starttls=True) as begun,
    ):
        addresses = {
            "hook": f"jsons://localhost:{server.port}/{TOKEN}",
            "ssl": f"{address}:{mail.port}?mode=ssl&from=bastide@example.com&to=a@example.com",
            "starttls": f"{address}:{begun.port}?mode=starttls&from=bastide@example.com&to=a@example.com",
        }
        notifier = AppriseNotifier({n: partial(str, a) for n, a in addresses.items()}, ca=str(other))
        for name in addresses:
            (outcome,) = notifier.send(name, [MESSAGE])
            assert outcome.fate is Fate.REFUSED
            assert "certificate" in outcome.problem.lower()
        assert server.calls == []
        assert mail.letters == begun.letters == []


def test_a_server_that_offers_no_tls_gets_no_password(tmp_path: Path) -> None:
    context, ca = tls(tmp_path)
    with mail_server(None) as plain:
        address = (
            f"mailtos://bastide:{PASSWORD}@localhost:{plain.port}?from=bastide@example.com&to=a@example.com"
        )
        (outcome,) = AppriseNotifier({"mail": lambda: address}, ca=str(ca)).send("mail", [MESSAGE])
        assert context
        assert outcome.fate is Fate.REFUSED
        assert plain.letters == []


def test_only_a_mail_server_sends_to_each_person(hook: tuple[Webhook, AppriseNotifier]) -> None:
    """Else what is for one person would go to all who read the channel."""
    server, notifier = hook
    (outcome,) = notifier.send("hook", [replace(MESSAGE, to="alice@example.com")])
    assert outcome == Outcome(
        Fate.REFUSED, "jsons cannot send to each person; people = true needs a mail server"
    )
    assert server.calls == []


def test_an_address_that_cannot_be_read_is_an_outcome() -> None:
    def gone() -> str:
        raise StoreUnavailable("the address /x cannot be read: No such file or directory")

    def unset() -> str:
        raise NotConfigured("credential:mail: this process was given no systemd credentials")

    notifier = AppriseNotifier(
        {"gone": gone, "unset": unset, "empty": lambda: "\n", "odd": lambda: "mail.example.com"}
    )
    for name in ("gone", "unset", "empty", "odd"):
        (outcome,) = notifier.send(name, [MESSAGE])
        assert outcome.fate is Fate.REFUSED
        assert outcome.problem == notifier.problem(name) != ""


def test_a_secret_is_in_no_argument_no_environment_and_no_text(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the process is started with, and what comes back: in clear, base64 and hexadecimal."""
    started: list[bytes] = []
    real = subprocess.Popen

    class Watched(real):  # type: ignore[valid-type,misc]
        def communicate(self, *given: Any, **options: Any) -> Any:
            folder = Path(f"/proc/{self.pid}")
            started.extend([(folder / "cmdline").read_bytes(), (folder / "environ").read_bytes()])
            return super().communicate(*given, **options)

    monkeypatch.setattr(subprocess, "Popen", Watched)
    context, ca = tls(tmp_path)
    needles = {**canary.beginnings(PASSWORD), **canary.beginnings(TOKEN)}
    user = base64.b64encode(f"\0bastide\0{PASSWORD}".encode()).decode()
    with webhook(context) as server, mail_server(context, starttls=True) as mail:
        server.status, server.body = 500, f'{{"error": "bad token {TOKEN}"}}'.encode()
        addresses = {
            "hook": f"jsons://localhost:{server.port}/{TOKEN}",
            "dead": f"jsons://localhost:1/{TOKEN}",
            "mail": f"mailtos://bastide:{PASSWORD}x@localhost:{mail.port}?from=bastide@example.com&to=a@example.com",
        }
        notifier = AppriseNotifier({n: partial(str, a) for n, a in addresses.items()}, ca=str(ca))
        said = [notifier.send(name, [MESSAGE])[0] for name in addresses]
    for content in (*started, str(said).encode(), repr(notifier).encode()):
        assert canary.in_bytes(content, needles) == []
        assert user.encode() not in content
    assert len(started) == 6
    assert all(one.problem for one in said)


def test_nothing_is_written_to_a_file(tmp_path: Path) -> None:
    """(3)"""
    context, ca = tls(tmp_path)
    home = tmp_path / "home"
    home.mkdir()
    with webhook(context) as server:
        given = {
            "url": f"jsons://localhost:{server.port}/{TOKEN}",
            "seconds": 30,
            "messages": [{"id": "1", "to": "", "subject": "s", "body": "b"}],
        }
        done = subprocess.run(
            [sys.executable, "-I", child.__file__],
            input=json.dumps(given).encode(),
            env={"HOME": str(home), "TMPDIR": str(home), "REQUESTS_CA_BUNDLE": str(ca)},
            cwd=home,
            capture_output=True,
            check=True,
        )
    assert [json.loads(line).get("taken") for line in done.stdout.splitlines()] == [True, None]
    assert list(home.rglob("*")) == []
    assert context


def test_the_service_does_not_load_apprise(tmp_path: Path) -> None:
    """27 MiB that the server does without."""
    code = (
        "import sys, bastide.cli.service, bastide.cli.server, bastide.notify.notifier;"
        "sys.exit(any(m in sys.modules for m in ('apprise', 'requests', 'yaml')))"
    )
    assert subprocess.run([sys.executable, "-P", "-c", code], check=False, cwd=tmp_path).returncode == 0


def test_a_password_that_stands_in_the_query_is_a_secret_too(tmp_path: Path) -> None:
    """Apprise takes it there as well."""
    address = (
        f"mailtos://mail.example.com?user=bastide&pass={PASSWORD}&from=bastide@example.com&to=a@example.com"
    )
    assert PASSWORD in set(sender._secrets(address))


def test_what_a_service_says_is_cut_before_it_comes_back(capsys: pytest.CaptureFixture[str]) -> None:
    """The server reads all that the process writes."""
    child.answer(id="1", taken=False, problem="x" * 10_000_000)
    assert len(capsys.readouterr().out) < 10_000
