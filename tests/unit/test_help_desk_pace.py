"""Codes that go out: a stolen sign-in of an operator sends none to everybody, and no refusal of a mail server repeats one (services/help_desk/verify.py)."""

import pytest

from bastide.domain.errors import NotFound, TooManyTries
from bastide.domain.help_desk import Method
from bastide.domain.management_agents import MvId
from bastide.services.help_desk.pace import Act
from tests.support.help_desk import HelpDeskWorld, id_of
from tests.unit.test_help_desk import proved, sent

pytest_plugins = ["tests.support.help_desk"]


def test_2_beginning_to_verify_is_paced_for_each_operator(help_desk_world: HelpDeskWorld) -> None:
    world = help_desk_world
    who, (most, span) = world.operator(), Act.VERIFY.value
    nobody = MvId(id_of("mv nobody"))
    for _ in range(most):
        with pytest.raises(NotFound):
            world.desk.verify.begin(who, nobody, Method.SENT)
    with pytest.raises(TooManyTries):
        world.desk.verify.begin(who, nobody, Method.SENT)
    with pytest.raises(NotFound):
        world.desk.verify.begin(world.operator("otto"), nobody, Method.SENT)
    world.clock.move(seconds=span.total_seconds() + 1)
    with pytest.raises(NotFound):
        world.desk.verify.begin(world.operator(), nobody, Method.SENT)


def test_what_a_mail_server_quotes_is_not_repeated(help_desk_world: HelpDeskWorld) -> None:
    """The notifier keeps these out of a problem, which the operator and the audit would read."""
    world = help_desk_world
    proved(world)
    message = world.notifier.taken[-1][1]
    assert {message.to, sent(world)} <= set(message.secrets)
