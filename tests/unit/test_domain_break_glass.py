"""Emergency accounts, decided: who gets words, what a password looks like, and what two looks at an account say."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bastide.domain.break_glass import (
    SKEW,
    USE,
    Sign,
    Trace,
    What,
    check_split,
    parse_custodians,
    password_of,
    signs,
    unexplained,
)
from bastide.domain.errors import InvalidInput
from bastide.services.break_glass.receipts import from_text, to_text
from tests.support.break_glass import EmergencyNode

NOW = datetime(2026, 11, 22, 9, tzinfo=UTC)
HOUR = timedelta(hours=1)
OLD = Trace(last_logon=NOW, logons=3, wrong=1, last_wrong=NOW, password_set=NOW)


def kinds(found: tuple[Sign, ...]) -> list[What]:
    return [one.what for one in found]


@pytest.mark.parametrize(("threshold", "count"), [(1, 3), (4, 3), (0, 2), (2, 1), (2, 17)])
def test_what_is_no_sharing_is_refused(threshold: int, count: int) -> None:
    with pytest.raises(InvalidInput):
        check_split(threshold, count)


def test_sharings_that_can_be() -> None:
    for threshold, count in ((2, 2), (2, 3), (16, 16)):
        check_split(threshold, count)


@pytest.mark.parametrize("text", ["", "Ann,", "Ann,ann", "Ann,B\x07en", "x" * 65])
def test_custodians_are_people_with_names(text: str) -> None:
    with pytest.raises(InvalidInput):
        parse_custodians(text)


def test_custodians_are_trimmed() -> None:
    assert parse_custodians(" Ann , Ben Doe,Cy") == ("Ann", "Ben Doe", "Cy")


@given(st.binary(min_size=16, max_size=16), st.binary(min_size=16, max_size=16))
def test_a_password_holds_all_of_its_secret(one: bytes, other: bytes) -> None:
    text = password_of(one)
    assert (text == password_of(other)) is (one == other)
    assert text.startswith("A9.")
    assert not set(text[3:]) & set("lo01")
    assert set(text[3:]) <= set("abcdefghijkmnpqrstuvwxyz23456789.")
    assert len(text) < 40


def test_a_sign_in_is_a_rise_of_what_a_controller_counts() -> None:
    before = {"dc1": OLD, "dc2": OLD}
    later = Trace(last_logon=NOW + HOUR, logons=5, wrong=1, last_wrong=NOW, password_set=NOW)
    (sign,) = signs(before, {"dc1": OLD, "dc2": later}, NOW)
    assert (sign.what, sign.controller, sign.at, sign.times) == (What.SIGN_IN, "dc2", NOW + HOUR, 2)
    assert signs(before, before, NOW) == ()


def test_a_controller_that_was_not_there_is_judged_by_the_time_of_sealing() -> None:
    """One that was silent when the account was sealed counts what came later, and nothing else."""
    assert signs({"dc1": OLD}, {"dc1": OLD, "dc2": OLD}, NOW) == ()
    later = Trace(last_logon=NOW + HOUR, logons=4, password_set=NOW)
    assert kinds(signs({"dc1": OLD}, {"dc1": OLD, "dc2": later}, NOW)) == [What.SIGN_IN]


def test_what_is_not_shown_is_no_sign_and_no_alarm_when_it_is_shown_later() -> None:
    hidden = Trace(shown=False, password_set=NOW)
    assert signs({"dc1": OLD}, {"dc1": hidden}, NOW) == ()
    assert signs({"dc1": hidden}, {"dc1": OLD}, NOW) == ()


def test_wrong_passwords_are_told_apart() -> None:
    tried = Trace(last_logon=NOW, logons=3, wrong=4, last_wrong=NOW + HOUR, password_set=NOW)
    (sign,) = signs({"dc1": OLD}, {"dc1": tried}, NOW)
    assert (sign.what, sign.times) == (What.WRONG_PASSWORD, 3)


def test_a_controller_that_lags_is_no_change() -> None:
    """The newest password counts, and a state that one controller had before is no news from another."""
    behind = Trace(password_set=NOW - HOUR, enabled=False)
    ahead = Trace(password_set=NOW)
    assert signs({"dc1": ahead, "dc2": behind}, {"dc1": ahead, "dc2": ahead}, NOW) == ()
    newer = Trace(password_set=NOW + HOUR)
    assert kinds(signs({"dc1": ahead, "dc2": behind}, {"dc1": ahead, "dc2": newer}, NOW)) == [What.PASSWORD]


def test_disabled_and_other_groups_are_told_once() -> None:
    before = {"dc1": Trace(groups=("CN=A",)), "dc2": Trace(groups=("CN=A",))}
    off = Trace(enabled=False, groups=("CN=B",))
    found = signs(before, {"dc1": off, "dc2": off}, NOW)
    assert kinds(found) == [What.STANDING, What.GROUPS]
    assert "disabled" in found[0].text
    assert "into CN=B and out of CN=A" in found[1].text


def test_a_receipt_explains_the_sign_ins_of_its_day() -> None:
    with EmergencyNode() as node:
        envelope = node.seal().envelope
        receipt = node.receipt(envelope, opened_at=NOW)
    opened = [
        (NOW - SKEW, True), (NOW - SKEW - timedelta(seconds=1), False), (NOW + USE, True), (NOW + USE + HOUR, False), (None, True),
    ]  # fmt: skip
    for at, explained in opened:
        sign = Sign(What.SIGN_IN, "dc1", at, "signed in")
        assert (unexplained(replace(envelope, receipts=(receipt,)), [sign]) == ()) is explained, at
        assert unexplained(envelope, [sign]) == (sign,)


def test_a_receipt_reads_as_it_was_written() -> None:
    with EmergencyNode() as node:
        receipt = node.receipt(node.seal().envelope)
    assert from_text(to_text(receipt).encode()) == receipt


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('"kind": "bastide-break-glass-receipt"', '"kind": "something"'),
        ('"how": "shown"', '"how": "otherwise"'),
        ('"reason": "PRIV is down"', '"reason": "PRIV\\u001b[2J is down"'),
        ('"host": "jump1"', '"host": ""'),
        ('"by": "root (ben)"', '"by": "' + "x" * 300 + '"'),
        ('"number": ', '"number": 1'),
        ("+00:00", ""),
        ('"format": 1', '"format": 1, "more": 1'),
    ],
)
def test_a_receipt_that_was_made_up_is_refused(old: str, new: str) -> None:
    with EmergencyNode() as node:
        text = to_text(node.receipt(node.seal().envelope, opened_at=NOW)).replace("Z", "+00:00")
    assert old in text
    with pytest.raises(InvalidInput):
        from_text(text.replace(old, new).encode())
