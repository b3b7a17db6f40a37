"""That nothing is granted, because the database came back from an earlier time, is seen where people and monitoring look."""

import pytest

from bastide.domain.notifications import Occasion, told_of
from bastide.services.recovery import begin
from tests.support.api import ASK, ApiWorld
from tests.support.build import NOW
from tests.support.portal import signed_in
from tests.unit.test_domain_notifications import LEAD, record
from tests.unit.test_metrics import figures

pytest_plugins = ["tests.support.api"]
SAYS = "came back from an earlier time"


@pytest.fixture
def comparing(api: ApiWorld) -> ApiWorld:
    with api.store.write() as uow:
        begin(uow, api.clock.now(), cause="a test")
        uow.commit()
    return api


def test_the_portal_says_it_and_says_it_no_more(comparing: ApiWorld) -> None:
    alice = signed_in(comparing, "CORP\\alice")
    assert SAYS in alice.open("/").text
    dave = signed_in(comparing, "PRIV\\dave")
    assert SAYS in dave.open("/").text
    comparing.runner.run_due()
    assert SAYS not in alice.open("/").text


def test_the_api_refuses_with_reason_and_remedy(comparing: ApiWorld) -> None:
    answer = comparing.corp_caller("alice").post("/requests", ASK, code=True)
    assert answer.status_code == 409
    assert answer.json()["code"] == "conflict"
    assert SAYS in answer.json()["detail"]
    assert "validate --recovery" in answer.json()["remedy"]


def test_monitoring_sees_it(comparing: ApiWorld) -> None:
    assert figures(comparing)["bastide_database_comparing",] == 1
    comparing.runner.run_due()
    assert figures(comparing)["bastide_database_comparing",] == 0


@pytest.mark.parametrize("kind", ["recovery.began", "recovery.ended"])
def test_channels_are_told_and_nobody_by_name(kind: str) -> None:
    told = told_of(record(kind, cause="a test"), LEAD, NOW)
    assert told is not None
    assert (told.occasion, told.person, told.role, told.at_large) == (Occasion.RECOVERY, "", "", True)
