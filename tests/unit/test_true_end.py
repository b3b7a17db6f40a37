"""The end that people are told: never before the last ticket is over."""

from datetime import datetime, timedelta

import httpx

from bastide.domain.ids import Sid
from bastide.domain.requests import State
from bastide.domain.roles import Enforcer
from tests.support.grants import CAP, SHORT
from tests.support.world import World
from tests.unit.test_cli_client import ID, REQUEST, answer, run

pytest_plugins = ["tests.support.grants"]
LATE = timedelta(seconds=40)


def _tickets_end(world: World, account: Sid) -> datetime:
    """When a ticket that is bought now is over."""
    return world.priv.buy_ticket(account, world.clock.now()).until


def test_where_the_worker_is_late_the_end_is_as_late(world: World) -> None:
    """A controller whose clock is behind sold tickets after the account's own end, until the membership was gone."""
    role = world.ready(ttl=SHORT)
    request = world.ask(role.name)
    world.work()
    active = world.get(request)
    assert active.ends_at is not None
    world.clock.moment = active.ends_at + LATE
    assert not world.opens_share(world.services.accounts.users(world.dave)[0])
    world.work()
    ended = world.get(request)
    assert ended.state is State.EXPIRED
    assert ended.true_end == active.ends_at + LATE + CAP


def test_an_account_that_another_grant_keeps_open_sells_tickets_until_the_removal(world: World) -> None:
    role = world.ready(ttl=SHORT)
    world.prepare_group("DbAdmins")
    other = world.add_role("Databases", privileges=("PAM-DbAdmins",))
    first = world.ask(role.name)
    world.ask(other.name, ttl=timedelta(hours=1))
    world.work()
    alice = world.services.accounts.users(world.dave)[0]
    ends_at = world.get(first).ends_at
    assert ends_at is not None
    world.clock.moment = ends_at + LATE
    last = _tickets_end(world, alice.priv.sid)
    world.work()
    true_end = world.get(first).true_end
    assert true_end is not None
    assert true_end >= last


def test_an_account_that_was_opened_again_meanwhile_is_no_proof(world: World) -> None:
    """A grant that began and was killed between the end and its removal: the account was open for tickets with the old group in them."""
    role = world.ready(ttl=SHORT)
    request = world.ask(role.name)
    world.work()
    active = world.get(request)
    alice = world.services.accounts.users(world.dave)[0]
    assert active.ends_at is not None
    world.clock.moment = active.ends_at + LATE
    priv = world.services.forests[world.priv.forest]
    priv.set_ends({alice.priv.sid: world.clock.now() + timedelta(seconds=1)})
    last = _tickets_end(world, alice.priv.sid)
    world.clock.move(seconds=5)
    world.work()
    true_end = world.get(request).true_end
    assert true_end is not None
    assert true_end >= last


def test_where_only_a_removal_ends_it_the_end_is_said_when_it_was_seen(world: World) -> None:
    world.prepare("alice", kept_alive=True)
    world.prepare_group()
    role = world.add_role(floor=Enforcer.REMOVAL, ttl=SHORT)
    request = world.ask(role.name)
    world.work()
    active = world.get(request)
    assert (active.state, active.true_end, active.directory_end) == (State.ACTIVE, None, None)
    assert active.ends_at is not None
    alice = world.services.accounts.users(world.dave)[0]
    world.clock.moment = active.ends_at + LATE
    last = _tickets_end(world, alice.priv.sid)
    world.work()
    true_end = world.get(request).true_end
    assert true_end is not None
    assert true_end >= last >= active.ends_at + CAP


def test_kill_answers_with_the_ends_that_were_read_back() -> None:
    looks = iter(["Closing", "Closed"])

    def handler(request: httpx.Request) -> httpx.Response:
        if request.method == "POST":
            return answer({"items": [{**REQUEST, "state": "Closing"}]})
        assert request.url.path.endswith(ID)
        return answer({**REQUEST, "state": next(looks), "true_end": "2026-11-20T09:31:00+00:00"})

    result = run(handler, "kill", "--all", "--reason", "incident", "--yes")
    assert result.exit_code == 0
    assert "2026-11-20 09:31:00 UTC" in result.stdout
    assert "10:15:00" not in result.stdout


def test_kill_claims_no_end_of_what_is_still_being_taken_away() -> None:
    def handler(request: httpx.Request) -> httpx.Response:
        closing = {**REQUEST, "state": "Closing"}
        return answer({"items": [closing]} if request.method == "POST" else closing)

    result = run(handler, "kill", "--all", "--reason", "incident", "--yes")
    assert result.exit_code == 0
    assert "10:15:00" not in result.stdout
    assert "1 are being taken away" in result.stderr
    assert '"true_end": null' in run(handler, "kill", "--all", "--reason", "x", "--yes", "--json").stdout
