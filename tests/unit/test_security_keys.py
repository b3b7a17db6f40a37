"""Security keys: each number of services/security_keys.py and domain/webauthn.py, and who may register and remove one."""

import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from bastide.domain import webauthn
from bastide.domain.errors import Conflict, InvalidInput, MfaRefused, NotAuthorized, NotFound, StoreError
from bastide.domain.people import Actor, Demand, Forest, MfaProof
from bastide.domain.requests import Decision, State
from bastide.domain.roles import Role
from bastide.domain.webauthn import RelyingParty, relying_party
from bastide.services.ports import AuditQuery
from bastide.services.roles import StageDraft
from bastide.services.security_keys import CHALLENGE_LIFE, MOST, OPEN_CHALLENGES, Answer, Asked, Ballot
from bastide.services.signin import SecurityKey
from tests.support.authenticator import PRESENT, Authenticator
from tests.support.world import World

SESSION, OTHER_SESSION = "session-1", "session-2"


@pytest.fixture
def world() -> Iterator[World]:
    made = World()
    yield made
    made.close()


def grace(world: World) -> Actor:
    return world.sign_in("grace")


def registered(
    world: World, actor: Actor, name: str = "blue key", invitation: str = ""
) -> tuple[Authenticator, SecurityKey]:
    device, keys = Authenticator(), world.services.security_keys
    asked = keys.ask_to_register(actor, SESSION)
    return device, keys.register(actor, SESSION, name, device.make(asked), invitation=invitation)


def shown(world: World, name: str = "grace") -> Actor:
    """With the first key, used just now."""
    actor = world.sign_in(name)
    (key, *_) = world.services.security_keys.mine(actor)
    return replace(actor, mfa=MfaProof("webauthn", key.id, world.clock.now()))


def asked(world: World, actor: Actor) -> Asked:
    return world.services.security_keys.ask_to_prove(actor, SESSION)


def prove(world: World, actor: Actor, answer: Answer, session: str = SESSION) -> MfaProof:
    return world.services.security_keys.prove(actor, session, answer)


def last(world: World) -> tuple[str, dict[str, Any]]:
    import json

    with world.store.read() as uow:
        record = list(uow.audit.read(AuditQuery(limit=0)))[-1]
    return record.kind, json.loads(record.data)


# ------------------------------------------------------------------------------------------------------------- the rules


@pytest.mark.parametrize(
    ("address", "wanted"),
    [
        ("https://pam.example.com", RelyingParty("pam.example.com", "https://pam.example.com")),
        ("https://pam.example.com:443/", RelyingParty("pam.example.com", "https://pam.example.com")),
        ("https://PAM.example.com:8443", RelyingParty("pam.example.com", "https://pam.example.com:8443")),
        ("https://bücher.example", RelyingParty("xn--bcher-kva.example", "https://xn--bcher-kva.example")),
        ("http://pam.example.com", None),
        ("https://192.0.2.7:8443", None),
        ("https://[2001:db8::1]", None),
        ("https://pam.example.com:99999", None),
        ("", None),
    ],
)
def test_who_we_are_to_a_browser(address: str, wanted: RelyingParty | None) -> None:
    assert relying_party(address) == wanted


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"origin": "https://bastide.evil.test"}, "origin"),
        ({"origin": "https://bastide.priv.bastide.test"}, "origin"),
        ({"embedded": True}, "another site"),
        ({"host": "priv.bastide.test"}, "RP ID"),
        ({"challenge": "AAAA"}, "challenge"),
        ({"type": "webauthn.create"}, "type"),
        ({"flags": PRESENT}, "verif"),
        ({"flags": 0}, "present"),
        ({"signature": b"nonsense"}, "signature"),
    ],
    ids=lambda value: "" if isinstance(value, str) else str(*value),
)
def test_an_answer_that_does_not_count_is_refused_and_audited(
    world: World, wrong: dict[str, Any], said: str
) -> None:
    """domain/webauthn.py (1) to (4); security_keys.py (3) and (5)."""
    device, _ = registered(world, grace(world))
    with pytest.raises(MfaRefused, match=said):
        prove(world, grace(world), device.use(asked(world, grace(world)), **wrong))
    kind, data = last(world)
    assert kind == "mfa.refused"
    assert data["method"] == "webauthn"
    assert said in data["cause"]


@pytest.mark.parametrize(
    "wrong", [{"origin": "https://evil.test"}, {"host": "evil.test"}, {"flags": PRESENT}, {"challenge": "AA"}]
)
def test_registration_is_as_strict(world: World, wrong: dict[str, Any]) -> None:
    keys, device = world.services.security_keys, Authenticator()
    ask = keys.ask_to_register(grace(world), SESSION)
    with pytest.raises(MfaRefused):
        keys.register(grace(world), SESSION, "key", device.make(ask, **wrong))
    assert last(world)[0] == "mfa.refused"
    assert keys.mine(grace(world)) == ()


def test_a_good_answer_is_a_proof_and_moves_the_counter(world: World) -> None:
    device, key = registered(world, grace(world))
    proof = prove(world, grace(world), device.use(asked(world, grace(world))))
    assert proof == MfaProof("webauthn", key.id, world.clock.now())
    assert last(world) == ("mfa.proved", {"factor": key.id, "method": "webauthn", "via": "kerberos"})
    (kept,) = world.services.security_keys.mine(grace(world))
    assert (kept.sign_count, kept.last_used_at) == (2, world.clock.now())


def test_1_a_challenge_works_once(world: World) -> None:
    device, _ = registered(world, grace(world))
    ask = asked(world, grace(world))
    prove(world, grace(world), device.use(ask))
    with pytest.raises(MfaRefused, match="used up"):
        prove(world, grace(world), device.use(ask))
    ask = asked(world, grace(world))
    with pytest.raises(MfaRefused):
        prove(world, grace(world), device.use(ask, flags=PRESENT))
    with pytest.raises(MfaRefused, match="used up"):
        prove(world, grace(world), device.use(ask))


def test_1_a_challenge_is_for_its_session_person_purpose_and_five_minutes(world: World) -> None:
    device, _ = registered(world, grace(world))
    heidis, _ = registered(world, world.sign_in("heidi"))
    with pytest.raises(MfaRefused, match="something else"):
        prove(world, grace(world), device.use(asked(world, grace(world))), OTHER_SESSION)
    with pytest.raises(MfaRefused, match="something else"):
        prove(world, world.sign_in("heidi"), heidis.use(asked(world, grace(world))))
    grace_again = replace(grace(world), mfa=MfaProof("webauthn", "x", world.clock.now()))
    to_register = world.services.security_keys.ask_to_register(grace_again, SESSION)
    with pytest.raises(MfaRefused, match="something else"):
        prove(world, grace(world), device.use(to_register))
    ask = asked(world, grace(world))
    world.clock.moment += CHALLENGE_LIFE
    with pytest.raises(MfaRefused, match="too old"):
        prove(world, grace(world), device.use(ask))
    for nonsense in ("", "nothing", "0" * 36, "\0"):
        with pytest.raises(MfaRefused, match="used up"):
            prove(world, grace(world), Answer(nonsense, {}))


def test_2_somebody_elses_key_proves_nothing(world: World) -> None:
    registered(world, grace(world))
    heidis, _ = registered(world, world.sign_in("heidi"))
    with pytest.raises(MfaRefused, match="not registered for you"):
        prove(world, grace(world), heidis.use(asked(world, grace(world))))
    assert last(world)[0] == "mfa.refused"


def test_2_a_key_that_writing_into_the_database_gives_to_another_does_not_open(world: World) -> None:
    """The seal is the row's: under another row it opens nothing, and under its own the account stays."""
    registered(world, grace(world))
    heidis, key = registered(world, world.sign_in("heidi"))
    (own,) = world.services.security_keys.mine(grace(world))
    with world.store.write() as uow:
        uow.factors.remove_key(key.id)
        uow.factors.save_key(replace(own, credential=heidis.id, sealed=key.sealed))
        uow.commit()
    with pytest.raises(StoreError, match="another row"):
        prove(world, grace(world), heidis.use(asked(world, grace(world))))


def test_2_a_key_whose_row_was_given_to_another_proves_nothing(world: World) -> None:
    heidis, key = registered(world, world.sign_in("heidi"))
    with world.store.write() as uow:
        uow.factors.remove_key(key.id)
        uow.factors.add_key(replace(key, person=grace(world).sid))
        uow.commit()
    with pytest.raises(MfaRefused, match="not registered for you"):
        prove(world, grace(world), heidis.use(asked(world, grace(world))))
    assert last(world)[0] == "mfa.refused"


@pytest.mark.parametrize(
    ("stored", "shown", "back"), [(5, 5, True), (5, 4, True), (5, 0, True), (0, 0, False)]
)
def test_4_a_counter_that_goes_back_is_refused_and_audited(
    world: World, stored: int, shown: int, *, back: bool
) -> None:
    device, _ = registered(world, grace(world))
    (key,) = world.services.security_keys.mine(grace(world))
    with world.store.write() as uow:
        uow.factors.save_key(replace(key, sign_count=stored))
        uow.commit()
    answer = device.use(asked(world, grace(world)), count=shown)
    if not back:
        assert prove(world, grace(world), answer).factor == key.id
        return
    with pytest.raises(MfaRefused, match="went back"):
        prove(world, grace(world), answer)
    kind, data = last(world)
    assert (kind, data["last"], data["shown"]) == ("mfa.counter-back", stored, shown)


@pytest.mark.parametrize(
    "credential",
    [{}, {"id": 7}, {"id": "AA", "rawId": "AA", "type": "public-key", "response": {}}, {"response": None}],
)
def test_whatever_a_browser_sends_is_refused_in_words(world: World, credential: dict[str, Any]) -> None:
    registered(world, grace(world))
    with pytest.raises(MfaRefused):
        prove(world, grace(world), Answer(asked(world, grace(world)).id, credential))
    actor = shown(world)
    ask = world.services.security_keys.ask_to_register(actor, SESSION)
    with pytest.raises(MfaRefused):
        world.services.security_keys.register(actor, SESSION, "another", Answer(ask.id, credential))


def test_an_answer_is_not_long(world: World) -> None:
    """It is kept with a vote."""
    device, _ = registered(world, grace(world))
    answer = device.use(asked(world, grace(world)), origin="https://" + "x" * 9_000)
    with pytest.raises(MfaRefused, match="too long"):
        prove(world, grace(world), answer)
    long = Authenticator()
    long.id = b"x" * 1_024
    ask = world.services.security_keys.ask_to_register(shown(world), SESSION)
    with pytest.raises(MfaRefused, match="too long"):
        world.services.security_keys.register(shown(world), SESSION, "long", long.make(ask))


def test_open_challenges_are_few(world: World) -> None:
    device, _ = registered(world, grace(world))
    first = asked(world, grace(world))
    for _ in range(OPEN_CHALLENGES):
        world.clock.move(seconds=1)
        newest = asked(world, grace(world))
    with pytest.raises(MfaRefused):
        prove(world, grace(world), device.use(first))
    assert prove(world, grace(world), device.use(newest))


# ------------------------------------------------------------------------------------------------- register and remove


def test_a_corp_sign_in_needs_an_invitation_for_the_first_key(world: World) -> None:
    world.prepare("alice")
    alice = world.sign_in("alice", Forest.CORP)
    for invitation in ("", "guess"):
        with pytest.raises(NotAuthorized, match="invitation"):
            registered(world, alice, invitation=invitation)
    code = world.services.factors.invite(world.dave, "priv.alice")
    _, key = registered(world, alice, invitation=code)
    assert key.person == world.services.accounts.user(world.dave, "priv.alice").priv.sid
    assert key.name == "blue key"


def test_another_factor_takes_the_one_there_is(world: World) -> None:
    """Neither a stolen ticket nor an invitation puts a key, or a code, beside what the person has."""
    registered(world, grace(world))
    code = world.services.factors.invite(world.dave, "PRIV\\grace")
    for invitation in ("", code):
        with pytest.raises(MfaRefused, match="one of them"):
            registered(world, grace(world), "red key", invitation)
        with pytest.raises(MfaRefused, match="one of them"):
            world.services.factors.enrol(grace(world), invitation)
    elsewhere = replace(grace(world), mfa=MfaProof("oidc", "somebody else's", world.clock.now()))
    with pytest.raises(MfaRefused, match="one of them"):
        registered(world, elsewhere, "red key")
    registered(world, shown(world), "red key")
    assert world.services.factors.enrol(shown(world)).factor


def test_names_and_numbers(world: World) -> None:
    device, _ = registered(world, grace(world))
    actor = shown(world)
    keys = world.services.security_keys
    for name in ("Blue Key", " blue key "):
        with pytest.raises(Conflict, match="already"):
            registered(world, actor, name)
    for name in ("", "x" * 61, "a\nb"):
        with pytest.raises(InvalidInput):
            registered(world, actor, name)
    ask = keys.ask_to_register(actor, SESSION)
    with pytest.raises(Conflict, match="registered already"):
        keys.register(actor, SESSION, "the same", device.make(ask))
    for number in range(MOST - 1):
        registered(world, actor, f"key {number}")
    with pytest.raises(Conflict, match=f"limit is {MOST}"):
        keys.ask_to_register(actor, SESSION)


def test_removing_takes_a_fresh_factor_and_never_the_last_one(world: World) -> None:
    _, blue = registered(world, grace(world))
    keys, actor = world.services.security_keys, shown(world)
    with pytest.raises(MfaRefused):
        keys.remove(grace(world), blue.id)
    with pytest.raises(Conflict, match="last"):
        keys.remove(actor, blue.id)
    _, red = registered(world, actor, "red key")
    with pytest.raises(NotFound):
        keys.remove(world.with_mfa(world.sign_in("heidi")), red.id)
    theirs = replace(grace(world), mfa=MfaProof("oidc", "their factor", world.clock.now()))
    with pytest.raises(MfaRefused, match="one of them"):
        keys.remove(theirs, "red key")
    keys.remove(actor, "red key")
    assert last(world)[0] == "mfa.removed"
    assert [key.id for key in keys.mine(actor)] == [blue.id]


def test_reset_takes_keys_too_and_sessions_lose_the_proof(world: World) -> None:
    device, key = registered(world, grace(world))
    proof = prove(world, grace(world), device.use(asked(world, grace(world))))
    token = world.services.authn.open_session(replace(grace(world), mfa=proof))
    assert world.services.authn.session(token).mfa == proof
    assert world.services.factors.reset(world.dave, "PRIV\\grace") == 1
    assert world.services.authn.session(token).mfa is None
    with pytest.raises(MfaRefused, match="no security key"):
        asked(world, grace(world))
    assert key not in world.services.security_keys.mine(grace(world))


def test_nothing_works_without_an_address(world: World) -> None:
    keys = world.services.security_keys
    keys._party = world.services.roles._party = None
    for act in (keys.ask_to_register, keys.ask_to_prove):
        with pytest.raises(Conflict, match="do not work here") as refused:
            act(grace(world), SESSION)
        assert "server.url" in refused.value.remedy
    world.prepare("alice")
    world.prepare_group()
    with pytest.raises(Conflict, match="do not work here"):
        world.add_role(factor=Demand.WEBAUTHN)


def test_no_key_is_in_a_log_or_a_repr(world: World) -> None:
    with pytest.raises(MfaRefused) as refused:
        webauthn.assertion_of({"id": "secret", "rawId": 3})
    assert refused.value.__cause__ is None
    assert "secret" not in refused.value.message


def test_the_library_is_not_loaded_before_a_key_is_used(tmp_path: Path) -> None:
    """It takes 9 MiB."""
    code = "import sys, bastide.wiring, bastide.web; sys.exit(any(m in sys.modules for m in ('webauthn', 'cbor2', 'OpenSSL')))"
    assert subprocess.run([sys.executable, "-P", "-c", code], check=False, cwd=tmp_path).returncode == 0


# ---------------------------------------------------------------------------------------------------- what roles demand


STAGE = (StageDraft("owners", ("PRIV\\grace", "PRIV\\heidi")),)


def test_a_role_that_demands_a_key_takes_no_code(world: World) -> None:
    world.prepare("alice")
    world.prepare_group()
    world.add_role(factor=Demand.WEBAUTHN)
    waiting = world.ask()
    assert waiting.state is State.PENDING_MFA, "a fresh code is not enough"
    with pytest.raises(MfaRefused, match="code is not enough") as refused:
        world.services.requests.prove(world.alice(), waiting.id)
    assert "JavaScript" in refused.value.remedy
    code = world.services.factors.invite(world.dave, "priv.alice")
    device, _ = registered(world, world.sign_in("alice", Forest.CORP), invitation=code)
    alice = world.sign_in("alice", Forest.CORP)
    shown = replace(alice, mfa=prove(world, alice, device.use(asked(world, alice))))
    world.services.requests.prove(shown, waiting.id)
    world.work()
    active = world.get(waiting)
    assert active.state is State.ACTIVE
    assert active.proof is not None
    assert active.proof.method == "webauthn"
    with pytest.raises(MfaRefused, match="code is not enough"):
        world.services.requests.extend(world.alice(), waiting.id, timedelta(minutes=5))
    world.clock.move(minutes=6)
    with pytest.raises(MfaRefused, match="too long ago") as late:
        world.services.requests.extend(shown, waiting.id, timedelta(minutes=5))
    assert "security key" in late.value.remedy


@pytest.mark.parametrize(
    ("rules", "said"),
    [
        ({"factor": Demand.WEBAUTHN, "mfa": False}, "needs none"),
        ({"approval_factor": Demand.WEBAUTHN}, "needs none"),
        (
            {"approval_factor": Demand.WEBAUTHN, "stages": STAGE, "owner_auto_approval": True},
            "signed by nobody",
        ),
    ],
)
def test_rules_that_contradict_each_other(world: World, rules: dict[str, Any], said: str) -> None:
    world.prepare("alice")
    world.prepare_group()
    if "stages" in rules:
        with pytest.raises(InvalidInput, match=said):
            world.add_role(**rules)
        return
    with pytest.raises(InvalidInput, match=said):
        world.add_role(**rules)


def approved_role(world: World) -> Role:
    world.prepare("alice")
    world.prepare_group()
    return world.add_role(stages=STAGE, approval_factor=Demand.WEBAUTHN)


def test_an_approval_by_code_is_refused_and_a_rejection_is_not(world: World) -> None:
    approved_role(world)
    request = world.ask()
    with pytest.raises(MfaRefused, match="signed with a security key") as refused:
        world.approve(request)
    assert "JavaScript" in refused.value.remedy
    rejected = world.services.requests.decide(
        world.sign_in("grace", mfa=True), request.id, Decision.REJECT, "no change"
    )
    assert rejected.state is State.REJECTED


def test_a_signature_is_for_one_request_decision_reason_and_stage(world: World) -> None:
    approved_role(world)
    device, _ = registered(world, grace(world))
    request, keys, actor = world.ask(), world.services.security_keys, world.with_mfa(grace(world))
    ballot = Ballot(request.id, Decision.APPROVE, "agreed")
    for other in (
        replace(ballot, reason="never said"),
        replace(ballot, decision=Decision.REJECT),
        replace(ballot, stage="others"),
    ):
        ask = keys.ask_to_sign(actor, SESSION, ballot)
        assert ask.stage == "owners"
        with pytest.raises(MfaRefused):
            keys.sign(actor, SESSION, replace(other, stage=other.stage or ask.stage), device.use(ask))
    ask = keys.ask_to_sign(actor, SESSION, ballot)
    with pytest.raises(MfaRefused, match="something else"):
        keys.sign(actor, SESSION, replace(ballot, request="0" * 36), device.use(ask))
    with pytest.raises(NotAuthorized):
        keys.ask_to_sign(world.with_mfa(world.sign_in("ivan")), SESSION, ballot)
