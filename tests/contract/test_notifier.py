"""Notifiers: the twin in memory; and apprise with a mail server and a webhook on loopback, over TLS."""

import html
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from bastide.domain.notifications import Occasion
from bastide.domain.wording import Facts, Language, say
from bastide.notify.memory import MemoryNotifier
from bastide.notify.notifier import AppriseNotifier
from bastide.services.notifications.ports import Fate, Message, Notifier, Outcome
from tests.support.notification_servers import PASSWORD, TOKEN, MailServer, mail_server, tls, webhook
from tests.unit.test_neutral import HOSTILE

TO = "grace@corp.example.com"
NOBODY = "nobody@corp.example.com"
BODY = "Größe prüfen.\n\n<b>not bold</b> &amp; *not* _this_ either\nhttps://bastide.test/approvals\n"


@dataclass(frozen=True, slots=True)
class Received:
    """What arrived: the recipient (empty: not a mail), id, subject and text."""

    to: str
    id: str
    subject: str
    text: str


@dataclass
class Side:
    """A notifier with a channel that works, and what it was given."""

    notifier: Notifier
    received: Callable[[], list[Received]]
    refuse: Callable[[str], None] | None
    #: Names of channels: one that works, and one that nobody answers on.
    good: str = "good"
    dead: str = "dead"
    mail: bool = True

    def send(self, *messages: Message, channel: str = "") -> tuple[Outcome, ...]:
        return self.notifier.send(channel or self.good, messages)

    def message(self, id_: str = "id-1", to: str = TO, subject: str = "Größe", body: str = BODY) -> Message:
        return Message(id_, to if self.mail else "", subject, body)


def in_memory() -> Side:
    notifier = MemoryNotifier()
    notifier.down["dead"] = "connection refused"

    def received() -> list[Received]:
        return [Received(m.to, m.id, m.subject, m.body) for _, m in notifier.taken]

    return Side(notifier, received, notifier.refuses.add)


def by_mail(server: MailServer, ca: Path, mode: str) -> Side:
    address = (
        f"mailtos://bastide:{PASSWORD}@localhost:{server.port}?mode={mode}&from=bastide@corp.example.com"
    )
    dead = f"mailtos://bastide:{PASSWORD}@localhost:1?mode={mode}&from=bastide@corp.example.com"

    def received() -> list[Received]:
        return [
            Received(to, str(m["X-Bastide-Notification"]), str(m["Subject"]), str(m.get_content()))
            for to, m in server.letters
        ]

    return Side(
        AppriseNotifier({"good": lambda: address, "dead": lambda: dead}, ca=str(ca)),
        received,
        server.refuses.add,
    )


@pytest.fixture(params=["memory", "smtp-tls", "smtp-starttls", "https"])
def side(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Side]:
    with ExitStack() as stack:
        if request.param == "memory":
            yield in_memory()
            return
        context, ca = tls(tmp_path)
        if request.param == "https":
            hook = stack.enter_context(webhook(context))
            address, dead = f"jsons://localhost:{hook.port}/{TOKEN}", f"jsons://localhost:1/{TOKEN}"
            yield Side(
                AppriseNotifier({"good": lambda: address, "dead": lambda: dead}, ca=str(ca)),
                lambda: [
                    Received("", headers["X-Bastide-Notification"], call["title"], call["message"])
                    for _, headers, call in hook.calls
                ],
                None,
                mail=False,
            )
            return
        starttls = request.param == "smtp-starttls"
        server = stack.enter_context(mail_server(context, starttls=starttls))
        yield by_mail(server, ca, "starttls" if starttls else "ssl")


def fates(outcomes: Sequence[Outcome]) -> list[Fate]:
    return [one.fate for one in outcomes]


def test_messages_arrive_as_they_are(side: Side) -> None:
    assert fates(side.send(side.message(), side.message("id-2", subject="Second"))) == [Fate.TAKEN] * 2
    first, second = side.received()
    assert (first.id, first.subject, first.to) == ("id-1", "Größe", TO if side.mail else "")
    assert first.text.split() == BODY.split()
    assert second.id == "id-2"


def test_no_messages_are_no_outcomes(side: Side) -> None:
    assert side.send() == ()


def test_a_repetition_has_the_same_id(side: Side) -> None:
    side.send(side.message())
    side.send(side.message())
    assert [one.id for one in side.received()] == ["id-1", "id-1"]


def test_what_somebody_chose_makes_no_header_and_no_other_recipient(side: Side) -> None:
    home = "https://bastide.test/"
    texts = [
        say(
            Occasion.ASKED,
            Facts(link=home, home=home, person=chosen, justification=chosen, role=chosen),
            Language.ENGLISH,
            "id",
        )
        for chosen in HOSTILE
    ]
    messages = [side.message(f"id-{n}", subject=s, body=b) for n, (s, b) in enumerate(texts)]
    assert fates(side.send(*messages)) == [Fate.TAKEN] * len(HOSTILE)
    for one, sent in zip(side.received(), messages, strict=True):
        assert (one.to, one.id, one.subject) == (sent.to, sent.id, sent.subject)
        assert one.text.split() == sent.body.split()


@pytest.mark.parametrize("bad", ["one\r\nBcc: x@evil.example", "one\ntwo", "\0", "\x1b[31m", "\u2028"])
def test_a_header_is_one_line_whoever_writes_it(bad: str) -> None:
    for parts in ((bad, "", "s"), ("id", bad, "s"), ("id", "", bad)):
        with pytest.raises(ValueError, match="no line breaks"):
            Message(*parts, "body")


def test_a_refused_recipient_holds_up_nobody_else(side: Side) -> None:
    if side.refuse is None:
        assert not side.mail
        return
    side.refuse(NOBODY)
    outcomes = side.send(side.message("id-1", NOBODY), side.message("id-2"))
    assert fates(outcomes) == [Fate.REFUSED, Fate.TAKEN]
    assert NOBODY in outcomes[0].problem
    assert [one.id for one in side.received()] == ["id-2"]


def test_a_channel_that_is_down_says_so_and_the_rest_is_not_tried(side: Side) -> None:
    outcomes = side.send(*(side.message(f"id-{n}") for n in range(5)), channel=side.dead)
    assert fates(outcomes) == [Fate.REFUSED] * 3 + [Fate.UNTRIED] * 2
    assert outcomes[0].problem
    assert not re.search(f"{PASSWORD}|{TOKEN}", html.unescape(str(outcomes)))
    assert side.received() == []


def test_a_channel_that_works_has_no_problem(side: Side) -> None:
    assert side.notifier.problem(side.good) == ""
    assert side.received() == [], "nothing is sent"


def test_what_a_mail_server_quotes_of_a_message_holds_none_of_its_secrets() -> None:
    code = "K7QW-Z2MN"
    with mail_server(None) as server:
        server.quotes = "The code"
        url = f"mailto://localhost:{server.port}?from=bastide@corp.test&mode=insecure&smtp=127.0.0.1"
        message = Message("1" * 32, TO, "Your code", f"Hello.\n\nThe code is {code}. It counts.", (TO, code))
        (outcome,) = AppriseNotifier({"mail": lambda: url}).send("mail", [message])
    assert outcome.fate is Fate.REFUSED
    assert outcome.problem
    assert "K7QW" not in outcome.problem
    assert TO not in outcome.problem
