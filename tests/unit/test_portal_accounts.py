"""PAM users and groups in the portal: looked at before they are made, forgotten with the name typed."""

import pytest

from bastide.domain.errors import NotFound
from bastide.domain.people import PamUser
from bastide.domain.roles import Carrier, PamGroup
from tests.support.admin import HOSTILE, TURNED, by_ticket, is_quoted, is_sound
from tests.support.api import ApiWorld
from tests.support.portal import Browser, facts

pytest_plugins = ["tests.support.api"]
USERS, GROUPS = "/admin/users", "/admin/groups"


@pytest.fixture
def dave(api: ApiWorld) -> Browser:
    return by_ticket(api, "dave")


def user(api: ApiWorld, name: str) -> PamUser:
    return api.services.accounts.user(api.dave, name)


def group(api: ApiWorld, name: str) -> PamGroup:
    return api.services.accounts.group(api.dave, name)


def test_users_and_groups_are_listed(api: ApiWorld, dave: Browser) -> None:
    page = dave.open(USERS)
    assert "priv.alice" in page.text
    is_sound(page)
    page = dave.open(page.link(f"{USERS}/{user(api, 'priv.alice').id}"))
    assert facts(page)["A ticket lives"] == "15 minutes"
    is_sound(page)
    page = dave.open(GROUPS)
    assert "File administrators, Approved" in page.text or "Approved, File administrators" in page.text
    is_sound(page)
    page = dave.open(f"{GROUPS}/{group(api, 'PAM-FileAdmins').id}")
    assert facts(page)["Link in CORP"].startswith("absent")
    is_sound(page)


def test_a_person_is_prepared_after_a_look(api: ApiWorld, dave: Browser) -> None:
    form = dave.open(f"{USERS}/new").form(f"{USERS}/new")
    is_sound(dave.page)
    page = dave.send(form, button="step=preview", corp="mallory", kept_alive="yes")
    assert page.status == 200, page.text
    assert facts(page)["PRIV account"].startswith(
        "priv.mallory, with a password that nobody knows (new) priv.mallory in OU="
    )
    is_sound(page)
    with pytest.raises(NotFound):
        user(api, "priv.mallory")
    assert (
        dave.send(page.form(f"{USERS}/new"), button="step=back").form(f"{USERS}/new").fields["kept_alive"]
        == "yes"
    )
    page = dave.send(page.form(f"{USERS}/new"), button="step=save")
    assert "It is prepared." in page.text
    assert user(api, "priv.mallory").kept_alive


def test_an_account_that_is_there_is_adopted(api: ApiWorld, dave: Browser) -> None:
    api.priv.add_person("old.mallory", password="x")
    form = dave.open(f"{USERS}/new").form(f"{USERS}/new")
    page = dave.send(form, button="step=preview", corp="mallory", priv_name="old.mallory", adopt="yes")
    assert "which is there, and is adopted" in page.text
    dave.send(page.form(f"{USERS}/new"), button="step=save")
    assert user(api, "old.mallory").adopted


@pytest.mark.parametrize(
    ("typed", "status", "said"),
    [
        ({"corp": "nobody"}, 404, "nobody"),
        ({"corp": "alice"}, 409, "alice is PAM user priv.alice already"),
        ({"corp": "mallory", "priv_name": "a" * 30}, 422, "a sAMAccountName has at most 20"),
        ({"corp": "mallory", "priv_name": "dave"}, 409, "there is an account dave in PRIV already"),
        ({"corp": "mallory", "priv_name": "nobody", "adopt": "yes"}, 404, "nobody"),
    ],
)
def test_who_cannot_be_prepared_is_said_and_stays_on_the_page(
    api: ApiWorld, dave: Browser, typed: dict[str, str], status: int, said: str
) -> None:
    form = dave.open(f"{USERS}/new").form(f"{USERS}/new")
    page = dave.send(form, button="step=preview", **typed)
    assert (page.status, said in page.text) == (status, True), page.text
    assert page.form(f"{USERS}/new").fields["corp"] == typed["corp"]
    assert len(api.services.accounts.users(api.dave)) == 2


def test_a_choice_that_is_not_made_is_not_guessed(api: ApiWorld, dave: Browser) -> None:
    form = dave.open(f"{USERS}/new").form(f"{USERS}/new")
    for field, value in (("adopt", ""), ("kept_alive", "maybe")):
        page = dave.post(f"{USERS}/new", {**form.fields, "corp": "mallory", field: value, "step": "save"})
        assert page.status == 422
    groups = dave.open(f"{GROUPS}/new").form(f"{GROUPS}/new")
    page = dave.post(
        f"{GROUPS}/new", {**groups.fields, "corp": "DbAdmins", "carrier": "pigeon", "step": "save"}
    )
    assert (page.status, len(api.services.accounts.groups(api.dave))) == (422, 1)


def test_a_user_is_forgotten_with_the_name_typed(api: ApiWorld, dave: Browser) -> None:
    api.prepare("mallory")
    mallory = user(api, "priv.mallory")
    address = f"{USERS}/{mallory.id}/remove"
    form = dave.open(address).form(address)
    is_sound(dave.page)
    assert dave.send(form, confirm="mallory").status == 422
    page = dave.send(dave.page.form(address), confirm="priv.mallory", delete="yes")
    assert "the object in PRIV is deleted" in page.text
    assert "priv.mallory" not in page.text
    with pytest.raises(NotFound):
        api.services.forests[api.priv.forest].find_person("priv.mallory")


def test_why_a_user_or_a_group_cannot_be_forgotten(api: ApiWorld, dave: Browser) -> None:
    api.ask()
    address = f"{USERS}/{user(api, 'priv.alice').id}/remove"
    page = dave.open(address)
    assert (page.status, "priv.alice has open requests" in page.text) == (409, True)
    assert "/admin/kill" in page.links
    assert not [form for form in page.forms if form.action == address]
    address = f"{GROUPS}/{group(api, 'PAM-FileAdmins').id}/remove"
    page = dave.open(address)
    assert (page.status, "is given by: Approved, File administrators" in page.text) == (409, True)
    assert (
        dave.post(
            address, {**page.form("/signout").fields, "confirm": "PAM-FileAdmins", "delete": "no"}
        ).status
        == 409
    )
    assert group(api, "PAM-FileAdmins").enabled


def test_a_group_is_prepared_and_forgotten(api: ApiWorld, dave: Browser) -> None:
    form = dave.open(f"{GROUPS}/new").form(f"{GROUPS}/new")
    is_sound(dave.page)
    page = dave.send(form, button="step=preview", corp="DbAdmins")
    assert facts(page)["Carries"].startswith("DbAdmins, a domain-local group")
    assert len(api.services.accounts.groups(api.dave)) == 1
    is_sound(page)
    page = dave.send(page.form(f"{GROUPS}/new"), button="step=save")
    assert "It is prepared." in page.text
    made = group(api, "PAM-DbAdmins")
    address = f"{GROUPS}/{made.id}/remove"
    page = dave.send(dave.open(address).form(address), confirm="PAM-DbAdmins")
    assert "It is forgotten." in page.text
    assert [one.name for one in api.services.accounts.groups(api.dave)] == ["PAM-FileAdmins"]


def test_what_the_directory_cannot_do_is_said_on_the_form(api: ApiWorld, dave: Browser) -> None:
    form = dave.open(f"{GROUPS}/new").form(f"{GROUPS}/new")
    page = dave.send(form, button="step=preview", corp="DbAdmins", carrier=Carrier.SHADOW_PRINCIPAL.value)
    assert page.status == 501
    assert page.form(f"{GROUPS}/new").fields["carrier"] == "shadow-principal"


def test_a_directory_name_that_turns_text_is_made_visible(api: ApiWorld, dave: Browser) -> None:
    """No check of ours stands between a directory and a page."""
    api.corp.add_group("Turned", scope=group(api, "PAM-FileAdmins").scope)
    made = api.prepare_group("Turned", priv_name="PAM-Turned")
    with api.store.write() as uow:
        from dataclasses import replace

        uow.groups.save(replace(made, corp=replace(made.corp, name=TURNED + HOSTILE, dn=f"CN={TURNED}")))
        uow.commit()
    for address in (GROUPS, f"{GROUPS}/{made.id}", f"{GROUPS}/{made.id}/remove"):
        page = dave.open(address)
        is_quoted(page)
        assert "\u202e" not in page.html
        assert "exe.cod<U+202E>plan" in page.text


def test_where_nobody_is_prepared_the_page_says_what_to_do() -> None:
    from tests.support.api import served

    with served(prepared=False) as api:
        dave = by_ticket(api, "dave")
        for address, link in ((USERS, f"{USERS}/new"), (GROUPS, f"{GROUPS}/new"), ("/admin/roles", GROUPS)):
            page = dave.open(address)
            assert link in page.links
            is_sound(page)
        assert "prepare a person" not in by_ticket(api, "frank").open(USERS).text


def test_a_person_is_switched_off_and_on_with_a_reason(api: ApiWorld, dave: Browser) -> None:
    request = api.ask()
    api.work()
    alice = user(api, "priv.alice")
    page = dave.open(f"{USERS}/{alice.id}")
    form = dave.open(page.link(f"{USERS}/{alice.id}/switch")).form(f"{USERS}/{alice.id}/switch")
    is_sound(dave.page)
    page = dave.send(form, reason=" ")
    assert "say why" in page.text
    assert user(api, "priv.alice").enabled
    page = dave.send(form, reason=HOSTILE)
    assert "It is switched off." in page.text
    assert "can ask for nothing" in page.text
    api.work()
    assert api.get(request).closed_at is not None
    page = dave.send(form, reason="once more")
    assert "switched off already" in page.text
    form = dave.open(f"{USERS}/{alice.id}/switch").form(f"{USERS}/{alice.id}/switch")
    is_sound(dave.page)
    assert "It is switched on." in dave.send(form, reason="is back").text
    assert user(api, "priv.alice").enabled
