"""The process in which apprise sends messages. It runs as a script, by notifier.py, and imports nothing of Bastide.

Apprise is 27 MiB, a service that it talks to may not answer, and an answer may be endless. A process can be short of memory, be killed, and be gone
afterwards. What it is given comes by standard input; no argument, no environment and no file holds an address, because an address holds a secret.

Standard input: one JSON object, `url`, `seconds` and `messages`. Standard output: one JSON object a line, as soon as it is known: `id`, `taken`, `problem` of a
message; without an id what is wrong with the address, and at the end `done`. In order:

(1) An address is of a kind in SERVICES, that is: one of which a test has seen what it sends, and that it goes over TLS.
(2) TLS is on, the other side's certificate and name are verified, and redirects are not followed, whatever the address says. Loopback may be plain.
(3) Nothing is written to a file.
(4) Each message is plain text, and nothing in it is interpreted.
(5) After three refusals in a row, or when the time is over, the rest is not tried.
"""

import importlib
import json
import logging
import re
import resource
import signal
import sys
import threading
from typing import Any
from urllib.parse import urlsplit

#: Scheme to the module of its plugin below apprise.plugins and its class.
SERVICES = {
    "mailtos": ("email.base", "NotifyEmail"),
    "jsons": ("custom_json", "NotifyJSON"),
    "forms": ("custom_form", "NotifyForm"),
    "xmls": ("custom_xml", "NotifyXML"),
    "workflows": ("workflows", "NotifyWorkflows"),
    "slack": ("slack", "NotifySlack"),
    "discord": ("discord", "NotifyDiscord"),
    "gchat": ("google_chat", "NotifyGoogleChat"),
    "webex": ("webexteams", "NotifyWebexTeams"),
    "tgram": ("telegram", "NotifyTelegram"),
    "mmosts": ("mattermost", "NotifyMattermost"),
    "rockets": ("rocketchat", "NotifyRocketChat"),
    "nctalks": ("nextcloudtalk", "NotifyNextcloudTalk"),
    "ntfys": ("ntfy", "NotifyNtfy"),
    "gotifys": ("gotify", "NotifyGotify"),
    "zulip": ("zulip", "NotifyZulip"),
    "pagerduty": ("pagerduty", "NotifyPagerDuty"),
}
#: The same without TLS, to this host only.
PLAIN = {"mailto": "mailtos", "json": "jsons", "form": "forms", "xml": "xmls"}
_LOOPBACK = {"localhost", "127.0.0.1", "::1"}
_MAIL = {"mailto", "mailtos"}
_HEADED = {*_MAIL, "json", "jsons", "form", "forms", "xml", "xmls"}
ID_HEADER = "X-Bastide-Notification"
_ROOM = 256 * 1024 * 1024
_REFUSALS = 3
#: Characters of a problem; the server looks at no more of them.
_SAID = 4096
#: The address in an error of requests; what matters comes after it.
_CAUSED = re.compile(r"\(Caused by (.*)\)\s*$", re.DOTALL)
_SOCKET = "Socket Exception: "


class Refused(Exception):
    """The address cannot be used. The message holds nothing of it but its scheme."""


class Said(logging.Handler):
    """What apprise said of the message under way."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        text = record.getMessage()
        if text.startswith(_SOCKET):
            caused = _CAUSED.search(text)
            self.lines.append(caused[1] if caused else text.removeprefix(_SOCKET))
        elif record.levelno >= logging.WARNING:
            self.lines.append(text)


def opened(url: str, asset: Any, to: str = "", id_: str = "") -> Any:
    """A plugin of apprise for the address. Raises Refused."""
    scheme = url.partition("://")[0].lower()
    if scheme not in SERVICES and scheme not in PLAIN:  # (1)
        raise Refused(f"{scheme or 'it'} is not among the kinds of address that are known to be safe")
    if to and scheme not in _MAIL:
        raise Refused(f"{scheme} cannot send to each person; people = true needs a mail server")
    module, name = SERVICES[PLAIN.get(scheme, scheme)]
    plugin = getattr(importlib.import_module(f"apprise.plugins.{module}"), name)
    results = plugin.parse_url(url)
    if not results:
        raise Refused(f"apprise cannot read it as an address of the kind {scheme}")
    if to:
        results |= {"targets": [to], "cc": None, "bcc": None}
    if id_ and scheme in _HEADED:
        results["headers"] = {**results.get("headers", {}), ID_HEADER: id_}
    try:
        made = plugin(asset=asset, **results)
    except TypeError:
        raise Refused(f"apprise cannot use it as an address of the kind {scheme}") from None
    check(scheme, made)
    return made


def check(scheme: str, made: Any) -> None:
    """(2), of what apprise made of the address. Raises Refused."""
    if made.redirects:
        raise Refused("it follows redirects; take redirect=yes out of it")
    host = getattr(made, "smtp_host", "") or made.host or ""
    if host.strip("[]").lower() in _LOOPBACK and (scheme in PLAIN or not made.secure):
        return
    if scheme in PLAIN:
        raise Refused(f"{scheme} sends without TLS; write {PLAIN[scheme]}")
    if not made.verify_certificate:
        raise Refused(
            "it does not verify the certificate; take verify=no out of it, and name the authority in notifications.ca"
        )
    if scheme in _MAIL and made.secure_mode not in {"ssl", "starttls"}:
        raise Refused("it sends without TLS; write mode=starttls or mode=ssl")


def guard() -> None:
    """(2), once more where it leaves this process: whatever a plugin does of its own accord."""
    import requests  # noqa: PLC0415  # only in this process

    send = requests.Session.send

    def guarded(self: Any, request: Any, **options: Any) -> Any:
        parts = urlsplit(request.url)
        if parts.hostname not in _LOOPBACK and (parts.scheme != "https" or options.get("verify") is False):
            raise requests.exceptions.InvalidURL("not over verified TLS: not sent")
        return send(self, request, **{**options, "allow_redirects": False})

    requests.Session.send = guarded  # type: ignore[method-assign]


def sent(given: dict[str, Any], message: dict[str, str], asset: Any, said: Said) -> str:
    """Why a message was refused; empty: it was taken."""
    import apprise  # noqa: PLC0415  # only in this process

    said.lines.clear()
    plugin = opened(given["url"], asset, message["to"], message["id"])
    outlet = apprise.Apprise(asset=asset)
    outlet.add(plugin)
    text = apprise.NotifyFormat.TEXT
    if outlet.notify(body=message["body"], title=message["subject"], body_format=text):  # (4)
        return ""
    return "; ".join(dict.fromkeys(said.lines)) or "apprise says no more than that it failed"


def answer(**fields: Any) -> None:
    """One line, at once, whatever a service said."""
    sys.stdout.write(json.dumps({**fields, "problem": fields["problem"][:_SAID]}) + "\n")
    sys.stdout.flush()


def main() -> None:
    """All messages, or as many as there is time for."""
    given = json.load(sys.stdin.buffer)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    import apprise  # noqa: PLC0415  # only in this process

    guard()
    with open("/proc/self/statm", "rb") as file:  # noqa: PTH123  # as in openpgp_child.py
        used = int(file.read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + _ROOM, used + _ROOM))
    said = Said()
    logger = logging.getLogger("apprise")
    logger.handlers, logger.propagate = [said], False
    logger.setLevel(logging.DEBUG)
    asset = apprise.AppriseAsset(
        app_id="Bastide",
        app_desc="Bastide",
        app_url="",
        image_url_mask="",
        image_url_logo="",
        async_mode=False,
        storage_mode=apprise.PersistentStoreMode.MEMORY,  # (3)
        http_redirects=False,
    )
    try:
        opened(given["url"], asset, next((one["to"] for one in given["messages"]), ""))
    except Refused as error:
        answer(id="", done=False, problem=str(error))
        answer(id="", done=True, problem="")
        return
    send_all(given, asset, said)
    answer(id="", done=True, problem="")


def send_all(given: dict[str, Any], asset: Any, said: Said) -> None:
    """Each message, as far as there is time."""
    over = threading.Event()
    signal.signal(signal.SIGALRM, lambda *_: over.set())
    signal.alarm(given["seconds"])
    refusals = 0
    for message in given["messages"]:
        if refusals == _REFUSALS or over.is_set():  # (5)
            return
        problem = sent(given, message, asset, said)
        refusals = refusals + 1 if problem else 0
        answer(id=message["id"], taken=not problem, problem=problem)


if __name__ == "__main__":
    main()
