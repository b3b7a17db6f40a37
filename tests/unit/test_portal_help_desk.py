"""The help desk in the portal, as a browser without JavaScript sees it."""

import json
import re
from typing import Any

import pytest

from bastide.domain.people import Forest
from bastide.portal.forms import CSRF_FIELD
from tests.support.admin import by_ticket, is_sound
from tests.support.help_desk import HelpDeskWorld
from tests.support.portal import Browser, Page

pytest_plugins = ["tests.support.help_desk"]
NEW = "Canary-5c-New-Horse-1"
DESK = "/desk"


@pytest.fixture
def world(help_desk_world: HelpDeskWorld) -> HelpDeskWorld:
    return help_desk_world


@pytest.fixture
def hanna(served_desk: HelpDeskWorld) -> Browser:
    served_desk.set_mail("alice", "alice@corp.bastide.test")
    return by_ticket(served_desk, "hanna", Forest.CORP)


def alice(world: HelpDeskWorld) -> str:
    return f"{DESK}/people/{world.person('alice')}"


def found(world: HelpDeskWorld, hanna: Browser, text: str = "alice") -> Page:
    return hanna.send(hanna.open(DESK).form(DESK), text=text)


def code(world: HelpDeskWorld) -> str:
    body = world.notifier.taken[-1][1].body
    return next(line.strip() for line in body.splitlines() if line.startswith("    "))


def verified(world: HelpDeskWorld, hanna: Browser) -> Page:
    page = hanna.open(alice(world))
    page = hanna.send(page.form(f"{alice(world)}/verify"), button="method=sent", code=world.code("hanna"))
    assert page.status == 200, page.text
    page = hanna.send(page.form(f"{alice(world)}/prove"), said=code(world))
    assert "The caller is verified." in page.text
    return page


@pytest.mark.parametrize("token", ["", "0" * 64, None])
def test_no_form_is_taken_without_the_token_of_its_session(
    served_desk: HelpDeskWorld, hanna: Browser, token: str | None
) -> None:
    page = hanna.open(alice(served_desk))
    page = hanna.send(
        page.form(f"{alice(served_desk)}/verify"), button="method=sent", code=served_desk.code("hanna")
    )
    taken = {form.action for form in (*page.forms, *hanna.open(DESK).forms) if form.action.startswith(DESK)}
    assert len(taken) >= 4, taken
    for path in taken:
        said = {} if token is None else {CSRF_FIELD: token}
        page = hanna.post(path, {**said, "text": "alice", "reason": "x"})
        assert (page.status, "does not belong to your session" in page.text) == (403, True), path


def test_the_page_says_that_the_directory_has_another_address_now(
    served_desk: HelpDeskWorld, hanna: Browser
) -> None:
    verified(served_desk, hanna)
    served_desk.set_mail("alice", "other@corp.bastide.test")
    page = hanna.open(alice(served_desk))
    page = hanna.send(page.form(f"{alice(served_desk)}/verify"), button="method=sent")
    assert "another address now than the one that the last code went to" in page.text
    assert "other@corp.bastide.test" not in page.text
    is_sound(page)


def test_search_verify_set_and_look(served_desk: HelpDeskWorld, hanna: Browser) -> None:
    page = found(served_desk, hanna)
    is_sound(page)
    page = hanna.open(page.link(f"{DESK}/people/"))
    is_sound(page)
    assert "crm" in page.text
    page = verified(served_desk, hanna)
    is_sound(page)
    page = hanna.send(page.form(f"{alice(served_desk)}/set"), how="typed", new=NEW, again=NEW)
    assert page.status == 200, page.text
    assert "It is on its way." in page.text
    is_sound(page)
    served_desk.work()
    page = hanna.open(str(page.answer.url.path))
    assert "each system has answered" in page.text
    assert served_desk.there("files").password == NEW
    assert NEW not in page.html
    (told,) = served_desk.told_by_now()
    assert "CORP\\hanna of the help desk set a new password for Alice" in told


def test_a_password_that_is_made_is_shown_once(served_desk: HelpDeskWorld, hanna: Browser) -> None:
    page = hanna.send(verified(served_desk, hanna).form(f"{alice(served_desk)}/set"), how="made")
    served_desk.work()
    made = served_desk.there("crm").password
    assert made in page.html
    is_sound(page)
    (operation,) = set(re.findall(r"/desk/operations/[0-9a-f-]{36}", page.html))
    assert made not in hanna.open(operation).html
    assert made not in hanna.open(alice(served_desk)).html


def test_only_the_chosen_accounts_are_set(served_desk: HelpDeskWorld, hanna: Browser) -> None:
    form = verified(served_desk, hanna).form(f"{alice(served_desk)}/set")
    for space in ("corp", "files"):
        del form.fields[f"account-{served_desk.account_id(space, 'alice')}"]
    hanna.send(form, how="typed", new=NEW, again=NEW)
    served_desk.work()
    assert [served_desk.there(one).password for one in ("corp", "crm", "files")] == [
        "Old-Horse-1",
        NEW,
        "Old-Horse-1",
    ]


def test_what_is_refused_is_said_and_no_password_comes_back(
    served_desk: HelpDeskWorld, hanna: Browser
) -> None:
    page = hanna.open(alice(served_desk))
    form = page.form(f"{alice(served_desk)}/set")
    page = hanna.send(form, how="typed", new=NEW, again=NEW, code=served_desk.code("hanna"))
    assert "not verified" in page.text
    assert NEW not in page.html
    page = hanna.send(page.form(f"{alice(served_desk)}/set"), how="typed", new=NEW, again="Other-1")
    assert "differs" in page.text
    assert NEW not in page.html


def test_unlock_and_change(served_desk: HelpDeskWorld, hanna: Browser) -> None:
    served_desk.there("crm").locked = True
    page = hanna.open(alice(served_desk))
    page = hanna.send(page.form(f"{alice(served_desk)}/unlock"), code=served_desk.code("hanna"))
    assert "crm: success" in page.text
    assert not served_desk.there("crm").locked
    page = hanna.send(page.form(f"{alice(served_desk)}/change"), old="Old-Horse-1", new=NEW, again=NEW)
    assert "each system has answered" in page.text
    assert served_desk.there("crm").password == NEW


def test_a_corp_ticket_alone_sets_nothing(served_desk: HelpDeskWorld, hanna: Browser) -> None:
    page = hanna.open(alice(served_desk))
    form = page.form(f"{alice(served_desk)}/unlock")
    assert "code" in form.required
    page = hanna.post(form.action, {name: said for name, said in form.fields.items() if name != "code"})
    assert page.status == 403
    assert "crm: success" not in page.text


def test_who_is_out_of_reach_has_no_forms(served_desk: HelpDeskWorld, hanna: Browser) -> None:
    served_desk.prepare("alice")
    page = hanna.open(alice(served_desk))
    assert "Out of reach" in page.text
    assert not [one for one in page.forms if one.action.startswith(DESK)]


def test_who_may_only_look_has_no_forms(served_desk: HelpDeskWorld) -> None:
    wanda = by_ticket(served_desk, "wanda", Forest.CORP)
    page = wanda.open(alice(served_desk))
    assert page.status == 200
    assert not [one for one in page.forms if one.action.startswith(DESK)]
    mallory = by_ticket(served_desk, "mallory", Forest.CORP)
    assert mallory.open(DESK).status == 403
    assert DESK not in mallory.open("/").links


def test_a_search_that_finds_nobody_is_in_no_address_and_no_record(
    served_desk: HelpDeskWorld, hanna: Browser
) -> None:
    page = found(served_desk, hanna, NEW)
    assert "Nobody fits" in page.text
    assert NEW not in str(page.answer.url)
    assert NEW not in served_desk.whole_audit()


def test_what_directories_say_is_quoted(served_desk: HelpDeskWorld, hanna: Browser) -> None:
    hostile: Any = "<script>alert(1)</script>"
    with served_desk.store.write() as uow:
        (one,) = uow.metaverse.search(text="alice", limit=2)
        uow.metaverse.put(
            [type(one)(id=one.id, type=one.type, attributes={"displayName": (hostile,), "n": ("alice",)})]
        )
        uow.commit()
    page = found(served_desk, hanna)
    assert hostile not in page.html
    assert json.dumps(hostile) not in hanna.open(alice(served_desk)).html
