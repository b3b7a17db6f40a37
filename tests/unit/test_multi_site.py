"""docs/how-to/multi-site.md: each of the four ways with its line cut, and its settings taken by the program."""

import re
import tomllib
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest

from bastide.config import Config
from bastide.domain.errors import Conflict, DirectoryUnavailable, StoreUnavailable
from bastide.domain.people import PamUser
from bastide.domain.requests import State
from bastide.services.recovery import begin
from bastide.store import migrations
from bastide.store.unit_of_work import SqlStore
from bastide.wiring import assemble
from bastide.workers import jobs
from bastide.workers.runner import Runner
from tests.support.grants import CAP, SHORT
from tests.support.world import ADDRESS, World

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "multi-site.md"
#: What each of them needs besides.
BASE: dict[str, Any] = {
    "keys": {"master": "/m", "signing": "/s"},
    "priv": {
        "domain": "priv.example.com",
        "principal": "svc@PRIV",
        "keytab": "/k",
        "users_container": "U",
        "groups_container": "G",
    },
    "rights": {"administrators": ["A"], "auditors": [], "approvers": []},
}
HERE, THERE = "dc-lyon", "dc-oslo"


def merged(base: dict[str, Any], more: dict[str, Any]) -> dict[str, Any]:
    return base | {name: merged(base.get(name, {}), part) for name, part in more.items() if isinstance(part, dict)} | {
        name: part for name, part in more.items() if not isinstance(part, dict)
    }  # fmt: skip


def test_the_settings_of_each_way_are_taken() -> None:
    blocks = re.findall(r"```toml\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    found = [msgspec.convert(merged(BASE, tomllib.loads(block)), Config) for block in blocks]
    central, replicated, shared, independent = found
    assert len(central.priv.controllers) == len(replicated.priv.controllers) == 2
    assert shared.database.url.count("db-") == 3, "a vote for each of three sites"
    assert shared.database.mark
    assert independent.priv.domain != BASE["priv"]["domain"]
    assert independent.corp is not None


@pytest.fixture
def world() -> Iterator[World]:
    """PRIV at both sites; Bastide at the first."""
    made = World(priv_controllers=(HERE, THERE))
    yield made
    made.close()


def ready(world: World) -> PamUser:
    world.ready(ttl=SHORT)
    return world.services.accounts.users(world.dave)[0]


def cut_the_line(world: World) -> None:
    """The other site's controller hears nothing of Bastide, and nothing of this one's."""
    world.priv.isolate(THERE)
    world.priv.cut(THERE)


# ------------------------------------------------------------------------------------------------ one central bastion


def test_central_with_the_line_down_tickets_work_on_for_their_life_and_no_longer() -> None:
    world = World()
    try:
        alice = ready(world)
        request = world.ask()
        world.work()
        ticket = world.priv.buy_ticket(alice.priv.sid, world.clock.now())
        world.priv.cut("privdc")  # as the other site sees it
        with pytest.raises(DirectoryUnavailable):
            world.priv.buy_ticket(alice.priv.sid, world.clock.now())
        world.clock.move(seconds=CAP.total_seconds() - 60)
        assert world.corp.admits(ticket, world.share.ref.sid, world.clock.now())
        world.clock.move(minutes=2)
        assert not world.corp.admits(ticket, world.share.ref.sid, world.clock.now())
        world.priv.heal("privdc")
        world.work()
        assert world.get(request).state is State.EXPIRED
    finally:
        world.close()


# -------------------------------------------------------------------------------------------------- PRIV at each site


def test_replicated_with_the_line_down_access_goes_on_there_and_ends_there_in_time(world: World) -> None:
    alice = ready(world)
    request = world.ask()
    world.work()
    cut_the_line(world)
    world.clock.move(minutes=5)
    assert world.opens_share(alice, at=THERE), "with a ticket bought there just now"
    end = world.get(request).ends_at
    assert end is not None
    world.clock.moment = end
    assert not world.priv.can_buy_ticket(alice.priv.sid, world.clock.now(), at=THERE)


def test_replicated_with_the_line_down_what_is_asked_for_is_granted_here_only(world: World) -> None:
    alice = ready(world)
    cut_the_line(world)
    request = world.ask()
    world.work()
    assert world.get(request).state is State.ACTIVE
    assert world.opens_share(alice, at=HERE)
    assert not world.priv.can_buy_ticket(alice.priv.sid, world.clock.now(), at=THERE)
    world.priv.heal(THERE)
    assert world.opens_share(alice, at=THERE)


def test_replicated_an_early_end_does_not_reach_the_other_site_and_is_not_claimed(world: World) -> None:
    alice = ready(world)
    request = world.ask()
    world.work()
    cut_the_line(world)
    world.services.requests.kill(world.dave, "incident", request=request.id)
    world.work()
    assert world.get(request).state is State.CLOSING
    assert world.priv.can_buy_ticket(alice.priv.sid, world.clock.now(), at=THERE)
    world.priv.heal(THERE)
    world.work()
    assert world.get(request).state is State.CLOSED
    assert not world.priv.can_buy_ticket(alice.priv.sid, world.clock.now(), at=THERE)


# ------------------------------------------------------------------------------------------ one database for all sites


def test_shared_the_site_with_the_database_goes_on_and_takes_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A node at each site. The line breaks: the second one has no database any more."""
    url = f"sqlite:///{tmp_path}/bastide.db"
    migrations.upgrade(url)
    world = World(url=url, priv_controllers=(HERE, THERE))
    try:
        alice = ready(world)
        with closing(SqlStore(url)) as store:
            there = assemble(replace(world.adapters, store=store), world._preparation(), address=ADDRESS)
            runner = Runner(store=store, jobs=jobs.table(there), owner="node-2", clock=world.clock)
            request = world.ask()
            runner.run_due()
            for _ in range(20):
                world.clock.move(milliseconds=200)
                runner.run_due()
            assert world.get(request).state is State.ACTIVE, "asked at one site, done by the other"

            def away() -> None:
                raise StoreUnavailable("the database does not answer")

            monkeypatch.setattr(store, "write", away)
            monkeypatch.setattr(store, "read", away)
            cut_the_line(world)
            with pytest.raises(StoreUnavailable):
                there.nodes.ready()
            with pytest.raises(StoreUnavailable):
                there.requests.extend(world.alice(), request.id, timedelta(minutes=1))
            assert world.opens_share(alice, at=THERE)
            end = world.get(request).ends_at
            assert end is not None
            world.clock.moment = end + timedelta(seconds=1)
            assert not world.priv.can_buy_ticket(alice.priv.sid, world.clock.now(), at=THERE)
            world.clock.move(minutes=6)
            world.work()
            assert world.get(request).state is State.EXPIRED
    finally:
        world.close()


# ----------------------------------------------------------------------------------------------- independent bastions


@pytest.fixture
def sites() -> Iterator[tuple[World, World]]:
    """Two bastions, each with a PRIV forest of its own, for one CORP."""
    lyon = World(priv_domain="priv-lyon.bastide.test")
    oslo = World(priv_domain="priv-oslo.bastide.test", beside=lyon)
    yield lyon, oslo
    oslo.close()
    lyon.close()


def test_independent_a_bastion_that_is_gone_stops_nobody_elsewhere(sites: tuple[World, World]) -> None:
    lyon, oslo = sites
    there = ready(oslo)
    here = ready(lyon)
    assert here.priv.sid.domain != there.priv.sid.domain
    lyon.priv.cut("privdc")
    with pytest.raises(DirectoryUnavailable):
        lyon.ask()
    request = oslo.ask()
    oslo.work()
    assert oslo.get(request).state is State.ACTIVE
    assert oslo.opens_share(there)


def test_independent_each_ends_its_own_in_a_corp_group_that_both_give(sites: tuple[World, World]) -> None:
    lyon, oslo = sites
    here, there = ready(lyon), ready(oslo)
    mine, theirs = lyon.ask(), oslo.ask()
    lyon.work()
    oslo.work()
    assert lyon.opens_share(here)
    assert oslo.opens_share(there)
    lyon.services.requests.kill(lyon.dave, "incident", everything=True)
    lyon.work()
    assert lyon.get(mine).state is State.CLOSED
    assert not lyon.opens_share(here)
    assert oslo.get(theirs).state is State.ACTIVE
    assert oslo.opens_share(there), "the kill switch of one is not that of the other"


def test_independent_a_restore_at_one_takes_nothing_away_at_the_other(sites: tuple[World, World]) -> None:
    lyon, oslo = sites
    ready(lyon)
    there = ready(oslo)
    request = oslo.ask()
    oslo.work()
    with lyon.store.write() as uow:
        begin(uow, lyon.clock.now(), cause="a test")
        uow.commit()
    with pytest.raises(Conflict):
        lyon.ask()
    for _ in range(40):
        lyon.runner.run_due()
        lyon.clock.move(milliseconds=250)
    lyon.ask()
    assert oslo.get(request).state is State.ACTIVE
    assert oslo.opens_share(there)
