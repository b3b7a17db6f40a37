"""A security key as a gate of a reset: each number of services/reset/keys.py and register_keys.py."""

import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from bastide.domain import webauthn
from bastide.domain.errors import (
    Conflict,
    InvalidInput,
    MfaRefused,
    NotAuthenticated,
    NotFound,
    StoreError,
    TooManyTries,
)
from bastide.domain.ids import Sid
from bastide.domain.people import Forest
from bastide.domain.reset.flow import Choice, Stage
from bastide.domain.reset.gates import Gate
from bastide.services.reset.contents import seal, unseal
from bastide.services.reset.keys import used
from bastide.services.reset.register_keys import MOST
from bastide.services.security_keys import Answer, Asked
from tests.support.authenticator import PRESENT, VERIFIED, Authenticator
from tests.support.reset_world import ELSEWHERE, HOME_PLACE, NEW, SESSION, ResetWorld, together
from tests.support.world import ADDRESS

PASSWORD = "nina-corp-pw"
WRONG: list[dict[str, Any]] = [
    {"origin": "https://bastide.evil.test"},
    {"origin": "https://bastide.priv.bastide.test"},
    {"embedded": True},
    {"host": "priv.bastide.test"},
    {"challenge": "AAAA"},
    {"flags": PRESENT},
    {"flags": VERIFIED},
]


def _name(wrong: dict[str, Any]) -> str:
    return "-".join(map(str, *wrong.items()))


@pytest.fixture
def world() -> Iterator[ResetWorld]:
    made = ResetWorld((Gate.KEY,))
    yield made
    made.close()


def refused(world: ResetWorld, token: str, answer: Answer, address: str = ELSEWHERE) -> None:
    with pytest.raises(InvalidInput, match="wrong, used up or too old"):
        world.show(token, answer, address)
    assert world.row(token).passed == 0


def last_event(world: ResetWorld) -> str:
    return world.events()[-1]


def test_a_person_resets_with_a_key(world: ResetWorld) -> None:
    world.register()
    token = world.begin()
    assert world.show(token, world.device.use(world.asked(token))).stage is Stage.CHOOSE
    world.finish(token)
    assert world.password("nina") == NEW
    assert "reset.gate-passed" in world.events()


def test_each_of_several_keys_opens_the_gate(world: ResetWorld) -> None:
    world.register()
    second = world.register_key(called="spare")
    for device in (second, world.device):
        token = world.begin()
        assert world.show(token, device.use(world.asked(token))).stage is Stage.CHOOSE


# --------------------------------------------------------------------------------------------------- 1: what a key is asked


def test_1_an_answer_of_one_reset_is_none_of_another(world: ResetWorld) -> None:
    world.register()
    first, second = world.begin(), world.begin()
    answer = world.device.use(world.asked(first))
    refused(world, second, answer)
    assert world.show(first, answer).stage is Stage.CHOOSE


def test_1_what_is_asked_for_one_person_is_asked_for_no_other(world: ResetWorld) -> None:
    world.add_everyday("rosa")
    world.register("rosa")
    rosas = world.device
    world.register()
    mine, theirs = world.begin("rosa"), world.begin("nina")
    row, other = world.row(mine), world.row(theirs)
    with world.store.write() as uow:
        uow.resets.put(replace(other, sealed_code=row.sealed_code))
        uow.commit()
    for act in (lambda: world.asked(theirs), lambda: world.show(theirs, rosas.use(world.asked(mine)))):
        with pytest.raises(StoreError, match="another row"):
            act()


def test_1_a_code_of_another_gate_is_no_question(world: ResetWorld) -> None:
    """Sealed to the gate: the code of a mail that was put in its place does not open."""
    world.register()
    token = world.begin()
    row = world.row(token)
    context = f"reset-code:{row.id}:{row.person}:mail:0"
    with world.store.write() as uow:
        uow.resets.put(replace(row, sealed_code=world.adapters.sealer.seal(b"A" * 32, context)))
        uow.commit()
    with pytest.raises(StoreError, match="another row"):
        world.asked(token)


def test_1_it_is_used_up_by_trying(world: ResetWorld) -> None:
    world.register()
    token = world.begin()
    asked = world.asked(token)
    refused(world, token, world.device.use(asked, flags=PRESENT))
    assert world.asked(token) != asked
    refused(world, token, world.device.use(asked))
    assert world.show(token, world.device.use(world.asked(token))).stage is Stage.CHOOSE


def test_1_it_is_used_up_also_by_an_attempt_that_was_never_judged(
    world: ResetWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.register()
    token = world.begin()
    answer = world.device.use(world.asked(token))
    with monkeypatch.context() as patch:
        patch.setattr(webauthn, "assertion_of", lambda _: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            world.show(token, answer)
    refused(world, token, answer)


def test_1_of_several_that_show_the_same_answer_at_once_one_gets_through(world: ResetWorld) -> None:
    world.register()
    token = world.begin("nina", HOME_PLACE)
    answer = world.device.use(world.asked(token))
    results = together(3, lambda n: world.show(token, answer, f"198.51.100.{n}"))
    assert sum(not isinstance(one, Exception) for one in results) == 1


def test_1_it_is_over_with_the_reset(world: ResetWorld) -> None:
    world.register()
    token = world.begin()
    answer = world.device.use(world.asked(token))
    world.clock.move(minutes=15)
    with pytest.raises(Conflict, match="over"):
        world.show(token, answer)


# ------------------------------------------------------------------------------------------------ 2, 3: alike for everybody


def _without_chance(asked: Asked) -> dict[str, Any]:
    said: dict[str, Any] = json.loads(asked.options)
    assert len(said.pop("challenge")) == 43  # 32 bytes in base64url
    return said


@pytest.mark.parametrize("name", ["zoe", "olaf", "petra", "quinn"])
def test_2_everybody_is_asked_alike_and_no_key_is_named(world: ResetWorld, name: str) -> None:
    world.register()
    world.register_key(called="spare")
    seen = [world.asked(world.begin(account)) for account in ("nina", name, name)]
    assert _without_chance(seen[0]) == _without_chance(seen[1]) == _without_chance(seen[2])
    assert _without_chance(seen[0])["allowCredentials"] == []
    assert len({len(one.options) for one in seen}) == 1


def test_3_a_key_that_was_not_registered_for_this_person_opens_nothing(world: ResetWorld) -> None:
    world.add_everyday("rosa")
    world.register("rosa")
    rosas = world.device
    world.register()
    for device in (rosas, Authenticator()):
        token = world.begin()
        refused(world, token, device.use(world.asked(token)))


def test_3_a_key_of_sign_ins_opens_nothing_and_one_of_resets_signs_nobody_in(world: ResetWorld) -> None:
    world.register()
    nina, sign_ins, device = world.everyday("nina"), world.services.security_keys, Authenticator()
    with pytest.raises(MfaRefused, match="no security key is registered"):
        sign_ins.ask_to_prove(nina, SESSION)
    code = world.services.factors.invite(world.dave, "CORP\\nina")
    asked = sign_ins.ask_to_register(nina, SESSION)
    sign_ins.register(nina, SESSION, "sign-in", device.make(asked), invitation=code)
    token = world.begin()
    refused(world, token, device.use(world.asked(token)))
    prove = sign_ins.ask_to_prove(nina, SESSION)
    with pytest.raises(MfaRefused, match="not registered for you"):
        sign_ins.prove(nina, SESSION, replace(world.device.use(prove), challenge=prove.id))


def test_3_what_is_registered_for_one_person_is_sealed_to_that_person(world: ResetWorld) -> None:
    world.add_everyday("rosa")
    world.register("rosa")
    rosas = world.device
    world.register()
    with world.store.write() as uow:
        held = {one.name: one for one in uow.resets.registrations()}
        uow.resets.register(replace(held["nina"], sealed=held["rosa"].sealed))
        uow.commit()
    token = world.begin()
    with pytest.raises(StoreError, match="another row"):
        world.show(token, rosas.use(world.asked(token)))


def test_3_the_same_work_is_done_for_nobody_and_never_fits(
    world: ResetWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A signature is checked each time, whether there is a person and whether the key is known."""
    world.register()
    checked: list[bytes] = []
    real = webauthn.check

    def check(party: Any, said: Any, challenge: bytes, public_key: bytes) -> int:
        checked.append(public_key)
        return real(party, said, challenge, public_key)

    monkeypatch.setattr(webauthn, "check", check)
    for name, device in (("zoe", Authenticator()), ("nina", Authenticator()), ("zoe", world.device)):
        token = world.begin(name)
        refused(world, token, device.use(world.asked(token)))
    token = world.begin("nina")
    refused(world, token, world.device.use(world.asked(token), signature=b"nonsense"))
    assert len(checked) == 4
    assert len(set(checked)) == 2, "that of nobody three times, and the registered one"


def test_3_nobody_passes_even_if_the_answer_counted(
    world: ResetWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.register()
    monkeypatch.setattr(webauthn, "check", lambda *_: 1)
    token = world.begin("zoe")
    answer = world.device.use(world.asked(token))
    refused(world, token, answer)
    party = webauthn.relying_party(ADDRESS)
    assert party is not None
    assert used(party, (), b"", answer.credential) is None


# ---------------------------------------------------------------------------------------------------- 4: the answer counts


@pytest.mark.parametrize(
    "wrong", [*WRONG, {"type": "webauthn.create"}, {"signature": b"nonsense"}], ids=_name
)
def test_4_an_answer_that_does_not_count(world: ResetWorld, wrong: dict[str, Any]) -> None:
    """Another page, a part of another site, another host, another question, nobody verified, nobody there, another key's signature."""
    world.register()
    token = world.begin()
    refused(world, token, world.device.use(world.asked(token), **wrong))
    assert last_event(world) == "reset.gate-refused"


@pytest.mark.parametrize(
    "said", [{}, {"id": "x"}, {"id": 7, "response": []}, {"response": {"signature": "é"}}]
)
def test_4_what_is_no_answer_counts_as_a_wrong_one(world: ResetWorld, said: dict[str, Any]) -> None:
    world.register()
    for name in ("nina", "zoe"):
        token = world.begin(name)
        for _ in range(3):
            refused(world, token, Answer("", said))
        with pytest.raises(TooManyTries):
            world.show(token, Answer("", said))


# ------------------------------------------------------------------------------------------------ 5, 6: when it is taken


def _stored_count(world: ResetWorld) -> int:
    nina = world.everyday("nina").sid
    with world.store.read() as uow:
        held = uow.resets.registration(nina)
    assert held is not None
    (key,) = unseal(world.adapters.sealer, nina, held.sealed).keys
    return key.sign_count


def test_5_a_counter_that_goes_back_is_refused_and_audited(world: ResetWorld) -> None:
    world.register()
    first, second = world.begin(), world.begin()
    answers = world.device.use(world.asked(first), count=9), world.device.use(world.asked(second), count=9)
    world.show(first, answers[0])
    assert _stored_count(world) == 9
    refused(world, second, answers[1])
    assert world.events()[-2:] == ["reset.key-copied", "reset.gate-refused"]


def test_5_a_key_without_a_counter_is_taken_each_time(world: ResetWorld) -> None:
    nina, device = world.everyday("nina"), Authenticator()
    asked = Asked("", world.reset.keys.ask(nina, SESSION, "phone", PASSWORD))
    world.reset.keys.register(nina, SESSION, device.make(asked, count=0).credential, HOME_PLACE)
    for _ in range(2):
        token = world.begin()
        assert world.show(token, device.use(world.asked(token), count=0)).stage is Stage.CHOOSE


def test_5_a_key_that_was_removed_meanwhile_opens_nothing(
    world: ResetWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before the answer, and between its judgement and the step."""
    world.register()
    world.register_key(called="spare")
    token = world.begin()
    answer = world.device.use(world.asked(token))
    real = webauthn.check

    def check(*arguments: Any) -> int:
        count = real(*arguments)
        world.reset.keys.remove(world.everyday("nina"), "blue key", PASSWORD)
        return count

    with monkeypatch.context() as patch:
        patch.setattr(webauthn, "check", check)
        refused(world, token, answer)
    refused(world, token, world.device.use(world.asked(token)))


def test_6_it_opens_its_own_gate_alone() -> None:
    for order in ((Gate.KEY, Gate.MAIL), (Gate.MAIL, Gate.KEY)):
        world = ResetWorld(order)
        world.register()
        token = world.begin()
        for gate in order:
            world.deliver()
            with pytest.raises(Conflict):
                world.reset.journey.choose(token, Choice.SET, NEW, ELSEWHERE)
            other = next(one for one in Gate if one is not gate)
            with pytest.raises(Conflict, match="next step"):
                world.reset.journey.answer(token, other, {"code": "x", "credential": {}}, ELSEWHERE)
            if gate is Gate.KEY:
                world.show(token, world.device.use(world.asked(token)))
            else:
                world.reset.journey.answer(token, gate, {"code": world.last_code()}, ELSEWHERE)
        world.finish(token)
        assert world.password("nina") == NEW
        world.close()


# ------------------------------------------------------------------------------------------------------------ registration


def begin(world: ResetWorld, called: str = "blue key", session: str = SESSION) -> Asked:
    return Asked("", world.reset.keys.ask(world.everyday("nina"), session, called, PASSWORD))


def confirm(world: ResetWorld, answer: Answer, name: str = "nina", session: str = SESSION) -> None:
    world.reset.keys.register(world.everyday(name), session, answer.credential, HOME_PLACE)


def keys(world: ResetWorld) -> list[str]:
    return [name for name, _ in world.reset.registrations.standing(world.everyday("nina")).keys]


def test_registration_1_takes_the_password_again(world: ResetWorld) -> None:
    nina, use = world.everyday("nina"), world.reset.keys
    for password in ("", "wrong"):
        with pytest.raises(NotAuthenticated):
            use.ask(nina, SESSION, "blue key", password)
    world.register()
    with pytest.raises(NotAuthenticated):
        use.remove(nina, "blue key", "wrong")
    assert keys(world) == ["blue key"]


def test_registration_1_of_somebody_who_is_not_asked_for_one_there_is_none() -> None:
    world = ResetWorld((Gate.MAIL,))
    with pytest.raises(Conflict, match="no reset of yours"):
        world.register_key()
    world.close()


def test_registration_2_counts_once_in_one_session_for_one_person(world: ResetWorld) -> None:
    device, asked = Authenticator(), begin(world)
    for name, session in (("nina", "another session"), ("olaf", SESSION)):
        with pytest.raises(Conflict, match="nothing waits"):
            confirm(world, device.make(asked), name, session)
    with pytest.raises(InvalidInput):
        confirm(world, device.make(asked, flags=PRESENT))
    with pytest.raises(Conflict, match="nothing waits"):
        confirm(world, device.make(asked))
    asked = begin(world)
    world.clock.move(minutes=15)
    with pytest.raises(Conflict, match="nothing waits"):
        confirm(world, device.make(asked))
    assert keys(world) == []


def test_registration_2_no_code_stands_for_a_key(world: ResetWorld) -> None:
    begin(world)
    with pytest.raises(Conflict, match="not confirmed by a code"):
        world.reset.registrations.confirm(world.everyday("nina"), SESSION, Gate.KEY, "x", HOME_PLACE)
    with pytest.raises(Conflict):
        world.reset.registrations.begin(world.everyday("nina"), SESSION, Gate.KEY, "x", PASSWORD, HOME_PLACE)


@pytest.mark.parametrize("wrong", [*WRONG, {"type": "webauthn.get"}], ids=_name)
def test_registration_3_an_answer_that_does_not_count(world: ResetWorld, wrong: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput, match=r"not accepted|part of another"):
        confirm(world, Authenticator().make(begin(world), **wrong))
    assert keys(world) == []


def test_registration_3_the_key_keeps_its_entry_beside_that_of_sign_ins(world: ResetWorld) -> None:
    said = json.loads(begin(world).options)
    chosen = said["authenticatorSelection"]
    assert (chosen["residentKey"], chosen["userVerification"]) == ("required", "required")
    sign_ins = world.services.security_keys.ask_to_register(world.everyday("nina"), SESSION)
    other = json.loads(sign_ins.options)
    assert said["rp"] == other["rp"]
    assert said["user"]["id"] != other["user"]["id"]


def test_registration_4_at_most_five_each_once_each_with_a_name_of_its_own(world: ResetWorld) -> None:
    device = world.register_key(called="key 0")
    asked = begin(world, "another name")
    assert [one["id"] for one in json.loads(asked.options)["excludeCredentials"]]
    with pytest.raises(Conflict, match="registered already"):
        confirm(world, device.make(asked))
    with pytest.raises(Conflict, match="that name already"):
        begin(world, "KEY 0")
    for bad in ("", "x" * 61, "a\u202eb"):
        with pytest.raises(InvalidInput):
            begin(world, bad)
    for number in range(1, MOST):
        world.register_key(called=f"key {number}")
    with pytest.raises(Conflict, match="limit is 5"):
        begin(world, "one more")


def test_registration_4_a_row_that_was_written_by_hand_is_no_key(world: ResetWorld) -> None:
    """What is sealed to Nina by somebody else does not open: only who has the key of the service makes a key of hers."""
    world.register()
    nina = world.everyday("nina").sid
    with world.store.write() as uow:
        held = uow.resets.registration(nina)
        assert held is not None
        contents = unseal(world.adapters.sealer, nina, held.sealed)
        forged = seal(world.adapters.sealer, Sid(f"{nina}0"), contents)
        uow.resets.register(replace(held, sealed=forged))
        uow.commit()
    with pytest.raises(StoreError):
        world.reset.registrations.standing(world.everyday("nina"))


def test_the_last_key_takes_the_gate_with_it(world: ResetWorld) -> None:
    world.register()
    spare = world.register_key(called="spare")
    nina = world.everyday("nina")
    world.reset.keys.remove(nina, "blue key", PASSWORD)
    assert world.reset.registrations.standing(nina).ready
    token = world.begin()
    assert world.show(token, spare.use(world.asked(token))).stage is Stage.CHOOSE
    world.reset.keys.remove(nina, "spare", PASSWORD)
    assert not world.reset.registrations.standing(nina).ready
    assert world.row(world.begin()).person == ""
    with pytest.raises(NotFound):
        world.reset.keys.remove(nina, "spare", PASSWORD)
    assert world.events().count("reset.key-removed") == 2


def test_a_key_is_registered_from_the_everyday_account_alone(world: ResetWorld) -> None:
    for name, forest in (("dave", Forest.PRIV), ("quinn", Forest.CORP)):
        actor = world.sign_in(name, forest)
        with pytest.raises(Exception, match=r"everyday accounts|never reset"):
            world.reset.keys.ask(actor, SESSION, "blue key", f"{name}-{forest.value}-pw")
