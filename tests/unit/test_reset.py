"""Self-service reset from begin to end: what a person does, and the numbers of services/reset/journey.py and register.py."""

from datetime import timedelta

import pytest

from bastide.domain.errors import Conflict, InvalidInput, NotAuthenticated, NotAuthorized, TooManyTries
from bastide.domain.people import Actor, Forest
from bastide.domain.reset.flow import Choice, Stage
from bastide.domain.reset.gates import Gate
from bastide.services.reset.ports import NamedRule
from tests.support.reset_world import (
    ANSWERS,
    ELSEWHERE,
    HOME_PLACE,
    MAIL,
    NEW,
    NUMBER,
    QUESTIONS,
    SESSION,
    ResetWorld,
    app_code,
    together,
)

pytest_plugins = ["tests.support.reset_world"]


@pytest.fixture
def world(reset_world: ResetWorld) -> ResetWorld:
    return reset_world


def test_a_person_resets_and_every_system_has_the_new_password(world: ResetWorld) -> None:
    world.register()
    token = world.through()
    world.finish(token)
    assert world.password("nina", "corp") == world.password("nina", "crm") == NEW
    view = world.reset.journey.view(token)
    assert view is not None
    assert [(one.system, one.good, one.settled) for one in view.states] == [
        ("corp", True, True),
        ("crm", True, True),
    ]
    assert {"reset.begun", "reset.gate-passed", "reset.done", "reset.told"} <= set(world.events())


def test_all_contacts_are_told_afterwards(world: ResetWorld) -> None:
    world.register()
    world.finish(world.through())
    told = {message.to for _, message in world.notifier.taken if "By self-service" in message.body}
    assert told == {MAIL, "nina@corp.bastide.test"}


def test_unlock_keeps_the_password(world: ResetWorld) -> None:
    world.register()
    token = world.through()
    world.reset.journey.choose(token, Choice.UNLOCK, "", ELSEWHERE)
    assert world.password("nina", "crm") == ""
    view = world.reset.journey.view(token)
    assert view is not None
    assert {one.system for one in view.states} == {"corp", "crm"}
    assert view.reset.stage is Stage.USED


@pytest.mark.parametrize(
    "order", [(Gate.MAIL, Gate.SMS, Gate.TOTP, Gate.QUESTIONS), (Gate.TOTP, Gate.QUESTIONS, Gate.MAIL)]
)
def test_gates_in_any_combination(order: tuple[Gate, ...]) -> None:
    world = ResetWorld(order)
    uri = world.register()
    token = world.begin()
    for gate in order:
        world.deliver()
        assert world.row(token).gate is gate
        said = {"code": app_code(uri, world.clock.now()) if gate is Gate.TOTP else ""}
        if gate in {Gate.MAIL, Gate.SMS}:
            said = {"code": world.last_code(gate)}
        elif gate is Gate.QUESTIONS:
            view = world.reset.journey.view(token)
            assert view is not None
            said = {
                f"answer{n}": ANSWERS[QUESTIONS.index(q)].upper() for n, q in enumerate(view.questions, 1)
            }
        world.reset.journey.answer(token, gate, said, ELSEWHERE)
    world.finish(token)
    assert world.password("nina") == NEW


@pytest.mark.parametrize(
    "name", ["zoe", "olaf", "petra", "quinn", "OTHER\\nina", "nina@elsewhere.test", "", "x" * 400, "S-1-5-18"]
)
def test_1_a_reset_of_nobody_has_no_way_through(world: ResetWorld, name: str) -> None:
    world.register()
    token = world.begin(name)
    sent = len(world.notifier.taken)
    world.deliver()
    assert len(world.notifier.taken) == sent
    row = world.row(token)
    assert (row.person, row.gate) == ("", Gate.MAIL)
    with pytest.raises(InvalidInput, match="wrong, used up or too old"):
        world.reset.journey.answer(token, Gate.MAIL, {"code": ""}, ELSEWHERE)
    with pytest.raises(Conflict):
        world.reset.journey.choose(token, Choice.SET, NEW, ELSEWHERE)


def test_2_the_token_is_stored_as_a_hash_only(world: ResetWorld) -> None:
    world.register()
    token = world.begin()
    with world.store.engine.connect() as connection:
        stored = str(connection.exec_driver_sql("SELECT * FROM resets").all())
    assert token not in stored
    assert world.last_code().replace("-", "") not in stored


def test_3_an_attempt_counts_before_it_is_judged(world: ResetWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    world.register()
    token = world.begin()

    def broken(*_: object) -> None:
        raise RuntimeError

    monkeypatch.setattr(world.reset.journey._gates.__class__, "judge", broken)
    for _ in range(3):
        with pytest.raises(RuntimeError):
            world.reset.journey.answer(token, Gate.MAIL, {"code": "x"}, ELSEWHERE)
    with pytest.raises(TooManyTries):
        world.reset.journey.answer(token, Gate.MAIL, {"code": "x"}, ELSEWHERE)


def test_4_the_destination_is_that_of_the_registration_at_that_time(world: ResetWorld) -> None:
    world.register()
    token = world.begin()
    world.reset.registrations.begin(
        world.everyday("nina"), SESSION, Gate.MAIL, "new@home.example", "nina-corp-pw", HOME_PLACE
    )
    world.deliver()
    assert {message.to for _, message in world.notifier.taken[-2:]} == {MAIL, "new@home.example"}
    draft = next(m.body for _, m in world.notifier.taken if m.to == "new@home.example")
    code = draft.split("code is ")[1][:9]
    world.reset.registrations.confirm(world.everyday("nina"), SESSION, Gate.MAIL, code, HOME_PLACE)
    world.reset.journey.send_again(token, ELSEWHERE)
    world.deliver()
    assert world.notifier.taken[-1][1].to == "new@home.example"


def test_4_a_code_of_one_reset_is_none_of_another(world: ResetWorld) -> None:
    world.register()
    world.add_everyday("rosa")
    world.register("rosa")
    mine = world.begin("rosa")
    world.deliver()
    code = world.last_code()
    theirs = world.begin("nina")
    with pytest.raises(InvalidInput):
        world.reset.journey.answer(theirs, Gate.MAIL, {"code": code}, ELSEWHERE)
    second = world.begin("rosa")
    with pytest.raises(InvalidInput):
        world.reset.journey.answer(second, Gate.MAIL, {"code": code}, ELSEWHERE)
    assert world.reset.journey.answer(mine, Gate.MAIL, {"code": code}, ELSEWHERE).stage is Stage.CHOOSE


def test_4_a_sealed_code_that_was_put_into_another_row_opens_nothing(world: ResetWorld) -> None:
    world.register()
    world.add_everyday("rosa")
    world.register("rosa")
    mine, theirs = world.begin("rosa"), world.begin("nina")
    world.deliver()
    own, other = world.row(mine), world.row(theirs)
    with world.store.write() as uow:
        fields = {name: getattr(other, name) for name in other.__slots__} | {"sealed_code": own.sealed_code}
        uow.resets.put(type(other)(**fields))
        uow.commit()
    with pytest.raises(Exception, match="another row"):
        world.reset.journey.answer(theirs, Gate.MAIL, {"code": "x"}, ELSEWHERE)


def test_5_of_two_that_show_the_same_code_at_once_one_is_refused() -> None:
    world = ResetWorld((Gate.MAIL, Gate.TOTP))
    world.register()
    token = world.begin()
    world.deliver()
    said = {"code": world.last_code()}
    results = together(2, lambda _: world.reset.journey.answer(token, Gate.MAIL, said, ELSEWHERE))
    assert sorted(isinstance(one, Exception) for one in results) == [False, True]
    assert world.row(token).passed == 1


def test_5_a_code_of_an_authenticator_counts_once() -> None:
    world = ResetWorld((Gate.TOTP,))
    uri = world.register()
    code = {"code": app_code(uri, world.clock.now())}
    first, second = world.begin(), world.begin()
    world.reset.journey.answer(first, Gate.TOTP, code, ELSEWHERE)
    with pytest.raises(InvalidInput):
        world.reset.journey.answer(second, Gate.TOTP, code, ELSEWHERE)


def test_5_a_reset_is_used_once(world: ResetWorld) -> None:
    world.register()
    token = world.through()
    results = together(3, lambda n: world.reset.journey.choose(token, Choice.SET, f"{NEW}{n}", ELSEWHERE))
    assert sorted(isinstance(one, Conflict) for one in results) == [False, True, True]


def test_6_somebody_who_became_privileged_meanwhile_goes_no_further(world: ResetWorld) -> None:
    world.register()
    token = world.through()
    world.services.accounts.add_user(world.dave, "nina")
    with pytest.raises(Conflict, match="over"):
        world.reset.journey.choose(token, Choice.SET, NEW, ELSEWHERE)


def test_6_dead_if_the_password_was_changed_since(world: ResetWorld) -> None:
    world.register()
    first, second = world.through(), world.begin()
    world.deliver()
    code = {"code": world.last_code()}
    world.clock.move(seconds=1)
    world.finish(first)
    with pytest.raises(Conflict):
        world.reset.journey.answer(second, Gate.MAIL, code, ELSEWHERE)


@pytest.mark.parametrize(
    ("password", "why"),
    [
        ("short1A", "shorter than 10"),
        ("alllowercase", "three kinds"),
        ("Nina-1234567", "account's name"),
        ("Password-2024", "lost"),
    ],
)
def test_7_a_refusal_is_explained_and_the_reset_goes_on(world: ResetWorld, password: str, why: str) -> None:
    world.register()
    token = world.through()
    with pytest.raises(InvalidInput, match=why) as caught:
        world.reset.journey.choose(token, Choice.SET, password, ELSEWHERE)
    assert password not in str(caught.value)
    world.finish(token)
    assert world.password("nina") == NEW


def test_7_the_rules_are_shown_before(world: ResetWorld) -> None:
    world.register()
    view = world.reset.journey.view(world.through())
    assert view is not None
    assert "At least 10 characters." in view.rules
    assert any("your last 24" in one for one in view.rules)


def test_8_other_resets_of_the_person_are_over(world: ResetWorld) -> None:
    world.register()
    first, second = world.through(), world.begin()
    world.finish(first)
    assert world.reset.journey.view(second) is None


# ------------------------------------------------------------------------------------------------------------ cooling off


def cooling() -> ResetWorld:
    world = ResetWorld(rules=[NamedRule(gates=(Gate.MAIL,), cooling=timedelta(hours=2))])
    world.register()
    return world


def test_cooling_off_comes_before_the_choice() -> None:
    world = cooling()
    token = world.through()
    with pytest.raises(Conflict):
        world.reset.journey.choose(token, Choice.SET, NEW, ELSEWHERE)
    world.deliver()
    world.clock.move(hours=2)
    world.finish(token)
    assert world.password("nina") == NEW


def test_this_was_not_me_stops_it() -> None:
    world = cooling()
    token = world.through()
    world.deliver()
    code = world.last_code()
    world.reset.journey.stop(code.lower().replace("-", " "), HOME_PLACE)
    world.clock.move(hours=2)
    with pytest.raises(Conflict):
        world.finish(token)
    with pytest.raises(InvalidInput):
        world.reset.journey.stop(code, HOME_PLACE)
    assert "reset.stopped" in world.events()


# ----------------------------------------------------------------------------------------------------------- registration


def test_registration_1_takes_the_password_again(world: ResetWorld) -> None:
    with pytest.raises(NotAuthenticated):
        world.reset.registrations.begin(world.everyday("olaf"), SESSION, Gate.MAIL, MAIL, "wrong", HOME_PLACE)


@pytest.mark.parametrize("name", ["quinn", "alice"])
def test_registration_2_privileged_accounts_register_nothing(world: ResetWorld, name: str) -> None:
    world.prepare("alice")
    with pytest.raises(NotAuthorized):
        world.reset.registrations.begin(
            world.everyday(name), SESSION, Gate.MAIL, MAIL, f"{name}-corp-pw", HOME_PLACE
        )


def _other(world: ResetWorld) -> Actor:
    return world.everyday("olaf")


def test_registration_3_a_code_belongs_to_the_session_the_person_and_the_gate(world: ResetWorld) -> None:
    nina, use = world.everyday("nina"), world.reset.registrations
    use.begin(nina, SESSION, Gate.MAIL, MAIL, "nina-corp-pw", HOME_PLACE)
    world.deliver()
    code = world.last_code()
    for actor, session, gate in (
        (nina, "another", Gate.MAIL),
        (_other(world), SESSION, Gate.MAIL),
        (nina, SESSION, Gate.SMS),
    ):
        with pytest.raises(Conflict):
            use.confirm(actor, session, gate, code, HOME_PLACE)
    use.confirm(nina, SESSION, Gate.MAIL, code, HOME_PLACE)
    with pytest.raises(Conflict):
        use.confirm(nina, SESSION, Gate.MAIL, code, HOME_PLACE)


def test_registration_3_a_code_is_tried_five_times_and_counts_a_quarter_of_an_hour(world: ResetWorld) -> None:
    nina, use = world.everyday("nina"), world.reset.registrations
    use.begin(nina, SESSION, Gate.MAIL, MAIL, "nina-corp-pw", HOME_PLACE)
    world.deliver()
    code = world.last_code()
    for _ in range(5):
        with pytest.raises(InvalidInput):
            use.confirm(nina, SESSION, Gate.MAIL, "2222-2222", HOME_PLACE)
    with pytest.raises(Conflict):
        use.confirm(nina, SESSION, Gate.MAIL, code, HOME_PLACE)
    use.begin(nina, SESSION, Gate.MAIL, MAIL, "nina-corp-pw", HOME_PLACE)
    world.deliver()
    world.clock.move(minutes=15)
    with pytest.raises(Conflict):
        use.confirm(nina, SESSION, Gate.MAIL, world.last_code(), HOME_PLACE)


def test_registration_4_what_was_registered_before_stays_until_the_code(world: ResetWorld) -> None:
    world.register()
    before = world.reset.registrations.standing(world.everyday("nina"))
    world.reset.registrations.begin(
        world.everyday("nina"), SESSION, Gate.MAIL, "x@home.example", "nina-corp-pw", HOME_PLACE
    )
    assert world.reset.registrations.standing(world.everyday("nina")) == before
    assert before.ready
    assert before.mail == "n***@home.example"


def test_nothing_that_is_stored_or_told_to_the_audit_holds_a_destination_or_an_answer() -> None:
    world = ResetWorld((Gate.MAIL, Gate.SMS, Gate.QUESTIONS))
    world.register()
    with world.store.engine.connect() as connection:
        stored = "".join(
            str(connection.exec_driver_sql(f"SELECT * FROM {t}").all())
            for t in ("reset_registrations", "resets", "reset_counts", "audit")
        )
    for secret in (MAIL, NUMBER, "truppi", "elmgrove"):
        assert secret not in stored


def test_everyday_accounts_of_a_bastion_alone_can_reset_too(world: ResetWorld) -> None:
    assert world.reset.administration.rules(world.frank, "nina").excluded == ""
    assert world.reset.administration.rules(world.frank, "quinn").excluded
    assert world.sign_in("nina", Forest.CORP).forest is Forest.CORP


def test_administrators_see_who_waits_and_unlock(world: ResetWorld) -> None:
    world.register()
    token = world.begin()
    for _ in range(3):
        with pytest.raises(InvalidInput):
            world.reset.journey.answer(token, Gate.MAIL, {"code": "x"}, ELSEWHERE)
    with pytest.raises(TooManyTries):
        world.begin()
    state = world.reset.administration.state(world.frank)
    assert [(one.name, one.everywhere) for one in state.locked] == [("nina", False)]
    assert state.registered == 1
    assert world.reset.administration.unlock(world.dave, "CORP\\nina") == "nina"
    world.begin()
    with pytest.raises(NotAuthorized):
        world.reset.administration.unlock(world.frank, "nina")
