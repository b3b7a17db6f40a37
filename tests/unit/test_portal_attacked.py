"""The portal, by people who try what no form offers. Each test is of something that was found, or looked for."""

import json
from collections.abc import Callable
from dataclasses import replace

import pytest

from bastide.cli.text import safe, safe_json
from bastide.domain.errors import InvalidInput
from bastide.domain.ids import parse_id, parse_name
from bastide.domain.neutral import neutral
from bastide.http.problems import TooManyAttempts
from bastide.http.throttle import PER_ACCOUNT, PER_ADDRESS, Throttle
from bastide.portal.text import cell, visible
from bastide.services.roles import RoleDraft
from tests.support.admin import by_ticket
from tests.support.api import NOBODYS, ApiWorld, served
from tests.support.portal import Browser, signed_in
from tests.support.role_pages import role

pytest_plugins = ["tests.support.api"]
#: Code points that nobody sees, and blanks that are letters.
UNSEEN = "\u200b\u200d\u200e\u2060\u00ad\u034f\u061c\ufeff\u3164\u115f\ufe0f\U000e0061\u180e\u2062"


@pytest.fixture
def dave_pages(api: ApiWorld) -> Browser:
    return by_ticket(api, "dave")


# ---------------------------------------------------------------------------------------------- text that looks like another


@pytest.mark.parametrize("unseen", UNSEEN, ids=lambda c: f"U+{ord(c):04X}")
def test_what_nobody_sees_is_shown_and_names_nobody(unseen: str) -> None:
    """On a page, on a terminal and in a mail alike: `al<nothing>ice` is not Alice."""
    assert visible(f"al{unseen}ice") == safe(f"al{unseen}ice") == f"al<U+{ord(unseen):04X}>ice"
    with pytest.raises(InvalidInput, match=f"nobody sees: U\\+{ord(unseen):04X}"):
        parse_name("name", f"al{unseen}ice")
    assert "alice" not in neutral(f"al{unseen}ice", 80)
    assert json.loads(safe_json(f'"al{unseen}ice"')) == f"al{unseen}ice"
    assert safe_json(f'"al{unseen}ice"').isascii()


def test_a_double_of_somebody_is_no_pam_user_and_no_candidate() -> None:
    """Who owns CORP makes any account there; an approver would see Alice's name."""
    with served(prepared=False) as api:
        api.corp.add_person("al\u200bice", password="x-pw")
        api.prepare("alice")
        api.prepare_group()
        with pytest.raises(InvalidInput, match="nobody sees"):
            api.prepare("al\u200bice")
        with pytest.raises(InvalidInput, match="nobody sees"):
            api.add_role(candidates=("CORP\\al\u200bice",))
        with pytest.raises(InvalidInput, match="nobody sees"):
            api.add_role("File\u00adadministrators")


# ------------------------------------------------------------------------------------------------------ tables of others


@pytest.mark.parametrize(
    "said",
    [
        "harmless;=1+1",
        "harmless; =1+1;x",
        'x;"=1+1"',
        "x\t+1",
        "x\n@SUM(A1)",
        "x|=cmd|'/c calc'!A1",
        "x;\uff1d1",
    ],
)
def test_no_cell_begins_as_a_formula_behind_another_separator(said: str) -> None:
    """A spreadsheet in German cuts at semicolons, and takes quotes off."""
    for part in cell(said).replace("\t", ";").replace("\n", ";").replace("|", ";").split(";"):
        assert not part.strip().strip('"').strip().startswith(("=", "+", "-", "@", "\uff1d")), part


def test_words_with_a_hyphen_stay_as_they_are() -> None:
    for said in ("a; b", "patch - and reboot", "1; 2; 3", "mail@corp", "a=b"):
        assert cell(said) == said


# ---------------------------------------------------------------------------------------------------------- edges of time


@pytest.mark.parametrize(
    "path", ["/auditing", "/auditing/charts", "/auditing/holders.csv", "/auditing/holders.jsonl"]
)
@pytest.mark.parametrize("field", ["since", "until"])
@pytest.mark.parametrize("moment", ["0001-01-01T00:00", "9999-12-31T23:59", "9999-12-31T23:59:59"])
def test_the_first_and_the_last_moment_there_are(
    dave_pages: Browser, path: str, field: str, moment: str
) -> None:
    page = dave_pages.open(f"{path}?{field}={moment}")
    assert page.status in {200, 422}, page.text


# ------------------------------------------------------------------------------------------------------- names and ids


@pytest.mark.parametrize(
    "spelling",
    [
        "{00000000-0000-4000-8000-000000000000}",
        "urn:uuid:00000000-0000-4000-8000-000000000000",
        "00000000000040008000000000000000",
        "\r\n000000-0000-4000-8000-000000000000",
        "\u0660\u0660\u0660\u0660\u0660\u0660\u0660\u0660-0000-4000-8000-000000000000",
        "00000000-0000-4000-8000-00000000000_",
        "00000000-0000-4000-8000-000000000000\n",
    ],
)
def test_an_id_has_one_spelling(spelling: str) -> None:
    """What is taken as an id goes into addresses: nothing in it may be more than that."""
    with pytest.raises(InvalidInput, match="is not an identifier"):
        parse_id("request", spelling)
    assert parse_id("request", NOBODYS.upper()) == NOBODYS


def test_a_name_that_looks_like_an_id_stands_in_nobodys_way(api: ApiWorld, dave_pages: Browser) -> None:
    """Somebody calls a role as another one's id is: what is asked for, shown and changed by id stays the other one."""
    one = role(api)
    draft = RoleDraft(replace(one, name=one.id, stages=(), mfa=False), ("PAM-FileAdmins",), ("CORP\\alice",))
    api.services.roles.add(api.dave, draft)
    assert "Approved" in dave_pages.open(f"/admin/roles/{one.id}").text
    alice = signed_in(api, "CORP\\alice")
    form = alice.open(f"/ask/{one.id}").form(f"/ask/{one.id}")
    page = alice.send(form, justification="patch", code=api.code("alice"))
    assert "Waits for approval" in page.text
    assert [r.role_name for r in api.services.requests.all(api.dave)] == ["Approved"]


# -------------------------------------------------------------------------------------------------------------- guessing


@pytest.fixture
def throttle(api: ApiWorld) -> Throttle:
    return Throttle(api.clock.now)


def test_names_without_end_from_one_address_make_no_other_count_forgotten(
    throttle: Throttle, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is counted is bounded. Refused attempts cost nothing, and must not push out what was counted."""
    monkeypatch.setattr("bastide.http.throttle._KEPT", 3 * PER_ADDRESS)

    def guess(account: str, address: str) -> None:
        with throttle.attempt(account, address):
            raise LookupError

    for number in range(PER_ACCOUNT):
        with pytest.raises(LookupError):
            guess("CORP\\alice", f"192.0.2.{number}")
    for number in range(PER_ADDRESS * 5):
        with pytest.raises((LookupError, TooManyAttempts)):
            guess(f"CORP\\nobody{number}", "198.51.100.1")
    with pytest.raises(TooManyAttempts, match=r"to this account$"):
        guess("CORP\\alice", "192.0.2.200")


@pytest.mark.parametrize(
    "spell",
    [
        lambda n: "CORP\\" + "".join(c.upper() if n >> i & 1 else c for i, c in enumerate("alice")),
        lambda n: "CORP\\alice" + chr(0x300 + n),
        lambda n: f"CORP\\al{chr(0x200B + n % 4) * (n // 4 + 1)}ice",
        lambda n: f"CORP\\{' ' * n}alice",
        lambda n: (
            "CORP\\" + "".join(chr(ord(c) + 0xFEE0) if n >> i & 1 else c for i, c in enumerate("alice"))
        ),
    ],
    ids=["case", "accents", "unseen", "blanks", "width"],
)
def test_another_spelling_is_no_other_account(throttle: Throttle, spell: Callable[[int], str]) -> None:
    """A directory takes several spellings for one name; guesses at each of them count together."""

    def guess(number: int) -> None:
        with throttle.attempt(spell(number), f"192.0.2.{number}"):
            raise LookupError

    for number in range(PER_ACCOUNT):
        with pytest.raises(LookupError):
            guess(number)
    with pytest.raises(TooManyAttempts, match=r"to this account$"):
        guess(PER_ACCOUNT)
