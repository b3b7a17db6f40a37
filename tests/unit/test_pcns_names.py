"""A forest may have its own names for what Microsoft's OIDs stand for: agent and server read it alike."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, cast

from bastide import pcns
from bastide.directory.entries import Entry
from bastide.directory.pcns import AdNotificationDirectory
from bastide_agent.configuration import Reader
from tests.support.agent import BASE, ROOT, MemorySource, target
from tests.unit.test_agent_configuration import CONTAINER, entry

SERVER_OID = pcns.ATTRIBUTES["mS-MIIS-PCNS-TargetServer"]
#: This forest calls everything otherwise.
NAMES = {
    oid: name.replace("mS-MIIS-PCNS-", "acmePwd")
    for name, oid in (*pcns.ATTRIBUTES.items(), pcns.TARGET_CLASS, pcns.SERVICE_CLASS)
}


def theirs(known: pcns.Entry) -> dict[str, Sequence[bytes]]:
    """The same object in that forest."""
    found = {name.replace("mS-MIIS-PCNS-", "acmePwd"): held for name, held in known[1].items()}
    found["objectClass"] = [b"top", b"acmePwdTarget"]
    return found


def test_attributes_and_classes_get_their_default_names() -> None:
    written = entry(target("One"))
    assert pcns.by_default_names(theirs(written), NAMES) == written[1]


def test_upper_and_lower_case_are_the_same() -> None:
    found = pcns.by_default_names({"ACMEPWDtargetserver": [b"x"], "OBJECTCLASS": [b"AcmePwdTARGET"]}, NAMES)
    assert found == {"mS-MIIS-PCNS-TargetServer": [b"x"], "objectClass": [b"mS-MIIS-PCNS-Target"]}


def test_what_is_not_ours_stays_as_it_is() -> None:
    schema = {SERVER_OID: "acmePwdTargetServer", "1.2.3.4": "acmeShoeSize"}
    values = {"cn": [b"x"], "acmeShoeSize": [b"43"], "objectClass": [b"top", b"\xff", b"acmeShoe"]}
    assert pcns.by_default_names(values, schema) == values


def test_a_value_is_never_taken_for_a_name() -> None:
    found = pcns.by_default_names({"cn": [b"acmePwdTarget"], "objectClass": []}, NAMES)
    assert found == {"cn": [b"acmePwdTarget"], "objectClass": []}


def test_without_the_schema_default_names_are_default_names() -> None:
    written = entry(target("One"))
    assert pcns.by_default_names(written[1], {}) == written[1]


class OneForest:
    """What AdNotificationDirectory asks its connection."""

    def __init__(self, dn: str, values: dict[str, Sequence[bytes]]) -> None:
        self.found = Entry.read(dn, values)

    def must_read(self, dn: str, names: Sequence[str]) -> Entry:
        assert (dn, "schemaNamingContext" in names) == ("", True)
        return Entry.read(
            "", {"defaultNamingContext": [BASE.encode()], "schemaNamingContext": [b"CN=Schema"]}
        )

    def search(self, base: str, condition: str, names: Sequence[str]) -> list[Entry]:
        if base == "CN=Schema":
            return [
                Entry.read("CN=x", {"attributeID": [oid.encode()], "lDAPDisplayName": [name.encode()]})
                for oid, name in NAMES.items()
            ]
        assert base == CONTAINER
        assert "(objectClass=acmePwdTarget)" in condition
        assert "acmePwdTargetServer" in names
        return [self.found]


def test_agent_and_server_read_such_a_forest_alike() -> None:
    one = replace(target("One"), exclusion="S-1-5-21-1-2-3-512", certificate=bytes(range(256)))
    dn, values = entry(one)[0], theirs(entry(one))
    schema: list[pcns.Entry] = [
        ("CN=x", {kind: [oid.encode()], "lDAPDisplayName": [name.encode()]})
        for oid, name in NAMES.items()
        for kind in ("attributeID", "governsID")
    ]
    reading = Reader(MemorySource([(dn, values)], schema), ROOT).read()
    assert reading is not None
    settings = AdNotificationDirectory(cast("Any", OneForest(dn, values))).read()
    assert (
        reading.configuration == settings.configuration == pcns.Configuration(pcns.ServiceSettings(), (one,))
    )
    assert settings.dns == {"one": dn}
