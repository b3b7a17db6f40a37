"""Emergency accounts over the API and in the portal: whoever may see everything sees them, and nobody sees a secret."""

from dataclasses import replace

from bastide.domain.break_glass import Envelope, State
from tests.support.admin import HOSTILE, by_ticket, is_quoted, is_sound
from tests.support.api import ApiWorld, Caller
from tests.support.break_glass import EmergencyNode

pytest_plugins = ["tests.support.api"]


def kept(api: ApiWorld) -> Envelope:
    """A used one, in the database of the API."""
    with EmergencyNode() as node:
        sealed = node.seal().envelope
    used = replace(sealed, custodians=(HOSTILE, "Ben"), state=State.USED, why="signed in on dc1")
    with api.store.write() as uow:
        uow.envelopes.add(used)
        uow.commit()
    return used


def test_readers_see_them_over_the_api(api: ApiWorld, alice: Caller, dave: Caller, frank: Caller) -> None:
    envelope = kept(api)
    for reader in (dave, frank):
        answer = reader.get("/emergency-accounts")
        (found,) = answer.json()["items"]
        assert (found["account"], found["state"], found["why"]) == (
            "breakglass1@PRIV.BASTIDE.TEST", "used", "signed in on dc1",
        )  # fmt: skip
        assert found["custodians"] == [HOSTILE, "Ben"]
        assert envelope.verifier not in answer.text
    assert alice.get("/emergency-accounts").status_code == 403


def test_the_page_of_work_shows_them(api: ApiWorld) -> None:
    dave = by_ticket(api, "dave")
    page = dave.open("/admin/work")
    assert "None is sealed." in page.text
    envelope = kept(api)
    page = dave.open("/admin/work")
    assert "breakglass1@PRIV.BASTIDE.TEST" in page.text
    assert "used: signed in on dc1" in page.text
    assert envelope.verifier not in page.text
    is_quoted(page)
    is_sound(page)
