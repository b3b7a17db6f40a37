"""Who is told of what and when, out of audit records; and what the messages say in each language."""

import typing
from dataclasses import fields, replace
from datetime import timedelta
from string import Template
from typing import Any

import pytest

from bastide import sections
from bastide.domain.audit import GENESIS, Event, Record, chain
from bastide.domain.notifications import (
    APPROVERS,
    GIVE_UP,
    KINDS,
    SINGLY,
    Notice,
    Occasion,
    ending_of,
    extensible,
    pause,
    still_wanted,
    told_of,
    told_together,
)
from bastide.domain.requests import State
from bastide.domain.wording import WORDINGS, Facts, Language, say, say_several, say_test
from tests.support import build
from tests.support.build import NOW
from tests.unit.test_neutral import HOSTILE, MARKUP

LEAD = timedelta(minutes=15)
PERSON = build.sid(1101)
END = NOW + timedelta(hours=1)


def record(kind: str, **data: object) -> Record:
    event = Event(kind, NOW, "S-1-5-21-1-1-1-500", "PRIV\\dave", PERSON, "priv.alice", "request-1", data)
    return chain(event, 7, GENESIS)


@pytest.mark.parametrize(
    ("kind", "data", "occasion", "person"),
    [
        ("request.submitted", {"state": "PendingApproval"}, Occasion.ASKED, APPROVERS),
        ("request.mfa", {"state": "PendingApproval"}, Occasion.ASKED, APPROVERS),
        ("request.vote.approve", {"state": "Processing"}, Occasion.APPROVED, PERSON),
        ("request.vote.approve", {"state": "Scheduled"}, Occasion.APPROVED, PERSON),
        ("request.rejected", {"state": "Rejected"}, Occasion.REJECTED, PERSON),
        ("request.expired", {"from": "PendingApproval"}, Occasion.UNANSWERED, PERSON),
        ("request.expired", {"from": "PendingMFA"}, Occasion.UNANSWERED, PERSON),
        ("request.expired", {"from": "Closing"}, Occasion.ENDED, PERSON),
        ("request.closed", {"from": "Closing", "reason": "by the person"}, Occasion.ENDED, PERSON),
        ("request.failed", {"from": "Processing"}, Occasion.FAILED, PERSON),
        ("request.cancelled", {"from": "PendingApproval", "reason": "a review"}, Occasion.CANCELLED, PERSON),
    ],
)
def test_what_happened_is_told_to_whom_it_concerns(
    kind: str, data: dict[str, object], occasion: Occasion, person: str
) -> None:
    told = told_of(record(kind, role="Files", **data), LEAD, NOW)
    assert told is not None
    assert (told.occasion, told.person, told.ref, told.due, told.role) == (
        occasion,
        person,
        "7",
        NOW,
        "Files",
    )
    assert told.at_large


@pytest.mark.parametrize(
    ("kind", "data"),
    [
        ("request.submitted", {"state": "PendingMFA"}),
        ("request.submitted", {"state": "Processing"}),
        ("request.mfa", {"state": "Scheduled"}),
        ("request.vote.approve", {"state": "PendingApproval"}),
        ("request.vote.reject", {"state": "Rejected"}),
        ("request.closing", {"reason": "its time is over"}),
        ("request.closed", {"reason": "kill switch: incident"}),
        ("request.failed", {"reason": "kill switch: incident"}),
        ("request.expired", {"from": "Closing", "reason": "kill switch: incident"}),
        ("session.opened", {}),
        ("notification.sent", {}),
    ],
)
def test_what_concerns_nobody_is_told_to_nobody(kind: str, data: dict[str, object]) -> None:
    assert told_of(record(kind, role="Files", **data), LEAD, NOW) is None


def test_who_cancels_a_request_of_their_own_is_not_told_so() -> None:
    """(2)"""
    event = Event("request.cancelled", NOW, PERSON, "priv.alice", PERSON, "priv.alice", "request-1", {})
    assert told_of(chain(event, 7, GENESIS), LEAD, NOW) is None


def test_a_kind_that_is_not_read_tells_nothing() -> None:
    """plan.py reads KINDS only."""
    telling = {
        "request.submitted",
        "request.mfa",
        "request.vote.approve",
        "request.rejected",
        "request.expired",
    }
    telling |= {"request.closed", "request.failed", "request.active", "request.extended"}
    loud = {"break-glass.used", "break-glass.changed", "break-glass.opened"}
    loud |= {"recovery.began", "recovery.ended", "review.asked", "review.reminded"}
    assert telling | loud | {"request.closing", "request.cancelled", "kill-switch"} == KINDS


@pytest.mark.parametrize("kind", ["review.asked", "review.reminded"])
def test_a_reviewer_is_told_and_no_channel_of_its_own(kind: str) -> None:
    told = told_of(record(kind, lines=3, until=END.isoformat()), LEAD, NOW)
    assert told is not None
    assert (told.occasion, told.person, told.at_large) == (Occasion.REVIEW, PERSON, False)
    assert still_wanted(Notice(PERSON, Occasion.REVIEW, "7"), None, NOW)


def test_history_is_not_told() -> None:
    """(1)"""
    old = record("request.failed", role="Files")
    assert told_of(old, LEAD, NOW + GIVE_UP) is not None
    assert told_of(old, LEAD, NOW + GIVE_UP + timedelta(seconds=1)) is None


@pytest.mark.parametrize("kind", ["request.active", "request.extended"])
def test_the_end_is_told_before_it_comes(kind: str) -> None:
    """(3)"""
    told = told_of(record(kind, role="Files", ends_at=END.isoformat()), LEAD, NOW)
    assert told is not None
    assert (told.occasion, told.due, told.person) == (Occasion.ENDING, END - LEAD, PERSON)
    assert ending_of(told.ref) == ("request-1", END)


def test_an_end_that_is_near_already_is_not_told() -> None:
    """(3): whoever begins ten minutes of access knows that they end."""
    assert told_of(record("request.active", ends_at=(NOW + LEAD).isoformat()), LEAD, NOW) is None


def test_all_of_one_kill_switch_is_one_notice_for_a_recipient() -> None:
    """(4)"""
    whole = told_of(record("kill-switch", what="all", reason="incident", requests=3), LEAD, NOW)
    each = [
        told_of(record(kind, reason="kill switch: incident"), LEAD, NOW)
        for kind in ("request.closing", "request.cancelled")
    ]
    assert whole is not None
    assert (whole.person, whole.at_large, whole.role) == ("", True, "")
    assert [(one.person, one.at_large, one.ref) for one in each if one] == [(PERSON, False, whole.ref)] * 2


@pytest.mark.parametrize("kind", ["break-glass.used", "break-glass.changed", "break-glass.opened"])
def test_an_emergency_account_is_told_to_channels_and_to_nobody_by_name(kind: str) -> None:
    told = told_of(record(kind, text="signed in on dc1"), LEAD, NOW)
    assert told is not None
    assert (told.occasion, told.person, told.at_large, told.role) == (Occasion.BREAK_GLASS, "", True, "")
    assert still_wanted(notice(Occasion.BREAK_GLASS), None, NOW)


def notice(occasion: Occasion, ref: str = "7") -> Notice:
    return Notice(PERSON, occasion, ref)


def test_a_key_says_what_it_is_about() -> None:
    for one in (
        notice(Occasion.ENDED),
        notice(Occasion.ENDING, f"request-1@{END.isoformat()}"),
        notice(Occasion.KILL_SWITCH, NOW.isoformat()),
    ):
        assert Notice.parse(one.key) == one
        assert len(one.key) <= 256


def test_a_decided_request_needs_no_approver() -> None:
    """(5)"""
    waiting = build.request(State.PENDING_APPROVAL)
    assert still_wanted(notice(Occasion.ASKED), waiting, NOW)
    assert not still_wanted(notice(Occasion.ASKED), waiting, waiting.pending_until)
    assert not still_wanted(notice(Occasion.ASKED), replace(waiting, state=State.REJECTED), NOW)
    assert not still_wanted(notice(Occasion.ASKED), None, NOW)


def test_an_end_that_moved_or_came_is_not_announced() -> None:
    """(5)"""
    one = notice(Occasion.ENDING, f"request-1@{END.isoformat()}")
    active = build.request(State.ACTIVE, ends_at=END)
    assert still_wanted(one, active, NOW)
    assert not still_wanted(one, active, END)
    assert not still_wanted(one, replace(active, ends_at=END + LEAD), NOW)
    assert not still_wanted(one, replace(active, extend_to=END + LEAD), NOW)
    assert not still_wanted(one, replace(active, state=State.CLOSING), NOW)


def test_a_result_is_told_whatever_came_after_it() -> None:
    assert still_wanted(notice(Occasion.APPROVED), build.request(State.CLOSED), NOW)
    assert still_wanted(notice(Occasion.KILL_SWITCH, NOW.isoformat()), None, NOW)


def test_who_can_prolong() -> None:
    role = build.role()
    assert extensible(role)
    assert not extensible(replace(role, extension=False))
    assert not extensible(replace(role, enabled=False))
    assert not extensible(replace(role, stages=(build.stage(),)))
    assert not extensible(None)


def test_a_channel_that_is_down_is_asked_less_and_less_often() -> None:
    assert pause(0.5, 0) == timedelta(seconds=15)
    assert pause(0.5, 1) == timedelta(seconds=30)
    assert pause(0.5, 50) == timedelta(minutes=5)
    assert pause(0.0, 50) < pause(1.0, 50) <= timedelta(minutes=6.25)


def test_more_than_a_few_for_one_recipient_are_one_message() -> None:
    recipients = ["a"] * (SINGLY + 1) + ["b"] * SINGLY
    assert list(told_together(recipients)) == [
        list(range(SINGLY + 1)),
        *([n] for n in range(SINGLY + 1, len(recipients))),
    ]


# ---------------------------------------------------------------------------------------------------------------- words

FACTS = Facts(
    link="https://bastide.test/requests/1",
    home="https://bastide.test/",
    person="priv.alice",
    role="Files",
    justification="patch",
    ticket="INC1",
    length="1h",
    by="PRIV\\grace",
    what="all",
    count="3",
    reason="because",
    start=NOW,
    until=NOW,
    end=END,
    true_end=END,
    extensible=True,
)
ID = "0123456789abcdef"


def names(text: str) -> set[str]:
    return set(Template(text).get_identifiers())


@pytest.mark.parametrize("language", Language)
def test_each_language_says_everything_with_the_same_placeholders(language: Language) -> None:
    mine, english = WORDINGS[language], WORDINGS[Language.ENGLISH]
    for table in ("subjects", "bodies", "short"):
        assert set(getattr(mine, table)) == set(Occasion)
        for occasion in Occasion:
            assert names(getattr(mine, table)[occasion]) == names(getattr(english, table)[occasion])
    for one in ("foot", "extension", "no_extension"):
        assert names(getattr(mine, one)) == names(getattr(english, one))
    for pair in ("several", "test"):
        assert [*map(names, getattr(mine, pair))] == [*map(names, getattr(english, pair))]


def test_languages_differ() -> None:
    english, german = WORDINGS[Language.ENGLISH], WORDINGS[Language.GERMAN]
    for occasion in Occasion:
        assert english.subjects[occasion] != german.subjects[occasion]
        assert english.bodies[occasion] != german.bodies[occasion]


@pytest.mark.parametrize("language", Language)
@pytest.mark.parametrize("occasion", Occasion)
def test_all_that_is_said(language: Language, occasion: Occasion) -> None:
    subject, body = say(occasion, FACTS, language, ID)
    assert "$" not in subject + body
    assert "\n" not in subject
    assert body.endswith(f" {ID}\n")
    assert "https://bastide.test/" in body


@pytest.mark.parametrize("language", Language)
@pytest.mark.parametrize("occasion", Occasion)
@pytest.mark.parametrize("hostile", HOSTILE)
def test_nothing_that_somebody_chose_is_markup(language: Language, occasion: Occasion, hostile: str) -> None:
    chosen: dict[str, Any] = {
        f.name: hostile for f in fields(Facts) if f.type is str and f.name not in {"link", "home"}
    }
    ours = " ".join(say(occasion, FACTS, language, ID))
    subject, body = say(occasion, replace(FACTS, **chosen), language, ID)
    for text in (FACTS.link, FACTS.home):
        body, ours = body.replace(text, ""), ours.replace(text, "")
    assert (MARKUP & set(subject + body)) <= set(ours)
    assert "//" not in body
    assert body.count("\n") == say(occasion, FACTS, language, ID)[1].count("\n")
    assert "\r" not in subject + body
    assert len(subject) <= 160


def test_a_long_justification_is_cut() -> None:
    _, body = say(Occasion.ASKED, replace(FACTS, justification="x" * 5000), Language.ENGLISH, ID)
    assert len(body) < 1000


def test_what_nobody_said_is_a_dash() -> None:
    _, body = say(Occasion.ASKED, Facts(link="l", home="h", person="p", role="r"), Language.ENGLISH, ID)
    assert "Why: -\nTicket: -\n" in body
    assert "From: at once\n" in body


@pytest.mark.parametrize("language", Language)
def test_the_end_offers_a_later_one_only_where_the_role_does(language: Language) -> None:
    link = "https://bastide.test/requests/1"
    assert link in say(Occasion.ENDING, FACTS, language, ID)[1]
    assert link not in say(Occasion.ENDING, replace(FACTS, extensible=False), language, ID)[1]


def test_many_at_once_are_counted() -> None:
    subject, body = say_several(
        [Occasion.FAILED] * 7 + [Occasion.ENDED] * 2, FACTS.home, Language.ENGLISH, ID
    )
    assert subject == "Bastide: 9 messages"
    assert "2 ended\n7 failed\n" in body


def test_a_test_says_that_it_is_one() -> None:
    assert "test" in say_test("mail", FACTS.home, Language.ENGLISH, ID)[1]


def test_settings_know_the_occasions_and_languages() -> None:
    """sections.py stands below the domain."""
    hints = typing.get_type_hints(sections.NotificationChannel)["events"]
    assert set(typing.get_args(typing.get_args(hints)[0])) == {one.value for one in Occasion}
    language = typing.get_type_hints(sections.Notifications)["language"]
    assert set(typing.get_args(language)) == {one.value for one in Language}
