"""Targets that speak nonsense, cannot be believed, or cannot be used as they are configured."""

from collections.abc import Callable
from pathlib import Path

import pytest

from bastide import wire
from bastide.wire import Answer, FromServer, Notification, Verdict, Welcome
from bastide_agent.channel import address_of, principal_of
from bastide_agent.failures import Refused, SealBroken, Unusable
from tests.support.agent import target
from tests.support.agent_delivery import RETRY, World
from tests.unit.test_pcns import NO_ADDRESSES, NO_PRINCIPALS


def answering(wrong: FromServer) -> Callable[[Notification], FromServer]:
    return lambda _one: wrong


def test_a_target_that_speaks_nonsense_gets_it_again_later(tmp_path: Path) -> None:
    world = World(tmp_path)
    for wrong in (Welcome(version=1, node="x"), Answer(reference="other", verdict=Verdict.ACCEPTED)):
        world.server.decide = answering(wrong)
        world.queue("1")
        assert world.work() == pytest.approx(RETRY)
        world.clock.advance(RETRY)
    assert len(world.log.of(6025)) == 2
    assert world.spool.waiting() == 1


@pytest.mark.parametrize(
    ("error", "number"),
    [(SealBroken("changed"), 6022), (Refused("not a controller"), 4301), (Refused("soon", 7), 2202)],
)
def test_a_handshake_that_fails_keeps_the_change(tmp_path: Path, error: Exception, number: int) -> None:
    world = World(tmp_path)
    world.server.on_connect = error
    world.queue("1")
    assert world.work() == pytest.approx(7 if number == 2202 else RETRY)
    assert number in world.log.numbers()
    assert world.spool.waiting() == 1


def test_a_target_that_cannot_be_used_waits_for_its_configuration(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.server.on_connect = Unusable("no such principal")
    world.queue("1")
    world.work()
    world.clock.advance(7200)
    world.work()
    assert world.log.of(6027) == [{"target": "one", "detail": "no such principal"}]
    assert world.spool.waiting() == 1


@pytest.mark.parametrize(
    ("server", "expected"),
    [
        ("srv.test", ("srv.test", wire.PORT)),
        ("srv.test:99", ("srv.test", 99)),
        (" srv.test ", ("srv.test", wire.PORT)),
        ("10.0.0.1:1", ("10.0.0.1", 1)),
    ],
)
def test_addresses(server: str, expected: tuple[str, int]) -> None:
    assert address_of(target(server=server)) == expected


@pytest.mark.parametrize("server", ["", *NO_ADDRESSES])
def test_addresses_that_are_none(server: str) -> None:
    with pytest.raises(Unusable):
        address_of(target(server=server))


def test_principals() -> None:
    assert principal_of(target(spn="PCNSCLNT/srv.test"), "CORP.TEST") == "PCNSCLNT/srv.test@CORP.TEST"
    assert (
        principal_of(target(spn="PCNSCLNT/srv.test@PRIV.TEST"), "CORP.TEST") == "PCNSCLNT/srv.test@PRIV.TEST"
    )
    for wrong in ("", *NO_PRINCIPALS):
        with pytest.raises(Unusable):
            principal_of(target(spn=wrong), "CORP.TEST")
    with pytest.raises(Unusable, match="authentication service 10"):
        principal_of(target(authentication_service=10), "CORP.TEST")
