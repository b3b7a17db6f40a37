"""Self-service reset under attack: guessing from many addresses at the same time, locking somebody out, finding out who exists, spending somebody's money."""

import asyncio
import statistics
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from bastide.domain.errors import InvalidInput, TooManyTries
from bastide.domain.people import Forest
from bastide.domain.reset import lockout
from bastide.domain.reset.flow import Stage
from bastide.domain.reset.gates import Gate
from bastide.portal.reset import COOKIE
from bastide.services.reset.ports import NamedRule
from bastide.wiring import assemble
from tests.support.api import app_over
from tests.support.portal import Page
from tests.support.reset_world import ELSEWHERE, HOME_PLACE, NUMBER, ResetWorld, app_code, together
from tests.support.stores import with_schema
from tests.support.world import ADDRESS

pytest_plugins = ["tests.support.reset_world"]
HOSTS = [f"192.0.2.{number}" for number in range(1, 41)]
#: Of a person and of nobody: so many answers each.
SAMPLES = 40


@pytest.fixture
def world(reset_world: ResetWorld) -> ResetWorld:
    return reset_world


@pytest.fixture
def shared(tmp_path: Path) -> Iterator[ResetWorld]:
    """A database in a file, for many threads."""
    url = with_schema(tmp_path / "bastide.db")
    made = ResetWorld((Gate.MAIL,), url=url)
    yield made
    made.close()


def guess(world: ResetWorld, address: str, tries: int, name: str = "nina") -> int:
    """How many answers were judged before the door shut."""
    judged = 0
    try:
        token = world.begin(name, address)
        for _ in range(tries):
            try:
                world.reset.journey.answer(token, Gate.MAIL, {"code": "2222-2222"}, address)
            except InvalidInput:
                judged += 1
    except TooManyTries:
        pass
    return judged


def test_16_a_campaign_from_many_addresses_at_once_ends_at_the_limit(shared: ResetWorld) -> None:
    shared.register()
    judged = together(8, lambda n: sum(guess(shared, host, 5) for host in HOSTS[n * 5 : n * 5 + 5]))
    assert all(isinstance(one, int) for one in judged), judged
    assert sum(one for one in judged if isinstance(one, int)) <= lockout.NAME.most
    with pytest.raises(TooManyTries):
        shared.begin("nina", "192.0.2.200")


def test_16_an_outsider_locks_nobody_out(shared: ResetWorld) -> None:
    """After the campaign the person's own address is open: codes are sent, and the reset goes through."""
    shared.register()
    for host in HOSTS[:12]:
        guess(shared, host, 5)
    shared.deliver()
    token = shared.through("nina", HOME_PLACE)
    shared.finish(token, address=HOME_PLACE)
    assert shared.row(token).stage is Stage.USED


def waits(world: ResetWorld, name: str, place: str) -> bool:
    """What anybody sees there who begins a reset of that name."""
    try:
        world.begin(name, place)
    except TooManyTries:
        return True
    return False


#: Registered; disabled, excluded, unknown.
NAMES = ("nina", "petra", "quinn", "nobody.at.all")


def test_16_who_is_registered_is_not_told_by_who_waits(world: ResetWorld) -> None:
    """A breaker's: from where Nina registered her name went on after guesses from elsewhere, and names that are not registered waited there."""
    world.register("nina")
    names = (*NAMES, "olaf")
    for name in names:
        for host in HOSTS[:8]:
            guess(world, host, 5, name)
    assert {waits(world, name, ELSEWHERE) for name in names} == {True}
    assert {waits(world, name, HOME_PLACE) for name in names} == {False}


def test_16_guesses_of_insiders_come_to_an_end_as_well_and_tell_nothing(world: ResetWorld) -> None:
    """Addresses that people registered from have a count of their own: it is the same for a name that nobody registered."""
    near = HOSTS[20:24]
    world.register("nina")
    for host in near:
        world.register("olaf", address=host)
    judged = dict.fromkeys(NAMES, 0)
    for _ in range(2):
        world.clock.move(hours=1)
        for name in NAMES:
            judged[name] += sum(guess(world, host, 5, name) for host in near)
    assert set(judged.values()) == {lockout.NAME.most}
    assert {waits(world, name, HOME_PLACE) for name in NAMES} == {True}
    assert {waits(world, name, ELSEWHERE) for name in NAMES} == {False}, "that is another count"
    world.reset.administration.unlock(world.dave, "nina")
    assert not waits(world, "nina", HOME_PLACE)


def test_16_a_burst_at_one_address_is_counted_like_a_row(shared: ResetWorld) -> None:
    shared.register()
    token = shared.begin()
    results = together(
        10, lambda _: shared.reset.journey.answer(token, Gate.MAIL, {"code": "2222-2222"}, ELSEWHERE)
    )
    assert sum(isinstance(one, InvalidInput) for one in results) == lockout.PAIR.most
    assert all(isinstance(one, InvalidInput | TooManyTries) for one in results)


def test_16_one_address_that_sprays_over_many_names_is_shut(world: ResetWorld) -> None:
    judged = sum(guess(world, ELSEWHERE, 2, f"somebody{number}") for number in range(40))
    assert judged == lockout.ADDRESS.most


def test_16_each_lock_is_twice_as_long_and_a_restart_forgets_nothing(world: ResetWorld) -> None:
    world.register()
    for minutes in (15, 30, 60):
        assert guess(world, ELSEWHERE, 5) == 3
        world.clock.move(minutes=minutes - 1)
        world.services = assemble(world.adapters, world._preparation(), address=ADDRESS)
        with pytest.raises(TooManyTries):
            world.begin("nina", ELSEWHERE)
        world.clock.move(minutes=1)


def test_16_the_permanent_lock_is_off_unless_somebody_pays_its_price() -> None:
    for after, wanted in ((0, False), (1, True)):
        world = ResetWorld((Gate.MAIL,), permanent_after=after)
        world.register()
        for host in HOSTS[:8]:
            guess(world, host, 5)
        world.clock.move(hours=23)
        locked = False
        try:
            world.begin("nina", HOME_PLACE)
        except TooManyTries:
            locked = True
        assert locked is wanted
        if wanted:
            world.reset.administration.unlock(world.dave, "nina")
            world.begin("nina", HOME_PLACE)
        world.close()


def test_16_a_gate_that_was_passed_gives_no_new_guesses_at_the_next() -> None:
    """Who reads the person's mail still has three tries for the authenticator, not three for each reset."""
    world = ResetWorld((Gate.MAIL, Gate.TOTP))
    world.register()
    judged = 0
    try:
        while judged < 20:
            token = world.through()
            for _ in range(2):
                try:
                    world.reset.journey.answer(token, Gate.TOTP, {"code": "000000"}, ELSEWHERE)
                except InvalidInput:
                    judged += 1
    except TooManyTries:
        pass
    assert judged == lockout.PAIR.most


def test_16_a_reset_ends_after_eight_wrong_answers(world: ResetWorld) -> None:
    world.register()
    token = world.begin("nina", HOME_PLACE)
    for number in range(8):
        with pytest.raises(InvalidInput):
            world.reset.journey.answer(token, Gate.MAIL, {"code": "x"}, f"198.51.100.{number}")
    assert world.reset.journey.view(token) is None


def test_17_messages_have_budgets_by_name_and_number() -> None:
    costly = ResetWorld((Gate.SMS,))
    costly.register()
    for host in HOSTS:
        costly.begin("nina", host)
        costly.deliver()
    assert len(costly.texts.taken) == lockout.SEND_DESTINATION.most * 4 // 5
    kept = len(costly.texts.taken)
    token = costly.begin("nina", HOME_PLACE)
    costly.deliver()
    assert len(costly.texts.taken) == kept + 1, "a fifth is kept for the person's own address"
    costly.reset.journey.answer(token, Gate.SMS, {"code": costly.last_code(Gate.SMS)}, HOME_PLACE)
    assert costly.texts.taken[-1][0] == NUMBER
    costly.close()


def test_17_a_budget_for_all_together() -> None:
    world = ResetWorld((Gate.SMS,), texts_per_day=5)
    for name in ("nina", "olaf"):
        world.register(name)
    sent = len(world.texts.taken)
    assert sent == 2
    for host in HOSTS[:6]:
        world.begin("nina", host)
        world.begin("olaf", host)
    world.deliver()
    assert len(world.texts.taken) == 4, "four fifths of five, the two of the registration among them"
    assert "reset.code-withheld" in world.events()
    world.close()


def test_16_this_was_not_me_is_shut_to_nobody_by_others_at_the_same_address() -> None:
    """A breaker's: wrong codes from the office's address, whenever it was free again, until the time to cool off was over."""
    world = ResetWorld(rules=(NamedRule(gates=(Gate.MAIL,), cooling=timedelta(hours=8)),))
    world.register(address=HOME_PLACE)
    token = world.through(address=HOME_PLACE)
    world.deliver()
    code, said = world.last_code(), []
    for _ in range(lockout.PAIR.most + 2):
        with pytest.raises((InvalidInput, TooManyTries)) as refused:
            world.reset.journey.stop("AAAA-BBBB-CCCC-DDDD", HOME_PLACE)
        said.append(refused.type)
    assert said == [InvalidInput] * lockout.PAIR.most + [TooManyTries] * 2, "wrong ones are counted"
    world.reset.journey.stop(code, HOME_PLACE)
    assert "reset.stopped" in world.events()
    assert world.reset.journey.view(token) is None
    world.begin(address=HOME_PLACE)
    world.close()


def test_18_a_code_works_once_also_for_two_at_the_same_moment(shared: ResetWorld) -> None:
    shared.register()
    token = shared.begin()
    shared.deliver()
    code = {"code": shared.last_code()}
    results = together(6, lambda _: shared.reset.journey.answer(token, Gate.MAIL, code, ELSEWHERE))
    assert sum(not isinstance(one, Exception) for one in results) == 1


def test_18_a_new_code_ends_the_one_before(world: ResetWorld) -> None:
    world.register()
    token = world.begin()
    world.deliver()
    old = world.last_code()
    world.reset.journey.send_again(token, ELSEWHERE)
    world.deliver()
    with pytest.raises(InvalidInput):
        world.reset.journey.answer(token, Gate.MAIL, {"code": old}, ELSEWHERE)
    world.reset.journey.answer(token, Gate.MAIL, {"code": world.last_code()}, ELSEWHERE)


def test_a_guesser_at_the_reset_does_not_lock_the_authenticator_itself() -> None:
    world = ResetWorld((Gate.TOTP,))
    uri = world.register()
    for host in HOSTS[:6]:
        token = world.begin("nina", host)
        for _ in range(3):
            with pytest.raises(InvalidInput):
                world.reset.journey.answer(token, Gate.TOTP, {"code": "000000"}, host)
    token = world.begin("nina", HOME_PLACE)
    code = app_code(uri, world.clock.now())
    assert world.reset.journey.answer(token, Gate.TOTP, {"code": code}, HOME_PLACE).stage is Stage.CHOOSE
    world.close()


# ------------------------------------------------------------------------------------------------------- over the real app


async def _guess_over_http(app: Any, address: str, name: str) -> list[int]:
    transport = httpx.ASGITransport(app=app, client=(address, 40000))
    statuses = []
    async with httpx.AsyncClient(transport=transport, base_url=ADDRESS) as client:
        begun = await client.post("/reset/start", data={"account": name})
        statuses.append(begun.status_code)
        cookie = begun.cookies.get(COOKIE)
        if cookie:
            client.cookies.set(COOKIE, cookie)
            page = await client.get("/reset")
            token = Page(page).form("/reset/leave").fields["form_token"]
            for _ in range(4):
                said = {"gate": "mail", "code": "2222-2222", "form_token": token}
                statuses.append((await client.post("/reset/gate", data=said)).status_code)
    return statuses


def test_16_threads_over_the_real_app_from_several_addresses(shared: ResetWorld) -> None:
    shared.register()
    with app_over(shared.services) as app:
        results = together(8, lambda n: asyncio.run(_guess_over_http(app, HOSTS[n], "nina")))
    seen = [status for one in results if isinstance(one, list) for status in one]
    assert set(seen) <= {303, 422, 429}, results
    assert seen.count(422) <= lockout.NAME.most
    assert seen.count(429)


async def _one_answer(app: Any, address: str, name: str) -> tuple[int, int, float]:
    transport = httpx.ASGITransport(app=app, client=(address, 40000))
    async with httpx.AsyncClient(transport=transport, base_url=ADDRESS) as client:
        began = time.perf_counter()
        answer = await client.post("/reset/start", data={"account": name})
        took = time.perf_counter() - began
        client.cookies.set(COOKIE, answer.cookies[COOKIE])
        page = await client.get("/reset")
        return answer.status_code, len(page.content), took


def test_15_answers_of_known_unknown_disabled_and_unregistered_people_are_alike(tmp_path: Path) -> None:
    """Status and length of all are equal. Times: the difference of medians is small against what answers of one person differ by themselves."""
    world = ResetWorld((Gate.MAIL,), pace=timedelta(milliseconds=25))
    clock = world.services.clock
    clock.monotonic = time.monotonic  # type: ignore[method-assign]
    world.register()
    names = ("nina", "zoe", "petra", "olaf", "quinn")
    times: dict[str, list[float]] = {name: [] for name in names}
    seen = set()
    with app_over(world.services) as app:
        for turn in range(SAMPLES):
            for name in names:  # in turns: a load that comes and goes is the same for all
                host = f"2001:db8:{turn:x}:{names.index(name):x}::1"
                status, length, took = asyncio.run(_one_answer(app, host, name))
                seen.add((status, length))
                times[name].append(took)
    assert len(seen) == 1
    own = times["nina"]
    spread = statistics.quantiles(own, n=4)
    for name in names[1:]:
        apart = abs(statistics.median(times[name]) - statistics.median(own))
        assert apart <= max(spread[2] - spread[0], 0.02), (name, apart)
    world.close()


def test_27_a_reset_tries_no_password_anywhere(world: ResetWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    world.register()

    def tried(*_: object) -> None:
        raise AssertionError("a password was tried")

    monkeypatch.setattr(world.adapters.realms[Forest.CORP].passwords.__class__, "check", tried)
    for system in world.systems.systems.values():
        monkeypatch.setattr(system, "verify", tried, raising=False)
    world.finish(world.through())
    assert "reset.done" in world.events()
