"""Sealed emergency accounts, on the twins: watched, drilled, reconciled. A test for each numbered step of watch.py and accounts.py."""

import json
from collections.abc import Iterator
from dataclasses import replace

import pytest

from bastide.domain.break_glass import EVERY, MOST_USES, State, What
from bastide.domain.errors import Conflict, NotFound
from bastide.domain.health import Severity
from tests.support.break_glass import CUSTODIANS, NAME, PRIV, ROOT, EmergencyNode, errors


@pytest.fixture
def node() -> Iterator[EmergencyNode]:
    with EmergencyNode() as made:
        yield made


# ------------------------------------------------------------------------------------------------------------- watching


def test_a_sign_in_is_loud_and_uses_the_envelope(
    node: EmergencyNode, caplog: pytest.LogCaptureFixture
) -> None:
    """Watch (1) to (3): on a controller that answers, once."""
    prepared = node.seal()
    node.look()
    assert node.envelope().state is State.SEALED
    node.clock.move(minutes=2)
    node.sign_in(node.password(prepared), at="dc2")
    node.look()
    node.clock.move(minutes=2)
    node.look()
    (told,) = node.events("break-glass.used")
    assert told.subject == node.account
    assert json.loads(told.data)["text"] == "signed in on dc2"
    assert (node.envelope().state, node.envelope().why) == (State.USED, "signed in on dc2")
    assert "signed in on dc2" in caplog.text


@pytest.mark.parametrize(
    ("said", "kind", "state"),
    [
        ({"enabled": False}, "break-glass.changed", State.SEALED),
        ({"groups": ("CN=Admins",)}, "break-glass.changed", State.SEALED),
        ({"wrong": 1}, "break-glass.wrong-password", State.SEALED),
        ({"password_set": "now"}, "break-glass.changed", State.USED),
    ],
    ids=["disabled", "groups", "wrong", "password"],
)
def test_what_else_happens_to_it_is_told(
    node: EmergencyNode, said: dict[str, object], kind: str, state: State
) -> None:
    """Watch (2), (3)"""
    node.seal()
    node.domain.change(
        node.account, **{name: node.clock.now() if one == "now" else one for name, one in said.items()}
    )
    node.look()
    assert node.events(kind)
    assert node.envelope().state is state


def test_sealing_it_anew_is_no_alarm_and_hides_none(node: EmergencyNode) -> None:
    """The worker looks while custodians write: the new password and its proof are the administrator's. What else happens is told."""
    prepared = node.seal()
    second = node.prepare()
    node.clock.move(minutes=1)
    node.look()
    assert [one.kind for one in node.events() if one.actor == "bastide"] == []
    found = node.accounts.reconcile([node.receipt(prepared.envelope)], ROOT)
    assert errors(found) == []
    node.sign_in(node.password(second))
    node.clock.move(minutes=1)
    node.look()
    (told,) = node.events("break-glass.used")
    assert json.loads(told.data)["times"] == 2, "the proof, and somebody"


def test_an_account_that_is_gone_is_told_once(node: EmergencyNode) -> None:
    """Watch (2)"""
    node.seal()
    node.domain.remove(node.account)
    for _ in range(2):
        node.look()
        node.clock.move(minutes=2)
    (told,) = node.events("break-glass.changed")
    assert json.loads(told.data)["what"] == What.GONE
    assert node.envelope().state is State.USED


def test_a_controller_that_was_silent_tells_when_it_is_back(node: EmergencyNode) -> None:
    prepared = node.seal()
    node.domain.silent = {"dc1": "cut off", "dc2": "cut off"}
    node.sign_in(node.password(prepared), at="dc2")
    node.look()
    assert node.envelope().state is State.SEALED
    node.domain.silent = {"dc1": "cut off"}
    node.clock.move(minutes=2)
    node.look()
    assert node.envelope().state is State.USED


def test_it_looks_again_in_a_minute_and_not_at_all_without_an_envelope(node: EmergencyNode) -> None:
    node.seal()
    node.look()
    assert node.store.next_due({"break-glass"}) == node.clock.now() + EVERY
    node.accounts.remove(NAME, ROOT)
    node.clock.move(minutes=1)
    node.look()
    assert node.store.next_due({"break-glass"}) is None


def test_an_envelope_that_was_sealed_anew_meanwhile_is_left_alone(node: EmergencyNode) -> None:
    """Watch (4)"""
    prepared = node.seal()
    traces = node.reader.traces

    def slow(account: object) -> object:
        node.reader.traces = traces  # type: ignore[method-assign]
        seen = traces(node.account)
        node.seal()
        return seen

    node.sign_in(node.password(prepared))
    node.reader.traces = slow  # type: ignore[method-assign,assignment]
    node.look()
    assert node.envelope().state is State.SEALED
    assert len(node.events("break-glass.used")) == 1


# --------------------------------------------------------------------------------------------------------------- drills


def test_a_drill_proves_the_words_and_shows_nothing(node: EmergencyNode) -> None:
    """Drill (1), (3), (4)"""
    prepared = node.seal()
    node.clock.move(days=200)
    before = [one for one in node.accounts.look(node.envelope()) if one.key == "break-glass.drill"]
    assert [one.severity for one in before] == [Severity.WARNING]
    done = node.accounts.drill(NAME, {"Ann": prepared.words[0], "Cy": prepared.words[2]}, ROOT)
    assert done.passed
    assert done.present == ("Ann", "Cy")
    assert node.envelope().drilled_at == node.clock.now()
    assert node.domain.seen[node.account]["dc1"].logons == 1, "nobody signed in"
    (told,) = node.events("break-glass.drilled")
    assert (told.actor_name, json.loads(told.data)["passed"]) == (ROOT, True)
    after = [one for one in node.accounts.look(node.envelope()) if one.key == "break-glass.drill"]
    assert [one.severity for one in after] == [Severity.OK]


def test_a_drill_of_all_tries_each_choice(node: EmergencyNode) -> None:
    """Drill (3)"""
    prepared = node.seal()
    done = node.accounts.drill(NAME, dict(zip(CUSTODIANS, prepared.words, strict=True)), ROOT)
    assert "3 of 3 choices" in done.findings[-1].evidence


def test_what_a_drill_finds(node: EmergencyNode) -> None:
    """Drill (1), (2), (3): each is an error in the report and in the audit, and none counts as a drill."""
    old, new = node.seal(), node.seal()
    forged = node.sharing.split(b"x" * 16, new.envelope.number, 2, 3)
    for given, said in (
        ({"Ann": new.words[0]}, "1 of 2 custodians that are needed came"),
        ({"Ann": new.words[0], "Ben": old.words[1]}, f"are of envelope {old.envelope.number}"),
        ({"Ann": new.words[0], "Ben": new.words[0]}, "have the same share"),
        ({"Ann": new.words[0], "Ben": "gone with the wind"}, "is none of the list"),
        ({"Ann": new.words[0], "Ben": forged[1]}, "do not fit together"),
        ({"Ann": forged[0], "Ben": forged[1]}, "not what was sealed"),
    ):
        done = node.accounts.drill(NAME, given, ROOT)
        assert not done.passed
        assert said in "; ".join(errors(done.findings)), said
    assert node.envelope().drilled_at is None
    assert {json.loads(one.data)["passed"] for one in node.events("break-glass.drilled")} == {False}


def test_words_that_changed_hands_are_a_warning(node: EmergencyNode) -> None:
    prepared = node.seal()
    done = node.accounts.drill(NAME, {"Ann": prepared.words[1], "Ben": prepared.words[0]}, ROOT)
    assert done.passed
    assert [one.severity for one in done.findings] == [Severity.WARNING, Severity.WARNING, Severity.OK]


# ---------------------------------------------------------------------------------------------------------- reconciling


def test_a_use_with_its_receipt_is_explained(node: EmergencyNode) -> None:
    """Reconciling (1) to (3): as well after the watch saw it."""
    prepared = node.seal()
    receipt = node.receipt(prepared.envelope)
    node.clock.move(minutes=3)
    node.sign_in(node.password(prepared))
    node.look()
    found = node.accounts.reconcile([receipt], ROOT)
    assert errors(found) == []
    assert any("as a receipt says" in one.text for one in found)
    (told,) = node.events("break-glass.opened")
    data = json.loads(told.data)
    assert (data["by"], data["reason"], data["custodians"]) == ("root (ben)", "PRIV is down", ["Ann", "Cy"])
    assert node.envelope().receipts == (receipt,)
    assert json.loads(node.events("break-glass.reconciled")[-1].data)["errors"] == 0


def test_a_use_without_a_receipt_is_an_error(node: EmergencyNode) -> None:
    """Reconciling (3)"""
    prepared = node.seal()
    node.sign_in(node.password(prepared))
    found = node.accounts.reconcile([], ROOT)
    assert "no receipt says why" in errors(found)[0]
    node.clock.move(hours=1)
    late = node.accounts.reconcile([node.receipt(prepared.envelope)], ROOT)
    assert "no receipt says why" in errors(late)[0], "it was opened an hour after the sign-in"


def test_opened_and_not_used_is_used_all_the_same(node: EmergencyNode) -> None:
    """Reconciling (2): who opened it knows the password."""
    prepared = node.seal()
    found = node.accounts.reconcile([node.receipt(prepared.envelope, account=NAME)], ROOT)
    assert errors(found) == []
    assert any("never signed in" in one.text for one in found)
    assert (node.envelope().state, node.envelope().why) == (State.USED, "opened by root (ben)")
    assert any("is used" in one for one in errors(node.accounts.look(node.envelope())))


def test_receipts_that_cannot_be_are_refused_and_none_counts(node: EmergencyNode) -> None:
    """Reconciling (1)"""
    good = node.receipt(node.seal().envelope)
    other = node.receipt(node.envelope(), number=good.number ^ 1)
    stranger = node.receipt(node.envelope(), account="somebody@PRIV.BASTIDE.TEST")
    for wrong in (other, stranger):
        with pytest.raises(NotFound):
            node.accounts.reconcile([good, wrong], ROOT)
    assert node.events("break-glass.opened") == []
    with pytest.raises(Conflict):
        node.accounts.reconcile([good, good], ROOT)
    node.accounts.reconcile([good], ROOT)
    with pytest.raises(Conflict, match="in the audit already"):
        node.accounts.reconcile([good], ROOT)


def test_a_receipt_of_an_envelope_that_was_sealed_anew_still_counts(node: EmergencyNode) -> None:
    prepared = node.seal()
    receipt = node.receipt(prepared.envelope)
    node.sign_in(node.password(prepared))
    node.seal()
    found = node.accounts.reconcile([receipt], ROOT)
    assert errors(found) == []
    assert any("as a receipt says" in one.text for one in found)
    assert node.envelope().state is State.SEALED, "the new one is not used by it"


def test_a_domain_that_does_not_answer_is_said(node: EmergencyNode) -> None:
    node.seal()
    node.domain.silent = {"dc1": "cut off", "dc2": "cut off"}
    assert any("no controller shows" in one for one in errors(node.accounts.look(node.envelope())))
    node.readers.clear()
    assert any(PRIV in one for one in errors(node.accounts.reconcile([], ROOT)))


def test_removed_it_is_forgotten_and_its_number_is_not(node: EmergencyNode) -> None:
    prepared = node.seal()
    node.accounts.remove(str(prepared.envelope.number), ROOT)
    assert node.accounts.all() == ()
    with pytest.raises(NotFound):
        node.accounts.find(NAME)
    assert node.accounts.reconcile([node.receipt(prepared.envelope)], ROOT)
    with node.store.read() as uow:
        assert [one.state for one in uow.envelopes.all()] == [State.REMOVED]


def test_a_name_that_fits_several_is_refused(node: EmergencyNode) -> None:
    envelope = node.seal().envelope
    with node.store.write() as uow:
        uow.envelopes.add(replace(envelope, number=envelope.number ^ 1, domain="corp.bastide.test"))
        uow.commit()
    with pytest.raises(Conflict, match="fits several"):
        node.accounts.find(NAME)
    assert node.accounts.find(f"{NAME}@corp.bastide.test").domain == "corp.bastide.test"


def test_a_sign_in_before_the_opening_is_not_explained_by_one_after_it(node: EmergencyNode) -> None:
    """Reconciling (3): a controller shows the last one alone; the watch remembers each that it told."""
    prepared = node.seal()
    node.sign_in(node.password(prepared))
    node.look()
    node.clock.move(days=3)
    receipt = node.receipt(prepared.envelope)
    node.clock.move(minutes=3)
    node.sign_in(node.password(prepared))
    node.look()
    found = node.accounts.reconcile([receipt], ROOT)
    assert ["no receipt says why" in one for one in errors(found)] == [True]
    assert any("as a receipt says" in one.text for one in found)


def test_sign_ins_are_kept_one_by_one_up_to_a_limit(node: EmergencyNode) -> None:
    prepared = node.seal()
    for _ in range(MOST_USES + 5):
        node.clock.move(minutes=1)
        node.sign_in(node.password(prepared))
        node.look()
    assert len(node.envelope().uses) == MOST_USES
    last = [one.evidence for one in node.accounts.reconcile([], ROOT)][-1]
    assert f"{node.clock.now():%H:%M} UTC" in last, "the newest is shown in any case"


@pytest.mark.parametrize("sees", [True, False])
def test_silence_is_no_nobody(*, sees: bool) -> None:
    """Reconciling (3)"""
    with EmergencyNode(sees=sees) as node:
        node.seal()
        if sees:
            node.domain.silent = {"dc1": "cut off", "dc2": "cut off"}
        for found in (node.accounts.reconcile([], ROOT), node.accounts.look(node.envelope())):
            assert errors(found)
            assert not any("nobody used" in one.text for one in found)
        assert json.loads(node.events("break-glass.reconciled")[-1].data)["errors"] == 1


def test_a_controller_that_is_silent_is_said(node: EmergencyNode) -> None:
    """Reconciling (3)"""
    node.seal()
    node.domain.silent = {"dc2": "cut off"}
    found = node.accounts.reconcile([], ROOT)
    assert any("dc2 did not answer: a sign-in there is not seen" in one.text for one in found)


def test_errors_are_counted_for_their_own_envelope(node: EmergencyNode) -> None:
    old = node.seal()
    receipt = node.receipt(old.envelope)
    node.clock.move(days=2)
    node.sign_in(node.password(old))
    node.seal()
    assert errors(node.accounts.reconcile([receipt], ROOT))
    told = {json.loads(one.data)["envelope"]: json.loads(one.data)["errors"] for one in node.events("break-glass.reconciled")}  # fmt: skip
    assert told == {old.envelope.number: 1, node.envelope().number: 0}


def test_a_drill_of_a_used_envelope_is_not_passed(node: EmergencyNode) -> None:
    """Drill (1): its words fit, and its password may be another one."""
    prepared = node.seal()
    node.directory.set_password(node.account, "Another.Pass.1")
    node.look()
    done = node.accounts.drill(NAME, {"Ann": prepared.words[0], "Cy": prepared.words[2]}, ROOT)
    assert not done.passed
    assert "its password was changed" in errors(done.findings)[0]
    assert node.envelope().drilled_at is None
