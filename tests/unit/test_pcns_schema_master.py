"""Only the schema master takes additions to the schema; another controller refuses in words that name nobody."""

from types import SimpleNamespace
from typing import Any, cast

import pytest
from typer.testing import CliRunner

from bastide.cli.exits import Exit
from bastide.cli.main import app
from bastide.directory.entries import Entry
from bastide.directory.pcns import AdNotificationDirectory
from bastide.directory.session import Unsaid
from bastide.domain.errors import BastideError, Conflict, NoSuchObject
from bastide.wiring import notification as wiring

SCHEMA = "CN=Schema,CN=Configuration,DC=corp,DC=test"
SITE = "CN=Servers,CN=Here,CN=Sites,CN=Configuration,DC=corp,DC=test"


class Controller:
    """Refuses every addition."""

    raw = SimpleNamespace(unbind_ext_s=lambda: None)

    def __init__(self, name: str, owner: str, said: str = "Operations error") -> None:
        self.said = said
        self.entries: dict[str, dict[str, bytes]] = {
            "": {
                "defaultNamingContext": b"DC=corp,DC=test",
                "schemaNamingContext": SCHEMA.encode(),
                "dsServiceName": f"CN=NTDS Settings,CN={name},{SITE}".encode(),
            },
            SCHEMA: {"fSMORoleOwner": owner.encode()},
            f"CN=DC1,{SITE}": {"dNSHostName": b"dc1.corp.test"},
        }

    def must_read(self, dn: str, names: list[str]) -> Entry:
        if dn not in self.entries:
            raise NoSuchObject(f"cannot read {dn}")
        found = self.entries[dn]
        return Entry.read(dn, {name: [found[name]] for name in names if name in found})

    def search(self, *_: object) -> list[Entry]:
        return []

    def add(self, dn: str, _: object) -> None:
        raise Unsaid(f"cannot add {dn}: {self.said}", remedy="look at the domain controller's own log")


def refused(controller: Controller) -> BastideError:
    with pytest.raises(BastideError) as refusal:
        AdNotificationDirectory(cast("Any", controller)).extend_schema()
    return refusal.value


def test_another_controller_names_the_schema_master() -> None:
    error = refused(Controller("DC2", f"cn=NTDS Settings, CN=dc1,{SITE}".replace("dc1", "DC1")))
    assert isinstance(error, Conflict)
    assert "Operations error; it is not the schema master" in error.message
    assert error.remedy == "`bastide pcns extend-schema --controller dc1.corp.test`"


@pytest.mark.parametrize("owner", [f"CN=NTDS Settings,CN=DC2,{SITE}", f"CN=NTDS Settings,CN=GONE,{SITE}", ""])
def test_a_refusal_of_the_schema_master_or_of_one_who_does_not_know_it_stays(owner: str) -> None:
    assert isinstance(refused(Controller("DC2", owner)), Unsaid)


def test_samba_that_takes_no_updates_says_so_wherever_it_is_asked() -> None:
    error = refused(Controller("DC2", f"CN=NTDS Settings,CN=DC1,{SITE}", "updates are not allowed"))
    assert "dsdb:schema update allowed = yes" in error.remedy


@pytest.mark.parametrize(
    ("said", "remedy"),
    [
        ("Operations error", "--controller dc1.corp.test"),
        ("updates are not allowed", "dsdb:schema update allowed = yes"),
    ],
)
def test_the_remedy_reaches_the_person(monkeypatch: pytest.MonkeyPatch, said: str, remedy: str) -> None:
    """It is no right that is missing, so no other ticket helps."""
    controller = Controller("DC2", f"CN=NTDS Settings,CN=DC1,{SITE}", said)
    ticket = SimpleNamespace(principal=lambda: "admin@CORP.TEST", realm=lambda: "CORP.TEST")
    monkeypatch.setattr(wiring, "CallerTicket", lambda: ticket)
    monkeypatch.setattr(wiring, "SealedConnect", lambda *_: lambda _: (controller, None))
    result = CliRunner().invoke(app, ["pcns", "extend-schema", "--controller", "dc2.corp.test", "--yes"])
    assert result.exit_code == Exit.REFUSED
    assert remedy in result.stderr
    assert "kinit" not in result.stderr
