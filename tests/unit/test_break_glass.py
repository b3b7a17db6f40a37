"""Emergency accounts are sealed, on the twins: the words, and a test for each numbered step of seal.py."""

import itertools
import logging
from collections.abc import Iterator
from datetime import timedelta

import pytest

from bastide.domain.break_glass import State
from bastide.domain.errors import (
    Conflict,
    DirectoryDenied,
    DirectoryUnavailable,
    InvalidInput,
    NotAuthenticated,
    StoreUnavailable,
)
from bastide.domain.health import Severity
from bastide.services.break_glass.seal import SealRefused
from bastide.store.shares import WordShares
from tests.support.break_glass import CUSTODIANS, NAME, ROOT, EmergencyNode, errors

SECRETS = b"0123456789abcdef"


@pytest.fixture
def node() -> Iterator[EmergencyNode]:
    with EmergencyNode() as made:
        yield made


# --------------------------------------------------------------------------------------------------------------- shares


def test_as_many_as_are_needed_open_it_whoever_they_are() -> None:
    sharing = WordShares()
    words = sharing.split(SECRETS, 12345, 3, 5)
    for some in itertools.permutations(words, 3):
        assert sharing.combine(some) == SECRETS
    assert {sharing.read(one).index for one in words} == set(range(5))
    assert {(sharing.read(one).number, sharing.read(one).threshold) for one in words} == {(12345, 3)}


def test_fewer_open_nothing_and_others_fit_not() -> None:
    sharing = WordShares()
    words, others = sharing.split(SECRETS, 1, 2, 3), sharing.split(SECRETS, 1, 2, 3)
    for mine, another in (
        ([words[0]], [others[0]]),
        ([words[0], words[0]], [others[0], others[0]]),
        ([words[0], others[1]], [others[0], words[1]]),
        (list(words), list(others)),
    ):
        assert refusal(sharing, mine) == refusal(sharing, another), "it says nothing of the words"


def refusal(sharing: WordShares, wrong: list[str]) -> str:
    with pytest.raises(InvalidInput) as refused:
        sharing.combine(wrong)
    return str(refused.value)


def test_a_word_that_is_wrong_is_noticed_and_not_repeated() -> None:
    sharing = WordShares()
    words = sharing.split(SECRETS, 7, 2, 3)[0].split()
    swapped = [words[1], words[0], *words[2:]] if words[0] != words[1] else [words[2], *words[1:]]
    for wrong in (words[:-1], [*words[:5], "bastide", *words[6:]], swapped):
        with pytest.raises(InvalidInput) as refused:
            sharing.read(" ".join(wrong))
        assert "bastide" not in str(refused.value)
    with pytest.raises(InvalidInput, match="word 6 is none of the list"):
        sharing.read(" ".join([*words[:5], "bastide", *words[6:]]))
    assert sharing.read("  " + "  ".join(words).upper()).number == 7


# -------------------------------------------------------------------------------------------------------------- sealing


def test_sealed_it_opens_with_two_of_three(node: EmergencyNode) -> None:
    """(3), (4), (7)"""
    prepared = node.seal()
    for pair in itertools.combinations(prepared.words, 2):
        assert node.sharing.combine(pair) == node.sharing.combine(prepared.words[:2])
    node.sign_in(node.password(prepared))
    envelope = node.envelope()
    assert (envelope.custodians, envelope.threshold, envelope.sealer, envelope.state) == (
        CUSTODIANS, 2, "Administrator", State.SEALED,
    )  # fmt: skip
    assert [one.kind for one in node.events()] == ["break-glass.sealing", "break-glass.sealed"]
    assert {one.actor_name for one in node.events()} == {"Administrator"}


@pytest.mark.parametrize(
    "standing",
    [{"enabled": False}, {"password_expires": True}, {"smartcard": True}, {"locked": True}],
    ids=lambda one: next(iter(one)),
)
def test_an_account_that_nobody_could_use_is_not_sealed(
    node: EmergencyNode, standing: dict[str, bool]
) -> None:
    """(1)"""
    node.domain.change(node.account, **standing)
    with pytest.raises(SealRefused) as refused:
        node.prepare()
    assert errors(refused.value.findings)
    assert node.events() == []
    assert node.account not in node.domain.passwords


def test_an_expired_account_is_not_sealed_and_one_that_will_expire_is_warned_of(node: EmergencyNode) -> None:
    """(1)"""
    node.domain.change(node.account, expires=node.clock.now() + timedelta(days=9))
    plan = node.sealing.plan(NAME, CUSTODIANS, 2)
    assert [one.severity for one in plan.findings] == [Severity.OK, Severity.WARNING]
    node.domain.change(node.account, expires=node.clock.now())
    with pytest.raises(SealRefused, match="has expired"):
        node.sealing.plan(NAME, CUSTODIANS, 2)


def test_what_is_unwise_is_a_warning(node: EmergencyNode) -> None:
    """(1)"""
    node.domain.change(node.account, guarded=True)
    for custodians, said in (
        (("Ann", "Ben"), "2 custodians only"),
        (CUSTODIANS, "all 3 custodians are needed"),
    ):
        plan = node.sealing.plan(NAME, custodians, len(custodians))
        assert [one.severity for one in plan.findings] == [Severity.WARNING, Severity.WARNING]
        assert said in plan.findings[0].text
        assert "Protected Users" in plan.findings[1].text


def test_a_domain_that_nobody_watches_is_not_sealed(node: EmergencyNode) -> None:
    """(1)"""
    node.readers.clear()
    with pytest.raises(SealRefused, match="nobody would notice"):
        node.prepare()


def test_an_account_that_the_service_account_does_not_see_is_not_sealed(node: EmergencyNode) -> None:
    """(1): as one of CORP, whose userAccountControl is kept from PRIV."""
    node.reader.traces = lambda _: {"dc1": "userAccountControl cannot be read"}  # type: ignore[method-assign,assignment]
    with pytest.raises(SealRefused, match="does not see breakglass1") as refused:
        node.prepare()
    assert "Read All Properties" in refused.value.remedy
    assert node.account not in node.domain.passwords


def test_a_database_that_does_not_write_leaves_the_password_alone(
    node: EmergencyNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    """(2)"""
    plan = node.sealing.plan(NAME, CUSTODIANS, 2)

    def full() -> None:
        raise StoreUnavailable("the disk is full")

    monkeypatch.setattr(node.store, "write", full)
    with pytest.raises(StoreUnavailable):
        node.sealing.prepare(plan)
    assert node.account not in node.domain.passwords


def test_who_may_not_set_the_password_seals_nothing(node: EmergencyNode) -> None:
    """(3): the envelope before it stays."""
    first = node.seal()
    node.directory = type(node.directory)(node.domain, may=False)
    with pytest.raises(DirectoryDenied):
        node.prepare()
    assert node.envelope().number == first.envelope.number
    assert node.envelope().state is State.SEALED
    node.sign_in(node.password(first))


def test_a_sign_in_that_fails_is_no_envelope(node: EmergencyNode, monkeypatch: pytest.MonkeyPatch) -> None:
    """(4)"""

    def refuse(*_: object, **__: object) -> None:
        raise NotAuthenticated("no")

    monkeypatch.setattr(node.domain, "sign_in", refuse)
    with pytest.raises(NotAuthenticated):
        node.prepare()
    assert node.accounts.all() == ()
    assert [one.kind for one in node.events()] == ["break-glass.sealing"]


def test_a_controller_that_does_not_get_the_password_is_said(node: EmergencyNode) -> None:
    """(4): between sites replication may take hours. What arrives there later is no change."""
    node.domain.behind.add("dc2")
    prepared = node.seal()
    (said,) = prepared.findings
    assert (said.severity, "dc2 did not get the new password" in said.text) == (Severity.WARNING, True)
    node.domain.behind.clear()
    node.domain.change(node.account, password_set=node.domain.seen[node.account]["dc1"].password_set)
    node.look()
    assert node.envelope().state is State.SEALED


def test_a_kdc_that_does_not_have_the_password_stops_it(
    node: EmergencyNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    """(4): asked once, because each try counts as a wrong password."""
    node.domain.behind.add("dc2")
    asked = []

    def refuse(principal: str, _password: str) -> None:
        asked.append(principal)
        raise NotAuthenticated("no")

    monkeypatch.setattr(node.domain, "sign_in", refuse)
    with pytest.raises(Conflict, match="dc2 did not get it within a minute"):
        node.prepare()
    assert len(asked) == 1
    assert node.accounts.all() == ()


def test_a_service_account_that_sees_no_sign_ins_is_said() -> None:
    """(5)"""
    with EmergencyNode(sees=False) as node:
        prepared = node.seal()
        assert "cannot see whether" in errors(prepared.findings)[0]
        assert any("cannot see whether" in one for one in errors(node.accounts.look(node.envelope())))


def test_a_service_account_that_sees_nothing_stops_it(node: EmergencyNode) -> None:
    """(5)"""
    plan = node.sealing.plan(NAME, CUSTODIANS, 2)
    seen = node.reader.traces

    def once(account: object) -> object:
        if node.account in node.domain.passwords:
            return {"dc1": "not reached"}
        return seen(node.account)

    node.reader.traces = once  # type: ignore[method-assign,assignment]
    with pytest.raises(DirectoryUnavailable, match="not reached"):
        node.sealing.prepare(plan)
    assert node.accounts.all() == ()


def test_what_is_not_handed_out_is_no_envelope(node: EmergencyNode) -> None:
    """(6): the one before it is used then, because its password is another one."""
    first = node.seal()
    node.prepare()
    node.clock.move(minutes=1)
    node.look()
    assert node.envelope().number == first.envelope.number
    assert node.envelope().state is State.USED
    assert node.envelope().why == "its password was changed for another envelope"
    assert node.events("break-glass.used") == node.events("break-glass.changed") == [], (
        "no alarm for a sealing"
    )


def test_sealed_anew_the_words_before_are_useless(node: EmergencyNode) -> None:
    """(7)"""
    first = node.seal()
    second = node.seal()
    with pytest.raises(NotAuthenticated):
        node.sign_in(node.password(first))
    node.sign_in(node.password(second))
    with node.store.read() as uow:
        states = {one.number: one.state for one in uow.envelopes.all()}
    assert states == {first.envelope.number: State.REPLACED, second.envelope.number: State.SEALED}
    with pytest.raises(InvalidInput):
        node.sharing.combine([first.words[0], second.words[1]])


def test_a_use_that_nobody_looked_at_yet_is_told_before_it_is_sealed_anew(node: EmergencyNode) -> None:
    """(2)"""
    node.sign_in(node.password(node.seal()))
    node.seal()
    assert len(node.events("break-glass.used")) == 1


def test_no_secret_leaves_the_terminal(node: EmergencyNode, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    prepared = node.seal()
    node.sign_in(node.password(prepared))
    node.look()
    node.accounts.drill(NAME, dict(zip(CUSTODIANS, prepared.words, strict=True)), ROOT)
    with node.store.read() as uow:
        kept = repr(uow.envelopes.all())
    kept += repr(node.events()) + repr(prepared)
    secret = node.sharing.combine(prepared.words[:2])
    with node.store.engine.connect() as connection:
        raw = connection.connection.driver_connection
        assert raw is not None
        kept += "".join(raw.iterdump())
    kept += caplog.text
    for planted in (
        node.password(prepared),
        secret.hex(),
        *prepared.words,
        " ".join(prepared.words[0].split()[4:9]),
    ):
        assert planted not in kept
    assert str(prepared.envelope.number) in kept, "this test looks where things are"
