"""Four eyes: a change of a role waits for a second administrator, on every way in."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta

import pytest
from litestar.testing import TestClient

from bastide.directory.memory import MemoryDirectory
from bastide.domain.errors import Conflict, NotAuthorized, NotFound
from bastide.domain.proposals import Action
from bastide.services.roles import RoleDraft
from bastide.wiring import assemble
from tests.support import build
from tests.support.admin import HOSTILE, by_ticket, is_sound
from tests.support.api import ApiWorld, app_over
from tests.support.graph import call, role_id
from tests.support.portal import Browser, Page
from tests.support.role_pages import ROLES, draft, edit_form, last_data, names, role

pytest_plugins = ["tests.support.api"]


@pytest.fixture
def two(api: ApiWorld) -> Iterator[ApiWorld]:
    """The same world, where each change waits for a second administrator. Ivan administers as well."""
    MemoryDirectory(api.priv).add_members(api.teams["Administrators"].ref, [api.sign_in("ivan").sid])
    api.services = assemble(api.adapters, api._preparation(), four_eyes=True)
    with app_over(api.services) as app, TestClient(app, raise_server_exceptions=False) as client:
        api.client = client
        yield api


def propose(two: ApiWorld, dave: Browser, **typed: str) -> Page:
    form = edit_form(two, dave)
    page = dave.send(form, button="step=preview", **{"ttl_maximum": "4h", **typed})
    assert "Another administrator has to approve it." in page.text
    return dave.send(page.form(form.action), button="step=save")


def test_a_change_waits_for_a_second_administrator(two: ApiWorld) -> None:
    dave, ivan = by_ticket(two, "dave"), by_ticket(two, "ivan")
    page = propose(two, dave)
    assert "Nothing is changed yet: the change waits for another administrator." in page.text
    assert role(two).ttl.maximum == timedelta(hours=8)
    address = page.answer.url.path
    assert "You cannot approve it: nobody approves a change of their own." in page.text
    assert ("decision", "approve") not in page.form(address).buttons
    page = dave.post(address, {**page.form(address).fields, "decision": "approve"})
    assert (page.status, role(two).version) == (403, 1)

    waiting = ivan.open("/admin/proposals")
    assert "a change" in waiting.text
    page = ivan.open(waiting.link(address))
    assert "comes: 1 hour, from 5 minutes to 4 hours" in page.text
    is_sound(page)
    page = ivan.send(page.form(address), button="decision=approve")
    assert "You approved the change, and it is done." in page.text
    assert (role(two).ttl.maximum, role(two).version) == (timedelta(hours=4), 2)
    assert two.services.roles.proposals(two.dave) == ()
    assert '"proposed_by":"PRIV\\\\dave"' in last_data(two, "role.changed")
    assert two.events("role.proposed") == ["role.proposed"]


def test_what_is_rejected_changes_nothing(two: ApiWorld) -> None:
    dave, ivan = by_ticket(two, "dave"), by_ticket(two, "ivan")
    address = propose(two, dave).answer.url.path
    page = ivan.open(address)
    assert ivan.send(page.form(address), button="decision=", reason="").status == 422
    page = ivan.send(page.form(address), button="decision=reject", reason=HOSTILE)
    assert "The change is rejected." in page.text
    assert (role(two).version, ivan.open(address).status) == (1, 404)
    assert two.events("role.proposal-rejected")
    own = propose(two, dave).answer.url.path
    dave.send(dave.page.form(own), button="decision=reject")
    assert two.events("role.proposal-withdrawn")


def test_a_proposal_is_void_when_the_role_moved_on(two: ApiWorld) -> None:
    dave, ivan = by_ticket(two, "dave"), by_ticket(two, "ivan")
    first, second = propose(two, dave).answer.url.path, propose(two, dave, ttl_maximum="3h").answer.url.path
    page = ivan.open(second)
    ivan.send(ivan.open(first).form(first), button="decision=approve")
    assert two.events("role.proposal-void") == ["role.proposal-void"]
    assert ivan.send(page.form(second), button="decision=approve").status == 404
    assert role(two).ttl.maximum == timedelta(hours=4)


def test_a_proposal_over_another_version_is_refused(two: ApiWorld) -> None:
    """Should a role ever change without its proposals being taken away, what was shown is no longer what would be done."""
    ivan = two.sign_in("ivan")
    made = two.services.roles.edit(two.dave, "Approved", replace_ttl(two))
    assert made.proposal is not None
    with two.store.write() as uow:
        uow.roles.save(uow.roles.by_name("Approved"))
        uow.commit()
    with pytest.raises(Conflict, match="the proposal is void"):
        two.services.roles.approve(ivan, made.proposal.id)


def replace_ttl(api: ApiWorld) -> RoleDraft:
    one = role(api)
    return draft(replace(one, ttl=replace(one.ttl, maximum=timedelta(hours=4))), api)


def test_a_role_comes_and_goes_by_two(two: ApiWorld) -> None:
    dave, ivan = by_ticket(two, "dave"), by_ticket(two, "ivan")
    form = dave.open(f"{ROLES}/new").form(f"{ROLES}/new")
    typed = {"name": "Restore", "privileges": "PAM-FileAdmins", "candidates": "CORP\\alice"}
    page = dave.send(dave.send(form, button="step=preview", **typed).form(form.action), button="step=save")
    assert "Restore" not in names(two)
    ivan.send(ivan.open(page.answer.url.path).form(page.answer.url.path), button="decision=approve")
    made = role(two, "Restore")
    address = f"{ROLES}/{made.id}/remove"
    page = dave.send(dave.open(address).form(address), confirm="Restore")
    assert "Restore" in names(two)
    (waiting,) = two.services.roles.proposals(two.dave)
    assert (waiting.action, waiting.role) == (Action.REMOVE, made.id)
    page = ivan.send(ivan.open(page.answer.url.path).form(page.answer.url.path), button="decision=approve")
    assert "The role is removed." in page.text
    assert "Restore" not in names(two)


def test_what_could_not_be_done_is_not_proposed(two: ApiWorld) -> None:
    two.ask("Approved")
    with pytest.raises(Conflict, match="are open"):
        two.services.roles.remove(two.dave, "Approved")
    assert two.services.roles.proposals(two.dave) == ()


def test_a_group_that_is_gone_by_then_voids_a_new_role(two: ApiWorld) -> None:
    group = two.prepare_group("DbAdmins")
    made = two.services.roles.add(
        two.dave, RoleDraft(replace(role(two), name="New", stages=()), (group.name,), ("CORP\\alice",))
    )
    assert made.proposal is not None
    two.services.accounts.remove_group(two.dave, group.name)
    with pytest.raises(Conflict, match="is gone"):
        two.services.roles.approve(two.sign_in("ivan"), made.proposal.id)


def test_there_is_no_way_around(two: ApiWorld) -> None:
    """The native API proposes too and says so; the Graph dialect refuses."""
    dave = two.caller("dave")
    shown = dave.get("/roles/Approved").json()
    body = {
        "name": "Approved",
        "privileges": ["PAM-FileAdmins"],
        "candidates": ["CORP\\alice"],
        "version": shown["version"],
    }
    answer = dave.put("/roles/Approved", body)
    assert (answer.status_code, role(two).version) == (202, 1)
    proposal = answer.json()["proposal"]
    assert [one["id"] for one in dave.get("/role-proposals").json()["items"]] == [proposal]
    assert dave.get(f"/role-proposals/{proposal}").json()["changes"]["candidates"][0]
    assert dave.post(f"/role-proposals/{proposal}/approval").status_code == 403
    assert two.caller("frank").post(f"/role-proposals/{proposal}/approval").status_code == 403
    assert (
        two.caller("ivan")
        .post(f"/role-proposals/{proposal}/approval", params={"dry_run": "true"})
        .status_code
        == 200
    )
    assert role(two).version == 1
    assert two.caller("ivan").post(f"/role-proposals/{proposal}/approval").status_code == 200
    assert role(two).version == 2
    assert two.caller("ivan").post(f"/role-proposals/{proposal}/approval").status_code == 404
    assert dave.post("/roles", {**body, "name": "New", "version": 0}).status_code == 202
    (waiting,) = dave.get("/role-proposals").json()["items"]
    assert waiting["changes"]["privileges"] == ["PAM-FileAdmins"], "groups by name"
    assert (
        two.caller("ivan").post(f"/role-proposals/{waiting['id']}/rejection", {"reason": "no"}).json()["role"]
        == "New"
    )
    assert dave.delete("/roles/File%20administrators").status_code == 202
    patched = {"maximumDuration": "PT4H", "isExpirationRequired": True}
    policy = f"policies/roleManagementPolicies/DirectoryRole_{role_id(dave, 'Approved')}"
    path = f"{policy}/rules/Expiration_EndUser_Assignment"
    answer = call(dave, "PATCH", path, json=patched)
    assert answer.status_code == 409, answer.text
    assert "a second administrator approves each change of a role" in answer.text
    assert role(two).version == 2
    with pytest.raises(Conflict, match="a second administrator approves"):
        two.services.roles.adjust(two.dave, "Approved", lambda one: replace(one, extension=False))


def test_both_accounts_of_a_person_are_one_administrator(two: ApiWorld) -> None:
    """Known to be one person's before, or since: a PAM user is prepared in between, and forgotten in between."""
    ivan = two.sign_in("ivan")
    both = build.user(
        "dave2",
        priv=replace(build.ref("x", 9), sid=ivan.sid),
        corp=replace(build.ref("y", 8), sid=two.dave.sid),
    )
    since = two.services.roles.edit(two.dave, "Approved", replace_ttl(two)).proposal
    with two.store.write() as uow:
        uow.users.add(both)
        uow.commit()
    before = two.services.roles.edit(two.dave, "Approved", replace_ttl(two)).proposal
    assert since is not None
    assert before is not None
    refused = pytest.raises(NotAuthorized, match="nobody approves a change of their own")
    for proposal in (since, before):
        with refused:
            two.services.roles.approve(ivan, proposal.id)
    with two.store.write() as uow:
        uow.users.remove(both.id)
        uow.commit()
    with refused:
        two.services.roles.approve(ivan, before.id)
    assert role(two).version == 1


@pytest.mark.parametrize("how", ["left the group", "was switched off", "is gone"])
def test_a_proposal_of_who_is_no_administrator_any_more_is_not_approved(two: ApiWorld, how: str) -> None:
    ivan, dave = by_ticket(two, "ivan"), by_ticket(two, "dave")
    address = propose(two, dave).answer.url.path
    account, directory = two.dave.sid, MemoryDirectory(two.priv)
    if how == "left the group":
        directory.remove_members(two.teams["Administrators"].ref, [account])
    elif how == "was switched off":
        two.priv.change(two.priv.account(account), two.clock.now())
    else:
        two.priv.remove(two.priv.account(account).person.ref)
    page = ivan.open(address)
    assert "who proposed this, is no administrator any more" in page.text
    assert ("decision", "approve") not in page.form(address).buttons
    page = ivan.post(address, {**page.form(address).fields, "decision": "approve"})
    assert (page.status, role(two).version) == (403, 1)
    page = ivan.post(address, {**ivan.open(address).form(address).fields, "decision": "reject"})
    assert "The change is rejected." in page.text


def test_a_proposal_that_is_not_there(two: ApiWorld) -> None:
    with pytest.raises(NotFound, match="there is no proposal"):
        two.services.roles.reject(two.dave, "00000000-0000-4000-8000-000000000000")
