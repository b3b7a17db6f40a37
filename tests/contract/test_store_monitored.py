"""What is watched and what was found is kept as it is, on each database."""

from dataclasses import replace
from datetime import timedelta

import pytest

from bastide.domain.drift import Action, Drift, Finding, Rule
from bastide.domain.errors import NotFound
from bastide.domain.ids import Sid
from bastide.domain.lagging import Awaited
from bastide.domain.monitored import Kind, Named, Seen, SignIns, Watched
from bastide.domain.people import Forest
from bastide.domain.roles import Scope
from bastide.services.monitor.ports import Domain, Mark
from bastide.store.unit_of_work import SqlStore
from tests.support.world import START

pytest_plugins = ["tests.support.postgres", "tests.support.stores"]
SEEN = Seen(
    "6f9c1a52-6c1e-4f0e-9f64-0b6a5d0d5d11",
    Kind.GROUP,
    Sid("S-1-5-21-1-2-3-1104"),
    "Files",
    "CN=Files,DC=x",
    {"mail": "a@example.test"},
    (Sid("S-1-5-21-1-2-3-1105"),),
    ("allow 0x20 to S-1-5-21-1-2-3-1105",),
    None,
    START,
    Scope.DOMAIN_LOCAL,
    named=(Named(Sid("S-1-5-21-1-2-3-1105"), "Team", "6f9c1a52-6c1e-4f0e-9f64-0b6a5d0d5d12", is_group=True),),
)
DOMAIN = Domain(
    Forest.CORP, "corp.bastide.test", Mark("dc1", "db", 4711), b"\x00\xff cookie", START, START, START,
    awaited=(Awaited("dc0", "older", 4712, START),),
)  # fmt: skip
DRIFT = Drift(Rule.STRANGER, Forest.CORP, SEEN.guid, "Files", "S-1-5-21-1-2-3-1105", "a reason", "a remedy")
FINDING = Finding(DRIFT, "Team Directory", Action.REPAIR, START)


def test_domains_and_objects_read_as_they_were_written(store: SqlStore) -> None:
    watched = Watched(
        Forest.CORP, SEEN, replace(SEEN, members=()), START, {"dc1": SignIns(START, 3)}, kept=True
    )
    with store.write() as uow:
        uow.monitored.save(replace(DOMAIN, cookie=b""))
        uow.monitored.save(DOMAIN)
        uow.monitored.put([replace(watched, gone_at=None)])
        uow.monitored.put([watched, replace(watched, domain=Forest.PRIV)])
        uow.commit()
    with store.read() as uow:
        assert uow.monitored.domains() == (DOMAIN,)
        assert uow.monitored.domain(Forest.CORP) == DOMAIN
        assert uow.monitored.domain(Forest.PRIV) is None
        assert uow.monitored.watched(Forest.CORP) == (watched,)
    with store.write() as uow:
        uow.monitored.forget(Forest.CORP, [SEEN.guid])
        uow.commit()
    with store.read() as uow:
        assert uow.monitored.watched(Forest.CORP) == ()
        assert len(uow.monitored.watched(Forest.PRIV)) == 1


def test_findings_stand_until_they_are_dropped(store: SqlStore) -> None:
    later = replace(
        FINDING, drift=replace(DRIFT, rule=Rule.OTHER_MEMBER), found_at=START + timedelta(minutes=1)
    )
    with store.write() as uow:
        uow.monitored.keep([later, FINDING])
        uow.monitored.keep([replace(FINDING, tried=START, wrong="no right")])
        uow.commit()
    with store.read() as uow:
        first, second = uow.monitored.findings()
        assert (first, second) == (replace(FINDING, tried=START, wrong="no right"), later)
        assert uow.monitored.find(FINDING.key) == first
        with pytest.raises(NotFound):
            uow.monitored.find("corp-stranger-000000000000")
    with store.write() as uow:
        uow.monitored.drop([FINDING.key])
        uow.commit()
    with store.read() as uow:
        assert uow.monitored.findings() == (later,)
